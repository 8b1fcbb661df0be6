//! Packets: what clients, the process service and the monitor say to each other, as it lies on a `SOCK_SEQPACKET` socket, on which a
//! message comes whole or not at all.
//!
//! ```text
//! 0    magic, version << 16 | kind, request (8 bytes), bytes of the body, number of descriptors, 1 if the body lies in memory, 0
//! 32   the body
//! ```
//!
//! A body of more than [`INLINE`] bytes lies in a sealed memory file, which is the last descriptor then. More than 253 descriptors come in
//! [`GIVE`] packets of the same request, before the one they belong to.
//!
//! Safety idea: one definition for all sides. Whatever arrives is owned from that moment, so that nothing of a packet that is none stays
//! open; a body in memory is copied, and only from a file that nobody can change or shorten any more.

use std::collections::VecDeque;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use beget_sys::Errno;
use beget_sys::message::{self, MOST_DESCRIPTORS};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SocketFlags, SocketType,
};

/// The first word of a packet.
pub const MAGIC: u32 = u32::from_ne_bytes(*b"BGPK");
/// The version of what is said in packets. Whoever connects says first which versions it knows; every packet names the one it is in.
pub const VERSION: u16 = 1;
/// Bytes of a header.
pub const HEADER: usize = 32;
/// The most bytes of a body that come with the header.
pub const INLINE: usize = 60 << 10;
/// The most bytes of a body.
pub const LONGEST: usize = 16 << 20;
/// The most descriptors of a packet, those before it included.
pub const MOST_GIVEN: usize = 4096;
/// How long whoever waits for room waits for others who have too many descriptors on their way.
const PATIENCE: Duration = Duration::from_secs(10);
/// The kind of a packet that only brings descriptors for the one that comes after it.
pub const GIVE: u16 = 0;

/// A packet that came.
#[derive(Debug)]
pub struct Packet {
    /// What it is: of the protocol that is spoken.
    pub kind: u16,
    /// The number of the request; its answer has the same. 0 for what was not asked for.
    pub request: u64,
    /// Its body.
    pub body: Vec<u8>,
    /// Its descriptors.
    pub descriptors: Vec<OwnedFd>,
}

/// What came of an attempt to receive.
#[derive(Debug)]
pub enum Came {
    /// A packet.
    Packet(Packet),
    /// Nothing more will come.
    Closed,
    /// What came is none, and why. Nothing after it can be trusted.
    Malformed(&'static str),
    /// A packet whose descriptors found no number here (`EMFILE`) or whose body no memory; its kind and request. The next one can be read.
    Lost(u16, u64, Errno),
}

/// One end of a connection.
#[derive(Debug)]
pub struct Connection {
    socket: OwnedFd,
    /// Descriptors that came for a packet that is still to come, and the request it has.
    given: Vec<OwnedFd>,
    given_for: u64,
    lost: bool,
    /// How many datagrams the packet that is to come has had so far.
    pieces: usize,
}

/// Where packets lie while they are taken apart; one serves any number of connections.
#[derive(Debug)]
pub struct Scratch(Box<[u8]>);

impl Default for Scratch {
    fn default() -> Scratch {
        Scratch(vec![0; HEADER + INLINE].into())
    }
}

/// A packet as it will be sent: one datagram, or several where it has many descriptors.
#[derive(Debug)]
pub struct Outgoing(VecDeque<(Vec<u8>, Vec<OwnedFd>)>);

fn header(kind: u16, request: u64, length: usize, descriptors: usize, in_memory: bool) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + if in_memory { 0 } else { length });
    bytes.extend(MAGIC.to_ne_bytes());
    bytes.extend((u32::from(VERSION) << 16 | u32::from(kind)).to_ne_bytes());
    bytes.extend(request.to_ne_bytes());
    for word in [length as u32, descriptors as u32, u32::from(in_memory), 0] {
        bytes.extend(word.to_ne_bytes());
    }
    bytes
}

