//! How things are measured: in rounds, interleaved, and compared pair by pair.

mod clock;
mod race;
mod stats;

pub use clock::{now, processor_time, timed};
pub use race::{Entry, Series, progress, race};
pub use stats::{NOISY, Pairs, Summary, minima};
