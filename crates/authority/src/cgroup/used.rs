//! What a group used, read when it is empty and still there.

use std::time::Duration;

use super::directory::Directory;

/// What a whole tree of processes used, as its cgroup counted it; `None` where this kernel's group does not count that.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TreeUsage {
    /// The most memory that all of them had at one time, in bytes: their own, and the kernel's on their behalf, files in memory too.
    pub memory_peak: Option<u64>,
    /// Processor time in their own code.
    pub user_time: Option<Duration>,
    /// Processor time in the kernel.
    pub system_time: Option<Duration>,
    /// Bytes read from devices.
    pub bytes_in: Option<u64>,
    /// Bytes written to devices.
    pub bytes_out: Option<u64>,
    /// The most processes and threads that there were at one time.
    pub processes_peak: Option<u64>,
    /// How many processes the kernel ended because the memory that they may have together was used up.
    pub out_of_memory: Option<u64>,
    /// How often a process or a thread was refused because there were as many as there may be.
    pub processes_refused: Option<u64>,
}

impl TreeUsage {
    /// Adds what a group of version 2 tells.
    pub(super) fn read_unified(&mut self, group: &Directory) {
        self.memory_peak = self.memory_peak.or_else(|| number(&group.read("memory.peak")?));
        self.out_of_memory = self.out_of_memory.or_else(|| field(&group.read("memory.events")?, "oom_kill"));
        self.read_processes(group);
        if let Some(text) = group.read("cpu.stat") {
            let time = |name| field(&text, name).map(Duration::from_micros);
            (self.user_time, self.system_time) = (time("user_usec"), time("system_usec"));
        }
        if let Some(text) = group.read("io.stat") {
            (self.bytes_in, self.bytes_out) = (Some(sum(&text, "rbytes=")), Some(sum(&text, "wbytes=")));
        }
    }

    /// Adds what groups of version 1 tell.
    pub(super) fn read_separate(&mut self, group: &Directory) {
        self.memory_peak = self.memory_peak.or_else(|| number(&group.read("memory.max_usage_in_bytes")?));
        self.out_of_memory =
            self.out_of_memory.or_else(|| field(&group.read("memory.oom_control")?, "oom_kill"));
        self.read_processes(group);
    }

    fn read_processes(&mut self, group: &Directory) {
        self.processes_peak = self.processes_peak.or_else(|| number(&group.read("pids.peak")?));
        self.processes_refused = self.processes_refused.or_else(|| field(&group.read("pids.events")?, "max"));
    }
}

fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok()
}

/// The number after `name` in lines of a name and a number.
fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| number(line.strip_prefix(name)?.strip_prefix(' ')?))
}

/// All the numbers that follow `name`, of every device.
fn sum(text: &str, name: &str) -> u64 {
    text.split_ascii_whitespace().filter_map(|word| number(word.strip_prefix(name)?)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_writes() {
        assert_eq!(number("4096\n"), Some(4096));
        assert_eq!(number("max\n"), None);
        let events = "low 0\nhigh 1\nmax 7\noom 2\noom_kill 3\noom_group_kill 1\n";
        assert_eq!(field(events, "oom_kill"), Some(3));
        assert_eq!(field(events, "oom"), Some(2));
        assert_eq!(field(events, "none"), None);
        let devices = "8:0 rbytes=10 wbytes=1 rios=2 wios=3\n254:0 rbytes=5 wbytes=0 rios=9\n259:0 \n";
        assert_eq!((sum(devices, "rbytes="), sum(devices, "wbytes="), sum("", "rbytes=")), (15, 1, 0));
    }
}
