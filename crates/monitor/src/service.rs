//! The process service's connection: what is to be said, in order, as far as it is read.
//!
//! Safety idea: what waits to be said is numbers, and becomes a packet only when there is room for it. Requests are read only while little
//! waits; so whoever does not read is not served, and costs nothing.

use std::collections::VecDeque;

use beget_sys::Errno;

use crate::fields::Writer;
use crate::packet::{Connection, Outgoing};
use crate::protocol::kind;

/// As many answers may wait; while there are more no request is read.
pub(crate) const MOST_WAITING: usize = 1024;

/// Something to be said.
#[derive(Debug)]
pub(crate) enum Word {
    /// A whole packet.
    Packet { kind: u16, request: u64, body: Vec<u8> },
    /// How a domain ended, if that is not taken yet.
    Ended(u64),
    /// What is kept under this key.
    Kept(u64),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) token: u64,
    pub(crate) connection: Connection,
    pub(crate) words: VecDeque<Word>,
    pub(crate) sending: Option<Outgoing>,
    /// What epoll was asked for: to read, to write.
    pub(crate) watched: (bool, bool),
}

impl Service {
    pub(crate) fn new(token: u64, connection: Connection) -> Service {
        Service { token, connection, words: VecDeque::new(), sending: None, watched: (true, false) }
    }

    pub(crate) fn say(&mut self, kind: u16, request: u64, body: Writer) {
        self.words.push_back(Word::Packet { kind, request, body: body.into_body() });
    }

    pub(crate) fn refuse(&mut self, request: u64, errno: Errno, words: &str) {
        let mut body = Writer::new();
        body.u32(errno.0 as u32).str(words);
        self.say(kind::REFUSED, request, body);
    }

    pub(crate) fn done(&mut self, request: u64, errno: Errno) {
        let mut body = Writer::new();
        body.u32(errno.0 as u32);
        self.say(kind::DONE, request, body);
    }
}
