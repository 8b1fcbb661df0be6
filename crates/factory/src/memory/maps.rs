//! What is mapped in a process, and which of it is there: `/proc/PID/smaps` and `/proc/PID/pagemap`, read.
//!
//! Safety idea: only what was understood is acted upon; a line that is not as the kernel writes it makes the mapping one that is left alone.

use std::fs::File;
use std::os::unix::fs::FileExt;

use beget_sys::memory::how;

use super::{PAGE, Range};
use crate::{Error, Result};

/// One mapping of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mapping {
    /// Its first address.
    pub first: u64,
    /// The address behind its last.
    pub end: u64,
    /// Bits of [`beget_sys::memory::how`]: what may be done there.
    pub rights: usize,
    /// Whether what is written there stays in the process.
    pub private: bool,
    /// Its file's number, 0 for none.
    pub inode: u64,
    /// Its file's name, or what the kernel calls it.
    pub name: String,
    /// Bytes that are there and are no file's: written by the process or a parent of it.
    pub anonymous: u64,
    /// Bytes of those in huge pages.
    pub huge: u64,
    /// A key of the processor's that guards it (`man 7 pkeys`).
    pub key: u64,
    /// The kernel's flags of two letters (`man 5 proc_pid_smaps`, `VmFlags`).
    pub flags: String,
}

impl Mapping {
    /// Its addresses.
    #[must_use]
    pub fn range(&self) -> (u64, u64) {
        (self.first, self.end)
    }

    /// Whether it has one of these flags of two letters.
    #[must_use]
    pub fn has(&self, flags: &[&str]) -> bool {
        self.flags.split_ascii_whitespace().any(|flag| flags.contains(&flag))
    }

    /// Whether it is a program's ordinary private memory, which may be replaced by other memory that holds the same. Not: what grows down,
    /// is wiped in or kept from copies, dropped or locked or sealed, mapped from a device, of huge pages of its own, watched by the process,
    /// a shadow stack, or guarded by a key.
    #[must_use]
    pub fn is_ordinary(&self) -> bool {
        const SPECIAL: [&str; 19] = [
            "gd", "wf", "dc", "dp", "io", "pf", "ht", "mm", "lo", "lf", "sl", "um", "uw", "ui", "ss", "mt",
            "sh", "ms", "gu",
        ];
        let named = self.name.starts_with('[') && self.name != "[heap]" && !self.name.starts_with("[anon");
        self.private && self.key == 0 && !named && self.rights & how::READ != 0 && !self.has(&SPECIAL)
    }

    /// Whether it is memory of no file. Memory of the device of zeroes is too, though it has a file's name.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.inode == 0 || self.name == "/dev/zero"
    }

    fn begin(line: &str) -> Option<Mapping> {
        let mut rest = line;
        let mut word = || {
            let (word, after) = rest.trim_start().split_once(' ').unwrap_or((rest.trim_start(), ""));
            rest = after;
            word
        };
        let (range, rights) = (word(), word().as_bytes());
        let (_offset, _device, inode) = (word(), word(), word());
        let (first, end) = range.split_once('-')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        let &[read, write, execute, kind] = rights else { return None };
        let bit = |is: bool, bit| if is { bit } else { 0 };
        let rights = bit(read == b'r', how::READ)
            | bit(write == b'w', how::WRITE)
            | bit(execute == b'x', how::EXECUTE);
        Some(Mapping {
            first: number(first)?,
            end: number(end)?,
            rights,
            private: kind == b'p',
            inode: inode.parse().ok()?,
            name: rest.trim().to_owned(),
            ..Mapping::default()
        })
    }
}

/// All mappings of a process, from the lowest address on.
///
/// # Errors
/// A process that may not be looked into; a kernel that tells of no pages (`CONFIG_PROC_PAGE_MONITOR`).
pub fn mappings(number: i32) -> Result<Vec<Mapping>> {
    let text = std::fs::read(format!("/proc/{number}/smaps"));
    let text = text.map_err(|error| Error::io("template: its mappings", error))?;
    Ok(parse(&String::from_utf8_lossy(&text)))
}

fn parse(text: &str) -> Vec<Mapping> {
    let mut all: Vec<Mapping> = Vec::new();
    for line in text.lines() {
        let key = line.split(' ').next().and_then(|word| word.strip_suffix(':'));
        let (Some(key), Some(mapping)) = (key, all.last_mut()) else {
            all.extend(Mapping::begin(line));
            continue;
        };
        let value = line.get(key.len() + 1..).unwrap_or_default().trim();
        let number = value.split(' ').next().and_then(|number| number.parse::<u64>().ok()).unwrap_or(0);
        match key {
            "Anonymous" => mapping.anonymous = number << 10,
            "AnonHugePages" => mapping.huge = number << 10,
            "ProtectionKey" => mapping.key = number,
            "VmFlags" => value.clone_into(&mut mapping.flags),
            _ => {}
        }
    }
    all
}

