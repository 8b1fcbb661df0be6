//! Memory: mappings of the calling process, copies that fail instead of faulting, and a child's stack with a guard below it.
//!
//! Safety idea: changing a mapping can take memory from under a reference, so those calls are `unsafe`; they are for a process
//! that knows all of its own memory, or for a [`Guarded`] region that one value owns.

use core::ptr::NonNull;

use crate::{Result, arch, nr};

/// The size of a page on this machine.
pub const PAGE: usize = 4096;

/// What may be done with a mapping, and how it is placed (`man 2 mmap`).
pub mod how {
    /// Nothing.
    pub const NONE: usize = 0;
    /// It may be read.
    pub const READ: usize = 1;
    /// It may be written.
    pub const WRITE: usize = 2;
    /// It may be executed.
    pub const EXECUTE: usize = 4;
    /// The change goes down to the lowest page of a stack, and to what it grows by (`PROT_GROWSDOWN`).
    pub const DOWN: usize = 0x0100_0000;
    /// Writes stay in this process.
    pub const PRIVATE: usize = 0x02;
    /// At this address, in place of what is there.
    pub const FIXED: usize = 0x10;
    /// Of no file, and zero.
    pub const ANONYMOUS: usize = 0x20;
    /// At this address, and only if nothing is there (Linux 4.17).
    pub const FIXED_NOREPLACE: usize = 0x10_0000;
}

/// Maps `length` bytes of `fd` from `offset` (`man 2 mmap`) and gives the address.
///
/// # Errors
/// `EEXIST` when something is there and must not be replaced; `EACCES`, `EINVAL`, `ENOMEM`, `ENODEV`, `EPERM`.
///
/// # Safety
/// What [`how::FIXED`] replaces must not be in use.
pub unsafe fn map(
    at: usize,
    length: usize,
    protection: usize,
    flags: usize,
    fd: i32,
    offset: usize,
) -> Result<usize> {
    // SAFETY: the caller answers for what is replaced.
    unsafe { arch::call6(nr::MMAP, at, length, protection, flags, fd as usize, offset) }
}

/// Removes every mapping in a range (`man 2 munmap`).
///
/// # Errors
/// `EINVAL` when it is not a range of whole pages.
///
/// # Safety
/// Nothing there may be in use.
pub unsafe fn unmap(at: usize, length: usize) -> Result<()> {
    // SAFETY: the caller answers for what goes away.
    unsafe { arch::call2(nr::MUNMAP, at, length) }.map(drop)
}

/// How memory is a file (`man 2 memfd_create`).
#[cfg(not(beget_freestanding))]
pub mod file {
    /// An exec closes it.
    pub const CLOSE_ON_EXEC: u32 = 1;
    /// It can be sealed.
    pub const SEALABLE: u32 = 2;
    /// It can never be executed (Linux 6.3).
    pub const NEVER_EXECUTABLE: u32 = 8;
    /// It can be executed (Linux 6.3; before that all of it can).
    pub const EXECUTABLE: u32 = 16;
}

