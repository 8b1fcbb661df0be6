//! Opens and builds everything that the spawns of one command share.
//!
//! Safety idea: everything is opened here, once, in the caller, and kept as descriptors and bytes.

use std::ffi::{CString, OsString};
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use beget_authority::cgroup::{self, Means};
use beget_authority::keyring::{self, Keyring};
use beget_authority::{Authority, Opened, Request, limit};
use beget_plan::{Engine, Plan};
use beget_sys::process;
use rustix::fs::FileType;

use super::direct::Direct;
use super::opening::{Opening, given_directories};
use super::sealed::{Kept, Sharing};
use super::slots::{Slots, Source};
use super::{Command, Directory, Group, Loader};
use super::{root, write};
use crate::confine::{self, Places};
use crate::error::{Error, Fault, Result};
use crate::program::Program;
use crate::stdio::Kind;
use crate::template::Template;
use crate::writer::{Step, Writer};

/// Everything that spawns of one command share.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The plan, but for a program that is loaded: then every spawn writes its own.
    pub(super) plan: Vec<u8>,
    pub(super) steps: Vec<Step>,
    pub(super) direct: Option<Arc<Direct>>,
    pub(super) slots: Slots,
    pub(super) program: Arc<Program>,
    pub(crate) authority: Arc<Authority>,
    /// What its filter was made for; none for one that is not confined.
    pub(super) kind: Option<Kept>,
    /// A second ruleset, for this spawn alone.
    pub(super) narrower: Option<OwnedFd>,
    /// None where it is looked up in a private root.
    pub(super) directory: Option<Arc<OwnedFd>>,
    null: Option<Arc<OwnedFd>>,
    pub(super) directory_name: String,
    pub(super) environment: Vec<OsString>,
    pub(super) limits: Vec<limit::Resource>,
    pub(super) keyring: Keyring,
    /// A cgroup made for it is one that it can be born in.
    born_in_group: bool,
    pub(super) strings: (Vec<CString>, Vec<CString>),
    /// Grants whose rules live only as long as somebody holds their files: the processes do.
    pub(crate) held: Arc<Vec<Opened>>,
    caller: u32,
}

impl Prepared {
    /// Puts aside the granted files that a process must hold, and gives back those that nobody needs any more.
    pub(super) fn hold(&mut self) -> Vec<Opened> {
        // It is nobody else's yet, or was put aside already.
        let Some(authority) = Arc::get_mut(&mut self.authority) else { return Vec::new() };
        let forgotten = authority.forget_opened();
        self.held = Arc::new(std::mem::take(&mut authority.opened));
        forgotten
    }

    /// Whether another spawn can use it: a plan that names its parent is of no use to a copy of that parent, and the keyring is made
    /// once.
    pub(super) fn fits(&self, command: &Command) -> bool {
        // Rules for a private root are added to the ruleset by each child.
        self.keyring != Keyring::Missing
            && self.authority.layout.is_none()
            && (!command.die_with_thread && command.group != Group::Caller
                || self.caller == std::process::id())
    }
}

/// `NAME=VALUE` strings, with the names of the slots.
fn environment(command: &Command, slots: &Slots) -> Result<Vec<OsString>> {
    const OF_SLOTS: [&str; 3] = ["LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID"];
    let mut variables = Vec::with_capacity(command.environment.len() + 2);
    for (name, value) in &command.environment {
        // Given ones, perhaps passed on, are about the slots of another process; programs would read whichever comes first.
        if slots.names.is_some() && OF_SLOTS.iter().any(|own| name == own) {
            continue;
        }
        if name.is_empty() || name.as_bytes().contains(&b'=') {
            let part = format!("variable {}", name.display());
            return Err(Error::new(part, "a name is not empty and has no equals sign", Fault::Caller));
        }
        let mut variable = name.clone();
        variable.push("=");
        variable.push(value);
        variables.push(variable);
    }
    if let Some(names) = &slots.names {
        variables.push(format!("LISTEN_FDS={}", slots.listening).into());
        variables.push(format!("LISTEN_FDNAMES={names}").into());
    }
    Ok(variables)
}

