//! An image into an embryo: what the kernel does at an exec, as operations.
//!
//! The program goes where the kernel would put it, at a place as random; its loader, if it wants one, right below the stub, which lies
//! where the kernel put that. The first stack is built here and written into the stack that the kernel made. File pages are shared
//! with everybody who maps the file; nothing is ever mapped writable that its image does not say is.
//!
//! Safety idea: every address comes from `beget-image`, which has checked it; nothing that is there is replaced but what this load has
//! reserved; a load that fails takes its reservations back.

use std::ffi::{CStr, CString, OsString};
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};

use beget_authority::limit;
use beget_image::{Content, FirstStack, Image, Kind, Placed, brk_start, program_bias};
use beget_plan::Op;
use beget_plan::Registers;
use beget_plan::message::LONGEST_BODY;
use beget_plan::op::mapping;
use beget_sys::Errno;
use beget_sys::process::MemoryMap;

use super::channel::Place;
use super::part::Part;
use super::program::{Source, wrong};
use crate::error::{Error, Fault, Result};

/// Entries of the auxiliary vector that the image, and not the machine, decides.
mod key {
    pub(super) const PHDR: u64 = 3;
    pub(super) const PHENT: u64 = 4;
    pub(super) const PHNUM: u64 = 5;
    pub(super) const BASE: u64 = 7;
    pub(super) const FLAGS: u64 = 8;
    pub(super) const ENTRY: u64 = 9;
    pub(super) const UID: u64 = 11;
    pub(super) const EUID: u64 = 12;
    pub(super) const GID: u64 = 13;
    pub(super) const EGID: u64 = 14;
    pub(super) const SECURE: u64 = 23;
    pub(super) const RANDOM: u64 = 25;
    pub(super) const EXECUTABLE: u64 = 31;
}

const PAGE: u64 = 4096;
const SEGMENT_ENTRY: u64 = 56;
/// `RLIMIT_STACK`.
const STACK: u32 = 3;

/// A program and its loader, with what it is told.
#[derive(Debug)]
pub(crate) struct Load<'a, 's> {
    pub(crate) program: &'a Source,
    pub(crate) loader: Option<&'a Source>,
    pub(crate) arguments: &'s [CString],
    pub(crate) environment: &'s [CString],
    /// Its path, as far as it is known.
    pub(crate) name: &'s CStr,
    /// The name that `ps` shows.
    pub(crate) comm: &'s CStr,
    /// User and group, where they are not the creator's.
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
}

/// Where an image lies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placement {
    /// What is added to the image's own addresses.
    pub bias: u64,
    /// The pages from its first to its last.
    pub span: Range<u64>,
}

/// Where a program lies, and its loader if it wants one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The program.
    pub program: Placement,
    /// Its loader.
    pub loader: Option<Placement>,
}

/// What was loaded, or will have been when the part is done.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) registers: Registers,
    pub(crate) layout: Layout,
    /// The first operation of each reservation in the part, and what it takes.
    pub(crate) reserved: Vec<(usize, Range<u64>)>,
}

