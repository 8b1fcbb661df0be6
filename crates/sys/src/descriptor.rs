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

/// Has the calling process stopped (SIGSTOP) by its next exec, before the first instruction of the program.
///
/// The exec closes close-on-exec descriptors when nothing of the old program is left to run. Here that closes one end of a socket
/// pair whose other end is to signal the process when its peer goes (`man 2 fcntl`, `F_SETOWN`, `F_SETSIG`, `O_ASYNC`). The ends are
/// closed in the kernel's order, which is not promised, and the end that is closed first must not be the one that signals: of two
/// pairs, armed at opposite ends, one is right.
///
/// # Errors
/// `EMFILE` when there are no numbers for two pairs of sockets; what a filter answers.
pub fn stop_at_exec() -> Result<()> {
    const SIGSTOP: usize = 19;
    const F_GETFL: usize = 3;
    const F_SETFL: usize = 4;
    const F_SETOWN: usize = 8;
    const F_SETSIG: usize = 10;
    const O_ASYNC: usize = 0o20_000;
    let own = crate::process::process()?;
    for armed in 0..2 {
        let pair = socket_pair()?;
        let [fd, _] = if armed == 0 { pair } else { [pair[1], pair[0]] };
        let set = |command: usize, value: usize| {
            // SAFETY: numbers only.
            unsafe { arch::call3(nr::FCNTL, fd as usize, command, value) }
        };
        set(F_SETOWN, own)?;
        set(F_SETSIG, SIGSTOP)?;
        let flags = set(F_GETFL, 0)?;
        set(F_SETFL, flags | O_ASYNC)?;
    }
    Ok(())
}

/// Has an exec close `fd` (`fcntl F_SETFD`).
///
/// # Errors
/// `EBADF` when it is not open.
pub fn close_on_exec(fd: i32) -> Result<()> {
    const F_SETFD: usize = 2;
    const FD_CLOEXEC: usize = 1;
    // SAFETY: numbers only; what the descriptor refers to stays the same.
    unsafe { arch::call3(nr::FCNTL, fd as usize, F_SETFD, FD_CLOEXEC) }.map(drop)
}

/// Adds seals to memory that is a file (`man 2 fcntl`, `F_ADD_SEALS`).
///
/// # Errors
/// `EINVAL` for a seal that the kernel does not know, or a file that cannot be sealed; `EPERM`, `EBUSY`.
#[cfg(not(beget_freestanding))]
pub fn add_seals(fd: std::os::fd::BorrowedFd<'_>, seals: u32) -> Result<()> {
    use std::os::fd::AsRawFd;
    const F_ADD_SEALS: usize = 1033;
    // SAFETY: numbers only; nothing that is mapped for writing is taken away, says the kernel.
    unsafe { arch::call3(nr::FCNTL, fd.as_raw_fd() as usize, F_ADD_SEALS, seals as usize) }.map(drop)
}

/// Two Unix stream sockets, connected, close-on-exec, as numbers that nobody owns yet.
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
pub fn socket_pair() -> Result<[i32; 2]> {
    const AF_UNIX: usize = 1;
    const STREAM_CLOSE_ON_EXEC: usize = 1 | O_CLOEXEC;
    let mut pair = [-1; 2];
    // SAFETY: the kernel writes two numbers on this stack.
    unsafe { arch::call4(nr::SOCKETPAIR, AF_UNIX, STREAM_CLOSE_ON_EXEC, 0, pair.as_mut_ptr() as usize) }?;
    Ok(pair)
}

/// The same, owned.
///
/// # Errors
/// As for [`socket_pair`].
#[cfg(not(beget_freestanding))]
pub fn owned_pair() -> Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd)> {
    use std::os::fd::{FromRawFd, OwnedFd};
    let pair = socket_pair()?;
    // SAFETY: the kernel just gave us these, and nobody else knows them.
    let [one, other] = pair.map(|fd| unsafe { OwnedFd::from_raw_fd(fd) });
    Ok((one, other))
}

/// Whether a number is open.
#[cfg(not(beget_freestanding))]
#[must_use]
pub fn is_open(fd: i32) -> bool {
    const F_GETFD: usize = 1;
    // SAFETY: numbers only, and nothing is changed.
    unsafe { arch::call2(nr::FCNTL, fd as usize, F_GETFD) }.is_ok()
}

/// Opens a file only to mean it (`O_PATH`), close-on-exec: it can be neither read nor written through that.
///
/// # Errors
/// Those of `open`.
#[cfg(not(beget_freestanding))]
pub fn open_to_mean(path: &core::ffi::CStr) -> Result<std::os::fd::OwnedFd> {
    use std::os::fd::{FromRawFd, OwnedFd};
    const AT_FDCWD: usize = -100isize as usize;
    const O_PATH: usize = 0o10_000_000;
    // SAFETY: the kernel reads a string that ends in NUL.
    let fd = unsafe { arch::call4(nr::OPENAT, AT_FDCWD, path.as_ptr() as usize, O_PATH | O_CLOEXEC, 0) }?;
    // SAFETY: the kernel just gave us this descriptor, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Opens a file to read, close-on-exec.
///
/// # Errors
/// Those of `open`.
pub fn open_to_read(path: &core::ffi::CStr) -> Result<i32> {
    const AT_FDCWD: usize = -100isize as usize;
    // SAFETY: the kernel reads a string that ends in NUL.
    unsafe { arch::call4(nr::OPENAT, AT_FDCWD, path.as_ptr() as usize, O_CLOEXEC, 0) }.map(|fd| fd as i32)
}

/// Reads into `bytes`; 0 at the end.
///
/// # Errors
/// Those of `read`.
pub fn read(fd: i32, bytes: &mut [u8]) -> Result<usize> {
    // SAFETY: the kernel writes into a borrow of the caller's.
    unsafe { arch::call3(nr::READ, fd as usize, bytes.as_mut_ptr() as usize, bytes.len()) }
}

/// Writes `bytes`, as far as the file takes them.
///
/// # Errors
/// Those of `write`.
pub fn write(fd: i32, bytes: &[u8]) -> Result<usize> {
    // SAFETY: the kernel reads from a borrow of the caller's.
    unsafe { arch::call3(nr::WRITE, fd as usize, bytes.as_ptr() as usize, bytes.len()) }
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
