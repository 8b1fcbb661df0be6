//! Limits, and the fresh ones that a child has when none are asked for.
//!
//! A child's limits do not depend on the soft limits of its creator: only its hard limits, which nobody without privilege can
//! raise, bound them.

use std::fmt;

use beget_sys::process::Bounds;
use beget_sys::{Errno, process};

use crate::error::{Error, Reason};
use crate::promise::Promise;

/// Something bounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Limit {
    /// Bytes of memory of all its processes together, without swap. When it is used up the kernel ends the tree, or with cgroups of
    /// version 1 one process of it.
    Memory(u64),
    /// Processors it runs on.
    Processors(u32),
    /// Processes and threads it has at once.
    Processes(u64),
    /// Open files of each process.
    OpenFiles(u64),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Limit::Memory(bytes) => {
                let units = [(40, "T"), (30, "G"), (20, "M"), (10, "K")];
                let exact = |(shift, _): &(u32, _)| *bytes > 0 && bytes.is_multiple_of(1u64 << *shift);
                match units.into_iter().find(exact) {
                    Some((shift, unit)) => write!(f, "--memory {}{unit}", bytes >> shift),
                    None => write!(f, "--memory {bytes}"),
                }
            }
            Limit::Processors(count) => write!(f, "--cpus {count}"),
            Limit::Processes(count) => write!(f, "--processes {count}"),
            Limit::OpenFiles(count) => write!(f, "--open-files {count}"),
        }
    }
}

/// `RLIMIT_*` numbers of the kernel, with their names.
pub const RESOURCES: [&str; 16] = [
    "cpu",
    "fsize",
    "data",
    "stack",
    "core",
    "rss",
    "nproc",
    "nofile",
    "memlock",
    "as",
    "locks",
    "sigpending",
    "msgqueue",
    "nice",
    "rtprio",
    "rttime",
];
const DATA: u32 = 2;
const STACK: u32 = 3;
const CORE: u32 = 4;
const NPROC: u32 = 6;
/// `RLIMIT_NOFILE`.
pub const OPEN_FILES: u32 = 7;
const NICE: u32 = 13;
const RTPRIO: u32 = 14;

const FRESH_STACK: u64 = 8 << 20;
const FRESH_OPEN_FILES: u64 = 1024;

/// A resource limit to set in the child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resource {
    /// `RLIMIT_*`, an index into [`RESOURCES`].
    pub number: u32,
    /// The limits.
    pub bounds: Bounds,
}

/// What the child's limits are: one entry per resource. All of them are to be set, also those that are as the caller's now: its
/// own may be others by the time of a later spawn.
///
/// The fresh default: no core files and no raised priority; 1024 open files, up to the caller's hard limit; 8 MiB of stack
/// likewise; everything else as much as the caller's hard limit. `given_up`: the limits of a tree that are set for each process, or for this
/// user, for want of a cgroup ([`Authority::given_up`](crate::Authority)). `own_count`: the processes of a private root are counted for
/// themselves, its first one among them.
///
/// # Errors
/// A limit above the caller's hard limit.
pub fn resources(limits: &[Limit], given_up: &[Promise], own_count: bool) -> Result<Vec<Resource>, Error> {
    let mut all = Vec::with_capacity(RESOURCES.len());
    for number in 0..RESOURCES.len() as u32 {
        let now = process::limit(number).map_err(|errno| Error::kernel("resource limits", errno))?;
        let soft = match number {
            STACK => FRESH_STACK.min(now.hard),
            OPEN_FILES => FRESH_OPEN_FILES.min(now.hard),
            _ => now.hard,
        };
        let mut bounds = Bounds { soft, hard: now.hard };
        if [CORE, NICE, RTPRIO].contains(&number) {
            bounds = Bounds { soft: 0, hard: 0 };
        }
        for limit in limits {
            let (resource, most) = match *limit {
                Limit::OpenFiles(count) => (OPEN_FILES, count),
                Limit::Memory(bytes) if given_up.contains(&Promise::Memory) => (DATA, bytes),
                Limit::Processes(count) if own_count => (NPROC, count.saturating_add(1)),
                Limit::Processes(count) if given_up.contains(&Promise::Processes) => (NPROC, count),
                _ => continue,
            };
            if resource == number {
                if most > now.hard {
                    return Err(Error::limit(limit, Reason::Senseless("above this user's hard limit")));
                }
                bounds = Bounds { soft: most, hard: most };
            }
        }
        all.push(Resource { number, bounds });
    }
    Ok(all)
}

/// The mask of the first `count` processors that the caller may use.
///
/// # Errors
/// None, or more than there are.
pub fn processors(limit: &Limit, count: u32) -> Result<Vec<u8>, Error> {
    let now = rustix::thread::sched_getaffinity(None)
        .map_err(|errno| Error::limit(limit, Reason::Kernel(Errno(errno.raw_os_error()))))?;
    let mut mask = vec![0u8; rustix::thread::CpuSet::MAX_CPU / 8];
    let mut left = count;
    for processor in (0..rustix::thread::CpuSet::MAX_CPU).filter(|processor| now.is_set(*processor)) {
        if left == 0 {
            break;
        }
        mask[processor / 8] |= 1 << (processor % 8);
        left -= 1;
    }
    if count == 0 || left > 0 {
        return Err(Error::limit(
            limit,
            Reason::Senseless("there are not so many that this process may use, or it is none"),
        ));
    }
    Ok(mask)
}
