//! What is left of a limited tree: nothing, however it ended.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use beget::{Command, Grant, Limit, Nursery, Process};
use beget_tests::{Scratch, alone, beget, descriptors, mark, marked};

use super::groups::{groups_of, trees_can_be_limited};

const NONE: Vec<PathBuf> = Vec::new();

/// A limited command that sleeps, with `mark` among its arguments.
fn sleeper(mark: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "sleep 25 & sleep 25; true", mark]).grants([Grant::Base, Grant::Spawn]);
    command.limit(Limit::Processes(10));
    command
}

fn own_groups() -> Vec<PathBuf> {
    groups_of(std::process::id())
}

/// Nothing is waited for longer than a patient person would.
fn until(what: &str, mut done: impl FnMut() -> bool) {
    for _ in 0..2000 {
        if done() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("{what}: not within ten seconds");
}

/// What a child leaves ends when somebody learns of its end, without a nursery too.
#[test]
fn what_it_leaves_in_its_group_is_ended() {
    const NAME: &str = "left::what_it_leaves_in_its_group_is_ended";
    if !trees_can_be_limited(NAME) {
        return;
    }
    alone(NAME, || {
        let before = descriptors();
        let mark = mark();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "setsid sleep 25 & setsid sleep 25 & exit 7", &mark]);
        command
            .grants([Grant::Base, Grant::Spawn])
            .limit(Limit::Processes(10))
            .limit(Limit::Memory(64 << 20));
        let ended = command.status().expect("it ends");
        assert_eq!((ended.exit_code(), marked(&mark), own_groups()), (7, vec![], NONE));
        assert!(ended.tree.is_some_and(|tree| tree.processes_peak > Some(1)), "{ended:?}");
        drop(command);
        assert_eq!(descriptors(), before);
    });
}

#[test]
fn every_end_removes_the_group() {
    const NAME: &str = "left::every_end_removes_the_group";
    if !trees_can_be_limited(NAME) {
        return;
    }
    alone(NAME, || {
        type End = fn(&mut Process);
        let ends: [(&str, bool, End); 4] = [
            ("killed", false, |process| process.kill().expect("it is ours")),
            ("terminated", false, |process| _ = process.terminate(Duration::from_secs(20))),
            ("its tree killed", false, |process| process.kill_tree().expect("it has a group")),
            ("its tree killed, with a nursery", true, |process| process.kill_tree().expect("it has both")),
        ];
        for (what, tree, end) in ends {
            let mark = mark();
            let mut process = sleeper(&mark).own_tree(tree).spawn().expect("it starts");
            assert!(!own_groups().is_empty(), "{what}");
            end(&mut process);
            process.wait().expect("it ends");
            assert_eq!((marked(&mark), own_groups()), (vec![], NONE), "{what}");
        }
        // Dropped, in all the ways that end it.
        let mark = mark();
        drop(sleeper(&mark).kill_on_drop(true).spawn().expect("it starts"));
        drop(sleeper(&mark).own_tree(true).spawn().expect("it starts"));
        let nursery = Nursery::new().expect("a nursery");
        let in_nursery = sleeper(&mark).nursery(&nursery).spawn().expect("it starts");
        drop(nursery);
        drop(in_nursery);
        assert_eq!((marked(&mark), own_groups()), (vec![], NONE));
    });
}

/// One that runs on has its limits still, and its group is removed when it has ended and another is made.
#[test]
fn one_that_is_let_go_runs_on() {
    const NAME: &str = "left::one_that_is_let_go_runs_on";
    if !trees_can_be_limited(NAME) {
        return;
    }
    alone(NAME, || {
        let mark = mark();
        drop(sleeper(&mark).spawn().expect("it starts"));
        until("it runs", || !marked(&mark).is_empty());
        let groups = own_groups();
        assert!(!groups.is_empty());
        assert!(Command::new("/bin/true").grant(Grant::Base).limit(Limit::Processes(10)).status().is_ok());
        assert_eq!(own_groups(), groups, "nobody ended it");
        for number in marked(&mark) {
            // SAFETY: processes that this test made and nobody reaps.
            unsafe { libc::kill(number as i32, libc::SIGKILL) };
        }
        // The sleeping ones have no mark.
        for group in &groups {
            let list = std::fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
            for number in list.lines().filter_map(|line| line.parse::<i32>().ok()) {
                // SAFETY: as above.
                unsafe { libc::kill(number, libc::SIGKILL) };
            }
        }
        until("it is removed", || {
            let mut next = Command::new("/bin/true");
            next.grant(Grant::Base).limit(Limit::Processes(10)).status().is_ok() && own_groups().is_empty()
        });
    });
}

