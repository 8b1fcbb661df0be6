//! What one spawn of a sealed command has of its own.
//!
//! Safety idea: a variation is all that a requestor says, and there is no word in it for another program, for one more grant, or for less
//! confinement. What it does say is compared with what was sealed before anything is made.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use beget_authority::{Authority, Grant, Limit, Opened, Support, limit};

use super::{Command, Directory};
use crate::error::{Error, Fault, Result};
use crate::stdio::{Kind, Stdio};

/// What one spawn of a [`Sealed`](super::Sealed) command, or one product of its template, has of its own: arguments, variables, streams,
/// descriptors, a directory, and tighter limits and fewer grants. The setters have the names of [`Command`]'s.
///
/// The same one may be used many times, by several threads: its descriptors stay its own. A copy has the same open files.
#[derive(Clone, Default)]
pub struct Variation {
    pub(super) arguments: Vec<OsString>,
    pub(super) environment: BTreeMap<OsString, OsString>,
    pub(super) streams: [Option<Kind>; 3],
    pub(super) named: Vec<(String, Arc<OwnedFd>)>,
    pub(super) numbered: BTreeMap<i32, Arc<OwnedFd>>,
    pub(super) limits: Vec<Limit>,
    pub(super) directory: Option<Arc<OwnedFd>>,
    pub(super) cgroup: Option<Arc<OwnedFd>>,
    pub(super) narrower: Option<Arc<Narrower>>,
}

/// Names only, as with [`Command`].
impl fmt::Debug for Variation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Variation")
            .field("arguments", &self.arguments)
            .field("variables", &self.environment.keys().collect::<Vec<_>>())
            .field("limits", &self.limits)
            .field("grants", &self.narrower.as_ref().map(|narrower| &narrower.grants))
            .finish_non_exhaustive()
    }
}

/// The grants that a spawn is held to besides, opened.
#[derive(Debug)]
pub(super) struct Narrower {
    pub(super) grants: Vec<Grant>,
    opened: Vec<Opened>,
}

impl Narrower {
    /// The ruleset that is put on besides. `needed`: what the program cannot start without, and what it was given open.
    pub(super) fn ruleset(&self, support: Support, needed: &[Opened]) -> Result<OwnedFd> {
        let files: Vec<Opened> = needed.iter().chain(&self.opened).cloned().collect();
        Ok(beget_authority::narrower(support, &files, &self.grants)?)
    }
}

impl Variation {
    /// One that changes nothing.
    #[must_use]
    pub fn new() -> Variation {
        Variation::default()
    }

