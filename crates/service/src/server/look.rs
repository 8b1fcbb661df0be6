//! What `/proc` says of a process whose number we know.
//!
//! Safety idea: a number alone may have come to be another's. A process is ours only if it was started when ours was.

use std::os::fd::OwnedFd;

use rustix::fs::{Mode, OFlags};

use crate::protocol::Record;

/// Reads a file of `/proc`, whose contents come in one piece.
fn read<'a>(path: &str, into: &'a mut [u8]) -> Option<&'a [u8]> {
    let file: OwnedFd = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let count = rustix::io::read(&file, &mut *into).ok()?;
    into.get(..count)
}

/// What a process is like now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Now {
    /// When it was started, in ticks since the machine was.
    start: u64,
    /// Bytes that are resident.
    pub(crate) memory: u64,
    /// The most that ever were.
    pub(crate) memory_peak: u64,
    /// Processor time in its own code, in microseconds.
    pub(crate) user_time: u64,
    /// And in the kernel.
    pub(crate) system_time: u64,
}

impl Now {
    /// As a living domain's record tells it.
    pub(crate) fn put_into(self, record: &mut Record) {
        (record.memory, record.memory_peak) = (self.memory, self.memory_peak);
        (record.user_time, record.system_time) = (self.user_time, self.system_time);
    }
}

/// What the process of this number is like, if it is there and has not ended.
fn stat(number: u32) -> Option<Now> {
    let mut bytes = [0; 1024];
    let text = read(&format!("/proc/{number}/stat"), &mut bytes)?;
    // The name, which may have any bytes in it, ends with the last parenthesis.
    let after = text.get(text.iter().rposition(|byte| *byte == b')')? + 1..)?;
    let mut words = after.split(|byte| *byte == b' ').filter(|word| !word.is_empty());
    let state = words.next()?;
    let mut number = |skip| std::str::from_utf8(words.nth(skip)?).ok()?.parse::<u64>().ok();
    let (user, system, start, pages) = (number(10)?, number(0)?, number(6)?, number(1)?);
    let time = |ticks: u64| ticks.saturating_mul(1_000_000) / rustix::param::clock_ticks_per_second();
    let now = Now {
        start,
        memory: pages.saturating_mul(rustix::param::page_size() as u64),
        memory_peak: 0,
        user_time: time(user),
        system_time: time(system),
    };
    (!matches!(state, b"Z" | b"X" | b"x")).then_some(now)
}

/// When the process of this number was started.
pub(crate) fn start(number: u32) -> Option<u64> {
    stat(number).map(|now| now.start)
}

/// What the process of this number that was started then is like; nothing when there is none.
pub(crate) fn now(number: u32, start: u64) -> Now {
    let mut bytes = [0; 4096];
    let peak = read(&format!("/proc/{number}/status"), &mut bytes).and_then(|text| {
        let mut lines = text.split(|byte| *byte == b'\n');
        let words = lines.find_map(|line| line.strip_prefix(b"VmHWM:"))?;
        std::str::from_utf8(words).ok()?.split_whitespace().next()?.parse::<u64>().ok()
    });
    // Looked at afterwards: what was read was its own if it is there still.
    let now = stat(number).filter(|now| now.start == start && start != 0);
    now.map_or(Now::default(), |now| Now { memory_peak: peak.unwrap_or(0) << 10, ..now })
}

/// Bytes that are resident of the process of this number; 0 when there is none.
pub(crate) fn memory_of(number: u32) -> u64 {
    stat(number).map_or(0, |now| now.memory)
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
        let it = now(own, began);
        assert!(it.memory > 4096 && it.memory_peak > 4096, "{it:?}");
        // A test has used some time before it gets here, or uses it now.
        while now(own, began).user_time + now(own, began).system_time == 0 {}
        assert_eq!(now(own, began + 1), Now::default());
        assert!(lives(own, began) && !lives(own, began + 1) && !lives(own, 0));
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let number = child.id();
        child.wait().unwrap();
        assert_eq!((start(number), memory_of(number)), (None, 0));
    }
}
