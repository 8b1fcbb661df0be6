//! One connection to a keeper, for any number of threads: each finds the answer to its own request.
//!
//! Safety idea: one thread at a time takes packets off the socket and puts each where the thread that waits for it looks; a packet that nobody
//! waits for is dropped with what came in it. Whoever waits when the connection ends is told so.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use beget_monitor::fields::{Reader, Writer};
use beget_monitor::packet::{Came, Connection, Packet, Scratch};
use beget_sys::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::keeper::protocol::{VERSIONS, error, kind};
use crate::{Error, Fault, Result};

/// What nobody has taken yet.
#[derive(Debug, Default)]
struct Heard {
    answers: HashMap<u64, Packet>,
    /// How products ended, by the request that started them.
    ended: HashMap<u64, Packet>,
    /// Requests whose answer somebody waits for, and products whose end is of interest.
    wanted: HashSet<u64>,
    products: HashSet<u64>,
    number: u64,
    reading: bool,
    closed: bool,
}

#[derive(Debug)]
pub(crate) struct Line {
    part: String,
    /// For sending: a packet with many descriptors lies in several datagrams, which must stay together.
    outgoing: Connection,
    turn: Mutex<()>,
    incoming: Mutex<(Connection, Scratch)>,
    heard: Mutex<Heard>,
    changed: Condvar,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which of what comes is waited for.
#[derive(Clone, Copy, Debug)]
enum For {
    Answer(u64),
    End(u64),
}

impl Line {
    /// Takes a connection, and asks what it is a right to.
    ///
    /// # Errors
    /// A connection that no keeper is at the other end of, or one that has ended.
    pub(crate) fn new(part: &str, socket: OwnedFd) -> Result<(Line, u32)> {
        let copy = socket.try_clone().map_err(|error| Error::io(part, error))?;
        let line = Line {
            part: part.to_owned(),
            outgoing: Connection::new(socket),
            turn: Mutex::default(),
            incoming: Mutex::new((Connection::new(copy), Scratch::default())),
            heard: Mutex::default(),
            changed: Condvar::new(),
        };
        let mut body = Writer::new();
        body.u32(VERSIONS[0]).u32(VERSIONS[1]);
        let welcome = line.ask(kind::HELLO, body.body(), &[], kind::WELCOME)?;
        let mut reader = Reader::new(&welcome.body);
        match (reader.u32(), reader.u32(), reader.ends()) {
            (Some(version), Some(rights), Some(())) if (VERSIONS[0]..=VERSIONS[1]).contains(&version) => {
                Ok((line, rights))
            }
            _ => Err(line.confused()),
        }
    }

    pub(crate) fn confused(&self) -> Error {
        Error::new(&*self.part, "what answers is no keeper of a factory", Fault::Beget)
    }

    fn gone(&self) -> Error {
        Error::new(&*self.part, "it has ended, or the capability was closed", Fault::Kernel)
    }

    /// Asks, and waits for the answer, which is of the kind `wanted`.
    ///
    /// # Errors
    /// What the keeper says; a keeper that has ended.
    pub(crate) fn ask(
        &self,
        kind: u16,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
        wanted: u16,
    ) -> Result<Packet> {
        self.ask_numbered(kind, body, descriptors, wanted).map(|(_, packet)| packet)
    }

    /// The same, with the number that the request had.
    pub(crate) fn ask_numbered(
        &self,
        kind: u16,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
        wanted: u16,
    ) -> Result<(u64, Packet)> {
        let number = {
            let mut heard = lock(&self.heard);
            heard.number += 1;
            let number = heard.number;
            heard.wanted.insert(number);
            if kind == kind::START {
                heard.products.insert(number);
            }
            number
        };
        let answer = self
            .send(kind, number, body, descriptors)
            .and_then(|()| self.hear(For::Answer(number), None)?.ok_or_else(|| self.confused()));
        let answer = answer.and_then(|packet| match packet.kind {
            kind::ERROR => Err(self.told(&packet)),
            other if other == wanted => Ok(packet),
            _ => Err(self.confused()),
        });
        if answer.is_err() {
            let mut heard = lock(&self.heard);
            heard.wanted.remove(&number);
            heard.products.remove(&number);
        }
        answer.map(|packet| (number, packet))
    }

    fn send(&self, kind: u16, number: u64, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let _turn = lock(&self.turn);
        match self.outgoing.send(kind, number, body, descriptors) {
            Ok(()) => Ok(()),
            Err(Errno::EPIPE | Errno::ECONNRESET | Errno::ENOTCONN) => Err(self.gone()),
            Err(errno) => Err(Error::kernel(&*self.part, errno, Fault::Kernel)),
        }
    }