/// Whether the caller has the streams that are to be inherited. Asked before anything is opened: the number of a closed one is
/// the next that an open file gets, and what we open for ourselves must not become the child's stream.
pub(super) fn check_streams(streams: &[Option<Kind>; 3]) -> Result<()> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let own = [("stdin", stdin.as_fd()), ("stdout", stdout.as_fd()), ("stderr", stderr.as_fd())];
    for ((name, stream), kind) in own.into_iter().zip(streams) {
        if matches!(kind, Some(Kind::Inherit)) {
            rustix::io::fcntl_getfd(stream)
                .map_err(|errno| Error::io(format!("slot {name}"), errno).with_fault(Fault::Caller))?;
        }
    }
    Ok(())
}

/// What is, or may come to be, among the descriptors that the child is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Given {
    terminal: bool,
    socket: bool,
}

impl Given {
    fn look<'a>(mut self, files: impl IntoIterator<Item = BorrowedFd<'a>>) -> Result<Given> {
        for file in files {
            let status = rustix::fs::fstat(file).map_err(|errno| Error::io("slots", errno))?;
            let kind = FileType::from_raw_mode(status.st_mode);
            self.socket |= kind == FileType::Socket;
            self.terminal |= kind == FileType::CharacterDevice && file.is_terminal();
        }
        Ok(self)
    }
}

/// What is among these streams.
pub(super) fn look_at_streams(streams: &[Option<Kind>; 3]) -> Result<Given> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let own = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let files = streams.iter().zip(own).filter_map(|(kind, own)| match kind {
        Some(Kind::Inherit) => Some(own),
        Some(Kind::File(file)) => Some(file.as_fd()),
        _ => None,
    });
    Given { terminal: false, socket: false }.look(files)
}

fn look_at_given(command: &Command) -> Result<Given> {
    // A template's own channel is not for its copies.
    let own = |number: i32| command.copies.is_some() && number == Template::CHANNEL;
    let numbered = command.numbered.iter().filter(|(number, _)| !own(**number)).map(|(_, file)| file);
    let slots = command.named.iter().map(|(_, file)| file).chain(numbered).map(|file| file.as_fd());
    // What comes over a channel later may be any of them.
    let streams = look_at_streams(&command.streams)?;
    let given =
        Given { terminal: streams.terminal || command.channel, socket: streams.socket || command.channel };
    given.look(slots)
}

/// Opens and builds all that a spawn of `command` needs.
pub(super) fn prepare(command: &Command) -> Result<Prepared> {
    let mut prepared = arrange(command, &Opening::open(command, false)?, None)?;
    prepared.write_plan(command)?;
    Ok(prepared)
}

