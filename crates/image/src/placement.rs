//! Where the kernel would put things: the bias of a program and the start of its heap.
//!
//! Safety idea: the caller brings the random numbers, so the same ones give the same places; an address that guessing must not
//! find is never made from anything else.

use crate::elf::Kind;
use crate::image::{END, Image};
use crate::place::{PAGE, page_up};

/// Two thirds of user memory (`ELF_ET_DYN_BASE`).
const BASE: u64 = END / 3 * 2;
/// Random bits of a page number (`vm.mmap_rnd_bits`, as it is set by default).
const BITS: u32 = 28;
/// How far above a program its heap may begin, in bytes: since Linux 6.9; 32 MiB before.
const HEAP_SPREAD: u64 = 1 << 30;

/// A bias for a program: 0 where it is [`Kind::Fixed`], else from the two thirds of user memory on, by the lowest 28 bits of
/// `random` in pages, aligned as the image asks for.
///
/// A position-independent program without a loader gets its place here too. The kernel puts such a one among the mapped
/// libraries, because it may be a loader itself that is asked to load a program to this very place: do not use it for a loader.
#[must_use]
pub fn program_bias(image: &Image, random: u64) -> u64 {
    if image.kind() == Kind::Fixed {
        return 0;
    }
    let down = |address: u64| address & !(image.alignment() - 1);
    let place = down(BASE + (random & ((1 << BITS) - 1)) * PAGE);
    // An image that names high addresses of its own is moved by less, or stays where it is.
    place.saturating_sub(down(image.segments().first().map_or(0, |segment| segment.address)))
}

/// Where the heap begins (`brk`) for a program that ends at `end`: at the next page, or, with a random number, one page and up to
/// 1 GiB more above it, in whole pages.
#[must_use]
pub fn brk_start(end: u64, random: Option<u64>) -> u64 {
    let start = page_up(end);
    let spread = random.map_or(0, |random| PAGE + random % (HEAP_SPREAD / PAGE) * PAGE);
    start.saturating_add(spread).min(END)
}
