//! An image at its addresses: what is mapped where, page by page, and what must be cleared.
//!
//! Safety idea: the answer is a list of disjoint mappings in ascending order, so the order in which they are made does not
//! matter, and none can take away what another one put there.

use std::ops::Range;

use crate::elf::Kind;
use crate::error::{Error, Result};
use crate::image::{END, Image, LOWEST, Segment};

/// Bytes of a page.
pub(crate) const PAGE: u64 = 4096;

pub(crate) fn page_down(address: u64) -> u64 {
    address & !(PAGE - 1)
}

/// For addresses of user memory: what is beyond is cut.
pub(crate) fn page_up(address: u64) -> u64 {
    page_down(address.saturating_add(PAGE - 1))
}

/// What may be done with memory: the `PROT_*` bits of `mmap(2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection(u32);

impl Protection {
    const READ: u32 = 1;
    const WRITE: u32 = 2;
    const EXECUTE: u32 = 4;

    /// From the flags of a segment, whose bits are the other way round.
    pub(crate) fn of(flags: u32) -> Protection {
        let bit = |flag, bit| if flags & flag == 0 { 0 } else { bit };
        Protection(bit(4, Self::READ) | bit(2, Self::WRITE) | bit(1, Self::EXECUTE))
    }

    /// As `mmap(2)` takes it.
    #[must_use]
    pub fn bits(self) -> u32 {
        self.0
    }

    /// May be read.
    #[must_use]
    pub fn read(self) -> bool {
        self.0 & Self::READ != 0
    }

    /// May be written.
    #[must_use]
    pub fn write(self) -> bool {
        self.0 & Self::WRITE != 0
    }

    /// May be executed.
    #[must_use]
    pub fn execute(self) -> bool {
        self.0 & Self::EXECUTE != 0
    }
}

/// What a mapping holds at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// The file's bytes, privately.
    File {
        /// From here on: a multiple of the page size.
        offset: u64,
    },
    /// Zero bytes.
    Zero,
}

/// One mapping: whole pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its address.
    pub at: u64,
    /// Its length in bytes: never 0.
    pub length: u64,
    /// What may be done with it.
    pub protection: Protection,
    /// What it holds.
    pub content: Content,
}

impl Mapping {
    fn end(&self) -> u64 {
        self.at + self.length
    }
}

/// An image at its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placed {
    /// What to map: disjoint, in ascending order.
    ///
    /// Pages beyond the file's have the protection of their segment; the kernel makes them writable, whatever it says. Where two
    /// segments share a page it belongs to the later one, as when the kernel maps them one over the other.
    pub mappings: Vec<Mapping>,
    /// What to clear once they are mapped: address and length in bytes, within the file mapping of a writable segment. It is what
    /// follows a segment's last byte from the file in its page, when there is more of it in memory. Where such a segment cannot be
    /// written the kernel leaves the file's bytes there, and so does this.
    pub zeros: Vec<(u64, u64)>,
    /// Where it starts (`AT_ENTRY`).
    pub entry: u64,
    /// Where its segment table is (`AT_PHDR`); 0 when it is not in memory.
    pub headers: u64,
    /// Entries of that table (`AT_PHNUM`).
    pub header_count: usize,
    /// The kernel's `start_code` and `end_code`: from the lowest executable segment to the end in the file of the highest.
    pub code: Range<u64>,
    /// The kernel's `start_data` and `end_data`: from the highest segment to the highest end in the file.
    pub data: Range<u64>,
    /// The end of the highest segment in memory, not rounded: where the heap may begin.
    pub end: u64,
    /// All of it, in whole pages: what has to be free.
    pub span: Range<u64>,
}

impl Image {
    /// Puts the image `bias` bytes above the addresses it names. Registers, relocations and symbols count with the same bias.
    ///
    /// # Errors
    /// [`Error::Misplaced`] for a bias other than 0 where the image is [`Kind::Fixed`], one that is no multiple of
    /// [`Image::alignment`], and one that would put a byte of it below 64 KiB or past user memory.
    pub fn place(&self, bias: u64) -> Result<Placed> {
        if self.kind() == Kind::Fixed && bias != 0 {
            return Err(Error::Misplaced("the image cannot be moved"));
        }
        if !bias.is_multiple_of(self.alignment()) && bias != 0 {
            return Err(Error::Misplaced("the image must be aligned as it asks for"));
        }
        let lowest = self.segments().first().map_or(0, |segment| page_down(segment.address));
        let end = self.segments().last().map_or(0, Segment::end);
        let span = match (lowest.checked_add(bias), end.checked_add(bias)) {
            (Some(lowest), Some(end)) if lowest >= LOWEST && end <= END => lowest..page_up(end),
            _ => return Err(Error::Misplaced("the image would not lie within user memory")),
        };
        let nothing = Range { start: u64::MAX, end: 0 };
        let mut placed = Placed {
            mappings: Vec::with_capacity(self.segments().len() + 1),
            zeros: Vec::new(),
            entry: self.entry() + bias,
            headers: self.headers().map_or(0, |address| address + bias),
            header_count: self.header_count(),
            code: nothing,
            data: 0..0,
            end: end + bias,
            span,
        };
        for segment in self.segments() {
            placed.add(&Segment { address: segment.address + bias, ..*segment });
        }
        Ok(placed)
    }
}

impl Placed {
    fn add(&mut self, segment: &Segment) {
        let first = page_down(segment.address);
        let file_ends = segment.address + segment.in_file;
        let zero_from = if segment.in_file == 0 { first } else { page_up(file_ends) };
        self.give_up(first);
        self.map(first..zero_from, segment, Content::File { offset: page_down(segment.offset) });
        self.map(zero_from..page_up(segment.end()), segment, Content::Zero);
        // To the end of the page, not of the segment: what follows there in the file is not the program's to see.
        let more = segment.in_memory > segment.in_file;
        if more && segment.protection.write() && file_ends < zero_from {
            self.zeros.push((file_ends, zero_from - file_ends));
        }
        if segment.protection.execute() {
            self.code = self.code.start.min(segment.address)..self.code.end.max(file_ends);
        }
        self.data = self.data.start.max(segment.address)..self.data.end.max(file_ends);
    }

    /// Leaves the page at `first`, and what is above it, to a later segment. Segments ascend, so that is one page at most.
    fn give_up(&mut self, first: u64) {
        while let Some(last) = self.mappings.last_mut().filter(|last| last.end() > first) {
            if last.at < first {
                last.length = first - last.at;
            } else {
                self.mappings.pop();
            }
        }
        self.zeros.retain(|(at, _)| *at < first);
    }

    fn map(&mut self, range: Range<u64>, segment: &Segment, content: Content) {
        if !range.is_empty() {
            let (at, length) = (range.start, range.end - range.start);
            self.mappings.push(Mapping { at, length, protection: segment.protection, content });
        }
    }
}
