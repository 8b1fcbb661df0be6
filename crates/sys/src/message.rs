//! Bytes and descriptors over a Unix stream socket, and waiting for several descriptors at once.
//!
//! Safety idea: everything the kernel reads or writes is borrowed for the call or lies on this stack. Received descriptors are
//! numbers that the caller owns from then on; they are close-on-exec from the start.

use crate::{Errno, Result, arch, nr};

/// The most descriptors that one message carries (`SCM_MAX_FD`).
pub const MOST_DESCRIPTORS: usize = 253;

const SOL_SOCKET: i32 = 1;
const SCM_RIGHTS: i32 = 1;
const HEADER: usize = 16;
const MSG_TRUNCATED_CONTROL: i32 = 8;
const MSG_DONTWAIT: usize = 0x40;
const MSG_NOSIGNAL: usize = 0x4000;
const MSG_CLOSE_ON_EXEC: usize = 0x4000_0000;

#[repr(C)]
struct Message {
    name: usize,
    name_length: u32,
    _pad: u32,
    vector: *const Vector,
    vector_length: usize,
    control: usize,
    control_length: usize,
    flags: i32,
    _pad_end: u32,
}

#[repr(C)]
struct Vector {
    base: usize,
    length: usize,
}

/// `struct cmsghdr` and room for all the descriptors that one can carry.
#[repr(C)]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    descriptors: [i32; MOST_DESCRIPTORS],
    _pad: u32,
}

impl Control {
    fn new() -> Control {
        Control {
            length: 0,
            level: SOL_SOCKET,
            kind: SCM_RIGHTS,
            descriptors: [-1; MOST_DESCRIPTORS],
            _pad: 0,
        }
    }
}

/// What arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes; 0 when the other end is closed.
    pub bytes: usize,
    /// How many descriptors.
    pub descriptors: usize,
    /// Descriptors were sent that there was no number or no room for.
    pub truncated: bool,
}

/// Sends `bytes`, and `descriptors` with the first of them (`man 2 sendmsg`). Gives how many bytes were taken.
///
/// # Errors
/// `EPIPE` when the other end is gone, `EAGAIN` when there is no room and `wait` is false; `EINVAL` for too many descriptors;
/// `EBADF`, `ETOOMANYREFS`, `EINTR`.
pub fn send(socket: i32, bytes: &[u8], descriptors: &[i32], wait: bool) -> Result<usize> {
    let mut control = Control::new();
    let places = control.descriptors.get_mut(..descriptors.len()).ok_or(Errno::EINVAL)?;
    for (place, fd) in places.iter_mut().zip(descriptors) {
        *place = *fd;
    }
    control.length = HEADER + descriptors.len() * 4;
    let vector = Vector { base: bytes.as_ptr() as usize, length: bytes.len() };
    let (at, length) = match descriptors.len() {
        0 => (0, 0),
        _ => (&raw const control as usize, control.length),
    };
    let message = message(&vector, at, length);
    let flags = MSG_NOSIGNAL | if wait { 0 } else { MSG_DONTWAIT };
    // SAFETY: the kernel reads the message and what it points to: this stack, and a borrow of the caller's.
    unsafe { arch::call3(nr::SENDMSG, socket as usize, &raw const message as usize, flags) }
}

/// Ends a socket's connection, both ways, for everybody who holds it (`man 2 shutdown`).
#[cfg(not(beget_freestanding))]
pub fn shut_down(socket: i32) {
    const BOTH_WAYS: usize = 2;
    // SAFETY: numbers only. One that is not connected is as good as shut down.
    let _ = unsafe { arch::call2(nr::SHUTDOWN, socket as usize, BOTH_WAYS) };
}

/// Takes the next connection of a listening socket, close-on-exec, as a number that nobody owns yet (`man 2 accept4`); waits for one.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `EINTR`; `EAGAIN` where the listener is non-blocking and there is none.
pub fn accept(listener: i32) -> Result<i32> {
    const CLOSE_ON_EXEC: usize = 0o2_000_000;
    // SAFETY: nobody's address is asked for, so no memory is passed.
    unsafe { arch::call4(nr::ACCEPT4, listener as usize, 0, 0, CLOSE_ON_EXEC) }.map(|fd| fd as i32)
}

