//! An embryo that is dropped, or whose creator is killed, leaves nothing, at whatever stage of its construction.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::process::Stdio;

use beget::{Construct, Embryo, Nursery, Part, Program, Protection};
use beget_tests::{children, descriptors, in_own_process, program, tracer};

use crate::{AT, LONG, PAGE, code, pipe, prepare, proc, rest};

beget_tests::driver!(drive);

const STAGES: &[&str] = &[
    "born",
    "told",
    "mapped",
    "granted",
    "failed",
    "loaded",
    "load failed",
    "set by hand",
    "large",
    "stopped",
];

/// Brings an embryo to a stage.
fn bring(embryo: &mut Embryo, stage: &str, held: impl AsFd) {
    let done = match stage {
        "born" => Ok(()),
        "told" => embryo.umask(0o77),
        "mapped" => {
            embryo.map(AT, 64 * PAGE, Protection::WRITE).and_then(|at| embryo.write(at, b"something"))
        }
        "granted" => embryo.grant(3, held.as_fd()),
        "failed" => {
            embryo.grant(1 << 20, held.as_fd()).expect_err("there is no such slot");
            embryo.unmap(1, 1)
        }
        "loaded" => {
            let image = Program::open(program("probe")).expect("an executable");
            embryo.load(&image, &["probe"]).expect("load");
            embryo.grant(3, held.as_fd())
        }
        "load failed" => {
            let image = Program::open(program("probe")).expect("an executable");
            embryo.load(&image, &["x".repeat(9 << 20)])
        }
        "set by hand" => {
            prepare(embryo, &code::stay());
            embryo.grant(0, held.as_fd())
        }
        "large" => embryo
            .map(AT, 8 << 20, Protection::WRITE)
            .and_then(|at| embryo.apply(Part::new().write(at, &vec![1; 8 << 20])).map(drop)),
        _ => {
            // SAFETY: a process of ours that nobody has reaped.
            assert_eq!(unsafe { libc::kill(embryo.id() as i32, libc::SIGSTOP) }, 0);
            Ok(())
        }
    };
    let fails = ["failed", "load failed"].contains(&stage);
    assert_eq!(done.is_err(), fails, "{stage}: {done:?}");
}

/// The guard's one child.
fn nursery_behind(guard: u32) -> u32 {
    proc(guard, &format!("task/{guard}/children")).trim().parse().expect("one number")
}

#[test]
fn dropped_at_any_stage_it_leaves_nothing() {
    in_own_process("dropped::dropped_at_any_stage_it_leaves_nothing", || {
        let nursery = Nursery::new().expect("a nursery");
        drop(nursery.embryo().expect("an embryo"));
        let parent = nursery_behind(nursery.id());
        let look = || (descriptors(), children(), crate::maps(parent), crate::slots(parent));
        let before = look();
        for stage in STAGES {
            for _ in 0..10 {
                let (reader, writer) = pipe();
                let mut embryo = nursery.embryo().expect("an embryo");
                bring(&mut embryo, stage, &writer);
                let number = embryo.id();
                drop(embryo);
                assert_eq!(
                    proc(parent, &format!("task/{parent}/children")),
                    "",
                    "{stage}: not even a zombie"
                );
                // SAFETY: asks, and sends nothing.
                assert_eq!(unsafe { libc::kill(number as i32, 0) }, -1, "{stage}");
                drop(writer);
                assert_eq!(rest(reader), b"", "{stage}");
            }
            assert_eq!(look(), before, "{stage}");
        }
        let number = nursery.id();
        drop(nursery);
        // SAFETY: asks, and sends nothing.
        assert_eq!([number, parent].map(|number| unsafe { libc::kill(number as i32, 0) }), [-1; 2]);
        assert_eq!(children().len(), 0);
    });
}

/// The creator that is to be killed: brings an embryo to a stage, tells who there is, and waits.
fn drive(stage: &str) {
    let held = std::io::stderr();
    let nursery = Nursery::new().expect("a nursery");
    let mut embryo = nursery.embryo().expect("an embryo");
    bring(&mut embryo, stage, &held);
    let guard = nursery.id();
    println!("{guard} {} {}", nursery_behind(guard), embryo.id());
    std::io::stdout().flush().expect("it is read");
    std::thread::sleep(LONG);
}

#[test]
fn its_creator_killed_at_any_stage_it_leaves_nothing() {
    for stage in STAGES {
        let (reader, writer) = pipe();
        let mut creator =
            tracer::driver(stage).stdout(Stdio::piped()).stderr(writer).spawn().expect("it can be started");
        let mut line = String::new();
        BufReader::new(creator.stdout.take().expect("piped")).read_line(&mut line).expect("it tells");
        let numbers: Vec<i32> = line.split_whitespace().map(|word| word.parse().expect("a number")).collect();
        assert_eq!(numbers.len(), 3, "{stage}: {line:?} {:?}", creator.try_wait());
        // SAFETY: numbers; the descriptors are new.
        let open = |number: &i32| unsafe {
            OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, *number, 0) as i32)
        };
        let all: Vec<OwnedFd> = numbers.iter().map(open).collect();
        creator.kill().expect("ours");
        creator.wait().expect("ours");
        for (number, process) in numbers.iter().zip(&all) {
            let mut watched = libc::pollfd { fd: process.as_raw_fd(), events: libc::POLLIN, revents: 0 };
            // SAFETY: one structure is read and written.
            let gone = unsafe { libc::poll(&mut watched, 1, LONG.as_millis() as i32) };
            assert_eq!(gone, 1, "{stage}: {number} lives");
        }
        assert_eq!(rest(reader), b"", "{stage}");
    }
}
