//! What a process has mapped, as `/proc/PID/smaps` tells it, and which pages are its own (`/proc/PID/pagemap`).
//!
//! Safety idea: the kernel writes this, and a name in it may hold anything but the end of a line: what a line is, is told by its beginning
//! alone. What cannot be read is an error, and never passed over.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use beget_sys::memory::PAGE;

/// One mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) range: Range<u64>,
    /// `PROT_*`.
    pub(super) rights: u32,
    pub(super) shared: bool,
    pub(super) offset: u64,
    /// Device, as `major:minor`, and number of its file; 0 for none.
    pub(super) device: (u32, u32),
    pub(super) inode: u64,
    /// The file's name, or the kernel's own for it in brackets; none for plain memory.
    pub(super) name: Vec<u8>,
    /// The words of two letters of `VmFlags`.
    pub(super) flags: Vec<[u8; 2]>,
    pub(super) protection_key: u32,
}

impl Area {
    pub(super) fn has(&self, flag: &[u8; 2]) -> bool {
        self.flags.contains(flag)
    }

    /// A name of the kernel's.
    pub(super) fn is_named(&self, name: &[u8]) -> bool {
        self.inode == 0 && self.name == name
    }
}

/// All of a text of `smaps`; `None` when it is not one.
pub(super) fn read_all(text: &[u8]) -> Option<Vec<Area>> {
    let mut areas: Vec<Area> = Vec::new();
    for line in text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let key = line.split(|byte| *byte == b' ').next()?;
        let Some(key) = key.strip_suffix(b":") else {
            areas.push(read_line(line)?);
            continue;
        };
        let value = line.get(key.len() + 1..)?.trim_ascii();
        let area = areas.last_mut()?;
        match key {
            b"VmFlags" => {
                let words = value.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
                area.flags = words.map(|word| <[u8; 2]>::try_from(word).ok()).collect::<Option<_>>()?;
            }
            b"ProtectionKey" => area.protection_key = std::str::from_utf8(value).ok()?.parse().ok()?,
            _ => {}
        }
    }
    Some(areas)
}

/// `start-end rwxp offset major:minor inode    name`
fn read_line(line: &[u8]) -> Option<Area> {
    let mut fields = line.splitn(6, |byte| *byte == b' ');
    let mut next = || fields.next().and_then(|field| std::str::from_utf8(field).ok());
    let (range, rights, offset, device, inode) = (next()?, next()?, next()?, next()?, next()?);
    let hexadecimal = |text| u64::from_str_radix(text, 16).ok();
    let (start, end) = range.split_once('-')?;
    let &[read, write, execute, shared] = <&[u8; 4]>::try_from(rights.as_bytes()).ok()?;
    let (major, minor) = device.split_once(':')?;
    let number = |text| u32::from_str_radix(text, 16).ok();
    let name = fields.next().unwrap_or_default();
    let blanks = name.iter().take_while(|byte| **byte == b' ').count();
    Some(Area {
        range: hexadecimal(start)?..hexadecimal(end)?,
        rights: u32::from(read == b'r') | u32::from(write == b'w') << 1 | u32::from(execute == b'x') << 2,
        shared: shared == b's',
        offset: hexadecimal(offset)?,
        device: (number(major)?, number(minor)?),
        inode: inode.parse().ok()?,
        name: unescape(name.get(blanks..)?),
        flags: Vec::new(),
        protection_key: 0,
    })
}

/// The end of a line is written as `\012` in a name. A name that holds these very letters cannot be told from that; whoever opens it
/// compares what it finds.
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, behind @ ..] = rest {
        match rest.strip_prefix(b"\\012") {
            Some(behind) => {
                plain.push(b'\n');
                rest = behind;
            }
            None => {
                plain.push(*first);
                rest = behind;
            }
        }
    }
    plain
}

/// What the kernel knows of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Page(u64);

impl Page {
    /// There is a page at all, in memory or swapped out.
    pub(super) fn is_there(self) -> bool {
        self.0 >> 62 != 0
    }

    /// It is a page of a file, or of shared memory, and not a copy of this process's own.
    pub(super) fn is_of_a_file(self) -> bool {
        self.0 >> 61 & 1 == 1
    }
}

/// The pages of a range.
pub(super) fn pages(pagemap: &File, range: &Range<u64>) -> std::io::Result<Vec<Page>> {
    let page = PAGE as u64;
    let count = (range.end - range.start) / page;
    let mut bytes = vec![0; count as usize * 8];
    pagemap.read_exact_at(&mut bytes, range.start / page * 8)?;
    Ok(bytes.as_chunks().0.iter().map(|word| Page(u64::from_ne_bytes(*word))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_file_is_called_it_is_one_mapping() {
        let text = b"7f24c1af5000-7f24c1aff000 r-xs 00027000 fe:1f 325843                     /usr/a b\\012Rss: 5 (deleted)\n\
            Size:                 40 kB\nProtectionKey:         3\nVmFlags: rd ex mr me sd \n\
            7ffea472f000-7ffea4750000 rw-p 00000000 00:00 0                          [stack]\nVmFlags: rd wr gd ac \n\
            00400000-00401000 ---p 00000000 00:00 0 \nRss: 0 kB\n";
        let areas = read_all(text).expect("it is read");
        let [first, stack, plain] = areas.as_slice() else { panic!("{areas:?}") };
        assert_eq!(first.name, b"/usr/a b\nRss: 5 (deleted)");
        assert_eq!((first.range.start, first.range.end), (0x7f24_c1af_5000, 0x7f24_c1af_f000));
        assert_eq!((first.rights, first.shared, first.offset), (5, true, 0x27000));
        assert_eq!((first.device, first.inode, first.protection_key), ((0xfe, 0x1f), 325_843, 3));
        assert!(first.has(b"sd") && !first.has(b"gd") && !first.is_named(b"[stack]"));
        assert!(stack.is_named(b"[stack]") && stack.has(b"gd") && stack.rights == 3);
        assert_eq!((plain.name.as_slice(), plain.rights, plain.inode), (&b""[..], 0, 0));
        for broken in [&b"nonsense\n"[..], b"VmFlags: rd\n", b"1-2 r-x 0 0:0 0\n", b"1-2 r-xp 0 0:0\n"] {
            assert_eq!(read_all(broken), None, "{}", String::from_utf8_lossy(broken));
        }
    }

    #[test]
    fn a_page_that_was_written_is_told_from_one_that_was_not() {
        let smaps = std::fs::read("/proc/thread-self/smaps").expect("one's own");
        let areas = read_all(&smaps).expect("they are read");
        let mut written = vec![7u8; 4 * PAGE];
        written[0] = 8;
        let at = written.as_ptr().addr() as u64;
        let area = areas.iter().find(|area| area.range.contains(&at)).or(areas.last()).expect("one");
        assert!(area.range.start % PAGE as u64 == 0);
        let pagemap = File::open("/proc/thread-self/pagemap").expect("one's own");
        let page = at / PAGE as u64 * PAGE as u64;
        let [first] = pages(&pagemap, &(page..page + PAGE as u64)).expect("they are read")[..] else {
            panic!()
        };
        assert!(first.is_there() && !first.is_of_a_file());
        let code = unescape as fn(&[u8]) -> Vec<u8> as usize as u64 / PAGE as u64 * PAGE as u64;
        let [first] = pages(&pagemap, &(code..code + PAGE as u64)).expect("they are read")[..] else {
            panic!()
        };
        assert!(first.is_there() && first.is_of_a_file());
    }
}
