//! Process groups, sessions, terminals and cgroups.

use std::fs::File;

use beget::{Fault, Grant, Stdio};
use beget_tests::{Need, is_root, skip};

use crate::{end, probe, report, terminal};

fn own() -> [String; 2] {
    // SAFETY: numbers only.
    unsafe { [libc::getpgrp().to_string(), libc::getsid(0).to_string()] }
}

#[test]
fn it_has_a_session_of_its_own_unless_told() {
    let told = report(&mut probe(&[]));
    assert_eq!([&told["pgid"], &told["sid"]], [&told["pid"]; 2]);
    assert_eq!(told["ppid"], std::process::id().to_string());
    let told = report(probe(&[]).session(false));
    assert_eq!([told["pgid"].clone(), told["sid"].clone()], own());
    let told = report(probe(&[]).session(false).session(true));
    assert_eq!([&told["pgid"], &told["sid"]], [&told["pid"]; 2]);
}

#[test]
fn a_group_can_be_made_and_joined() {
    let [_, session] = own();
    let told = report(probe(&[]).process_group(0));
    assert_eq!((&told["pgid"], &told["sid"]), (&told["pid"], &session));

    let leader = probe(&["sleep"]).process_group(0).kill_on_drop(true).spawn().expect("spawn");
    let told = report(probe(&[]).process_group(leader.id() as i32));
    assert_eq!((&told["pgid"], &told["sid"]), (&leader.id().to_string(), &session));
    // One signal for all of the group.
    let second = probe(&["sleep"]).process_group(leader.id() as i32).spawn().expect("spawn");
    // SAFETY: a group that only our children are in.
    assert_eq!(unsafe { libc::kill(-(leader.id() as i32), libc::SIGTERM) }, 0);
    assert_eq!([end(&leader).exit_code(), end(&second).exit_code()], [128 + libc::SIGTERM as u8; 2]);
}

#[test]
fn a_group_that_cannot_be_joined_is_refused() {
    let other = probe(&["sleep"]).kill_on_drop(true).spawn().expect("spawn");
    for group in [other.id() as i32, -5] {
        let error = probe(&[]).process_group(group).spawn().expect_err("another session, or no number");
        assert_eq!((error.part(), error.fault()), (&*format!("process group {group}"), Fault::Caller));
    }
}

#[test]
fn a_terminal_can_be_the_controlling_one() {
    let (_near, far) = terminal();
    let copy = || far.try_clone().expect("a descriptor");
    // Held, and no more than that.
    let told = report(probe(&[]).stdin(Stdio::from(copy())));
    assert_eq!((&*told["terminal.held"], &*told["terminal"]), ("", "EACCES"));

    let mut command = probe(&[]);
    command.stdin(Stdio::from(copy())).controlling_terminal(copy());
    let told = report(&mut command);
    assert_eq!((&*told["terminal.held"], &*told["terminal"]), ("0", "EACCES"));
    assert_eq!([&told["pgid"], &told["sid"]], [&told["pid"]; 2]);
    assert_eq!(told.keys().filter(|key| key.starts_with("fd.")).count(), 3, "{told:?}");
    // By its name too, when that was granted. The name means the child's terminal; this process may have none.
    let (_near, far) = terminal();
    let told = report(probe(&[]).controlling_terminal(far).grant(Grant::Terminal));
    assert_eq!((&*told["terminal.held"], &*told["terminal"]), ("", "ok"));
}

#[test]
fn what_is_no_terminal_is_refused() {
    let null = File::open("/dev/null").expect("/dev/null");
    let error = probe(&[]).controlling_terminal(null).spawn().expect_err("it is no terminal");
    let told = (error.part(), error.fault(), error.errno());
    assert_eq!(told, ("controlling terminal", Fault::Caller, Some(libc::ENOTTY)));
    let (_near, far) = terminal();
    let error = probe(&[]).controlling_terminal(far).session(false).spawn().expect_err("it leads no session");
    assert_eq!((error.part(), error.fault()), ("controlling terminal", Fault::Caller), "{error}");
}

/// Where the one hierarchy of cgroups is, as far as it is to be seen here.
fn hierarchy() -> Option<String> {
    let mounts = std::fs::read_to_string("/proc/mounts").ok()?;
    let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
    mounts
        .lines()
        .map(words)
        .find(|words| words.get(2).is_some_and(|kind| kind == "cgroup2"))
        .map(|words| words[1].clone())
}

#[test]
fn it_is_born_in_the_cgroup_asked_for() {
    let test = "groups::it_is_born_in_the_cgroup_asked_for";
    if !is_root() {
        return skip(test, Need::Root);
    }
    let Some(root) = hierarchy() else { return skip(test, Need::Machine("a cgroup2 mount")) };
    let name = format!("beget-test-{}", std::process::id());
    let path = format!("{root}/{name}");
    if let Err(error) = std::fs::create_dir(&path) {
        eprintln!("{path}: {error}");
        return skip(test, Need::Machine("a cgroup2 mount that can be written"));
    }
    let mut command = probe(&["sleep"]);
    let directory = File::open(&path).expect("it was made");
    let process = command.cgroup(directory).kill_on_drop(true).spawn();
    let inside = process
        .as_ref()
        .ok()
        .map(|process| std::fs::read_to_string(format!("/proc/{}/cgroup", process.id())));
    if let Ok(process) = &process {
        process.kill().expect("kill");
        end(process);
    }
    std::fs::remove_dir(&path).expect("nobody is left in it");
    process.expect("spawn");
    let inside = inside.expect("it was born").expect("it was there");
    assert!(
        inside.lines().any(|line| line.starts_with("0::") && line.ends_with(&format!("/{name}"))),
        "{inside}"
    );
}

#[test]
fn what_is_no_cgroup_is_refused() {
    let folder = File::open("/").expect("the root");
    let error = probe(&[]).cgroup(folder).spawn().expect_err("it is no cgroup");
    assert_eq!((error.part(), error.exit_code()), ("process", 125), "{error}");
}
