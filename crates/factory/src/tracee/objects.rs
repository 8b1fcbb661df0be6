//! What is mapped into a stopped program: which files, where, and at which addresses their symbols lie in it.
//!
//! Safety idea: a mapping is believed to be of a file only when the file that is opened is that very one, by its number; what a symbol
//! table says is an address to look at, never one to trust.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};

use beget_image::Symbols;

use super::Tracee;
use crate::{Error, Fault, Result};

/// Keys of the auxiliary vector (`man 3 getauxval`).
pub(crate) mod key {
    pub(crate) const BASE: u64 = 7;
    pub(crate) const ENTRY: u64 = 9;
    pub(crate) const PLATFORM: u64 = 15;
    pub(crate) const RANDOM: u64 = 25;
    pub(crate) const EXECUTABLE_NAME: u64 = 31;
}

const PAGE: u64 = 4096;
/// Less than this between two mappings is no room.
const LEAST_GAP: u64 = 64 << 20;
/// The size of a program header, and the kind of one that is mapped.
const SEGMENT: usize = 56;
const LOADED: u16 = 1;

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_le_bytes)
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_le_bytes)
}

/// One line of `/proc/PID/maps`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Its addresses.
    pub range: Range<u64>,
    /// It may be written.
    pub writable: bool,
    /// It may be executed.
    pub executable: bool,
    /// Where in its file it begins, in bytes.
    pub offset: u64,
    /// Its file's number, 0 for none, and its device's as it stands there.
    pub file: (u64, String),
    /// The file's path, or what the kernel calls it.
    pub path: String,
}

impl Mapping {
    fn read(line: &str) -> Option<Mapping> {
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
            rest = after;
            word
        };
        let (range, rights, offset, device, number) = (word(), word(), word(), word(), word());
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let (first, end) = range.split_once('-')?;
        Some(Mapping {
            range: hex(first)?..hex(end)?,
            writable: rights.contains('w'),
            executable: rights.contains('x'),
            offset: hex(offset)?,
            file: (number.parse().ok()?, device.to_owned()),
            path: rest.trim_start().to_owned(),
        })
    }
}

/// A file that is mapped, whole or in part.
#[derive(Clone, Debug)]
pub(crate) struct Object {
    /// Its mappings, by address.
    pub(crate) mappings: Vec<Mapping>,
}

/// All that is mapped, and what the kernel told of it.
#[derive(Debug)]
pub(crate) struct Objects {
    number: i32,
    pub(crate) mappings: Vec<Mapping>,
    pub(crate) auxiliary: Vec<(u64, u64)>,
}

impl Tracee {
    /// What is mapped into it, by address.
    ///
    /// # Errors
    /// `/proc` that cannot be read.
    pub fn mappings(&self) -> Result<Vec<Mapping>> {
        let maps = std::fs::read(format!("/proc/{}/maps", self.number()));
        let maps = maps.map_err(|error| Error::io("template: its maps", error))?;
        Ok(String::from_utf8_lossy(&maps).lines().filter_map(Mapping::read).collect())
    }

    /// The auxiliary vector that the kernel gave it.
    ///
    /// # Errors
    /// `/proc` that cannot be read.
    pub fn auxiliary(&self) -> Result<Vec<(u64, u64)>> {
        let bytes = std::fs::read(format!("/proc/{}/auxv", self.number()));
        let bytes = bytes.map_err(|error| Error::io("template: its auxiliary vector", error))?;
        let words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
        let pairs = words.as_chunks().0.iter().map(|[key, value]| (*key, *value));
        Ok(pairs.take_while(|(key, _)| *key != 0).collect())
    }

    pub(crate) fn objects(&self) -> Result<Objects> {
        let (mappings, auxiliary) = (self.mappings()?, self.auxiliary()?);
        Ok(Objects { number: self.number(), mappings, auxiliary })
    }
}

impl Objects {
    /// What the auxiliary vector says of a key.
    pub(crate) fn value(&self, key: u64) -> Option<u64> {
        self.auxiliary.iter().find(|(found, _)| *found == key).map(|(_, value)| *value)
    }

    /// The mapping that an address is in.
    pub(crate) fn at(&self, address: u64) -> Option<&Mapping> {
        self.mappings.iter().find(|mapping| mapping.range.contains(&address))
    }

    /// Where the program begins.
    pub(crate) fn entry(&self) -> Result<u64> {
        let none = || Error::new("template: entry", "the kernel does not tell it", Fault::NotRunnable);
        self.value(key::ENTRY).ok_or_else(none)
    }

