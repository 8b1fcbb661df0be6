//! Seccomp filters: the program's layout, installing one, and answering its notifications (`man 2 seccomp`).

#[cfg(not(beget_freestanding))]
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Result, arch, nr};

/// One instruction of classic BPF.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Instruction {
    /// Operation.
    pub code: u16,
    /// How many instructions to skip when the comparison holds.
    pub jump_true: u8,
    /// How many to skip when it does not.
    pub jump_false: u8,
    /// Operand.
    pub k: u32,
}

/// The most instructions that the kernel takes (`BPF_MAXINSNS`).
pub const LONGEST: usize = 4096;

/// The operations used, named as in `linux/bpf_common.h`.
pub mod code {
    /// Load a word of the call's data.
    pub const LOAD: u16 = 0x20;
    /// And the accumulator with the operand.
    pub const AND: u16 = 0x54;
    /// Skip forward by the operand.
    pub const JUMP: u16 = 0x05;
    /// Compare for equality.
    pub const JUMP_EQUAL: u16 = 0x15;
    /// Compare for greater or equal.
    pub const JUMP_AT_LEAST: u16 = 0x35;
    /// Test for a common bit.
    pub const JUMP_BITS: u16 = 0x45;
    /// Give the verdict.
    pub const RETURN: u16 = 0x06;
    /// Not the kernel's, and gone before it sees the instruction: the operand is to be multiplied by the newborn's process number.
    pub const OWN_NUMBER: u16 = 0x8000;
}

/// What a filter can answer.
pub mod verdict {
    /// Make the call.
    pub const ALLOW: u32 = 0x7fff_0000;
    /// Refuse it with the errno in the low 16 bits.
    pub const ERRNO: u32 = 0x0005_0000;
    /// Ask the listener. The kernel ignores the low 16 bits.
    pub const NOTIFY: u32 = 0x7fc0_0000;
}

/// `AUDIT_ARCH_X86_64`.
pub const ARCHITECTURE: u32 = 0xc000_003e;

#[repr(C)]
struct Program {
    length: u16,
    instructions: *const Instruction,
}

const SET_MODE_FILTER: usize = 1;
const FLAG_NEW_LISTENER: usize = 1 << 3;

/// Puts a filter on the calling thread and all it will start, for ever.
///
/// # Errors
/// `EACCES` without no_new_privs; `EINVAL` when the program is malformed; `ENOMEM` when filters are nested too deep.
pub fn install(filter: &[Instruction]) -> Result<()> {
    set(filter, 0).map(drop)
}

/// The same, with a listener for the calls that the filter answers with [`verdict::NOTIFY`] (Linux 5.0).
///
/// # Errors
/// Those of [`install`], and `EBUSY` when a filter around this one already has a listener.
pub fn install_with_listener(filter: &[Instruction]) -> Result<i32> {
    set(filter, FLAG_NEW_LISTENER).map(|fd| fd as i32)
}

fn set(filter: &[Instruction], flags: usize) -> Result<usize> {
    let program = Program { length: filter.len() as u16, instructions: filter.as_ptr() };
    // SAFETY: the kernel reads the program and `length` instructions, which are borrowed for the call; a longer slice than 16
    // bits can say is only read in part, and the kernel checks what it reads.
    unsafe { arch::call3(nr::SECCOMP, SET_MODE_FILTER, flags, &raw const program as usize) }
}

/// A call that waits for the listener's answer (`struct seccomp_notif`).
#[cfg(not(beget_freestanding))]
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Notification {
    /// Names this wait; an answer must carry it.
    pub id: u64,
    /// The thread that made the call, as this process numbers it; 0 when it cannot be seen from here.
    pub thread: u32,
    /// Always zero.
    pub flags: u32,
    /// System call number.
    pub number: u32,
    /// `AUDIT_ARCH_*`.
    pub architecture: u32,
    /// Where it was made.
    pub instruction: u64,
    /// Its arguments. Where one is a pointer, what it points to can change at any time: never decide on that.
    pub arguments: [u64; 6],
}

#[cfg(not(beget_freestanding))]
const NOTIF_RECV: usize = 0xc050_2100;
#[cfg(not(beget_freestanding))]
const NOTIF_SEND: usize = 0xc018_2101;

/// Takes the next waiting call; waits for one unless `poll` said it is there.
///
/// # Errors
/// `ENOENT` when the caller was killed meanwhile; `EINTR`.
#[cfg(not(beget_freestanding))]
pub fn receive(listener: BorrowedFd<'_>) -> Result<Notification> {
    let mut notification = Notification::default();
    let fd = listener.as_raw_fd() as usize;
    // SAFETY: the kernel writes `size_of::<Notification>()` bytes (80, as in the request's number) at a live place.
    unsafe { arch::call3(nr::IOCTL, fd, NOTIF_RECV, &raw mut notification as usize) }?;
    Ok(notification)
}

/// Answers a waiting call with an errno; the call is not made.
///
/// # Errors
/// `ENOENT` when the caller is gone or was interrupted.
#[cfg(not(beget_freestanding))]
pub fn refuse(listener: BorrowedFd<'_>, id: u64, errno: crate::Errno) -> Result<()> {
    #[repr(C)]
    struct Response {
        id: u64,
        value: i64,
        error: i32,
        flags: u32,
    }
    let response = Response { id, value: 0, error: -errno.0, flags: 0 };
    let fd = listener.as_raw_fd() as usize;
    // SAFETY: the kernel reads a response that lives on this stack.
    unsafe { arch::call3(nr::IOCTL, fd, NOTIF_SEND, &raw const response as usize) }.map(drop)
}
