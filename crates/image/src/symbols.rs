//! The functions of an image by address and by name, for stack traces and ready points.
//!
//! Safety idea: a symbol table is an allegation. Its bounds are checked against the file before a byte is reserved for it, each
//! name must end within its table, and addresses are only ever compared. What it says may be false; it cannot do harm.

use std::borrow::Cow;

use crate::elf::{half, header, long, word};
use crate::error::{Result, malformed};
use crate::source::{Source, exactly};

const SECTION: usize = 64;
const SYMBOL: usize = 24;
/// The most that symbols and their names may take, in bytes.
const MOST: u64 = 64 << 20;
/// The most sections.
const MOST_SECTIONS: u64 = 1 << 16;

const SYMBOLS: u32 = 2;
const STRINGS: u32 = 3;
const DYNAMIC_SYMBOLS: u32 = 11;
const VARIABLE: u8 = 1;
const FUNCTION: u8 = 2;
const INDIRECT: u8 = 10;

/// The functions of an image, or its variables.
#[derive(Clone, Debug, Default)]
pub struct Symbols {
    /// Ascending by address; of several at one, the best name first.
    entries: Vec<Entry>,
    /// Every entry's name begins in it, and it ends in NUL.
    names: Vec<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    address: u64,
    size: u64,
    /// Where it ends at the latest, when it has no size: with its section.
    latest: u64,
    name: u32,
    local: bool,
}

/// A function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbol<'a> {
    /// Its name, as it is in the file: not demangled, and not always text.
    pub name: &'a [u8],
    /// Its first byte, as the image names it.
    pub address: u64,
    /// Its bytes: 0 when the file does not say.
    pub size: u64,
    /// How far into it the address lies that was asked for.
    pub offset: u64,
}

impl Symbol<'_> {
    /// Its name as text, with what is no text replaced.
    #[must_use]
    pub fn name_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(self.name)
    }
}

impl Symbols {
    /// Reads the functions that an ELF file defines: of `.symtab`, else of `.dynsym`. A file that has neither has none.
    ///
    /// # Errors
    /// [`Error::Malformed`](crate::Error::Malformed) for what is no ELF file of this machine, for tables that are cut short or
    /// refer to what is not there, and for more than 64 MiB of them; [`Error::Unread`](crate::Error::Unread) when the source
    /// cannot be read.
    pub fn read<S: Source + ?Sized>(source: &S) -> Result<Symbols> {
        let sections = sections(source)?;
        let of_kind = |kind| sections.iter().find(|section| section.kind == kind);
        let table = of_kind(SYMBOLS).or_else(|| of_kind(DYNAMIC_SYMBOLS));
        Symbols::read_tables(source, &sections, table.as_slice(), &[FUNCTION, INDIRECT])
    }

    /// The same with its variables instead of its functions: those of both tables.
    ///
    /// # Errors
    /// As for [`read`](Symbols::read).
    pub fn read_variables<S: Source + ?Sized>(source: &S) -> Result<Symbols> {
        let sections = sections(source)?;
        let tables = sections.iter().filter(|section| [SYMBOLS, DYNAMIC_SYMBOLS].contains(&section.kind));
        let tables: Vec<&Section> = tables.take(2).collect();
        Symbols::read_tables(source, &sections, &tables, &[VARIABLE])
    }

    fn read_tables<S: Source + ?Sized>(
        source: &S,
        sections: &[Section],
        tables: &[&Section],
        kinds: &[u8],
    ) -> Result<Symbols> {
        let mut all = Symbols::default();
        for table in tables {
            all.read_table(source, sections, table, kinds)?;
        }
        // What has a size and is known elsewhere is the better name; among equals the first of the file.
        all.entries.sort_by_key(|entry| (entry.address, entry.size == 0, entry.local));
        Ok(all)
    }

