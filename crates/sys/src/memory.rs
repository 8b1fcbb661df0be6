//! Anonymous memory for a child's stack, with a guard below it.

use core::ptr::NonNull;

use crate::{Result, arch, nr};

const PAGE: usize = 4096;

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
        const READ_WRITE: usize = 3;
        const PRIVATE_ANONYMOUS: usize = 0x22;
        let length = length.next_multiple_of(PAGE) + PAGE;
        // SAFETY: a new mapping, wherever the kernel likes, overlaps nothing.
        let base = unsafe { arch::call6(nr::MMAP, 0, length, READ_WRITE, PRIVATE_ANONYMOUS, usize::MAX, 0) }?;
        let Some(base) = NonNull::new(base as *mut u8) else { return Err(crate::Errno::ENOMEM) };
        let guarded = Guarded { base, length };
        // SAFETY: the page is ours and nothing refers to it yet.
        unsafe { arch::call3(nr::MPROTECT, guarded.base.as_ptr() as usize, PAGE, 0) }?;
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
        let _ = unsafe { arch::call2(nr::MUNMAP, self.base.as_ptr() as usize, self.length) };
    }
}

// SAFETY: the memory is owned by this value alone and tied to no thread.
unsafe impl Send for Guarded {}
