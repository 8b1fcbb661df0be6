//! Trivial confinement: P has C made from an image that it holds, and gives it A.

use beget::Command;

use super::{Born, Given, Way, told};

struct Confined {
    /// The same each time: prepared by its first spawn.
    plain: Command,
}

impl Way for Confined {
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String> {
        let process = match given.is_plain() {
            true => self.plain.spawn(),
            false => given.command()?.spawn(),
        };
        Ok(Born::Ours(vec![process.map_err(told)?]))
    }
}

/// A confined command.
pub(super) fn confined(given: &Given<'_>) -> Result<Box<dyn Way>, String> {
    Ok(Box::new(Confined { plain: given.command()? }))
}