/// Receives bytes, and the descriptors that came with them (`man 2 recvmsg`); more than `descriptors` has room for are closed and
/// told as [`Received::truncated`].
///
/// # Errors
/// `EAGAIN` when there is nothing and `wait` is false; `ECONNRESET`, `EINTR`.
pub fn receive(socket: i32, bytes: &mut [u8], descriptors: &mut [i32], wait: bool) -> Result<Received> {
    let mut control = Control::new();
    let most = if descriptors.len() < MOST_DESCRIPTORS { descriptors.len() } else { MOST_DESCRIPTORS };
    let vector = Vector { base: bytes.as_mut_ptr() as usize, length: bytes.len() };
    let room = if most == 0 { 0 } else { HEADER + most * 4 };
    let mut message = message(&vector, &raw mut control as usize, room);
    let flags = MSG_CLOSE_ON_EXEC | if wait { 0 } else { MSG_DONTWAIT };
    // SAFETY: the kernel writes to the message, the control data and the bytes: this stack, and a borrow of the caller's.
    let count = unsafe { arch::call3(nr::RECVMSG, socket as usize, &raw mut message as usize, flags) }?;
    let rights =
        message.control_length >= HEADER && control.level == SOL_SOCKET && control.kind == SCM_RIGHTS;
    let came = if rights { control.length.saturating_sub(HEADER) / 4 } else { 0 };
    let mut taken = 0;
    for (place, fd) in descriptors.iter_mut().zip(control.descriptors).take(came) {
        *place = fd;
        taken += 1;
    }
    let truncated = message.flags & MSG_TRUNCATED_CONTROL != 0;
    Ok(Received { bytes: count, descriptors: taken, truncated })
}

/// The same without waiting; the descriptors are owned from the moment they arrive.
///
/// # Errors
/// As for [`receive`].
#[cfg(not(beget_freestanding))]
pub fn receive_owned(
    socket: std::os::fd::BorrowedFd<'_>,
    bytes: &mut [u8],
    owned: &mut impl Extend<std::os::fd::OwnedFd>,
) -> Result<Received> {
    use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
    let mut numbers = [-1; MOST_DESCRIPTORS];
    let came = receive(socket.as_raw_fd(), bytes, &mut numbers, false)?;
    // SAFETY: the kernel gave us these a moment ago, and nobody else knows them.
    owned.extend(numbers.iter().take(came.descriptors).map(|fd| unsafe { OwnedFd::from_raw_fd(*fd) }));
    Ok(came)
}

fn message(vector: &Vector, control: usize, control_length: usize) -> Message {
    Message {
        name: 0,
        name_length: 0,
        _pad: 0,
        vector: core::ptr::from_ref(vector),
        vector_length: 1,
        control,
        control_length,
        flags: 0,
        _pad_end: 0,
    }
}

/// A descriptor to wait for (`struct pollfd`).
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    /// Its number; a negative one is passed over.
    pub fd: i32,
    /// What to wait for.
    pub wanted: u16,
    /// What is there now.
    pub happened: u16,
}

/// There is something to read.
pub const READABLE: u16 = 1;
/// There is room to write.
pub const WRITABLE: u16 = 4;

/// Whether a short message could be written to `socket` now, or never any more: there is nothing to wait for.
#[must_use]
pub fn has_room(socket: i32) -> bool {
    let mut watched = Watched { fd: socket, wanted: WRITABLE, happened: 0 };
    let (at, now) = (&raw mut watched as usize, [0u64; 2]);
    // SAFETY: the kernel reads and writes one entry of eight bytes, and reads a time of sixteen, all on this stack; there is no mask.
    let ready = unsafe { arch::call5(nr::PPOLL, at, 1, now.as_ptr() as usize, 0, 0) };
    ready != Ok(0)
}

/// Waits, without an end, until something happened at one of the descriptors.
///
/// # Errors
/// `EINTR`.
pub fn wait_for(watched: &mut [Watched]) -> Result<usize> {
    let (at, count) = (watched.as_mut_ptr() as usize, watched.len());
    // SAFETY: the kernel reads and writes `count` entries of eight bytes, borrowed for the call; there is no time and no mask.
    unsafe { arch::call5(nr::PPOLL, at, count, 0, 0, 0) }
}
