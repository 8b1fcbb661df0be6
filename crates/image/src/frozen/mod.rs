//! The header of a saved image: a program that was stopped where it is ready, as a file that it can be made from again.
//!
//! A file is a **header** (what is told here), its **seal** (the digest of the header, and signatures over that), and the **contents**: pages,
//! in the order of the [`Run`]s that they belong to, from a whole page on, so that they can be mapped as they lie. The header holds a digest
//! for each [`CHUNK`] of the contents, so the digest of the header is one of everything.
//!
//! # Safety idea
//!
//! Whatever the bytes are, there is an answer: mappings that are disjoint, whole pages, in the memory of a user's program, and contents that
//! lie in the mappings and use up the file, or an error. A header has one form: what is read is written as the very same bytes. Nothing is
//! allocated that the file is not long enough for. What the numbers mean to a kernel is for the kernel to refuse.

mod read;
mod write;

use std::ops::Range;

/// What a file begins with.
pub const MAGIC: [u8; 8] = *b"BEGETIMG";
/// The version of the format that is written and read.
pub const VERSION: u32 = 1;
/// The size of a page, which all addresses and contents are multiples of.
pub const PAGE: u64 = 4096;
/// How many bytes of contents have a digest of their own.
pub const CHUNK: u64 = 64 << 10;
/// How many bytes the fixed part of a header has.
pub const PREAMBLE: usize = 48;
/// How many bytes lie between the header and the contents at least.
pub const SEAL: u64 = 1024;
/// The longest header that is read, in bytes.
pub const LONGEST: u64 = 256 << 20;
/// The longest text of somebody's own in it, in bytes.
pub const LONGEST_NOTE: usize = 1 << 20;
/// The address after the last that a program can have.
pub const END: u64 = 0x7fff_ffff_f000;
/// The first address that a program can have on any system that does not let it map nothing's own page.
pub const FIRST: u64 = 0x1000;

/// SHA-256 of something.
pub type Digest = [u8; 32];

/// The beginning of a header: where everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Preamble {
    /// Bytes of the header, this among them; the seal is behind it.
    pub header: u64,
    /// Where the contents begin.
    pub contents: u64,
    /// How many bytes of contents there are: whole pages.
    pub length: u64,
}

/// A header.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Frozen {
    /// What it was saved on.
    pub system: System,
    /// What is there but memory.
    pub program: Program,
    /// The state of its one thread.
    pub thread: Thread,
    /// The files that are mapped or open.
    pub files: Vec<KnownFile>,
    /// Its memory, by address.
    pub mappings: Vec<Mapping>,
    /// The contents that the file holds, by address.
    pub runs: Vec<Run>,
    /// Descriptors of its own, by number.
    pub descriptors: Vec<Descriptor>,
    /// What it does with signals, where that is not the default; by number.
    pub signals: Vec<Disposition>,
    /// Text of whoever saved it: where a factory keeps its own description. At most [`LONGEST_NOTE`] bytes.
    pub note: Vec<u8>,
    /// The digest of each [`CHUNK`] of the contents.
    pub chunks: Vec<Digest>,
}

/// The machine and its kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct System {
    /// `x86_64`.
    pub machine: Vec<u8>,
    /// `uname -r`.
    pub release: Vec<u8>,
    /// The features of the processor, as `/proc/cpuinfo` names them, by one space.
    pub processor: Vec<u8>,
    /// The parts of a thread's state that the processor keeps (`XCR0`).
    pub extended: u64,
    /// The digest of the kernel's page of calls.
    pub calls: Digest,
    /// Where the kernel's own mappings were, by address.
    pub kernel: Vec<Special>,
}

/// A mapping of the kernel's own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Special {
    /// `[vdso]`, `[vvar]` or another in brackets.
    pub name: Vec<u8>,
    /// Where it was.
    pub range: Range<u64>,
}

