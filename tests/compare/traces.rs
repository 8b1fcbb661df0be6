//! The system calls that were counted, and what is left when the comparison is over or was killed.

use std::path::Path;
use std::time::{Duration, Instant};

use beget_tests::{Scratch, beget, finish, has, text};
use serde_json::Value;

use super::{told, way};

fn calls(way: &Value, whose: &str) -> Vec<String> {
    let list = way["calls"][whose].as_array().unwrap_or_else(|| panic!("{way}"));
    list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

/// Each list is as long as its count, and begins and ends as such a birth must.
#[test]
fn calls_are_those_of_the_way() {
    for way in told().json["ways"].as_array().unwrap().iter().filter(|way| way["absent"].is_null()) {
        for (count, list) in [("p", "of_p"), ("c", "of_c"), ("others", "of_others")] {
            assert_eq!(way["calls"][count], calls(way, list).len(), "{way}");
        }
    }
    for (name, ends) in [
        ("fork", "execve"),
        ("fork-forgotten", "execve"),
        ("vfork", "execve"),
        ("posix_spawn", "execve"),
        ("confined", "execveat"),
        ("embryo", "munmap"),
        ("constructor", "execveat"),
        ("warm", "rt_sigreturn"),
        ("pooled", "rt_sigreturn"),
    ] {
        let of_c = calls(way(name), "of_c");
        assert_eq!(of_c.last().map(String::as_str), Some(ends), "{name}: {of_c:?}");
        // What has begun at its program's own start is over.
        assert!(!of_c.contains(&"brk".to_owned()) && !of_c.contains(&"arch_prctl".to_owned()), "{of_c:?}");
    }
    let closes = |name: &str| calls(way(name), "of_c").iter().filter(|name| *name == "close").count();
    assert_eq!(closes("fork"), closes("fork-forgotten") + 1, "the one close");
    for name in ["confined", "embryo", "batch", "constructor", "warm", "fork_with"] {
        let of_c = calls(way(name), "of_c");
        // A copy of a template is born with the whole filter.
        let both = if name == "warm" {
            &["landlock_restrict_self"][..]
        } else {
            &["landlock_restrict_self", "seccomp"]
        };
        for call in both {
            assert_eq!(of_c.iter().filter(|name| name == call).count(), 1, "{name}: {of_c:?}");
        }
    }
}

/// A peer that is here is in the list, and one that is not says that.
#[test]
fn peers_join_in_or_are_named_as_absent() {
    for (name, program) in [("bwrap", "bwrap"), ("nsjail", "nsjail"), ("subprocess", "python3")] {
        let told = way(name)["absent"].as_str().unwrap_or_default();
        assert_eq!(told == format!("{program} is not installed"), !has(program), "{name}: {told}");
    }
}

fn is_empty(folder: &str) -> bool {
    std::fs::read_dir(folder).unwrap().next().is_none()
}

fn until(words: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < end, "{words}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Processes that have a word in their command line.
fn with_word(word: &str) -> usize {
    let all = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = all.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines.filter(|line| text(line).contains(word)).count()
}

#[test]
fn nothing_is_left_of_a_comparison() {
    let scratch = Scratch::new();
    let folder = scratch.at("tmp");
    std::fs::create_dir(&folder).unwrap();
    let words = ["compare", "--quick", "--only", "fork", "--only", "pooled", "--only", "batch"];
    let output = finish(beget().args(words).env("TMPDIR", &folder));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(is_empty(&folder));
    until("processes stay", || with_word(&folder) == 0);
}

/// Not even of one that is killed in the middle: whoever keeps the scene sees that, and takes it away.
#[test]
fn nothing_is_left_of_one_that_is_killed() {
    let scratch = Scratch::new();
    let folder = scratch.at("tmp");
    std::fs::create_dir(&folder).unwrap();
    let mut child = beget()
        .args(["compare", "--only", "fork", "--only", "confined", "--only", "pooled"])
        .env("TMPDIR", &folder)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let timed = || {
        let scene = std::fs::read_dir(&folder).unwrap().flatten().next();
        scene.is_some_and(|scene| Path::new(&scene.path()).join("words-pooled-time").exists())
    };
    until("it never gets to the times", timed);
    child.kill().unwrap();
    child.wait().unwrap();
    until("the scene stays", || is_empty(&folder));
    until("processes stay", || with_word(&folder) == 0);
}
