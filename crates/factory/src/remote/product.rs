//! A product of a factory that another process keeps.
//!
//! Safety idea: it is held by its pidfd, never by its number; how it ended is the keeper's word, which is its parent's parent.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use beget_monitor::fields::Writer;

use super::line::Line;
use crate::keeper::protocol::{self, kind};
use crate::{Error, Fault, Result};

/// How a product ended, and what it used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its status.
    pub status: ExitStatus,
    /// Processor time in its own code.
    pub user_time: Duration,
    /// Processor time in the kernel.
    pub system_time: Duration,
    /// Largest resident size, in bytes.
    pub memory_peak: u64,
}

/// A product. It is ended when the connection that it came of is closed, unless it was asked to last; dropping this alone leaves it.
#[derive(Debug)]
pub struct RemoteProduct {
    line: Arc<Line>,
    number: u64,
    pid: u32,
    pidfd: OwnedFd,
    ended: Mutex<Option<Ended>>,
}

impl RemoteProduct {
    pub(crate) fn new(line: Arc<Line>, number: u64, pid: u32, pidfd: OwnedFd) -> RemoteProduct {
        RemoteProduct { line, number, pid, pidfd, ended: Mutex::default() }
    }

    /// Its process number, for messages.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.pid
    }

    /// Waits for its end. Any number may wait.
    ///
    /// # Errors
    /// The factory was ended, and its products with it, before that was told; [`Fault::StatusTaken`] where the nursery was killed.
    pub fn wait(&self) -> Result<Ended> {
        self.wait_until(None)?.ok_or_else(|| self.line.confused())
    }

    /// Waits for its end for so long. `None` when it has not ended by then.
    ///
    /// # Errors
    /// As for [`wait`](RemoteProduct::wait).
    pub fn wait_timeout(&self, time: Duration) -> Result<Option<Ended>> {
        self.wait_until(Instant::now().checked_add(time))
    }

    fn wait_until(&self, until: Option<Instant>) -> Result<Option<Ended>> {
        let mut known = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_some() {
            return Ok(*known);
        }
        let Some(packet) = self.line.end_of(self.number, until)? else { return Ok(None) };
        let ended = protocol::Ended::decode(&packet.body).ok_or_else(|| self.line.confused())?;
        let Some(status) = ended.status else {
            let words = "its nursery was killed, and the status went with it";
            return Err(Error::new("wait", words, Fault::StatusTaken));
        };
        let ended = Ended {
            status: ExitStatus::from_raw(status),
            user_time: Duration::from_micros(ended.times[0]),
            system_time: Duration::from_micros(ended.times[1]),
            memory_peak: ended.memory_peak,
        };
        *known = Some(ended);
        Ok(*known)
    }

    /// Sends it a signal (`man 7 signal`). One that has ended is no error.
    ///
    /// # Errors
    /// No such signal; a keeper that has ended.
    pub fn signal(&self, signal: i32) -> Result<()> {
        if self.ended.lock().unwrap_or_else(PoisonError::into_inner).is_some() {
            return Ok(());
        }
        let mut body = Writer::new();
        body.u64(self.number).u32(signal as u32);
        self.line.ask(kind::SIGNAL, body.body(), &[], kind::DONE).map(drop)
    }

    /// Ends it: SIGKILL.
    ///
    /// # Errors
    /// A keeper that has ended; its products end with it.
    pub fn kill(&self) -> Result<()> {
        self.signal(9)
    }
}

/// The pidfd: readable when it has ended.
impl AsFd for RemoteProduct {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for RemoteProduct {
    fn drop(&mut self) {
        self.line.forget(self.number);
    }
}