/// Builds what a spawn of `command` needs from what was opened for it, but for the plan. `sharing`: what was built before for the sealed
/// command that this one is made from; then everything stays open for others.
pub(super) fn arrange(command: &Command, opening: &Opening, sharing: Option<&Sharing>) -> Result<Prepared> {
    let ambient = command.has_ambient();
    let root = command.private_root();
    if root.is_some() {
        root::check(command)?;
    }
    let confined = !ambient;
    if command.narrower.is_some() && (root.is_some() || ambient) {
        let words = match root {
            Some(_) => "in a private root all that is there may be read: seal one with fewer grants",
            None => "a program with ambient authority is held to no grants, and so not to fewer",
        };
        return Err(Error::new("narrower grants", words, Fault::Caller));
    }
    let mut helpers = Vec::with_capacity(6);
    if command.loader == Loader::Kernel && !command.forks {
        helpers.push((Source::Program, "program"));
    }
    let (directory, directory_name) = match (&command.directory, root) {
        (Directory::Opened(directory), None) => {
            (Some(Arc::clone(directory)), "a directory given open".to_owned())
        }
        // It says why not.
        (Directory::Opened(_), Some(_)) => (None, root::directory(command)?),
        (Directory::Path(_), _) => opening.directory.clone(),
    };
    if directory.is_some() {
        helpers.push((Source::Directory, "working directory"));
    }
    if confined && command.support.landlock.is_some() {
        helpers.push((Source::Ruleset, "Landlock ruleset"));
    }
    if command.narrower.is_some() {
        helpers.push((Source::Narrower, "narrower grants"));
    }
    if command.terminal.is_some() && !command.has_pty() {
        helpers.push((Source::Terminal, "controlling terminal"));
    }
    if confined && command.tell_refusals {
        helpers.push((Source::Listener, "listener"));
    }
    let groups = Arc::new(Means::find(&command.limits, command.cgroup.as_deref(), command.support)?);
    let born_in_group = groups.is_needed()
        && !command.needs_embryo()
        && !command.copied
        && !command.forks
        && root.is_none()
        && process::has_clone3();
    helpers.extend((0..groups.joined(born_in_group)).map(|index| (Source::Cgroup(index), "cgroup")));
    let slots = Slots::lay_out(command, &helpers)?;

    let keyring = match command.copied {
        // It has its template's, and is not asked to join another.
        true => Keyring::None,
        false => keyring::look(),
    };
    let keyring = match keyring {
        // In a user namespace of its own no keyring of this one's is found, and a new one each time would use up what a user may have.
        _ if !confined || root.is_some() => Keyring::None,
        // Another user has another one, which that user makes.
        Keyring::Made(_) if command.credentials.user.is_some() => Keyring::Missing,
        keyring => keyring,
    };
    let given = look_at_given(command)?;
    let program_slot = slots.helper(Source::Program).map(|slot| slot as u32);
    let (mut kept, mut narrower) = (None, None);
    let (authority, held) = if confined {
        let directories = given_directories(command)?;
        if let Some(one) = directories.first().filter(|_| root.is_some()) {
            let words = "a directory that is open leads out of a private root: grant it by --read or --write";
            return Err(Error::new(format!("slot {}", one.path.display()), words, Fault::Caller));
        }
        let kind = Kept {
            given,
            program_slot: program_slot.filter(|_| command.only),
            directories: directories.len(),
        };
        kept = Some(kind);
        match sharing.and_then(|sharing| sharing.find(command, kind)) {
            Some(shared) => shared,
            None => {
                // Its own first: they are what it cannot do without.
                let mut files: Vec<Opened> = opening.needed.iter().cloned().chain(directories).collect();
                if let Some(narrow) = &command.narrower {
                    narrower = Some(narrow.ruleset(command.support, &files)?);
                }
                files.extend(opening.granted.iter().cloned());
                let request = Request {
                    grants: &command.grants,
                    limits: &command.limits,
                    root,
                    root_given_up: command.root_given_up,
                    files,
                    only: command.only,
                    degraded: &command.degraded,
                    support: command.support,
                    program_slot,
                    own_group: matches!(command.group, Group::Session | Group::Join(0)),
                    own_session: command.group == Group::Session,
                    given_sockets: given.socket,
                    keep_modes: given.terminal
                        && command.group == Group::Session
                        && command.terminal.is_none(),
                    discreet: command.discreet,
                    listener: command.tell_refusals,
                    keyring: keyring != Keyring::None,
                    groups,
                };
                // A ruleset for a private root is added to by each child.
                let ruleset = sharing.filter(|_| root.is_none()).and_then(|sharing| sharing.ruleset(kind));
                let mut authority = Authority::of_opened(request, ruleset)?;
                if let Some(narrow) = &command.narrower {
                    authority.narrow(&narrow.grants);
                }
                match sharing {
                    None => (Arc::new(authority), Arc::default()),
                    Some(sharing) => sharing.keep(command, kind, authority),
                }
            }
        }
    } else {
        let authority = Authority::ambient(&command.limits, &command.degraded, command.support, groups)?;
        (Arc::new(authority), Arc::default())
    };
    let resources = resources(command, &authority)?;

    let environment = environment(command, &slots)?;
    let program = Arc::clone(&opening.program);
    let strings = write::strings(command, &program, &environment)?;
    Ok(Prepared {
        plan: Vec::new(),
        steps: Vec::new(),
        direct: opening.direct.clone(),
        slots,
        program,
        authority,
        kind: kept,
        narrower,
        directory,
        null: opening.null.clone(),
        directory_name,
        environment,
        limits: resources,
        keyring,
        born_in_group,
        strings,
        held,
        caller: std::process::id(),
    })
}

/// The limits that a child has, of which some are this process's own at this moment.
fn resources(command: &Command, authority: &Authority) -> Result<Vec<limit::Resource>> {
    Ok(limit::resources(&command.limits, &authority.given_up, authority.own_count)?)
}

impl Prepared {
    /// The limits that a child born now would have.
    pub(super) fn resources(&self, command: &Command) -> Result<Vec<limit::Resource>> {
        resources(command, &self.authority)
    }

