//! A domain, held by capability: its connection is the right.
//!
//! Safety idea: what a capability lets its holder do is decided by the service; here nothing is checked, and nothing more can be asked than
//! the protocol knows.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use beget_monitor::fields::{Reader, Writer};
use beget_monitor::packet::Packet;

use super::error::{Error, Fault, Result};
use super::link::{Link, Welcome};
use super::service::Service;
use super::spawn::Capability;
use crate::protocol::{Record, kind, right};

/// A capability to one domain. Dropping it gives the right up; the domain lives on, unless it was tied to it.
///
/// It outlives the process service: when that is killed and started again, the request that waits is asked again. One that came of a session at a path outlives
/// service and monitor both.
#[derive(Debug)]
pub struct Domain {
    link: Link,
    id: u64,
    rights: u32,
    part: String,
    /// Where the session was made that it came of, which is a right to it too: when the other ends of both are gone, because service and monitor were killed
    /// together, it is opened there anew.
    home: Option<PathBuf>,
}

/// Milliseconds, as the protocol has them.
pub(crate) fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX - 1).min(u64::MAX - 1)
}

/// The one record that an answer holds.
pub(crate) fn one_record(part: &str, answer: &Packet) -> Result<Record> {
    let mut records = records(part, answer)?;
    match (records.pop(), records.is_empty()) {
        (Some(record), true) => Ok(record),
        _ => Err(Error::confused(part)),
    }
}

/// The records that an answer holds.
pub(crate) fn records(part: &str, answer: &Packet) -> Result<Vec<Record>> {
    let mut reader = Reader::new(&answer.body);
    let count = reader.u32().ok_or_else(|| Error::confused(part))?;
    let records: Option<Vec<Record>> = (0..count).map(|_| Record::read(&mut reader)).collect();
    records.filter(|_| reader.ends().is_some()).ok_or_else(|| Error::confused(part))
}

/// The capability that an answer brings: its domain, its rights, its connection.
pub(crate) fn capability(part: &str, answer: Packet) -> Result<(u64, u32, OwnedFd)> {
    let mut reader = Reader::new(&answer.body);
    let said = (|| Some((reader.u64()?, reader.u32()?)))();
    let (id, rights) = said.ok_or_else(|| Error::confused(part))?;
    let mut descriptors = answer.descriptors.into_iter();
    match (descriptors.next(), descriptors.next()) {
        (Some(socket), None) => Ok((id, rights, socket)),
        _ => Err(Error::confused(part)),
    }
}

impl Domain {
    pub(crate) fn new(
        socket: OwnedFd,
        id: u64,
        rights: u32,
        name: &str,
        home: Option<&Path>,
    ) -> Result<Domain> {
        let home = home.map(Path::to_owned);
        Ok(Domain { link: Link::new(socket)?, id, rights, part: format!("domain {name}"), home })
    }

    fn ask(
        &mut self,
        kind: u16,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
        wanted: &[u16],
    ) -> Result<Packet> {
        let Domain { link, part, home, id, .. } = self;
        link.ask_again(part, kind, body, descriptors, wanted, || {
            let mut home = Service::connect_with_patience(home.as_deref()?).ok()?;
            home.open(&id.to_string()).ok().map(|domain| domain.link)
        })
    }

    /// Takes a capability that was handed on: the service is asked what it is a right to.
    ///
    /// # Errors
    /// [`Fault::NoRight`] when it is a right to something else than a domain; [`Fault::Gone`] when there is no service any more.
    pub fn from_fd(socket: impl Into<OwnedFd>) -> Result<Domain> {
        match Capability::from_fd(socket)? {
            Capability::Domain(domain) => Ok(domain),
            _ => Err(Error::new("capability", "it is no right to a domain", Fault::NoRight)),
        }
    }

    pub(crate) fn of(link: Link, welcome: Welcome) -> Domain {
        let part = format!("domain number {}", welcome.domain);
        Domain { link, id: welcome.domain, rights: welcome.rights, part, home: None }
    }

    pub(crate) fn part(&self) -> &str {
        &self.part
    }

    /// Its number among domains, never given twice.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// What may be asked, of [`right`].
    #[must_use]
    pub fn rights(&self) -> u32 {
        self.rights
    }

    /// What is known of it now. Takes [`right::LOOK`].
    ///
    /// # Errors
    /// [`Fault::NoRight`], [`Fault::Gone`].
    pub fn status(&mut self) -> Result<Record> {
        let answer = self.ask(kind::STATUS, &[], &[], &[kind::RECORDS])?;
        one_record(&self.part, &answer)
    }

    /// What it holds and what enforces that, as whoever created it said it (JSON). Takes [`right::LOOK`].
    ///
    /// # Errors
    /// [`Fault::NoRight`], [`Fault::Gone`].
    pub fn holdings(&mut self) -> Result<Vec<u8>> {
        let answer = self.ask(kind::HOLDINGS, &[], &[], &[kind::HOLDING])?;
        let mut reader = Reader::new(&answer.body);
        let bytes = reader.bytes().map(<[u8]>::to_vec).filter(|_| reader.ends().is_some());
        bytes.ok_or_else(|| Error::confused(&*self.part))
    }

