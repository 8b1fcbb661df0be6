//! Everything that a command names, opened.
//!
//! Safety idea: each name is looked up here, once. Whatever is built from an opening means those files, whatever becomes of their names.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use beget_authority::{Authority, Opened, Rights};
use rustix::fs::{FileType, Mode, OFlags};

use super::direct::Direct;
use super::{Command, Directory, Group, Loader, root};
use crate::error::{Error, Fault, Result};
use crate::program::{DEPTH, Program, Search};
use crate::stdio::Kind;

/// What was opened for a command.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) program: Arc<Program>,
    /// What the program cannot start without, and its own terminal.
    pub(super) needed: Vec<Opened>,
    /// What its grants name, and what every private root has.
    pub(super) granted: Vec<Opened>,
    /// The directory that the command names, with that name; no file where it is looked up in a private root.
    pub(super) directory: (Option<Arc<OwnedFd>>, String),
    pub(super) null: Option<Arc<OwnedFd>>,
    /// The image of a program that is not executed.
    pub(super) direct: Option<Arc<Direct>>,
}

impl Opening {
    /// Opens what `command` names, and `/dev/null` where it or, with `for_others`, a later one might want it.
    pub(super) fn open(command: &Command, for_others: bool) -> Result<Opening> {
        if command.has_pty() && command.group != Group::Session {
            return Err(crate::pty::wants_session());
        }
        let ambient = command.has_ambient();
        let search = Search {
            path: command.child_path(),
            callers: command.callers_path.as_deref(),
            inspect: !ambient,
            depth: DEPTH,
        };
        let root = command.private_root();
        if root.is_some() {
            root::check(command)?;
        }
        let mut program = match command.forks {
            true => Program::own()?,
            false => Program::find(&root::outside(command), search)?,
        };
        let directory = match root {
            Some(_) => (None, root::directory(command)?),
            None => open_directory(command).map(|(directory, name)| (Some(directory), name))?,
        };
        let mut needed = std::mem::take(&mut program.files);
        let granted = if ambient {
            Vec::new()
        } else {
            needed.extend(own_terminal(command)?);
            Authority::open(&command.grants, root)?
        };
        let null = for_others || command.streams.iter().any(|kind| matches!(kind, Some(Kind::Null)));
        let null = null.then(open_null).transpose()?.map(Arc::new);
        let direct = match command.loader {
            Loader::Kernel => None,
            Loader::Direct => Some(Arc::new(Direct::open(command, &program)?)),
        };
        Ok(Opening { program: Arc::new(program), needed, granted, directory, null, direct })
    }
}

fn open_directory(command: &Command) -> Result<(Arc<OwnedFd>, String)> {
    match &command.directory {
        Directory::Path(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let part = || format!("working directory {}", path.display());
            let directory = rustix::fs::open(path, flags, Mode::empty())
                .map_err(|errno| Error::io(part(), errno).with_fault(Fault::Caller))?;
            Ok((Arc::new(directory), path.display().to_string()))
        }
        Directory::Opened(directory) => Ok((Arc::clone(directory), "a directory given open".to_owned())),
    }
}

/// A directory given as a descriptor is of little use without the right to open what is below it.
pub(super) fn given_directories(command: &Command) -> Result<Vec<Opened>> {
    let mut directories = Vec::new();
    let named = command.named.iter().map(|(name, file)| (name.clone(), file));
    let numbered = command.numbered.iter().map(|(number, file)| (number.to_string(), file));
    for (name, file) in named.chain(numbered) {
        let failed = |error: std::io::Error| Error::io(format!("slot {name}"), error);
        let status = rustix::fs::fstat(file).map_err(|errno| failed(errno.into()))?;
        if FileType::from_raw_mode(status.st_mode) == FileType::Directory {
            let copy = file.try_clone().map_err(failed)?;
            let one = Opened::adopt(copy, Rights::READ, std::path::Path::new(&name));
            directories.push(one.map_err(|errno| failed(errno.into()))?);
        }
    }
    Ok(directories)
}

/// Its own terminal by its names: there is nobody else whom it would give.
fn own_terminal(command: &Command) -> Result<Vec<Opened>> {
    let (true, Some(slave)) = (command.has_pty(), &command.terminal) else { return Ok(Vec::new()) };
    let failed = |error: std::io::Error| Error::io("pseudo-terminal", error);
    let mut files = vec![slave.try_clone().map_err(failed)?];
    match rustix::fs::open("/dev/tty", OFlags::PATH | OFlags::CLOEXEC, Mode::empty()) {
        Ok(tty) => files.push(tty),
        // It has the streams, then, and no other way.
        Err(rustix::io::Errno::NOENT) => {}
        Err(errno) => return Err(Error::io("/dev/tty", errno)),
    }
    let names = ["pseudo-terminal", "/dev/tty"].map(std::path::Path::new);
    let adopt = |(file, name)| Opened::adopt(file, Rights::TERMINAL, name);
    files
        .into_iter()
        .zip(names)
        .map(adopt)
        .collect::<rustix::io::Result<_>>()
        .map_err(|errno| failed(errno.into()))
}

fn open_null() -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::io("/dev/null", errno))
}