/// A body in a file that nobody can change any more.
fn in_memory(body: &[u8]) -> Result<OwnedFd, Errno> {
    let number = |errno: rustix::io::Errno| Errno(errno.raw_os_error());
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create("beget-message", flags | MemfdFlags::NOEXEC_SEAL) {
        // Before Linux 6.3 there is no such flag.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create("beget-message", flags),
        other => other,
    }
    .map_err(number)?;
    let mut left = body;
    while !left.is_empty() {
        match rustix::io::write(&file, left) {
            Ok(count) => left = &left[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(number(errno)),
        }
    }
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    rustix::fs::fcntl_add_seals(&file, seals).map_err(number)?;
    Ok(file)
}

/// What lies in such a file; `None` when it could still be changed, or has not the length that was said.
fn from_memory(file: &OwnedFd, length: usize) -> Option<Vec<u8>> {
    let seals = rustix::fs::fcntl_get_seals(file).ok()?;
    let needed = SealFlags::SHRINK | SealFlags::WRITE;
    if !seals.contains(needed) || rustix::fs::fstat(file).ok()?.st_size != length as i64 {
        return None;
    }
    let mut body = vec![0; length];
    let mut done = 0;
    while done < length {
        match rustix::io::pread(file, &mut body[done..], done as u64) {
            Ok(0) => return None,
            Ok(count) => done += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
        }
    }
    Some(body)
}

impl Outgoing {
    /// A packet to be sent.
    ///
    /// # Errors
    /// `E2BIG` when its body or its descriptors are more than anybody takes; those of making a file in memory for a long body.
    pub fn new(kind: u16, request: u64, body: &[u8], descriptors: Vec<OwnedFd>) -> Result<Outgoing, Errno> {
        let mut datagrams = VecDeque::new();
        let (last, rest) = pieces(kind, request, body, descriptors.len())?;
        let mut descriptors = descriptors;
        for piece in rest {
            let kept = descriptors.split_off(MOST_DESCRIPTORS);
            datagrams.push_back((piece, std::mem::replace(&mut descriptors, kept)));
        }
        let (bytes, memory) = last;
        descriptors.extend(memory);
        datagrams.push_back((bytes, descriptors));
        Ok(Outgoing(datagrams))
    }

    /// Sends as much as there is room for; `true` when all is sent.
    ///
    /// # Errors
    /// `EPIPE` and the like when the other end is gone.
    pub fn send(&mut self, to: &Connection) -> Result<bool, Errno> {
        while let Some((bytes, descriptors)) = self.0.front() {
            let numbers: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
            match message::send(to.socket.as_raw_fd(), bytes, &numbers, false) {
                Ok(_) => drop(self.0.pop_front()),
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => return Ok(false),
                Err(errno) => return Err(errno),
            }
        }
        Ok(true)
    }
}

type Piece = (Vec<u8>, Option<OwnedFd>);

/// The datagrams of a packet: the last one, with its body's file, and those before it, which bring 253 descriptors each.
fn pieces(kind: u16, request: u64, body: &[u8], descriptors: usize) -> Result<(Piece, Vec<Vec<u8>>), Errno> {
    if body.len() > LONGEST || descriptors >= MOST_GIVEN {
        return Err(Errno::E2BIG);
    }
    let memory = if body.len() > INLINE { Some(in_memory(body)?) } else { None };
    let total = descriptors + usize::from(memory.is_some());
    let mut last = header(kind, request, body.len(), total, memory.is_some());
    if memory.is_none() {
        last.extend_from_slice(body);
    }
    let before = (total.max(1) - 1) / MOST_DESCRIPTORS;
    let rest = (0..before).map(|_| header(GIVE, request, 0, MOST_DESCRIPTORS, false)).collect();
    Ok(((last, memory), rest))
}

impl Connection {
    /// Takes a connected socket.
    #[must_use]
    pub fn new(socket: OwnedFd) -> Connection {
        Connection { socket, given: Vec::new(), given_for: 0, lost: false, pieces: 0 }
    }

    /// Two connected ends.
    ///
    /// # Errors
    /// `EMFILE`, `ENFILE`, `ENOMEM`.
    pub fn pair() -> Result<(Connection, OwnedFd), Errno> {
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .map_err(|errno| Errno(errno.raw_os_error()))?;
        Ok((Connection::new(ours), theirs))
    }

    /// Sends a packet, waiting for room.
    ///
    /// # Errors
    /// `EPIPE` and the like when the other end is gone; `E2BIG` when it is more than anybody takes; `EBADF`; `ETOOMANYREFS` when
    /// this user has too many descriptors on their way (`man 7 unix`), and still has ten seconds later.
    pub fn send(
        &self,
        kind: u16,
        request: u64,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(), Errno> {
        let ((last, memory), rest) = pieces(kind, request, body, descriptors.len())?;
        let mut numbers: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
        numbers.extend(memory.as_ref().map(AsRawFd::as_raw_fd));
        let mut numbers = &numbers[..];
        for piece in rest {
            let (now, later) = numbers.split_at(MOST_DESCRIPTORS);
            self.send_one(&piece, now)?;
            numbers = later;
        }
        self.send_one(&last, numbers)
    }

    fn send_one(&self, bytes: &[u8], numbers: &[i32]) -> Result<(), Errno> {
        let until = Instant::now() + PATIENCE;
        loop {
            match message::send(self.socket.as_raw_fd(), bytes, numbers, true) {
                Err(Errno::EINTR) => {}
                // A socket that does not block was shared by whoever gave it.
                Err(Errno::EAGAIN) => {
                    let mut watched =
                        [rustix::event::PollFd::new(&self.socket, rustix::event::PollFlags::OUT)];
                    let _ = rustix::event::poll(&mut watched, None);
                }
                // Others of this user have too many on their way, and will read them.
                Err(Errno::ETOOMANYREFS) if Instant::now() < until => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                other => return other.map(drop),
            }
        }
    }

    /// Receives the next packet; waits for it only if `wait`.
    ///
    /// # Errors
    /// `EAGAIN` when there is none and `wait` is false.
    pub fn receive(&mut self, scratch: &mut Scratch, wait: bool) -> Result<Came, Errno> {
        loop {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST_DESCRIPTORS))];
            let mut control = RecvAncillaryBuffer::new(&mut space);
            let flags = RecvFlags::CMSG_CLOEXEC | if wait { RecvFlags::empty() } else { RecvFlags::DONTWAIT };
            let vector = &mut [std::io::IoSliceMut::new(&mut scratch.0)];
            let came = match rustix::net::recvmsg(&self.socket, vector, &mut control, flags) {
                Ok(came) => came,
                // Told once, before what the other end had said: it is gone and had not read everything. What it said last may be why.
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNRESET) => continue,
                Err(rustix::io::Errno::AGAIN) if wait => {
                    let mut watched =
                        [rustix::event::PollFd::new(&self.socket, rustix::event::PollFlags::IN)];
                    let _ = rustix::event::poll(&mut watched, None);
                    continue;
                }
                Err(rustix::io::Errno::AGAIN) => return Err(Errno::EAGAIN),
                Err(_) => return Ok(Came::Closed),
            };
            let owned: Vec<OwnedFd> = control
                .drain()
                .filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(files) => Some(files),
                    _ => None,
                })
                .flatten()
                .collect();
            if came.bytes == 0 {
                return Ok(Came::Closed);
            }
            let truncated = came.flags.contains(ReturnFlags::CTRUNC);
            if came.flags.contains(ReturnFlags::TRUNC) {
                return Ok(Came::Malformed("it is longer than a packet"));
            }
            if let Some(packet) = self.take(&scratch.0[..came.bytes], owned, truncated) {
                return Ok(packet);
            }
        }
    }

    /// Takes a datagram apart; `None` when it only brought descriptors for the next.
    fn take(&mut self, bytes: &[u8], owned: Vec<OwnedFd>, truncated: bool) -> Option<Came> {
        let word = |at: usize| Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        let words = (|| Some((word(0)?, word(4)?, word(8)?, word(12)?, word(16)?, word(20)?, word(24)?)))();
        let Some((MAGIC, version_kind, low, high, length, descriptors, in_memory)) = words else {
            return Some(Came::Malformed("it does not begin as a packet does"));
        };
        let (kind, version) = (version_kind as u16, (version_kind >> 16) as u16);
        let request = u64::from(high) << 32 | u64::from(low);
        let (length, descriptors) = (length as usize, descriptors as usize);
        if version != VERSION {
            return Some(Came::Malformed("it is in another version"));
        }
        if self.given_for != request && self.pieces > 0 {
            if kind == GIVE || request != 0 {
                return Some(Came::Malformed("descriptors came for another packet"));
            }
            // What nobody asked for comes after the half of a packet only from another than who sent that: who did is gone.
            self.given.clear();
            self.lost = false;
        }
        self.lost |= truncated;
        self.given.extend(owned);
        self.given_for = request;
        self.pieces += 1;
        // Also of those that bring nothing: whoever sends them without an end is not read without an end.
        if self.given.len() > MOST_GIVEN || self.pieces > MOST_GIVEN / MOST_DESCRIPTORS + 1 {
            return Some(Came::Malformed("it brings too many descriptors"));
        }
        if kind == GIVE {
            return None;
        }
        self.pieces = 0;
        let mut given = std::mem::take(&mut self.given);
        let Some(inline) = bytes.len().checked_sub(HEADER) else {
            return Some(Came::Malformed("it does not begin as a packet does"));
        };
        let says_truth = match in_memory {
            0 => length == inline,
            1 => length > INLINE && length <= LONGEST && inline == 0,
            _ => false,
        };
        if std::mem::take(&mut self.lost) {
            return Some(Came::Lost(kind, request, Errno::EMFILE));
        }
        if !says_truth || given.len() != descriptors {
            return Some(Came::Malformed("its length or the number of its descriptors is not what it says"));
        }
        let body = if in_memory == 1 {
            match given.pop().and_then(|file| from_memory(&file, length)) {
                Some(body) => body,
                None => return Some(Came::Malformed("its body lies in a file that can be changed")),
            }
        } else {
            bytes[HEADER..].to_vec()
        };
        Some(Came::Packet(Packet { kind, request, body, descriptors: given }))
    }

    /// How many descriptors are held for a packet that has not come whole; `None` when there is no such packet.
    #[must_use]
    pub fn unfinished(&self) -> Option<usize> {
        (self.pieces > 0).then_some(self.given.len())
    }

    /// Closes what is held for such a packet. What comes of it still is none.
    pub fn abandon(&mut self) {
        self.given.clear();
    }

    /// The socket.
    #[must_use]
    pub fn into_socket(self) -> OwnedFd {
        self.socket
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(came: Result<Came, Errno>) -> Packet {
        match came {
            Ok(Came::Packet(packet)) => packet,
            other => panic!("no packet: {other:?}"),
        }
    }

    #[test]
    fn short_and_long_bodies_and_many_descriptors_arrive() {
        let mut scratch = Scratch::default();
        for (length, descriptors) in
            [(0, 0), (10, 3), (INLINE, 253), (INLINE + 1, 0), (3 << 20, 253), (5, 254), (0, 1000)]
        {
            let (ours, theirs) = Connection::pair().unwrap();
            let mut theirs = Connection::new(theirs);
            let file = std::fs::File::open("/dev/null").unwrap();
            let body: Vec<u8> = (0..length).map(|index| index as u8).collect();
            ours.send(7, 99, &body, &vec![file.as_fd(); descriptors]).unwrap();
            let came = packet(theirs.receive(&mut scratch, false));
            assert_eq!((came.kind, came.request, came.descriptors.len()), (7, 99, descriptors));
            assert!(came.body == body);
            let owned = (0..descriptors).map(|_| file.try_clone().unwrap().into()).collect();
            let mut outgoing = Outgoing::new(7, 99, &body, owned).unwrap();
            assert!(outgoing.send(&ours).unwrap());
            assert!(packet(theirs.receive(&mut scratch, false)).body == body);
            drop(ours);
            assert!(matches!(theirs.receive(&mut scratch, true), Ok(Came::Closed)));
        }
    }

    #[test]
    fn what_is_no_packet_is_told() {
        let mut scratch = Scratch::default();
        let good = header(3, 1, 0, 0, false);
        let mut cases = vec![vec![1], good[..31].to_vec(), [&good[..], &[1]].concat(), vec![0xff; 64]];
        for at in [0, 4, 6, 16, 20, 24] {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            if at != 4 {
                cases.push(bad);
            }
        }
        for case in cases {
            let (ours, theirs) = Connection::pair().unwrap();
            let mut theirs = Connection::new(theirs);
            ours.send_one(&case, &[]).unwrap();
            let came = theirs.receive(&mut scratch, false);
            assert!(matches!(came, Ok(Came::Malformed(_))), "{case:?}: {came:?}");
        }
    }

    #[test]
    fn what_was_said_last_is_heard_from_one_who_did_not_read() {
        let mut scratch = Scratch::default();
        let (ours, theirs) = Connection::pair().unwrap();
        let mut theirs = Connection::new(theirs);
        theirs.send(1, 1, b"nobody reads this", &[]).unwrap();
        ours.send(100, 0, b"why", &[]).unwrap();
        drop(ours);
        assert_eq!(packet(theirs.receive(&mut scratch, true)).body, b"why");
        assert!(matches!(theirs.receive(&mut scratch, true), Ok(Came::Closed)));
    }

    #[test]
    fn pieces_without_an_end_are_none() {
        let mut scratch = Scratch::default();
        let (ours, theirs) = Connection::pair().unwrap();
        let mut theirs = Connection::new(theirs);
        for _ in 0..MOST_GIVEN / MOST_DESCRIPTORS + 2 {
            ours.send_one(&header(GIVE, 1, 0, 0, false), &[]).unwrap();
        }
        assert!(matches!(theirs.receive(&mut scratch, false), Ok(Came::Malformed(_))));
    }

    #[test]
    fn half_a_packet_of_one_who_is_gone_is_forgotten() {
        let mut scratch = Scratch::default();
        let (ours, theirs) = Connection::pair().unwrap();
        let mut theirs = Connection::new(theirs);
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(theirs.unfinished(), None);
        ours.send_one(&header(GIVE, 1, 0, 1, false), &[file.as_raw_fd()]).unwrap();
        assert!(matches!(theirs.receive(&mut scratch, false), Err(Errno::EAGAIN)));
        assert_eq!(theirs.unfinished(), Some(1));
        ours.send(120, 0, b"again", &[]).unwrap();
        ours.send(3, 1, b"whole", &[file.as_fd()]).unwrap();
        let came = packet(theirs.receive(&mut scratch, false));
        assert_eq!((came.kind, came.descriptors.len()), (120, 0));
        assert_eq!(theirs.unfinished(), None);
        let came = packet(theirs.receive(&mut scratch, false));
        assert_eq!((came.kind, came.descriptors.len()), (3, 1));
    }

    #[test]
    fn a_body_that_can_still_be_changed_is_none() {
        let mut scratch = Scratch::default();
        let (ours, theirs) = Connection::pair().unwrap();
        let mut theirs = Connection::new(theirs);
        let file = rustix::fs::memfd_create("open", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING).unwrap();
        rustix::fs::ftruncate(&file, (INLINE + 1) as u64).unwrap();
        ours.send_one(&header(3, 1, INLINE + 1, 1, true), &[file.as_raw_fd()]).unwrap();
        assert!(matches!(theirs.receive(&mut scratch, false), Ok(Came::Malformed(_))));
    }
}
