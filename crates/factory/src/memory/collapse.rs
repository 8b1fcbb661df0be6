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
/// So many in a row that the kernel refused: it will refuse the others too.
const PATIENCE: usize = 8;

/// Collapses what it can; gives the first reason when the kernel refused some.
pub(super) fn collapse(tracee: &mut Tracee, before: &[Mapping], kept: &[Range]) -> Result<Option<String>> {
    let (mut refused, mut failed) = (None, 0);
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
            for (index, pages) in pages.chunks((HUGE / PAGE) as usize).enumerate() {
                if pages.iter().filter(|page| page.is_anonymous()).count() < WORTH {
                    continue;
                }
                match ask(tracee, first + index as u64 * HUGE)? {
                    Ok(_) => failed = 0,
                    Err(errno) => {
                        failed += 1;
                        refused.get_or_insert(format!("not all in huge pages: {errno}"));
                    }
                }
                if failed == PATIENCE {
                    return Ok(refused);
                }
            }
        }
    }
    Ok(refused)
}

/// Has the kernel collapse one huge page's worth.
fn ask(tracee: &mut Tracee, at: u64) -> Result<std::result::Result<u64, Errno>> {
    /// Linux 6.1.
    const COLLAPSE: u64 = 25;
    let mut answer = tracee.try_call(nr::MADVISE, [at, HUGE, COLLAPSE, 0, 0, 0])?;
    // The pages were in use for a moment, or memory had to be moved together first.
    for _ in 0..2 {
        if matches!(answer, Err(Errno::EAGAIN | Errno::ENOMEM | Errno::EBUSY)) {
            answer = tracee.try_call(nr::MADVISE, [at, HUGE, COLLAPSE, 0, 0, 0])?;
        }
    }
    Ok(answer)
}
