//! What whoever holds a capability to a factory and the process that keeps it say to each other, in
//! [packets](beget_monitor::packet), on a connection that is a right.
//!
//! A connection is a `SOCK_SEQPACKET` Unix socket. The first is the right to build; `SEAL` answers with the first of another kind, and every further one
//! comes over the keeper's own channel, from whoever has the right to give its domain something, or as the answer to `ATTENUATE`. Packets are those of the
//! process service; numbers are in the machine's own order, `bytes` and `str` (UTF-8) have their length (u32) before them, and lists how many there are.
//!
//! Several requests may be under way on a connection; an answer has its request's number. What is never answered is a request of a connection that is
//! closed. Products that came of a connection end when it is closed, unless the request said otherwise.
//!
//! | request | right | body | descriptors | answer |
//! |---|---|---|---|---|
//! | `HELLO` | | lowest, highest version known (u32 each) | | `WELCOME` |
//! | `BUILD` | `BUILD` | what is wanted (bytes, as the keeper's program takes it) | working directory, then what is given | `DONE` |
//! | `INSERT` | `BUILD` | name of the slot (str) | the constituent | `LINE` |
//! | `SEAL` | `BUILD` | | | `SEALED`; from then on every request of a connection to build is answered with [`error::SEALED`] |
//! | `START` | `REQUEST` | [`Start`] | as it says | `STARTED`, and later `ENDED` with the same number |
//! | `SIGNAL` | `REQUEST` | number of the `START` (u64), signal (u32) | | `DONE` |
//! | `CONFINEMENT` | `VERIFY` or `BUILD` | | | `CONFINEMENT_IS` |
//! | `IS_PRODUCT` | `VERIFY` | | a pidfd | `NUMBER`: 1 if its process is a product of this factory and lives |
//! | `IS_CAPABILITY` | `VERIFY` | | a connection | `NUMBER`: the rights to this factory that it is, or 0 |
//! | `FACTS` | `VERIFY` or `REQUEST` | | | `FACTS_ARE` |
//! | `REPLACE` | `MANAGE` | | | `DONE`, when there is another template |
//! | `SAVE` | `MANAGE` | | an open file to write | `LINE`: the digest of the image |
//! | `ATTENUATE` | | rights (u32), some of one's own | | `CAPABILITY` |
//!
//! Any of them may be answered with `ERROR`.
//!
//! Safety idea: what a connection may ask is decided before a request's body is looked at; a body is read to its last byte or is none.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use beget::{Grant, Limit};
use beget_monitor::fields::{Reader, Writer};

/// The versions of this protocol that this code speaks: the lowest and the highest.
pub const VERSIONS: [u32; 2] = [1, 1];

/// What a packet is.
pub mod kind {
    #![allow(missing_docs, reason = "the table above says each one")]
    pub const HELLO: u16 = 1;
    pub const BUILD: u16 = 2;
    pub const INSERT: u16 = 3;
    pub const SEAL: u16 = 4;
    pub const START: u16 = 5;
    pub const SIGNAL: u16 = 6;
    pub const CONFINEMENT: u16 = 7;
    pub const IS_PRODUCT: u16 = 8;
    pub const IS_CAPABILITY: u16 = 9;
    pub const FACTS: u16 = 10;
    pub const REPLACE: u16 = 11;
    pub const ATTENUATE: u16 = 12;
    pub const SAVE: u16 = 13;

    /// Why a request was not done: code (u32, [`super::error`]), errno (u32, or 0), part (str), words (str).
    pub const ERROR: u16 = 100;
    /// Version (u32), rights (u32).
    pub const WELCOME: u16 = 101;
    /// Nothing.
    pub const DONE: u16 = 102;
    /// A sentence (str).
    pub const LINE: u16 = 103;
    /// Nothing, with a connection of every right but to build.
    pub const SEALED: u16 = 104;
    /// Process number (u32), with its pidfd.
    pub const STARTED: u16 = 105;
    /// [`super::Ended`].
    pub const ENDED: u16 = 106;
    /// The answer about confinement: [`crate::remote::Confinement`].
    pub const CONFINEMENT_IS: u16 = 107;
    /// A number (u32).
    pub const NUMBER: u16 = 108;
    /// How its products are made and what that did: [`crate::remote::Facts`].
    pub const FACTS_ARE: u16 = 109;
    /// Rights (u32), with the connection.
    pub const CAPABILITY: u16 = 110;
}

/// What a connection lets its holder do.
pub mod right {
    /// Insert constituents, and seal.
    pub const BUILD: u32 = 1;
    /// Have products made, and end those.
    pub const REQUEST: u32 = 2;
    /// Ask what products reach.
    pub const VERIFY: u32 = 4;
    /// Have the template replaced, or saved.
    pub const MANAGE: u32 = 8;
    /// All that there are once it is sealed.
    pub const SEALED: u32 = REQUEST | VERIFY | MANAGE;

