//! What a variation gives is there, and what it does not name is as it was sealed.

use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use beget::{Command, Grant, Limit, Nursery, Root, Stdio, Variation};
use beget_tests::{Need, Scratch, children, descriptors, in_own_process, is_root, skip};

use super::*;

/// What the probe says of itself when it is varied so.
fn report(sealed: &Sealed, variation: &mut Variation) -> std::collections::BTreeMap<String, String> {
    let (code, said) = spawned(sealed, variation);
    assert_eq!(code, Some(0));
    beget_tests::report(said.as_bytes())
}

/// The reading end of a pipe that holds `text` and nothing more.
fn holding(text: &str) -> OwnedFd {
    let (reading, mut writing) = std::io::pipe().expect("a pipe");
    writing.write_all(text.as_bytes()).expect("it holds more");
    reading.into()
}

#[test]
fn arguments_are_added_and_variables_replaced() {
    let mut command = probe(&["report", "sealed"]);
    command.env("A", "1").env("B", "2");
    let sealed = sealed(command);
    let plain = report(&sealed, &mut Variation::new());
    let told = report(&sealed, Variation::new().arg("x").args(["y", "z"]).env("B", "3").envs([("C", "4")]));
    let of = |report: &std::collections::BTreeMap<String, String>, prefix: &str| -> Vec<String> {
        let mut all: Vec<_> = report.iter().filter(|(key, _)| key.starts_with(prefix)).collect();
        all.sort();
        all.into_iter().map(|(_, value)| value.clone()).collect()
    };
    assert_eq!(of(&plain, "env."), ["A=1", "B=2"]);
    assert_eq!(of(&told, "env."), ["A=1", "B=3", "C=4"]);
    let (before, after) = (of(&plain, "arg."), of(&told, "arg."));
    assert_eq!(after[..before.len()], before[..]);
    assert_eq!(after[before.len()..], ["x", "y", "z"]);
    // And nothing of that is left for the next.
    assert_eq!(of(&report(&sealed, &mut Variation::new()), "env."), ["A=1", "B=2"]);
}

#[test]
fn streams_and_descriptors_are_of_each_spawn() {
    let mut command = probe(&["fd", "0", "3", "4", "9"]);
    command.stdin(Stdio::null()).slot("sealed", holding("")).stderr(Stdio::null());
    let sealed = sealed(command);
    for word in ["one", "two"] {
        let mut variation = Variation::new();
        variation.stdin(Stdio::from(holding("in "))).slot("own", holding("slot "));
        variation.fd(9, holding(word));
        assert_eq!(spawned(&sealed, &mut variation), fine(&format!("in slot {word}")));
    }
    // What is not given is not there: 4 and 9 are no descriptors then.
    assert_eq!(spawned(&sealed, &mut Variation::new()), (Some(1), String::new()));
}

#[test]
fn a_piped_stream_is_a_pipe_of_its_own_each_time() {
    let sealed = sealed(probe(&["cat"]));
    let mut variation = Variation::new();
    variation.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut all: Vec<Process> = (0..10).map(|_| sealed.spawn(&variation, None).expect("spawn")).collect();
    for (number, process) in all.iter_mut().enumerate() {
        let mut input = process.stdin.take().expect("it is piped");
        input.write_all(number.to_string().as_bytes()).expect("it reads");
    }
    for (number, process) in all.iter_mut().enumerate() {
        let mut said = String::new();
        process.stdout.take().expect("it is piped").read_to_string(&mut said).expect("ours");
        assert_eq!((said, end(process).exit_code()), (number.to_string(), 0));
    }
}

