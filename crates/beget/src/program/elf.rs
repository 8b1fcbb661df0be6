//! What an executable says of itself: is it whole, is it for this machine, which loader does it want.
//!
//! Safety idea: the bytes are foreign; every offset is checked against the file, nothing is assumed, nothing can panic.

use std::cell::Cell;
use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

const HEADER: usize = 64;
const SEGMENT: usize = 56;
const MOST_SEGMENTS: usize = 1024;
const LONGEST_PATH: u64 = 4096;
const LOAD: u32 = 1;
const INTERPRETER: u32 = 3;
const X86_64: u16 = 62;

fn bytes<const N: usize>(from: &[u8], at: usize) -> Option<[u8; N]> {
    from.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn half(from: &[u8], at: usize) -> Option<u16> {
    bytes(from, at).map(u16::from_le_bytes)
}

fn word(from: &[u8], at: usize) -> Option<u32> {
    bytes(from, at).map(u32::from_le_bytes)
}

fn long(from: &[u8], at: usize) -> Option<u64> {
    bytes(from, at).map(u64::from_le_bytes)
}

/// Why an image has no loader to tell of.
#[derive(Debug)]
pub(super) enum Wrong {
    /// It is no image that can run here.
    Image(String),
    /// It could not be read.
    Unread(rustix::io::Errno),
}

/// The loader that the image in `file` wants, if any; what is wrong with it otherwise. `head` is how it begins.
pub(super) fn loader(file: &OwnedFd, head: &[u8], size: u64) -> Result<Option<PathBuf>, Wrong> {
    let failed = Cell::new(None);
    let read = |at, buffer: &mut [u8]| {
        rustix::io::pread(file, buffer, at).map_err(|errno| failed.set(Some(errno))).ok()
    };
    let found = inspect(head, size, read);
    match failed.get() {
        // An offset that no file can have is the image's fault.
        Some(errno) if errno != rustix::io::Errno::INVAL => Err(Wrong::Unread(errno)),
        _ => found.map_err(Wrong::Image),
    }
}

/// The same, reading through `read`, which fills a buffer from an offset and says how much there was.
fn inspect(
    head: &[u8],
    size: u64,
    read: impl Fn(u64, &mut [u8]) -> Option<usize>,
) -> Result<Option<PathBuf>, String> {
    if !head.starts_with(b"\x7fELF") {
        return Err("neither an ELF executable nor a script with #!".into());
    }
    let cut = || "an ELF executable cut short in its header".to_owned();
    let (class, order) = (*head.get(4).ok_or_else(cut)?, *head.get(5).ok_or_else(cut)?);
    let machine = half(head, 18).ok_or_else(cut)?;
    if class != 2 || order != 1 || machine != X86_64 {
        return Err(format!("an ELF executable for another machine ({})", machine_name(class, machine)));
    }
    if head.len() < HEADER {
        return Err(cut());
    }
    let kind = half(head, 16).ok_or_else(cut)?;
    if kind != 2 && kind != 3 {
        return Err("an ELF file that is no executable".into());
    }
    let (at, length, count) = (long(head, 32), half(head, 54), half(head, 56));
    let (at, count) = (at.ok_or_else(cut)?, usize::from(count.ok_or_else(cut)?));
    if usize::from(length.ok_or_else(cut)?) != SEGMENT || count == 0 || count > MOST_SEGMENTS {
        return Err("an ELF executable with a malformed segment table".into());
    }
    let mut table = vec![0; count * SEGMENT];
    if read(at, &mut table) != Some(table.len()) {
        return Err("an ELF executable cut short in its segment table".into());
    }
    let mut loader = None;
    for segment in table.chunks_exact(SEGMENT) {
        let (kind, offset, length) = (word(segment, 0), long(segment, 8), long(segment, 32));
        let (Some(kind), Some(offset), Some(length)) = (kind, offset, length) else { return Err(cut()) };
        let within = offset.checked_add(length).is_some_and(|end| end <= size);
        match kind {
            LOAD if !within => {
                return Err(format!("an ELF executable cut short: a segment ends past its {size} bytes"));
            }
            INTERPRETER if loader.is_none() => {
                if !within || !(2..=LONGEST_PATH).contains(&length) {
                    return Err("an ELF executable with a malformed loader name".into());
                }
                let mut path = vec![0; length as usize];
                if read(offset, &mut path) != Some(path.len()) || path.pop() != Some(0) || path.contains(&0) {
                    return Err("an ELF executable with a malformed loader name".into());
                }
                loader = Some(PathBuf::from(OsString::from_vec(path)));
            }
            _ => {}
        }
    }
    Ok(loader)
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A made image: one loadable segment, a loader name, and the place of each.
    fn image() -> Vec<u8> {
        let mut elf = vec![0u8; 400];
        elf[..6].copy_from_slice(b"\x7fELF\x02\x01");
        elf[16] = 3;
        elf[18] = 62;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 2;
        elf[64] = 1;
        elf[64 + 32..64 + 34].copy_from_slice(&400u16.to_le_bytes());
        elf[120] = 3;
        elf[128] = 200;
        elf[120 + 32] = 10;
        elf[200..210].copy_from_slice(b"/lib/ld.so");
        elf[209] = 0;
        elf
    }

    fn look(elf: &[u8]) -> Result<Option<PathBuf>, String> {
        inspect(&elf[..elf.len().min(256)], elf.len() as u64, |at, buffer| {
            let from = elf.get(at as usize..)?;
            let count = from.len().min(buffer.len());
            buffer[..count].copy_from_slice(&from[..count]);
            Some(count)
        })
    }

    #[test]
    fn the_loader_is_found() {
        assert_eq!(look(&image()), Ok(Some(PathBuf::from("/lib/ld.s"))));
    }

    #[test]
    fn cut_anywhere_it_is_refused() {
        let whole = image();
        for length in 0..whole.len() {
            assert!(look(&whole[..length]).is_err(), "cut at {length}");
        }
    }

    proptest::proptest! {
        /// A made image with several bytes changed at once, offsets and counts among them, and any bytes at all.
        #[test]
        fn foreign_bytes_are_an_answer_not_a_panic(
            changes in proptest::collection::vec((0usize..400, proptest::prelude::any::<u8>()), 0..12),
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..300),
        ) {
            let mut changed = image();
            for (at, byte) in changes {
                changed[at] = byte;
            }
            for elf in [changed, bytes, [b"\x7fELF\x02\x01".as_slice(), &[0; 58]].concat()] {
                if let Ok(Some(loader)) = look(&elf) {
                    proptest::prop_assert!(!loader.as_os_str().is_empty());
                }
            }
        }
    }

    #[test]
    fn any_byte_changed_is_an_answer_not_a_panic() {
        let whole = image();
        for at in 0..whole.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut changed = whole.clone();
                changed[at] = value;
                let _ = look(&changed);
            }
        }
    }
}