/// Adds the operations of `load` to `part`.
pub(crate) fn write<'a>(load: &Load<'a, '_>, place: &Place, part: &mut Part<'a>) -> Result<Loaded> {
    if !place.leaves {
        let words = "this kernel's page of calls has no way to leave by";
        return Err(Error::new("loader", words, Fault::Kernel));
    }
    let [shift, place_random, brk_random] = random::<3>()?;
    let image = &load.program.image;
    let bias = match image.kind() {
        Kind::Fixed => 0,
        Kind::Anywhere => program_bias(image, place_random),
    };
    let program = image.place(bias).map_err(|error| wrong(&load.program.part, error))?;
    let mut reserved = vec![(part.len(), program.span.clone())];
    let file = map(load.program, &program, part)?;
    let loader = match load.loader {
        None => None,
        Some(loader) => {
            let bias = below(place, &loader.image);
            let placed = loader.image.place(bias).map_err(|error| wrong(&loader.part, error))?;
            reserved.push((part.len(), placed.span.clone()));
            map(loader, &placed, part)?;
            Some((bias, placed))
        }
    };

    let built = stack(load, place, &program, loader.as_ref().map(|(bias, _)| *bias), shift)?;
    let own_stack = place.stack_top - PAGE;
    // What the kernel told the stub is on the last page; what the program is told takes its place.
    let cleared = vec![0; (built.at.saturating_sub(own_stack)) as usize];
    part.write(own_stack, &cleared);
    part.write(built.at, &built.bytes);
    let heap = brk_start(program.end, Some(brk_random));
    let auxiliary = built.bytes.windows(built.auxiliary.len()).position(|bytes| bytes == built.auxiliary);
    let fields = memory_map(&program, &built, heap, built.at + auxiliary.unwrap_or(0) as u64);
    let fields = part.writer.draft.bytes(&fields);
    let fields = beget_plan::op::Span { at: fields.at, count: fields.count / 8 };
    // Only privilege may say what `/proc/PID/exe` means.
    let executable = if may_name_the_executable() { file } else { mapping::NO_FILE };
    let words = format!("{}: memory map", load.program.part);
    part.writer.push_asked(Op::MemoryMap { fields, executable }, words, Fault::NotRunnable);
    part.set_name(load.comm);
    // Last of all, for a load that fails does not take it back.
    if image.executable_stack() == Some(true) {
        let how = mapping::READ | mapping::WRITE | mapping::EXECUTE | mapping::DOWN;
        part.push(Op::Protect { at: own_stack, length: PAGE, how }, "executable stack");
    }
    let instruction = loader.as_ref().map_or(program.entry, |(_, loader)| loader.entry);
    let place = |bias, placed: Placed| Placement { bias, span: placed.span };
    Ok(Loaded {
        registers: Registers { instruction, stack: built.at, ..Registers::default() },
        layout: Layout {
            program: place(bias, program),
            loader: loader.map(|(bias, placed)| place(bias, placed)),
        },
        reserved,
    })
}

/// Reserves the whole span, where nothing may be yet, and maps the segments into it. Gives the file's place among the descriptors.
fn map<'a>(source: &'a Source, placed: &Placed, part: &mut Part<'a>) -> Result<u32> {
    let Range { start, end } = placed.span;
    let (page, source_of_none) = (0, mapping::NO_FILE);
    let words = |at: u64| format!("{}: map at {at:#x}", source.part);
    let reserve = Op::Map { at: start, length: end - start, page, how: 0, source: source_of_none };
    part.writer.push_asked(reserve, words(start), Fault::NotRunnable);
    let file: BorrowedFd<'a> = source.file.as_fd();
    let index = part.lend(file);
    for one in &placed.mappings {
        let how = one.protection.bits() | mapping::REPLACE;
        let (page, source) = match one.content {
            Content::File { offset } => {
                let page = u32::try_from(offset / PAGE).map_err(|_| too_far(source))?;
                (page, index)
            }
            Content::Zero => (0, mapping::NO_FILE),
        };
        let map = Op::Map { at: one.at, length: one.length, page, how, source };
        part.writer.push_asked(map, words(one.at), Fault::NotRunnable);
    }
    for (at, length) in &placed.zeros {
        let bytes = part.writer.draft.bytes(&vec![0; *length as usize]);
        let words = format!("{}: clear {length} bytes at {at:#x}", source.part);
        part.writer.push_asked(Op::Write { at: *at, bytes }, words, Fault::NotRunnable);
    }
    // A gap between segments is no memory at all, as after an exec.
    let mut next = start;
    let mut gaps = Vec::new();
    let mut mapped: Vec<Range<u64>> = placed.mappings.iter().map(|one| one.at..one.at + one.length).collect();
    mapped.sort_by_key(|range| range.start);
    for range in mapped {
        if range.start > next {
            gaps.push(next..range.start);
        }
        next = next.max(range.end);
    }
    for gap in gaps {
        part.unmap(gap.start, gap.end - gap.start);
    }
    Ok(index)
}

fn too_far(source: &Source) -> Error {
    Error::new(source.part.as_str(), "a segment lies too far into its file", Fault::NotRunnable)
}

fn may_name_the_executable() -> bool {
    const CAP_SYS_ADMIN: u64 = 1 << 21;
    const CAP_CHECKPOINT_RESTORE: u64 = 1 << 40;
    beget_sys::process::capabilities().is_ok_and(|held| held & (CAP_SYS_ADMIN | CAP_CHECKPOINT_RESTORE) != 0)
}

