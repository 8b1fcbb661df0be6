//! The contents of an image: read from a program page by page, and put into another.
//!
//! Safety idea: only memory that the program has by itself in its place is mapped from the image: data of its files and its heap. Memory of no
//! file is written: a program may give parts of it up and rely on zeroes there.

use std::fs::File;
use std::os::unix::fs::FileExt;

use beget_image::frozen::{Frozen, Mapping, PAGE, Run, Source, advice};
use beget_sys::memory::how;
use beget_sys::nr;

use super::refused;
use crate::tracee::Tracee;
use crate::{Error, Result};

const EXECUTE: u32 = 4;
const WRITE: u32 = 2;

/// Whether the contents of a mapping are mapped as they lie in the file. Code is not: the filesystem that the image lies on may forbid that,
/// and there is little of it.
pub(super) fn is_mapped_from_image(mapping: &Mapping) -> bool {
    matches!(mapping.source, Source::Image | Source::File { .. }) && mapping.rights & EXECUTE == 0
}

/// The contents of a stopped program, in their order.
pub(super) struct Pages<'p> {
    tracee: &'p Tracee,
    runs: std::slice::Iter<'p, Run>,
    current: std::ops::Range<u64>,
    buffer: Vec<u8>,
}

impl<'p> Pages<'p> {
    pub(super) fn new(tracee: &'p Tracee, frozen: &'p Frozen) -> Pages<'p> {
        Pages { tracee, runs: frozen.runs.iter(), current: 0..0, buffer: Vec::new() }
    }

    /// The next so many bytes, of which there must be as many.
    pub(super) fn next(&mut self, length: usize) -> Result<&[u8]> {
        self.buffer.resize(length, 0);
        let mut done = 0;
        while done < length {
            if self.current.is_empty() {
                let Some(run) = self.runs.next() else { return Err(refused("contents", "there are fewer")) };
                self.current = run.range.clone();
            }
            let count = (self.current.end - self.current.start).min((length - done) as u64);
            let place = self.buffer.get_mut(done..done + count as usize).unwrap_or_default();
            self.tracee.read(self.current.start, place)?;
            self.current.start += count;
            done += count as usize;
        }
        Ok(&self.buffer)
    }
}

/// Where a mapping's parts come from.
pub(super) struct From<'f> {
    /// The image in the program, as a descriptor.
    pub(super) image: u64,
    /// The same out here.
    pub(super) file: &'f File,
    /// Where its contents begin.
    pub(super) contents: u64,
    /// The mapping's own file in the program, when it has one.
    pub(super) own: Option<u64>,
    /// Whether what files' data were changed to is mapped from the image too, or written into mappings that stay the files' own.
    pub(super) data: bool,
    /// How far down a stack is made, that it may grow to.
    pub(super) lowest: u64,
}

/// Makes a mapping in a program, with its contents: the runs of it, and where in the contents each begins.
pub(super) fn make(
    tracee: &mut Tracee,
    mapping: &Mapping,
    runs: &[(&Run, u64)],
    from: &From<'_>,
) -> Result<()> {
    const GROWS_DOWN: u64 = 0x100;
    const NO_RESERVE: u64 = 0x4000;
    const SHARED: u64 = 1;
    let (at, end) = (mapping.range.start, mapping.range.end);
    let step = format!("memory at {at:#x}");
    let of_file = matches!(mapping.source, Source::File { .. });
    let lazy = is_mapped_from_image(mapping) && (from.data || !of_file);
    // Contents of memory of no file are read into it by the program itself; those of a file's are written from outside.
    let filled = !runs.is_empty() && !lazy && !of_file;
    let rights = if filled { u64::from(WRITE | 1) } else { mapping.rights.into() };
    let mut flags = how::FIXED_NOREPLACE as u64;
    let (mut start, mut source, mut place) = (at, u64::MAX, 0);
    match mapping.source {
        Source::File { offset, shared, .. } => {
            flags |= if shared { SHARED } else { how::PRIVATE as u64 };
            source = from.own.ok_or_else(|| refused(&step, "its file is not open"))?;
            place = offset;
        }
        Source::Anonymous | Source::Image => flags |= (how::PRIVATE | how::ANONYMOUS) as u64,
        Source::Stack => {
            // Other mappings of the new process could come to lie where it grows to; so it has that from the beginning.
            flags |= (how::PRIVATE | how::ANONYMOUS) as u64 | GROWS_DOWN;
            start = from.lowest.min(at);
        }
    }
    if mapping.advice & advice::NO_RESERVE != 0 {
        flags |= NO_RESERVE;
    }
    let made = tracee.call(&step, nr::MMAP, [start, end - start, rights, flags, source, place])?;
    if made != start {
        // A kernel older than 4.17 takes the address for a wish.
        return Err(refused(&step, "the kernel has something else there"));
    }
    for (run, at) in runs {
        let (place, length) = (from.contents + at, run.range.end - run.range.start);
        if lazy {
            let flags = (how::PRIVATE | how::FIXED) as u64;
            tracee.call(
                &step,
                nr::MMAP,
                [run.range.start, length, mapping.rights.into(), flags, from.image, place],
            )?;
        } else if filled {
            read_into(tracee, &step, run, place, from.image)?;
        } else {
            write_into(tracee, run, place, from.file)?;
        }
    }
    if rights != u64::from(mapping.rights) {
        tracee.call(&step, nr::MPROTECT, [start, end - start, mapping.rights.into(), 0, 0, 0])?;
    }
    for (bit, wish) in [(advice::HUGE, 14), (advice::NOT_HUGE, 15), (advice::NO_DUMP, 16), (advice::WIPE, 18)]
    {
        if mapping.advice & bit != 0 {
            let answer = tracee.try_call(nr::MADVISE, [start, end - start, wish, 0, 0, 0])?;
            // Without huge pages in the kernel nothing is lost; what is to be zero in a copy must be.
            if let Err(errno) = answer
                && bit == advice::WIPE
            {
                return Err(super::failed(&step, errno));
            }
        }
    }
    Ok(())
}

/// Has the program read a run from the image.
fn read_into(tracee: &mut Tracee, step: &str, run: &Run, place: u64, image: u64) -> Result<()> {
    let (mut at, mut place) = (run.range.start, place);
    while at < run.range.end {
        match tracee.call(step, nr::PREAD64, [image, at, run.range.end - at, place, 0, 0])? {
            0 => return Err(refused("file", "it was cut off")),
            count => (at, place) = (at + count, place + count),
        }
    }
    Ok(())
}

/// Writes a run into it, even where it could not itself.
fn write_into(tracee: &Tracee, run: &Run, place: u64, file: &File) -> Result<()> {
    let mut page = vec![0; PAGE as usize];
    for (at, place) in run.range.clone().step_by(page.len()).zip((place..).step_by(page.len())) {
        file.read_exact_at(&mut page, place).map_err(|error| Error::io("image: file", error))?;
        tracee.write(at, &page)?;
    }
    Ok(())
}
