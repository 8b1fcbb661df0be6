//! The library as its users use it: what each method of `Command` and `Process` does, seen from inside the child.

mod ends;
mod files;
mod groups;
mod pty;
mod reuse;
mod slots;
mod streams;
mod surroundings;
mod taken;

use std::collections::BTreeMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use beget::{Command, Ended, Process};
use beget_tests::program;

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);

/// A command for the probe.
fn probe(words: &[&str]) -> Command {
    let mut command = Command::new(program("probe"));
    command.args(words);
    command
}

/// What the probe says of itself, over its standard output.
fn report(command: &mut Command) -> BTreeMap<String, String> {
    let output = command.output().expect("spawn");
    assert!(output.status.success(), "{output:?}");
    beget_tests::report(&output.stdout)
}

/// What a probe wrote that has to end well.
fn said(command: &mut Command) -> String {
    let output = command.output().expect("spawn");
    assert!(output.status.success(), "{output:?}");
    beget_tests::text(&output.stdout)
}

fn end(process: &Process) -> Ended {
    process.wait_timeout(LONG).expect("a child can be waited for").expect("it ends")
}

/// The values of all keys that begin with `prefix`, by the rest of the key.
fn below<'a>(report: &'a BTreeMap<String, String>, prefix: &str) -> Vec<(&'a str, &'a str)> {
    let rest = |(key, value): (&'a String, &'a String)| Some((key.strip_prefix(prefix)?, value.as_str()));
    report.iter().filter_map(rest).collect()
}

/// Device and inode, as the probe tells them.
fn inode(file: &impl AsRawFd) -> String {
    // SAFETY: the kernel writes one `stat`, which zeroes are a value of too.
    let status = unsafe {
        let mut status: libc::stat = std::mem::zeroed();
        assert_eq!(libc::fstat(file.as_raw_fd(), &mut status), 0);
        status
    };
    format!("{}:{}", status.st_dev, status.st_ino)
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// Both ends of a new pseudo-terminal.
fn terminal() -> (OwnedFd, OwnedFd) {
    // SAFETY: numbers only; each descriptor is new and ours.
    unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(master >= 0 && libc::unlockpt(master) == 0);
        let slave = libc::ioctl(master, libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(slave >= 0);
        (OwnedFd::from_raw_fd(master), OwnedFd::from_raw_fd(slave))
    }
}
