//! A header from bytes that somebody else wrote.

use std::ops::Range;

use super::{
    CHUNK, Descriptor, Digest, Disposition, END, FIRST, Frozen, KnownFile, LONGEST, LONGEST_NOTE, MAGIC,
    Mapping, PAGE, PREAMBLE, Preamble, Program, Run, Source, Special, System, Thread, VERSION, advice,
};
use crate::error::{Result, malformed};

/// The longest name or list of words.
const LONGEST_TEXT: usize = 16 << 10;
/// The most that a processor keeps for a thread.
const LONGEST_STATE: usize = 64 << 10;
const LONGEST_AUXILIARY: usize = 4096;

/// What is left to read, and what it is called.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn take(&mut self, count: usize, what: &'static str) -> Result<&'b [u8]> {
        let Some((taken, rest)) = self.0.split_at_checked(count) else {
            return malformed(format!("it ends within {what}"));
        };
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N, what)?);
        Ok(array)
    }

    fn number(&mut self, what: &'static str) -> Result<u32> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn word(&mut self, what: &'static str) -> Result<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    fn words<const N: usize>(&mut self, what: &'static str) -> Result<[u64; N]> {
        let mut words = [0; N];
        for word in &mut words {
            *word = self.word(what)?;
        }
        Ok(words)
    }

    fn text(&mut self, most: usize, what: &'static str) -> Result<Vec<u8>> {
        let count = self.number(what)? as usize;
        if count > most {
            return malformed(format!("{what} of {count} bytes is too long"));
        }
        self.take(count, what).map(<[u8]>::to_vec)
    }

    /// A text that is given to calls of the system, and so has no zero in it.
    fn name(&mut self, what: &'static str) -> Result<Vec<u8>> {
        let name = self.text(LONGEST_TEXT, what)?;
        if name.contains(&0) { malformed(format!("{what} has a zero in it")) } else { Ok(name) }
    }

    /// A name from the root.
    fn path(&mut self, what: &'static str) -> Result<Vec<u8>> {
        let path = self.name(what)?;
        if path.first() == Some(&b'/') {
            Ok(path)
        } else {
            malformed(format!("{what} does not begin at the root"))
        }
    }

    /// So many of something that takes `size` bytes at least: more than there can be are not even counted.
    fn count(&mut self, size: usize, what: &'static str) -> Result<usize> {
        let count = self.number(what)? as usize;
        if count.checked_mul(size).is_none_or(|bytes| bytes > self.0.len()) {
            return malformed(format!("it has not as many bytes as {count} {what} take"));
        }
        Ok(count)
    }

    /// Whole pages of a program's memory.
    fn pages(&mut self, what: &'static str) -> Result<Range<u64>> {
        let [start, end] = self.words(what)?;
        if start < FIRST || end > END || start >= end {
            return malformed(format!("{what} at {start:#x} to {end:#x} is not in a program's memory"));
        }
        if !start.is_multiple_of(PAGE) || !end.is_multiple_of(PAGE) {
            return malformed(format!("{what} at {start:#x} to {end:#x} is not made of whole pages"));
        }
        Ok(start..end)
    }
}

impl Preamble {
    /// From the beginning of a file of so many bytes.
    ///
    /// # Errors
    /// No image; one of another version or size of a page; one that was cut off, or has something behind its end.
    pub fn read(bytes: &[u8], file: u64) -> Result<Preamble> {
        let mut rest = Rest(bytes);
        if rest.take(MAGIC.len(), "its first words").ok() != Some(MAGIC.as_slice()) {
            return malformed("it is not a saved image");
        }
        let version = rest.number("its version")?;
        if version != VERSION {
            return malformed(format!(
                "it is of version {version} of the format, and {VERSION} is read here"
            ));
        }
        let page = rest.number("its size of a page")?;
        if u64::from(page) != PAGE {
            return malformed(format!("its pages have {page} bytes, and here they have {PAGE}"));
        }
        let [header, contents, length, nothing] = rest.words("its first words")?;
        if header < PREAMBLE as u64 || header > LONGEST || nothing != 0 || length % PAGE != 0 {
            return malformed("its first words contradict each other");
        }
        let preamble = Preamble { header, contents, length };
        if preamble != Preamble::of(header, length) {
            return malformed("its contents do not begin behind its header");
        }
        match preamble.file() {
            meant if meant > file => malformed(format!("it was cut off: {file} of {meant} bytes are there")),
            meant if meant < file => malformed(format!("there are {} bytes behind its end", file - meant)),
            _ => Ok(preamble),
        }
    }
}

