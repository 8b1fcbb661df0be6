//! Freezing: what a template has written of its files' memory, and its heap, becomes one sealed file of memory, mapped privately where the
//! same bytes were. A copy then need not copy what the kernel keeps of each of those pages, nor give it up at its end.
//!
//! Memory of no file is not frozen but [collapsed](super::collapse): a program may have the kernel give it zeroes there again
//! (`MADV_DONTNEED`), which memory of a file would not. A heap goes by `brk`, which takes memory away and gives new.
//!
//! Safety idea: a piece is copied, mapped and then compared with what was there, and what differs ends the template. The file can never be
//! changed again when the first copy is made, and the template holds no descriptor of it, and was given one that cannot write.

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::FileExt;

use beget_sys::memory::{self, file, how};
use beget_sys::{Errno, message, nr, trace};
use rustix::fs::{SealFlags, fcntl_add_seals};
use rustix::process::{Resource, getrlimit};

use super::maps::{Mapping, mappings, read_pages};
use super::{PAGE, Range, collapse, without};
use crate::tracee::{Planted, Tracee};
use crate::{Error, Fault, Result};

/// Bytes that are copied, mapped and compared at a time: as little memory more than the template's own is needed meanwhile.
const PIECE: u64 = 4 << 20;
/// Fewer bytes that were written than this are not worth a mapping of their own: a copy has to copy that too.
const WORTH: u64 = 256 << 10;
/// Pages of a file between two that were written, for which no new mapping is begun.
const GAP: u64 = 32;

/// What was done to a template's memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// Bytes of it that lie in a sealed file of memory.
    pub bytes: u64,
    /// In so many ranges.
    pub ranges: usize,
    /// Bytes of it in huge pages.
    pub huge: u64,
    /// Bytes that are copied page by page, as before.
    pub rest: u64,
    /// What could not be done, and why: each one sentence. The template serves all the same.
    pub left: Vec<String>,
}

/// Freezes and collapses the memory of a stopped program that is to be a template. `channel` is the creator's end of its channel
/// ([`beget::Template`] is one), over which nothing was said yet.
///
/// # Errors
/// Memory that is not what it was before, and the errors of tracing. The program cannot be used then.
pub fn freeze(tracee: &mut Tracee, channel: BorrowedFd<'_>, planted: Option<&Planted>) -> Result<Frozen> {
    let mut frozen = Frozen::default();
    let mut kept = kernel_writes_to(tracee);
    kept.extend(planted.iter().flat_map(|planted| {
        [planted.home, planted.lasting].map(|(first, bytes)| (first, first.saturating_add(bytes)))
    }));
    let number = tracee.number();
    let before = match mappings(number) {
        Ok(before) => before,
        Err(error) => {
            frozen.left.push(error.to_string());
            return Ok(frozen);
        }
    };
    let ranges = worthwhile(number, &before, &kept)?;
    if !ranges.is_empty() {
        match Image::new(tracee, channel, &ranges)? {
            Err(why) => frozen.left.push(format!("not frozen: {why}")),
            Ok(mut image) => {
                let done = image.take_all(tracee, &ranges)?;
                image.close(tracee)?;
                (frozen.bytes, frozen.ranges) = (image.length, image.ranges);
                frozen.left.extend(done.err().map(|why| format!("not all frozen: {why}")));
            }
        }
    }
    frozen.left.extend(collapse::collapse(tracee, &before, &kept)?);
    for mapping in mappings(number)? {
        frozen.huge += mapping.huge;
        frozen.rest += mapping.anonymous - mapping.huge;
    }
    Ok(frozen)
}

/// Where the kernel itself writes when the program goes on: it must find its own there.
fn kernel_writes_to(tracee: &Tracee) -> Vec<Range> {
    match trace::processor_note(tracee.number()) {
        Ok((_, 0, _)) => Vec::new(),
        Ok((at, bytes, _)) => vec![(at, at.saturating_add(bytes.into()))],
        // Before Linux 5.13 nobody tells; C libraries have it beside what they keep of the thread.
        Err(_) => {
            let base = tracee.registers.fs_base;
            vec![(base.saturating_sub(2 * PAGE), base.saturating_add(2 * PAGE))]
        }
    }
}

