//! The end of whoever holds the process: sends capabilities, and is told what is asked for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use beget_sys::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use crate::error::{Error, Result};
use crate::packet::{MOST_SKIPPED, Packet, receive, send};

/// The holder's end of a channel. Several threads may use it at once.
#[derive(Debug)]
pub struct Holder(OwnedFd);

/// An end that came from somewhere else: passed on by its holder, kept by another process.
impl From<OwnedFd> for Holder {
    fn from(socket: OwnedFd) -> Holder {
        Holder(socket)
    }
}

impl From<Holder> for OwnedFd {
    fn from(holder: Holder) -> OwnedFd {
        holder.0
    }
}

/// Readable when a process has asked for something, or has closed its end.
impl AsFd for Holder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Holder {
    /// A new channel: the holder's end, and the one for the process.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn pair() -> Result<(Holder, OwnedFd)> {
        socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map(|(ours, theirs)| (Holder(ours), theirs))
            .map_err(Error::of("make"))
    }

    /// Sends the capability of this name. Does not wait: the kernel keeps a number of packets (`/proc/sys/net/unix/max_dgram_qlen`) for a
    /// process that has not read yet.
    ///
    /// # Errors
    /// As of [`send`]; nothing was sent then.
    pub fn send(&self, name: &str, capability: impl AsFd) -> Result<()> {
        send(&self.0, name, Some(capability.as_fd()), false)
    }

    /// The next name that the process asks for, or `None` when none has come in this time. What it sends beside questions is closed and
    /// skipped; after [`MOST_SKIPPED`] of that this returns early, with none.
    ///
    /// # Errors
    /// [`Error::Closed`] when nothing more will come.
    pub fn asked(&self, time: Duration) -> Result<Option<String>> {
        let until = Instant::now().checked_add(time);
        let mut skipped = 0;
        loop {
            match receive(&self.0, false) {
                Ok(Some(Packet::Asked(name))) => return Ok(Some(name)),
                Ok(Some(_)) => {
                    skipped += 1;
                    if skipped == MOST_SKIPPED {
                        return Ok(None);
                    }
                }
                Ok(None) => {
                    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
                    if left == Some(Duration::ZERO) {
                        return Ok(None);
                    }
                    let left = left.and_then(|left| Timespec::try_from(left).ok());
                    match poll(&mut [PollFd::new(&self.0, PollFlags::IN)], left.as_ref()) {
                        Ok(_) | Err(rustix::io::Errno::INTR) => {}
                        Err(errno) => return Err(Error::of("wait")(errno)),
                    }
                }
                Err(Error::Kernel(_, Errno::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
