//! From a command to a plan, and from a plan to a process.
//!
//! Safety idea: everything is opened and built here, in the caller, and kept as descriptors and bytes; the plan only puts them in
//! their places. Each operation is written together with the words that an error of it will be told in.

use std::borrow::Cow;
use std::ffi::{CString, OsStr, OsString};
use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use beget_authority::limit::{self, RESOURCES};
use beget_authority::{Authority, Grant, Limit, Opened, Request, Rights, keyring};
use beget_plan::engine::{self, Failure};
use beget_plan::{Draft, Engine, Op, Plan};
use beget_sys::{Errno, process};
use rustix::fs::{Mode, OFlags};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};

use super::slots::{Slots, Source};
use super::{Command, Directory, Group};
use crate::description::{self, Description};
use crate::error::{Error, Fault, Result};
use crate::process::Process;
use crate::program::{Program, Search};
use crate::refusals::Refusals;
use crate::stdio::Kind;

/// What an operation is called when it fails, and whose fault that is then.
type Step = (Cow<'static, str>, Fault);

/// Everything that spawns of one command share.
#[derive(Debug)]
pub(crate) struct Prepared {
    plan: Vec<u8>,
    steps: Vec<Step>,
    pub(super) slots: Slots,
    pub(super) program: Program,
    pub(super) authority: Authority,
    directory: OwnedFd,
    null: Option<OwnedFd>,
    pub(super) directory_name: String,
    pub(super) environment: Vec<OsString>,
    pub(super) limits: Vec<limit::Resource>,
    pub(super) operations: Vec<String>,
    caller: u32,
}

impl Prepared {
    /// A plan that names its parent is of no use to a copy of that parent.
    pub(super) fn fits_caller(&self, command: &Command) -> bool {
        !command.die_with_thread || self.caller == std::process::id()
    }
}

/// Operations with their words.
#[derive(Default)]
struct Writer {
    draft: Draft,
    steps: Vec<Step>,
}

impl Writer {
    fn push(&mut self, op: Op, words: impl Into<Cow<'static, str>>) {
        self.draft.push(op);
        self.steps.push((words.into(), Fault::Kernel));
    }

    /// An operation whose failure is more likely the caller's fault than the kernel's.
    fn push_asked(&mut self, op: Op, words: impl Into<Cow<'static, str>>, fault: Fault) {
        self.draft.push(op);
        self.steps.push((words.into(), fault));
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

fn c_string(text: &OsStr, part: impl FnOnce() -> String) -> Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| Error::new(part(), "it has a NUL byte", Fault::Caller))
}

/// `NAME=VALUE` strings, with the names of the slots.
fn environment(command: &Command, slots: &Slots) -> Result<Vec<OsString>> {
    let mut variables = Vec::with_capacity(command.environment.len() + 2);
    for (name, value) in &command.environment {
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

/// Opens and builds all that a spawn of `command` needs.
pub(super) fn prepare(command: &Command) -> Result<Prepared> {
    let ambient = command.has_ambient();
    let search =
        Search { path: command.child_path(), callers: command.callers_path.as_deref(), inspect: !ambient };
    let mut program = Program::find(&command.program, search)?;
    let (directory, directory_name) = open_directory(command)?;

    let confined = !ambient;
    let mut helpers = vec![(Source::Program, "program"), (Source::Directory, "working directory")];
    if confined && command.support.landlock.is_some() {
        helpers.push((Source::Ruleset, "Landlock ruleset"));
    }
    if command.terminal.is_some() {
        helpers.push((Source::Terminal, "controlling terminal"));
    }
    if confined && command.tell_refusals {
        helpers.push((Source::Listener, "listener"));
    }
    let slots = Slots::lay_out(command, &helpers)?;
    let program_slot = slots.helper(Source::Program).unwrap_or(-1);

    let keyring = if confined { keyring::empty() } else { None };
    let authority = if confined {
        let mut files = std::mem::take(&mut program.files);
        files.extend(given_directories(command)?);
        Authority::prepare(Request {
            grants: &command.grants,
            limits: &command.limits,
            files,
            only: command.only,
            degraded: &command.degraded,
            support: command.support,
            program_slot: program_slot as u32,
            keyring: keyring.is_some(),
        })?
    } else {
        Authority::ambient()
    };
    let null = slots.all.iter().any(|slot| slot.source == Source::Null).then(open_null).transpose()?;
    let resources = limit::resources(&command.limits, &command.degraded)?;

    let mut writer = Writer::default();
    identity(command, &mut writer);
    places(&slots, &mut writer);
    surroundings(command, &slots, &directory_name, &resources, &mut writer)?;
    if confined {
        confine(command, &slots, &authority, keyring, &mut writer);
    }
    writer.push(Op::SignalMask { mask: command.mask.0 }, "signal mask");
    let environment = environment(command, &slots)?;
    execute(command, &program, program_slot, &environment, slots.listening > 0, &mut writer)?;

    let plan = writer.draft.encode(slots.all.len());
    Plan::check(&plan, Engine::Vfork).map_err(Error::refused_plan)?;
    let operations = writer.draft.ops().iter().map(|op| op.name().to_owned()).collect();
    Ok(Prepared {
        plan,
        steps: writer.steps,
        slots,
        program,
        authority,
        directory,
        null,
        directory_name,
        environment,
        limits: resources.into_iter().map(|(resource, _)| resource).collect(),
        operations,
        caller: std::process::id(),
    })
}

/// A directory given as a descriptor is of little use without the right to open what is below it.
fn given_directories(command: &Command) -> Result<Vec<Opened>> {
    let mut directories = Vec::new();
    let named = command.named.iter().map(|(name, file)| (name.as_str(), file));
    for (name, file) in named.chain(command.numbered.values().map(|file| ("", file))) {
        let failed = |error: std::io::Error| Error::io(format!("slot {name}"), error);
        let status = rustix::fs::fstat(file).map_err(|errno| failed(errno.into()))?;
        if rustix::fs::FileType::from_raw_mode(status.st_mode) == rustix::fs::FileType::Directory {
            let copy = file.try_clone().map_err(failed)?;
            let one = Opened::adopt(copy, Rights::READ, std::path::Path::new(name));
            directories.push(one.map_err(|errno| failed(errno.into()))?);
        }
    }
    Ok(directories)
}

fn open_null() -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| Error::io("/dev/null", errno))
}

/// Signals and the process group.
fn identity(command: &Command, writer: &mut Writer) {
    writer.push(Op::DefaultSignals {}, "signal dispositions");
    match command.group {
        Group::Session => writer.push(Op::NewSession {}, "session"),
        Group::Join(group) => {
            writer.push_asked(Op::ProcessGroup { group }, format!("process group {group}"), Fault::Caller);
        }
        Group::Caller => {}
    }
}

/// Descriptors into their slots, and everything else closed.
fn places(slots: &Slots, writer: &mut Writer) {
    writer.push(Op::Raise { floor: slots.end() }, "descriptors");
    for (source, slot) in slots.all.iter().enumerate() {
        let place = Op::Place { source: source as u32, slot: slot.number, closing: u32::from(!slot.kept) };
        writer.push(place, format!("slot {}", slot.name));
    }
    for (first, last) in slots.gaps() {
        writer.push(Op::Close { first, last }, "closing descriptors");
    }
}

/// Terminal, directory, limits and the rest of what cannot be absent.
fn surroundings(
    command: &Command,
    slots: &Slots,
    directory: &str,
    resources: &[(limit::Resource, bool)],
    writer: &mut Writer,
) -> Result<()> {
    if let Some(slot) = slots.helper(Source::Terminal) {
        writer.push_asked(Op::ControllingTerminal { slot }, "controlling terminal", Fault::Caller);
    }
    if command.foreground {
        writer.push_asked(Op::Foreground { slot: 0 }, "foreground of the terminal", Fault::Caller);
    }
    if let Some(slot) = slots.helper(Source::Directory) {
        let words = format!("working directory {directory}");
        writer.push_asked(Op::ChangeDirectory { slot }, words, Fault::Caller);
    }
    writer.push(Op::Umask { mode: command.umask }, "umask");
    writer.push(Op::Personality { value: 0 }, "personality");
    writer.push(Op::TimerSlack { nanoseconds: 50_000 }, "timer slack");
    for (resource, differs) in resources {
        if *differs {
            let (number, bounds) = (resource.number, resource.bounds);
            let op = Op::Limit { resource: number, soft: bounds.soft, hard: bounds.hard };
            writer.push(op, format!("resource limit {}", RESOURCES[number as usize]));
        }
    }
    if let Some(limit @ Limit::Processors(count)) =
        command.limits.iter().rfind(|limit| matches!(limit, Limit::Processors(_)))
    {
        let mask = limit::processors(limit, *count)?;
        let mask = writer.draft.bytes(&mask);
        writer.push(Op::Processors { mask }, format!("limit {limit}"));
    }
    if command.die_with_thread {
        const SIGKILL: i32 = 9;
        let parent = std::process::id() as i32;
        writer.push(Op::DieWithParent { signal: SIGKILL, parent }, "death with its parent");
    }
    Ok(())
}

/// All that a child with ambient authority does without.
fn confine(
    command: &Command,
    slots: &Slots,
    authority: &Authority,
    keyring: Option<i32>,
    writer: &mut Writer,
) {
    const CAP_SETGID: u32 = 6;
    if let Some(serial) = keyring {
        let name = writer.draft.string(keyring::NAME);
        writer.push(Op::JoinKeyring { name, serial }, "session keyring");
    }
    if process::capabilities().is_ok_and(|bits| bits & 1 << CAP_SETGID != 0) {
        let groups = writer.draft.numbers(&[]);
        writer.push(Op::Groups { groups }, "supplementary groups");
    }
    writer.push(Op::DropCapabilities {}, "capabilities");
    writer.push(Op::NoNewPrivileges {}, "no_new_privs");
    if let (Some(_), Some(slot)) = (&authority.ruleset, slots.helper(Source::Ruleset)) {
        writer.push(Op::Landlock { slot }, "Landlock");
    }
    let Some(filter) = &authority.filter else { return };
    let refusing = writer.draft.filter(filter);
    match (&authority.asking, slots.helper(Source::Listener)) {
        (Some(asking), Some(socket)) if command.tell_refusals => {
            let asking = writer.draft.filter(asking);
            writer.push(Op::FilterWithListener { asking, refusing, socket }, "seccomp filter");
        }
        _ => writer.push(Op::Filter { instructions: refusing }, "seccomp filter"),
    }
}

fn execute(
    command: &Command,
    program: &Program,
    slot: i32,
    environment: &[OsString],
    listening: bool,
    writer: &mut Writer,
) -> Result<()> {
    let mut arguments = Vec::with_capacity(command.arguments.len() + 3);
    match &program.interpreted {
        Some(before) => arguments.extend(before.iter().cloned()),
        None => {
            let name = command.arg0.as_ref().unwrap_or(&command.program);
            arguments.push(c_string(name, || format!("name {}", name.display()))?);
        }
    }
    for (index, argument) in command.arguments.iter().enumerate() {
        arguments.push(c_string(argument, || format!("argument {}", index + 1))?);
    }
    let mut variables = Vec::with_capacity(environment.len());
    for variable in environment {
        let part = || {
            let name = variable.as_bytes().split(|byte| *byte == b'=').next().unwrap_or_default();
            format!("variable {}", OsStr::from_bytes(name).display())
        };
        variables.push(c_string(variable, part)?);
    }
    let arguments = writer.draft.strings(arguments.iter().map(CString::as_c_str));
    let environment = writer.draft.strings(variables.iter().map(CString::as_c_str));
    let op = Op::Execute { program: slot, arguments, environment, listening: u32::from(listening) };
    writer.push_asked(op, format!("program {}", command.program.display()), Fault::NotRunnable);
    Ok(())
}

/// The ends of the pipes that one spawn makes.
#[derive(Default)]
struct Pipes {
    input: Option<(PipeReader, PipeWriter)>,
    outputs: [Option<(PipeReader, PipeWriter)>; 2],
    listener: Option<(OwnedFd, OwnedFd)>,
}

impl Pipes {
    fn make(slots: &Slots) -> Result<Pipes> {
        let mut pipes = Pipes::default();
        let failed = |error: std::io::Error| Error::io("pipe", error);
        for slot in &slots.all {
            match slot.source {
                Source::Pipe(0) => pipes.input = Some(std::io::pipe().map_err(failed)?),
                Source::Pipe(stream) => pipes.outputs[stream - 1] = Some(std::io::pipe().map_err(failed)?),
                Source::Listener => {
                    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
                    let pair = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None);
                    pipes.listener = Some(pair.map_err(|errno| failed(errno.into()))?);
                }
                _ => {}
            }
        }
        Ok(pipes)
    }
}