/// A birth that fails at its beginning, in its middle and at its end.
#[test]
fn a_failed_birth_leaves_no_group() {
    const NAME: &str = "left::a_failed_birth_leaves_no_group";
    if !trees_can_be_limited(NAME) {
        return;
    }
    alone(NAME, || {
        let scratch = Scratch::new();
        let text = scratch.executable("text", "no program\n");
        let nursery = Nursery::new().expect("a nursery");
        let fails: [&dyn Fn(&mut Command); 5] = [
            &|_| {},
            &|command| _ = command.process_group(1),
            &|command| _ = command.nursery(&nursery),
            &|command| _ = command.own_tree(true).process_group(1),
            &|command| _ = command.stdin(beget::Stdio::null()).foreground(true),
        ];
        let children = beget_tests::children();
        for (index, change) in fails.into_iter().enumerate() {
            let mut command = Command::new(&text);
            command.grant(Grant::Base).limit(Limit::Processes(5)).limit(Limit::Memory(1 << 24));
            change(&mut command);
            command.spawn().expect_err("it cannot start");
            assert_eq!(own_groups(), NONE, "case {index}");
        }
        assert_eq!(beget_tests::children(), children);
    });
}

fn run_of(mark: &str) -> Child {
    let mut command = beget();
    command.args(["run", "--base", "--spawn", "--processes", "10", "--memory", "64M", "--"]);
    command.args(["sh", "-c", "sleep 25 & sleep 25; true", mark]);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

#[test]
fn a_run_that_is_interrupted_leaves_no_group() {
    if !trees_can_be_limited("a_run_that_is_interrupted_leaves_no_group") {
        return;
    }
    let mark = mark();
    let mut run = run_of(&mark);
    until("it runs in a group", || marked(&mark).len() > 1 && !groups_of(run.id()).is_empty());
    // SAFETY: sends a signal to our own child, which is not reaped yet.
    unsafe { libc::kill(run.id() as i32, libc::SIGTERM) };
    run.wait().expect("our child");
    assert_eq!((marked(&mark), groups_of(run.id())), (vec![], NONE));
}

/// Then nobody is there to remove the group; the next who makes one does.
#[test]
fn the_group_of_a_killed_run_is_removed_by_the_next() {
    if !trees_can_be_limited("the_group_of_a_killed_run_is_removed_by_the_next") {
        return;
    }
    let mark = mark();
    let mut run = run_of(&mark);
    until("it runs in a group", || marked(&mark).len() > 1 && !groups_of(run.id()).is_empty());
    run.kill().expect("our child");
    run.wait().expect("our child");
    until("its processes end", || marked(&mark).is_empty());
    until("its group is removed", || {
        super::ran(&["--processes", "10", "--memory", "64M", "--", "true"]).0 == Some(0)
            && groups_of(run.id()).is_empty()
    });
}

/// A thousand at once, each with limits of its own.
#[test]
fn a_thousand_at_once_leave_nothing() {
    const NAME: &str = "left::a_thousand_at_once_leave_nothing";
    if !trees_can_be_limited(NAME) {
        return;
    }
    alone(NAME, || {
        // What is made once, and kept.
        drop(Nursery::new().expect("a nursery"));
        let before = descriptors();
        let children = beget_tests::children();
        // Twice as many descriptors as there are children, and some.
        beget_sys::process::set_limit(7, beget_sys::process::Bounds { soft: 8192, hard: 8192 })
            .expect("below the hard limit");
        let nursery = Nursery::new().expect("a nursery");
        let mark = mark();
        let mut command = Command::new("/bin/sleep");
        command.arg("60").arg0(&mark).grant(Grant::Base).limit(Limit::Processes(2)).nursery(&nursery);
        let processes: Vec<Process> = (0..1000).map(|_| command.spawn().expect("it starts")).collect();
        assert!(own_groups().len() >= 1000);
        assert_eq!(marked(&mark).len(), 1000);
        for process in &processes {
            process.kill().expect("it is ours");
        }
        for process in &processes {
            let ended = process.wait_shared().expect("it ends");
            assert_eq!(ended.tree.and_then(|tree| tree.processes_peak), Some(1));
        }
        assert_eq!((marked(&mark), own_groups()), (vec![], NONE));
        drop((processes, command, nursery));
        assert_eq!((descriptors(), beget_tests::children()), (before, children));
    });
}
