//! Which memory of a stopped program is to be saved, and how it is to be made again.
//!
//! Safety idea: a page is left out only where the very same can be had again: of a file with this digest, or of nothing. What a mapping is told
//! to be and is not known here is refused by name.

use std::ops::Range;
use std::os::unix::fs::FileExt;

use beget_image::frozen::{Mapping, Run, Source, advice};
use beget_sys::memory::PAGE;

use super::areas::{self, Area};
use super::save::Files;
use super::{memory, refused, shown, system};
use crate::tracee::Tracee;
use crate::{Error, Result};

/// How much is looked at at once, in bytes.
const STRETCH: u64 = 1 << 20;
/// Where contents are mapped from the image: up to so many pages between two runs are saved with them, for each run is a mapping.
const CLOSE: u64 = 16;

/// All that is to be saved of memory.
#[derive(Debug, Default)]
pub(super) struct Captured {
    pub(super) mappings: Vec<Mapping>,
    pub(super) runs: Vec<Run>,
}

/// Looks at all of a program's memory but what is left out.
pub(super) fn all(
    tracee: &Tracee,
    areas: &[Area],
    left_out: &[Range<u64>],
    files: &mut Files,
) -> Result<Captured> {
    let pagemap = std::fs::File::open(format!("/proc/{}/pagemap", tracee.number()));
    let pagemap = pagemap.map_err(|error| Error::io("image: pagemap", error))?;
    let mut captured = Captured::default();
    for area in areas.iter().filter(|area| !system::is_kernels(area) && !system::is_outside(area)) {
        for range in without(&area.range, left_out) {
            let mapping = mapping(area, range, files)?;
            let index = captured.mappings.len() as u32;
            contents(tracee, &pagemap, &mapping, index, files, &mut captured.runs)?;
            captured.mappings.push(mapping);
        }
    }
    Ok(captured)
}

/// What is left of a range.
fn without(range: &Range<u64>, left_out: &[Range<u64>]) -> Vec<Range<u64>> {
    let mut parts = vec![range.clone()];
    for hole in left_out {
        let cut = |part: Range<u64>| {
            let (before, after) = (
                part.start..part.end.min(hole.start).max(part.start),
                part.start.max(hole.end).min(part.end)..part.end,
            );
            [before, after].into_iter().filter(|part| part.start < part.end)
        };
        parts = parts.into_iter().flat_map(cut).collect();
    }
    parts
}

/// Kinds of memory that are not made again, and what they are.
const REFUSED: [(&[u8; 2], &str); 9] = [
    (b"io", "it is a device's"),
    (b"pf", "it is a device's"),
    (b"ht", "it is of huge pages set aside"),
    (b"dc", "it is not in a copy (MADV_DONTFORK)"),
    (b"lo", "it is locked (mlock)"),
    (b"um", "somebody pages it (userfaultfd)"),
    (b"uw", "somebody watches it (userfaultfd)"),
    (b"ui", "somebody watches it (userfaultfd)"),
    (b"sl", "it is sealed (mseal)"),
];

fn mapping(area: &Area, range: Range<u64>, files: &mut Files) -> Result<Mapping> {
    let at = range.start;
    let no = |words: &str| {
        let name = if area.name.is_empty() { String::new() } else { format!(" of {}", shown(&area.name)) };
        refused(&format!("memory at {at:#x}"), format!("{words}{name}"))
    };
    for (flag, words) in REFUSED {
        if area.has(flag) {
            return Err(no(words));
        }
    }
    if area.protection_key != 0 {
        return Err(no("it has a protection key"));
    }
    let plain = area.inode == 0
        && (area.name.is_empty()
            || area.is_named(b"[stack]")
            || area.is_named(b"[heap]")
            || area.name.starts_with(b"[anon:"));
    let source = if area.shared && (area.has(b"mw") || plain) {
        return Err(no("it is shared, and can be written"));
    } else if area.has(b"gd") {
        Source::Stack
    } else if area.is_named(b"[heap]") {
        Source::Image
    } else if plain {
        Source::Anonymous
    } else if area.inode == 0 {
        return Err(no("it is no memory that is known here"));
    } else {
        let (major, minor) = area.device;
        let device = rustix::fs::makedev(major, minor);
        match files.find(&area.name, device, area.inode)? {
            Some(file) => {
                Source::File { file, offset: area.offset + (at - area.range.start), shared: area.shared }
            }
            None if area.shared => return Err(no("it shows changes of a file that is not there any more")),
            // A file that is gone or has no name, like what a frozen template is made of: all of it is saved.
            None => Source::Image,
        }
    };
    let bit = |flag: &[u8; 2], bit| if area.has(flag) { bit } else { 0 };
    let advice = bit(b"hg", advice::HUGE)
        | bit(b"nh", advice::NOT_HUGE)
        | bit(b"dd", advice::NO_DUMP)
        | bit(b"wf", advice::WIPE)
        | bit(b"nr", advice::NO_RESERVE);
    Ok(Mapping { range, rights: area.rights, advice, source })
}