/// Gives birth to one child.
pub(super) fn spawn(command: &Command, prepared: Arc<Prepared>) -> Result<Process> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let pipes = Pipes::make(&prepared.slots)?;
    let find = |source: Source| -> Option<BorrowedFd<'_>> {
        Some(match source {
            Source::Inherited(0) => stdin.as_fd(),
            Source::Inherited(1) => stdout.as_fd(),
            Source::Inherited(_) => stderr.as_fd(),
            Source::Stream(stream) => match &command.streams[stream] {
                Some(Kind::File(file)) => file.as_fd(),
                _ => return None,
            },
            Source::Null => prepared.null.as_ref()?.as_fd(),
            Source::Pipe(0) => pipes.input.as_ref()?.0.as_fd(),
            Source::Pipe(stream) => pipes.outputs[stream - 1].as_ref()?.1.as_fd(),
            Source::Named(index) => command.named.get(index)?.1.as_fd(),
            Source::Numbered(number) => command.numbered.get(&number)?.as_fd(),
            Source::Program => prepared.program.file.as_fd(),
            Source::Directory => prepared.directory.as_fd(),
            Source::Ruleset => prepared.authority.ruleset.as_ref()?.as_fd(),
            Source::Terminal => command.terminal.as_ref()?.as_fd(),
            Source::Listener => pipes.listener.as_ref()?.1.as_fd(),
        })
    };
    let descriptors: Option<Vec<BorrowedFd<'_>>> =
        prepared.slots.all.iter().map(|slot| find(slot.source)).collect();
    let descriptors = descriptors.ok_or_else(|| Error::new("plan", "a slot has no source", Fault::Beget))?;
    let plan = Plan::check(&prepared.plan, Engine::Vfork).map_err(Error::refused_plan)?;
    let child = engine::spawn(&plan, &descriptors, command.cgroup.as_ref().map(AsFd::as_fd))
        .map_err(|failure| tell(failure, &prepared.steps))?;

    let mut process = Process::new(child, Arc::clone(&prepared), command.kill_on_drop);
    process.stdin = pipes.input.map(|(_, ours)| ours);
    let [stdout, stderr] = pipes.outputs;
    process.stdout = stdout.map(|(ours, _)| ours);
    process.stderr = stderr.map(|(ours, _)| ours);
    if let Some((ours, theirs)) = pipes.listener {
        drop(theirs);
        process.refusals = receive_listener(&ours)?.map(Refusals::new);
    }
    Ok(process)
}