impl Frozen {
    /// Takes a header apart: exactly the bytes that its preamble says.
    ///
    /// # Errors
    /// What is not as it must be, in words.
    pub fn read(header: &[u8], preamble: &Preamble) -> Result<Frozen> {
        if header.len() as u64 != preamble.header {
            return malformed("it ends within its header");
        }
        let mut rest = Rest(header);
        rest.take(PREAMBLE, "its first words")?;
        let rest = &mut rest;
        let system = read_system(rest)?;
        let program = read_program(rest)?;
        let thread = read_thread(rest)?;
        let signals = read_signals(rest)?;
        let files = read_files(rest)?;
        let descriptors = read_descriptors(rest, files.len())?;
        let mappings = read_mappings(rest, files.len())?;
        let runs = read_runs(rest, &mappings)?;
        let note = rest.text(LONGEST_NOTE, "its note")?;
        let chunks: Vec<Digest> = rest.0.as_chunks().0.to_vec();
        if !rest.0.len().is_multiple_of(size_of::<Digest>())
            || chunks.len() as u64 != preamble.length.div_ceil(CHUNK)
        {
            return malformed("it has not one digest for each part of its contents");
        }
        let frozen =
            Frozen { system, program, thread, files, mappings, runs, descriptors, signals, note, chunks };
        if frozen.program.executable as usize >= frozen.files.len() {
            return malformed("its executable is not among its files");
        }
        if frozen.length() != preamble.length {
            return malformed("its contents are not as long as what they belong to");
        }
        for special in &frozen.system.kernel {
            let range = &special.range;
            let before = |mapping: &Mapping| mapping.range.end <= range.start;
            let next = frozen.mappings.partition_point(before);
            if frozen.mappings.get(next).is_some_and(|mapping| mapping.range.start < range.end) {
                return malformed(format!("a mapping is where the kernel's own was, at {:#x}", range.start));
            }
        }
        Ok(frozen)
    }
}

fn read_system(rest: &mut Rest<'_>) -> Result<System> {
    let machine = rest.name("its machine")?;
    let release = rest.name("its kernel")?;
    let processor = rest.name("its processor")?;
    let extended = rest.word("its processor")?;
    let calls = rest.array("its page of calls")?;
    let mut kernel: Vec<Special> = Vec::new();
    for _ in 0..rest.count(20, "mappings of the kernel")? {
        let name = rest.name("a mapping of the kernel")?;
        let range = rest.pages("a mapping of the kernel")?;
        if kernel.last().is_some_and(|last| last.range.end > range.start) {
            return malformed("the mappings of the kernel overlap");
        }
        kernel.push(Special { name, range });
    }
    Ok(System { machine, release, processor, extended, calls, kernel })
}

fn read_program(rest: &mut Rest<'_>) -> Result<Program> {
    let executable = rest.number("its program")?;
    let umask = rest.number("its umask")?;
    if umask > 0o777 {
        return malformed("its umask is none");
    }
    let name = rest.name("its name")?;
    let directory = rest.path("its working directory")?;
    let ready = rest.name("where it was ready")?;
    let memory = rest.words("its layout")?;
    let auxiliary = rest.text(LONGEST_AUXILIARY, "its auxiliary vector")?;
    if !auxiliary.len().is_multiple_of(16) {
        return malformed("its auxiliary vector is not made of whole entries");
    }
    Ok(Program { executable, name, directory, umask, ready, memory, auxiliary })
}

fn read_thread(rest: &mut Rest<'_>) -> Result<Thread> {
    let registers = rest.words("its registers")?;
    let extended = rest.text(LONGEST_STATE, "its processor's state")?;
    let mask = rest.word("its signal mask")?;
    let stack = rest.words("its signal stack")?;
    let number_at = rest.word("its number's place")?;
    let numbers = rest.words("its number's places")?;
    let locks = rest.words("its list of locks")?;
    let sequences = rest.words("its restartable sequences")?;
    Ok(Thread { registers, extended, mask, stack, number_at, numbers, locks, sequences })
}

fn read_signals(rest: &mut Rest<'_>) -> Result<Vec<Disposition>> {
    let mut signals: Vec<Disposition> = Vec::new();
    for _ in 0..rest.count(36, "signals")? {
        let signal = rest.number("a signal")?;
        let before = signals.last().map_or(0, |last| last.signal);
        if !(before + 1..=64).contains(&signal) {
            return malformed("its signals are not in their order");
        }
        signals.push(Disposition { signal, action: rest.words("a signal")? });
    }
    Ok(signals)
}