    /// The right that a word names: `build`, `request`, `verify`, `manage`, or `all` for all but to build.
    #[must_use]
    pub fn named(word: &str) -> Option<u32> {
        Some(match word {
            "build" => BUILD,
            "request" => REQUEST,
            "verify" => VERIFY,
            "manage" => MANAGE,
            "all" => SEALED,
            _ => return None,
        })
    }
}

/// Why a request was not done: codes below 20 are those of [`beget::Fault`].
pub mod error {
    #![allow(missing_docs, reason = "those of `beget::Fault`")]
    pub const CALLER: u32 = 1;
    pub const NOT_FOUND: u32 = 2;
    pub const NOT_RUNNABLE: u32 = 3;
    pub const KERNEL: u32 = 4;
    pub const UNKEPT: u32 = 5;
    pub const STATUS_TAKEN: u32 = 6;
    pub const BEGET: u32 = 7;
    /// The factory is sealed.
    pub const SEALED: u32 = 20;
    /// Nothing is built yet, or it is built already.
    pub const UNBUILT: u32 = 21;
    /// This connection is no right to that.
    pub const NO_RIGHT: u32 = 22;
    /// The request is none; the connection is closed.
    pub const MALFORMED: u32 = 23;
    /// No product of this connection has this number, or it has ended.
    pub const ENDED: u32 = 24;
    /// No version in common.
    pub const VERSION: u32 = 25;
}

/// What a requestor gives a product.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Start {
    /// Arguments, after the factory's own.
    pub arguments: Vec<OsString>,
    /// Variables, beside the factory's own and instead of those of the same name.
    pub environment: Vec<(OsString, OsString)>,
    /// Numbers of the descriptors that come with it, in their order: 0, 1 and 2 are the standard streams; those that are not named are closed.
    pub numbers: Vec<u32>,
    /// Names of slots whose descriptors come after those, in this order; each is put where the next free number is.
    pub slots: Vec<String>,
    /// After them a directory comes, to start in.
    pub directory: bool,
    /// After that the directory of a cgroup that the product is to be in.
    pub cgroup: bool,
    /// Limits, no wider than the factory's.
    pub limits: Vec<Limit>,
    /// It is held to these grants besides, if there are any: what they and the factory's both allow is allowed. Paths are absolute, and opened
    /// by the keeper.
    pub narrow: Vec<Grant>,
    /// It must share no randomness with another product.
    pub unique: bool,
    /// It lives on when the connection is closed.
    pub lasting: bool,
}

fn texts(writer: &mut Writer, texts: &[OsString]) {
    writer.u32(texts.len() as u32);
    for text in texts {
        writer.bytes(text.as_bytes());
    }
}

fn read_text(reader: &mut Reader<'_>) -> Option<OsString> {
    reader.bytes().map(|bytes| OsString::from_vec(bytes.to_vec()))
}

fn read_list<T>(reader: &mut Reader<'_>, one: impl Fn(&mut Reader<'_>) -> Option<T>) -> Option<Vec<T>> {
    let count = reader.u32()?;
    (0..count).map(|_| one(reader)).collect()
}

/// A grant as it is sent: its number, and its path or port.
fn narrow(grant: &Grant) -> (u32, Vec<u8>) {
    let path = |path: &Path| path.as_os_str().as_bytes().to_vec();
    match grant {
        Grant::Read(at) => (1, path(at)),
        Grant::Write(at) => (2, path(at)),
        Grant::Execute(at) => (3, path(at)),
        Grant::Base => (4, Vec::new()),
        Grant::TcpConnect(port) => (5, port.to_ne_bytes().to_vec()),
        Grant::TcpBind(port) => (6, port.to_ne_bytes().to_vec()),
        Grant::InetDns => (7, Vec::new()),
        Grant::Net => (8, Vec::new()),
        // What nothing is held to besides: the keeper does not take it for another.
        _ => (0, Vec::new()),
    }
}

fn read_narrow(kind: u32, value: &[u8]) -> Option<Grant> {
    let path = || Some(PathBuf::from(OsStr::from_bytes(value))).filter(|path| path.is_absolute());
    let port = || value.try_into().ok().map(u16::from_ne_bytes);
    let alone = |grant: Grant| value.is_empty().then_some(grant);
    match kind {
        1 => path().map(Grant::Read),
        2 => path().map(Grant::Write),
        3 => path().map(Grant::Execute),
        4 => alone(Grant::Base),
        5 => port().map(Grant::TcpConnect),
        6 => port().map(Grant::TcpBind),
        7 => alone(Grant::InetDns),
        8 => alone(Grant::Net),
        _ => None,
    }
}

