//! Nurseries: what is born there is told of, held, confined and ended as anything else, and ends with its creator besides.

mod attacked;
mod batches;
mod busy_text;
mod credentials;
mod crowds;
mod ends;
mod hostile;
mod lasting;
mod options;
mod own_children;
mod run;
mod storm;
mod together;
mod trees;
mod words;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use beget::{Command, Ended, Grant, Nursery, Process};
use beget_tests::program;

beget_tests::driver!(drive);

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);

/// What this test program does instead of its tests when one of them starts it as a creator that is to be killed.
fn drive(words: &str) {
    let (what, rest) = words.split_once(' ').unwrap_or((words, ""));
    match what {
        "tree" => trees::drive(),
        "batches" => batches::drive(),
        "storm" => storm::drive(rest),
        _ => panic!("{words}"),
    }
}

/// A command for the probe, which may do whatever the user may.
fn probe(words: &[&str]) -> Command {
    let mut command = Command::new(program("probe"));
    command.args(words).grant(Grant::Ambient);
    command
}

/// The same, born in this process's own nursery.
fn born(words: &[&str]) -> Command {
    let mut command = probe(words);
    command.nursery(&Nursery::shared().expect("a nursery"));
    command
}

/// What the probe says of itself, over its standard output.
fn report(command: &mut Command) -> BTreeMap<String, String> {
    let output = command.output().expect("spawn");
    assert!(output.status.success(), "{output:?}");
    beget_tests::report(&output.stdout)
}

fn end(process: &Process) -> Ended {
    process.wait_timeout(LONG).expect("it can be waited for").expect("it ends")
}

/// The children of a process, zombies too.
fn children(number: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{number}/task/{number}/children"));
    list.unwrap_or_default().split_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// The number of the nursery itself, which its guard has for its one child once it has come to itself.
fn behind(nursery: &Nursery) -> u32 {
    drop(nursery.embryo().expect("it is there"));
    let all = children(nursery.id());
    assert_eq!(all.len(), 1, "a guard keeps one nursery");
    all[0]
}

fn kill(number: u32, signal: i32) {
    // SAFETY: callers know whose number it is.
    assert_eq!(unsafe { libc::kill(number as i32, signal) }, 0, "{number}");
}

/// Whether there is such a process, a zombie too.
fn exists(number: u32) -> bool {
    // SAFETY: signal 0 asks and sends nothing.
    unsafe { libc::kill(number as i32, 0) == 0 }
}

fn pipe() -> (File, File) {
    let (read, write) = std::io::pipe().expect("a pipe");
    (OwnedFd::from(read).into(), OwnedFd::from(write).into())
}

/// Waits until something can be read, or nothing more will come.
fn wait_for(file: &impl AsRawFd) -> bool {
    let mut watched = libc::pollfd { fd: file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure is read and written.
    unsafe { libc::poll(&mut watched, 1, LONG.as_millis() as i32) == 1 }
}

/// Everything until every holder of the other end is gone.
fn rest(file: impl Into<OwnedFd>) -> Vec<u8> {
    let mut file = File::from(file.into());
    let mut all = Vec::new();
    loop {
        assert!(wait_for(&file), "somebody holds the other end, who wrote {:?}", beget_tests::text(&all));
        let mut chunk = [0; 4096];
        match file.read(&mut chunk).expect("a pipe can be read") {
            0 => return all,
            length => all.extend_from_slice(&chunk[..length]),
        }
    }
}

/// The next `count` bytes.
fn bytes(file: &impl AsRawFd, count: usize) -> Vec<u8> {
    let mut all = vec![0; count];
    let mut done = 0;
    while done < count {
        assert!(wait_for(file), "nothing comes after {done} bytes");
        // SAFETY: reads into what is left of a live buffer.
        let read = unsafe { libc::read(file.as_raw_fd(), all[done..].as_mut_ptr().cast(), count - done) };
        assert!(read > 0, "it ended after {done} bytes");
        done += read as usize;
    }
    all
}

/// A handle of a process by its number, to be told of its end by.
fn pidfd(number: u32) -> OwnedFd {
    // SAFETY: a number; the descriptor is new.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, number, 0) as i32;
        assert!(fd >= 0, "{number} is there");
        OwnedFd::from_raw_fd(fd)
    }
}
