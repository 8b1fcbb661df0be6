//! One command, spawned many times: nothing piles up, and each child is what was declared.

use std::fs::File;
use std::os::fd::AsRawFd;

use beget::{Grant, Stdio};
use beget_tests::{children, descriptors, in_own_process};

use crate::{end, probe, report};

/// Anonymous memory of this process, in KiB.
fn memory() -> i64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("/proc is there");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("it is told");
    line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
}

#[test]
fn a_thousand_spawns_leave_nothing() {
    in_own_process("reuse::a_thousand_spawns_leave_nothing", || {
        let clean = descriptors();
        let mut command = probe(&["say", "word"]);
        command.grant(Grant::Base).stdin(Stdio::piped()).stdout(Stdio::piped()).tell_refusals(true);
        command.slot("null", File::open("/dev/null").expect("/dev/null")).env("A", "b");
        let mut one = || {
            let output = command.spawn().expect("spawn").wait_with_output().expect("wait");
            assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(0), &b"word\n"[..]));
        };
        for _ in 0..100 {
            one();
        }
        let (held, before) = (descriptors(), memory());
        for _ in 0..900 {
            one();
        }
        assert_eq!(descriptors(), held, "no descriptor more than the command keeps");
        assert_eq!(children(), std::collections::BTreeSet::new());
        let grown = memory() - before;
        // A leak of one descriptor's worth of words per spawn would already be more.
        assert!(grown < 512, "{grown} KiB more");
        drop(command);
        assert_eq!(descriptors(), clean);
    });
}

#[test]
fn failures_leave_nothing_either() {
    in_own_process("reuse::failures_leave_nothing_either", || {
        let clean = descriptors();
        let mut command = probe(&[&"x".repeat(200_000)]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).tell_refusals(true);
        let mut one = || {
            let error = command.spawn().expect_err("the kernel takes no argument as long as this one");
            assert_eq!(error.errno(), Some(libc::E2BIG), "{error}");
        };
        (0..20).for_each(|_| one());
        let (held, before) = (descriptors(), memory());
        (0..200).for_each(|_| one());
        assert_eq!((descriptors(), children()), (held, std::collections::BTreeSet::new()));
        let grown = memory() - before;
        assert!(grown < 1024, "{grown} KiB more");
        drop(command);
        assert_eq!(descriptors(), clean);
    });
}

#[test]
fn many_live_at_once() {
    let mut command = probe(&["cat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::null());
    let all: Vec<_> = (0..50).map(|_| command.spawn().expect("spawn")).collect();
    let numbers: std::collections::BTreeSet<u32> = all.iter().map(beget::Process::id).collect();
    assert_eq!(numbers.len(), 50);
    assert!(all.iter().all(|process| process.try_wait().expect("wait").is_none()));
    for mut process in all {
        drop(process.stdin.take());
        assert_eq!(end(&process).exit_code(), 0);
    }
}

/// What is changed between two spawns is what the second child has.
#[test]
fn a_changed_command_is_prepared_anew() {
    let mut command = probe(&[]);
    assert_eq!(report(command.umask(0o077))["umask"], "077");
    assert_eq!(report(command.umask(0o027))["umask"], "027");
    assert_eq!(report(command.env("A", "1"))["env.0"], "A=1");
    assert_eq!(report(command.env("A", "2"))["env.0"], "A=2");
}

/// Limits are the declared ones, whatever the caller does to its own between two spawns.
#[test]
fn a_later_spawn_does_not_follow_the_callers_soft_limits() {
    in_own_process("reuse::a_later_spawn_does_not_follow_the_callers_soft_limits", || {
        let set = |soft: u64| {
            let mut bounds = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
            // SAFETY: one structure is written, and read.
            unsafe {
                libc::getrlimit(libc::RLIMIT_NOFILE, &mut bounds);
                bounds.rlim_cur = soft.min(bounds.rlim_max);
                assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &bounds), 0);
            }
        };
        set(1024);
        let mut command = probe(&[]);
        let first = report(&mut command)["limit.nofile"].clone();
        let declared = command.describe().expect("describe");
        let (_, soft, _) = declared.limits[libc::RLIMIT_NOFILE as usize];
        assert_eq!(first.split(' ').next(), Some(&*soft.to_string()));
        set(100);
        assert_eq!(report(&mut command)["limit.nofile"], first);
    });
}

/// A path was opened at the first spawn; what a name means later changes nothing.
#[test]
fn a_grant_means_the_file_that_was_there() {
    let scratch = beget_tests::Scratch::new();
    let path = scratch.file("file", "granted");
    let mut command = probe(&["cat", &path]);
    command.grant(Grant::Read(path.clone().into()));
    assert_eq!(command.output().expect("spawn").stdout, b"granted");
    std::fs::rename(&path, scratch.at("moved")).expect("our own");
    scratch.file("file", "another");
    let output = command.output().expect("spawn");
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    // By its new name it is still the one that was granted.
    let mut command = probe(&["try", "read", &scratch.at("moved"), "read", &path]);
    let granted = File::open(scratch.at("moved")).expect("our own");
    command.grant(Grant::Read(format!("/proc/self/fd/{}", granted.as_raw_fd()).into()));
    let expected = format!("read {} ok\nread {path} EACCES\n", scratch.at("moved"));
    assert_eq!(crate::said(&mut command), expected);
}
