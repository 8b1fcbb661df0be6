//! Descriptors: duplicating, placing and closing them by number.
//!
//! Safety idea: these replace or close numbers that somebody may own, so most are `unsafe`; they are for a newborn, whose
//! table is its own.

use crate::{Result, arch, nr};

const F_DUPFD_CLOEXEC: usize = 1030;
const O_CLOEXEC: usize = 0o2_000_000;
const TIOCSPGRP: usize = 0x5410;
const TIOCSCTTY: usize = 0x540e;

/// Duplicates `fd` to the lowest free number not below `floor`, close-on-exec (`fcntl F_DUPFD_CLOEXEC`).
///
/// # Errors
/// `EBADF` when `fd` is not open; `EINVAL` when `floor` is beyond the limit of open files; `EMFILE` when none is free.
pub fn duplicate_above(fd: i32, floor: u32) -> Result<i32> {
    // SAFETY: takes a new number, touches no memory and replaces nothing.
    unsafe { arch::call3(nr::FCNTL, fd as usize, F_DUPFD_CLOEXEC, floor as usize) }.map(|fd| fd as i32)
}

/// Whether the caller may execute the file behind `fd`, which may be one opened with `O_PATH` (`faccessat2`, Linux 5.8).
///
/// # Errors
/// `EACCES` when it may not, or the file's mount forbids it; `ENOSYS`.
#[cfg(not(beget_freestanding))]
pub fn may_execute(fd: std::os::fd::BorrowedFd<'_>) -> Result<()> {
    use std::os::fd::AsRawFd;
    const X_OK: usize = 1;
    const AT_EACCESS: usize = 0x200;
    const AT_EMPTY_PATH: usize = 0x1000;
    let (fd, path) = (fd.as_raw_fd() as usize, c"".as_ptr() as usize);
    // SAFETY: the kernel reads a constant that ends in NUL.
    unsafe { arch::call4(nr::FACCESSAT2, fd, path, X_OK, AT_EACCESS | AT_EMPTY_PATH) }.map(drop)
}

/// Makes `to` refer to what `from` refers to (`dup3`).
///
/// # Errors
/// `EINVAL` when both are equal; `EBADF` when `from` is not open or `to` is beyond the limit of open files.
///
/// # Safety
/// What `to` referred to is closed: nobody else may own that number.
pub unsafe fn duplicate_onto(from: i32, to: i32, close_on_exec: bool) -> Result<()> {
    let flags = if close_on_exec { O_CLOEXEC } else { 0 };
    // SAFETY: the caller owns the number `to`.
    unsafe { arch::call3(nr::DUP3, from as usize, to as usize, flags) }.map(drop)
}

/// Closes every descriptor from `first` to `last` (`close_range`, Linux 5.9).
///
/// # Errors
/// `EINVAL` when `first` is above `last`; `ENOSYS` before Linux 5.9.
///
/// # Safety
/// Nobody else may own those numbers.
pub unsafe fn close_range(first: u32, last: u32) -> Result<()> {
    // SAFETY: the caller owns those numbers.
    unsafe { arch::call3(nr::CLOSE_RANGE, first as usize, last as usize, 0) }.map(drop)
}

/// Closes one descriptor.
///
/// # Errors
/// `EBADF` when it is not open.
///
/// # Safety
/// Nobody else may own that number.
pub unsafe fn close(fd: i32) -> Result<()> {
    // SAFETY: the caller owns the number.
    unsafe { arch::call1(nr::CLOSE, fd as usize) }.map(drop)
}

/// Puts process group `group` in the foreground of the terminal `fd` (`man 2 TIOCSPGRP`).
///
/// # Errors
/// `ENOTTY` when `fd` is not the caller's controlling terminal; `EPERM` when the group is of another session.
pub fn foreground(fd: i32, group: i32) -> Result<()> {
    let group = &raw const group;
    // SAFETY: the kernel reads four bytes at `group`, which lives on this stack.
    unsafe { arch::call3(nr::IOCTL, fd as usize, TIOCSPGRP, group as usize) }.map(drop)
}

/// Makes the terminal `fd` the controlling terminal of the calling session leader (`man 2 TIOCSCTTY`).
///
/// # Errors
/// `EPERM` when the caller leads no session, has a terminal already, or the terminal belongs to another session.
pub fn controlling_terminal(fd: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { arch::call3(nr::IOCTL, fd as usize, TIOCSCTTY, 0) }.map(drop)
}

/// `struct msghdr` with one byte of payload and room for one descriptor.
#[repr(C)]
struct Message {
    name: *const u8,
    name_length: u32,
    _pad: u32,
    vector: *const Vector,
    vector_length: usize,
    control: *const Control,
    control_length: usize,
    flags: i32,
}

#[repr(C)]
struct Vector {
    base: *const u8,
    length: usize,
}

#[repr(C)]
struct Control {
    length: usize,
    level: i32,
    kind: i32,
    fd: i32,
    _pad: u32,
}

/// Sends one byte and the descriptor `fd` over the Unix socket `socket` (`SCM_RIGHTS`, `man 7 unix`).
///
/// # Errors
/// Those of `sendmsg`: `EPIPE` when the other end is gone, `EBADF`, `ETOOMANYREFS`.
pub fn send(socket: i32, fd: i32) -> Result<()> {
    const SOL_SOCKET: i32 = 1;
    const SCM_RIGHTS: i32 = 1;
    const MSG_NOSIGNAL: usize = 0x4000;
    let byte = 0u8;
    let vector = Vector { base: &raw const byte, length: 1 };
    let control = Control { length: 20, level: SOL_SOCKET, kind: SCM_RIGHTS, fd, _pad: 0 };
    let message = Message {
        name: core::ptr::null(),
        name_length: 0,
        _pad: 0,
        vector: &raw const vector,
        vector_length: 1,
        control: &raw const control,
        control_length: size_of::<Control>(),
        flags: 0,
    };
    // SAFETY: the kernel reads the message and what it points to, all of it on this stack.
    unsafe { arch::call3(nr::SENDMSG, socket as usize, &raw const message as usize, MSG_NOSIGNAL) }.map(drop)
}

/// A descriptor of one's own for what `number` refers to, wherever that came from: how a program takes up a descriptor that its
/// creator left open for it.
///
/// # Errors
/// `EBADF` when the number is not open; `EMFILE`.
#[cfg(not(beget_freestanding))]
pub fn take_up(number: i32) -> Result<std::os::fd::OwnedFd> {
    use std::os::fd::FromRawFd;
    let fd = duplicate_above(number, 3)?;
    // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
    Ok(unsafe { std::os::fd::OwnedFd::from_raw_fd(fd) })
}
