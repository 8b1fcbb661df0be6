//! Bad input of every kind: the right exit code, one sentence that names the part, and nothing left behind.

mod bench;
mod executables;
mod flags;
mod grants;
mod library;
mod programs;
mod scarcity;
mod scripts;
mod service;
mod swapped;

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use beget_tests::{finish, mark, marked, text};

/// What lies in a folder.
fn listing(folder: &Path) -> BTreeSet<std::ffi::OsString> {
    std::fs::read_dir(folder).expect("a folder of ours").flatten().map(|entry| entry.file_name()).collect()
}

/// Runs `beget`, prepared so far, in `folder`, and demands: this exit code; nothing on standard output; exactly one line on
/// standard error, which begins with `beget: ` and has these words in it; and afterwards no process and no new file.
fn refused(mut command: Command, folder: &Path, code: i32, words: &str) {
    let mark = mark();
    // A child that fails before it runs a program has the arguments of its parent, this name among them.
    command.current_dir(folder).arg0(&mark).stdin(Stdio::null());
    let before = listing(folder);
    let output = finish(&mut command);
    let said = text(&output.stderr);
    let asked = format!("{command:?}");
    let asked = asked.get(..600).unwrap_or(&asked);
    assert_eq!(output.status.code(), Some(code), "{asked}: {said}");
    assert_eq!(text(&output.stdout), "", "{asked}");
    assert!(said.starts_with("beget: ") && said.ends_with('\n'), "{asked}: {said:?}");
    assert_eq!(said.lines().count(), 1, "{asked}: {said:?}");
    assert!(said.contains(words), "{asked}: {said:?} does not say {words:?}");
    assert_eq!(marked(&mark), Vec::<u32>::new(), "{asked} left a process");
    assert_eq!(listing(folder), before, "{asked} left a file");
}

/// `beget run` with these words.
fn run<Word: AsRef<OsStr>>(words: impl IntoIterator<Item = Word>) -> Command {
    let mut command = beget_tests::beget();
    command.arg("run").args(words).stdin(Stdio::null());
    command
}

/// Runs `beget run` in `folder` and gives what came of it.
fn ran(folder: &Path, words: &[&str]) -> Output {
    finish(run(words).current_dir(folder))
}

/// The same for what must succeed without a word on standard error: its standard output.
fn succeeds(folder: &Path, words: &[&str]) -> String {
    let output = ran(folder, words);
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""), "{words:?}");
    text(&output.stdout)
}

/// Runs a shell on `script`.
fn shell(script: &str) -> Output {
    finish(Command::new("/bin/sh").args(["-c", script]).stdin(Stdio::null()))
}