/// Names of slots that were sealed stay where they were; those of a variation come after them, and after the channel.
#[test]
fn what_is_added_moves_nothing() {
    let mut command = probe(&[]);
    command.slot("first", holding("")).channel(true);
    let sealed = sealed(command);
    let told = report(&sealed, Variation::new().slot("mine", holding("")));
    let names = told.iter().find(|(_, value)| value.starts_with("LISTEN_FDNAMES=")).expect("it is told");
    assert_eq!(names.1, "LISTEN_FDNAMES=first:beget:mine");
    let slots: Vec<_> = sealed.slots().map(|(number, name, file)| (number, name, file.is_some())).collect();
    assert_eq!(slots, [(3, "first", true), (4, "beget", false)]);
}

#[test]
fn a_directory_given_open_may_be_read_below_and_stood_in() {
    let scratch = Scratch::new();
    let path = scratch.file("file", "contents");
    let sealed = sealed(probe(&["try", "read", &path]));
    let directory = || OwnedFd::from(std::fs::File::open(scratch.path()).expect("our own"));
    assert_eq!(spawned(&sealed, &mut Variation::new()), fine(&format!("read {path} EACCES\n")));
    let given = spawned(&sealed, Variation::new().fd(7, directory()));
    assert_eq!(given, fine(&format!("read {path} ok\n")));
    // What one was given the next has not.
    assert_eq!(spawned(&sealed, &mut Variation::new()), fine(&format!("read {path} EACCES\n")));
    let mut command = probe(&["try", "stat", "file"]);
    command.current_dir("/");
    let sealed = super::sealed(command);
    assert_eq!(spawned(&sealed, &mut Variation::new()), fine("stat file ENOENT\n"));
    assert_eq!(spawned(&sealed, Variation::new().current_dir_fd(directory())), fine("stat file ok\n"));
}

/// A TCP socket that is given could be used for another peer, past Landlock's eyes (`MSG_FASTOPEN`): what the filter refuses then it refuses
/// here too, although it was built when there was none.
#[test]
fn the_filter_is_that_of_what_is_given() {
    let socket = || {
        // SAFETY: numbers only; the descriptor is new and ours.
        unsafe {
            OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0))
        }
    };
    // To a port where nobody listens.
    let script = "use Socket; open(S, '+<&=', 5); $! = 0; \
                  send(S, 'x', 0x20000000, sockaddr_in(1, inet_aton('127.0.0.1'))); print $! + 0";
    let command = |grant| {
        let mut command = Command::new("perl");
        command.args(["-e", script]).grant(grant).stderr(Stdio::null());
        sealed(command)
    };
    let free = spawned(&command(Grant::Ambient), Variation::new().fd(5, socket()));
    let refused = fine(&libc::EOPNOTSUPP.to_string());
    if free == refused {
        return skip("the_filter_is_that_of_what_is_given", Need::Machine("TCP fast open"));
    }
    let sealed = command(Grant::Base);
    for _ in 0..2 {
        assert_eq!(spawned(&sealed, Variation::new().fd(5, socket())), refused);
        assert_eq!(spawned(&sealed, Variation::new().fd(5, holding(""))).0, Some(0));
    }
}

#[test]
fn many_threads_spawn_at_once() {
    let mut command = probe(&["say"]);
    command.grant(Grant::Base);
    let sealed = sealed(command);
    let nursery = Nursery::new().expect("a nursery");
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (sealed, nursery) = (&sealed, &nursery);
            scope.spawn(move || {
                for round in 0..25 {
                    let word = format!("{thread}-{round}");
                    let nursery = (round % 2 == 0).then_some(nursery);
                    let mut variation = Variation::new();
                    variation.arg(&word).stdout(Stdio::piped());
                    let output = sealed.spawn(&variation, nursery).expect("spawn").wait_with_output();
                    assert_eq!(beget_tests::text(&output.expect("wait").stdout), format!("{word}\n"));
                }
            });
        }
    });
}

