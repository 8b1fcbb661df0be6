//! What a factory counts.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a factory has done since it was sealed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Statistics {
    /// Requests that a product from the pool answered.
    pub hits: u64,
    /// Requests that a copy made for them answered.
    pub warm: u64,
    /// Requests that a start from the beginning answered.
    pub cold: u64,
    /// Requests that came to nothing.
    pub failed: u64,
    /// Templates that were made, the present one among them.
    pub templates: u64,
    /// Templates that ended without being asked to.
    pub deaths: u64,
    /// Templates that were replaced because what they were made from has changed, because they had made enough products, or on request.
    pub replaced: u64,
    /// Products in the pool at this moment.
    pub waiting: u64,
}

/// The same, while it is counted.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hits: AtomicU64,
    pub(crate) warm: AtomicU64,
    pub(crate) cold: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) templates: AtomicU64,
    pub(crate) deaths: AtomicU64,
    pub(crate) replaced: AtomicU64,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Counters {
    pub(crate) fn read(&self, waiting: usize) -> Statistics {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Statistics {
            hits: read(&self.hits),
            warm: read(&self.warm),
            cold: read(&self.cold),
            failed: read(&self.failed),
            templates: read(&self.templates),
            deaths: read(&self.deaths),
            replaced: read(&self.replaced),
            waiting: waiting as u64,
        }
    }
}
