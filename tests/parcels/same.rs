//! The child of a parcel is the child that `spawn` would make.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use beget::{Command, Grant, Limit, ParcelOptions, Process, SignalSet};
use beget_channel::Holder;
use beget_tests::{descriptors, in_own_process, program};

use crate::{Midwife, WELL, pipe, rest};

/// A command that sets much of what can be set, and writes its report to `writing`.
fn command(writing: OwnedFd) -> Command {
    let mut command = Command::new(program("probe"));
    command.args(["report=1", "a word"]).arg0("another name").env("A", "B").env("EMPTY", "");
    command.stdout(writing).slot("one", null()).slot("two", null()).fd(9, null()).current_dir("/tmp");
    command.umask(0o27).signal_mask(SignalSet::EMPTY.with(12));
    command.limit(Limit::OpenFiles(200));
    command
}

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").expect("it is there").into()
}

/// What a report says, but for what is another in each process.
fn report(text: &str) -> BTreeMap<String, String> {
    let mut report = beget_tests::report(text.as_bytes());
    let own = |key: &str, value: &str| {
        let numbers = ["pid", "ppid", "pgrp", "sid", "pgid", "tid", "parent", "session", "group.process"];
        numbers.contains(&key)
            || value.starts_with("LISTEN_PID=")
            || value.starts_with("pipe")
            || key.starts_with("time")
    };
    report.retain(|key, value| !own(key, value));
    report
}

#[test]
fn it_holds_what_it_would_hold() {
    let (reading, writing) = pipe();
    let mut first = command(writing);
    let process: Process = first.own_tree(true).spawn().expect("spawn");
    drop(first);
    let spawned = report(&rest(reading));
    drop(process);
    let (reading, writing) = pipe();
    let mut second = command(writing);
    let parcel = second.parcel(ParcelOptions::default()).expect("packed");
    assert!(parcel.nursery.is_none() && parcel.spawner.is_none() && parcel.channel().is_none());
    drop(second);
    let (end, text) = Midwife::new().run(parcel, reading);
    assert_eq!(end, WELL);
    let packed = report(&text);
    assert!(spawned.len() > 50, "{spawned:?}");
    assert_eq!(packed, spawned);
}

#[test]
fn what_fails_is_told_in_the_same_words() {
    let mut command = Command::new(program("probe"));
    command.stdin(null()).foreground(true);
    let expected = command.own_tree(true).spawn().expect_err("it is no terminal").to_string();
    let parcel = command.parcel(ParcelOptions::default()).expect("that shows only at the birth");
    let told = Midwife::new().deliver(&parcel).expect_err("it is no terminal").to_string();
    assert_eq!(told, expected);
    assert_eq!(parcel.explain(u32::MAX, libc::EAGAIN).part(), "process");
}

#[test]
fn it_is_known_whether_it_can_create_processes() {
    let mut command = Command::new(program("probe"));
    let alone = |command: &mut Command| command.parcel(ParcelOptions::default()).expect("packed").alone();
    assert!(alone(&mut command));
    assert!(!alone(command.grant(Grant::Spawn)));
    assert!(!alone(Command::new(program("probe")).grant(Grant::Ambient)));
}

#[test]
fn its_channel_is_held_by_whoever_has_the_end() {
    let (reading, writing) = pipe();
    let mut command = Command::new(program("channel-client"));
    command.args(["ask", "log"]).channel(true).stdin(null()).stdout(writing).stderr(null());
    let parcel = command.parcel(ParcelOptions::default()).expect("packed");
    drop(command);
    let holder =
        Holder::from(parcel.channel().expect("asked for").try_clone_to_owned().expect("a descriptor"));
    assert!(parcel.description().channel);
    let midwife = Midwife::new();
    midwife.deliver(&parcel).expect("born");
    drop(parcel);
    assert_eq!(holder.asked(Duration::from_secs(60)), Ok(Some("log".to_owned())));
    let (theirs, ours) = pipe();
    std::io::Write::write_all(&mut std::fs::File::from(ours), b"from a holder").expect("a pipe of ours");
    holder.send("log", theirs.as_fd()).expect("it reads");
    drop((holder, theirs));
    assert_eq!(midwife.end().1, WELL);
    assert_eq!(rest(reading), "log: from a holder\nend\n");
}

#[test]
fn parcels_of_one_command_share_what_they_hold() {
    in_own_process("same::parcels_of_one_command_share_what_they_hold", || {
        let before = descriptors();
        let (reading, writing) = pipe();
        let mut one = command(writing);
        let first = one.parcel(ParcelOptions::default()).expect("packed");
        let opened = descriptors();
        let more: Vec<_> = (0..8).map(|_| one.parcel(ParcelOptions::default()).expect("packed")).collect();
        assert_eq!(descriptors(), opened);
        assert!(more.iter().all(|other| std::ptr::eq(other.plan(), first.plan())));
        let midwife = Midwife::new();
        more.into_iter().for_each(|parcel| assert!(midwife.deliver(&parcel).is_ok()));
        (0..8).for_each(|_| assert_eq!(midwife.end().1, WELL));
        drop((first, one));
        assert_eq!(
            beget_tests::report(rest(reading).as_bytes()).get("arg.0").map(String::as_str),
            Some("another name")
        );
        drop(midwife);
        assert_eq!(descriptors(), before);
    });
}
