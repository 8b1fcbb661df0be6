//! One way of the program's output: from its terminal or its pipe to the stream of ours that it would have been.
//!
//! Safety idea: what was taken is given on before more is taken, so a reader that does not read makes the program wait, as it would
//! without us.

use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use super::gate::Gate;
use super::stream::{Stream, ready};

/// The most that is held.
const MOST: usize = 64 << 10;

/// What a step did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Something was moved.
    Moved,
    /// Nothing could be, now.
    Nothing,
    /// The reader left, or our stream takes nothing more.
    NoReader(Errno),
}

/// Where output comes from, where it goes, and what is on its way.
#[derive(Debug)]
pub(super) struct Channel {
    /// 1 or 2.
    number: usize,
    from: Option<OwnedFd>,
    /// It comes from a terminal, of which nobody may hold the other end now and somebody later.
    is_terminal: bool,
    /// Nobody holds it now.
    pub(super) unheld: bool,
    to: Stream,
    buffer: Box<[u8]>,
    /// What is held of it.
    held: Range<usize>,
}

impl Channel {
    pub(super) fn new(number: usize, from: OwnedFd, is_terminal: bool, to: Stream) -> Channel {
        Channel {
            number,
            from: Some(from),
            is_terminal,
            unheld: false,
            to,
            buffer: vec![0; MOST].into(),
            held: 0..0,
        }
    }

    /// Whether there is something that was not given on yet.
    pub(super) fn is_loaded(&self) -> bool {
        !self.held.is_empty()
    }

    /// What to wait for.
    pub(super) fn interest(&self) -> Option<PollFd<'_>> {
        if self.is_loaded() {
            return Some(PollFd::new(&self.to, PollFlags::OUT));
        }
        self.from.as_ref().filter(|_| !self.unheld).map(|from| PollFd::new(from, PollFlags::IN))
    }

    /// Gives on what is held, or else takes more.
    pub(super) fn step(&mut self, gate: &mut Gate) -> Step {
        if self.is_loaded() {
            return match self.to.write(&self.buffer[self.held.clone()]) {
                Ok(None) => Step::Nothing,
                Ok(Some(count)) => {
                    self.held.start += count;
                    Step::Moved
                }
                Err(errno) => {
                    self.close();
                    self.held = 0..0;
                    Step::NoReader(errno)
                }
            };
        }
        let Some(from) = self.from.as_ref().filter(|_| !gate.is_shut()) else { return Step::Nothing };
        match ready(rustix::io::read(from, &mut self.buffer[..])) {
            Ok(Some(count @ 1..)) => {
                self.unheld = false;
                self.held = 0..gate.pass(self.number, &self.buffer[..count], !self.is_terminal);
                Step::Moved
            }
            Ok(None) => {
                self.unheld = false;
                Step::Nothing
            }
            // A program that closed its terminal may open it again by name.
            Err(Errno::IO) if self.is_terminal => {
                self.unheld = true;
                Step::Nothing
            }
            Ok(Some(0)) | Err(_) => {
                self.close();
                Step::Nothing
            }
        }
    }

    /// Takes no more: whoever writes there is told as by a pipe without a reader, or by a terminal that hung up.
    pub(super) fn close(&mut self) {
        self.from = None;
    }
}
