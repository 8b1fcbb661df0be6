//! fork, emulated: a copy of P that goes on in P's own code, and holds what it was given.

use beget::Fork;

use super::Purpose;
use super::{Born, Given, Way, told};
use crate::compare::child;

struct Copied;

impl Way for Copied {
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String> {
        let order = given.holdings.order(given.purpose == Purpose::Look);
        let mut fork = Fork::new();
        if !given.forget {
            fork.stdin(given.a()?);
        }
        fork.stdout(given.out()?).stderr(given.null()?);
        Ok(Born::Ours(vec![fork.spawn(|| child::copied(&order)).map_err(told)?]))
    }
}

/// Nothing is kept ready: P itself is what is copied.
pub(super) fn fork_with(_: &Given<'_>) -> Result<Box<dyn Way>, String> {
    Ok(Box::new(Copied))
}
