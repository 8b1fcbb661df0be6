//! Capabilities for a process that runs already, over the channel that it was born with.
//!
//! Safety idea: nothing here waits for the process, but where a time is given; what it sends is an allegation, read by `beget-channel`.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use beget_channel::Holder;
use rustix::fs::FileType;

use crate::error::{Error, Fault, Result};
use crate::nursery::Kind;
use crate::process::Process;

impl Process {
    /// Sends it one more capability: a descriptor of what `capability` refers to, by this name of 1 to 255 bytes without control
    /// characters. It keeps that from then on, whatever happens to this handle; what confines it stays as it was, so below a directory it can open
    /// only what it could before. For one that was born with a channel ([`Command::channel`](crate::Command::channel)).
    ///
    /// Returns at once; the process receives it when it likes.
    ///
    /// # Errors
    /// A name that is none; a process without a channel, or that has closed it or ended (`EPIPE`); one that does not read, so that as much
    /// waits for it as the kernel keeps (`EAGAIN`). For one in a private root a directory, which would lead out of that. `ETOOMANYREFS`, when
    /// too many descriptors of this user are on their way. Nothing was sent then, and what was sent before is not lost.
    pub fn send(&self, name: &str, capability: impl AsFd) -> Result<()> {
        self.send_over(self.holder()?, name, capability)
    }

    pub(crate) fn send_over(&self, holder: &Holder, name: &str, capability: impl AsFd) -> Result<()> {
        let part = |words, fault| Error::new(format!("capability {}", name.escape_debug()), words, fault);
        let rooted = self.tree.as_ref().is_some_and(|nursery| nursery.inner.kind() == Kind::First);
        if rooted {
            let status = rustix::fs::fstat(&capability).map_err(|errno| Error::io("channel", errno))?;
            if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
                return Err(part("a directory that is open leads out of a private root", Fault::Caller));
            }
        }
        Ok(holder.send(name, capability)?)
    }

    /// The next name that it asks for, or `None` when it has asked for none in this time. It is for whoever holds it to decide what that
    /// name means, if anything, and to [`send`](Process::send) that. Whatever else it sends is closed and skipped; of a flood of that
    /// this returns before the time is up.
    ///
    /// # Errors
    /// A process without a channel; one that has closed it or ended, and asked for nothing more before (`EPIPE`).
    pub fn asked(&self, time: Duration) -> Result<Option<String>> {
        Ok(self.holder()?.asked(time)?)
    }

    /// Its channel, to wait for it beside other things: readable when it has asked for something, or has closed it.
    #[must_use]
    pub fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.channel.as_ref().map(AsFd::as_fd)
    }

    /// Takes the end of its channel out of this handle, to be held by somebody else: who holds that sends it capabilities
    /// ([`beget_channel::Holder`] does the same as [`send`](Process::send), but for the look at directories).
    pub fn take_channel(&mut self) -> Option<OwnedFd> {
        self.channel.take().map(OwnedFd::from)
    }

    fn holder(&self) -> Result<&Holder> {
        let words = "the process was born without one, or it was taken";
        self.channel.as_ref().ok_or_else(|| Error::new("channel", words, Fault::Caller))
    }
}