    /// An address with nothing around it for as far as there is room: the middle of the widest gap. There the program's own memory does
    /// not come to lie, nor what the kernel maps for a copy.
    pub(crate) fn far_from_all(&self) -> Result<u64> {
        let gaps = self.mappings.windows(2).filter_map(|pair| match pair {
            // What the kernel maps at the very end is no neighbour.
            [before, after] if after.range.start >> 63 == 0 => Some(before.range.end..after.range.start),
            _ => None,
        });
        let widest = gaps.max_by_key(|gap| gap.end - gap.start);
        let none = || Error::new("template: its maps", "there is no room between them", Fault::NotRunnable);
        let gap = widest.filter(|gap| gap.end - gap.start > LEAST_GAP).ok_or_else(none)?;
        Ok((gap.start + (gap.end - gap.start) / 2) & !(PAGE - 1))
    }

    /// Whether a loader starts it.
    pub(crate) fn has_loader(&self) -> bool {
        self.value(key::BASE).is_some_and(|base| base != 0)
    }

    fn of_file(&self, one: &Mapping) -> Object {
        let same = |mapping: &&Mapping| mapping.file == one.file && mapping.path == one.path;
        Object { mappings: self.mappings.iter().filter(same).cloned().collect() }
    }

    /// The program itself: what its entry is in.
    pub(crate) fn program(&self) -> Result<Object> {
        let none = || Error::new("template: program", "it is not mapped", Fault::NotRunnable);
        Ok(self.of_file(self.at(self.entry()?).ok_or_else(none)?))
    }

    /// The program, then every other file with code that is mapped.
    pub(crate) fn all(&self) -> Result<Vec<Object>> {
        let mut all = vec![self.program()?];
        for mapping in self.mappings.iter().filter(|mapping| mapping.executable && mapping.file.0 != 0) {
            if !all.iter().any(|object| object.mappings.contains(mapping)) {
                all.push(self.of_file(mapping));
            }
        }
        Ok(all)
    }

    /// Opens the very file that is mapped, if it can be found.
    pub(crate) fn open(&self, object: &Object) -> Option<File> {
        let one = object.mappings.first()?;
        let Range { start, end } = one.range;
        let number = self.number;
        // By mapping, which only privilege may; as the program's own file; by name, in its own root.
        let names = [
            format!("/proc/{number}/map_files/{start:x}-{end:x}"),
            format!("/proc/{number}/exe"),
            format!("/proc/{number}/root{}", one.path),
        ];
        names.iter().find_map(|name| {
            let file = File::open(name).ok()?;
            let found = file.metadata().ok()?;
            (found.is_file() && found.ino() == one.file.0).then_some(file)
        })
    }

    /// What is added to a file's addresses where it is mapped.
    pub(crate) fn bias(&self, object: &Object, file: &File) -> Option<u64> {
        let first = object.mappings.first()?;
        let mut header = [0; 64];
        file.read_exact_at(&mut header, 0).ok()?;
        let (table, count) = (long(&header, 32)?, half(&header, 56)?);
        let mut records = vec![0; usize::from(count) * SEGMENT];
        file.read_exact_at(&mut records, table).ok()?;
        records.chunks_exact(SEGMENT).find_map(|record| {
            let (kind, offset, address) = (half(record, 0)?, long(record, 8)?, long(record, 16)?);
            let here = kind == LOADED && offset & !(PAGE - 1) == first.offset;
            here.then(|| first.range.start.wrapping_sub(address & !(PAGE - 1)))
        })
    }

    /// The address of a function of this name: the program's, else a library's; and in which file.
    pub(crate) fn function(&self, name: &str) -> Result<Option<u64>> {
        for object in self.all()? {
            if let Some(at) = self.function_of(&object, name) {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    /// The address of a variable in one file.
    pub(crate) fn variable_of(&self, object: &Object, name: &str) -> Option<u64> {
        let file = self.open(object)?;
        let symbols = Symbols::read_variables(&file).ok()?;
        Some(symbols.named(name.as_bytes())?.address.wrapping_add(self.bias(object, &file)?))
    }

    /// As [`function`](Objects::function), in one file.
    pub(crate) fn function_of(&self, object: &Object, name: &str) -> Option<u64> {
        let file = self.open(object)?;
        let symbols = Symbols::read(&file).ok()?;
        let at = symbols.named(name.as_bytes())?.address.wrapping_add(self.bias(object, &file)?);
        let holds = |mapping: &&Mapping| mapping.range.contains(&at) && mapping.executable;
        object.mappings.iter().find(holds).map(|_| at)
    }
}
