//! How a nursery says what it says: births, a lot at a time, and changes.
//!
//! Safety idea: an answer waits for room, for its creator has asked and listens; a change never does.

use beget_sys::Errno;
use beget_sys::message::send;
use beget_sys::wait::{Change, Usage};

use super::CHANNEL;
use super::channel::{self, Line};
use super::kept::End;
use crate::message::{BORN_AT_ONCE, Born, HEADER, Header, change, kind};

/// Bytes of what is told of a change: resource use and label.
const CHANGED: usize = size_of::<Usage>() + 8;

/// A birth that came to nothing.
pub(super) fn nothing(errno: Errno) -> Born {
    Born { number: 0, op: u32::MAX, errno: errno.0 as u32, pidfd: 0 }
}

pub(super) fn told_as(happened: Change) -> (u32, i32) {
    match happened {
        Change::Exited(code) => (change::EXITED, code),
        Change::Killed(signal, false) => (change::KILLED, signal),
        Change::Killed(signal, true) => (change::DUMPED, signal),
        Change::Stopped(signal) => (change::STOPPED, signal),
        Change::Continued => (0, 0),
    }
}

/// How a change is told: header and body.
pub(super) fn told(end: &End) -> (Header, [u8; CHANGED]) {
    let words = [end.number as u32, end.how, end.status as u32, 0];
    let header = Header { kind: kind::CHANGED, length: CHANGED as u32, words, ..Header::default() };
    let mut body = [0; CHANGED];
    for (place, byte) in body.iter_mut().zip(end.usage.bytes().iter().chain(&end.label.to_ne_bytes())) {
        *place = *byte;
    }
    (header, body)
}

/// Tells of a change, if there is room for that; `false` when there is none.
pub(super) fn tell(end: &End) -> bool {
    let (header, body) = told(end);
    let mut bytes = [0; HEADER + CHANGED];
    for (place, byte) in bytes.iter_mut().zip(header.encode().iter().chain(&body)) {
        *place = *byte;
    }
    // So small a message is taken whole or not at all. A creator that is gone is found out elsewhere.
    send(CHANNEL, &bytes, &[], false).is_ok()
}

/// What is to be answered still to a batch of which nothing can be done.
pub(super) fn refuse(line: Line, items: u32, errno: Errno) -> Option<Lot> {
    let mut lot = Lot::new(line);
    for _ in 0..items {
        lot.add(nothing(errno), -1).then_some(())?;
    }
    Some(lot)
}

/// Births that were not answered yet.
pub(super) struct Lot {
    line: Line,
    births: [u8; BORN_AT_ONCE * Born::SIZE],
    pidfds: [i32; BORN_AT_ONCE],
    count: usize,
    held: usize,
}

impl Lot {
    pub(super) fn new(line: Line) -> Lot {
        Lot { line, births: [0; BORN_AT_ONCE * Born::SIZE], pidfds: [-1; BORN_AT_ONCE], count: 0, held: 0 }
    }

    /// Adds a birth, and answers when there is no room for another.
    pub(super) fn add(&mut self, born: Born, pidfd: i32) -> bool {
        let places = self.births.chunks_exact_mut(Born::SIZE).nth(self.count).unwrap_or_default();
        for (place, byte) in places.iter_mut().zip(born.encode()) {
            *place = byte;
        }
        self.count += 1;
        if let Some(place) = self.pidfds.get_mut(self.held).filter(|_| pidfd >= 0) {
            *place = pidfd;
            self.held += 1;
        }
        self.count < BORN_AT_ONCE || self.send()
    }

    pub(super) fn send(&mut self) -> bool {
        if self.count == 0 {
            return true;
        }
        let body = self.births.get(..self.count * Born::SIZE).unwrap_or_default();
        let pidfds = self.pidfds.get(..self.held).unwrap_or_default();
        let header = Header {
            kind: kind::BORN,
            length: body.len() as u32,
            descriptors: pidfds.len() as u32,
            words: [self.count as u32, 0, 0, 0],
        };
        let sent = channel::answer(self.line, &header, [body, &[]], pidfds);
        channel::close(pidfds);
        (self.count, self.held) = (0, 0);
        sent
    }
}
