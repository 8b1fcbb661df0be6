//! What was asked for on the command line, and the command of the library that it makes.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use beget::{Command, Grant, Stdio, Support};
use beget_spec::{Spec, Variables};

use crate::flags::Flag;
use crate::terminal::{self, Terminal};

/// What was asked for: a spec, and what only a command line has.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) spec: Spec,
    pub(crate) support: Support,
    pub(crate) json: bool,
    pub(crate) from: From,
    /// The program came after `--`.
    pub(crate) apart: bool,
    pub(crate) service: ForService,
    pub(crate) factory: ForFactory,
    pub(crate) bench: beget_bench::Options,
    /// The flags as they were given, each with its value, for whoever reads them in another process: a variable that was to be passed has its
    /// value there.
    pub(crate) said: Vec<OsString>,
}

/// Interpreters that there is an adapter for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Python,
    Perl,
}

/// What a factory is asked for.
#[derive(Debug, Default)]
pub(crate) struct ForFactory {
    pub(crate) options: beget_factory::Options,
    /// The interpreter that the program is, which is told jobs.
    pub(crate) runtime: Option<Runtime>,
    /// What that has loaded before it is ready.
    pub(crate) preload: Vec<String>,
    pub(crate) unique: bool,
    /// A saved image, which templates are made from.
    pub(crate) image: Option<PathBuf>,
    /// Public keys one of which has signed it.
    pub(crate) signers: Vec<PathBuf>,
    /// Where an image is written.
    pub(crate) output: Option<PathBuf>,
    /// A key to sign that with.
    pub(crate) key: Option<PathBuf>,
}

/// What the service's commands are asked for.
#[derive(Debug, Default)]
pub(crate) struct ForService {
    pub(crate) socket: Option<Socket>,
    /// Names of domains.
    pub(crate) names: Vec<OsString>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) no_hang: bool,
    pub(crate) grace: Option<Duration>,
    pub(crate) signal: Option<i32>,
    pub(crate) limit: Option<u32>,
    /// Standard streams of a domain: ours, or files, or nothing.
    pub(crate) own_streams: bool,
    pub(crate) streams: [Option<PathBuf>; 3],
    pub(crate) tied: bool,
    pub(crate) spawner: bool,
    /// Capabilities to other domains, each for a slot.
    pub(crate) capabilities: Vec<Handed>,
    /// Descriptors to send.
    pub(crate) sent: Vec<beget_spec::Descriptor>,
    pub(crate) manifest: Option<PathBuf>,
    pub(crate) lives_on: bool,
    pub(crate) nurseries: Option<u32>,
    pub(crate) other_users: bool,
    pub(crate) history: Option<u32>,
    pub(crate) stop: bool,
    pub(crate) status: bool,
}

/// A capability to a domain, or to the factory that it keeps, which is given to another in a slot.
#[derive(Clone, Debug)]
pub(crate) struct Handed {
    pub(crate) slot: String,
    pub(crate) domain: String,
    pub(crate) rights: Rights,
}

/// What a capability is to be a right to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// Of [`beget_service::protocol::right`].
    Domain(u32),
    /// Of [`beget_factory::remote::right`], for a domain that keeps a factory.
    Factory(u32),
}

/// How the service is reached.
#[derive(Clone, Debug)]
pub(crate) enum Socket {
    /// A socket in the file system.
    Path(PathBuf),
    /// A capability that we were started with, in the slot of this name.
    Held(String),
}

impl Socket {
    /// As `--socket` takes it.
    pub(crate) fn of(value: OsString) -> Result<Socket, String> {
        match value.to_str().and_then(|text| text.strip_prefix("fd:")) {
            Some("") => Err("wants the name of a slot after fd:".to_owned()),
            Some(slot) => Ok(Socket::Held(slot.to_owned())),
            None if value.is_empty() => Err("wants a path".to_owned()),
            None => Ok(Socket::Path(value.into())),
        }
    }

    pub(crate) fn is_held(&self) -> bool {
        matches!(self, Socket::Held(_))
    }

    /// The descriptor in a slot that we were started with. The variables are believed whoever they were meant for: a shell between hands on both.
    pub(crate) fn held(slot: &str) -> Result<OwnedFd, String> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let place = names.split(':').position(|name| name == slot);
        let number = place.and_then(|place| i32::try_from(place).ok()?.checked_add(3));
        let file = number.and_then(|number| beget_sys::descriptor::take_up(number).ok());
        file.ok_or_else(|| format!("slot {slot}: nothing of this name was given to us"))
    }
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
        Options {
            spec: Spec::default(),
            support: Support::detect(),
            json: false,
            from: From::default(),
            apart: false,
            service: ForService::default(),
            factory: ForFactory::default(),
            bench: beget_bench::Options::default(),
            said: Vec::new(),
        }
    }

    /// Notes a flag that was applied.
    pub(crate) fn note(&mut self, flag: &Flag, value: OsString) {
        self.said.push(format!("--{}", flag.name).into());
        match (flag.name, self.spec.environment.last()) {
            ("env", Some((name, Some(value)))) => {
                let mut both = name.clone();
                both.push("=");
                both.push(value);
                self.said.push(both);
            }
            _ if flag.value.is_empty() => {}
            _ => self.said.push(value),
        }
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
