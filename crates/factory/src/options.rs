//! How a factory makes its products.

use std::time::Duration;

use crate::{Error, Fault, Ready, Result};

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
    /// How many bytes of their own all that wait may have together; fewer wait when they have more. What a product has before it is asked for is
    /// paid for by the factory, and stays so; what it takes from its request on is paid for by whoever asked.
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
    /// How long the template, a product that is told what it is given, or their nursery may take to answer. One that somebody stopped is ended
    /// then and another made, so that no request waits for ever.
    pub answer: Duration,
    /// Copies are closed to other processes of their user before their first instruction: no debugger, no crash report, and no way in for
    /// builder or requestor. Without it isolation between parties of one user is no boundary. A product that is started from the beginning, of a cold
    /// factory or where no template could be had, is open whatever this says.
    pub opaque: bool,
    /// The template's memory is turned into one shared image, so that copies cost little however much of it there is.
    pub frozen: bool,
    /// The pool.
    pub pool: Pool,
    /// After so many products the template is replaced by a new one, whose layout and secrets are others. `None` for never.
    pub renew: Option<u64>,
    /// What a copy is given on standard input that runs so that it is learned what products write to, for those that wait; at most 64 KiB. Nothing by
    /// default. The more it is like what products will do, the more of what they need is there when they begin. No such copy runs where somebody
    /// could see it: of a factory with holes.
    pub rehearsal: Vec<u8>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            ready: None,
            patience: Duration::from_secs(60),
            answer: Duration::from_secs(10),
            opaque: true,
            frozen: true,
            pool: Pool::default(),
            renew: None,
            rehearsal: Vec::new(),
        }
    }
}

/// The most that may wait in a pool: each is a process, and holds some descriptors of its factory's.
const MOST_WAITING: usize = 4096;

/// What goes into a pipe at once.
const MOST_REHEARSED: usize = 64 << 10;

impl Options {
    /// Whether they make sense together; `adapted` for a program that an adapter speaks to, which says itself when it is ready, `saved` for one from an
    /// image, which says where it was.
    pub(crate) fn check(&self, adapted: bool, saved: bool) -> Result<()> {
        let refuse = |option: &str, words: &str| {
            Err(Error::new(format!("factory: option {option}"), words, Fault::Caller))
        };
        let pool = &self.pool;
        match &self.ready {
            Some(_) if adapted && !saved => {
                return refuse(
                    "ready",
                    "the adapter says when its program is ready, and it is given without one",
                );
            }
            None if !adapted && pool.size > 0 => {
                return refuse(
                    "pool",
                    "products can wait only as copies of a program that has a ready point",
                );
            }
            None if !adapted && self.renew.is_some() => {
                return refuse("renew", "without a ready point there is no template to make anew");
            }
            _ => {}
        }
        match pool {
            Pool { size, .. } if *size > MOST_WAITING => {
                refuse("pool", &format!("no more than {MOST_WAITING} products can wait"))
            }
            Pool { size, low_water, .. } if low_water > size => {
                refuse("low water", &format!("it is {low_water}, and no more than {size} ever wait"))
            }
            Pool { size: 1.., refill_rate: 0, .. } => {
                refuse("refill rate", "with 0 a second the pool is never filled")
            }
            Pool { size: 1.., memory: 0, .. } => refuse("pool memory", "without any no product can wait"),
            _ if self.rehearsal.len() > MOST_REHEARSED => {
                refuse("rehearsal", &format!("it may have {MOST_REHEARSED} bytes"))
            }
            _ if self.renew == Some(0) => refuse("renew", "after 0 products there is none to give"),
            _ if self.ready.is_some() && self.patience.is_zero() => {
                refuse("patience", "no program is ready at once")
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_contradicts_itself_is_an_error_that_names_the_option() {
        let warm = || Options { ready: Some(Ready::Entry), ..Options::default() };
        let pool = |pool: Pool| Options { pool, ..warm() };
        for fine in [Options::default(), warm(), pool(Pool::of(1)), Options { renew: Some(1), ..warm() }] {
            fine.check(false, false).expect("it makes sense");
        }
        Options { pool: Pool::of(4), renew: Some(9), ..Options::default() }
            .check(true, false)
            .expect("an adapter's");
        for (name, adapted, wrong) in [
            ("pool", false, Options { pool: Pool::of(4), ..Options::default() }),
            ("pool", false, pool(Pool::of(MOST_WAITING + 1))),
            ("low water", false, pool(Pool { low_water: 5, ..Pool::of(4) })),
            (
                "low water",
                true,
                Options { pool: Pool { low_water: 1, ..Pool::default() }, ..Options::default() },
            ),
            ("refill rate", false, pool(Pool { refill_rate: 0, ..Pool::of(4) })),
            ("pool memory", false, pool(Pool { memory: 0, ..Pool::of(4) })),
            ("renew", false, Options { renew: Some(0), ..warm() }),
            ("renew", false, Options { renew: Some(1), ..Options::default() }),
            ("patience", false, Options { patience: Duration::ZERO, ..warm() }),
            ("ready", true, warm()),
            ("rehearsal", false, Options { rehearsal: vec![0; MOST_REHEARSED + 1], ..warm() }),
        ] {
            let error = wrong.check(adapted, false).expect_err(name);
            assert_eq!((error.part(), error.fault()), (&*format!("factory: option {name}"), Fault::Caller));
        }
    }
}