impl Start {
    /// How many descriptors come with it.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        self.numbers.len() + self.slots.len() + usize::from(self.directory) + usize::from(self.cgroup)
    }

    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let bits = [self.directory, self.cgroup, self.unique, self.lasting];
        let flags = bits.iter().enumerate().map(|(at, bit)| u32::from(*bit) << at).sum();
        writer.u32(flags);
        texts(&mut writer, &self.arguments);
        writer.u32(self.environment.len() as u32);
        for (name, value) in &self.environment {
            writer.bytes(name.as_bytes()).bytes(value.as_bytes());
        }
        writer.u32(self.numbers.len() as u32);
        for number in &self.numbers {
            writer.u32(*number);
        }
        writer.u32(self.slots.len() as u32);
        for name in &self.slots {
            writer.str(name);
        }
        writer.u32(self.limits.len() as u32);
        for limit in &self.limits {
            let (kind, value) = match *limit {
                Limit::Memory(bytes) => (1, bytes),
                Limit::Processors(count) => (2, count.into()),
                Limit::Processes(count) => (3, count),
                Limit::OpenFiles(count) => (4, count),
                // One that this protocol has no number for: the keeper does not take it for another.
                _ => (0, 0),
            };
            writer.u32(kind).u64(value);
        }
        writer.u32(self.narrow.len() as u32);
        for grant in &self.narrow {
            let (kind, value) = narrow(grant);
            writer.u32(kind).bytes(&value);
        }
        writer.into_body()
    }

    /// What was sent; `None` when it is none.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Start> {
        let mut reader = Reader::new(body);
        let flags = reader.u32()?;
        let [directory, cgroup, unique, lasting] = [1, 2, 4, 8].map(|bit| flags & bit != 0);
        let start = Start {
            arguments: read_list(&mut reader, read_text)?,
            environment: read_list(&mut reader, |reader| Some((read_text(reader)?, read_text(reader)?)))?,
            numbers: read_list(&mut reader, |reader| reader.u32())?,
            slots: read_list(&mut reader, |reader| reader.str().map(str::to_owned))?,
            limits: read_list(&mut reader, |reader| {
                Some(match (reader.u32()?, reader.u64()?) {
                    (1, bytes) => Limit::Memory(bytes),
                    (2, count) => Limit::Processors(count.try_into().ok()?),
                    (3, count) => Limit::Processes(count),
                    (4, count) => Limit::OpenFiles(count),
                    _ => return None,
                })
            })?,
            narrow: read_list(&mut reader, |reader| read_narrow(reader.u32()?, reader.bytes()?))?,
            directory,
            cgroup,
            unique,
            lasting,
        };
        reader.ends()?;
        (flags < 16).then_some(start)
    }
}

/// How a product ended, and what it used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ended {
    /// The status as `wait` has it; `None` where nobody knows, for the nursery was killed.
    pub status: Option<i32>,
    /// Processor time in its own code and in the kernel, in microseconds.
    pub times: [u64; 2],
    /// Largest resident size, in bytes.
    pub memory_peak: u64,
}

impl Ended {
    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let (known, status) = self.status.map_or((0, 0), |status| (1, status as u32));
        writer.u32(known).u32(status).u64(self.times[0]).u64(self.times[1]).u64(self.memory_peak);
        writer.into_body()
    }

    /// What was sent; `None` when it is none.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Ended> {
        let mut reader = Reader::new(body);
        let status = match (reader.u32()?, reader.u32()?) {
            (0, 0) => None,
            (1, status) => Some(status as i32),
            _ => return None,
        };
        let ended = Ended { status, times: [reader.u64()?, reader.u64()?], memory_peak: reader.u64()? };
        reader.ends()?;
        Some(ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_read_and_nothing_else_is() {
        let start = Start {
            arguments: vec!["a".into(), OsString::from_vec(vec![0xff])],
            environment: vec![("X".into(), "1".into())],
            numbers: vec![0, 1, 2, 7],
            slots: vec!["log".to_owned()],
            directory: true,
            cgroup: false,
            narrow: vec![Grant::Read("/x".into()), Grant::Base, Grant::TcpConnect(443), Grant::Net],
            limits: vec![
                Limit::Memory(1 << 40),
                Limit::Processors(2),
                Limit::Processes(3),
                Limit::OpenFiles(4),
            ],
            unique: true,
            lasting: false,
        };
        assert_eq!(start.descriptors(), 6);
        let body = start.encode();
        assert_eq!(Start::decode(&body), Some(start));
        for length in 0..body.len() {
            assert_eq!(Start::decode(&body[..length]), None, "{length}");
        }
        assert_eq!(Start::decode(&[&body[..], &[0]].concat()), None);
        for status in [None, Some(0), Some(9), Some(3 << 8)] {
            let ended = Ended { status, times: [1, 2], memory_peak: 3 };
            assert_eq!(Ended::decode(&ended.encode()), Some(ended));
        }
        assert_eq!(Ended::decode(&[0; 5]), None);
    }

    #[test]
    fn a_count_that_lies_is_nothing() {
        assert_eq!(Start::decode(&[0, 0, 0, 0, 255, 255, 255, 255]), None);
    }
}