/// Below the stub: it is where the kernel maps things, at a place that it chose at random. Between them is room for what the stub maps
/// while it takes a part.
fn below(place: &Place, image: &Image) -> u64 {
    if image.kind() == Kind::Fixed {
        return 0;
    }
    let ends = image.segments().iter().map(|segment| segment.range().end).max().unwrap_or(0);
    let top =
        place.home.start.saturating_sub(2 * LONGEST_BODY as u64).saturating_sub(ends.next_multiple_of(PAGE));
    let alignment = image.alignment().max(PAGE);
    top / alignment * alignment
}

fn stack(
    load: &Load<'_, '_>,
    place: &Place,
    program: &Placed,
    base: Option<u64>,
    shift: u64,
) -> Result<beget_image::Built> {
    let image = &load.program.image;
    let mut auxiliary: Vec<(u64, u64)> = Vec::with_capacity(place.auxiliary.len());
    for (kind, value) in &place.auxiliary {
        let value = match *kind {
            0 | key::RANDOM | key::EXECUTABLE => continue,
            key::PHDR => program.headers,
            key::PHENT => SEGMENT_ENTRY,
            key::PHNUM => image.header_count() as u64,
            key::BASE => base.unwrap_or(0),
            key::FLAGS | key::SECURE => 0,
            key::ENTRY => program.entry,
            key::UID | key::EUID => load.user.map_or(*value, u64::from),
            key::GID | key::EGID => load.group.map_or(*value, u64::from),
            _ => *value,
        };
        auxiliary.push((*kind, value));
    }
    let [low, high] = random::<2>()?;
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&low.to_ne_bytes());
    bytes[8..].copy_from_slice(&high.to_ne_bytes());
    // The child's own limit, which does not depend on its creator's.
    let limits = limit::resources(&[], &[], false)?;
    let limit = limits.iter().find(|one| one.number == STACK).map_or(8 << 20, |one| one.bounds.soft);
    FirstStack {
        arguments: load.arguments,
        environment: load.environment,
        name: load.name,
        platform: c"x86_64",
        random: bytes,
        auxiliary: &auxiliary,
        top: place.stack_top.next_multiple_of(PAGE),
        shift,
        // As the kernel: a quarter of the stack, and never more than three quarters of 8 MiB.
        limit: (limit / 4).clamp(128 << 10, 6 << 20),
    }
    .build()
    .map_err(|excess| {
        let _ = excess;
        Error::kernel(load.program.part.as_str(), Errno::E2BIG, Fault::Caller)
    })
}

fn memory_map(program: &Placed, built: &beget_image::Built, heap: u64, auxiliary: u64) -> Vec<u8> {
    let map = MemoryMap {
        // Code that is not in the file has no end, and the kernel is to be told of one.
        code: [program.code.start, program.code.end.max(program.code.start + 1)],
        data: [program.data.start, program.data.end],
        heap: [heap, heap],
        stack: built.at,
        arguments: [built.arguments.start, built.arguments.end],
        environment: [built.environment.start, built.environment.end],
        auxiliary,
        auxiliary_size: built.auxiliary.len() as u32,
        executable: u32::MAX,
    };
    let words = [
        map.code,
        map.data,
        map.heap,
        [map.stack, map.arguments[0]],
        [map.arguments[1], map.environment[0]],
        [map.environment[1], map.auxiliary],
    ];
    let last = u64::from(map.auxiliary_size) | u64::from(map.executable) << 32;
    words.into_iter().flatten().chain([last]).flat_map(u64::to_ne_bytes).collect()
}

/// Numbers that nobody can guess.
fn random<const N: usize>() -> Result<[u64; N]> {
    let mut numbers = [0; N];
    for number in &mut numbers {
        let mut bytes = [0u8; 8];
        rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|errno| Error::io("random numbers", errno))?;
        *number = u64::from_ne_bytes(bytes);
    }
    Ok(numbers)
}

/// Strings for a first stack.
pub(crate) fn c_strings(strings: &[OsString], what: &str) -> Result<Vec<CString>> {
    use std::os::unix::ffi::OsStrExt;
    let one = |(index, text): (usize, &OsString)| {
        CString::new(text.as_bytes())
            .map_err(|_| Error::new(format!("{what} {}", index + 1), "it has a NUL byte", Fault::Caller))
    };
    strings.iter().enumerate().map(one).collect()
}
