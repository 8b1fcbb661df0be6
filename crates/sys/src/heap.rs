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
use core::sync::atomic::AtomicUsize;
use core::sync::atomic::Ordering::{AcqRel, Acquire};
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

// SAFETY: the bytes are handed out by an atomic number, each to one owner; whoever gets what another gave back comes after it.
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
        new <= SIZE - from && self.used.compare_exchange(from + size, from + new, AcqRel, Acquire).is_ok()
    }
}

// SAFETY: what is given out is aligned, as large as was asked for, and nobody else's until it is given back: see the safety idea.
// Whatever is not in the piece is the system's, and goes back there.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let mut used = self.used.load(Acquire);
        // The piece is aligned to pages, and so are places in it.
        while layout.align() <= 4096 {
            let from = used.next_multiple_of(layout.align());
            if from > SIZE || layout.size() > SIZE - from {
                break;
            }
            match self.used.compare_exchange_weak(used, from + layout.size(), AcqRel, Acquire) {
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

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout")
    }

    /// Fills what it was given with a byte of its own, and looks at the end whether all are as they were filled.
    fn use_it(heap: &Heap, seed: u64) {
        let mut state = seed;
        let mut random = move |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) as usize % bound
        };
        let mut held: Vec<(*mut u8, Layout, u8)> = Vec::new();
        let is_whole = |at: *mut u8, size: usize, byte: u8| {
            // SAFETY: given out for as many bytes, and filled.
            unsafe { std::slice::from_raw_parts(at, size) }.iter().all(|one| *one == byte)
        };
        for round in 0..2000 {
            let byte = round as u8;
            // SAFETY: what is given back or changed was given out with that layout; what is filled is as long.
            unsafe {
                match random(4) {
                    0 | 1 => {
                        let layout = layout(1 + random(600), 1 << random(8));
                        let at = heap.alloc(layout);
                        assert!(!at.is_null() && (at as usize).is_multiple_of(layout.align()));
                        at.write_bytes(byte, layout.size());
                        held.push((at, layout, byte));
                    }
                    2 if !held.is_empty() => {
                        let (at, layout, byte) = held.swap_remove(random(held.len()));
                        assert!(is_whole(at, layout.size(), byte));
                        heap.dealloc(at, layout);
                    }
                    _ if !held.is_empty() => {
                        let index = random(held.len());
                        let (at, old, byte) = held[index];
                        let size = 1 + random(900);
                        let at = heap.realloc(at, old, size);
                        assert!(!at.is_null() && is_whole(at, size.min(old.size()), byte));
                        at.write_bytes(byte, size);
                        held[index] = (at, layout(size, old.align()), byte);
                    }
                    _ => {}
                }
            }
        }
        for (at, layout, byte) in held {
            assert!(is_whole(at, layout.size(), byte), "nobody else wrote there");
            // SAFETY: given out with that layout.
            unsafe { heap.dealloc(at, layout) };
        }
    }

    #[test]
    fn what_it_gives_is_whoever_asked_for_it_s_alone() {
        for seed in 0..20 {
            let heap = std::boxed::Box::new(Heap::new());
            use_it(&heap, seed);
        }
        let heap = Heap::new();
        std::thread::scope(|scope| {
            let heap = &heap;
            for seed in 0..4 {
                scope.spawn(move || use_it(heap, seed));
            }
        });
    }

    #[test]
    fn what_was_given_last_is_taken_back() {
        let heap = std::boxed::Box::new(Heap::new());
        // SAFETY: each is given back once, with its layout, and not used afterwards.
        unsafe {
            let first = heap.alloc(layout(100, 8));
            let second = heap.alloc(layout(100, 8));
            assert_eq!(
                heap.realloc(second, layout(100, 8), 300),
                second,
                "it is the last, and grows where it is"
            );
            heap.dealloc(second, layout(300, 8));
            assert_eq!(heap.alloc(layout(10, 8)), second);
            let large = heap.alloc(layout(SIZE, 8));
            assert!(heap.place(large) >= SIZE, "what does not fit is the system's");
            heap.dealloc(large, layout(SIZE, 8));
            heap.dealloc(first, layout(100, 8));
        }
    }
}
