//! Capabilities for a process that runs already, for tasks.

use std::os::fd::AsFd;
use std::time::Duration;

use beget_channel::Holder;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::Process;
use super::watch::Watched;
use crate::error::{Error, Fault, Result};

impl Process {
    /// Sends it one more capability, at once: see [`beget::Process::send`](crate::Process::send).
    ///
    /// # Errors
    /// As there.
    pub fn send(&self, name: &str, capability: impl AsFd) -> Result<()> {
        self.blocking().send_over(self.holder()?.get(), name, capability)
    }

    /// Waits for the next name that it asks for: see [`beget::Process::asked`](crate::Process::asked).
    ///
    /// Cancel safe: what it asks for is told, or waits for the next call.
    ///
    /// # Errors
    /// As there; a runtime that is shut down.
    pub async fn asked(&self) -> Result<String> {
        let channel = self.holder()?;
        loop {
            let mut ready = channel.readable().await.map_err(|error| Error::io("channel", error))?;
            if let Some(name) = channel.get().asked(Duration::ZERO)? {
                return Ok(name);
            }
            // A flood of garbage is not read to its end at once; other tasks have their turn.
            let mut watched = [PollFd::new(channel.get(), PollFlags::IN)];
            let _ = poll(&mut watched, Some(&Timespec::default()));
            if watched[0].revents().is_empty() {
                ready.clear_ready();
            }
            ::tokio::task::coop::consume_budget().await;
        }
    }

    fn holder(&self) -> Result<&Watched<Holder>> {
        let words = "the process was born without one";
        self.channel.as_ref().ok_or_else(|| Error::new("channel", words, Fault::Caller))
    }
}
