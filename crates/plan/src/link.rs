//! The creator's end of a channel: whole messages to a nursery or an embryo, and theirs.
//!
//! Safety idea: received descriptors are owned from the moment they arrive; a message that breaks off, or is none, closes the channel.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::vec::Vec;

use beget_sys::message::{self, MOST_DESCRIPTORS};
use beget_sys::process::Child;
use beget_sys::{Errno, descriptor};

use crate::message::{HEADER, Header};

/// A message that came.
#[derive(Debug)]
pub struct Message {
    /// What it is.
    pub header: Header,
    /// Its body.
    pub body: Vec<u8>,
    /// Its descriptors.
    pub descriptors: Vec<OwnedFd>,
    /// Some came that there was no number for (`EMFILE`); they are closed, and `descriptors` holds none.
    pub lost: bool,
}

/// One end of a channel.
#[derive(Debug)]
pub struct Link {
    socket: OwnedFd,
}

/// A channel: our end, and the one to be given away.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn pair() -> Result<(Link, OwnedFd), Errno> {
    let [ours, theirs] = descriptor::socket_pair()?;
    // SAFETY: the kernel gave us both a moment ago.
    let [ours, theirs] = [ours, theirs].map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((Link { socket: ours }, theirs))
}

/// What a nursery's answer means: a child by its number and the pidfd that came with it.
#[must_use]
pub fn child(number: u32, pidfd: OwnedFd) -> Child {
    Child { number, pidfd }
}

impl Link {
    /// Sends a message whose lengths are filled in here; waits for room.
    ///
    /// # Errors
    /// `EPIPE` when the other end is gone; `E2BIG` when it is longer than anybody takes; `ETOOMANYREFS`, `EBADF`. When only a part of it
    /// could be sent the channel is shut down: what followed would be taken for the rest.
    pub fn send(&self, header: Header, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
        if body.len() > crate::message::LONGEST_BODY || descriptors.len() > crate::message::MOST_GIVEN {
            return Err(Errno::E2BIG);
        }
        let header = Header { length: body.len() as u32, descriptors: descriptors.len() as u32, ..header };
        let numbers: Vec<i32> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
        let (first, rest) = numbers.split_at(numbers.len().min(MOST_DESCRIPTORS));
        // In one piece as far as that goes: whoever waits for it is woken once.
        let mut piece = Vec::with_capacity(HEADER + rest.len().div_ceil(MOST_DESCRIPTORS) * 4 + body.len());
        piece.extend_from_slice(&header.encode());
        let mut given = first;
        let mut begun = false;
        for lot in rest.chunks(MOST_DESCRIPTORS) {
            self.write(&piece, given, &mut begun)?;
            piece.clear();
            piece.extend_from_slice(&[0; 4]);
            given = lot;
        }
        piece.extend_from_slice(body);
        self.write(&piece, given, &mut begun)
    }

    fn write(&self, mut bytes: &[u8], mut descriptors: &[i32], begun: &mut bool) -> Result<(), Errno> {
        while !bytes.is_empty() {
            match message::send(self.socket.as_raw_fd(), bytes, descriptors, true) {
                Ok(sent) => (bytes, descriptors, *begun) = (&bytes[sent..], &[], true),
                Err(Errno::EINTR) => {}
                Err(errno) => {
                    if *begun {
                        message::shut_down(self.socket.as_raw_fd());
                    }
                    return Err(errno);
                }
            }
        }
        Ok(())
    }

    /// Receives the next message; `None` when the other end is closed, or what came is no message. Waits for the beginning of one only
    /// if `wait`, else fails with `EAGAIN`.
    ///
    /// # Errors
    /// `EAGAIN`.
    pub fn receive(&self, wait: bool) -> Result<Option<Message>, Errno> {
        let mut header = [0; HEADER];
        let (mut descriptors, mut lost) = (Vec::new(), false);
        if !self.read(&mut header, &mut descriptors, &mut lost, wait)? {
            return Ok(None);
        }
        let Some(header) = Header::decode(&header) else { return Ok(None) };
        let mut body = std::vec![0; header.length as usize];
        if !self.read(&mut body, &mut descriptors, &mut lost, true)? {
            return Ok(None);
        }
        lost |= descriptors.len() != header.descriptors as usize;
        if lost {
            descriptors.clear();
        }
        Ok(Some(Message { header, body, descriptors, lost }))
    }

    fn read(
        &self,
        bytes: &mut [u8],
        owned: &mut Vec<OwnedFd>,
        lost: &mut bool,
        wait: bool,
    ) -> Result<bool, Errno> {
        let mut done = 0;
        while done < bytes.len() {
            let mut numbers = [-1; MOST_DESCRIPTORS];
            let wait = wait || done > 0;
            match message::receive(self.socket.as_raw_fd(), &mut bytes[done..], &mut numbers, wait) {
                Ok(came) => {
                    // SAFETY: the kernel gave us these a moment ago.
                    owned.extend(
                        numbers[..came.descriptors].iter().map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }),
                    );
                    *lost |= came.truncated;
                    if came.bytes == 0 {
                        return Ok(false);
                    }
                    done += came.bytes;
                }
                Err(Errno::EINTR) => {}
                // A reset is an end: the other side went away with something unread.
                Err(Errno::ECONNRESET) => return Ok(false),
                Err(errno) => return Err(errno),
            }
        }
        Ok(true)
    }
}

impl From<OwnedFd> for Link {
    /// Takes the end of a connection that was made elsewhere: that to a lasting nursery.
    fn from(socket: OwnedFd) -> Link {
        Link { socket }
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}
