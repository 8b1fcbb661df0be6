//! `beget run`, killed, and its nursery killed.

use std::process::Stdio;
use std::time::Instant;

use beget_tests::{beget, program, text};

use crate::{LONG, bytes, children, exists, kill, pidfd, pipe, rest, wait_for};

/// `beget run` on the probe's family, and what all of it write to.
fn run(flags: &[&str]) -> (std::process::Child, std::fs::File) {
    let (reader, writer) = pipe();
    let mut command = beget();
    command.args(["run", "--base", "--spawn"]).args(flags).arg("--").arg(program("probe")).arg("family");
    let child =
        command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().expect("it starts");
    assert_eq!(bytes(&reader, 3), b"xxx", "all three are there");
    (child, reader)
}

#[test]
fn killed_it_leaves_nothing() {
    for flags in [&[][..], &["--loader", "direct"]] {
        for _ in 0..10 {
            let (mut beget, output) = run(flags);
            let nursery = children(beget.id());
            assert_eq!(nursery.len(), 1);
            let nursery = pidfd(nursery[0]);
            beget.kill().expect("ours");
            beget.wait().expect("ours");
            assert!(wait_for(&nursery));
            assert_eq!(rest(output), b"", "{flags:?}: the family lives");
        }
    }
}

#[test]
fn its_nursery_killed_it_ends_the_tree_and_says_so() {
    for flags in [&[][..], &["--loader", "direct"]] {
        for _ in 0..10 {
            let (beget, output) = run(flags);
            let nursery = children(beget.id())[0];
            let program = children(nursery);
            kill(nursery, libc::SIGKILL);
            let ended = beget.wait_with_output().expect("ours");
            let said = text(&ended.stderr);
            assert_eq!(rest(output), b"", "{flags:?}: the family lives");
            assert!([Some(125), Some(137)].contains(&ended.status.code()), "{:?} {said}", ended.status);
            assert!(said.lines().all(|line| line.starts_with("beget: ")), "{said}");
            let until = Instant::now() + LONG;
            while program.iter().any(|number| exists(*number)) {
                assert!(Instant::now() < until);
            }
        }
    }
}

#[test]
fn its_nursery_killed_while_it_starts_leaves_nothing() {
    let mut random = crate::storm::Random::new();
    let mut struck = 0;
    for round in 0..400 {
        let (reader, writer) = pipe();
        let mut command = beget();
        command.args(["run", "--base", "--spawn", "--"]).arg(program("probe")).arg("family");
        let child =
            command.stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped()).spawn().expect("it starts");
        drop(command);
        let until = Instant::now() + LONG;
        let nursery = loop {
            match children(child.id()).first() {
                Some(number) => break *number,
                None => assert!(Instant::now() < until),
            }
        };
        std::thread::sleep(std::time::Duration::from_micros(random.below(1500)));
        // SAFETY: a child of a process of ours, which has not ended.
        struck += unsafe { i32::from(libc::kill(nursery as i32, libc::SIGKILL) == 0) };
        let ended = child.wait_with_output().expect("ours");
        let said = text(&ended.stderr);
        assert!([Some(125), Some(137)].contains(&ended.status.code()), "{:?} {said}", ended.status);
        let mut watched =
            libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&reader), events: libc::POLLIN, revents: 0 };
        loop {
            // SAFETY: one structure.
            let n = unsafe { libc::poll(&mut watched, 1, 3000) };
            assert_eq!(n, 1, "round {round}: left behind; beget ended with {:?} {said}", ended.status);
            let mut byte = [0u8; 64];
            if std::io::Read::read(&mut &reader, &mut byte).expect("read") == 0 {
                break;
            }
        }
    }
    assert!(struck > 300);
}
