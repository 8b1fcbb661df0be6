//! What `/proc` says of a process whose number we know.
//!
//! Safety idea: a number alone may have come to be another's. A process is ours only if it was started when ours was.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

/// Reads a file of `/proc`, whose contents come in one piece.
fn read<'a>(path: &str, into: &'a mut [u8]) -> Option<&'a [u8]> {
    let file: OwnedFd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let count = rustix::io::read(&file, &mut *into).ok()?;
    into.get(..count)
}

/// When the process of this number was started (in ticks since the machine was), and how many bytes of it are resident, if it is there and has
/// not ended.
fn stat(number: u32) -> Option<(u64, u64)> {
    let mut bytes = [0; 1024];
    let text = read(&format!("/proc/{number}/stat"), &mut bytes)?;
    // The name, which may have any bytes in it, ends with the last parenthesis.
    let after = text.get(text.iter().rposition(|byte| *byte == b')')? + 1..)?;
    let mut words = after.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let state = words.next()?;
    let mut number = |skip| std::str::from_utf8(words.nth(skip)?).ok()?.parse::<u64>().ok();
    let (start, pages) = (number(18)?, number(1)?);
    (!matches!(state, b"Z" | b"X" | b"x")).then_some((start, pages * rustix::param::page_size() as u64))
}

/// When the process of this number was started.
pub(crate) fn start(number: u32) -> Option<u64> {
    stat(number).map(|(start, _)| start)
}

/// Bytes that are resident of the process of this number that was started then; 0 when there is none.
pub(crate) fn memory(number: u32, start: u64) -> u64 {
    stat(number).filter(|(began, _)| *began == start && start != 0).map_or(0, |(_, memory)| memory)
}

/// The most bytes that were ever resident of the process of this number that was started then; 0 when there is none.
pub(crate) fn memory_peak(number: u32, start: u64) -> u64 {
    let mut bytes = [0; 4096];
    let peak = read(&format!("/proc/{number}/status"), &mut bytes).and_then(|text| {
        let mut lines = text.split(|byte| *byte == b'\n');
        let words = lines.find_map(|line| line.strip_prefix(b"VmHWM:"))?;
        let words = std::str::from_utf8(words).ok()?;
        words.split_whitespace().next()?.parse::<u64>().ok()
    });
    // Looked at afterwards: what was read was its own if it is there still.
    peak.filter(|_| lives(number, start)).map_or(0, |kibibytes| kibibytes << 10)
}

/// Bytes that are resident of the process of this number; 0 when there is none.
pub(crate) fn memory_of(number: u32) -> u64 {
    stat(number).map_or(0, |(_, memory)| memory)
}

/// Whether the process of this number that was started then is there and has not ended.
pub(crate) fn lives(number: u32, began: u64) -> bool {
    began != 0 && start(number) == Some(began)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_when_it_was_started() {
        let own = std::process::id();
        let began = start(own).unwrap();
        assert!(memory(own, began) > 4096);
        assert_eq!(memory(own, began + 1), 0);
        assert!(memory_peak(own, began) > 4096);
        assert_eq!(memory_peak(own, began + 1), 0);
        assert!(lives(own, began) && !lives(own, began + 1) && !lives(own, 0));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let number = child.id();
        child.wait().unwrap();
        assert_eq!((start(number), memory_of(number)), (None, 0));
    }
}
