//! Learning: which pages a product writes to and reads while it runs, so that those of later products are there before they run.
//!
//! Safety idea: only addresses are learned, of memory that the template has too; having a page there changes nothing of what is in it.

use std::fs::File;
use std::time::{Duration, Instant};

use beget::{Construct, Part, Product, Register, Template};
use beget_sys::Errno;
use beget_sys::memory::how;
use beget_sys::trace::{self, Stop, option};

use super::PAGE;
use super::maps::{Mapping, mappings, read_pages};
use crate::tracee::failed;
use crate::{Error, Fault, Result};

/// Pages between two ranges for which one is made of both: an entry costs about as much as a page.
const GAP: u64 = 1;

/// Pages that are worth having there before a product runs: ranges, each its first address and bytes. To be given to
/// [`Part::populate`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prefault {
    /// What products write to. Each page there is memory that a product has for itself.
    pub writes: Vec<(u64, u64)>,
    /// What products read, of files. Worth it only for those that wait: it takes about as long as it saves.
    pub reads: Vec<(u64, u64)>,
}

impl Prefault {
    /// Bytes that each product has for itself then.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        self.writes.iter().map(|(_, length)| length).sum()
    }

    /// What both have: what does not depend on what one of the products was asked for.
    #[must_use]
    pub fn common(&self, other: &Prefault) -> Prefault {
        Prefault { writes: common(&self.writes, &other.writes), reads: common(&self.reads, &other.reads) }
    }
}

fn common(ours: &[(u64, u64)], theirs: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut both = Vec::new();
    for (first, length) in ours {
        for (other, bytes) in theirs {
            let (from, to) = ((*first).max(*other), (first + length).min(other + bytes));
            if from < to {
                both.push((from, to - from));
            }
        }
    }
    both
}

/// Starts a product and looks at its pages when it ends, or after `most`, when it is ended. It must be one that may be looked into; `before` are the
/// mappings of its template.
///
/// # Errors
/// Those of a start, and of tracing: `EPERM` for a product that may not be looked into.
pub fn learn(
    mut product: Product,
    template: &Template,
    before: &[Mapping],
    part: &Part<'_>,
    registers: &[(Register, u64)],
    most: Duration,
) -> Result<Prefault> {
    // What can fail does so before it is traced: nobody but its tracer hears of a traced one's end.
    product.apply(part)?;
    let number = product.id() as i32;
    trace::seize(number, option::EXIT | option::KILLED_WITH_TRACER)
        .map_err(|errno| failed("tracing a product", errno))?;
    let mut process = product.start_with(template, Part::new(), registers)?;
    let learned = watch(number, most).and_then(|()| compare(number, before));
    let _ = process.kill();
    // A traced process is gone when its tracer has been told so; one that stopped at its end stays there, killed or not.
    let _ = trace::go_on(number, 0);
    while let Ok(Some(Stop::Call | Stop::Event(_) | Stop::Signal(_))) = trace::next_stop(number, true) {
        let _ = trace::go_on(number, 0);
    }
    let _ = process.wait();
    learned
}

/// Lets it run until it is about to end, or for so long; it is stopped then.
fn watch(number: i32, most: Duration) -> Result<()> {
    let (until, mut interrupted) = (Instant::now() + most, false);
    loop {
        let stop = match trace::next_stop(number, interrupted) {
            Err(Errno::EINTR) => continue,
            stop => stop.map_err(|errno| failed("a product", errno))?,
        };
        let signal = match stop {
            Some(Stop::EXIT) => return Ok(()),
            Some(Stop::STOP) if interrupted => return Ok(()),
            Some(Stop::Exited(_) | Stop::Killed(_)) => {
                return Err(Error::new("template: learning", "the product was ended", Fault::Kernel));
            }
            Some(Stop::Signal(signal)) => signal,
            Some(_) => 0,
            None if Instant::now() < until => {
                std::thread::sleep(Duration::from_micros(200));
                continue;
            }
            None => {
                trace::interrupt(number).map_err(|errno| failed("stopping a product", errno))?;
                interrupted = true;
                continue;
            }
        };
        trace::go_on(number, signal).map_err(|errno| failed("a product", errno))?;
    }
}

/// What a stopped product has written and read of what is in `before`.
fn compare(number: i32, before: &[Mapping]) -> Result<Prefault> {
    let table = File::open(format!("/proc/{number}/pagemap"));
    let table = table.map_err(|error| Error::io("product: its pages", error))?;
    let mut learned = Prefault::default();
    // The kernel's own pages are as they are, or are no pages to it.
    for now in mappings(number)?.iter().filter(|now| !now.name.starts_with("[v")) {
        for then in before {
            let (first, end) = (now.first.max(then.first), now.end.min(then.end));
            // Elsewhere, or something else by now.
            if first >= end || (now.inode, &now.name, now.private) != (then.inode, &then.name, then.private) {
                continue;
            }
            // A stack is grown by whoever uses it.
            let fits = then.is_ordinary() || then.has(&["gd"]);
            let written = fits && then.private && then.rights & how::WRITE != 0;
            let read = then.rights & how::READ != 0 && !then.has(&["io", "pf", "mm", "dp"]);
            let pages = read_pages(&table, (first, end))?;
            for (index, page) in pages.iter().enumerate().filter(|(_, page)| page.is_present()) {
                let at = first + index as u64 * PAGE;
                if page.is_anonymous() && page.is_alone() && written {
                    add(&mut learned.writes, at);
                } else if page.is_file() && read {
                    add(&mut learned.reads, at);
                }
            }
        }
    }
    Ok(learned)
}

fn add(ranges: &mut Vec<(u64, u64)>, at: u64) {
    match ranges.last_mut() {
        Some((first, length)) if *first + *length <= at && at - (*first + *length) <= GAP * PAGE => {
            *length = at + PAGE - *first;
        }
        _ => ranges.push((at, PAGE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_merged_and_compared() {
        let mut ranges = Vec::new();
        for page in [1, 2, 4, 7, 8, 20] {
            add(&mut ranges, page * PAGE);
        }
        let pages = |ranges: &[(u64, u64)]| -> Vec<(u64, u64)> {
            ranges.iter().map(|(at, length)| (at / PAGE, length / PAGE)).collect()
        };
        assert_eq!(pages(&ranges), [(1, 4), (7, 2), (20, 1)]);
        let both = common(&ranges, &[(2 * PAGE, PAGE), (4 * PAGE, 4 * PAGE), (30 * PAGE, PAGE)]);
        assert_eq!(pages(&both), [(2, 1), (4, 1), (7, 1)]);
    }
}
