//! What can be done to a file through a descriptor that was given only to read it, seen from outside.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use beget::{Command, Grant, Process, Stdio};
use beget_tests::{Scratch, program};

/// The slot that the marker is given what it is to mark in.
const SLOT: i32 = 5;

/// A product-like child that has tried everything on `file` and stays; what it said.
pub(crate) struct Marker {
    pub(crate) said: BTreeMap<String, String>,
    process: Process,
    stay: PipeWriter,
}

impl Marker {
    pub(crate) fn run(file: &OwnedFd, build: impl FnOnce(&mut Command)) -> Result<Marker, beget::Error> {
        let marker = program("marker");
        let (theirs, stay) = std::io::pipe().expect("a pipe");
        let (reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = Command::new(&marker);
        command.arg(SLOT.to_string()).grant(Grant::Base).fd(SLOT, file.try_clone().expect("a copy"));
        command.stdin(theirs).stdout(writer).stderr(Stdio::inherit());
        build(&mut command);
        let process = command.spawn()?;
        drop(command);
        let lines = BufReader::new(reader).lines().map(|line| line.expect("it writes"));
        let lines: Vec<String> = lines.take_while(|line| line != "done").collect();
        let said = lines.iter().filter_map(|line| line.split_once(' '));
        let said: BTreeMap<_, _> = said.map(|(name, how)| (name.to_owned(), how.to_owned())).collect();
        assert!(said.len() > 30, "{said:?}");
        Ok(Marker { said, process, stay })
    }

    /// What was not refused.
    pub(crate) fn done(&self) -> Vec<&str> {
        self.said.iter().filter(|(_, how)| *how == "ok").map(|(name, _)| name.as_str()).collect()
    }

    pub(crate) fn end(self) {
        let Marker { mut process, stay, .. } = self;
        drop(stay);
        assert!(process.wait().expect("it ends").success());
    }
}

/// All that somebody outside sees of a file, by a description of their own; locks are tried.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    contents: String,
    status: (u32, u32, u32, u64, i64, i64, i64, i64, i64, i64),
    names: Vec<String>,
    locked: bool,
    locked_by_record: bool,
    writable_at_once: bool,
    offset: i64,
    flags: i32,
}

impl Seen {
    /// The same without its time of access.
    pub(crate) fn but_that_it_was_read(self) -> Seen {
        let mut status = self.status;
        (status.4, status.5) = (0, 0);
        Seen { status, ..self }
    }

    pub(crate) fn of(file: BorrowedFd<'_>) -> Seen {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let status = std::fs::metadata(&path).expect("it is open");
        let contents = if status.is_file() { std::fs::read(&path).expect("ours") } else { Vec::new() };
        let contents = format!("{} bytes, {:?}", contents.len(), contents.iter().max());
        // Only now: what was read here is no mark of theirs.
        let status = std::fs::metadata(&path).expect("it is open");
        let times = (status.atime(), status.atime_nsec(), status.mtime(), status.mtime_nsec());
        let named = (status.mode(), status.uid(), status.gid(), status.nlink());
        let names = std::fs::read_dir(&path).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        let other = File::open(&path).expect("ours");
        let locked = other.try_lock().is_err();
        let _ = other.unlock();
        // SAFETY: a plain structure.
        let mut record: libc::flock = unsafe { std::mem::zeroed() };
        record.l_type = libc::F_WRLCK as i16;
        // SAFETY: the kernel writes into the structure.
        unsafe { libc::fcntl(other.as_raw_fd(), libc::F_GETLK, &raw mut record) };
        let locked_by_record = record.l_type != libc::F_UNLCK as i16;
        // A lease keeps whoever opens it for writing waiting, and answers with EWOULDBLOCK who does not wait.
        use std::os::unix::fs::OpenOptionsExt;
        let writing = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&path);
        let writable_at_once = writing.is_ok() || status.is_dir();
        // SAFETY: two calls without pointers.
        let (offset, flags) = unsafe {
            (libc::lseek(file.as_raw_fd(), 0, libc::SEEK_CUR), libc::fcntl(file.as_raw_fd(), libc::F_GETFL))
        };
        let changed = (status.ctime(), status.ctime_nsec());
        let status =
            (named.0, named.1, named.2, named.3, times.0, times.1, times.2, times.3, changed.0, changed.1);
        Seen { contents, status, names, locked, locked_by_record, writable_at_once, offset, flags }
    }
}

fn fresh_file(scratch: &Scratch) -> OwnedFd {
    let path = scratch.file("read", vec![b'a'; 5000]);
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o644)).expect("ours");
    File::open(path).expect("just made").into()
}

#[test]
fn a_descriptor_to_read_by_leaves_marks_and_a_discreet_child_leaves_none() {
    let scratch = Scratch::new();
    let file = fresh_file(&scratch);
    let before = Seen::of(file.as_fd());
    let marker = Marker::run(&file, |command| {
        command.discreet(true);
    })
    .expect("it runs");
    assert_eq!(marker.done(), [""; 0]);
    assert_eq!(Seen::of(file.as_fd()), before, "{:?}", marker.said);
    marker.end();
    // The very same child marks it otherwise: so the marks are what is refused, and they would be seen.
    let marker = Marker::run(&file, |_| {}).expect("it runs");
    let after = Seen::of(file.as_fd());
    assert!(after.locked, "{:?}", marker.said);
    assert!(["fchmod", "futimens", "lock-read", "lease-read"].iter().all(|way| marker.done().contains(way)));
    assert_ne!(after.status, before.status);
    assert_eq!(after.contents, before.contents);
    marker.end();
}
