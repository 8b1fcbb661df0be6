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
