//! Limits: each is real inside, or it is refused with its reason.

mod delegated;
mod groups;
mod left;
mod time;
mod trees;
mod version_2;

use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use beget_tests::{Need, beget, finish, is_root, skip, text};
use serde_json::Value;

/// Runs `beget run --base` with these words: exit code, standard output, standard error.
fn ran(words: &[&str]) -> (Option<i32>, String, String) {
    let output = finish(beget().args(["run", "--base"]).args(words).stdin(Stdio::null()));
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// The same, with what `--json` says at the end.
fn told(words: &[&str]) -> (Option<i32>, String, Value) {
    let (code, _, errors) = ran(&[&["--json"], words].concat());
    let result = errors.lines().last().and_then(|line| serde_json::from_str(line).ok());
    (code, errors.clone(), result.unwrap_or_else(|| panic!("no result: {errors}")))
}

fn fine(out: &str) -> (Option<i32>, String, String) {
    (Some(0), out.to_owned(), String::new())
}

/// What one call says of the machine or of this process.
fn asked(command: &str) -> String {
    text(&Command::new("/bin/sh").args(["-c", command]).output().unwrap().stdout).trim().to_owned()
}

#[test]
fn open_files_are_limited() {
    let inside = |limit: &str, script: &str| ran(&["--open-files", limit, "--", "sh", "-c", script]);
    assert_eq!(inside("50", "ulimit -Sn; ulimit -Hn"), fine("50\n50\n"));
    let eighth = "exec 8</dev/null; [ -e /proc/self/fd/8 ] && echo opened";
    assert_eq!(inside("9", eighth), fine("opened\n"));
    let (code, out, _) = inside("8", eighth);
    assert!(code != Some(0) && out.is_empty(), "{out}");
    assert_ne!(inside("50", "ulimit -n 51").0, Some(0), "it was raised");
}

/// A limit that the program itself can live with is one that its birth lives with: what the birth needs is not the program's.
#[test]
fn few_open_files_are_enough_for_a_program_that_needs_few() {
    for limit in ["4", "5", "6", "7", "8"] {
        assert_eq!(ran(&["--open-files", limit, "--", "sh", "-c", "ulimit -n"]), fine(&format!("{limit}\n")));
    }
}

#[test]
fn processors_are_limited_for_good() {
    let all: usize = asked("nproc").parse().unwrap();
    for count in 1..=all.min(8) {
        let count = count.to_string();
        assert_eq!(ran(&["--cpus", &count, "--", "nproc"]), fine(&format!("{count}\n")));
        // Its children too.
        let script = "nproc; (nproc)";
        let twice = format!("{count}\n{count}\n");
        assert_eq!(ran(&["--cpus", &count, "--spawn", "--", "sh", "-c", script]), fine(&twice));
    }
    let (code, _, errors) = ran(&["--cpus", &(all + 1).to_string(), "--", "nproc"]);
    assert_eq!((code, errors.lines().count()), (Some(125), 1));
    assert!(errors.starts_with(&format!("beget: limit --cpus {}: ", all + 1)), "{errors}");
}

#[test]
fn processors_are_not_widened_from_inside() {
    if asked("nproc") == "1" {
        return skip("processors_are_not_widened_from_inside", Need::Machine("a second processor"));
    }
    let allowed = asked("taskset -cp $$ | sed 's/.*: //'");
    let widen = ["--", "taskset", "-c", &allowed, "nproc"];
    assert_eq!(ran(&widen), fine(&format!("{}\n", asked("nproc"))), "without a limit it may");
    let (code, out, errors) = ran(&[&["--cpus", "1"], &widen[..]].concat());
    assert!(code != Some(0) && out.is_empty(), "{out}");
    assert!(errors.contains("taskset"), "{errors}");
    // Nor by a child of its own.
    let script = format!("taskset -c {allowed} nproc; nproc");
    assert_eq!(ran(&["--cpus", "1", "--spawn", "--", "sh", "-c", &script]).1, "1\n");
}

#[test]
fn what_only_a_cgroup_could_keep_is_refused_unless_given_up() {
    for (flag, value) in [("memory", "64M"), ("processes", "50")] {
        let limit = [format!("--{flag}"), value.to_owned()];
        let without = |more: &[&str]| {
            let limit = limit.iter().map(String::as_str);
            ran(&["--as-if", "cgroup=none"]
                .into_iter()
                .chain(limit)
                .chain(more.iter().copied())
                .collect::<Vec<_>>())
        };
        let (code, out, errors) = without(&["--", "true"]);
        assert_eq!((code, out.as_str(), errors.lines().count()), (Some(125), "", 1));
        let words = format!("beget: limit --{flag}: needs a cgroup, and none can be made: ");
        assert!(errors.starts_with(&words), "{errors}");
        assert!(errors.ends_with(&format!("; give it up with --degrade {flag}\n")), "{errors}");
        // To give up another promise is no help.
        assert_eq!(without(&["--degrade", "signals", "--", "true"]).0, Some(125));
        assert_eq!(without(&["--degrade", flag, "--", "true"]), fine(""));
        // What is done instead is told apart from what was asked for.
        let words = ["show", "--as-if", "cgroup=none", &limit[0], value, "--degrade", flag, "--json"];
        let shown: Value = serde_json::from_slice(&beget_tests::run(&words).stdout).expect("JSON");
        let lines = shown["enforced"].as_array().expect("a list");
        let line = lines.iter().find(|line| line["promise"] == flag).expect("it is promised");
        assert!(line["by"].is_null(), "{line}");
        assert!(
            line["instead"].as_str().is_some_and(|words| words.starts_with("resource limit, of ")),
            "{line}"
        );
    }
}

#[test]
fn memory_of_each_process_is_limited_where_the_whole_was_given_up() {
    let take = ["--", "dd", "if=/dev/zero", "of=/dev/null", "bs=200M", "count=1", "status=none"];
    assert_eq!(ran(&take), fine(""));
    let limited = [&["--memory", "64M", "--as-if", "cgroup=none", "--degrade", "memory"], &take[..]].concat();
    let (code, _, errors) = ran(&limited);
    assert!(code != Some(0) && errors.contains("memory"), "{code:?} {errors}");
    let less = [
        "--memory",
        "64M",
        "--as-if",
        "cgroup=none",
        "--degrade",
        "memory",
        "--",
        "dd",
        "if=/dev/zero",
        "of=/dev/null",
        "bs=20M",
        "count=1",
    ];
    assert_eq!(ran(&less).0, Some(0));
    let script = [
        "--memory",
        "64M",
        "--as-if",
        "cgroup=none",
        "--degrade",
        "memory",
        "--",
        "sh",
        "-c",
        "ulimit -Sd; ulimit -Hd",
    ];
    assert_eq!(ran(&script), fine("65536\n65536\n"));
}

#[test]
fn processes_are_counted_where_the_tree_was_given_up() {
    let limited = |limit: &str, script: &str| {
        let without = ["--as-if", "cgroup=none", "--degrade", "processes"];
        ran(&[&["--spawn", "--processes", limit], &without[..], &["--", "sh", "-c", script]].concat())
    };
    // What the shells call this limit differs; its file does not.
    let (code, out, _) = ran(&[
        "--read",
        "/proc",
        "--processes",
        "77",
        "--as-if",
        "cgroup=none",
        "--degrade",
        "processes",
        "--",
        "cat",
        "/proc/thread-self/limits",
    ]);
    assert_eq!(code, Some(0));
    let line = out.lines().find(|line| line.starts_with("Max processes")).expect("it is there");
    assert_eq!(line.split_whitespace().skip(2).take(2).collect::<Vec<_>>(), ["77", "77"]);
    if is_root() {
        return skip("processes_are_counted_where_the_tree_was_given_up", Need::OrdinaryUser);
    }
    let (code, out, errors) = limited("1", "true & wait; echo went on");
    assert!(code != Some(0) && out.is_empty() && errors.to_lowercase().contains("fork"), "{out} {errors}");
}

/// The defaults, whatever the caller's own soft limits are.
#[test]
fn fresh_limits_do_not_depend_on_the_callers() {
    let script =
        "ulimit -Sn; ulimit -Ss; ulimit -Sc; ulimit -Hc; ulimit -Sf; ulimit -St; ulimit -Sd; ulimit -Sv";
    let inside = |soft: &'static [(libc::__rlimit_resource_t, u64)]| {
        let mut command = beget();
        command.args(["run", "--base", "--", "sh", "-c", script]).stdin(Stdio::null());
        // SAFETY: system calls that a forked child may make, on its own stack.
        unsafe {
            command.pre_exec(move || {
                for (resource, soft) in soft {
                    let mut bounds = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
                    libc::getrlimit(*resource, &raw mut bounds);
                    bounds.rlim_cur = bounds.rlim_max.min(*soft);
                    libc::setrlimit(*resource, &raw const bounds);
                }
                Ok(())
            })
        };
        let output = finish(&mut command);
        assert!(output.status.success(), "{}", text(&output.stderr));
        text(&output.stdout)
    };
    let plain = inside(&[]);
    let odd = inside(&[
        (libc::RLIMIT_NOFILE, 100),
        (libc::RLIMIT_STACK, 1 << 20),
        (libc::RLIMIT_CORE, libc::RLIM_INFINITY),
        (libc::RLIMIT_FSIZE, 1 << 20),
        (libc::RLIMIT_CPU, 3600),
        (libc::RLIMIT_DATA, 1 << 30),
        (libc::RLIMIT_AS, 4 << 30),
    ]);
    assert_eq!(odd, plain);
    let lines: Vec<&str> = plain.lines().collect();
    let least = |fresh: u64, hard: &str| hard.parse().map_or(fresh, |hard: u64| hard.min(fresh)).to_string();
    assert_eq!(lines[0], least(1024, &asked("ulimit -Hn")));
    assert_eq!(lines[1], least(8192, &asked("ulimit -Hs")));
    assert_eq!(lines[2..4], ["0", "0"]);
    assert_eq!(lines[4..], ["f", "t", "d", "v"].map(|limit| asked(&format!("ulimit -H{limit}"))));
}
