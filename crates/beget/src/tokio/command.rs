//! How a child is asked for, by a task.

use std::ffi::OsStr;

use super::Process;
use crate::description::Description;
use crate::end::Ended;
use crate::error::Result;
use crate::process::Output;
use crate::pty::Pty;

/// A child to be: [`beget::Command`](crate::Command), whose processes are awaited.
///
/// What it gives its child, and what it does not, is the same, and so are its names. One that was built elsewhere comes by `From`.
///
/// Its pipes are its own: a pipe of another process's, to be a stream of this one, is turned into a blocking descriptor first
/// (`into_blocking_fd`), for most programs expect one.
#[derive(Debug)]
pub struct Command {
    pub(crate) blocking: crate::Command,
}

impl From<crate::Command> for Command {
    fn from(blocking: crate::Command) -> Command {
        Command { blocking }
    }
}

impl Command {
    /// A command for `program`: see [`beget::Command::new`](crate::Command::new).
    pub fn new(program: impl AsRef<OsStr>) -> Command {
        crate::Command::new(program).into()
    }

    /// Gives it a terminal of its own: see [`beget::Command::pty`](crate::Command::pty).
    ///
    /// # Errors
    /// As there.
    pub fn pty(&mut self, pty: &Pty) -> Result<&mut Command> {
        self.blocking.pty(pty)?;
        Ok(self)
    }

    /// Starts it. The birth is over when this returns; nothing has to be awaited for the child to run.
    ///
    /// # Errors
    /// Those of [`beget::Command::spawn`](crate::Command::spawn), and of a thread outside any runtime. Nothing is left behind.
    ///
    /// # Panics
    /// In a runtime without an event loop.
    pub fn spawn(&mut self) -> Result<Process> {
        let runtime = super::process::runtime()?;
        Process::born(self.blocking.spawn()?, runtime)
    }

    /// Starts it, at once, and gives a future for its end.
    ///
    /// A future that is dropped drops its [`Process`]: that runs on, unless [`kill_on_drop`](Command::kill_on_drop) was asked for.
    ///
    /// # Errors
    /// Those of [`spawn`](Command::spawn) and [`Process::wait`], all of them told by the future.
    ///
    /// # Panics
    /// As [`spawn`](Command::spawn).
    pub fn status(&mut self) -> impl Future<Output = Result<Ended>> + Send + use<> {
        let process = self.spawn();
        async move { process?.wait().await }
    }

    /// Starts it, at once, with pipes at the standard output and error that were not set, and gives a future for all that it writes.
    /// Standard input that was not set stays closed.
    ///
    /// A future that is dropped drops its [`Process`], and with it what was collected. Whoever must not lose that spawns, reads the
    /// streams and waits.
    ///
    /// # Errors
    /// Those of [`spawn`](Command::spawn) and [`Process::wait_with_output`], all of them told by the future.
    ///
    /// # Panics
    /// As [`spawn`](Command::spawn).
    pub fn output(&mut self) -> impl Future<Output = Result<Output>> + Send + use<> {
        let process = super::process::runtime()
            .and_then(|runtime| Process::born(self.blocking.spawn_to_collect()?, runtime));
        async move { process?.wait_with_output().await }
    }

    /// What the child would hold: see [`beget::Command::describe`](crate::Command::describe).
    ///
    /// # Errors
    /// As there.
    pub fn describe(&mut self) -> Result<Description> {
        self.blocking.describe()
    }
}