/// A range that is to be frozen, of one mapping.
#[derive(Debug)]
struct Wanted {
    range: Range,
    rights: usize,
    /// The kernel was told not to put memory by for it.
    unreserved: bool,
    /// It is kept out of core dumps.
    undumped: bool,
}

fn worthwhile(number: i32, before: &[Mapping], kept: &[Range]) -> Result<Vec<Wanted>> {
    let table = File::open(format!("/proc/{number}/pagemap"));
    let table = table.map_err(|error| Error::io("template: its pages", error))?;
    let mut wanted = Vec::new();
    for mapping in before {
        let heap = mapping.name == "[heap]";
        // Code is shared with whoever else runs it, but for what was patched.
        let executable = mapping.rights & how::EXECUTE != 0;
        let fits = mapping.is_ordinary() && !executable && (heap || !mapping.is_anonymous());
        if !fits || mapping.anonymous < WORTH {
            continue;
        }
        for part in without(mapping.range(), kept) {
            let pages = read_pages(&table, part)?;
            let mut runs: Vec<Range> = Vec::new();
            for (index, _) in pages.iter().enumerate().filter(|(_, page)| page.is_anonymous()) {
                let at = index as u64;
                match runs.last_mut() {
                    Some((_, end)) if at - *end <= GAP => *end = at + 1,
                    _ => runs.push((at, at + 1)),
                }
            }
            for (first, end) in runs {
                let run = pages.get(first as usize..end as usize).unwrap_or_default();
                let written = run.iter().filter(|page| page.is_anonymous()).count() as u64;
                if written * PAGE < WORTH || run.iter().any(|page| page.is_guard()) {
                    continue;
                }
                wanted.push(Wanted {
                    range: (part.0 + first * PAGE, part.0 + end * PAGE),
                    rights: mapping.rights,
                    unreserved: mapping.has(&["nr"]),
                    undumped: mapping.has(&["dd"]),
                });
            }
        }
    }
    Ok(wanted)
}

/// The file of memory, and what of the template lies in it so far.
#[derive(Debug)]
struct Image {
    file: File,
    /// Its number in the template.
    number: u64,
    length: u64,
    ranges: usize,
}

impl Image {
    /// One that the template holds too. Where that cannot be it says why, and nothing was changed.
    fn new(
        tracee: &mut Tracee,
        channel: BorrowedFd<'_>,
        ranges: &[Wanted],
    ) -> Result<std::result::Result<Image, String>> {
        let length = ranges.iter().map(|wanted| wanted.range.1 - wanted.range.0).sum();
        // A file longer than that would end the creator by a signal.
        if getrlimit(Resource::Fsize).current.is_some_and(|most| most < length) {
            return Ok(Err("the limit on the size of files is lower".to_owned()));
        }
        let (file, theirs) = match make(length) {
            Ok(made) => made,
            Err(error) => return Ok(Err(format!("a file of memory: {error}"))),
        };
        Ok(match hand_over(tracee, channel, theirs.as_fd())? {
            Ok(number) => Ok(Image { file, number, length: 0, ranges: 0 }),
            Err(why) => Err(why),
        })
    }

    /// Freezes range by range. The first that cannot be mapped ends it, with the reason; it is as it was.
    fn take_all(
        &mut self,
        tracee: &mut Tracee,
        ranges: &[Wanted],
    ) -> Result<std::result::Result<(), String>> {
        let (mut bytes, mut again) = (Vec::new(), Vec::new());
        for wanted in ranges {
            let (mut at, end) = wanted.range;
            while at < end {
                let length = PIECE.min(end - at);
                bytes.resize(length as usize, 0);
                again.resize(length as usize, 0);
                tracee.read(at, &mut bytes)?;
                if let Err(error) = self.file.write_all_at(&bytes, self.length) {
                    return Ok(Err(Error::io("file of memory", error).to_string()));
                }
                let mapped = self.map(tracee, at, length, wanted)?;
                tracee.read(at, &mut again)?;
                if bytes != again {
                    let words = format!("memory at {at:#x} is not what it was");
                    return Err(Error::new("template: freezing", words, Fault::Kernel));
                }
                if let Err(errno) = mapped {
                    return Ok(Err(format!("mapping at {at:#x}: {errno}")));
                }
                self.length += length;
                at += length;
            }
            self.ranges += 1;
        }
        Ok(Ok(()))
    }

