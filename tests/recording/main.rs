//! Output that passes through `beget run`: of a terminal of the program's own where there is none outside, recorded, and limited.

mod input;
mod limit;
mod log;
mod passage;

use std::io::Write;
use std::process::{Command, Output, Stdio};

use beget_tests::{beget, finish};

/// `beget run --base` with these words.
fn run(words: &[&str]) -> Command {
    let mut command = beget();
    command.args(["run", "--base"]).args(words).stdin(Stdio::null());
    command
}

/// What it comes to with this as its standard input, which then ends.
fn fed(words: &[&str], input: &[u8]) -> Output {
    let (reading, mut writing) = std::io::pipe().expect("a pipe");
    let mut command = run(words);
    command.stdin(reading);
    let input = input.to_vec();
    // The program may end without reading it.
    let feeder = std::thread::spawn(move || drop(writing.write_all(&input)));
    let output = finish(&mut command);
    drop(command);
    feeder.join().expect("it only writes");
    output
}

/// Exit code, standard output and standard error.
fn ran(words: &[&str]) -> (Option<i32>, String, String) {
    told(&finish(&mut run(words)))
}

fn told(output: &Output) -> (Option<i32>, String, String) {
    (output.status.code(), beget_tests::text(&output.stdout), beget_tests::text(&output.stderr))
}
