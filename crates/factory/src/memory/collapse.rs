//! Collapsing: memory of no file that fills huge pages is put into huge pages, of which a copy copies one entry for 512.
//!
//! Safety idea: the kernel does it, and it changes nothing that a program can see. What it will not do is left as it is.

use beget_sys::memory::how;
use beget_sys::{Errno, nr};

use super::maps::{Mapping, pages};
use super::{PAGE, Range, without};
use crate::Result;
use crate::tracee::Tracee;

/// Bytes of a huge page.
const HUGE: u64 = 2 << 20;
/// How many of its pages must be there: the others would take memory that nobody has written to.
const WORTH: usize = 256;

/// Collapses what it can; gives the first reason when the kernel refused some.
pub(super) fn collapse(tracee: &mut Tracee, before: &[Mapping], kept: &[Range]) -> Result<Option<String>> {
    let mut refused = None;
    for mapping in before {
        // Where the program wants none there shall be none.
        let fits = mapping.is_ordinary() && mapping.is_anonymous() && !mapping.has(&["nh"]);
        if !fits || mapping.rights & how::WRITE == 0 || mapping.anonymous - mapping.huge < HUGE / 2 {
            continue;
        }
        for (first, end) in without(mapping.range(), kept) {
            let (first, end) = (first.next_multiple_of(HUGE), end / HUGE * HUGE);
            if first >= end {
                continue;
            }
            let pages = pages(tracee.number(), first, end)?;
            let mut wanted: Vec<Range> = Vec::new();
            for (index, pages) in pages.chunks((HUGE / PAGE) as usize).enumerate() {
                if pages.iter().filter(|page| page.is_anonymous()).count() < WORTH {
                    continue;
                }
                let at = first + index as u64 * HUGE;
                match wanted.last_mut() {
                    Some((_, end)) if *end == at => *end += HUGE,
                    _ => wanted.push((at, at + HUGE)),
                }
            }
            for (first, end) in wanted {
                if let Err(errno) = ask(tracee, first, end)? {
                    refused.get_or_insert(format!("not all in huge pages: {errno}"));
                }
            }
        }
    }
    Ok(refused)
}

fn ask(tracee: &mut Tracee, first: u64, end: u64) -> Result<std::result::Result<u64, Errno>> {
    /// Linux 6.1.
    const COLLAPSE: u64 = 25;
    tracee.try_call(nr::MADVISE, [first, end - first, COLLAPSE, 0, 0, 0])
}
