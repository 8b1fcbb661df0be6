//! Refusals, awaited.

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::watch::Watched;
use crate::error::{Error, Result};
use crate::refusals::Refusal;

/// Where refusals arrive: see [`beget::Refusals`](crate::Refusals). Whoever holds this must serve it.
#[derive(Debug)]
pub struct Refusals(Watched<crate::Refusals>);

impl Refusals {
    pub(super) fn new(refusals: crate::Refusals) -> std::io::Result<Refusals> {
        Watched::new(refusals).map(Refusals)
    }

    /// Waits for the next refusal, and answers it. `None` when nothing that it is for runs any more.
    ///
    /// Cancel safe: a refusal is either taken, answered and told, or waits for the next call.
    ///
    /// # Errors
    /// Those of the kernel's notification calls (`man 2 seccomp_unotify`); a runtime that is shut down.
    pub async fn next(&mut self) -> Result<Option<Refusal>> {
        loop {
            let mut ready = self.0.readable().await.map_err(|error| Error::io("refusal", error))?;
            let mut watched = [PollFd::new(self.0.get(), PollFlags::IN)];
            let _ = poll(&mut watched, Some(&Timespec::default()));
            let now = watched[0].revents();
            if now.contains(PollFlags::IN) {
                if let Some(refusal) = self.0.get().next()? {
                    return Ok(Some(refusal));
                }
            } else if now.intersects(PollFlags::HUP | PollFlags::ERR) {
                return Ok(None);
            } else {
                ready.clear_ready();
            }
        }
    }
}
