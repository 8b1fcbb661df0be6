//! What is typed at the program's own terminal: all of our standard input, and its end.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::termios::{LocalModes, SpecialCodeIndex, tcgetattr};

use super::stream::{Stream, ready};

/// From our standard input to the terminal.
#[derive(Debug)]
pub(super) struct Keys {
    /// None after its end.
    from: Option<Stream>,
    to: OwnedFd,
    held: Vec<u8>,
    /// A line was begun and not ended.
    in_line: bool,
}

impl Keys {
    pub(super) fn new(from: Stream, to: OwnedFd) -> Keys {
        Keys { from: Some(from), to, held: Vec::new(), in_line: false }
    }

    /// What to wait for. We may not read a terminal that is another's now.
    pub(super) fn interest(&self, may_read: bool) -> Option<PollFd<'_>> {
        if !self.held.is_empty() {
            return Some(PollFd::new(&self.to, PollFlags::OUT));
        }
        let from = self.from.as_ref().filter(|_| may_read)?;
        Some(PollFd::from_borrowed_fd(from.as_fd(), PollFlags::IN))
    }

    /// Moves what can be moved without waiting. Says whether there is nothing more to type, ever.
    pub(super) fn turn(&mut self, may_read: bool) -> bool {
        // No more than the terminal takes soon, so that what is typed ahead stays with whoever typed it.
        const MOST: usize = 4096;
        if self.held.is_empty() && may_read {
            let Some(from) = &self.from else { return true };
            let mut buffer = [0; MOST];
            match from.read(&mut buffer) {
                Ok(None) => {}
                Ok(Some(count)) if count > 0 => self.hold(&buffer[..count]),
                // A terminal that is gone tells an error for ever.
                Ok(_) | Err(_) => {
                    self.from = None;
                    self.held = self.end_of_input();
                }
            }
        }
        while !self.held.is_empty() {
            match ready(rustix::io::write(&self.to, &self.held)) {
                Ok(None) => break,
                Ok(Some(count)) => drop(self.held.drain(..count)),
                // Nobody holds the other end now: typed at a terminal where nobody is.
                Err(_) => self.held.clear(),
            }
        }
        self.from.is_none() && self.held.is_empty()
    }

    fn hold(&mut self, bytes: &[u8]) {
        self.held.extend_from_slice(bytes);
        self.in_line = !matches!(bytes.last(), Some(b'\n' | b'\r'));
    }

    /// The key that ends input, which does so at the beginning of a line: after one that was not ended it gives the program that line
    /// first. A program that reads key by key gets the key.
    fn end_of_input(&self) -> Vec<u8> {
        let modes = match tcgetattr(&self.to) {
            Ok(modes) => modes,
            Err(_) => return Vec::new(),
        };
        let key = modes.special_codes[SpecialCodeIndex::VEOF];
        let twice = self.in_line && modes.local_modes.contains(LocalModes::ICANON);
        match key {
            // There is no such key.
            0 => Vec::new(),
            key => vec![key; if twice { 2 } else { 1 }],
        }
    }
}
