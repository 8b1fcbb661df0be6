//! Programs loaded into an embryo, and executed by one: what they find, told by themselves.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;

use beget::{Bounds, Construct, Embryo, Fault, Process, Program, Resource, SignalSet};
use beget_tests::{Scratch, program, report};

use crate::{embryo, end, maps, pipe, rest, seen, status};

/// An embryo with everything set that can be, and the other end of its output.
fn prepared(directory: &Scratch) -> (Embryo, File) {
    let (reader, writer) = pipe();
    let mut embryo = embryo();
    embryo.grant(1, writer.as_fd()).expect("grant");
    let place = File::open(directory.path()).expect("it was made");
    embryo.chdir(place.as_fd()).expect("directory");
    embryo.umask(0o31).expect("umask");
    let bounds = Bounds { soft: 77, hard: 99 };
    embryo.set_limit(Resource { number: libc::RLIMIT_NOFILE, bounds }).expect("limit");
    embryo.set_env("NAME", "a value").set_env("OTHER", "").set_env("NAME", "another value");
    embryo.signal_mask(SignalSet::EMPTY.with(12));
    (embryo, reader)
}

fn assert_as_set(told: &BTreeMap<String, String>, directory: &Scratch, arguments: &[&str]) {
    let place = directory.path().canonicalize().expect("ours").display().to_string();
    assert_eq!((&told["cwd"], &*told["umask"], &*told["limit.nofile"]), (&place, "031", "77 99"));
    assert_eq!(&*told["signals.blocked"], "0000000000000800");
    assert_eq!(
        (&*told["signals.ignored"], &*told["signals.handled"]),
        ("0000000000000000", "0000000000000000")
    );
    assert_eq!((&*told["limit.core"], &*told["no_new_privs"]), ("0 0", "1"));
    assert_eq!([&told["sid"], &told["pgid"]], [&told["pid"]; 2]);
    let all = |prefix: &str| -> Vec<String> {
        let of = |(key, value): (&String, &String)| key.starts_with(prefix).then(|| value.clone());
        told.iter().filter_map(of).collect()
    };
    assert_eq!(all("arg."), arguments);
    assert_eq!(all("env."), ["NAME=another value", "OTHER="]);
    let slots: Vec<_> = told.keys().filter(|key| key.starts_with("fd.")).collect();
    assert_eq!(slots, ["fd.1"], "{told:?}");
}

fn told(process: &Process, reader: File) -> BTreeMap<String, String> {
    let told = report(&rest(reader));
    assert!(end(process).success(), "{told:?}");
    assert_eq!(told["pid"], process.id().to_string(), "it is the same process");
    told
}

#[test]
fn a_loaded_program_finds_what_was_set() {
    let directory = Scratch::new();
    let (mut embryo, reader) = prepared(&directory);
    let image = Program::open(program("probe")).expect("an executable");
    embryo.load(&image, &["the name", "report=1"]).expect("load");
    let number = embryo.id();
    assert_eq!(embryo.wait().expect_err("it only lies there").to_string(), "embryo: not started");
    let process = embryo.start().expect("start");
    assert_eq!(process.id(), number);
    let told = told(&process, reader);
    assert_as_set(&told, &directory, &["the name", "report=1"]);
    assert_eq!((&*told["comm"], &*told["secure"]), ("probe", "0"));
    assert_eq!(told["execfn"], program("probe").display().to_string());
}

#[test]
fn a_program_in_memory_finds_the_same() {
    let directory = Scratch::new();
    let (mut embryo, reader) = prepared(&directory);
    let image = Program::from_bytes(&std::fs::read(program("probe")).expect("ours")).expect("an executable");
    embryo.load(&image, &["in memory"]).expect("load");
    drop(image);
    let process = embryo.start().expect("start");
    assert_as_set(&told(&process, reader), &directory, &["in memory"]);
}

#[test]
fn an_executed_program_finds_the_same() {
    let directory = Scratch::new();
    let (embryo, reader) = prepared(&directory);
    let file = File::open(program("probe")).expect("ours");
    let process = embryo.execute(file.as_fd(), &["by name", "report=1"]).expect("execute");
    assert_as_set(&told(&process, reader), &directory, &["by name", "report=1"]);
}

