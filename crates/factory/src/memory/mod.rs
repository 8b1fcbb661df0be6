//! A template's memory, made so that copies of it cost little: what is large and does not change lies in one sealed file of memory or in
//! huge pages, and what copies write to is there before they run.
//!
//! Safety idea: what a program can see of its memory stays as it is: contents, rights, and what `brk`, `munmap`, `mremap` and `madvise` do
//! with it. So the stack is left alone, and so is all memory that was marked for something special; every page that was moved is compared
//! with what it was before the template serves. What cannot be done is said, and the template serves as it is.

mod collapse;
mod freeze;
mod learn;
mod maps;

pub use freeze::{Frozen, freeze};
pub use learn::{Prefault, learn};
pub use maps::{Mapping, Page, mappings, pages};

/// Addresses from the first to the one before the second.
type Range = (u64, u64);

/// Bytes of a page.
const PAGE: u64 = beget_sys::memory::PAGE as u64;

/// What is left of `range` when none of `kept` may be touched, in whole pages.
fn without(range: Range, kept: &[Range]) -> Vec<Range> {
    let mut left = vec![range];
    for (first, end) in kept {
        let (first, end) = (first / PAGE * PAGE, end.next_multiple_of(PAGE));
        let cut = |(from, to): Range| [(from, to.min(first)), (from.max(end), to)];
        left = left.into_iter().flat_map(cut).filter(|(from, to)| from < to).collect();
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_cut_out() {
        let kept = |first: u64, end: u64| without((0x1000, 0x9000), &[(first, end)]);
        assert_eq!(kept(0x3000, 0x4000), [(0x1000, 0x3000), (0x4000, 0x9000)]);
        assert_eq!(kept(0x3001, 0x3002), [(0x1000, 0x3000), (0x4000, 0x9000)]);
        assert_eq!(kept(0x0, 0x1000), [(0x1000, 0x9000)]);
        assert_eq!(kept(0x0, 0x1001), [(0x2000, 0x9000)]);
        assert_eq!(kept(0x8fff, 0x20000), [(0x1000, 0x8000)]);
        assert_eq!(kept(0x9000, 0x20000), [(0x1000, 0x9000)]);
        assert_eq!(kept(0x0, 0x20000), []);
        assert_eq!(without((0x1000, 0x4000), &[(0x1000, 0x2000), (0x3000, 0x4000)]), [(0x2000, 0x3000)]);
    }
}
