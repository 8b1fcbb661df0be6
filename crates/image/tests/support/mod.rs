//! Made ELF files, small enough to see through, for the tests that break them.

#![allow(dead_code)]

pub(crate) mod invariants;

pub(crate) const LOAD: u32 = 1;
pub(crate) const INTERPRETER: u32 = 3;
pub(crate) const TLS: u32 = 7;
pub(crate) const STACK: u32 = 0x6474_e551;
pub(crate) const R: u32 = 4;
pub(crate) const W: u32 = 2;
pub(crate) const X: u32 = 1;

/// One entry of a segment table.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Entry {
    pub(crate) kind: u32,
    pub(crate) flags: u32,
    pub(crate) offset: u64,
    pub(crate) address: u64,
    pub(crate) in_file: u64,
    pub(crate) in_memory: u64,
    pub(crate) alignment: u64,
}

/// A loadable segment whose bytes in the file are all of it.
pub(crate) fn load(flags: u32, offset: u64, address: u64, size: u64) -> Entry {
    Entry { kind: LOAD, flags, offset, address, in_file: size, in_memory: size, alignment: 0x1000 }
}

/// An executable to be made.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) kind: u16,
    pub(crate) entry: u64,
    pub(crate) table_at: u64,
    pub(crate) entries: Vec<Entry>,
    pub(crate) size: usize,
}

impl Made {
    /// Position-independent: headers and code, constants, data with more in memory than in the file.
    pub(crate) fn program() -> Made {
        let data = Entry { in_memory: 0x2800, ..load(R | W, 0x3f00, 0x4f00, 0x90) };
        let entries = vec![load(R | X, 0, 0, 0x1234), load(R, 0x2000, 0x2000, 0x800), data];
        Made { kind: 3, entry: 0x1000, table_at: 64, entries, size: 0x3f90 }
    }

    /// The same at addresses of its own.
    pub(crate) fn fixed() -> Made {
        let mut made = Made::program();
        made.kind = 2;
        made.entry += 0x40_0000;
        made.entries.iter_mut().for_each(|entry| entry.address += 0x40_0000);
        made
    }

    /// One changed entry.
    pub(crate) fn with(mut self, index: usize, change: impl FnOnce(&mut Entry)) -> Made {
        change(&mut self.entries[index]);
        self
    }

    /// One entry more.
    pub(crate) fn and(mut self, entry: Entry) -> Made {
        self.entries.push(entry);
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0xcc; self.size];
        let mut header = vec![0u8; 64];
        header[..7].copy_from_slice(b"\x7fELF\x02\x01\x01");
        put(&mut header, 16, &self.kind.to_le_bytes());
        put(&mut header, 18, &62u16.to_le_bytes());
        put(&mut header, 24, &self.entry.to_le_bytes());
        put(&mut header, 32, &self.table_at.to_le_bytes());
        put(&mut header, 54, &56u16.to_le_bytes());
        put(&mut header, 56, &(self.entries.len() as u16).to_le_bytes());
        put(&mut bytes, 0, &header);
        let table: Vec<u8> = self.entries.iter().flat_map(Entry::bytes).collect();
        put(&mut bytes, self.table_at as usize, &table);
        bytes
    }
}

impl Entry {
    fn bytes(&self) -> Vec<u8> {
        let words = [self.offset, self.address, self.address, self.in_file, self.in_memory, self.alignment];
        let start = [self.kind, self.flags].into_iter().flat_map(u32::to_le_bytes);
        start.chain(words.into_iter().flat_map(u64::to_le_bytes)).collect()
    }
}

/// Writes what fits.
pub(crate) fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(place) = bytes.get_mut(at..).and_then(|rest| rest.get_mut(..what.len())) {
        place.copy_from_slice(what);
    }
}

/// A symbol to be made: name, type, section, address, size.
pub(crate) type MadeSymbol<'a> = (&'a str, u8, u16, u64, u64);

/// An ELF file with sections only: none, symbols (of this kind), their names, text from `0x1000` to `0x2000`.
pub(crate) fn with_symbols(kind: u32, symbols: &[MadeSymbol<'_>]) -> Vec<u8> {
    let mut names = vec![0u8];
    let mut table = vec![0u8; 24];
    for (name, info, section, address, size) in symbols {
        table.extend((names.len() as u32).to_le_bytes());
        table.extend([*info, 0]);
        table.extend(section.to_le_bytes());
        table.extend(address.to_le_bytes());
        table.extend(size.to_le_bytes());
        names.extend(name.as_bytes());
        names.push(0);
    }
    let (table_at, names_at) = (64, 64 + table.len());
    let sections_at = names_at + names.len();
    let mut bytes = Made { entries: Vec::new(), size: 64, ..Made::program() }.bytes();
    put(&mut bytes, 40, &(sections_at as u64).to_le_bytes());
    put(&mut bytes, 58, &64u16.to_le_bytes());
    put(&mut bytes, 60, &4u16.to_le_bytes());
    bytes.extend(&table);
    bytes.extend(&names);
    for (kind, address, offset, size, link, entry) in [
        (0, 0, 0, 0, 0, 0),
        (kind, 0, table_at, table.len(), 2, 24),
        (3, 0, names_at, names.len(), 0, 0),
        (1, 0x1000u64, 0, 0x1000, 0, 0),
    ] {
        let mut section = vec![0u8; 64];
        put(&mut section, 4, &kind.to_le_bytes());
        put(&mut section, 16, &address.to_le_bytes());
        put(&mut section, 24, &(offset as u64).to_le_bytes());
        put(&mut section, 32, &(size as u64).to_le_bytes());
        put(&mut section, 40, &(link as u32).to_le_bytes());
        put(&mut section, 56, &(entry as u64).to_le_bytes());
        bytes.extend(section);
    }
    bytes
}