/// A set-user-ID file gains nothing, whoever puts it into memory.
#[test]
fn rights_are_never_gained() {
    let test = "programs::rights_are_never_gained";
    if !beget_tests::is_root() {
        return beget_tests::skip(test, beget_tests::Need::Root);
    }
    let scratch = Scratch::new();
    let path = scratch.executable("probe", std::fs::read(program("probe")).expect("ours"));
    std::os::unix::fs::chown(&path, Some(4321), None).expect("root may");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4755);
    std::fs::set_permissions(&path, mode).expect("ours");
    for loaded in [true, false] {
        let (reader, writer) = pipe();
        let mut embryo = embryo();
        embryo.grant(1, writer.as_fd()).expect("grant");
        let process = if loaded {
            embryo.load(&Program::open(&path).expect("an executable"), &["probe"]).expect("load");
            embryo.start()
        } else {
            embryo.execute(File::open(&path).expect("ours").as_fd(), &["probe"])
        };
        drop(writer);
        assert_eq!(told(&process.expect("start"), reader)["users"], "0 0 0");
    }
}

#[test]
fn one_load_succeeds() {
    let mut embryo = embryo();
    let image = Program::open(program("probe")).expect("an executable");
    embryo.load(&image, &["probe", "exit", "7"]).expect("load");
    let before = seen(embryo.id());
    let error = embryo.load(&image, &["probe", "exit", "8"]).expect_err("there is one");
    let words = format!("program {}: a program is loaded already", program("probe").display());
    assert_eq!((error.to_string(), error.fault()), (words, Fault::Caller));
    assert_eq!(seen(embryo.id()), before);
    assert_eq!(end(&embryo.start().expect("start")).exit_code(), 7);
}

#[test]
fn a_load_that_fails_takes_everything_back() {
    let mut embryo = embryo();
    embryo.umask(0o22).expect("umask");
    let before = maps(embryo.id());
    let image = Program::open(program("probe")).expect("an executable");
    let large = "x".repeat(9 << 20);
    let error = embryo.load(&image, &["probe", &large]).expect_err("no stack takes that");
    assert_eq!((error.errno(), error.fault()), (Some(libc::E2BIG), Fault::Caller), "{error}");
    assert_eq!(maps(embryo.id()), before);
    let error = embryo.load(&image, &["pro\0be"]).expect_err("no string takes that");
    assert_eq!(error.to_string(), "argument 1: it has a NUL byte");
    assert_eq!(maps(embryo.id()), before);
    embryo.load(&image, &["probe", "exit", "9"]).expect("load");
    assert_eq!(end(&embryo.start().expect("start")).exit_code(), 9);
}

#[test]
fn what_cannot_be_executed_is_told() {
    let scratch = Scratch::new();
    let text = File::open(scratch.executable("text", "no program\n")).expect("ours");
    let plain =
        File::open(scratch.file("plain", std::fs::read(program("probe")).expect("ours"))).expect("ours");
    for (file, errno) in [(&text, libc::ENOEXEC), (&plain, libc::EACCES)] {
        let embryo = embryo();
        let number = embryo.id();
        let error = embryo.execute(file.as_fd(), &["x"]).expect_err("it cannot run");
        assert_eq!((error.part(), error.errno()), ("program", Some(errno)), "{error}");
        // SAFETY: asks, and sends nothing.
        assert_eq!(unsafe { libc::kill(number as i32, 0) }, -1, "nothing is left of it");
    }
}

/// Two of one program share no address that a third party could guess from one of them.
#[test]
fn each_lies_elsewhere() {
    let image = Program::open(program("probe")).expect("an executable");
    let place = || {
        let mut embryo = embryo();
        embryo.load(&image, &["probe"]).expect("load");
        let layout = embryo.layout().expect("it is loaded");
        let span = layout.program.span.clone();
        let found = maps(embryo.id()).iter().filter(|line| line.ends_with("/probe")).count();
        assert!(found >= 2, "its segments are there");
        assert_eq!(status(embryo.id(), "Name"), "probe");
        span.start
    };
    let places: std::collections::BTreeSet<u64> = (0..8).map(|_| place()).collect();
    assert_eq!(places.len(), 8, "{places:x?}");
}