/// What the kernel knows of the program but its memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Which of the files was executed.
    pub executable: u32,
    /// The name that `ps` shows.
    pub name: Vec<u8>,
    /// Its working directory.
    pub directory: Vec<u8>,
    /// Its file mode creation mask.
    pub umask: u32,
    /// Where it was ready, in the words of whoever saved it.
    pub ready: Vec<u8>,
    /// Where the parts of its memory are, as `struct prctl_mm_map` has them: code, data, heap, the stack's beginning, arguments, environment.
    pub memory: [u64; 11],
    /// What the kernel told it at its start.
    pub auxiliary: Vec<u8>,
}

/// The state of a thread.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// `struct user_regs_struct`, in its order.
    pub registers: [u64; 27],
    /// All else that the processor keeps, as `xsave` lays it out.
    pub extended: Vec<u8>,
    /// The signals that it blocks.
    pub mask: u64,
    /// `stack_t` of its alternate signal stack.
    pub stack: [u64; 3],
    /// Where the kernel zeroes its number at its end; 0 for nowhere.
    pub number_at: u64,
    /// Places that hold its own number, 0 for none: of four bytes each.
    pub numbers: [u64; 2],
    /// Its list of locks, and the bytes of its head.
    pub locks: [u64; 2],
    /// Its area for restartable sequences: address, bytes, signature; all 0 for none.
    pub sequences: [u64; 3],
}

/// A file that is known by what is in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KnownFile {
    /// Its name from the root.
    pub path: Vec<u8>,
    /// Its size in bytes.
    pub size: u64,
    /// Of all of it.
    pub digest: Digest,
}

/// What a mapping is made of, before the contents of the image are put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Memory of no file, whose contents are written into it.
    Anonymous,
    /// The same, where the stack is: it grows down.
    Stack,
    /// The same, with contents that may be mapped from the image, as of data that a file's were before.
    Image,
    /// A file; the contents of the image are what differs from it.
    File {
        /// Which.
        file: u32,
        /// Where in it, in bytes.
        offset: u64,
        /// Changes of the file are seen. Such a mapping cannot be written and has no contents here.
        shared: bool,
    },
}

/// A mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Where.
    pub range: Range<u64>,
    /// `PROT_*`: 1 read, 2 write, 4 execute.
    pub rights: u32,
    /// Advice that the kernel keeps for it: bits of [`advice`].
    pub advice: u32,
    /// Of what.
    pub source: Source,
}

/// Bits of [`Mapping::advice`].
pub mod advice {
    /// Huge pages are wanted (`MADV_HUGEPAGE`).
    pub const HUGE: u32 = 1;
    /// They are not.
    pub const NOT_HUGE: u32 = 2;
    /// It is not to be in a core file.
    pub const NO_DUMP: u32 = 4;
    /// It is zero in a copy.
    pub const WIPE: u32 = 8;
    /// No memory is set aside for it (`MAP_NORESERVE`).
    pub const NO_RESERVE: u32 = 16;
    /// All of them.
    pub const ALL: u32 = 31;
}

/// Pages of contents. They follow each other in the file as they do here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// Which addresses.
    pub range: Range<u64>,
    /// Which mapping it is in.
    pub mapping: u32,
}

/// An open file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// Its number, from 3 on.
    pub number: u32,
    /// Which file.
    pub file: u32,
    /// Where it was read last.
    pub offset: u64,
    /// `O_*` but its access, which is for reading.
    pub flags: u32,
    /// Whether an exec closes it.
    pub closing: bool,
}

/// What is done with a signal: `struct sigaction` as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// The signal, 1 to 64.
    pub signal: u32,
    /// Handler, flags, restorer, mask.
    pub action: [u64; 4],
}

impl Frozen {
    /// How many bytes of contents there are.
    #[must_use]
    pub fn length(&self) -> u64 {
        self.runs.iter().map(|run| run.range.end - run.range.start).sum()
    }

    /// Each run, with where its pages begin in the contents.
    pub fn contents(&self) -> impl Iterator<Item = (&Run, u64)> {
        self.runs.iter().scan(0, |at, run| {
            let begins = *at;
            *at += run.range.end - run.range.start;
            Some((run, begins))
        })
    }
}
