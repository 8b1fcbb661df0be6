//! Processes as `/proc` shows them, and waiting for their ends by descriptor.

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Instant;

/// What `/proc/N/stat` says.
#[derive(Clone, Debug)]
pub struct Entry {
    pub number: i32,
    pub name: String,
    pub state: char,
    pub parent: i32,
    pub session: i32,
}

/// One process, while it is there.
pub fn entry(number: i32) -> Option<Entry> {
    let text = std::fs::read_to_string(format!("/proc/{number}/stat")).ok()?;
    // The name in brackets may hold brackets and spaces too.
    let (front, rest) = text.rsplit_once(") ")?;
    let (_, name) = front.split_once('(')?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let field = |index: usize| fields.get(index)?.parse().ok();
    let state = fields.first()?.chars().next()?;
    Some(Entry { number, name: name.to_owned(), state, parent: field(1)?, session: field(3)? })
}

/// The first of its arguments. Before it executes its program, those are its creator's.
pub fn started_as(number: i32) -> Option<String> {
    let arguments = std::fs::read_to_string(format!("/proc/{number}/cmdline")).ok()?;
    arguments.split('\0').next().map(str::to_owned)
}

/// All that live; zombies are their parents' matter.
fn living() -> Vec<Entry> {
    let entries = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers.filter_map(entry).filter(|entry| !matches!(entry.state, 'Z' | 'X')).collect()
}

/// The living processes of a session.
pub fn of_session(session: i32) -> Vec<Entry> {
    living().into_iter().filter(|entry| entry.session == session).collect()
}

/// The living children of a process.
pub fn children_of(parent: i32) -> Vec<Entry> {
    living().into_iter().filter(|entry| entry.parent == parent).collect()
}

/// The living descendants of a process, the lowest first.
pub fn below(parent: i32) -> Vec<Entry> {
    let children = children_of(parent);
    let mut all: Vec<Entry> = children.iter().flat_map(|one| below(one.number)).collect();
    all.extend(children);
    all
}

/// Sends a signal to one process that a test started.
pub fn signal(number: i32, signal: i32) {
    // SAFETY: no memory is passed.
    let sent = unsafe { libc::kill(number, signal) };
    assert_eq!(sent, 0, "process {number} could not be signalled: {}", std::io::Error::last_os_error());
}

/// A process that is watched, so that its number cannot come to mean another.
#[derive(Debug)]
pub struct Watched {
    entry: Entry,
    file: OwnedFd,
}

impl Watched {
    /// Watches a process that is there.
    pub fn new(entry: Entry) -> Watched {
        // SAFETY: no memory is passed.
        let file = unsafe { libc::syscall(libc::SYS_pidfd_open, entry.number, 0) };
        assert!(file >= 0, "{entry:?} is not there: {}", std::io::Error::last_os_error());
        // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
        Watched { entry, file: unsafe { OwnedFd::from_raw_fd(file as i32) } }
    }

    /// Waits until it ended.
    pub fn wait(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now()).as_millis() as i32;
        let mut file = libc::pollfd { fd: self.file.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        // SAFETY: one live structure is passed.
        let ready = unsafe { libc::poll(&raw mut file, 1, left) };
        assert_eq!(ready, 1, "still there: {:?}, now {:?}", self.entry, entry(self.entry.number));
    }
}