    /// Waits for its end. Any number may wait; each is told. Takes [`right::WAIT`].
    ///
    /// # Errors
    /// [`Fault::NoRight`], [`Fault::Gone`].
    pub fn wait(&mut self) -> Result<Record> {
        self.wait_for(u64::MAX)?.ok_or_else(|| Error::confused(&*self.part))
    }

    /// Waits for its end for so long; with no time it only looks. `None` when it has not ended by then. Takes [`right::WAIT`].
    ///
    /// # Errors
    /// [`Fault::NoRight`], [`Fault::Gone`].
    pub fn wait_timeout(&mut self, time: Duration) -> Result<Option<Record>> {
        self.wait_for(milliseconds(time))
    }

    fn wait_for(&mut self, time: u64) -> Result<Option<Record>> {
        let mut body = Writer::new();
        body.u64(time);
        let wanted = [kind::RECORDS, kind::NOT_YET];
        let answer = self.ask(kind::WAIT, body.body(), &[], &wanted)?;
        if answer.kind == kind::NOT_YET {
            return Ok(None);
        }
        one_record(&self.part, &answer).map(Some)
    }

    /// Sends its first process a signal (`man 7 signal`). Takes [`right::SIGNAL`].
    ///
    /// # Errors
    /// [`Fault::NoRight`]; [`Fault::Ended`]; [`Fault::Kernel`] for what is no signal; [`Fault::Gone`].
    pub fn signal(&mut self, number: i32) -> Result<()> {
        let mut body = Writer::new();
        body.u32(number as u32);
        self.ask(kind::SIGNAL, body.body(), &[], &[kind::DONE]).map(drop)
    }

    /// Ends it and all that it left, and waits until nothing is left. It is asked first (SIGTERM) and has `grace` to end by itself, or what
    /// it was spawned with. What is said on its channel and its own capabilities is cut off before that. Takes [`right::SIGNAL`].
    ///
    /// # Errors
    /// [`Fault::NoRight`], [`Fault::Gone`]. One that has ended already is no error.
    pub fn kill(&mut self, grace: impl Into<Option<Duration>>) -> Result<Record> {
        let mut body = Writer::new();
        body.u64(grace.into().map_or(u64::MAX, milliseconds));
        let answer = self.ask(kind::KILL, body.body(), &[], &[kind::RECORDS])?;
        one_record(&self.part, &answer)
    }

    /// Gives it one more descriptor, by name, over the channel that it was born with. Takes [`right::SEND`].
    ///
    /// # Errors
    /// [`Fault::Full`] when it does not read; [`Fault::Ended`]; [`Fault::NoRight`]; [`Fault::Gone`].
    pub fn send(&mut self, name: &str, file: impl AsFd) -> Result<()> {
        let mut body = Writer::new();
        body.str(name);
        self.ask(kind::SEND, body.body(), &[file.as_fd()], &[kind::DONE]).map(drop)
    }

    /// The next name that it asks for, if it comes within that time. Takes [`right::SEND`].
    ///
    /// # Errors
    /// [`Fault::Ended`], [`Fault::NoRight`], [`Fault::Gone`].
    pub fn asked(&mut self, time: Duration) -> Result<Option<String>> {
        let mut body = Writer::new();
        body.u64(milliseconds(time));
        let wanted = [kind::NAME, kind::NOT_YET];
        let answer = self.ask(kind::ASKED, body.body(), &[], &wanted)?;
        if answer.kind == kind::NOT_YET {
            return Ok(None);
        }
        let name = Reader::new(&answer.body).str().map(str::to_owned);
        name.map(Some).ok_or_else(|| Error::confused(&*self.part))
    }

    /// Another capability to the same domain, with no more than these rights: to be handed on.
    ///
    /// # Errors
    /// [`Fault::NoRight`] when this one has not all of them; [`Fault::Limit`]; [`Fault::Gone`].
    pub fn attenuate(&mut self, rights: u32) -> Result<Domain> {
        let mut body = Writer::new();
        body.u32(rights);
        let answer = self.ask(kind::ATTENUATE, body.body(), &[], &[kind::CAPABILITY])?;
        let (id, rights, socket) = capability(&self.part, answer)?;
        Ok(Domain { link: Link::new(socket)?, id, rights, part: self.part.clone(), home: None })
    }

    /// The connection, to hand the right on: whoever holds it holds the right. Two who speak on one connection at a time take each
    /// other's answers; [`attenuate`](Domain::attenuate) makes another one.
    #[must_use]
    pub fn into_fd(self) -> OwnedFd {
        self.link.into_socket()
    }
}

impl AsFd for Domain {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

/// The rights that a word names: `look`, `wait`, `signal`, `send`, or `all`; several with commas.
///
/// # Errors
/// A sentence, when one is none of these.
pub fn rights(words: &str) -> std::result::Result<u32, String> {
    words.split(',').try_fold(0, |rights, word| {
        Ok(rights
            | match word {
                "look" => right::LOOK,
                "wait" => right::WAIT,
                "signal" => right::SIGNAL,
                "send" => right::SEND,
                "all" => right::DOMAIN,
                _ => return Err(format!("{word:?} is no right; there are look, wait, signal, send and all")),
            })
    })
}
