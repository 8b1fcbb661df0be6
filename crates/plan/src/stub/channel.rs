//! Receiving whole messages, and answering.
//!
//! Safety idea: a message is taken as a whole or the channel counts as closed; what came with one that was cut short goes away with the
//! process.

use core::marker::PhantomData;

use beget_sys::memory::{self, PAGE, how};
use beget_sys::message::{self, MOST_DESCRIPTORS, READABLE, WRITABLE, Watched};
use beget_sys::{Errno, Result};

use crate::message::{BORN_AT_ONCE, Born, HEADER, Header};

/// A body that is sent in one piece with its header: the longest list of births, and whatever is shorter.
const SHORT: usize = BORN_AT_ONCE * Born::SIZE;

/// A room for what is short, zeroed: memory that is mapped and unmapped costs a page, and a word to the other processors. In words.
pub(super) const ROOM: usize = (16 << 10) / 8;

/// A body that came: in a room that was lent for it and is zeroed afterwards, for it may hold secrets, or in memory of its own.
#[derive(Debug)]
pub(super) struct Body<'r> {
    at: usize,
    mapped: usize,
    length: usize,
    room: PhantomData<&'r mut [u64]>,
}

impl<'r> Body<'r> {
    fn map(length: usize) -> Result<Body<'r>> {
        let mapped = length.checked_next_multiple_of(PAGE).ok_or(Errno::ENOMEM)?;
        if mapped == 0 {
            return Ok(Body { at: PAGE, mapped, length, room: PhantomData });
        }
        let (rights, flags) = (how::READ | how::WRITE, how::PRIVATE | how::ANONYMOUS);
        // SAFETY: new memory, wherever the kernel likes.
        let at = unsafe { memory::map(0, mapped, rights, flags, -1, 0) }?;
        Ok(Body { at, mapped, length, room: PhantomData })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped above or lent, owned by `self`, initialised by the kernel or by whoever lent it.
        unsafe { core::slice::from_raw_parts(self.at as *const u8, self.length) }
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: likewise, and borrowed alone.
        unsafe { core::slice::from_raw_parts_mut(self.at as *mut u8, self.length) }
    }

    /// The addresses it lies at, when that is memory of its own.
    pub(super) fn range(&self) -> (usize, usize) {
        (self.at, self.at.saturating_add(self.mapped))
    }

    /// Memory of this size, zeroed, to work in.
    pub(super) fn zeroed(length: usize) -> Result<Body<'r>> {
        Body::map(length)
    }

    /// The same in `room`, which is zeroed, as far as that goes.
    pub(super) fn zeroed_in(room: &'r mut [u64], length: usize) -> Result<Body<'r>> {
        if length > size_of_val(room) {
            return Body::map(length);
        }
        Ok(Body { at: room.as_mut_ptr() as usize, mapped: 0, length, room: PhantomData })
    }
}

impl Drop for Body<'_> {
    fn drop(&mut self) {
        if self.mapped == 0 {
            self.bytes_mut().fill(0);
        } else {
            // SAFETY: mapped above, and nothing borrows it any more.
            let _ = unsafe { memory::unmap(self.at, self.mapped) };
        }
    }
}

/// One end of a channel, and by what else it is known that the other end is gone: a copy of its process may hold it still.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    pub(super) socket: i32,
    /// Processes without which nothing goes on, or -1.
    pub(super) others: [i32; 2],
}

impl Line {
    pub(super) fn alone(socket: i32) -> Line {
        Line { socket, others: [-1; 2] }
    }

    fn waits_for_others(&self) -> bool {
        self.others != [-1; 2]
    }

    /// Waits until something can be done with the socket; `false` when one of the others has ended.
    fn wait(&self, wanted: u16) -> bool {
        let [one, other] = self.others;
        let watch = |fd, wanted| Watched { fd, wanted, happened: 0 };
        let mut watched = [watch(self.socket, wanted), watch(one, READABLE), watch(other, READABLE)];
        let _ = message::wait_for(&mut watched);
        let [_, one, other] = watched;
        one.happened | other.happened == 0
    }
}

/// What came.
#[derive(Debug)]
pub(super) enum Came<'r> {
    /// A message, and how many descriptors with it.
    Message(Header, Body<'r>, usize),
    /// A message that cannot be taken: there is no memory for it, or no numbers for its descriptors.
    TooMuch(Header, Errno),
    /// Nothing more will come.
    Closed,
}