    /// Adds an argument after those that were sealed.
    pub fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Variation {
        self.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Adds arguments after those that were sealed.
    pub fn args(&mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> &mut Variation {
        self.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// Gives a variable, or another value for one that was sealed. Not one that makes the loader run other code than was sealed (`LD_PRELOAD`
    /// and its kin, `man 8 ld.so`): that is an error of the spawn.
    pub fn env(&mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> &mut Variation {
        self.environment.insert(name.as_ref().to_owned(), value.as_ref().to_owned());
        self
    }

    /// Gives variables.
    pub fn envs(
        &mut self,
        variables: impl IntoIterator<Item = (impl AsRef<OsStr>, impl AsRef<OsStr>)>,
    ) -> &mut Variation {
        for (name, value) in variables {
            self.env(name, value);
        }
        self
    }

    /// Standard input, instead of the one that was sealed.
    pub fn stdin(&mut self, stream: impl Into<Stdio>) -> &mut Variation {
        self.streams[0] = Some(stream.into().0);
        self
    }

    /// Standard output, likewise.
    pub fn stdout(&mut self, stream: impl Into<Stdio>) -> &mut Variation {
        self.streams[1] = Some(stream.into().0);
        self
    }

    /// Standard error, likewise.
    pub fn stderr(&mut self, stream: impl Into<Stdio>) -> &mut Variation {
        self.streams[2] = Some(stream.into().0);
        self
    }

    /// Gives a descriptor by name, in the next free slot after those that were sealed, as [`Command::slot`] does.
    pub fn slot(&mut self, name: impl Into<String>, file: impl Into<OwnedFd>) -> &mut Variation {
        self.named.push((name.into(), Arc::new(file.into())));
        self
    }

    /// Gives a descriptor at a slot of this number, which nothing that was sealed may lie in.
    pub fn fd(&mut self, number: i32, file: impl Into<OwnedFd>) -> &mut Variation {
        self.numbered.insert(number, Arc::new(file.into()));
        self
    }

    /// Sets a limit, no higher than the one that was sealed; the last of a kind counts.
    pub fn limit(&mut self, limit: Limit) -> &mut Variation {
        self.limits.push(limit);
        self
    }

    /// The working directory, instead of the one that was sealed.
    pub fn current_dir_fd(&mut self, directory: impl Into<OwnedFd>) -> &mut Variation {
        self.directory = Some(Arc::new(directory.into()));
        self
    }

    /// The cgroup that it is in, as its open directory, instead of the one that was sealed: what pays for it. As [`Command::cgroup`].
    pub fn cgroup(&mut self, directory: impl Into<OwnedFd>) -> &mut Variation {
        self.cgroup = Some(Arc::new(directory.into()));
        self
    }

    /// Holds it to `grants` besides what was sealed: only what both allow is left. Beside them it has what the program cannot start without,
    /// and what it is given open. What they name is opened now. Not for a private root, where all that is there may be read.
    ///
    /// # Errors
    /// A grant that cannot be opened; [`Grant::Ambient`], which narrows nothing.
    pub fn narrow(&mut self, grants: &[Grant]) -> Result<&mut Variation> {
        if grants.contains(&Grant::Ambient) {
            return Err(Error::new("narrower grants", "ambient authority narrows nothing", Fault::Caller));
        }
        let opened = Authority::open(grants, None)?;
        self.narrower = Some(Arc::new(Narrower { grants: grants.to_vec(), opened }));
        Ok(self)
    }

    /// Whether it fills slots besides the standard streams, of which variables tell (`LISTEN_FDS`).
    #[must_use]
    pub fn gives_slots(&self) -> bool {
        !self.named.is_empty() || !self.numbered.is_empty()
    }

    /// Whether standard input (0), output (1) or error (2) is given here.
    #[must_use]
    pub fn gives_stream(&self, stream: usize) -> bool {
        self.streams.get(stream).is_some_and(Option::is_some)
    }

    /// Whether it says nothing but what the streams are.
    pub(super) fn is_of_streams_alone(&self) -> bool {
        let Variation {
            arguments,
            environment,
            streams: _,
            named,
            numbered,
            limits,
            directory,
            cgroup,
            narrower,
        } = self;
        arguments.is_empty()
            && environment.is_empty()
            && named.is_empty()
            && numbered.is_empty()
            && limits.is_empty()
            && directory.is_none()
            && cgroup.is_none()
            && narrower.is_none()
    }

    /// The arguments that it adds.
    #[must_use]
    pub fn arguments(&self) -> &[OsString] {
        &self.arguments
    }

    /// The variables that it gives.
    #[must_use]
    pub fn environment(&self) -> &BTreeMap<OsString, OsString> {
        &self.environment
    }
}

/// Whether the loader runs other code where this is set.
fn is_loaders(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b"LD_") || name == b"GCONV_PATH" || name == b"GLIBC_TUNABLES"
}

/// Whether both limit the same thing; the two amounts.
fn amounts(one: &Limit, other: &Limit) -> Option<(u64, u64)> {
    match (one, other) {
        (Limit::Memory(one), Limit::Memory(other))
        | (Limit::Processes(one), Limit::Processes(other))
        | (Limit::OpenFiles(one), Limit::OpenFiles(other)) => Some((*one, *other)),
        (Limit::Processors(one), Limit::Processors(other)) => Some((u64::from(*one), u64::from(*other))),
        _ => None,
    }
}

impl Command {
    /// This command, sealed with these resource limits and kept slots of these numbers, varied.
    pub(super) fn varied(
        &self,
        variation: &Variation,
        resources: &[limit::Resource],
        taken: impl Fn(i32) -> Option<String>,
    ) -> Result<Command> {
        let mut command = self.again();
        command.sealed_names = Some(self.named.len());
        command.arguments.extend(variation.arguments.iter().cloned());
        for (name, value) in &variation.environment {
            if is_loaders(name) {
                let part = format!("variable {}", name.display());
                let words = "it changes which code is loaded, and that was sealed";
                return Err(Error::new(part, words, Fault::Caller));
            }
            command.environment.insert(name.clone(), value.clone());
        }
        for (stream, kind) in command.streams.iter_mut().zip(&variation.streams) {
            if kind.is_some() {
                stream.clone_from(kind);
            }
        }
        command.named.extend(variation.named.iter().cloned());
        for (number, file) in &variation.numbered {
            if let Some(name) = taken(*number) {
                let words = format!("{name} is there already, and was sealed");
                return Err(Error::new(format!("slot {number}"), words, Fault::Caller));
            }
            command.numbered.insert(*number, Arc::clone(file));
        }
        for limit in &variation.limits {
            self.check_narrower(limit, resources)?;
            command.limits.push(*limit);
        }
        if let Some(directory) = &variation.directory {
            command.directory = Directory::Opened(Arc::clone(directory));
        }
        if let Some(cgroup) = &variation.cgroup {
            command.cgroup = Some(Arc::clone(cgroup));
        }
        command.narrower.clone_from(&variation.narrower);
        Ok(command)
    }

    fn check_narrower(&self, limit: &Limit, resources: &[limit::Resource]) -> Result<()> {
        let wider = |sealed: String| {
            let words = format!("wider than what was sealed, {sealed}");
            Err(Error::new(format!("limit {limit}"), words, Fault::Caller))
        };
        // The last of a kind counts.
        let sealed = self.limits.iter().rev().find_map(|own| Some((own, amounts(limit, own)?)));
        if let Some((own, (asked, sealed))) = sealed
            && asked > sealed
        {
            return wider(own.to_string());
        }
        let files = resources.iter().find(|one| one.number == limit::OPEN_FILES);
        match (limit, files) {
            (Limit::OpenFiles(count), Some(files)) if *count > files.bounds.hard => {
                wider(Limit::OpenFiles(files.bounds.hard).to_string())
            }
            _ => Ok(()),
        }
    }
}
