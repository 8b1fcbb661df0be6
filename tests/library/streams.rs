//! Standard input, output and error: closed, null, a pipe, the caller's own, or a file.

use std::fs::File;
use std::io::{Read, Write};

use beget::{Grant, Stdio};
use beget_tests::{Scratch, in_own_process};

use crate::{below, end, inode, probe, report, text};

#[test]
fn streams_that_were_not_given_are_closed() {
    let (mut reading, writing) = std::io::pipe().expect("a pipe");
    let mut command = probe(&["report=9"]);
    command.fd(9, writing);
    let process = command.spawn().expect("spawn");
    assert!(process.stdin.is_none() && process.stdout.is_none() && process.stderr.is_none());
    drop(command);
    let mut bytes = Vec::new();
    reading.read_to_end(&mut bytes).expect("a pipe of ours");
    assert!(end(&process).status.success());
    let report = beget_tests::report(&bytes);
    let numbers: Vec<&str> = below(&report, "fd.").iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, ["9"]);
}

#[test]
fn null_is_the_null_device() {
    let null = inode(&File::open("/dev/null").expect("/dev/null"));
    let report = report(probe(&[]).stdin(Stdio::null()).stderr(Stdio::null()));
    let streams = below(&report, "fd.");
    assert_eq!(streams.len(), 3, "{streams:?}");
    for stream in ["fd.0", "fd.2"] {
        assert!(
            report[stream].starts_with("character kept ") && report[stream].ends_with(&null),
            "{streams:?}"
        );
    }
    let output = probe(&["cat"]).stdin(Stdio::null()).output().expect("spawn");
    assert!(output.status.success() && output.stdout.is_empty());
}

#[test]
fn pipes_carry_what_is_written() {
    let mut command = probe(&["cat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    for round in ["first", "second"] {
        let mut process = command.spawn().expect("spawn");
        assert!(process.stderr.is_none());
        let mut stdin = process.stdin.take().expect("it was piped");
        stdin.write_all(round.as_bytes()).expect("the probe reads");
        drop(stdin);
        let mut text = String::new();
        process.stdout.take().expect("it was piped").read_to_string(&mut text).expect("the probe writes");
        assert_eq!(text, round);
        assert!(end(&process).status.success());
    }
}

#[test]
fn waiting_closes_a_piped_standard_input() {
    let mut process = probe(&["cat"]).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().expect("spawn");
    // Would wait for ever if the pipe were still open.
    assert!(process.wait().expect("wait").status.success());
    assert!(process.stdin.is_none());
}

#[test]
fn the_callers_own_streams_are_inherited_when_asked_for() {
    let (mut reading, writing) = std::io::pipe().expect("a pipe");
    let mut command = probe(&["report=3"]);
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit()).slot("report", writing);
    let process = command.spawn().expect("spawn");
    drop(command);
    let mut bytes = Vec::new();
    reading.read_to_end(&mut bytes).expect("a pipe of ours");
    assert!(end(&process).status.success());
    let report = beget_tests::report(&bytes);
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for (stream, own) in [("fd.0", inode(&stdin)), ("fd.1", inode(&stdout)), ("fd.2", inode(&stderr))] {
        assert!(report[stream].ends_with(&format!(" {own}")), "{stream}: {} is not {own}", report[stream]);
    }
}

/// The number of a closed stream is the next that any open file gets: one that the library opened for itself must not be taken
/// for the caller's stream.
#[test]
fn a_stream_that_the_caller_has_not_cannot_be_inherited() {
    in_own_process("streams::a_stream_that_the_caller_has_not_cannot_be_inherited", || {
        // SAFETY: a number; nothing in this process reads its standard input.
        unsafe { libc::close(0) };
        let (mut reading, writing) = std::io::pipe().expect("a pipe");
        let reading_is_input = std::os::fd::AsRawFd::as_raw_fd(&reading) == 0;
        assert!(reading_is_input, "the lowest number is given first");
        // Move it away, so that the number is free again.
        reading = reading.try_clone().expect("a descriptor");
        let mut command = probe(&["report=3"]);
        command.stdin(Stdio::inherit()).slot("report", writing);
        let Ok(process) = command.spawn() else { return };
        drop(command);
        let mut bytes = Vec::new();
        reading.read_to_end(&mut bytes).expect("a pipe of ours");
        assert!(end(&process).status.success());
        let report = beget_tests::report(&bytes);
        let numbers: Vec<&str> = below(&report, "fd.").iter().map(|(number, _)| *number).collect();
        assert_eq!(numbers, ["3"], "what it was given as the caller's stream: {:?}", report.get("fd.0"));
    });
}

#[test]
fn files_and_ends_of_pipes_are_streams_too() {
    let scratch = Scratch::new();
    let (input, output) = (scratch.file("input", "what is read"), scratch.at("output"));
    let (mut reading, writing) = std::io::pipe().expect("a pipe");
    let mut command = probe(&["cat"]);
    command
        .stdin(File::open(&input).expect("our own"))
        .stdout(File::create(&output).expect("our own"))
        .stderr(writing);
    assert!(command.status().expect("spawn").status.success());
    assert_eq!(std::fs::read_to_string(&output).expect("our own"), "what is read");
    drop(command);
    let mut errors = String::new();
    reading.read_to_string(&mut errors).expect("a pipe of ours");
    assert_eq!(errors, "");
}

#[test]
fn output_collects_both_streams_however_much_there_is() {
    let scratch = Scratch::new();
    // Many times what a pipe holds, with an error between, so that a reader of one stream at a time would hang.
    let big = scratch.file("big", "0123456789abcdef".repeat(64 << 10));
    let none: Vec<String> = (0..3000).map(|number| format!("/nonexistent/{number:0100}")).collect();
    let mut command = probe(&["cat", &big]);
    command.args(&none).arg(&big).grant(Grant::Read(big.clone().into()));
    let output = command.output().expect("spawn");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout.len(), 2 << 20);
    let errors = beget_tests::text(&output.stderr);
    assert_eq!(errors.lines().count(), 3000);
    // Not even that a path does not exist is told of a place that was not granted.
    assert!(errors.lines().all(|line| line.ends_with(": ENOENT") || line.ends_with(": EACCES")));
}

#[test]
fn output_gives_its_pipes_to_that_one_child_only() {
    let mut command = probe(&["say", "word"]);
    assert_eq!(command.output().expect("spawn").stdout, b"word\n");
    let process = command.spawn().expect("spawn");
    assert!(process.stdout.is_none() && process.stderr.is_none(), "a stream that was not set is closed");
    assert_eq!(end(&process).exit_code(), 1, "there is nowhere to write to");
    assert_eq!(command.output().expect("spawn").stdout, b"word\n");
}

#[test]
fn output_leaves_streams_that_were_set() {
    let scratch = Scratch::new();
    let file = scratch.at("output");
    let mut command = probe(&["cat", "/nonexistent/file"]);
    command.stderr(File::create(&file).expect("our own"));
    let output = command.output().expect("spawn");
    assert_eq!((output.status.code(), output.stdout.len(), output.stderr.len()), (Some(1), 0, 0));
    let written = std::fs::read_to_string(&file).expect("our own");
    assert!(written.starts_with("/nonexistent/file: "), "{written:?} in {}", text(file.as_ref()));
}
