//! Limits of a whole tree, kept by a cgroup: by what they do to programs that would have more.

use std::process::Stdio;

use beget::{Batch, Command, Grant, Limit, Loader, Nursery};
use beget_tests::{Need, beget, finish, is_root, mark, marked, skip, text};
use serde_json::Value;

use super::groups::{groups_of, trees_can_be_limited};
use super::{ran, told};

/// Holds so many mebibytes, for a moment.
const HOLD: &str = "$x = 'x' x ($ARGV[0] << 20); select(undef, undef, undef, 0.5)";

#[test]
fn a_fork_bomb_is_stopped_and_ends() {
    if !trees_can_be_limited("a_fork_bomb_is_stopped_and_ends") {
        return;
    }
    let mark = mark();
    // Every process of it starts two more, for as long as any lives.
    let bomb = format!("b() {{ b '{mark}' | b & }}; b 2>/dev/null; sleep 0.3; exit 5");
    let words = ["--spawn", "--processes", "30", "--timeout", "20s", "--", "bash", "-c", &bomb];
    let (code, errors, result) = told(&words);
    let tree = &result["tree"];
    assert!(code.is_some() && result["timed_out"] == false, "{code:?} {errors}");
    assert_eq!(tree["processes_peak"], 30, "{errors}");
    assert!(tree["processes_refused"].as_u64() > Some(0), "{errors}");
    assert!(errors.contains("beget: limit --processes 30: the program was refused a process "), "{errors}");
    assert_eq!(marked(&mark), Vec::<u32>::new());
}

/// Beside a bomb that has all that it may, another program has all that it wants.
#[test]
fn a_neighbour_of_a_bomb_is_unharmed() {
    if !trees_can_be_limited("a_neighbour_of_a_bomb_is_unharmed") {
        return;
    }
    let mark = mark();
    let bomb = format!("b() {{ b '{mark}' | b & }}; b 2>/dev/null; exec sleep 25");
    let words =
        ["run", "--base", "--spawn", "--processes", "25", "--memory", "100M", "--", "bash", "-c", &bomb];
    let mut beside = beget();
    beside.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut bomb = beside.spawn().expect("it starts");
    while marked(&mark).len() < 20 {
        std::thread::sleep(std::time::Duration::from_millis(5));
        assert!(bomb.try_wait().expect("our child").is_none(), "it is to last");
    }
    let script = "for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.01 & done; wait; echo all of them";
    let words = ["--spawn", "--processes", "15", "--memory", "100M", "--", "sh", "-c", script];
    assert_eq!(super::ran(&words), super::fine("all of them\n"));
    // SAFETY: sends a signal to our own child, which is not reaped yet.
    unsafe { libc::kill(bomb.id() as i32, libc::SIGTERM) };
    bomb.wait().expect("our child");
    assert_eq!(marked(&mark), Vec::<u32>::new());
}

#[test]
fn a_memory_hog_is_ended_and_told_of() {
    if !trees_can_be_limited("a_memory_hog_is_ended_and_told_of") {
        return;
    }
    let hog = |limit: &str| told(&["--memory", limit, "--", "perl", "-e", HOLD, "100"]);
    let (code, errors, result) = hog("400M");
    assert_eq!((code, &result["out_of_memory"]), (Some(0), &Value::Bool(false)), "{errors}");
    let peak = result["tree"]["memory_peak"].as_u64().expect("it is known");
    assert!((100 << 20..400 << 20).contains(&peak), "{peak}");
    let (code, errors, result) = hog("64M");
    assert_eq!(code, Some(137), "{errors}");
    assert!(errors.starts_with("beget: limit --memory 64M: the program ran out of memory\n"), "{errors}");
    assert_eq!(result["out_of_memory"], true);
    assert!(result["tree"]["memory_peak"].as_u64().is_some_and(|peak| peak <= 64 << 20), "{errors}");
}

/// Each of them has less than the limit; what counts is what all of them have.
#[test]
fn memory_is_that_of_all_together() {
    if !trees_can_be_limited("memory_is_that_of_all_together") {
        return;
    }
    let script = format!("for i in 1 2 3 4 5 6 7 8; do perl -e '{HOLD}' $1 & done; wait");
    let eight = |each: &str| {
        told(&["--spawn", "--memory", "100M", "--", "sh", "-c", &script, "sh", each]).2["out_of_memory"]
            .clone()
    };
    assert_eq!((eight("4"), eight("25")), (false.into(), true.into()));
}

/// Without a cgroup nobody counts its memory or its processes; what it used besides is known of all that ended.
#[test]
fn without_a_limit_less_is_known_of_the_tree() {
    // One that burns time, and that nobody waits for.
    let script = "exec 3< <(perl -e '$| = 1; 1 while (times)[0] < 0.2; print qq{x\\n}; sleep 25'); read -u 3 x; exit 4";
    let (code, errors, result) = told(&["--spawn", "--", "bash", "-c", script]);
    assert_eq!(code, Some(4), "{errors}");
    for field in ["user_time", "system_time", "memory_peak", "bytes_in", "bytes_out"] {
        assert!(result[field].is_number(), "{field} in {errors}");
    }
    let tree = &result["tree"];
    for unknown in [&result["out_of_memory"], &tree["memory_peak"], &tree["processes_peak"]] {
        assert!(unknown.is_null(), "{errors}");
    }
    assert!(tree["user_time"].as_f64() >= Some(0.2) && tree["bytes_out"].is_number(), "{errors}");
    assert!(result["user_time"].as_f64() < tree["user_time"].as_f64(), "{errors}");
}

