//! What was asked for, and the command of the library that it makes.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use beget::{Command, DEFAULT_PATH, Grant, Limit, Loader, Promise, Stdio, Support};
use rustix::fs::{Mode, OFlags};

use crate::terminal::{self, Terminal};

/// Where a granted descriptor comes from.
#[derive(Debug)]
pub(crate) enum FdSource {
    Number(i32),
    Path { path: PathBuf, writing: bool },
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) grants: Vec<Grant>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) fds: Vec<(String, OsString, FdSource)>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) only: bool,
    pub(crate) degraded: Vec<Promise>,
    pub(crate) support: Support,
    pub(crate) loader: Loader,
    pub(crate) suspend: bool,
    pub(crate) json: bool,
    pub(crate) program: Option<OsString>,
    pub(crate) arguments: Vec<OsString>,
}

impl Options {
    pub(crate) fn new() -> Options {
        Options {
            grants: Vec::new(),
            limits: Vec::new(),
            fds: Vec::new(),
            environment: Vec::new(),
            directory: None,
            timeout: None,
            only: false,
            degraded: Vec::new(),
            support: Support::detect(),
            loader: Loader::Kernel,
            suspend: false,
            json: false,
            program: None,
            arguments: Vec::new(),
        }
    }

    /// The command for the library. With a terminal the child is a job of ours, else it gets a session of its own.
    pub(crate) fn command(
        &mut self,
        program: &OsString,
        terminal: Option<&mut Terminal>,
    ) -> Result<Command, String> {
        let mut command = Command::new(program);
        command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
        if terminal.is_none() {
            // A session of its own may read any terminal that it holds open, and nothing stops it as a job would be stopped.
            if let Some(output) = terminal::to_write_only(1) {
                command.stdout(output);
            }
            if let Some(error) = terminal::to_write_only(2) {
                command.stderr(error);
            }
        }
        if let Some(terminal) = terminal {
            command.process_group(0).foreground(terminal.lend_at_birth());
            if self.grants.contains(&Grant::Base) {
                command.grant(Grant::Terminal);
            }
        }
        command
            .args(&self.arguments)
            .env("PATH", DEFAULT_PATH)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .grants(self.grants.iter().cloned())
            .only(self.only)
            .support(self.support)
            .loader(self.loader)
            .suspended(self.suspend)
            .tell_refusals(true);
        for limit in &self.limits {
            command.limit(*limit);
        }
        for promise in &self.degraded {
            command.degrade(*promise);
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        for (name, words, source) in self.fds.drain(..) {
            let file = open(source).map_err(|why| format!("grant --fd {}: {why}", words.display()))?;
            command.slot(name, file);
        }
        Ok(command)
    }
}

fn open(source: FdSource) -> Result<OwnedFd, beget_sys::Errno> {
    match source {
        FdSource::Number(number) => beget_sys::descriptor::take_up(number),
        FdSource::Path { path, writing } => {
            let number = |errno: rustix::io::Errno| beget_sys::Errno(errno.raw_os_error());
            let mode = if writing { OFlags::RDWR } else { OFlags::RDONLY };
            // A pipe with a name would make us wait for a writer, whoever put it there.
            let flags = mode | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
            let file = rustix::fs::open(path, flags, Mode::empty()).map_err(number)?;
            let flags = rustix::fs::fcntl_getfl(&file).map_err(number)?;
            rustix::fs::fcntl_setfl(&file, flags & !OFlags::NONBLOCK).map_err(number)?;
            Ok(file)
        }
    }
}
