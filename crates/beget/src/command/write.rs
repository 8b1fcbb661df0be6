//! Writes the plan of a command, in the order in which its operations have to come.

use std::ffi::{CStr, CString, OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use beget_authority::Limit;
use beget_authority::limit::{self, RESOURCES};
use beget_plan::Op;
use beget_plan::encoding::LONGEST;
use beget_sys::Errno;
use beget_sys::process::Bounds;

use super::slots::{Slots, Source};
use super::{Command, Credentials, Group};
use crate::error::{Error, Fault, Result};
use crate::program::Program;
use crate::template::Template;
use crate::writer::Writer;

fn c_string(text: &OsStr, part: impl FnOnce() -> String) -> Result<CString> {
    CString::new(text.as_bytes()).map_err(|_| Error::new(part(), "it has a NUL byte", Fault::Caller))
}

pub(super) fn push_limit(writer: &mut Writer, limit::Resource { number, bounds }: limit::Resource) {
    let op = Op::Limit { resource: number, soft: bounds.soft, hard: bounds.hard };
    writer.push(op, format!("resource limit {}", RESOURCES[number as usize]));
}

/// Signals and the process group.
pub(super) fn identity(command: &Command, writer: &mut Writer) {
    // A nursery ignores none, so neither does what is born there.
    if !command.uses_nursery() {
        writer.push(Op::DefaultSignals {}, "signal dispositions");
    }
    match command.group {
        Group::Session => writer.push(Op::NewSession {}, "session"),
        Group::Join(group) => {
            writer.push_asked(Op::ProcessGroup { group }, format!("process group {group}"), Fault::Caller);
        }
        // A nursery is in a group of its own, and so is what is born there.
        Group::Caller if command.uses_nursery() || command.own_child => {
            let group = rustix::process::getpgrp().as_raw_nonzero().get();
            writer.push(Op::ProcessGroup { group }, "process group of the caller");
        }
        Group::Caller => {}
    }
}

/// Descriptors into their slots, and everything else closed. `inside`: the name that the program has in a private root, where it is opened
/// anew: what was opened outside would lead there.
pub(super) fn places(slots: &Slots, inside: Option<&CStr>, writer: &mut Writer) {
    writer.push(Op::Raise { floor: slots.end() }, "descriptors");
    for (source, slot) in slots.all.iter().enumerate() {
        let source = source as u32;
        match inside {
            Some(path) if slot.source == Source::Program => {
                let path = writer.draft.string(path);
                let open = Op::Open { path, slot: slot.number, source };
                writer.push_asked(open, "program in its private root", Fault::Caller);
            }
            _ => {
                let place = Op::Place { source, slot: slot.number, closing: u32::from(!slot.kept) };
                writer.push(place, format!("slot {}", slot.name));
            }
        }
    }
    for (first, last) in slots.gaps() {
        writer.push(Op::Close { first, last }, "closing descriptors");
    }
    for slot in slots.all.iter().filter(|slot| matches!(slot.source, Source::Cgroup(_))) {
        writer.push(Op::JoinCgroup { slot: slot.number }, "cgroup");
    }
}

/// The terminal of its session.
pub(super) fn terminal(command: &Command, slots: &Slots, writer: &mut Writer) {
    if let Some(slot) = slots.helper(Source::Terminal) {
        writer.push_asked(Op::ControllingTerminal { slot }, "controlling terminal", Fault::Caller);
    }
    if command.foreground {
        writer.push_asked(Op::Foreground { slot: 0 }, "foreground of the terminal", Fault::Caller);
    }
}

/// Directory, limits and the rest of what cannot be absent.
pub(super) fn surroundings(
    command: &Command,
    slots: &Slots,
    directory: &str,
    resources: &[limit::Resource],
    writer: &mut Writer,
) -> Result<()> {
    if let Some(slot) = slots.helper(Source::Directory) {
        let words = format!("working directory {directory}");
        writer.push_asked(Op::ChangeDirectory { slot }, words, Fault::Caller);
    } else {
        let path = c_string(OsStr::new(directory), || "working directory".to_owned())?;
        let path = writer.draft.string(&path);
        let words = format!("working directory {directory} in its private root");
        writer.push_asked(Op::EnterDirectory { path }, words, Fault::Caller);
    }
    writer.push(Op::Umask { mode: command.umask }, "umask");
    writer.push(Op::Personality { value: 0 }, "personality");
    writer.push(Op::TimerSlack { nanoseconds: 50_000 }, "timer slack");
    // Open files come last of all: what is left to do needs a number or two itself.
    for one in resources.iter().filter(|one| one.number != limit::OPEN_FILES) {
        push_limit(writer, *one);
    }
    if let Some(limit @ Limit::Processors(count)) =
        command.limits.iter().rfind(|limit| matches!(limit, Limit::Processors(_)))
    {
        let mask = limit::processors(limit, *count)?;
        let mask = writer.draft.bytes(&mask);
        writer.push(Op::Processors { mask }, format!("limit {limit}"));
    }
    // What a nursery makes ends with its creator, whichever thread made it.
    if command.die_with_thread && !command.uses_nursery() {
        const SIGKILL: i32 = 9;
        let parent = std::process::id() as i32;
        writer.push(Op::DieWithParent { signal: SIGKILL, parent }, "death with its parent");
    }
    Ok(())
}

/// The limit of open files, which comes last.
pub(super) fn open_files(resources: &[limit::Resource]) -> impl Iterator<Item = &limit::Resource> {
    resources.iter().filter(|one| one.number == limit::OPEN_FILES)
}

/// What would be in the way of the birth itself if it came earlier.
pub(super) fn last(command: &Command, resources: &[limit::Resource], writer: &mut Writer) {
    for one in open_files(resources) {
        // A template's own channel has a high number; a copy is limited when it has none any more.
        let least = if command.copies.is_some() { Template::NUMBERS } else { 0 };
        let limit::Resource { number, bounds } = *one;
        let bounds = Bounds { soft: bounds.soft.max(least), hard: bounds.hard.max(least) };
        push_limit(writer, limit::Resource { number, bounds });
    }
    // A debugger that attaches to a stopped process is told of one stop too many, unless the process is continued meanwhile, and of
    // that it is told too, unless the signal is blocked.
    const SIGCONT: i32 = 18;
    let mask = if command.suspended && !command.in_batch && command.copies.is_none() {
        command.mask.with(SIGCONT)
    } else {
        command.mask
    };
    writer.push(Op::SignalMask { mask: mask.0 }, "signal mask");
}

/// Another user and groups, while there is the right to have them.
pub(super) fn credentials(command: &Command, writer: &mut Writer) {
    let Credentials { user, group, groups } = &command.credentials;
    if !command.credentials.are_changed() {
        return;
    }
    // Whoever names no groups gets none: those of the caller would be its user's.
    let list = writer.draft.numbers(groups.as_deref().unwrap_or_default());
    writer.push_asked(Op::Groups { groups: list }, "supplementary groups", Fault::Caller);
    if let Some(group) = *group {
        writer.push_asked(Op::SetGroup { group }, format!("group {group}"), Fault::Caller);
    }
    if let Some(user) = *user {
        writer.push_asked(Op::SetUser { user }, format!("user {user}"), Fault::Caller);
    }
}

/// Arguments and environment, as the program gets them.
pub(super) fn strings(
    command: &Command,
    program: &Program,
    environment: &[OsString],
) -> Result<(Vec<CString>, Vec<CString>)> {
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
    // The kernel's own limit is lower; a plan has one so that it can be checked, and this is not a fault of the plan.
    let size = |strings: &[CString]| strings.iter().map(|text| text.count_bytes() + 5).sum::<usize>();
    if size(&arguments) + size(&variables) > LONGEST / 2 {
        let part = format!("program {}", command.program.display());
        return Err(Error::kernel(part, Errno::E2BIG, Fault::Caller));
    }
    Ok((arguments, variables))
}

pub(super) fn execute(
    command: &Command,
    slot: i32,
    (arguments, variables): &(Vec<CString>, Vec<CString>),
    listening: bool,
    writer: &mut Writer,
) {
    if command.suspended {
        writer.push(Op::StopAtExec {}, "stop at the exec");
    }
    let arguments = writer.draft.strings(arguments.iter().map(CString::as_c_str));
    let environment = writer.draft.strings(variables.iter().map(CString::as_c_str));
    let op = Op::Execute { program: slot, arguments, environment, listening: u32::from(listening) };
    writer.push_asked(op, format!("program {}", command.program.display()), Fault::NotRunnable);
}
