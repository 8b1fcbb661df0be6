//! How things are measured: in rounds, interleaved, and compared pair by pair.

mod clock;
mod race;
pub mod run;
mod stats;

pub use clock::{now, processor_time, timed};
pub use race::{Entry, Series, race};
pub use run::progress;
pub use stats::{NOISY, Pairs, Summary, minima};