#[test]
fn nothing_piles_up() {
    in_own_process("cold::nothing_piles_up", || {
        let clean = descriptors();
        let mut command = probe(&["say"]);
        command.grant(Grant::Base);
        let sealed = sealed(command);
        let mut held = None;
        for round in 0..300 {
            let mut variation = Variation::new();
            variation.arg(round.to_string()).stdin(Stdio::piped()).fd(9, holding("x"));
            assert_eq!(spawned(&sealed, &mut variation), fine(&format!("{round}\n")));
            drop(variation);
            let now = descriptors();
            assert_eq!(*held.get_or_insert(now.clone()), now);
        }
        assert_eq!(children(), std::collections::BTreeSet::new());
        drop(sealed);
        assert_eq!(descriptors(), clean);
    });
}

#[test]
fn a_private_root_is_each_spawns_own() {
    let mut command = probe(&["try", "create", "/tmp/file", "stat", "/etc/shadow"]);
    command.grant(Grant::Base).root(Root::new());
    let sealed = match command.seal() {
        Ok(sealed) => sealed,
        Err(error) => {
            assert_eq!(error.part(), "promise root", "{error}");
            return skip("a_private_root_is_each_spawns_own", Need::Machine("user namespaces"));
        }
    };
    for _ in 0..3 {
        let expected = fine("create /tmp/file ok\nstat /etc/shadow ENOENT\n");
        assert_eq!(spawned(&sealed, &mut Variation::new()), expected);
    }
    let process = sealed.spawn(&Variation::new(), None).expect("spawn");
    assert!(process.nursery().is_some());
    end(&process);
    let given = std::fs::File::open("/tmp").expect("it is there");
    let error = sealed.spawn(Variation::new().current_dir_fd(given), None).expect_err("it leads out");
    assert_eq!(error.part(), "working directory", "{error}");
    let nursery = Nursery::new().expect("a nursery");
    let error = sealed.spawn(&Variation::new(), Some(&nursery)).expect_err("it has its own");
    assert_eq!(error.part(), "root", "{error}");
}

#[test]
fn open_files_are_limited_per_spawn() {
    let mut command = probe(&[]);
    command.limit(Limit::OpenFiles(100));
    let sealed = sealed(command);
    assert_eq!(report(&sealed, &mut Variation::new())["limit.nofile"], "100 100");
    assert_eq!(report(&sealed, Variation::new().limit(Limit::OpenFiles(20)))["limit.nofile"], "20 20");
    assert_eq!(report(&sealed, &mut Variation::new())["limit.nofile"], "100 100");
}

/// Whoever asks pays: the memory is that of a group made for this spawn.
#[test]
fn memory_is_limited_per_spawn() {
    let mut command = probe(&["hold"]);
    command.limit(Limit::Memory(256 << 20));
    let sealed = match command.seal() {
        Ok(sealed) => sealed,
        Err(error) => {
            assert!(error.part().starts_with("limit --memory"), "{error}");
            let need = if is_root() { Need::Machine("a cgroup that can be limited") } else { Need::Root };
            return skip("memory_is_limited_per_spawn", need);
        }
    };
    let one = |variation: &mut Variation| {
        let process = sealed.spawn(variation.arg("100"), None).expect("spawn");
        end(&process)
    };
    let fits = one(&mut Variation::new());
    assert_eq!(fits.exit_code(), 0, "{fits:?}");
    let ended = one(Variation::new().limit(Limit::Memory(32 << 20)));
    assert_eq!(ended.exit_code(), 137, "{ended:?}");
    assert!(ended.tree.is_some_and(|tree| tree.memory_peak.is_some_and(|peak| peak <= 32 << 20)));
    assert_eq!(one(&mut Variation::new()).exit_code(), 0);
}

#[test]
fn a_script_is_given_its_arguments_too() {
    let scratch = Scratch::new();
    let path = scratch.script("script", "#!/bin/sh\necho \"$@\"\n");
    let mut command = Command::new(&path);
    command.arg("sealed").grant(Grant::Base);
    let sealed = sealed(command);
    assert_eq!(spawned(&sealed, Variation::new().arg("varied")), fine("sealed varied\n"));
    assert!(sealed.program().as_raw_fd() > 2 && sealed.path() == std::path::Path::new(&path));
}
