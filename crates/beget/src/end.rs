//! How a process ended, and what it used.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use beget_authority::cgroup::TreeUsage;
use beget_sys::wait;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Exit code or signal, as the standard library has it.
    pub status: ExitStatus,
    /// What it and the children it waited for used; `None` where somebody else took the status and only the kernel's note of
    /// it was left.
    pub usage: Option<Usage>,
    /// What its whole tree used, where it was limited by a cgroup ([`Limit::Memory`](crate::Limit::Memory),
    /// [`Limit::Processes`](crate::Limit::Processes)).
    pub tree: Option<TreeUsage>,
}

/// Resources used by a process and those of its descendants that were waited for (`man 2 getrusage`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// Processor time in its own code.
    pub user_time: Duration,
    /// Processor time in the kernel.
    pub system_time: Duration,
    /// Largest resident size of one process, in bytes. The kernel counts in what the caller itself had used by the birth, because
    /// the child shares its memory until it executes its program: a number no larger than that says nothing about the child.
    pub memory_peak: u64,
    /// Page faults answered from memory.
    pub minor_faults: u64,
    /// Page faults answered from a device.
    pub major_faults: u64,
    /// Bytes read from devices.
    pub bytes_in: u64,
    /// Bytes written to devices.
    pub bytes_out: u64,
}

fn duration([seconds, microseconds]: [i64; 2]) -> Duration {
    Duration::from_secs(seconds.unsigned_abs()) + Duration::from_micros(microseconds.unsigned_abs())
}

impl From<wait::Usage> for Usage {
    fn from(usage: wait::Usage) -> Usage {
        Usage {
            user_time: duration(usage.user),
            system_time: duration(usage.system),
            memory_peak: usage.resident_peak.unsigned_abs() * 1024,
            minor_faults: usage.minor_faults.unsigned_abs(),
            major_faults: usage.major_faults.unsigned_abs(),
            bytes_in: usage.blocks_in.unsigned_abs() * 512,
            bytes_out: usage.blocks_out.unsigned_abs() * 512,
        }
    }
}

impl Ended {
    /// `None` for a change that is not an end.
    pub(crate) fn from_change(change: wait::Change, usage: wait::Usage) -> Option<Ended> {
        const CORE: i32 = 0x80;
        let raw = match change {
            wait::Change::Exited(code) => (code & 0xff) << 8,
            wait::Change::Killed(signal, core) => signal | if core { CORE } else { 0 },
            wait::Change::Stopped(_) | wait::Change::Continued => return None,
        };
        Some(Ended { status: ExitStatus::from_raw(raw), usage: Some(usage.into()), tree: None })
    }

    /// Whether the kernel ended a process of its tree because the memory that they may have together was used up; `None` where
    /// no cgroup tells.
    #[must_use]
    pub fn ran_out_of_memory(&self) -> Option<bool> {
        self.tree?.out_of_memory.map(|times| times > 0)
    }

    /// Whether it ended by itself, with code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.status.success()
    }

    /// The exit code that a shell would give: the program's own, or 128 and the signal's number.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match (self.status.code(), self.status.signal()) {
            (Some(code), _) => code as u8,
            (None, signal) => 128u8.wrapping_add(signal.unwrap_or(0) as u8),
        }
    }
}
