//! The three functions of a process that was born with a channel: find it, ask, receive.
//!
//! Safety idea: the number is taken from the environment, which anybody may have written; so it is used only when it is for this very process, and
//! what is there is such a socket.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use beget_sys::{Errno, descriptor};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::SLOT;
use crate::error::{Error, Result};
use crate::packet::{Packet, receive, send};

/// The process's end of its channel.
#[derive(Debug)]
pub struct Channel(OwnedFd);

/// The channel that this process was born with: what is in the slot named `beget`, if the slots are for this process (`LISTEN_PID`). It is a
/// descriptor of its own, close-on-exec; the slot stays as it is, and so does a program's that this one becomes by an exec.
///
/// # Errors
/// [`Error::None`] when there is no such slot; [`Error::NotOne`]; `EMFILE`.
pub fn channel() -> Result<Channel> {
    let variable = |name| std::env::var(name).ok();
    let words = (variable("LISTEN_PID"), variable("LISTEN_FDS"), variable("LISTEN_FDNAMES"));
    let (Some(owner), Some(count), Some(names)) = words else { return Err(Error::None) };
    let number = number(&owner, &count, &names, std::process::id()).ok_or(Error::None)?;
    let socket = descriptor::take_up(number).map_err(|errno| match errno {
        Errno::EBADF => Error::None,
        errno => Error::Kernel("take up", errno),
    })?;
    let is_one = sockopt::socket_domain(&socket) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(&socket) == Ok(SocketType::SEQPACKET);
    if is_one { Ok(Channel(socket)) } else { Err(Error::NotOne) }
}

/// The number of the slot, by what the variables say.
pub(crate) fn number(owner: &str, count: &str, names: &str, own: u32) -> Option<i32> {
    const FIRST: usize = 3;
    if owner.parse() != Ok(own) {
        return None;
    }
    let count: usize = count.parse().ok()?;
    let place = names.split(':').take(count).position(|name| name == SLOT)?;
    i32::try_from(place.checked_add(FIRST)?).ok()
}

impl Channel {
    /// Asks for the capability of this name; waits for room, if the holder has not read what was asked before. What comes of it is the
    /// holder's to decide: [`receive`](Channel::receive) it.
    ///
    /// # Errors
    /// [`Error::Name`]; [`Error::Closed`] when the holder is gone.
    pub fn ask(&self, name: &str) -> Result<()> {
        loop {
            match send(&self.0, name, None, true) {
                Err(Error::Kernel(_, Errno::EINTR)) => {}
                other => return other,
            }
        }
    }

    /// Waits for the next capability: its name, and it. `None` when no more will come, for the holder is gone. Anything else that comes is
    /// skipped.
    ///
    /// # Errors
    /// [`Error::Lost`]; those of the kernel.
    pub fn receive(&self) -> Result<Option<(String, OwnedFd)>> {
        loop {
            match receive(&self.0, true) {
                Ok(Some(Packet::Capability(name, descriptor))) => return Ok(Some((name, descriptor))),
                Ok(Some(Packet::Lost)) => return Err(Error::Lost),
                Err(Error::Closed) => return Ok(None),
                Ok(_) | Err(Error::Kernel(_, Errno::EINTR)) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// Readable when a capability has come, or the holder is gone.
impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
