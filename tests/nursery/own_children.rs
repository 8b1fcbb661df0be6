//! Children that a nursery makes and that are this process's own (`CLONE_PARENT`).

use beget::{Command, Fault, Grant, Nursery};
use beget_tests::{in_own_process, program};

use crate::{end, exists, probe, report};

#[test]
fn its_parent_is_this_process() {
    in_own_process("own_children::its_parent_is_this_process", || {
        let bare = Nursery::bare().expect("a nursery");
        let told = report(probe(&[]).own_child(true).nursery(&bare));
        assert_eq!(told["ppid"], std::process::id().to_string());
        assert_eq!([&told["pgid"], &told["sid"]], [&told["pid"]; 2]);
        let mut confined = Command::new(program("probe"));
        confined.grant(Grant::Base).own_child(true).nursery(&bare);
        let told = report(&mut confined);
        assert_eq!((told["ppid"].clone(), &*told["seccomp"]), (std::process::id().to_string(), "2"));
    });
}

/// In this process's session and group, when it is to stay there.
#[test]
fn it_stays_in_this_process_group() {
    let bare = Nursery::bare().expect("a nursery");
    let told = report(probe(&[]).own_child(true).session(false).nursery(&bare));
    // SAFETY: numbers only.
    let own = unsafe { [libc::getpgrp().to_string(), libc::getsid(0).to_string()] };
    assert_eq!([told["pgid"].clone(), told["sid"].clone()], own);
}

#[test]
fn the_host_can_wait_for_it() {
    in_own_process("own_children::the_host_can_wait_for_it", || {
        let bare = Nursery::bare().expect("a nursery");
        let process = probe(&["exit", "7"]).own_child(true).nursery(&bare).spawn().expect("spawn");
        let mut status = 0;
        // SAFETY: the kernel writes one int.
        let waited = unsafe { libc::waitpid(process.id() as i32, &mut status, 0) };
        assert_eq!(
            (waited, libc::WIFEXITED(status), libc::WEXITSTATUS(status)),
            (process.id() as i32, true, 7)
        );
        // And then the handle says that, or what the kernel kept.
        match process.wait_shared() {
            Ok(ended) => assert_eq!(ended.exit_code(), 7),
            Err(error) => assert_eq!(error.fault(), Fault::StatusTaken),
        }
        let process = probe(&["sleep"]).own_child(true).nursery(&bare).spawn().expect("spawn");
        process.signal(libc::SIGTERM).expect("signal");
        let ended = end(&process);
        assert!(ended.usage.is_some() && ended.exit_code() == 128 + libc::SIGTERM as u8);
        assert_eq!(beget_tests::children().len(), 1, "the nursery");
    });
}

/// The nursery ends what is its own, and not what is ours.
#[test]
fn it_outlives_the_nursery() {
    in_own_process("own_children::it_outlives_the_nursery", || {
        let bare = Nursery::bare().expect("a nursery");
        let process = probe(&["sleep"]).own_child(true).nursery(&bare).spawn().expect("spawn");
        let other = probe(&["sleep"]).nursery(&bare).spawn().expect("spawn");
        drop(bare);
        assert!(exists(process.id()) && exists(other.id()), "handles keep a nursery");
        let number = other.id();
        drop(other);
        assert!(!exists(number), "the last handle was gone");
        assert_eq!(process.try_wait().expect("wait"), None);
        process.kill().expect("kill");
        assert_eq!(end(&process).exit_code(), 128 + 9);
        assert_eq!(beget_tests::children().len(), 0);
    });
}

/// A birth that fails leaves no zombie with us.
#[test]
fn a_failed_birth_leaves_nothing() {
    in_own_process("own_children::a_failed_birth_leaves_nothing", || {
        let bare = Nursery::bare().expect("a nursery");
        let before = beget_tests::descriptors();
        for _ in 0..50 {
            let error = probe(&[])
                .process_group(1)
                .own_child(true)
                .nursery(&bare)
                .spawn()
                .expect_err("another session");
            assert_eq!(error.part(), "process group 1");
        }
        assert_eq!(beget_tests::children().len(), 1, "the nursery");
        assert_eq!(beget_tests::descriptors(), before);
        // Nor does a batch that cannot be.
        let (mut command, mut other) = (probe(&["exit", "0"]), probe(&["exit", "0"]));
        command.own_child(true);
        let mut batch = beget::Batch::together();
        batch.add(&mut command, 2).and_then(|()| batch.add(&mut other, 1)).expect("prepare");
        let error = batch.spawn(&bare).expect_err("ours could not be held back");
        assert_eq!((error.part(), error.fault()), ("batch", Fault::Caller), "{error}");
        assert_eq!(beget_tests::children().len(), 1, "the nursery");
        // An independent one can.
        let mut batch = beget::Batch::new();
        batch.add(&mut command, 3).and_then(|()| batch.add(&mut other, 3)).expect("prepare");
        for process in batch.spawn(&bare).expect("births") {
            assert!(end(&process.expect("born")).success());
        }
        assert_eq!(beget_tests::children().len(), 1, "the nursery");
    });
}

#[test]
fn only_a_bare_nursery_makes_them() {
    let guarded = Nursery::new().expect("a nursery");
    let error = probe(&[]).own_child(true).nursery(&guarded).spawn().expect_err("it has a guard");
    assert_eq!((error.part(), error.fault()), ("nursery", Fault::Caller), "{error}");
    let error = probe(&[]).own_child(true).spawn().expect_err("no nursery");
    assert_eq!((error.part(), error.fault()), ("own child", Fault::Caller), "{error}");
    let error = probe(&[]).own_child(true).own_tree(true).spawn().expect_err("not both");
    assert_eq!(error.fault(), Fault::Caller, "{error}");
}