/// Finds the pages that must be saved, as runs.
fn contents(
    tracee: &Tracee,
    pagemap: &std::fs::File,
    mapping: &Mapping,
    index: u32,
    files: &Files,
    runs: &mut Vec<Run>,
) -> Result<()> {
    let close = if memory::is_mapped_from_image(mapping) { CLOSE * PAGE as u64 } else { 0 };
    let mut add = |page: Range<u64>| match runs.last_mut() {
        Some(last) if last.mapping == index && page.start <= last.range.end + close => {
            last.range.end = page.end
        }
        _ => runs.push(Run { range: page, mapping: index }),
    };
    if matches!(mapping.source, Source::File { shared: true, .. }) {
        return Ok(());
    }
    let mut buffer = Vec::new();
    for start in mapping.range.clone().step_by(STRETCH as usize) {
        let stretch = start..(start + STRETCH).min(mapping.range.end);
        let pages = areas::pages(pagemap, &stretch).map_err(|error| Error::io("image: pagemap", error))?;
        for (page, at) in pages.into_iter().zip(stretch.step_by(PAGE)) {
            let may_differ = match mapping.source {
                Source::File { .. } => page.is_there() && !page.is_of_a_file(),
                // Nothing stands behind the pages that are not there but a file that is not kept.
                Source::Image => true,
                Source::Anonymous | Source::Stack => page.is_there(),
            };
            if may_differ && differs(tracee, mapping, at, files, &mut buffer)? {
                add(at..at + PAGE as u64);
            }
        }
    }
    Ok(())
}

/// Whether a page is other than what is there without it.
fn differs(tracee: &Tracee, mapping: &Mapping, at: u64, files: &Files, buffer: &mut Vec<u8>) -> Result<bool> {
    buffer.resize(2 * PAGE, 0);
    let (page, meant) = buffer.split_at_mut(PAGE);
    tracee.read(at, page)?;
    meant.fill(0);
    if let Source::File { file, offset, .. } = mapping.source {
        let Some(file) = files.open(file) else { return Ok(true) };
        let mut done = 0;
        while let Some(rest) = meant.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let place = offset + (at - mapping.range.start) + done as u64;
            match file.read_at(rest, place).map_err(|error| Error::io("image: memory", error))? {
                0 => break,
                count => done += count,
            }
        }
    }
    Ok(page != meant)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_cut_from_where_it_lies() {
        let all = 0x10..0x20u64;
        for (holes, left) in [
            (&[][..], &[(0x10, 0x20)][..]),
            (&[(0x12, 0x14), (0x1e, 0x30)], &[(0x10, 0x12), (0x14, 0x1e)]),
            (&[(0x0, 0x11)], &[(0x11, 0x20)]),
            (&[(0x0, 0x40)], &[]),
            (&[(0x20, 0x40), (0x0, 0x10)], &[(0x10, 0x20)]),
        ] {
            let ranges =
                |pairs: &[(u64, u64)]| pairs.iter().map(|(start, end)| *start..*end).collect::<Vec<_>>();
            assert_eq!(without(&all, &ranges(holes)), ranges(left), "{holes:x?}");
        }
    }
}
