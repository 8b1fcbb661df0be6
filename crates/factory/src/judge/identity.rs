//! Which process a descriptor means: for telling whether one is a factory's own.
//!
//! Safety idea: a number is given again, an inode of the kernel's filesystem of processes is not; where there is none, the number counts only
//! together with the time of birth, read while the descriptor still holds the number, and when the tick of that time is over.

use std::fmt;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use beget::{Error, Fault, Result};

use super::look;

/// One process of this machine, and no other, ever: also when it has ended and its number means somebody else.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ProcessIdentity {
    /// Which start of the machine it lived in.
    boot: &'static str,
    by: By,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum By {
    /// The inode of its pidfd, which no other gets until the machine is restarted (Linux 6.9).
    Inode(u64),
    /// Its number as seen here, and its time of birth in ticks since the start of the machine.
    Birth { number: u32, start: u64 },
}

fn failed(words: impl Into<String>) -> Error {
    Error::new("factory: which process it is", words, Fault::Caller)
}

impl ProcessIdentity {
    /// The process that a pidfd means. Where the kernel has no filesystem of processes, one that has ended, but was not yet waited for, is still
    /// told; after that no more.
    ///
    /// # Errors
    /// A descriptor that is no pidfd; without that filesystem also a process that is gone, or that has no number here.
    pub fn of(pidfd: BorrowedFd<'_>) -> Result<ProcessIdentity> {
        const PIDFS: u64 = 0x5049_4446;
        let filesystem =
            rustix::fs::fstatfs(pidfd).map_err(|errno| Error::io("factory: which process it is", errno))?;
        if filesystem.f_type as u64 != PIDFS {
            return ProcessIdentity::by_birth(pidfd);
        }
        let status =
            rustix::fs::fstat(pidfd).map_err(|errno| Error::io("factory: which process it is", errno))?;
        Ok(ProcessIdentity { boot: look::boot(), by: By::Inode(status.st_ino) })
    }

    /// The same on a kernel before 6.9.
    fn by_birth(pidfd: BorrowedFd<'_>) -> Result<ProcessIdentity> {
        let number = number(pidfd)?;
        let status = std::fs::read_to_string(format!("/proc/{number}/stat"));
        let status = status.map_err(|error| Error::io("factory: which process it is", error))?;
        // The name, in parentheses, may hold anything; the 20th word after it is the time of birth.
        const AFTER_NAME: usize = 19;
        let start = status
            .rsplit_once(')')
            .and_then(|(_, rest)| rest.split_whitespace().nth(AFTER_NAME)?.parse().ok());
        let start = start.ok_or_else(|| failed("/proc tells nothing of its birth"))?;
        // Another of this number may be born and end within the same tick; not any more when that is over.
        while now()? <= start {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        // It has the number still: so what was read was its own.
        if self::number(pidfd)? != number {
            return Err(failed("it is gone"));
        }
        Ok(ProcessIdentity { boot: look::boot(), by: By::Birth { number, start } })
    }
}

/// Ticks since the start of the machine: hundredths of a second, on every machine of ours.
fn now() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/uptime");
    let text = text.map_err(|error| Error::io("factory: which process it is", error))?;
    let (seconds, hundredths) =
        text.split(' ').next().and_then(|word| word.split_once('.')).unwrap_or_default();
    match (seconds.parse::<u64>(), hundredths.parse::<u64>()) {
        (Ok(seconds), Ok(hundredths)) => Ok(seconds * 100 + hundredths),
        _ => Err(failed("/proc/uptime does not tell the time")),
    }
}

/// Its number, which is nobody else's as long as this answers.
fn number(pidfd: BorrowedFd<'_>) -> Result<u32> {
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()));
    let text = text.map_err(|error| Error::io("factory: which process it is", error))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pid:"));
    match line.map(|number| number.trim().parse::<i64>()) {
        None => Err(failed("the descriptor is no pidfd")),
        Some(Ok(number @ 1..)) => Ok(number as u32),
        Some(Ok(0)) => Err(failed("it has no number here")),
        Some(_) => Err(failed("it is gone")),
    }
}

/// The process of a handle.
impl TryFrom<&beget::Process> for ProcessIdentity {
    type Error = Error;

    fn try_from(process: &beget::Process) -> Result<ProcessIdentity> {
        ProcessIdentity::of(process.as_fd())
    }
}

impl fmt::Display for ProcessIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.by {
            By::Inode(inode) => write!(f, "{}-{inode}", self.boot),
            By::Birth { number, start } => write!(f, "{}-{number}.{start}", self.boot),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::os::fd::OwnedFd;
    use std::process::{Child, Command};

    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::*;

    fn child() -> (Child, OwnedFd) {
        let child = Command::new("/bin/true").spawn().expect("a process");
        let number = Pid::from_child(&child);
        let pidfd = pidfd_open(number, PidfdFlags::empty()).expect("it is not waited for yet");
        (child, pidfd)
    }

    #[test]
    fn thousands_are_told_apart_and_each_is_itself() {
        let mut seen = HashSet::new();
        for round in 0..2000 {
            let (mut child, pidfd) = child();
            let identity = ProcessIdentity::of(pidfd.as_fd()).expect("it is there");
            // By another descriptor it is the same.
            let other =
                pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).expect("it is not waited for yet");
            assert_eq!(ProcessIdentity::of(other.as_fd()).expect("it is there"), identity);
            // This way takes a tick of the clock, so not each of them goes it.
            let by_birth =
                (round % 20 == 0).then(|| ProcessIdentity::by_birth(pidfd.as_fd()).expect("it is there"));
            if by_birth.is_some() {
                assert_eq!(ProcessIdentity::by_birth(other.as_fd()).ok(), by_birth);
            }
            child.wait().expect("it ends");
            // Ended and waited for: the number may be somebody else's now, and is not told as its own.
            assert!(ProcessIdentity::by_birth(pidfd.as_fd()).is_err());
            let still = ProcessIdentity::of(pidfd.as_fd());
            assert!(still.is_err() || still.is_ok_and(|still| still == identity));
            for identity in HashSet::from([Some(identity), by_birth]).into_iter().flatten() {
                assert!(seen.insert(identity.clone()), "{identity} twice");
            }
        }
    }

    #[test]
    fn a_number_that_was_given_again_is_somebody_else() {
        // Whoever may say which number comes next: others take it now and then, so it is tried again.
        let last = "/proc/sys/kernel/ns_last_pid";
        for _ in 0..200 {
            let (mut first, old) = child();
            let identities =
                (ProcessIdentity::of(old.as_fd()).unwrap(), ProcessIdentity::by_birth(old.as_fd()).unwrap());
            let number = first.id();
            first.wait().expect("it ends");
            if std::fs::write(last, (number - 1).to_string()).is_err() {
                eprintln!("skipped: numbers are chosen only by root");
                return;
            }
            let (mut second, new) = child();
            let again = second.id() == number;
            let others =
                (ProcessIdentity::of(new.as_fd()).unwrap(), ProcessIdentity::by_birth(new.as_fd()).unwrap());
            second.wait().expect("it ends");
            assert_ne!(identities.0, others.0);
            assert_ne!(identities.1, others.1);
            if again {
                return;
            }
        }
        panic!("the number was never given again");
    }

    #[test]
    fn what_is_no_process_has_no_identity() {
        let (reader, _writer) = std::io::pipe().expect("a pipe");
        assert!(ProcessIdentity::of(reader.as_fd()).is_err());
        let file = std::fs::File::open("/bin/true").expect("it is there");
        assert!(ProcessIdentity::of(file.as_fd()).is_err());
    }
}