    /// How the product of this request ended; `None` when it has not within the time.
    ///
    /// # Errors
    /// A keeper that has ended.
    pub(crate) fn end_of(&self, product: u64, until: Option<Instant>) -> Result<Option<Packet>> {
        self.hear(For::End(product), until)
    }

    /// Nobody waits for this product's end any more.
    pub(crate) fn forget(&self, product: u64) {
        let mut heard = lock(&self.heard);
        heard.products.remove(&product);
        heard.ended.remove(&product);
    }

    fn hear(&self, wanted: For, until: Option<Instant>) -> Result<Option<Packet>> {
        let mut heard = lock(&self.heard);
        loop {
            let found = match wanted {
                For::Answer(number) => heard.answers.remove(&number),
                For::End(number) => heard.ended.remove(&number),
            };
            if found.is_some() {
                return Ok(found);
            }
            if heard.closed {
                return Err(self.gone());
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Ok(None);
            }
            if heard.reading {
                heard = match left {
                    None => self.changed.wait(heard).unwrap_or_else(PoisonError::into_inner),
                    Some(left) => {
                        self.changed.wait_timeout(heard, left).unwrap_or_else(PoisonError::into_inner).0
                    }
                };
                continue;
            }
            heard.reading = true;
            drop(heard);
            let came = self.receive(left);
            heard = lock(&self.heard);
            heard.reading = false;
            self.take(&mut heard, came);
            self.changed.notify_all();
        }
    }

    fn receive(&self, left: Option<Duration>) -> Option<Came> {
        let mut incoming = lock(&self.incoming);
        let (connection, scratch) = &mut *incoming;
        if let Some(left) = left {
            let time = Timespec::try_from(left).ok();
            let mut watched = [PollFd::new(&*connection, PollFlags::IN)];
            if !matches!(poll(&mut watched, time.as_ref()), Ok(1..)) {
                return None;
            }
        }
        connection.receive(scratch, left.is_none()).ok()
    }

    fn take(&self, heard: &mut Heard, came: Option<Came>) {
        match came {
            None => {}
            Some(Came::Packet(packet)) => {
                let number = packet.request;
                if packet.kind == kind::ENDED {
                    if heard.products.remove(&number) {
                        heard.ended.insert(number, packet);
                    }
                } else if heard.wanted.remove(&number) {
                    heard.answers.insert(number, packet);
                } else if packet.kind == kind::ERROR && number == 0 {
                    // The last that comes.
                    heard.closed = true;
                }
            }
            // Its descriptors found no number here: whoever waits for it is told as much.
            Some(Came::Lost(_, number, errno)) => {
                let mut body = Writer::new();
                body.u32(error::KERNEL).u32(errno.0 as u32).str(&self.part).str(&errno.to_string());
                if heard.wanted.remove(&number) {
                    let body = body.into_body();
                    heard.answers.insert(
                        number,
                        Packet { kind: kind::ERROR, request: number, body, descriptors: Vec::new() },
                    );
                }
            }
            Some(Came::Closed | Came::Malformed(_)) => heard.closed = true,
        }
    }

    /// The error that the keeper said.
    fn told(&self, packet: &Packet) -> Error {
        let mut reader = Reader::new(&packet.body);
        let read = (|| Some((reader.u32()?, reader.u32()?, reader.str()?, reader.str()?)))();
        let Some((code, errno, part, words)) = read else { return self.confused() };
        let fault = match code {
            error::NOT_FOUND => Fault::NotFound,
            error::NOT_RUNNABLE => Fault::NotRunnable,
            error::KERNEL => Fault::Kernel,
            error::UNKEPT => Fault::Unkept,
            error::STATUS_TAKEN => Fault::StatusTaken,
            error::BEGET => Fault::Beget,
            _ => Fault::Caller,
        };
        let part = if part.is_empty() { &*self.part } else { part };
        match Errno(errno as i32) {
            errno if errno.0 != 0 && errno.to_string() == words => Error::kernel(part, errno, fault),
            _ => Error::new(part, words, fault),
        }
    }

    pub(crate) fn part(&self) -> &str {
        &self.part
    }
}

impl AsFd for Line {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.outgoing.as_fd()
    }
}

impl From<Line> for OwnedFd {
    fn from(line: Line) -> OwnedFd {
        line.outgoing.into_socket()
    }
}
