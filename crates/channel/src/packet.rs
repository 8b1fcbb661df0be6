//! One packet: a name, and a descriptor or none.
//!
//! Safety idea: the kernel keeps packets apart, so one that is garbage spoils no other; a descriptor that comes is owned from the moment it is
//! there, and closed with whatever it came in.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::error::{Error, Result};

/// The longest name, in bytes.
pub const LONGEST_NAME: usize = 255;
/// How many packets that are none are skipped in one call before it says that nothing has come.
pub const MOST_SKIPPED: usize = 64;

/// What came.
#[derive(Debug)]
pub enum Packet {
    /// The capability of this name.
    Capability(String, OwnedFd),
    /// A name alone: that capability is asked for.
    Asked(String),
    /// No packet of ours. What came with it is closed.
    Garbage,
    /// A name, whose descriptor there was no number for.
    Lost,
}

/// Whether a capability can have this name.
///
/// # Errors
/// [`Error::Name`], with what is wrong with it.
pub fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > LONGEST_NAME {
        return Err(Error::Name("a name has 1 to 255 bytes"));
    }
    if name.chars().any(char::is_control) {
        return Err(Error::Name("a name has no control characters"));
    }
    Ok(())
}

/// Sends one packet: a capability, or with no descriptor a question. `wait`: for room, if there is none.
///
/// # Errors
/// [`Error::Name`], [`Error::Full`], [`Error::Closed`]; of the kernel `ETOOMANYREFS`, when too many descriptors of this user are on
/// their way, `ENOMEM`, and `EINTR` when a signal ended the waiting. Nothing was sent then.
pub fn send(socket: impl AsFd, name: &str, descriptor: Option<BorrowedFd<'_>>, wait: bool) -> Result<()> {
    check_name(name)?;
    let given = descriptor.as_slice();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !given.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(given));
    }
    let flags = SendFlags::NOSIGNAL | if wait { SendFlags::empty() } else { SendFlags::DONTWAIT };
    match sendmsg(socket.as_fd(), &[IoSlice::new(name.as_bytes())], &mut control, flags) {
        Ok(_) => Ok(()),
        Err(Errno::AGAIN) => Err(Error::Full),
        Err(Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN | Errno::CONNREFUSED) => Err(Error::Closed),
        Err(errno) => Err(Error::of("send")(errno)),
    }
}

/// Receives one packet; `None` when there is none yet, unless it is to `wait` for one. What is received is close-on-exec.
///
/// # Errors
/// [`Error::Closed`] when no more will come; of the kernel `EINTR`.
pub fn receive(socket: impl AsFd, wait: bool) -> Result<Option<Packet>> {
    // One byte more than a name has: a longer one is seen to be longer.
    let mut bytes = [0u8; LONGEST_NAME + 1];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let flags = RecvFlags::CMSG_CLOEXEC | if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
    let message = match recvmsg(socket.as_fd(), &mut [IoSliceMut::new(&mut bytes)], &mut control, flags) {
        Ok(message) => message,
        Err(Errno::AGAIN) => return Ok(None),
        // It went away with something unread.
        Err(Errno::CONNRESET) => return Err(Error::Closed),
        Err(errno) => return Err(Error::of("receive")(errno)),
    };
    let mut descriptors: Vec<OwnedFd> = Vec::new();
    for part in control.drain() {
        if let RecvAncillaryMessage::ScmRights(files) = part {
            descriptors.extend(files);
        }
    }
    // Nothing at all is the end; an empty packet with descriptors is garbage, and one without cannot be told from the end but by looking
    // whether the other end is still there.
    if message.bytes == 0 && descriptors.is_empty() && !message.flags.contains(ReturnFlags::CTRUNC) {
        return if is_closed(socket.as_fd()) { Err(Error::Closed) } else { Ok(Some(Packet::Garbage)) };
    }
    Ok(Some(match bytes.get(..message.bytes).map(std::str::from_utf8) {
        Some(Ok(name)) if check_name(name).is_ok() => {
            let name = name.to_owned();
            match (descriptors.pop(), descriptors.is_empty(), message.flags.contains(ReturnFlags::CTRUNC)) {
                (Some(one), true, false) => Packet::Capability(name, one),
                (None, _, false) => Packet::Asked(name),
                (None, _, true) => Packet::Lost,
                _ => Packet::Garbage,
            }
        }
        _ => Packet::Garbage,
    }))
}

fn is_closed(socket: BorrowedFd<'_>) -> bool {
    let mut watched = [PollFd::new(&socket, PollFlags::RDHUP)];
    let _ = poll(&mut watched, Some(&Timespec::default()));
    watched[0].revents().intersects(PollFlags::HUP | PollFlags::RDHUP | PollFlags::ERR)
}