    fn map(
        &self,
        tracee: &mut Tracee,
        at: u64,
        length: u64,
        wanted: &Wanted,
    ) -> Result<std::result::Result<(), Errno>> {
        const NO_RESERVE: usize = 0x4000;
        const DO_NOT_DUMP: u64 = 16;
        let reserve = if wanted.unreserved { NO_RESERVE } else { 0 };
        let flags = (how::PRIVATE | how::FIXED | reserve) as u64;
        let mapped =
            tracee.try_call(nr::MMAP, [at, length, wanted.rights as u64, flags, self.number, self.length])?;
        if mapped.is_ok() && wanted.undumped {
            tracee.call("what is kept out of dumps", nr::MADVISE, [at, length, DO_NOT_DUMP, 0, 0, 0])?;
        }
        Ok(mapped.map(drop))
    }

    /// Seals it; the template holds it by its memory alone.
    fn close(&self, tracee: &mut Tracee) -> Result<()> {
        tracee.call("closing the file of memory", nr::CLOSE, [self.number, 0, 0, 0, 0, 0])?;
        let failed = |error: std::io::Error| Error::io("template: sealing its memory", error);
        // What was not needed of it in the end.
        self.file.set_len(self.length).map_err(failed)?;
        let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        fcntl_add_seals(&self.file, seals).map_err(|errno| failed(errno.into()))
    }
}

/// A file of memory of this length, and another opening of it that can only read.
fn make(length: u64) -> std::io::Result<(File, File)> {
    let plain = file::CLOSE_ON_EXEC | file::SEALABLE;
    // Before Linux 6.3 there is no such flag.
    let made = memory::file(c"beget-frozen", plain | file::NEVER_EXECUTABLE);
    let made = made.or_else(|errno| match errno {
        Errno::EINVAL => memory::file(c"beget-frozen", plain),
        other => Err(other),
    });
    let file = File::from(made.map_err(|errno| std::io::Error::from_raw_os_error(errno.0))?);
    file.set_len(length)?;
    let theirs = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok((file, theirs))
}

/// Has the template receive a descriptor over its channel; gives its number there, or why there is none.
fn hand_over(
    tracee: &mut Tracee,
    channel: BorrowedFd<'_>,
    lent: BorrowedFd<'_>,
) -> Result<std::result::Result<u64, String>> {
    // `struct msghdr`, `struct iovec`, a byte, and the room for one descriptor.
    const VECTOR: u64 = 64;
    const BYTE: u64 = 80;
    const CONTROL: u64 = 96;
    const LENGTH: u64 = 24;
    const CLOSE_ON_EXEC: u64 = 0x4000_0000;
    let (rights, flags) = ((how::READ | how::WRITE) as u64, (how::PRIVATE | how::ANONYMOUS) as u64);
    let room = match tracee.try_call(nr::MMAP, [0, PAGE, rights, flags, u64::MAX, 0])? {
        Ok(room) => room,
        Err(errno) => return Ok(Err(format!("a page to work in: {errno}"))),
    };
    let words = [0, 0, room + VECTOR, 1, room + CONTROL, LENGTH, 0, 0, room + BYTE, 1];
    tracee.write(room, &words.map(u64::to_ne_bytes).concat())?;
    let sent = message::send(channel.as_raw_fd(), &[0], &[lent.as_raw_fd()], true);
    sent.map_err(|errno| Error::kernel("template: sending its memory", errno, Fault::Kernel))?;
    let channel = beget::Template::CHANNEL as u64;
    // The byte is taken off the channel in any case, or nothing that is said over it later would be understood.
    let came = tracee.call("receiving its memory", nr::RECVMSG, [channel, room, CLOSE_ON_EXEC, 0, 0, 0])?;
    let held = if came == 1 && tracee.word(room + CONTROL)? == LENGTH - 4 {
        Ok(tracee.word(room + CONTROL + 16)? & 0xffff_ffff)
    } else {
        Err("the program has no number left for a descriptor".to_owned())
    };
    tracee.call("giving back a page", nr::MUNMAP, [room, PAGE, 0, 0, 0, 0])?;
    Ok(held)
}