/// Whatever way a child is born.
#[test]
fn every_birth_is_limited() {
    if !trees_can_be_limited("every_birth_is_limited") {
        return;
    }
    let hog = || {
        let mut command = Command::new("/usr/bin/perl");
        command.args(["-e", HOLD, "200"]).grant(Grant::Base).limit(Limit::Memory(64 << 20));
        command.limit(Limit::Processes(5));
        command
    };
    let nursery = Nursery::new().expect("a nursery");
    let mut ways: Vec<(&str, Command)> = vec![("plain", hog())];
    let mut add = |way, change: &dyn Fn(&mut Command)| {
        let mut command = hog();
        change(&mut command);
        ways.push((way, command));
    };
    add("in a tree of its own", &|command| _ = command.own_tree(true));
    add("in a nursery", &|command| _ = command.nursery(&nursery));
    add("loaded without an exec", &|command| _ = command.loader(Loader::Direct));
    add("unconfined", &|command| _ = command.grant(Grant::Ambient));
    if is_root() {
        add("as another user", &|command| _ = command.uid(65534).gid(65534));
    }
    let check = |way: &str, process: &mut beget::Process| {
        let ended = process.wait().expect("it ends");
        assert_eq!((ended.exit_code(), ended.ran_out_of_memory()), (137, Some(true)), "{way}");
        let tree = ended.tree.expect("it is known");
        assert_eq!((tree.processes_peak, tree.processes_refused), (Some(1), Some(0)), "{way}");
    };
    for (way, command) in &mut ways {
        check(way, &mut command.spawn().unwrap_or_else(|error| panic!("{way}: {error}")));
        // What was prepared is good for another.
        check(way, &mut command.spawn().unwrap_or_else(|error| panic!("{way}, again: {error}")));
    }
    for mut batch in [Batch::new(), Batch::together()] {
        let mut command = hog();
        batch.add(&mut command, 3).expect("it can be in a batch");
        for process in batch.spawn(&nursery).expect("they are made") {
            check("in a batch", &mut process.expect("it is made"));
        }
    }
}

/// A program that limits are put on as root keeps them: the files that say them are not its to write.
#[test]
fn limits_are_not_raised_from_inside() {
    if !trees_can_be_limited("limits_are_not_raised_from_inside") {
        return;
    }
    let script = "for f in $(find /sys/fs/cgroup -name pids.max); do echo max >$f; done; \
                  for f in $(find /sys/fs/cgroup -name cgroup.procs); do echo $$ >$f; done; \
                  sleep 9 & sleep 9 & sleep 9 & kill %1 %2 %3; wait";
    let words = ["run", "--base", "--read", "/sys/fs/cgroup", "--spawn", "--processes", "3", "--json"];
    let output = finish(beget().args(words).args(["--", "bash", "-c", script]).stdin(Stdio::null()));
    let errors = text(&output.stderr);
    let result: Value = serde_json::from_str(errors.lines().last().unwrap_or_default()).expect("JSON");
    assert!(result["tree"]["processes_refused"].as_u64() > Some(0), "{errors}");
    assert_eq!(result["tree"]["processes_peak"], 3, "{errors}");
}

/// Two limits, one of a kind counts: the last.
#[test]
fn the_last_limit_counts() {
    if !trees_can_be_limited("the_last_limit_counts") {
        return;
    }
    let words =
        ["--processes", "500", "--processes", "2", "--spawn", "--", "bash", "-c", "sleep 0 & sleep 0 & wait"];
    let (_, errors, result) = told(&words);
    assert_eq!(result["tree"]["processes_peak"], 2, "{errors}");
}

/// Groups that a caller names are used, or it is told why they cannot be.
#[test]
fn a_group_that_cannot_be_limited_is_named() {
    let root = std::fs::File::open("/").expect("the root");
    let mut command = Command::new("/bin/true");
    command.grant(Grant::Base).limit(Limit::Memory(64 << 20)).cgroup(root);
    let error = command.spawn().expect_err("that is no cgroup").to_string();
    let words = "limit --memory: needs a cgroup, and none can be made: what was given as a cgroup is none of version 2";
    assert!(error.starts_with(words), "{error}");
    assert_eq!(groups_of(std::process::id()), Vec::<std::path::PathBuf>::new());
}

/// Without a cgroup, an ordinary user's processes in a private root are counted by its own user namespace: others of this user do not
/// count there, and it does not count among them.
#[test]
fn processes_in_a_private_root_are_counted_for_themselves() {
    const TEST: &str = "processes_in_a_private_root_are_counted_for_themselves";
    if is_root() {
        return skip(TEST, Need::OrdinaryUser);
    }
    let bomb = "for i in 1 2 3 4 5 6 7 8; do sleep 10 & done; echo all";
    let words = |count, script| {
        ["--root", "--spawn", "--as-if", "cgroup=none", "--processes", count, "--", "sh", "-c", script]
    };
    let mut neighbours: Vec<_> = (0..12)
        .map(|_| std::process::Command::new("sleep").arg("30").spawn().expect("sleep starts"))
        .collect();
    let (code, out, errors) = ran(&words("5", bomb));
    assert!(code != Some(0) && out.is_empty(), "{code:?} {out} {errors}");
    // Exactly so many: the shell and four more.
    let four = "for i in 1 2 3 4; do sleep 0.1 & done; wait; echo four";
    assert_eq!(ran(&words("5", four)).1, "four\n");
    for neighbour in &mut neighbours {
        assert!(neighbour.try_wait().expect("it is ours").is_none(), "a neighbour was ended");
        neighbour.kill().expect("it is ours");
        neighbour.wait().expect("it is ours");
    }
}