    /// Writes the plan and the words of its steps, but for a program that is loaded.
    pub(super) fn write_plan(&mut self, command: &Command) -> Result<()> {
        if self.direct.is_some() {
            return Ok(());
        }
        let mut writer = Writer::default();
        self.write_before(command, &mut writer)?;
        self.write_after(command, &mut writer)?;
        self.write_execute(command, &mut writer);
        self.plan = writer.draft.encode(self.slots.all.len());
        Plan::check(&self.plan, self.engine(command)).map_err(Error::malformed_plan)?;
        self.steps = writer.steps;
        Ok(())
    }

    /// Whether cgroups are made for each birth.
    pub(super) fn has_group(&self) -> bool {
        self.authority.groups.is_needed()
    }

    /// Makes the cgroups of one birth, if its tree is limited.
    pub(super) fn make_group(&self) -> Result<Option<cgroup::Group>> {
        let groups = &self.authority.groups;
        if !groups.is_needed() {
            return Ok(None);
        }
        Ok(Some(cgroup::Group::make(groups, self.born_in_group)?))
    }

    /// What was opened for every spawn of the command.
    pub(super) fn opened(&self, source: Source) -> Option<BorrowedFd<'_>> {
        Some(match source {
            Source::Null => self.null.as_ref()?.as_fd(),
            Source::Program => self.program.file.as_fd(),
            Source::Directory => self.directory.as_ref()?.as_fd(),
            Source::Ruleset => self.authority.ruleset.as_ref()?.as_fd(),
            Source::Narrower => self.narrower.as_ref()?.as_fd(),
            _ => return None,
        })
    }

    /// Which engine its plan is for.
    pub(super) fn engine(&self, command: &Command) -> Engine {
        if command.needs_embryo() { Engine::Fresh } else { Engine::Vfork }
    }

    /// Writes what comes first: signals, descriptors, limits.
    pub(super) fn write_before(&self, command: &Command, writer: &mut Writer) -> Result<()> {
        write::identity(command, writer);
        let layout = self.authority.layout.as_ref();
        let program = layout.map(|_| root::path(&self.program)).transpose()?;
        write::places(&self.slots, program.as_deref(), writer);
        write::terminal(command, &self.slots, writer);
        write::surroundings(command, &self.slots, &self.directory_name, &self.limits, writer)?;
        match (layout, self.slots.helper(Source::Ruleset)) {
            (Some(layout), Some(slot)) => root::allow(layout, slot, writer),
            _ => Ok(()),
        }
    }

    /// Writes what takes rights away.
    pub(super) fn write_after(&self, command: &Command, writer: &mut Writer) -> Result<()> {
        write::credentials(command, writer);
        if command.has_ambient() {
            return Ok(());
        }
        let helper = |source| self.slots.helper(source);
        let places = Places {
            ruleset: helper(Source::Ruleset),
            narrower: helper(Source::Narrower),
            listener: helper(Source::Listener),
        };
        // In a private root its nursery has given them up.
        let groups = !command.credentials.are_changed() && self.authority.layout.is_none();
        match command.copies {
            Some(key) => {
                confine::write_for_template(&self.authority, self.keyring, groups, places, key, writer)
            }
            None => confine::write(&self.authority, self.keyring, groups, places, writer),
        }
    }

    fn write_execute(&self, command: &Command, writer: &mut Writer) {
        let slot = self.slots.helper(Source::Program).unwrap_or(-1);
        write::last(command, &self.limits, writer);
        write::execute(command, slot, &self.strings, self.slots.listening > 0, writer);
    }
}

/// The descriptor that a slot is filled with, where it is there before the spawn.
pub(super) fn given<'a>(
    command: &'a Command,
    prepared: &'a Prepared,
    source: Source,
) -> Option<BorrowedFd<'a>> {
    Some(match source {
        Source::Stream(stream) => match &command.streams[stream] {
            Some(Kind::File(file)) => file.as_fd(),
            _ => return None,
        },
        Source::Named(index) => command.named.get(index)?.1.as_fd(),
        Source::Numbered(number) => command.numbered.get(&number)?.as_fd(),
        Source::Terminal => command.terminal.as_ref()?.as_fd(),
        other => return prepared.opened(other),
    })
}
