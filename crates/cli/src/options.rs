//! What was asked for on the command line, and the command of the library that it makes.

use std::path::PathBuf;

use beget::{Command, Grant, Stdio, Support};
use beget_spec::{Spec, Variables};

use crate::terminal::{self, Terminal};

/// What was asked for: a spec, and what only a command line has.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) spec: Spec,
    pub(crate) support: Support,
    pub(crate) json: bool,
    pub(crate) from: From,
}

/// Where the spec begins, before flags add to it.
#[derive(Debug, Default)]
pub(crate) struct From {
    pub(crate) file: Option<PathBuf>,
    pub(crate) profile: Option<String>,
    pub(crate) variables: Variables,
}

impl From {
    /// Nothing was said of a file or a profile.
    pub(crate) fn is_nothing(&self) -> bool {
        self.file.is_none() && self.profile.is_none()
    }

    /// The place in it that a message about the command is about.
    pub(crate) fn locate(&self, message: &str) -> Option<beget_spec::Error> {
        if self.is_nothing() {
            return None;
        }
        Spec::locate(self.file.as_deref(), self.profile.as_deref(), &self.variables, message)
    }

    /// Reads it.
    pub(crate) fn read(&self) -> beget_spec::Result<Spec> {
        match (&self.file, &self.profile) {
            (Some(file), profile) => Spec::read(file, profile.as_deref(), &self.variables),
            (None, Some(profile)) => Spec::shipped(profile, &self.variables),
            (None, None) => Ok(Spec::default()),
        }
    }
}

impl Options {
    pub(crate) fn new() -> Options {
        Options { spec: Spec::default(), support: Support::detect(), json: false, from: From::default() }
    }

    /// The command for the library. With a terminal the child is a job of ours, else it gets a session of its own.
    pub(crate) fn command(&self, terminal: Option<&mut Terminal>) -> Result<Command, String> {
        let mut command = self.spec.command().map_err(|error| error.to_string())?;
        command
            .stdin(Stdio::inherit())
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit())
            .support(self.support)
            .tell_refusals(true);
        if let Some(terminal) = terminal {
            command.process_group(0).foreground(terminal.lend_at_birth());
            if self.spec.has(&Grant::Base) {
                command.grant(Grant::Terminal);
            }
        } else {
            // A session of its own may read any terminal that it holds open, and nothing stops it as a job would be stopped.
            if let Some(output) = terminal::to_write_only(1) {
                command.stdout(output);
            }
            if let Some(error) = terminal::to_write_only(2) {
                command.stderr(error);
            }
        }
        Ok(command)
    }
}