/// What the kernel says of one page of a process: a word of its `pagemap`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Page(pub u64);

impl Page {
    fn bit(self, bit: u32) -> bool {
        self.0 >> bit & 1 == 1
    }

    /// It is in memory.
    #[must_use]
    pub fn is_present(self) -> bool {
        self.bit(63)
    }

    /// It is a file's, or memory that is shared like a file's.
    #[must_use]
    pub fn is_file(self) -> bool {
        self.bit(61)
    }

    /// It was written to by the process, or a parent of it, and is no file's.
    #[must_use]
    pub fn is_anonymous(self) -> bool {
        (self.is_present() || self.bit(62)) && !self.is_file()
    }

    /// It is there to be never touched (`MADV_GUARD_INSTALL`, Linux 6.13; told since 6.15).
    #[must_use]
    pub fn is_guard(self) -> bool {
        self.bit(58)
    }

    /// No other process has it mapped.
    #[must_use]
    pub fn is_alone(self) -> bool {
        self.bit(56)
    }
}

/// The pages of a process from `first` to `end`.
///
/// # Errors
/// As for [`mappings`].
pub fn pages(number: i32, first: u64, end: u64) -> Result<Vec<Page>> {
    let failed = |error| Error::io("template: its pages", error);
    let table = File::open(format!("/proc/{number}/pagemap")).map_err(failed)?;
    read_pages(&table, (first, end))
}

/// The same, from a table that is open.
pub(super) fn read_pages(table: &File, (first, end): Range) -> Result<Vec<Page>> {
    let failed = |error| Error::io("template: its pages", error);
    let mut words = vec![0; (end.saturating_sub(first) / PAGE * 8) as usize];
    table.read_exact_at(&mut words, first / PAGE * 8).map_err(failed)?;
    Ok(words.as_chunks().0.iter().map(|word| Page(u64::from_ne_bytes(*word))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
55e0c0a00000-55e0c0a21000 rw-p 00000000 00:00 0                          [heap]
Size:                132 kB
Anonymous:            40 kB
AnonHugePages:         0 kB
ProtectionKey:         0
VmFlags: rd wr mr mw me ac sd
7f0000000000-7f0000001000 r--p 00002000 fe:00 1234                       /lib/a name: with things
Anonymous:             4 kB
VmFlags: rd mr mw me ac wf
7ffc00000000-7ffc00021000 rw-p 00000000 00:00 0                          [stack]
VmFlags: rd wr mr mw me gd ac
7ffc00100000-7ffc00101000 rw-s 00000000 00:01 7                          /dev/zero (deleted)
VmFlags: rd wr sh mr mw me ms
";

    #[test]
    fn mappings_are_read_as_the_kernel_writes_them() {
        let all = parse(TEXT);
        assert_eq!(all.len(), 4);
        let heap = &all[0];
        assert_eq!(heap.range(), (0x55e0_c0a0_0000, 0x55e0_c0a2_1000));
        assert_eq!((heap.rights, heap.private, heap.inode), (3, true, 0));
        assert_eq!((heap.name.as_str(), heap.anonymous), ("[heap]", 40 << 10));
        assert_eq!(
            (all[1].name.as_str(), all[1].inode, all[1].rights),
            ("/lib/a name: with things", 1234, 1)
        );
        let ordinary: Vec<bool> = all.iter().map(Mapping::is_ordinary).collect();
        assert_eq!(ordinary, [true, false, false, false]);
    }

    #[test]
    fn our_own_memory_is_found() {
        let there = vec![1u8; 64 << 10];
        let at = there.as_ptr() as u64;
        let own = std::process::id() as i32;
        let all = mappings(own).expect("ours");
        let mapping =
            all.iter().find(|mapping| mapping.first <= at && at < mapping.end).expect("it is mapped");
        assert!(mapping.is_ordinary() && mapping.is_anonymous(), "{mapping:?}");
        let first = at.next_multiple_of(PAGE);
        let pages = pages(own, first, first + (32 << 10)).expect("ours");
        assert!(
            pages.len() == 8 && pages.iter().all(|page| page.is_anonymous() && page.is_alone()),
            "{pages:x?}"
        );
        assert!(parse("nonsense\nAnonymous: 4 kB\n").is_empty());
    }
}