/// Memory as a file (`man 2 memfd_create`); `flags` are of [`mod@file`].
///
/// # Errors
/// `EINVAL` for flags that the kernel does not know; `EACCES` where executable memory is forbidden; `EMFILE`, `ENOMEM`, `ENOSYS`.
#[cfg(not(beget_freestanding))]
pub fn file(name: &core::ffi::CStr, flags: u32) -> Result<std::os::fd::OwnedFd> {
    use std::os::fd::{FromRawFd, OwnedFd};
    // SAFETY: the kernel reads a string that ends in NUL.
    let fd = unsafe { arch::call2(nr::MEMFD_CREATE, name.as_ptr() as usize, flags as usize) }?;
    // SAFETY: the kernel gave us this descriptor a moment ago.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Changes what may be done with the pages of a range (`man 2 mprotect`).
///
/// # Errors
/// `ENOMEM` when a page is not mapped; `EACCES` when its file forbids it; `EINVAL`.
///
/// # Safety
/// Nobody may rely on rights that go away.
pub unsafe fn protect(at: usize, length: usize, protection: usize) -> Result<()> {
    // SAFETY: the caller answers for what is lost.
    unsafe { arch::call3(nr::MPROTECT, at, length, protection) }.map(drop)
}

/// Moves the mapping at `from` to `to`, in place of what is there (`man 2 mremap`).
///
/// # Errors
/// `EFAULT` when it is not one mapping; `EINVAL`, `ENOMEM`.
///
/// # Safety
/// Nobody may use what is at `from`, nor rely on what is replaced.
pub unsafe fn move_to(from: usize, length: usize, to: usize) -> Result<()> {
    const MAY_MOVE_FIXED: usize = 3;
    // SAFETY: the caller answers for what moves and what is replaced.
    unsafe { arch::call5(nr::MREMAP, from, length, length, MAY_MOVE_FIXED, to) }.map(drop)
}

/// What [`advise`] says of memory (`man 2 madvise`).
pub mod advice {
    /// Nothing special: fails with `ENOMEM` when there is a hole, and changes nothing.
    pub const NORMAL: usize = 0;
    /// Make every page there as if it was read (Linux 5.14).
    pub const POPULATE_READ: usize = 22;
    /// Make every page there as if it was written to (Linux 5.14).
    pub const POPULATE_WRITE: usize = 23;
}

/// Says something of a range of pages that does not change what is in them.
///
/// # Errors
/// `ENOMEM` when a page is not mapped; `EFAULT` or `EINVAL` when it cannot be written to; `EINVAL` for advice that is not known.
pub fn advise(at: usize, length: usize, advice: usize) -> Result<()> {
    if ![advice::NORMAL, advice::POPULATE_READ, advice::POPULATE_WRITE].contains(&advice) {
        return Err(crate::Errno::EINVAL);
    }
    // SAFETY: no such advice changes the contents of memory or takes any away.
    unsafe { arch::call3(nr::MADVISE, at, length, advice) }.map(drop)
}

#[repr(C)]
struct Piece {
    base: usize,
    length: usize,
}

/// Copies `bytes` to the address `at` of this process: an error where a plain copy would fault.
///
/// All of it, or nothing: a page that may not be written is found before one that may is. Before Linux 5.14 that goes by
/// `process_vm_writev`, and then a part may have been written.
///
/// # Errors
/// `EFAULT` when not all of it may be written; before Linux 5.14 `EPERM` or `ENOSYS` where a filter refuses the call.
///
/// # Safety
/// Nobody else may use that memory, or change what is mapped there meanwhile.
pub unsafe fn copy_to(at: usize, bytes: &[u8]) -> Result<()> {
    if is_there(at, bytes.len(), advice::POPULATE_WRITE)? {
        // SAFETY: every page is there and may be written, and the caller answers for what is there.
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) };
        return Ok(());
    }
    let local = Piece { base: bytes.as_ptr() as usize, length: bytes.len() };
    transfer(nr::PROCESS_VM_WRITEV, &local, at)
}

/// Copies from the address `at` of this process to `bytes`, likewise.
///
/// # Errors
/// As for [`copy_to`], for reading.
///
/// # Safety
/// Nobody may change what is mapped there meanwhile.
pub unsafe fn copy_from(at: usize, bytes: &mut [u8]) -> Result<()> {
    if is_there(at, bytes.len(), advice::POPULATE_READ)? {
        // SAFETY: every page is there and may be read, says the kernel, and the caller says that it stays so.
        unsafe { core::ptr::copy_nonoverlapping(at as *const u8, bytes.as_mut_ptr(), bytes.len()) };
        return Ok(());
    }
    let local = Piece { base: bytes.as_mut_ptr() as usize, length: bytes.len() };
    transfer(nr::PROCESS_VM_READV, &local, at)
}