fn read_files(rest: &mut Rest<'_>) -> Result<Vec<KnownFile>> {
    let mut files = Vec::new();
    for _ in 0..rest.count(44, "files")? {
        let path = rest.path("a file's name")?;
        let size = rest.word("a file's size")?;
        files.push(KnownFile { path, size, digest: rest.array("a file's digest")? });
    }
    Ok(files)
}

fn read_descriptors(rest: &mut Rest<'_>, files: usize) -> Result<Vec<Descriptor>> {
    /// `O_NOATIME`, `O_NONBLOCK`, `O_LARGEFILE`, `O_NOFOLLOW`: nothing that makes, changes or waits.
    const FLAGS: u32 = 0o1_000_000 | 0o4000 | 0o100_000 | 0o400_000;
    let mut descriptors: Vec<Descriptor> = Vec::new();
    for _ in 0..rest.count(24, "descriptors")? {
        let (number, file) = (rest.number("a descriptor")?, rest.number("a descriptor")?);
        let offset = rest.word("a descriptor")?;
        let (flags, closing) = (rest.number("a descriptor")?, rest.number("a descriptor")?);
        let before = descriptors.last().map_or(2, |last| last.number);
        if number <= before || number >= 999 || file as usize >= files {
            return malformed(format!("descriptor {number} cannot be"));
        }
        if flags & !FLAGS != 0 || closing > 1 || offset > i64::MAX as u64 {
            return malformed(format!("descriptor {number} was opened in a way that none is"));
        }
        descriptors.push(Descriptor { number, file, offset, flags, closing: closing == 1 });
    }
    Ok(descriptors)
}

fn read_mappings(rest: &mut Rest<'_>, files: usize) -> Result<Vec<Mapping>> {
    let mut mappings: Vec<Mapping> = Vec::new();
    for _ in 0..rest.count(40, "mappings")? {
        let range = rest.pages("a mapping")?;
        let at = range.start;
        if mappings.last().is_some_and(|last| last.range.end > at) {
            return malformed(format!("the mapping at {at:#x} overlaps, or is not in its order"));
        }
        let (rights, hints) = (rest.number("a mapping")?, rest.number("a mapping")?);
        let (kind, file) = (rest.number("a mapping")?, rest.number("a mapping")?);
        let offset = rest.word("a mapping")?;
        let source = match kind {
            0 => Source::Anonymous,
            1 => Source::Stack,
            2 => Source::Image,
            3 | 4 => Source::File { file, offset, shared: kind == 4 },
            _ => return malformed(format!("the mapping at {at:#x} is of no kind")),
        };
        if rights > 7 || hints & !advice::ALL != 0 || hints & 3 == 3 {
            return malformed(format!("the mapping at {at:#x} has rights that are none"));
        }
        match source {
            Source::File { shared: true, .. } if rights & 2 != 0 => {
                return malformed(format!("the mapping at {at:#x} writes into a file"));
            }
            Source::File { file, offset, .. } => {
                // A part beyond the file's end can be mapped, and never read: segments that lie far apart leave such.
                let end = offset.checked_add(range.end - at).filter(|end| *end <= i64::MAX as u64);
                if file as usize >= files || !offset.is_multiple_of(PAGE) || end.is_none() {
                    return malformed(format!("the mapping at {at:#x} is of a part that no file has"));
                }
            }
            _ if file != 0 || offset != 0 => {
                return malformed(format!("the mapping at {at:#x} is of no file, and of a part of one"));
            }
            _ => {}
        }
        mappings.push(Mapping { range, rights, advice: hints, source });
    }
    Ok(mappings)
}

fn read_runs(rest: &mut Rest<'_>, mappings: &[Mapping]) -> Result<Vec<Run>> {
    let mut runs: Vec<Run> = Vec::new();
    for _ in 0..rest.count(20, "parts of its contents")? {
        let range = rest.pages("a part of its contents")?;
        let mapping = rest.number("a part of its contents")?;
        let at = range.start;
        if runs.last().is_some_and(|last| last.range.end > at) {
            return malformed(format!("the contents at {at:#x} overlap, or are not in their order"));
        }
        let holds = |one: &Mapping| {
            one.range.start <= at
                && range.end <= one.range.end
                && !matches!(one.source, Source::File { shared: true, .. })
        };
        if !mappings.get(mapping as usize).is_some_and(holds) {
            return malformed(format!("the contents at {at:#x} lie in no mapping of their own"));
        }
        runs.push(Run { range, mapping });
    }
    Ok(runs)
}
