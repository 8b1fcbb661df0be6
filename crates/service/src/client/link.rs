//! One end of a connection to the service: a request goes out, and its answer comes in, whatever happens to the service meanwhile.
//!
//! Safety idea: an answer is the one with the request's number; whatever else comes is closed and forgotten. A request is repeated with the
//! number that it had, so that what is done already is not done twice.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use beget_monitor::fields::{Reader, Writer};
use beget_monitor::packet::{Came, Connection, Packet, Scratch};
use beget_sys::Errno;
use rustix::event::{PollFd, PollFlags, Timespec};

use super::error::{Error, Fault, Result};
use crate::protocol::{VERSIONS, kind};

/// How often one request is asked anew on another connection.
const MOST_AGAIN: u32 = 100;

/// What the other side of a connection said that it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// [`crate::protocol::right`].
    pub(crate) rights: u32,
    /// [`crate::protocol::subject`].
    pub(crate) subject: u32,
    /// Its domain, or 0.
    pub(crate) domain: u64,
}

/// A connection, and where its packets are taken apart.
#[derive(Debug)]
pub(crate) struct Link {
    connection: Connection,
    scratch: Scratch,
    /// The number of the last request. It begins anywhere, for others may have held the connection before.
    number: u64,
}

/// Bytes that nobody can guess.
pub(crate) fn random<const COUNT: usize>() -> Result<[u8; COUNT]> {
    let mut bytes = [0; COUNT];
    let mut done = 0;
    while done < COUNT {
        match rustix::rand::getrandom(&mut bytes[done..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::kernel("request", Errno(errno.raw_os_error()), Fault::Kernel)),
        }
    }
    Ok(bytes)
}

impl Link {
    /// Takes a connected socket.
    pub(crate) fn new(socket: OwnedFd) -> Result<Link> {
        let number = u64::from_ne_bytes(random()?) >> 1;
        Ok(Link { connection: Connection::new(socket), scratch: Scratch::default(), number })
    }

    /// Asks, and waits for the answer, without an end; a service that is started again meanwhile is asked again. The answer is of one of the
    /// kinds in `wanted`.
    pub(crate) fn ask(
        &mut self,
        part: &str,
        kind: u16,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
        wanted: &[u16],
    ) -> Result<Packet> {
        self.number += 1;
        self.send(part, kind, body, descriptors)?;
        self.answer(part, kind, body, descriptors, wanted, None)
    }

    /// The same; when the connection was closed, on the one that `other` makes, as long as it makes any.
    pub(crate) fn ask_again(
        &mut self,
        part: &str,
        kind: u16,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
        wanted: &[u16],
        other: impl Fn() -> Option<Link>,
    ) -> Result<Packet> {
        let mut answer = self.ask(part, kind, body, descriptors, wanted);
        for _ in 0..MOST_AGAIN {
            let gone = answer.as_ref().is_err_and(|error| error.fault() == Fault::Gone);
            let Some(link) = gone.then(&other).flatten() else { break };
            *self = link;
            answer = self.ask(part, kind, body, descriptors, wanted);
        }
        answer
    }

    fn send(&self, part: &str, kind: u16, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        self.connection.send(kind, self.number, body, descriptors).map_err(|errno| {
            let gone = matches!(errno, Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN);
            Error::kernel(part, errno, if gone { Fault::Gone } else { Fault::Kernel })
        })
    }

    fn answer(
        &mut self,
        part: &str,
        kind: u16,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
        wanted: &[u16],
        until: Option<Instant>,
    ) -> Result<Packet> {
        loop {
            if let Some(until) = until {
                self.wait(part, until)?;
            }
            let came = self.connection.receive(&mut self.scratch, until.is_none());
            let packet = match came {
                Ok(Came::Packet(packet)) => packet,
                Ok(Came::Closed) => {
                    return Err(Error::new(part, "the service closed the connection", Fault::Gone));
                }
                Ok(Came::Malformed(why)) => {
                    let words = format!("the service's answer is none: {why}");
                    return Err(Error::new(part, words, Fault::Confused));
                }
                Ok(Came::Lost(_, request, errno)) if request == self.number => {
                    return Err(Error::kernel(part, errno, Fault::Kernel));
                }
                Ok(Came::Lost(..)) | Err(Errno::EAGAIN | Errno::EINTR) => continue,
                Err(errno) => return Err(Error::kernel(part, errno, Fault::Kernel)),
            };
            if packet.kind == kind::AGAIN && packet.request == 0 {
                self.send(part, kind, body, descriptors)?;
            } else if packet.kind == kind::ERROR && [self.number, 0].contains(&packet.request) {
                let mut reader = Reader::new(&packet.body);
                let said = (|| Some((reader.u32()?, reader.u32()?, reader.str()?)))();
                return Err(said.map_or_else(
                    || Error::confused(part),
                    |(code, errno, words)| Error::told(part, code, errno, words),
                ));
            } else if packet.request == self.number {
                return if wanted.contains(&packet.kind) { Ok(packet) } else { Err(Error::confused(part)) };
            }
        }
    }

    /// Waits until something has come, or gives up.
    fn wait(&self, part: &str, until: Instant) -> Result<()> {
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let mut watched = [PollFd::new(&self.connection, PollFlags::IN)];
            match rustix::event::poll(&mut watched, Timespec::try_from(left).ok().as_ref()) {
                Ok(0) => {
                    return Err(Error::new(part, "the service does not answer", Fault::NotRunning));
                }
                Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => {
                    return Err(Error::kernel(part, Errno(errno.raw_os_error()), Fault::Kernel));
                }
            }
        }
    }

    /// Says which versions we speak, and learns what the connection is a right to. Waits no longer than `patience`, or without an end.
    pub(crate) fn hello(&mut self, part: &str, patience: Option<Duration>) -> Result<Welcome> {
        let mut body = Writer::new();
        body.u32(VERSIONS[0]).u32(VERSIONS[1]);
        self.number += 1;
        self.send(part, kind::HELLO, body.body(), &[])?;
        let until = patience.and_then(|patience| Instant::now().checked_add(patience));
        let answer = self.answer(part, kind::HELLO, body.body(), &[], &[kind::WELCOME], until)?;
        let mut reader = Reader::new(&answer.body);
        let said = (|| Some((reader.u32()?, reader.u32()?, reader.u32()?, reader.u64()?)))();
        let (version, rights, subject, domain) = said.ok_or_else(|| Error::confused(part))?;
        if version < VERSIONS[0] || version > VERSIONS[1] {
            return Err(Error::confused(part));
        }
        Ok(Welcome { rights, subject, domain })
    }

    /// The socket.
    pub(crate) fn into_socket(self) -> OwnedFd {
        self.connection.into_socket()
    }
}

impl AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.connection.as_fd()
    }
}