/// Whether the kernel has the advice to populate memory: it is asked for the caller's own stack.
#[must_use]
pub fn can_populate() -> bool {
    let here = 0usize;
    advise(&raw const here as usize & !(PAGE - 1), 1, advice::POPULATE_READ).is_ok()
}

/// Makes every page of a range be there, for reading or writing; `false` where the kernel has no such advice.
fn is_there(at: usize, length: usize, advice: usize) -> Result<bool> {
    if length == 0 {
        return Ok(true);
    }
    // A stack grows when it is used, and only then.
    if !crate::signal::may_read(at & !7) {
        return Err(crate::Errno::EFAULT);
    }
    let page = at & !(PAGE - 1);
    let reach = at.checked_add(length).ok_or(crate::Errno::EFAULT)? - page;
    match advise(page, reach, advice) {
        Ok(()) => Ok(true),
        Err(crate::Errno::EINVAL) if !can_populate() => Ok(false),
        Err(_) => Err(crate::Errno::EFAULT),
    }
}

fn transfer(number: u32, local: &Piece, at: usize) -> Result<()> {
    if local.length == 0 {
        return Ok(());
    }
    let remote = Piece { base: at, length: local.length };
    let own = crate::process::process()?;
    let (local_at, remote_at) = (core::ptr::from_ref(local) as usize, &raw const remote as usize);
    // SAFETY: both pieces are on the stack; the local one is a borrow of the caller's, the remote one the caller answers for.
    let done = unsafe { arch::call6(number, own, local_at, 1, remote_at, 1, 0) }?;
    if done == local.length { Ok(()) } else { Err(crate::Errno::EFAULT) }
}

/// A private mapping whose lowest page cannot be touched: an overflow of a stack in it faults instead of corrupting.
#[derive(Debug)]
pub struct Guarded {
    base: NonNull<u8>,
    length: usize,
}

impl Guarded {
    /// Maps `length` usable bytes (rounded up to whole pages) above one guard page.
    ///
    /// # Errors
    /// `ENOMEM` when there is no room.
    pub fn map(length: usize) -> Result<Guarded> {
        let Some(length) = length.checked_add(2 * PAGE - 1) else { return Err(crate::Errno::ENOMEM) };
        let length = length & !(PAGE - 1);
        // SAFETY: a new mapping, wherever the kernel likes, overlaps nothing.
        let base = unsafe { map(0, length, how::READ | how::WRITE, how::PRIVATE | how::ANONYMOUS, -1, 0) }?;
        let Some(base) = NonNull::new(base as *mut u8) else { return Err(crate::Errno::ENOMEM) };
        let guarded = Guarded { base, length };
        // SAFETY: the page is ours and nothing refers to it yet.
        unsafe { protect(guarded.base.as_ptr() as usize, PAGE, how::NONE) }?;
        Ok(guarded)
    }

    /// The usable bytes, above the guard.
    pub fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: these pages are mapped for reading and writing, initialised by the kernel, and owned by `self`.
        unsafe { core::slice::from_raw_parts_mut(self.base.as_ptr().add(PAGE), self.length - PAGE) }
    }

    /// Gives up ownership: the address and full length, for [`Guarded::from_raw`].
    #[must_use]
    pub fn into_raw(self) -> (usize, usize) {
        let raw = (self.base.as_ptr() as usize, self.length);
        core::mem::forget(self);
        raw
    }

    /// Takes ownership back.
    ///
    /// # Safety
    /// The pair must come from [`Guarded::into_raw`] and be used once.
    #[must_use]
    pub unsafe fn from_raw(base: usize, length: usize) -> Option<Guarded> {
        Some(Guarded { base: NonNull::new(base as *mut u8)?, length })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nothing borrows it any more.
        let _ = unsafe { unmap(self.base.as_ptr() as usize, self.length) };
    }
}

// SAFETY: the memory is owned by this value alone and tied to no thread.
unsafe impl Send for Guarded {}
