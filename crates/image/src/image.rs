//! An ELF executable, taken apart and checked whole.
//!
//! Safety idea: what passes here can be placed with plain arithmetic. Every segment lies within the file and within user memory,
//! they ascend and do not overlap, and control starts in one that is executable; whoever maps them checks nothing again.

use std::ops::Range;
use std::path::Path;

use crate::elf::{Headers, Kind, LOAD, Record, STACK, THREAD_LOCAL};
use crate::error::{Result, malformed};
use crate::place::{PAGE, Protection, page_down, page_up};
use crate::source::Source;

/// The end of user memory (`TASK_SIZE`).
pub(crate) const END: u64 = 0x7fff_ffff_f000;
/// Below this the kernel lets nobody map (`vm.mmap_min_addr`, as it is set everywhere).
pub(crate) const LOWEST: u64 = 0x1_0000;
/// The most that an image may span, in bytes: half of user memory.
const WIDEST: u64 = 0x4000_0000_0000;

/// A segment that is mapped (`PT_LOAD`), at the addresses that the image names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Its place in the segment table.
    pub index: usize,
    /// Its first byte.
    pub address: u64,
    /// Its bytes in memory: never 0.
    pub in_memory: u64,
    /// Where its bytes begin in the file.
    pub offset: u64,
    /// Its bytes in the file: never more than in memory. The rest is zero.
    pub in_file: u64,
    /// What may be done with it.
    pub protection: Protection,
}

/// An executable or a loader, checked.
///
/// Of the segment table it minds what the x86_64 kernel minds: `PT_LOAD`, the first `PT_INTERP` and the last `PT_GNU_STACK`.
/// `PT_GNU_RELRO` and `PT_TLS` are for the loader and the C library, which act on them in the program itself; so is
/// `PT_GNU_PROPERTY`, because x86_64 is not among the machines whose kernel reads it (`ARCH_USE_GNU_PROPERTY`): shadow stacks are
/// turned on by libc.
#[derive(Clone, Debug)]
pub struct Image {
    headers: Headers,
    segments: Vec<Segment>,
    alignment: u64,
    table_address: Option<u64>,
    executable_stack: Option<bool>,
}

impl Image {
    /// Reads and checks an executable.
    ///
    /// Segments of no bytes are left out, as the kernel leaves them. The checks are stricter than its own: what it would map over
    /// itself, out of order or at addresses that the program does not have is refused.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed) in words that name the segment by its place in the table;
    /// [`Error::Unread`](crate::Error::Unread) when the source cannot be read.
    pub fn read<S: Source + ?Sized>(source: &S) -> Result<Image> {
        let headers = Headers::read(source)?;
        let mut segments: Vec<Segment> = Vec::new();
        for (index, record) in headers.records.iter().enumerate().filter(|(_, record)| record.kind == LOAD) {
            if let Some(segment) = segment(index, record, segments.last())? {
                segments.push(segment);
            }
        }
        let (Some(first), Some(last)) = (segments.first(), segments.last()) else {
            return malformed("an ELF executable with nothing to load");
        };
        if headers.kind == Kind::Fixed && page_down(first.address) < LOWEST {
            let index = first.index;
            return malformed(format!(
                "an ELF executable whose segment {index} lies too low for user memory"
            ));
        }
        if page_up(last.end()) - page_down(first.address) > WIDEST {
            return malformed("an ELF executable that spans more than half of user memory");
        }
        let entered =
            |segment: &Segment| segment.protection.execute() && segment.range().contains(&headers.entry);
        if !segments.iter().any(entered) {
            return malformed("an ELF executable whose entry is in no executable segment");
        }
        // Since Linux 5.18: the address of the byte that begins the table; the last segment that holds it decides.
        let at = headers.table_at;
        let holds = |segment: &&Segment| (segment.offset..segment.offset + segment.in_file).contains(&at);
        let table_address =
            segments.iter().rfind(holds).map(|segment| segment.address + (at - segment.offset));
        let stack = headers.records.iter().rfind(|record| record.kind == STACK);
        let executable_stack = stack.map(|record| Protection::of(record.flags).execute());
        Ok(Image {
            alignment: alignment(&headers.records),
            headers,
            segments,
            table_address,
            executable_stack,
        })
    }

    /// Where it may be put.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.headers.kind
    }

    /// Where it starts, as it names it.
    #[must_use]
    pub fn entry(&self) -> u64 {
        self.headers.entry
    }

    /// The loader it wants, as it names it. Whether that may want one in its turn is the caller's to decide; the kernel does not
    /// ask.
    #[must_use]
    pub fn interpreter(&self) -> Option<&Path> {
        self.headers.interpreter()
    }

    /// Whether it asks for a stack that can be executed. For an image that does not say, x86_64 has none since Linux 5.8.
    #[must_use]
    pub fn executable_stack(&self) -> Option<bool> {
        self.executable_stack
    }

    /// What is mapped of it, in ascending order: at least one.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// What a bias must be a multiple of: the largest alignment that a segment asks for, at least a page. What is no power of
    /// two does not count.
    #[must_use]
    pub fn alignment(&self) -> u64 {
        self.alignment
    }

    /// How many entries the segment table has (`AT_PHNUM`).
    #[must_use]
    pub fn header_count(&self) -> usize {
        self.headers.records.len()
    }

    /// Where the segment table is in memory, without bias, if it is (`AT_PHDR`).
    #[must_use]
    pub fn headers(&self) -> Option<u64> {
        self.table_address
    }

    /// Whether it has thread-local variables.
    #[must_use]
    pub fn has_tls(&self) -> bool {
        self.headers.records.iter().any(|record| record.kind == THREAD_LOCAL)
    }

    /// How long the file must be for every segment to be there: a mapping beyond the end of a file that shrank meanwhile would
    /// kill the program with SIGBUS.
    #[must_use]
    pub fn file_bytes_needed(&self) -> u64 {
        self.segments.iter().map(|segment| segment.offset + segment.in_file).max().unwrap_or(0)
    }
}

impl Segment {
    /// The addresses it takes.
    #[must_use]
    pub fn range(&self) -> Range<u64> {
        self.address..self.end()
    }

    pub(crate) fn end(&self) -> u64 {
        self.address + self.in_memory
    }
}

/// A segment, if there is something to map, after `previous`. That it lies within the file is known.
fn segment(index: usize, record: &Record, previous: Option<&Segment>) -> Result<Option<Segment>> {
    let wrong = |words| malformed(format!("an ELF executable whose segment {index} {words}"));
    let &Record { address, offset, in_file, in_memory, .. } = record;
    if in_file > in_memory {
        return wrong("has more bytes in the file than in memory");
    }
    if in_memory == 0 {
        return Ok(None);
    }
    if address.checked_add(in_memory).is_none_or(|end| end > END) {
        return wrong("ends past user memory");
    }
    if in_file > 0 && offset % PAGE != address % PAGE {
        return wrong("begins at another place of its page than in the file");
    }
    match previous {
        Some(previous) if address < previous.address => return wrong("is out of order"),
        Some(previous) if address < previous.end() => return wrong("overlaps the one before it"),
        _ => {}
    }
    let protection = Protection::of(record.flags);
    Ok(Some(Segment { index, address, in_memory, offset, in_file, protection }))
}

fn alignment(records: &[Record]) -> u64 {
    let loads = records.iter().filter(|record| record.kind == LOAD);
    loads.map(|record| record.alignment).filter(|alignment| alignment.is_power_of_two()).fold(PAGE, u64::max)
}
