//! One of our own standard streams, used without waiting for whoever is at its other end.
//!
//! Safety idea: a stream is shared with whoever started us, and so are its flags: it is opened anew where that can be, and asked before
//! each use where it cannot.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno, Result};
use rustix::net::{RecvFlags, SendFlags};

/// How it can be used without waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// By flags of our own.
    Own,
    /// By a flag of each call.
    Socket,
    /// Only so much at a time, when it is ready for it. Others who use it at the same moment can make us wait.
    Shared { most: usize },
}

/// A standard stream of ours.
#[derive(Debug)]
pub(super) struct Stream {
    file: OwnedFd,
    way: Way,
}

impl Stream {
    /// Standard input, to read.
    pub(super) fn input() -> Result<Stream> {
        Stream::of(std::io::stdin().as_fd(), 0, OFlags::RDONLY)
    }

    /// Standard output (1) or standard error (2), to write.
    pub(super) fn output(number: usize) -> Result<Stream> {
        if number == 1 {
            Stream::of(std::io::stdout().as_fd(), 1, OFlags::WRONLY)
        } else {
            Stream::of(std::io::stderr().as_fd(), 2, OFlags::WRONLY)
        }
    }

    fn of(file: BorrowedFd<'_>, number: usize, mode: OFlags) -> Result<Stream> {
        // A pipe that is full takes a page when it says that it takes something; a terminal promises less.
        const PAGE: usize = 4096;
        const LITTLE: usize = 64;
        let is_terminal = rustix::termios::isatty(file);
        let kind = FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode);
        if kind == FileType::Socket {
            return Ok(Stream { file: copy(file)?, way: Way::Socket });
        }
        if kind == FileType::Fifo || is_terminal {
            let flags = mode | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            if let Ok(file) = rustix::fs::open(format!("/proc/self/fd/{number}"), flags, Mode::empty()) {
                return Ok(Stream { file, way: Way::Own });
            }
        }
        let most = if is_terminal { LITTLE } else { PAGE };
        Ok(Stream { file: copy(file)?, way: Way::Shared { most } })
    }

    /// Reads what there is; `None` when there is nothing now.
    pub(super) fn read(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        ready(match self.way {
            Way::Own => rustix::io::read(&self.file, &mut *buffer),
            Way::Socket => {
                rustix::net::recv(&self.file, &mut *buffer, RecvFlags::DONTWAIT).map(|(count, _)| count)
            }
            Way::Shared { .. } if !self.is_ready(PollFlags::IN) => return Ok(None),
            Way::Shared { .. } => rustix::io::read(&self.file, &mut *buffer),
        })
    }

    /// Writes what it takes; `None` when it takes nothing now.
    pub(super) fn write(&self, bytes: &[u8]) -> Result<Option<usize>> {
        ready(match self.way {
            Way::Own => rustix::io::write(&self.file, bytes),
            Way::Socket => rustix::net::send(&self.file, bytes, SendFlags::DONTWAIT),
            Way::Shared { .. } if !self.is_ready(PollFlags::OUT) => return Ok(None),
            Way::Shared { most } => rustix::io::write(&self.file, &bytes[..bytes.len().min(most)]),
        })
    }

    fn is_ready(&self, what: PollFlags) -> bool {
        let mut watched = [PollFd::new(&self.file, what)];
        matches!(poll(&mut watched, Some(&Timespec::default())), Ok(1..))
    }
}

/// Nothing to take or to give now is no error.
pub(super) fn ready(answer: Result<usize>) -> Result<Option<usize>> {
    match answer {
        Ok(count) => Ok(Some(count)),
        Err(Errno::AGAIN | Errno::INTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

fn copy(file: BorrowedFd<'_>) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(file, 3)
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
