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
use beget_authority::{Authority, Opened, Request, Rights, limit};
use beget_plan::{Engine, Plan};
use beget_sys::process;
use rustix::fs::{FileType, Mode, OFlags};

use super::direct::Direct;
use super::slots::{Slots, Source};
use super::{Command, Directory, Group, Loader};
use super::{root, write};
use crate::confine::{self, Places};
use crate::error::{Error, Fault, Result};
use crate::program::{DEPTH, Program, Search};
use crate::stdio::Kind;
use crate::template::Template;
use crate::writer::{Step, Writer};

/// Everything that spawns of one command share.
#[derive(Debug)]
pub(crate) struct Prepared {
    /// The plan, but for a program that is loaded: then every spawn writes its own.
    pub(super) plan: Vec<u8>,
    pub(super) steps: Vec<Step>,
    pub(super) direct: Option<Direct>,
    pub(super) slots: Slots,
    pub(super) program: Program,
    pub(crate) authority: Authority,
    /// None where it is looked up in a private root.
    pub(super) directory: Option<OwnedFd>,
    null: Option<OwnedFd>,
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
        let forgotten = self.authority.forget_opened();
        self.held = Arc::new(std::mem::take(&mut self.authority.opened));
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

fn open_directory(command: &Command) -> Result<(OwnedFd, String)> {
    match &command.directory {
        Directory::Path(path) => {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let part = || format!("working directory {}", path.display());
            let directory = rustix::fs::open(path, flags, Mode::empty())
                .map_err(|errno| Error::io(part(), errno).with_fault(Fault::Caller))?;
            Ok((directory, path.display().to_string()))
        }
        Directory::Opened(directory) => {
            let copy = directory.try_clone().map_err(|error| Error::io("working directory", error))?;
            Ok((copy, "a directory given open".to_owned()))
        }
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
pub(super) fn check_streams(command: &Command) -> Result<()> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let own = [("stdin", stdin.as_fd()), ("stdout", stdout.as_fd()), ("stderr", stderr.as_fd())];
    for ((name, stream), kind) in own.into_iter().zip(&command.streams) {
        if matches!(kind, Some(Kind::Inherit)) {
            rustix::io::fcntl_getfd(stream)
                .map_err(|errno| Error::io(format!("slot {name}"), errno).with_fault(Fault::Caller))?;
        }
    }
    Ok(())
}

/// What is, or may come to be, among the descriptors that the child is given.
struct Given {
    terminal: bool,
    socket: bool,
}

fn look_at_given(command: &Command) -> Result<Given> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let own = [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()];
    let streams = command.streams.iter().zip(own).filter_map(|(kind, own)| match kind {
        Some(Kind::Inherit) => Some(own),
        Some(Kind::File(file)) => Some(file.as_fd()),
        _ => None,
    });
    // A template's own channel is not for its copies.
    let own = |number: i32| command.copies && number == Template::CHANNEL;
    let numbered = command.numbered.iter().filter(|(number, _)| !own(**number)).map(|(_, file)| file);
    let slots = command.named.iter().map(|(_, file)| file).chain(numbered).map(AsFd::as_fd);
    // What comes over a channel later may be any of them.
    let mut given = Given { terminal: command.channel, socket: command.channel };
    for file in streams.chain(slots) {
        let status = rustix::fs::fstat(file).map_err(|errno| Error::io("slots", errno))?;
        let kind = FileType::from_raw_mode(status.st_mode);
        given.socket |= kind == FileType::Socket;
        given.terminal |= kind == FileType::CharacterDevice && file.is_terminal();
    }
    Ok(given)
}

/// Opens and builds all that a spawn of `command` needs.
pub(super) fn prepare(command: &Command) -> Result<Prepared> {
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
    let mut program = Program::find(&root::outside(command), search)?;
    let (directory, directory_name) = match root {
        Some(_) => (None, root::directory(command)?),
        None => open_directory(command).map(|(directory, name)| (Some(directory), name))?,
    };

    let confined = !ambient;
    let mut helpers = Vec::with_capacity(5);
    if command.loader == Loader::Kernel {
        helpers.push((Source::Program, "program"));
    }
    if directory.is_some() {
        helpers.push((Source::Directory, "working directory"));
    }
    if confined && command.support.landlock.is_some() {
        helpers.push((Source::Ruleset, "Landlock ruleset"));
    }
    if command.terminal.is_some() && !command.has_pty() {
        helpers.push((Source::Terminal, "controlling terminal"));
    }
    if confined && command.tell_refusals {
        helpers.push((Source::Listener, "listener"));
    }
    let groups = Arc::new(Means::find(&command.limits, command.cgroup.as_ref(), command.support)?);
    let born_in_group =
        groups.is_needed() && !command.needs_embryo() && root.is_none() && process::has_clone3();
    helpers.extend((0..groups.joined(born_in_group)).map(|index| (Source::Cgroup(index), "cgroup")));
    let slots = Slots::lay_out(command, &helpers)?;

    let keyring = match keyring::look() {
        // In a user namespace of its own no keyring of this one's is found, and a new one each time would use up what a user may have.
        _ if !confined || root.is_some() => Keyring::None,
        // Another user has another one, which that user makes.
        Keyring::Made(_) if command.credentials.user.is_some() => Keyring::Missing,
        keyring => keyring,
    };
    let given = look_at_given(command)?;
    let authority = if confined {
        let mut files = std::mem::take(&mut program.files);
        let directories = given_directories(command)?;
        if let Some(one) = directories.first().filter(|_| root.is_some()) {
            let words = "a directory that is open leads out of a private root: grant it by --read or --write";
            return Err(Error::new(format!("slot {}", one.path.display()), words, Fault::Caller));
        }
        files.extend(directories);
        files.extend(own_terminal(command)?);
        Authority::prepare(Request {
            grants: &command.grants,
            limits: &command.limits,
            root,
            root_given_up: command.root_given_up,
            files,
            only: command.only,
            degraded: &command.degraded,
            support: command.support,
            program_slot: slots.helper(Source::Program).map(|slot| slot as u32),
            own_group: matches!(command.group, Group::Session | Group::Join(0)),
            own_session: command.group == Group::Session,
            given_sockets: given.socket,
            keep_modes: given.terminal && command.group == Group::Session && command.terminal.is_none(),
            discreet: command.discreet,
            listener: command.tell_refusals,
            keyring: keyring != Keyring::None,
            groups,
        })?
    } else {
        Authority::ambient(&command.limits, &command.degraded, command.support, groups)?
    };
    let null = slots.all.iter().any(|slot| slot.source == Source::Null).then(open_null).transpose()?;
    let resources = limit::resources(&command.limits, &authority.given_up, authority.own_count)?;

    let environment = environment(command, &slots)?;
    let strings = write::strings(command, &program, &environment)?;
    let direct = match command.loader {
        Loader::Kernel => None,
        Loader::Direct => Some(Direct::open(command, &program, &strings)?),
    };
    let mut prepared = Prepared {
        plan: Vec::new(),
        steps: Vec::new(),
        direct,
        slots,
        program,
        authority,
        directory,
        null,
        directory_name,
        environment,
        limits: resources,
        keyring,
        born_in_group,
        strings,
        held: Arc::default(),
        caller: std::process::id(),
    };
    if prepared.direct.is_none() {
        let mut writer = Writer::default();
        prepared.write_before(command, &mut writer)?;
        prepared.write_after(command, &mut writer)?;
        prepared.write_execute(command, &mut writer);
        prepared.plan = writer.draft.encode(prepared.slots.all.len());
        Plan::check(&prepared.plan, prepared.engine(command)).map_err(Error::malformed_plan)?;
        prepared.steps = writer.steps;
    }
    Ok(prepared)
}

impl Prepared {
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
        let places = Places { ruleset: helper(Source::Ruleset), listener: helper(Source::Listener) };
        // In a private root its nursery has given them up.
        let groups = !command.credentials.are_changed() && self.authority.layout.is_none();
        let write = if command.copies { confine::write_for_template } else { confine::write };
        write(&self.authority, self.keyring, groups, places, writer)
    }

    fn write_execute(&self, command: &Command, writer: &mut Writer) {
        let slot = self.slots.helper(Source::Program).unwrap_or(-1);
        write::last(command, &self.limits, writer);
        write::execute(command, slot, &self.strings, self.slots.listening > 0, writer);
    }
}

/// A directory given as a descriptor is of little use without the right to open what is below it.
fn given_directories(command: &Command) -> Result<Vec<Opened>> {
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