    fn read_table<S: Source + ?Sized>(
        &mut self,
        source: &S,
        sections: &[Section],
        table: &Section,
        kinds: &[u8],
    ) -> Result<()> {
        let Some(strings) = sections.get(table.link as usize).filter(|section| section.kind == STRINGS)
        else {
            return malformed("an ELF file whose symbols have no names");
        };
        if table.entry_size != SYMBOL as u64 || !table.size.is_multiple_of(SYMBOL as u64) {
            return malformed("an ELF file with a malformed symbol table");
        }
        if table.size.saturating_add(strings.size) > MOST {
            return malformed("an ELF file with more than 64 MiB of symbols");
        }
        let names = strings.contents(source)?;
        // So every name in it ends. To look for each one's end would take the square of the file's size.
        if names.last().is_some_and(|last| *last != 0) {
            return malformed("an ELF file with a malformed table of names");
        }
        let before = self.names.len() as u32;
        for symbol in table.contents(source)?.chunks_exact(SYMBOL) {
            let (name, kind, section) = (word(symbol, 0), symbol[4] & 0xf, half(symbol, 6));
            if !kinds.contains(&kind) || section == 0 {
                continue;
            }
            if name as usize >= names.len() {
                return malformed("an ELF file with a symbol whose name is not there");
            }
            let (address, size) = (long(symbol, 8), long(symbol, 16));
            let latest = sections.get(usize::from(section)).map_or(address, |section| section.end());
            let (name, local) = (before + name, symbol[4] >> 4 == 0);
            self.entries.push(Entry { address, size, latest, name, local });
        }
        self.names.extend(names);
        Ok(())
    }

    /// The function at an address of the image: the nearest one that begins at or below it, if the address is within its size, or,
    /// where that is not told, before the next function and within its section.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<Symbol<'_>> {
        let after = self.entries.partition_point(|entry| entry.address <= address);
        let nearest = self.entries[..after].last()?.address;
        let first = self.entries.partition_point(|entry| entry.address < nearest);
        let offset = address - nearest;
        let holds = |entry: &&Entry| match entry.size {
            0 => address < entry.latest,
            size => offset < size,
        };
        self.entries[first..after].iter().find(holds).map(|entry| self.symbol(entry, offset))
    }

    /// The function of this name; of several, the one at the lowest address. It looks at every symbol.
    #[must_use]
    pub fn named(&self, name: &[u8]) -> Option<Symbol<'_>> {
        if name.contains(&0) {
            return None;
        }
        let is = |entry: &&Entry| {
            let rest = self.names[entry.name as usize..].strip_prefix(name);
            rest.is_some_and(|rest| rest.first() == Some(&0))
        };
        self.entries.iter().find(is).map(|entry| self.symbol(entry, 0))
    }

    /// How many there are: none in a file that was stripped of them.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }

    fn symbol(&self, entry: &Entry, offset: u64) -> Symbol<'_> {
        let from = &self.names[entry.name as usize..];
        let name = from.split(|byte| *byte == 0).next().unwrap_or_default();
        Symbol { name, address: entry.address, size: entry.size, offset }
    }
}

struct Section {
    kind: u32,
    address: u64,
    offset: u64,
    size: u64,
    link: u32,
    entry_size: u64,
}

impl Section {
    fn of(bytes: &[u8]) -> Section {
        Section {
            kind: word(bytes, 4),
            address: long(bytes, 16),
            offset: long(bytes, 24),
            size: long(bytes, 32),
            link: word(bytes, 40),
            entry_size: long(bytes, 56),
        }
    }

    fn end(&self) -> u64 {
        self.address.saturating_add(self.size)
    }

    fn contents<S: Source + ?Sized>(&self, source: &S) -> Result<Vec<u8>> {
        read(source, self.offset, self.size, "an ELF file cut short in its symbols")
    }
}

fn sections<S: Source + ?Sized>(source: &S) -> Result<Vec<Section>> {
    let header = header(source)?;
    let (at, size, count) = (long(&header, 40), half(&header, 58), u64::from(half(&header, 60)));
    if at == 0 {
        return Ok(Vec::new());
    }
    let cut = "an ELF file cut short in its section table";
    // More than fit into the header's number are counted in the first section's size.
    let count = if count == 0 { Section::of(&read(source, at, SECTION as u64, cut)?).size } else { count };
    if usize::from(size) != SECTION || count > MOST_SECTIONS {
        return malformed("an ELF file with a malformed section table");
    }
    let table = read(source, at, count * SECTION as u64, cut)?;
    Ok(table.chunks_exact(SECTION).map(Section::of).collect())
}

/// Reads a range, which must be in the file before room is made for it.
fn read<S: Source + ?Sized>(source: &S, offset: u64, size: u64, cut: &'static str) -> Result<Vec<u8>> {
    let whole = source.size()?;
    if offset.checked_add(size).is_none_or(|end| end > whole) {
        return malformed(cut);
    }
    let mut bytes = vec![0; size as usize];
    if !exactly(source, offset, &mut bytes)? {
        return malformed(cut);
    }
    Ok(bytes)
}
