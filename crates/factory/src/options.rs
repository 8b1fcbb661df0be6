//! How a factory makes its products.

use std::time::Duration;

use crate::Ready;

/// Products that are born before they are asked for.
///
/// What is theirs and theirs alone (arguments, descriptors, limits, cgroup, number) is bound at the request and never at birth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pool {
    /// How many wait at most; 0 for none.
    pub size: usize,
    /// The pool is filled when fewer than this wait.
    pub low_water: usize,
    /// How many are born a second at most, when it is filled.
    pub refill_rate: u32,
    /// How many bytes of their own all that wait may have together; fewer wait when they have more.
    pub memory: u64,
    /// When nothing was asked for as long as this, those that wait read ahead what products before them have read. `None` for never.
    pub idle: Option<Duration>,
}

impl Default for Pool {
    fn default() -> Pool {
        Pool {
            size: 0,
            low_water: 0,
            refill_rate: 10_000,
            memory: 256 << 20,
            idle: Some(Duration::from_secs(1)),
        }
    }
}

impl Pool {
    /// One of this size, filled again when half of it is gone.
    #[must_use]
    pub fn of(size: usize) -> Pool {
        Pool { size, low_water: size.div_ceil(2), ..Pool::default() }
    }
}

/// How a factory makes its products.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Where its template is stopped; `None` for a factory that is cold.
    pub ready: Option<Ready>,
    /// How long the program may take until it is there.
    pub patience: Duration,
    /// Products are closed to other processes of their user before their first instruction: no debugger, no crash report, and no way in for
    /// builder or requestor. Without it isolation between parties of one user is no boundary.
    pub opaque: bool,
    /// The template's memory is turned into one shared image, so that copies cost little however much of it there is.
    pub frozen: bool,
    /// The pool.
    pub pool: Pool,
    /// After so many products the template is replaced by a new one, whose layout and secrets are others. `None` for never.
    pub renew: Option<u64>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ready: None,
            patience: Duration::from_secs(60),
            opaque: true,
            frozen: true,
            pool: Pool::default(),
            renew: None,
        }
    }
}
