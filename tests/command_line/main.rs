//! The command line: help, `show`, exit codes, messages, signals, streams, and Beget inside Beget.

mod codes;
mod completions;
mod help;
mod nested;
mod pages;
mod show;
mod signals;
mod streams;

use beget_tests::{beget, finish, text};

/// Runs `beget` with these words: exit code, standard output, standard error.
fn ran(words: &[&str]) -> (Option<i32>, String, String) {
    let output = finish(beget().args(words).stdin(std::process::Stdio::null()));
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}
