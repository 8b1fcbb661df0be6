//! The monitor's end of a nursery's channel: whole messages, without ever waiting.
//!
//! Safety idea: what is at the other end may be a stranger's program. A message is taken only when it is all there, is of a kind that
//! nurseries send, and is as short as those are; whatever else comes ends the channel. What is to be sent is counted, so that whoever does
//! not read is refused more, and costs no more.

use std::collections::VecDeque;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use beget_plan::message::{BORN_AT_ONCE, Born, HEADER, Header, LIVING_AT_ONCE, Living, kind, label};
use beget_sys::Errno;
use beget_sys::message::{self, MOST_DESCRIPTORS};
use beget_sys::wait::Usage;

/// The most bytes that wait for one nursery.
pub(crate) const MOST_QUEUED: usize = 16 << 20;
/// The longest body of what a nursery says.
const LONGEST: usize = BORN_AT_ONCE * Born::SIZE;
/// Bytes of resource use, before a label.
const USAGE: usize = size_of::<Usage>();

/// What a nursery says.
#[derive(Debug)]
pub enum News {
    /// Births, each with the pidfd that came with it.
    Born(Vec<(Born, Option<OwnedFd>)>),
    /// A child changed: label, number, how, status, what it used.
    Changed(u64, u32, u32, u32, Box<[u8; USAGE]>),
    /// Labelled births that live; whether there are more.
    Living(Vec<(u64, u32)>, bool),
}

/// What came of an attempt to read.
#[derive(Debug)]
pub enum Read {
    /// A whole message.
    News(News),
    /// Nothing that is whole.
    Nothing,
    /// The other end is closed, or says what no nursery says.
    Closed,
}

/// What came of an attempt to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flushed {
    /// All is sent.
    Done,
    /// The other end must read first.
    Full,
    /// There is room, but not now; nobody will tell when.
    Stalled,
    /// The other end is gone; what it said before can still be read.
    Gone,
}

/// Bytes to be sent, and the descriptors that go with the first of them.
#[derive(Debug)]
struct Piece {
    bytes: Vec<u8>,
    sent: usize,
    descriptors: Vec<Rc<OwnedFd>>,
}

