//! A heap for a command that lives shortly: the first of what it asks for comes from one piece of memory and is not given back.
//!
//! An allocator that gives pages back as soon as they are free makes two system calls and a page fault for many a short-lived list, and
//! a launcher makes many and then waits. What does not fit comes from the system's allocator, which a command that lives on uses from
//! then on; so nothing grows.
//!
//! Safety idea: the piece is given out from its beginning to its end, each byte once; only what was given out last is taken back, by
//! one atomic exchange that fails when it was not the last.

use core::alloc::{GlobalAlloc, Layout};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::alloc::System;

/// Pages that are never touched cost nothing.
const SIZE: usize = 256 << 10;

#[repr(align(4096))]
struct Piece(UnsafeCell<[u8; SIZE]>);

/// The heap; for `#[global_allocator]`.
#[allow(missing_debug_implementations, reason = "there is one, and nothing to see")]
pub struct Heap {
    piece: Piece,
    /// Bytes given out, from the beginning.
    used: AtomicUsize,
}

// SAFETY: the bytes are handed out by an atomic number, each to one owner.
unsafe impl Sync for Heap {}

impl Heap {
    /// One of which nothing was given out.
    #[must_use]
    #[expect(clippy::new_without_default, reason = "a static is all it is for")]
    pub const fn new() -> Heap {
        Heap { piece: Piece(UnsafeCell::new([0; SIZE])), used: AtomicUsize::new(0) }
    }

    /// Where in the piece an address lies, or a number of no less than [`SIZE`].
    fn place(&self, at: *mut u8) -> usize {
        (at as usize).wrapping_sub(self.piece.0.get() as usize)
    }

    /// Makes what was given out last, `from` its beginning, end elsewhere.
    fn end_elsewhere(&self, from: usize, size: usize, new: usize) -> bool {
        new <= SIZE - from && self.used.compare_exchange(from + size, from + new, Relaxed, Relaxed).is_ok()
    }
}

// SAFETY: what is given out is aligned, as large as was asked for, and nobody else's until it is given back: see the safety idea.
// Whatever is not in the piece is the system's, and goes back there.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut used = self.used.load(Relaxed);
        // The piece is aligned to pages, and so are places in it.
        while layout.align() <= 4096 {
            let from = used.next_multiple_of(layout.align());
            if from > SIZE || layout.size() > SIZE - from {
                break;
            }
            match self.used.compare_exchange_weak(used, from + layout.size(), Relaxed, Relaxed) {
                // SAFETY: within the piece.
                Ok(_) => return unsafe { self.piece.0.get().cast::<u8>().add(from) },
                Err(now) => used = now,
            }
        }
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        match self.place(at) {
            from @ 0..SIZE => {
                self.end_elsewhere(from, layout.size(), 0);
            }
            // SAFETY: the caller's promise; it is not ours, so it is the system's.
            _ => unsafe { System.dealloc(at, layout) },
        }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let from = self.place(at);
        if from >= SIZE {
            // SAFETY: the caller's promise; it is not ours, so it is the system's.
            return unsafe { System.realloc(at, layout, size) };
        }
        if self.end_elsewhere(from, layout.size(), size) {
            return at;
        }
        // SAFETY: the caller promises that such a layout is one.
        let new = unsafe { self.alloc(Layout::from_size_align_unchecked(size, layout.align())) };
        if !new.is_null() {
            // SAFETY: both are as long, and one of them was given out a moment ago.
            unsafe { core::ptr::copy_nonoverlapping(at, new, layout.size().min(size)) };
        }
        new
    }
}
