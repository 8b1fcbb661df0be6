//! The ways to make a process, in the order of the table: what is done, what can be forgotten, what each cannot do; and how it is done.

mod batches;
mod commands;
mod copies;
mod embryos;
mod factories;
mod forks;
mod peers;
mod spawns;
mod table;

use std::ffi::{CString, OsString};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use beget::{Command, Process};

use super::stage::Holdings;

pub(super) use peers::{PYTHON, line as installed};
pub(super) use table::WAYS;

/// Whose a way is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The system's own: C has all that nobody took away.
    Classic,
    /// Beget's: C has what it was given.
    Ours,
    /// Another program's.
    Peer,
}

impl Kind {
    /// As a word.
    pub(super) fn word(self) -> &'static str {
        match self {
            Kind::Classic => "classic",
            Kind::Ours => "ours",
            Kind::Peer => "peer",
        }
    }
}

/// Gets a way ready, in P.
type Make = fn(&Given<'_>) -> Result<Box<dyn Way>, String>;

/// A way to make a process.
pub(super) struct Entry {
    /// Its name on the command line.
    pub(super) name: &'static str,
    /// Its name in the table.
    pub(super) title: &'static str,
    pub(super) kind: Kind,
    /// What P does, step by step.
    pub(super) steps: &'static [&'static str],
    /// The step that is left out, to see what that costs.
    pub(super) forgotten: &'static str,
    /// What it cannot do, or costs besides.
    pub(super) limits: &'static [&'static str],
    /// Gets ready, in P.
    pub(super) make: Make,
}

/// The one of that name.
pub(super) fn find(name: &str) -> Option<&'static Entry> {
    WAYS.iter().find(|entry| entry.name == name)
}

/// What a P is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::compare) enum Purpose {
    /// C looks about.
    Look,
    /// C reads A and ends, and is timed.
    Time,
    /// The same, under a tracer.
    Trace,
}

impl Purpose {
    pub(in crate::compare) const ALL: [(Purpose, &'static str); 3] =
        [(Purpose::Look, "look"), (Purpose::Time, "time"), (Purpose::Trace, "trace")];

    /// As a word.
    pub(in crate::compare) fn word(self) -> &'static str {
        Purpose::ALL.into_iter().find(|(purpose, _)| *purpose == self).map_or("", |(_, word)| word)
    }
}

/// What C is to be given.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) holdings: &'a Holdings,
    /// The program that C is.
    pub(super) program: &'a Path,
    pub(super) purpose: Purpose,
    /// Where it writes its report; nothing for one that is timed.
    pub(super) report: Option<&'a OwnedFd>,
    /// The way's one step is to be left out.
    pub(super) forget: bool,
}

impl Given<'_> {
    /// The words after C's name.
    fn words(&self) -> Vec<OsString> {
        self.holdings.order(self.purpose == Purpose::Look).words()
    }

    /// C's name and words, as `execve` takes them.
    fn arguments(&self) -> Result<Vec<CString>, String> {
        let words = std::iter::once(self.program.as_os_str().to_owned()).chain(self.words());
        words.map(|word| CString::new(word.as_bytes()).map_err(|error| error.to_string())).collect()
    }

    /// What is C's standard output.
    fn output(&self) -> i32 {
        self.report.unwrap_or(&self.holdings.null).as_raw_fd()
    }

    /// A, once more.
    fn a(&self) -> Result<OwnedFd, String> {
        self.holdings.a.as_fd().try_clone_to_owned().map_err(|error| format!("A: {error}"))
    }

    /// The report, once more.
    fn report(&self) -> Result<Option<OwnedFd>, String> {
        self.report.map(|report| report.try_clone().map_err(|error| format!("report: {error}"))).transpose()
    }

    /// The report, or nothing to be written to.
    fn out(&self) -> Result<OwnedFd, String> {
        self.report()?.map_or_else(|| self.null(), Ok)
    }

    /// Nothing, once more: a C that begins in a runtime that wants its streams open has them.
    fn null(&self) -> Result<OwnedFd, String> {
        self.holdings.null.try_clone().map_err(|error| format!("/dev/null: {error}"))
    }

    /// A confined C that is given A, unless that is forgotten, and where to report to.
    fn command(&self) -> Result<Command, String> {
        let mut command = Command::new(self.program);
        command.args(self.words());
        if !self.forget {
            command.stdin(self.a()?);
        }
        command.stdout(self.out()?).stderr(self.null()?);
        Ok(command)
    }

    /// The same each time: what is opened for it can be opened once.
    fn is_plain(&self) -> bool {
        !self.forget && self.report.is_none()
    }
}

/// A way that is ready.
pub(super) trait Way {
    /// Has C made.
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String>;

    /// Waits until what it does behind is over, so that nobody else's time is spent on it.
    fn rest(&mut self) -> Result<(), String> {
        Ok(())
    }
}

/// C, or several.
pub(super) enum Born {
    Number(libc::pid_t),
    Std(std::process::Child),
    Ours(Vec<Process>),
}

impl Born {
    /// How many they are.
    pub(super) fn count(&self) -> usize {
        if let Born::Ours(all) = self { all.len().max(1) } else { 1 }
    }

    /// Waits for the end of all; gives the last one's exit code, or 128 and its signal.
    pub(super) fn wait(self) -> Result<i32, String> {
        const KILLED: i32 = 128;
        let code = |status: libc::c_int| {
            if libc::WIFEXITED(status) { libc::WEXITSTATUS(status) } else { KILLED + libc::WTERMSIG(status) }
        };
        match self {
            Born::Number(number) => {
                let mut status = 0;
                // SAFETY: the kernel writes one number at a live place.
                while unsafe { libc::waitpid(number, &raw mut status, 0) } < 0 {
                    let error = std::io::Error::last_os_error();
                    if error.kind() != std::io::ErrorKind::Interrupted {
                        return Err(format!("wait: {error}"));
                    }
                }
                Ok(code(status))
            }
            Born::Std(mut child) => {
                let status = child.wait().map_err(|error| format!("wait: {error}"))?;
                Ok(code(std::os::unix::process::ExitStatusExt::into_raw(status)))
            }
            Born::Ours(all) => {
                let mut last = 0;
                for mut process in all {
                    let status = process.wait().map_err(told)?.status;
                    last = code(std::os::unix::process::ExitStatusExt::into_raw(status));
                }
                Ok(last)
            }
        }
    }
}

fn told(error: impl std::fmt::Display) -> String {
    error.to_string()
}