/// One end.
#[derive(Debug)]
pub(crate) struct Channel {
    socket: OwnedFd,
    incoming: Vec<u8>,
    given: VecDeque<OwnedFd>,
    outgoing: VecDeque<Piece>,
    queued: usize,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd) -> Channel {
        let (incoming, given, outgoing) = (Vec::new(), VecDeque::new(), VecDeque::new());
        Channel { socket, incoming, given, outgoing, queued: 0 }
    }

    /// Puts a message behind those that wait to be sent.
    ///
    /// # Errors
    /// `EAGAIN` when there are too many already.
    pub(crate) fn queue(
        &mut self,
        header: Header,
        body: Vec<u8>,
        descriptors: &[Rc<OwnedFd>],
    ) -> Result<(), Errno> {
        if self.queued > 0 && self.queued + body.len() > MOST_QUEUED {
            return Err(Errno::EAGAIN);
        }
        let header = Header { length: body.len() as u32, descriptors: descriptors.len() as u32, ..header };
        let (first, rest) = descriptors.split_at(descriptors.len().min(MOST_DESCRIPTORS));
        let mut piece = Piece { bytes: header.encode().to_vec(), sent: 0, descriptors: first.to_vec() };
        for lot in rest.chunks(MOST_DESCRIPTORS) {
            self.queued += piece.bytes.len();
            self.outgoing.push_back(piece);
            piece = Piece { bytes: vec![0; 4], sent: 0, descriptors: lot.to_vec() };
        }
        piece.bytes.extend(body);
        self.queued += piece.bytes.len();
        self.outgoing.push_back(piece);
        Ok(())
    }

    /// Sends what there is room for.
    pub(crate) fn flush(&mut self) -> Flushed {
        while let Some(piece) = self.outgoing.front_mut() {
            let numbers: Vec<i32> = piece.descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
            match message::send(self.socket.as_raw_fd(), &piece.bytes[piece.sent..], &numbers, false) {
                Ok(sent) => {
                    piece.sent += sent;
                    piece.descriptors.clear();
                    self.queued -= sent;
                    if piece.sent == piece.bytes.len() {
                        self.outgoing.pop_front();
                    }
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Flushed::Full,
                // Descriptors on their way are counted (`RLIMIT_NOFILE`), as is memory: there will be room.
                Err(Errno::ETOOMANYREFS | Errno::ENOBUFS | Errno::ENOMEM) => return Flushed::Stalled,
                Err(_) => {
                    self.outgoing.clear();
                    self.queued = 0;
                    return Flushed::Gone;
                }
            }
        }
        Flushed::Done
    }

    /// The next message, if it is all there; without `more` only of what was read before. Whoever stops reading must have taken all of that,
    /// for nothing tells of it again.
    pub(crate) fn read(&mut self, more: bool) -> Read {
        loop {
            match parse(&mut self.incoming, &mut self.given) {
                Read::Nothing if more => {}
                other => return other,
            }
            let mut chunk = [0; HEADER + LONGEST];
            let wanted = HEADER + LONGEST - self.incoming.len();
            let came = message::receive_owned(self.socket.as_fd(), &mut chunk[..wanted], &mut self.given);
            match came {
                Ok(came) => {
                    if came.bytes == 0 || came.truncated || self.given.len() > BORN_AT_ONCE {
                        return Read::Closed;
                    }
                    self.incoming.extend_from_slice(&chunk[..came.bytes]);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Read::Nothing,
                Err(_) => return Read::Closed,
            }
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Takes a message from what has come, with its descriptors from what is given.
pub fn parse(incoming: &mut Vec<u8>, given: &mut VecDeque<OwnedFd>) -> Read {
    whole(incoming, given).unwrap_or(Read::Closed)
}

/// The same; `None` when what has come is none.
fn whole(incoming: &mut Vec<u8>, given: &mut VecDeque<OwnedFd>) -> Option<Read> {
    let Some(bytes) = incoming.first_chunk::<HEADER>() else { return Some(Read::Nothing) };
    let header = Header::decode(bytes)?;
    let length = header.length as usize;
    if length > LONGEST || (header.descriptors != 0 && header.kind != kind::BORN) {
        return None;
    }
    let Some(body) = incoming.get(HEADER..HEADER + length) else { return Some(Read::Nothing) };
    let [first, how, status, _] = header.words;
    let count = first as usize;
    let news = match header.kind {
        kind::BORN if count <= BORN_AT_ONCE && length == count * Born::SIZE => {
            let mut births = Vec::with_capacity(count);
            for at in (0..length).step_by(Born::SIZE) {
                let born = Born::decode(body, at)?;
                let pidfd = if born.pidfd == 1 { Some(given.pop_front()?) } else { None };
                births.push((born, pidfd));
            }
            News::Born(births)
        }
        kind::CHANGED if length == USAGE + 8 => {
            let (usage, named) = body.split_first_chunk::<USAGE>()?;
            let named = u64::from_ne_bytes(named.try_into().ok()?);
            News::Changed(named, first, how, status, Box::new(*usage))
        }
        kind::ROLL if count <= LIVING_AT_ONCE && length == count * Living::SIZE => {
            let living = (0..length).step_by(Living::SIZE).map(|at| {
                let living = Living::decode(body, at)?;
                Some((label([living.label_low, living.label_high]), living.number))
            });
            News::Living(living.collect::<Option<_>>()?, how != 0)
        }
        _ => return None,
    };
    incoming.drain(..HEADER + length);
    Some(Read::News(news))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All that was taken from the socket is told before anybody waits for the socket.
    #[test]
    fn nothing_that_was_read_is_left_over() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let mut channel = Channel::new(ours.into());
        let one = Header { kind: kind::ROLL, ..Header::default() }.encode();
        std::io::Write::write_all(&mut &theirs, &one.repeat(100)).expect("it has room");
        let is_news = |read: Read| matches!(read, Read::News(News::Living(..)));
        assert!(!is_news(channel.read(false)), "nothing was read before");
        let mut count = 0;
        for _ in 0..10 {
            assert!(is_news(channel.read(true)));
            count += 1;
        }
        while is_news(channel.read(false)) {
            count += 1;
        }
        assert!(channel.incoming.len() < HEADER);
        while is_news(channel.read(true)) {
            count += 1;
        }
        assert_eq!(count, 100);
    }

    /// Whoever does not read has only so much waiting for it.
    #[test]
    fn what_waits_is_counted() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        rustix::io::ioctl_fionbio(&ours, true).expect("a socket");
        let mut channel = Channel::new(ours.into());
        let mut queued = 0;
        while channel.queue(Header::default(), vec![0; 1 << 20], &[]).is_ok() {
            assert_eq!(channel.flush(), Flushed::Full);
            queued += 1;
            assert!(queued < 100);
        }
        assert!(queued >= MOST_QUEUED >> 20);
        drop(theirs);
        assert_eq!(channel.flush(), Flushed::Gone);
        assert_eq!(channel.queued, 0);
    }
}
