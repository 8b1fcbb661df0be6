//! What the running kernel can enforce.

use std::sync::OnceLock;

use beget_sys::{Errno, landlock};

/// The features that mechanisms are chosen by. A computed status, never a kernel version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Support {
    /// The Landlock ABI, from 1; `None` where there is no Landlock or it is switched off.
    pub landlock: Option<u32>,
    /// Whether there are seccomp filters.
    pub filter: bool,
    /// Whether cgroups are looked for. What they can do depends on where the caller is among them, which is looked at for each command.
    pub cgroups: bool,
}

impl Support {
    /// Asks the running kernel, once in a process.
    #[must_use]
    pub fn detect() -> Support {
        static DETECTED: OnceLock<Support> = OnceLock::new();
        *DETECTED.get_or_init(|| Support {
            landlock: landlock::abi().ok(),
            filter: has_filters(),
            cgroups: true,
        })
    }

    /// The same kernel as if its Landlock had at most this ABI, or none: to see what would hold on an older one. It never adds.
    #[must_use]
    pub fn with_landlock_at_most(mut self, abi: Option<u32>) -> Support {
        self.landlock = self.landlock.zip(abi).map(|(have, most)| have.min(most)).filter(|abi| *abi > 0);
        self
    }

    /// The same kernel as if it had no cgroups.
    #[must_use]
    pub fn without_cgroups(mut self) -> Support {
        self.cgroups = false;
        self
    }

    /// Whether Landlock is there with at least this ABI.
    #[must_use]
    pub fn landlock_from(&self, abi: u32) -> bool {
        self.landlock.is_some_and(|have| have >= abi)
    }
}

/// An empty filter is refused as `EINVAL` where there are filters, and as `ENOSYS` or `EACCES` otherwise.
fn has_filters() -> bool {
    matches!(beget_sys::seccomp::install(&[]), Err(Errno::EINVAL))
}
