//! What a command says of its child holds in a nursery too: seen from inside.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use beget::{Command, Grant, Loader, Nursery, Stdio};
use beget_tests::{Need, Scratch, has, is_root, program, report, skip};

use crate::{born, bytes, end, kill, pipe, probe, rest, wait_for};

#[test]
fn streams_are_piped() {
    let mut command = born(&["cat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().expect("spawn");
    let mut input = process.stdin.take().expect("piped");
    let text = "there and back ".repeat(20_000);
    let writing = std::thread::spawn({
        let text = text.clone();
        move || input.write_all(text.as_bytes()).expect("it reads")
    });
    let mut back = String::new();
    process.stdout.take().expect("piped").read_to_string(&mut back).expect("text");
    writing.join().expect("no panic");
    assert!(back == text);
    assert_eq!(rest(process.stderr.take().expect("piped")), b"");
    assert!(end(&process).success());
}

#[test]
fn slots_go_by_name_and_number() {
    for loader in [Loader::Kernel, Loader::Direct] {
        let scratch = Scratch::new();
        let [one, two] = ["one", "two"].map(|name| File::open(scratch.file(name, name)).expect("ours"));
        let mut command = born(&["fd", "3", "4", "9"]);
        command
            .slot("first", one.try_clone().expect("a descriptor"))
            .slot("second", two)
            .fd(9, one)
            .loader(loader);
        let output = command.output().expect("spawn");
        // The same open file is read on from where the first left it.
        assert_eq!(output.stdout, b"onetwo", "{loader:?} {output:?}");

        let null = File::open("/dev/null").expect("/dev/null");
        let mut command = born(&[]);
        command
            .slot("a", null.try_clone().expect("a descriptor"))
            .slot("b", null)
            .env("Z", "z")
            .loader(loader);
        let told = crate::report(&mut command);
        let mut environment: Vec<&String> =
            told.iter().filter(|(key, _)| key.starts_with("env.")).map(|(_, value)| value).collect();
        environment.sort();
        let own = format!("LISTEN_PID={}", told["pid"]);
        assert_eq!(environment, ["LISTEN_FDNAMES=a:b", "LISTEN_FDS=2", &own, "Z=z"], "{loader:?}");
        let slots: Vec<&str> = told.keys().filter_map(|key| key.strip_prefix("fd.")).collect();
        assert_eq!(slots, ["1", "2", "3", "4"], "{loader:?}");
    }
}

/// The same child twice, from without and from within a nursery, by both loaders: it holds the same.
#[test]
fn a_confined_child_holds_the_same() {
    let tell = |command: &mut Command| {
        command
            .grants([Grant::Base, Grant::Read(program("probe"))])
            .env("NAME", "value")
            .umask(0o27)
            .arg0("arg0");
        let output = command.output().expect("spawn");
        assert!(output.status.success(), "{output:?}");
        let mut told = report(&output.stdout);
        let own = told["pid"].clone();
        for value in told.values_mut() {
            *value = value.replace(&own, "OWN");
        }
        told.retain(|key, _| !key.starts_with("fd.") && key != "ppid" && key != "execfn");
        told
    };
    let plain = tell(&mut Command::new(program("probe")));
    let nursery = Nursery::shared().expect("a nursery");
    assert_eq!(tell(Command::new(program("probe")).nursery(&nursery)), plain);
    assert_eq!(tell(Command::new(program("probe")).own_tree(true)), plain);
    assert_eq!(tell(Command::new(program("probe")).loader(Loader::Direct)), plain, "loaded");
    assert!(plain["no_new_privs"] == "1" && plain["seccomp"] == "2", "{plain:?}");
}

#[test]
fn refusals_are_told() {
    for loader in [Loader::Kernel, Loader::Direct] {
        let mut command = Command::new(program("probe"));
        command.arg("fork").grant(Grant::Base).tell_refusals(true).stdout(Stdio::piped()).loader(loader);
        let mut process = command.nursery(&Nursery::shared().expect("a nursery")).spawn().expect("spawn");
        let Some(refusals) = process.refusals.take() else {
            return skip("options::refusals_are_told", Need::Machine("a listener of one's own"));
        };
        assert!(wait_for(&std::os::fd::AsFd::as_fd(&refusals)), "{loader:?}");
        let told = refusals.next().expect("it can be taken").expect("it is there");
        assert_eq!(told.flag, "--spawn", "{told:?}");
        assert_eq!(rest(process.stdout.take().expect("piped")), b"EPERM\n");
        assert!(end(&process).success());
    }
}

/// As without a nursery: see the library's tests.
#[test]
fn groups_and_sessions() {
    // SAFETY: numbers only.
    let [group, session] = unsafe { [libc::getpgrp().to_string(), libc::getsid(0).to_string()] };
    let told = crate::report(&mut born(&[]));
    assert_eq!([&told["pgid"], &told["sid"]], [&told["pid"]; 2]);
    let told = crate::report(born(&[]).session(false));
    assert_eq!([&told["pgid"], &told["sid"]], [&group, &session], "the caller's");
    let told = crate::report(born(&[]).process_group(0));
    assert_eq!([&told["pgid"], &told["sid"]], [&told["pid"], &session]);
    let leader = born(&["sleep"]).process_group(0).kill_on_drop(true).spawn().expect("spawn");
    let told = crate::report(born(&[]).process_group(leader.id() as i32));
    assert_eq!([&told["pgid"], &told["sid"]], [&leader.id().to_string(), &session]);
    // One made without a nursery takes one from a nursery in, and one signal is for both.
    let outside = probe(&["sleep"]).process_group(leader.id() as i32).spawn().expect("spawn");
    leader.signal_group(libc::SIGTERM).expect("signal");
    assert_eq!([end(&leader).exit_code(), end(&outside).exit_code()], [128 + libc::SIGTERM as u8; 2]);
}

/// Both ends of a new pseudo-terminal.
fn terminal() -> (OwnedFd, OwnedFd) {
    // SAFETY: numbers only; each descriptor is new and ours.
    unsafe {
        let near = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(near >= 0 && libc::unlockpt(near) == 0);
        let far = libc::ioctl(near, libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(far >= 0);
        (OwnedFd::from_raw_fd(near), OwnedFd::from_raw_fd(far))
    }
}

#[test]
fn a_terminal_is_its_sessions() {
    for loader in [Loader::Kernel, Loader::Direct] {
        let (near, far) = terminal();
        let mut command = born(&[]);
        command
            .stdin(Stdio::from(far.try_clone().expect("a descriptor")))
            .controlling_terminal(far)
            .foreground(true);
        let told = crate::report(command.loader(loader));
        assert_eq!((&*told["terminal.held"], &told["sid"]), ("0", &told["pid"]), "{loader:?}");
        drop(near);
    }
}

#[test]
fn it_stops_before_its_first_instruction() {
    for loader in [Loader::Kernel, Loader::Direct] {
        let mut command = born(&["say", "at last"]);
        let mut process =
            command.suspended(true).stdout(Stdio::piped()).loader(loader).spawn().expect("spawn");
        let news = process.news().expect("a nursery tells");
        assert!(wait_for(&news));
        let until = std::time::Instant::now() + crate::LONG;
        loop {
            if process.try_stopped().expect("it can be asked") == Some(libc::SIGSTOP) {
                break;
            }
            assert!(std::time::Instant::now() < until, "{loader:?}: it is not told of");
        }
        assert_eq!(process.try_stopped().expect("it can be asked"), None, "once");
        let state = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("it is there");
        assert_eq!(state.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next()), Some('T'), "{state}");
        assert_eq!(process.try_wait().expect("wait"), None);
        let output = process.stdout.take().expect("piped");
        let mut watched = libc::pollfd { fd: output.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure is read and written.
        assert_eq!(unsafe { libc::poll(&mut watched, 1, 20) }, 0, "{loader:?}: it says nothing yet");
        process.signal(libc::SIGCONT).expect("signal");
        assert_eq!(rest(output), b"at last\n");
        assert!(end(&process).success());
    }
}

/// A stop that comes later is told too, and one that nobody asked for is no end.
#[test]
fn stops_are_told() {
    let process = born(&["sleep"]).kill_on_drop(true).spawn().expect("spawn");
    for signal in [libc::SIGSTOP, libc::SIGSTOP] {
        kill(process.id(), signal);
        assert!(wait_for(&process.news().expect("a nursery tells")));
        let until = std::time::Instant::now() + crate::LONG;
        while process.try_stopped().expect("it can be asked") != Some(signal) {
            assert!(std::time::Instant::now() < until);
        }
        assert_eq!(process.try_wait().expect("wait"), None);
        kill(process.id(), libc::SIGCONT);
    }
}

#[test]
fn it_is_born_in_the_cgroup_asked_for() {
    let test = "options::it_is_born_in_the_cgroup_asked_for";
    if !is_root() {
        return skip(test, Need::Root);
    }
    let mounts = std::fs::read_to_string("/proc/mounts").expect("/proc is there");
    let root = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"));
    let Some(root) = root.and_then(|line| line.split(' ').nth(1)) else {
        return skip(test, Need::Machine("a cgroup2 mount"));
    };
    let name = format!("beget-nursery-{}", std::process::id());
    let path = format!("{root}/{name}");
    if std::fs::create_dir(&path).is_err() {
        return skip(test, Need::Machine("a cgroup2 mount that can be written"));
    }
    let (reader, writer) = pipe();
    let mut command = born(&["family"]);
    let process = command.cgroup(File::open(&path).expect("made")).stdout(writer).own_tree(true).spawn();
    drop(command);
    let inside = process.as_ref().ok().map(|process| {
        let all_there = bytes(&reader, 3);
        let own = std::fs::read_to_string(format!("/proc/{}/cgroup", process.id())).expect("it is there");
        let all = std::fs::read_to_string(format!("{path}/cgroup.procs")).expect("it is there");
        (all_there, own, all.lines().count())
    });
    drop(process.expect("spawn"));
    assert_eq!(rest(reader), b"");
    std::fs::remove_dir(&path).expect("nobody is left in it");
    let (_, own, all) = inside.expect("it was born");
    assert!(own.lines().any(|line| line.starts_with("0::") && line.ends_with(&format!("/{name}"))), "{own}");
    assert_eq!(all, 3, "the whole family, and no nursery");
}

#[test]
fn a_script_and_a_shell_run_loaded() {
    let test = "options::a_script_and_a_shell_run_loaded";
    if !has("sh") {
        return skip(test, Need::Program("sh"));
    }
    let scratch = Scratch::new();
    let path = scratch.executable("script", "#!/bin/sh\necho script $# $1\n");
    for loader in [Loader::Kernel, Loader::Direct] {
        let mut command = Command::new(&path);
        command.arg("one").grants([Grant::Base, Grant::Read(path.clone().into())]).loader(loader);
        let output = command.nursery(&Nursery::shared().expect("a nursery")).output().expect("spawn");
        assert_eq!(beget_tests::text(&output.stdout), "script 1 one\n", "{loader:?} {output:?}");
    }
}
