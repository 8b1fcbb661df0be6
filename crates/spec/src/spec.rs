//! Everything that flags can say.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use beget::{Command, DEFAULT_PATH, Grant, Limit, Loader, Promise, Root};

use crate::descriptor::Descriptor;
use crate::error::{Error, Result};

/// What a child is to hold, and how it is started. The default holds nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Spec {
    /// What it is for, in a line.
    pub description: Option<String>,
    /// The program: a path, or a name that is looked up in the child's `PATH`.
    pub program: Option<OsString>,
    /// Its arguments.
    pub arguments: Vec<OsString>,
    /// What it is given.
    pub grants: Vec<Grant>,
    /// Its variables, in the order given; the last of a name counts. `None` passes the value that the caller has.
    pub environment: Vec<(OsString, Option<OsString>)>,
    /// It has a private root: what is not granted does not exist.
    pub root: bool,
    /// What that holds beside the granted files.
    pub inside: Root,
    /// Its descriptors beside the standard streams.
    pub descriptors: Vec<Descriptor>,
    /// Its limits; the last of a kind counts.
    pub limits: Vec<Limit>,
    /// How long it and all that it started may run. Whoever stays beside it keeps that; [`Spec::command`] does not.
    pub timeout: Option<Duration>,
    /// How long it has, when that time is up and it was asked to end, before it is ended; none is to be ended at once. Likewise.
    pub grace: Duration,
    /// The most that it may write to standard output and error together, in bytes. Whoever stays beside it keeps that, and collecting by
    /// [`Command::output`].
    pub output_limit: Option<u64>,
    /// Its streams are a terminal of its own. Whoever stays beside it makes that.
    pub pty: bool,
    /// Where its output is recorded. Whoever stays beside it does that.
    pub log: Option<PathBuf>,
    /// Where it starts, instead of in `/`.
    pub directory: Option<PathBuf>,
    /// No other program is executed.
    pub only: bool,
    /// It marks no file. Products of a factory never do.
    pub discreet: bool,
    /// Who puts it into memory.
    pub loader: Loader,
    /// It stops before its first instruction.
    pub suspend: bool,
    /// Promises given up where this kernel cannot keep them.
    pub degraded: Vec<Promise>,
}

impl Spec {
    /// The command. Its standard streams are closed until the caller gives them; what concerns the time after the start
    /// ([`timeout`](Spec::timeout)), or its streams ([`pty`](Spec::pty), [`log`](Spec::log)), is left to the caller.
    ///
    /// # Errors
    /// No program; a variable to pass that is not set here; a descriptor that cannot be had. Grants are opened at the first spawn.
    pub fn command(&self) -> Result<Command> {
        let program = self.program.as_ref().ok_or_else(|| Error::new("program", "no name was given"))?;
        let mut command = Command::new(program);
        command
            .args(&self.arguments)
            .env("PATH", DEFAULT_PATH)
            .grants(self.grants.iter().cloned())
            .only(self.only)
            .discreet(self.discreet)
            .loader(self.loader)
            .suspended(self.suspend);
        if self.root {
            command.root(self.inside.clone());
        } else if self.inside != Root::new() {
            let words = "what is put into a private root, its name, and numbers inside it are of no use without one: add --root";
            return Err(Error::new("root", words));
        }
        for (name, value) in &self.environment {
            match value {
                Some(value) => command.env(name, value),
                None => command.env(name, callers_value(name)?),
            };
        }
        if let Some(bytes) = self.output_limit {
            command.output_limit(bytes);
        }
        for limit in &self.limits {
            command.limit(*limit);
        }
        for promise in &self.degraded {
            command.degrade(*promise);
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        for descriptor in &self.descriptors {
            let part = || format!("grant --fd {descriptor}");
            let file = descriptor.open().map_err(|errno| Error::new(part(), errno))?;
            command.slot(&descriptor.name, file);
        }
        Ok(command)
    }

    /// Whether it is given this.
    #[must_use]
    pub fn has(&self, grant: &Grant) -> bool {
        self.grants.contains(grant)
    }
}

fn callers_value(name: &OsString) -> Result<OsString> {
    let part = || format!("flag --env {}", name.display());
    std::env::var_os(name).ok_or_else(|| Error::new(part(), "not set here, so there is nothing to pass"))
}