fn tell(failure: Failure, steps: &[Step]) -> Error {
    match failure {
        Failure::Birth(errno) => Error::kernel("process", errno, Fault::Kernel),
        Failure::Op(fault) => match steps.get(fault.op as usize) {
            Some((words, whose)) => {
                let whose = if *whose == Fault::NotRunnable && fault.errno == Errno::E2BIG {
                    Fault::Caller
                } else {
                    *whose
                };
                Error::kernel(words.clone(), fault.errno, whose)
            }
            None => Error::kernel(format!("operation {}", fault.op), fault.errno, Fault::Beget),
        },
    }
}

/// The listener, which the child sent before it executed its program; none when the kernel refused a second one.
fn receive_listener(socket: &OwnedFd) -> Result<Option<OwnedFd>> {
    let failed = |errno: rustix::io::Errno| Error::io("listener", errno);
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0u8];
    let vector = &mut [std::io::IoSliceMut::new(&mut byte)];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    match rustix::net::recvmsg(socket, vector, &mut control, flags) {
        Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
        Err(errno) => return Err(failed(errno)),
    }
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    }))
}

/// What the child would hold.
pub(super) fn describe(command: &Command, prepared: &Prepared) -> Description {
    let (program, authority) = (&prepared.program, &prepared.authority);
    let mut files: Vec<description::File> = authority
        .opened
        .iter()
        .map(|one| description::File { path: one.real_path(), rights: one.rights, below: one.directory })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup();
    let kept = prepared.slots.all.iter().filter(|slot| slot.kept);
    Description {
        program: program.path.clone(),
        interpreted: program.interpreted.is_some(),
        privileged: program.privileged,
        arguments: command.arguments.clone(),
        environment: prepared.environment.clone(),
        directory: prepared.directory_name.clone(),
        slots: kept.map(|slot| description::Slot { number: slot.number, name: slot.name.clone() }).collect(),
        files,
        network: command
            .grants
            .iter()
            .filter(|grant| {
                matches!(grant, Grant::TcpConnect(_) | Grant::TcpBind(_) | Grant::InetDns | Grant::Net)
            })
            .cloned()
            .collect(),
        spawn: command.grants.contains(&Grant::Spawn),
        ambient: command.has_ambient(),
        umask: command.umask,
        session: command.group == Group::Session,
        foreground: command.foreground,
        limits: prepared
            .limits
            .iter()
            .map(|one| (RESOURCES[one.number as usize], one.bounds.soft, one.bounds.hard))
            .collect(),
        enforced: authority.enforced.clone(),
        operations: prepared.operations.clone(),
        support: command.support,
    }
}
