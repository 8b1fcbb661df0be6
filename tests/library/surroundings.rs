//! Arguments, environment, directory, umask, names and the signal mask.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;

use beget::{Command, Fault, SignalSet};
use beget_tests::{Scratch, program};

use crate::{below, probe, report, text};

#[test]
fn arguments_arrive_as_they_are() {
    let mut command = probe(&["x", "", "a b", "tab\there", "-", "--", "=", "ä"]);
    command.arg(OsStr::from_bytes(b"\xff\xfe"));
    let report = report(&mut command);
    let arguments = below(&report, "arg.");
    let values: Vec<&str> = arguments.iter().map(|(_, value)| *value).collect();
    let path = program("probe");
    let expected = [text(&path), "x", "", "a b", "tab\\there", "-", "--", "=", "\\xc3\\xa4", "\\xff\\xfe"];
    assert_eq!(values, expected);
}

#[test]
fn arg0_is_the_name_that_the_program_has_for_itself() {
    let report = report(probe(&["x"]).arg0("another name"));
    assert_eq!(below(&report, "arg."), [("0", "another name"), ("1", "x")]);
}

#[test]
fn the_environment_is_what_was_given() {
    let given = |command: &mut Command| -> Vec<String> {
        let report = report(command);
        below(&report, "env.").iter().map(|(_, value)| (*value).to_owned()).collect()
    };
    assert_eq!(given(&mut probe(&[])), [""; 0]);
    let mut command = probe(&[]);
    command.env("A", "1").envs([("B", "2"), ("C", "x=y"), ("D", "")]).env("A", "3").env_remove("B");
    assert_eq!(given(&mut command), ["A=3", "C=x=y", "D="]);
    command.env_remove("NEVER_GIVEN").env(OsStr::from_bytes(b"\xff"), OsStr::from_bytes(b"\xfe"));
    assert_eq!(given(&mut command), ["A=3", "C=x=y", "D=", "\\xff=\\xfe"]);
    command.env_clear();
    assert_eq!(given(&mut command), [""; 0]);
    command.env("E", "4");
    assert_eq!(given(&mut command), ["E=4"]);
}

#[test]
fn a_program_without_a_slash_is_looked_up_in_the_childs_path() {
    let path = program("probe");
    let folder = path.parent().expect("it is in a folder");
    let mut command = Command::new("probe");
    command.args(["exit", "5"]);
    let error = command.spawn().expect_err("it is not in the default PATH");
    assert_eq!((error.fault(), error.exit_code()), (Fault::NotFound, 127), "{error}");
    let status = command.env("PATH", folder).status().expect("now it is found");
    assert_eq!(status.status.code(), Some(5));
}

#[test]
fn the_working_directory_is_the_root_or_the_one_asked_for() {
    let scratch = Scratch::new();
    let real = std::fs::canonicalize(scratch.path()).expect("it is there");
    assert_eq!(report(&mut probe(&[]))["cwd"], "/");
    assert_eq!(report(probe(&[]).current_dir(&real))["cwd"], text(&real));
    // Being there grants nothing.
    scratch.file("file", "contents");
    let mut command = probe(&["try", "read", "file", "list", ".", "read", &scratch.at("file")]);
    let expected = format!("read file EACCES\nlist . EACCES\nread {} EACCES\n", scratch.at("file"));
    assert_eq!(crate::said(command.current_dir(&real)), expected);

    let error = probe(&[]).current_dir(scratch.at("none")).spawn().expect_err("it is not there");
    let part = format!("working directory {}", scratch.at("none"));
    assert_eq!((error.part(), error.fault(), error.errno()), (&*part, Fault::Caller, Some(libc::ENOENT)));
    let error = probe(&[]).current_dir(scratch.at("file")).spawn().expect_err("it is a file");
    assert_eq!(error.errno(), Some(libc::ENOTDIR));
}

/// As for grants: links are followed, and what is shown is where it is.
#[test]
fn the_directory_that_is_declared_is_the_one_it_is_in() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.at("folder")).expect("our own folder");
    std::os::unix::fs::symlink("folder", scratch.at("link")).expect("our own folder");
    for path in [scratch.at("folder"), scratch.at("link"), scratch.at("link/../folder/."), ".".to_owned()] {
        let mut command = probe(&[]);
        let declared = command.current_dir(&path).describe().expect("describe").directory;
        assert_eq!(report(&mut command)["cwd"], declared, "{path}");
    }
}

#[test]
fn a_directory_given_open_is_meant_wherever_it_is_moved() {
    let scratch = Scratch::new();
    let (here, there) = (scratch.at("here"), scratch.at("there"));
    std::fs::create_dir(&here).expect("our own folder");
    let mut command = probe(&[]);
    command.current_dir_fd(File::open(&here).expect("a directory"));
    std::fs::rename(&here, &there).expect("our own folder");
    std::fs::create_dir(&here).expect("our own folder");
    let real = std::fs::canonicalize(&there).expect("it is there");
    assert_eq!(report(&mut command)["cwd"], text(&real));

    let file = scratch.file("file", "");
    let error = probe(&[])
        .current_dir_fd(File::open(file).expect("a file"))
        .spawn()
        .expect_err("a file is no directory");
    assert_eq!((error.fault(), error.errno()), (Fault::Caller, Some(libc::ENOTDIR)), "{error}");
}

#[test]
fn the_umask_is_022_or_the_one_asked_for() {
    assert_eq!(report(&mut probe(&[]))["umask"], "022");
    for (mask, told) in [(0, "000"), (0o077, "077"), (0o777, "777"), (0o7027, "027")] {
        assert_eq!(report(probe(&[]).umask(mask))["umask"], told);
    }
}

#[test]
fn the_signal_mask_is_empty_or_the_one_asked_for() {
    assert_eq!(report(&mut probe(&[]))["signals.blocked"], "0000000000000000");
    let mask = SignalSet::EMPTY.with(libc::SIGUSR1).with(64);
    assert_eq!(report(probe(&[]).signal_mask(mask))["signals.blocked"], "8000000000000200");
    // The kernel leaves out SIGKILL and SIGSTOP.
    let all = report(probe(&[]).signal_mask(SignalSet::ALL));
    assert_eq!(all["signals.blocked"], format!("{:016x}", !(1u64 << 8 | 1 << 18)));
    assert_eq!(all["signals.ignored"], "0000000000000000");
}

#[test]
fn what_cannot_be_said_is_refused_before_the_birth() {
    for (command, part) in [
        (probe(&[]).arg("a\0b"), "argument 1"),
        (probe(&[]).env("A", "a\0b"), "variable A"),
        (probe(&[]).env("A=B", "c"), "variable A=B"),
        (probe(&[]).env("", "c"), "variable "),
        (probe(&[]).arg0("a\0b"), "name a\0b"),
    ] {
        let error = command.spawn().expect_err("it cannot be said");
        assert_eq!((error.part(), error.fault(), error.exit_code()), (part, Fault::Caller, 125), "{error}");
    }
}
