//! A host that takes statuses which are not its own: it waits for any child, or ignores SIGCHLD.

use std::os::unix::process::ExitStatusExt;

use beget::{Ended, Fault, Process, Result};
use beget_tests::{in_own_process, skip};

use crate::probe;

/// The right status without resource use, where the kernel kept a note of it; else the error that says what happened.
fn assert_told(test: &str, answer: Result<Ended>, raw: i32) {
    match answer {
        Ok(ended) => assert_eq!((ended.status.into_raw(), ended.usage), (raw, None)),
        Err(error) => {
            assert_eq!((error.fault(), error.part()), (Fault::StatusTaken, "wait"), "{error}");
            skip(
                test,
                beget_tests::Need::Machine(
                    "a kernel that keeps the exit status (Linux 6.15); got the typed error",
                ),
            );
        }
    }
}

/// Waits for any child, as some hosts do, until `process` is gone.
fn reap_any(process: &Process) {
    let mut status = 0;
    // SAFETY: the kernel writes one int.
    assert_eq!(unsafe { libc::waitpid(-1, &mut status, 0) }, process.id() as i32);
}

#[test]
fn a_host_that_waits_for_any_child() {
    let test = "taken::a_host_that_waits_for_any_child";
    in_own_process(test, || {
        for (words, raw) in [(["exit", "7"], 7 << 8), (["exit", "0"], 0), (["signal", "15"], 15)] {
            let mut process = probe(&words).spawn().expect("spawn");
            reap_any(&process);
            assert_told(test, process.wait(), raw);
            assert_told(test, process.wait_shared(), raw);
            process.kill().expect("nothing happens");
        }
    });
}

#[test]
fn a_host_that_waits_while_we_do() {
    let test = "taken::a_host_that_waits_while_we_do";
    in_own_process(test, || {
        let process = probe(&["sleep"]).spawn().expect("spawn");
        std::thread::scope(|scope| {
            // Sleeps in the kernel before the child ends, so that it gets the status of a child that is being waited for.
            let host = scope.spawn(|| {
                let mut status = 0;
                // SAFETY: the kernel writes one int.
                unsafe { libc::waitpid(-1, &mut status, 0) }
            });
            process.signal(libc::SIGTERM).expect("signal");
            let answer = process.wait_timeout(crate::LONG).map(|ended| ended.expect("it ends"));
            let took = host.join().expect("no panic");
            match took {
                // We were first; the host was told that there are no children.
                -1 => assert!(answer.expect("ours").usage.is_some()),
                _ => assert_told(test, answer, libc::SIGTERM),
            }
        });
    });
}

#[test]
fn a_host_that_ignores_sigchld() {
    let test = "taken::a_host_that_ignores_sigchld";
    in_own_process(test, || {
        // SAFETY: a disposition of this process, which has only this test.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let process = probe(&["exit", "9"]).spawn().expect("spawn");
        let answer = process.wait_timeout(crate::LONG).map(|ended| ended.expect("it ends"));
        assert_told(test, answer, 9 << 8);
        // One that is told to end when its handle goes, and cannot be waited for any more, does not hold us up.
        drop(probe(&["sleep"]).kill_on_drop(true).spawn().expect("spawn"));
        assert_eq!(beget_tests::children(), std::collections::BTreeSet::new());
        let output = probe(&["say", "hello"]).output();
        match output {
            Ok(output) => assert_eq!(output.stdout, b"hello\n"),
            Err(error) => assert_eq!(error.fault(), Fault::StatusTaken),
        }
    });
}

#[test]
fn a_host_that_wants_no_zombies() {
    let test = "taken::a_host_that_wants_no_zombies";
    in_own_process(test, || {
        // SAFETY: a disposition of this process, which has only this test.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_flags = libc::SA_NOCLDWAIT;
            assert_eq!(libc::sigaction(libc::SIGCHLD, &action, std::ptr::null_mut()), 0);
        }
        let process = probe(&["signal", "6"]).spawn().expect("spawn");
        let answer = process.wait_timeout(crate::LONG).map(|ended| ended.expect("it ends"));
        assert_told(test, answer, libc::SIGABRT);
    });
}

/// A birth that fails is no child: a host's wait for any child never sees it, not even for a moment.
#[test]
fn a_failed_birth_is_not_seen_by_the_host() {
    in_own_process("taken::a_failed_birth_is_not_seen_by_the_host", || {
        let error = probe(&[]).process_group(1).spawn().expect_err("that group is of another session");
        assert_eq!(error.part(), "process group 1");
        let mut status = 0;
        // SAFETY: the kernel writes one int.
        assert_eq!(unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG | libc::__WALL) }, -1);
        assert_eq!(std::io::Error::last_os_error().raw_os_error(), Some(libc::ECHILD));
    });
}
