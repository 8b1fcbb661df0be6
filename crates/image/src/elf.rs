//! The ELF header and the segment table: what the kernel itself looks at before it starts a program.
//!
//! Safety idea: the bytes are foreign; every offset is checked against the file, nothing is assumed, nothing can panic.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use crate::error::{Result, malformed};
use crate::source::{Source, exactly, fill};

pub(crate) const HEADER: usize = 64;
const RECORD: usize = 56;
const MOST_SEGMENTS: usize = 1024;
const LONGEST_PATH: u64 = 4096;
const X86_64: u16 = 62;

/// Kinds of segments: the only ones that the kernel acts on for x86_64.
pub(crate) const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;
pub(crate) const THREAD_LOCAL: u32 = 7;
pub(crate) const STACK: u32 = 0x6474_e551;

/// Where an image may be put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// At the addresses it names, and nowhere else (`ET_EXEC`).
    Fixed,
    /// Anywhere: a position-independent program, static or not, or a loader (`ET_DYN`).
    Anywhere,
}

/// A segment as the file tells it, unchecked but for its end in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) in_file: u64,
    pub(crate) in_memory: u64,
    pub(crate) alignment: u64,
}

/// What the kernel reads of an executable before it starts it. It asks less of a file than [`Image`](crate::Image) does: use it
/// for what the kernel itself will load.
#[derive(Clone, Debug)]
pub struct Headers {
    pub(crate) kind: Kind,
    pub(crate) entry: u64,
    pub(crate) table_at: u64,
    pub(crate) records: Vec<Record>,
    interpreter: Option<PathBuf>,
}

impl Headers {
    /// Reads the header, the segment table and the loader's name, in three reads at most.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed) for what is no executable of this machine, is cut short, or names its loader
    /// in no way that a path can be; [`Error::Unread`](crate::Error::Unread) when the source cannot be read.
    pub fn read<S: Source + ?Sized>(source: &S) -> Result<Headers> {
        let header = header(source)?;
        let kind = match half(&header, 16) {
            2 => Kind::Fixed,
            3 => Kind::Anywhere,
            _ => return malformed("an ELF file that is no executable"),
        };
        let (table_at, length, count) =
            (long(&header, 32), half(&header, 54), usize::from(half(&header, 56)));
        if usize::from(length) != RECORD || count == 0 || count > MOST_SEGMENTS {
            return malformed("an ELF executable with a malformed segment table");
        }
        let mut table = vec![0; count * RECORD];
        if !exactly(source, table_at, &mut table)? {
            return malformed("an ELF executable cut short in its segment table");
        }
        let records: Vec<Record> = table.chunks_exact(RECORD).map(Record::of).collect();
        let size = source.size()?;
        if records.iter().any(|record| record.kind == LOAD && !record.within(size)) {
            return malformed(format!("an ELF executable cut short: a segment ends past its {size} bytes"));
        }
        let interpreter = match records.iter().find(|record| record.kind == INTERPRETER) {
            Some(record) => Some(interpreter(source, record, size)?),
            None => None,
        };
        Ok(Headers { kind, entry: long(&header, 24), table_at, records, interpreter })
    }

    /// The loader it wants, as it names it. The kernel takes the first name when there are several.
    #[must_use]
    pub fn interpreter(&self) -> Option<&Path> {
        self.interpreter.as_deref()
    }
}

impl Record {
    fn of(bytes: &[u8]) -> Record {
        Record {
            kind: word(bytes, 0),
            flags: word(bytes, 4),
            offset: long(bytes, 8),
            address: long(bytes, 16),
            in_file: long(bytes, 32),
            in_memory: long(bytes, 40),
            alignment: long(bytes, 48),
        }
    }

    fn within(&self, size: u64) -> bool {
        self.offset.checked_add(self.in_file).is_some_and(|end| end <= size)
    }
}

/// The header of an ELF file for this machine, of any type.
pub(crate) fn header<S: Source + ?Sized>(source: &S) -> Result<[u8; HEADER]> {
    let mut header = [0; HEADER];
    let length = fill(source, 0, &mut header)?;
    if !header.starts_with(b"\x7fELF") {
        return malformed("neither an ELF executable nor a script with #!");
    }
    let (class, order, machine) = (header[4], header[5], half(&header, 18));
    // A file that says early what it is for is told so, however short it is.
    if length >= 20 && (class != 2 || order != 1 || machine != X86_64) {
        return malformed(format!(
            "an ELF executable for another machine ({})",
            machine_name(class, machine)
        ));
    }
    if length < HEADER {
        return malformed("an ELF executable cut short in its header");
    }
    Ok(header)
}

fn interpreter<S: Source + ?Sized>(source: &S, record: &Record, size: u64) -> Result<PathBuf> {
    let wrong = "an ELF executable with a malformed loader name";
    if !record.within(size) || !(2..=LONGEST_PATH).contains(&record.in_file) {
        return malformed(wrong);
    }
    let mut path = vec![0; record.in_file as usize];
    if !exactly(source, record.offset, &mut path)? || path.pop() != Some(0) || path.contains(&0) {
        return malformed(wrong);
    }
    Ok(PathBuf::from(OsString::from_vec(path)))
}

fn bytes<const N: usize>(from: &[u8], at: usize) -> [u8; N] {
    let found = at.checked_add(N).and_then(|end| from.get(at..end));
    found.and_then(|bytes| bytes.try_into().ok()).unwrap_or([0; N])
}

/// Little-endian numbers at a place in a record; zero beyond its end, which no caller asks for.
pub(crate) fn half(from: &[u8], at: usize) -> u16 {
    u16::from_le_bytes(bytes(from, at))
}

pub(crate) fn word(from: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes(from, at))
}

pub(crate) fn long(from: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes(from, at))
}

fn machine_name(class: u8, machine: u16) -> String {
    match machine {
        3 => "i386".into(),
        X86_64 if class == 1 => "x32".into(),
        8 => "mips".into(),
        20 => "powerpc".into(),
        21 => "powerpc64".into(),
        22 => "s390".into(),
        40 => "arm".into(),
        183 => "aarch64".into(),
        243 => "riscv".into(),
        258 => "loongarch".into(),
        other => format!("number {other}"),
    }
}