/// Receives the next message; its descriptors go into `numbers`, and its body into `room` if it is short.
pub(super) fn receive<'r>(line: Line, numbers: &mut [i32], room: &'r mut [u64]) -> Came<'r> {
    let mut header = [0; HEADER];
    let Some(mut lot) = take(line, &mut header, numbers) else { return Came::Closed };
    let Some(header) = Header::decode(&header) else { return Came::Closed };
    let wanted = header.descriptors as usize;
    let (mut count, mut lost) = (lot.0, lot.1);
    let mut expected = wanted.min(MOST_DESCRIPTORS);
    while expected < wanted {
        let mut word = [0; 4];
        let Some(rest) = numbers.get_mut(count..) else { return Came::Closed };
        lot = match take(line, &mut word, rest) {
            Some(lot) => lot,
            None => return Came::Closed,
        };
        (count, lost) = (count.saturating_add(lot.0), lost || lot.1);
        expected = wanted.min(expected.saturating_add(MOST_DESCRIPTORS));
    }
    let body = Body::zeroed_in(room, header.length as usize);
    let (mut body, why) = match body {
        Ok(body) => (body, (lost || count != wanted).then_some(Errno::EMFILE)),
        // The stream goes on behind the body, which is read past.
        Err(errno) => {
            close(numbers.get(..count).unwrap_or_default());
            return if skip(line, header.length as usize) {
                Came::TooMuch(header, errno)
            } else {
                Came::Closed
            };
        }
    };
    if header.length != 0 && take(line, body.bytes_mut(), &mut []).is_none() {
        return Came::Closed;
    }
    match why {
        Some(errno) => {
            close(numbers.get(..count).unwrap_or_default());
            Came::TooMuch(header, errno)
        }
        None => Came::Message(header, body, count),
    }
}

/// Closes received descriptors.
pub(super) fn close(numbers: &[i32]) {
    for number in numbers {
        // SAFETY: received, and owned by whoever calls this.
        let _ = unsafe { beget_sys::descriptor::close(*number) };
    }
}

/// Fills `bytes`; gives how many descriptors came with them, and whether some were lost. `None` when the other end is closed.
fn take(line: Line, bytes: &mut [u8], numbers: &mut [i32]) -> Option<(usize, bool)> {
    let (mut done, mut count, mut lost) = (0, 0, false);
    while done < bytes.len() {
        let wait = !line.waits_for_others();
        match message::receive(line.socket, bytes.get_mut(done..)?, numbers.get_mut(count..)?, wait) {
            Ok(came) if came.bytes == 0 => return None,
            Ok(came) => {
                done = done.checked_add(came.bytes)?;
                count = count.checked_add(came.descriptors)?;
                lost |= came.truncated;
            }
            Err(Errno::EAGAIN) if line.wait(READABLE) => {}
            Err(Errno::EINTR) => {}
            Err(_) => return None,
        }
    }
    Some((count, lost))
}

fn skip(line: Line, mut length: usize) -> bool {
    let mut chunk = [0; 1024];
    while length > 0 {
        let part = chunk.get_mut(..length.min(1024)).unwrap_or_default();
        let taken = part.len();
        if take(line, part, &mut []).is_none() {
            return false;
        }
        length = length.saturating_sub(taken);
    }
    true
}

/// Sends a message whose descriptors fit the header, and whose body is in two parts; waits for room. `false` when the other end is
/// gone.
pub(super) fn answer(line: Line, header: &Header, body: [&[u8]; 2], descriptors: &[i32]) -> bool {
    let header = header.encode();
    let [first, second] = body;
    let parts = [&header, first, second];
    let mut piece = [0; HEADER + SHORT];
    let length = HEADER.saturating_add(first.len()).saturating_add(second.len());
    let Some(piece) = piece.get_mut(..length) else {
        return write(line, &header, descriptors) && write(line, first, &[]) && write(line, second, &[]);
    };
    // In one piece: whoever waits for it is woken once.
    for (place, byte) in piece.iter_mut().zip(parts.into_iter().flatten()) {
        *place = *byte;
    }
    write(line, piece, descriptors)
}

/// Sends bytes; waits for room. `false` when the other end is gone.
fn write(line: Line, mut bytes: &[u8], mut descriptors: &[i32]) -> bool {
    while !bytes.is_empty() {
        match message::send(line.socket, bytes, descriptors, !line.waits_for_others()) {
            Ok(sent) => {
                descriptors = &[];
                bytes = bytes.get(sent..).unwrap_or_default();
            }
            Err(Errno::EAGAIN) if line.wait(WRITABLE) => {}
            Err(Errno::EINTR) => {}
            Err(_) => return false,
        }
    }
    true
}
