//! A batch: several births in one message to a nursery.

use beget::{Batch, Command, Nursery};

use super::Purpose;
use super::{Born, Given, Way, told};

/// How many are asked for together when they are timed.
const TOGETHER: usize = 8;

struct Several {
    nursery: Nursery,
    plain: Command,
}

impl Way for Several {
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String> {
        let mut fresh = if given.is_plain() { None } else { Some(given.command()?) };
        let count = if given.purpose == Purpose::Time { TOGETHER } else { 1 };
        let mut batch = Batch::new();
        batch.add(fresh.as_mut().unwrap_or(&mut self.plain), count).map_err(told)?;
        let born = batch.spawn(&self.nursery).map_err(told)?;
        Ok(Born::Ours(born.into_iter().collect::<Result<_, _>>().map_err(told)?))
    }
}

/// The nursery, and what is asked of it.
pub(super) fn batch(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    let nursery = Nursery::shared().map_err(told)?;
    Ok(Box::new(Several { nursery, plain: given.command()? }))
}
