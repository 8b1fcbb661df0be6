//! A copy of this process, held to its grants by the operations that a child of a command is held by.
//!
//! Safety idea: everything is opened first, the list of what is open is made last, and the plan speaks of every number in it: kept, a standard
//! stream, or nothing. What was opened for the copy lies past them, and is closed in it before its code goes on.

use std::io::Write;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::Arc;

use beget_plan::copy::{self, Copying, Means, Refusal, Table};
use beget_plan::engine::Failure;
use beget_plan::{Engine, Op, Plan};
use beget_sys::Errno;
use rustix::io::FdFlags;

use super::opening::Opening;
use super::prepare::{self, Prepared};
use super::slots::Source;
use super::spawn::{Own, Pipes};
use super::{Command, describe, write};
use crate::description::Description;
use crate::error::{Error, Fault, Result};
use crate::process::{Parent, Process};
use crate::stdio::Kind;
use crate::writer::{Writer, tell};

/// Everything that one copy is made from.
struct Ready {
    command: Command,
    prepared: Prepared,
    pipes: Pipes,
    means: Means,
    table: Table,
    /// The slot of its report.
    report: i32,
}

impl Command {
    /// A command for a copy of this process.
    pub(crate) fn for_copy() -> Command {
        Command { forks: true, ..Command::new("/proc/self/exe") }
    }

    /// Makes a copy of this process that keeps `kept` and ends with what `body` gives.
    pub(crate) fn fork(&self, kept: &[BorrowedFd<'_>], body: impl FnOnce() -> u8) -> Result<Process> {
        let Ready { command, mut prepared, pipes, means, table, report } = self.ready(kept)?;
        let held = prepared.hold();
        let own = Own::new();
        let descriptors = descriptors(&command, &prepared, &pipes, &own, kept)?;
        let plan = Plan::check_part(&prepared.plan, Engine::Vfork).map_err(Error::malformed_plan)?;
        // What waits to be written is this process's to write, and only once.
        let _ = std::io::stdout().flush();
        let copying = Copying { plan, descriptors: &descriptors, slot: report };
        let child = copy::spawn(copying, means, &table, || {
            let _written = Flush;
            body()
        });
        let child = child.map_err(|failure| match failure {
            Failure::Birth(errno) => Error::kernel("process", errno, Fault::Kernel),
            Failure::Op(fault) => tell(fault, &prepared.steps),
        })?;
        drop((descriptors, held));
        pipes.hand_over(&command, &prepared, Process::new(child, Parent::Own))
    }

    /// What a copy that keeps `kept` would hold.
    pub(crate) fn describe_copy(&self, kept: &[BorrowedFd<'_>]) -> Result<Description> {
        let Ready { command, prepared, .. } = self.ready(kept)?;
        Ok(describe::describe(&command, &prepared))
    }

    /// Opens everything, and writes the plan.
    fn ready(&self, kept: &[BorrowedFd<'_>]) -> Result<Ready> {
        let mut command = self.again();
        for stream in kept.iter().map(AsRawFd::as_raw_fd).filter(|number| *number < 3) {
            command.streams[stream as usize] = Some(Kind::Inherit);
        }
        let means = Means::new().map_err(refused)?;
        prepare::check_streams(&command.streams)?;
        for file in kept.iter().filter(|file| file.as_raw_fd() > 2) {
            let number = file.as_raw_fd();
            let failed = |error| Error::io(format!("slot {number}"), error);
            command.numbered.insert(number, Arc::new(file.try_clone_to_owned().map_err(failed)?));
        }
        let mut prepared = prepare::arrange(&command, &Opening::open(&command, false)?, None)?;
        let pipes = Pipes::make(&prepared)?;
        let table = means.table().map_err(refused)?;
        prepared.slots.move_helpers(table.end())?;
        let report = (prepared.slots.end() as i32).max(table.end());
        prepared.write_copy(&command, kept, &table, report)?;
        Ok(Ready { command, prepared, pipes, means, table, report })
    }
}

impl Prepared {
    /// Writes the plan of a copy and the words of its steps.
    fn write_copy(
        &mut self,
        command: &Command,
        kept: &[BorrowedFd<'_>],
        table: &Table,
        report: i32,
    ) -> Result<()> {
        let (mut writer, given) = (Writer::default(), self.slots.all.len());
        write::identity(command, &mut writer);
        self.write_numbers(kept, table, report, &mut writer)?;
        write::surroundings(command, &self.slots, &self.directory_name, &self.limits, &mut writer)?;
        self.write_after(command, &mut writer)?;
        // All that was its helper.
        let (first, report) = (table.end() as u32, report as u32);
        if first < report {
            writer.push(Op::Close { first, last: report - 1 }, "closing descriptors");
        }
        writer.push(Op::Close { first: report + 1, last: u32::MAX }, "closing descriptors");
        write::last(command, &self.limits, &mut writer);
        self.plan = writer.draft.encode(given + 2);
        Plan::check_part(&self.plan, Engine::Vfork).map_err(Error::malformed_plan)?;
        self.steps = writer.steps;
        Ok(())
    }

    /// What lies at which number.
    fn write_numbers(
        &self,
        kept: &[BorrowedFd<'_>],
        table: &Table,
        report: i32,
        writer: &mut Writer,
    ) -> Result<()> {
        let given = self.slots.all.len();
        writer.push(Op::Raise { floor: report as u32 + 1 }, "descriptors");
        for (source, slot) in self.slots.all.iter().enumerate() {
            // What is kept is as it was, for an exec too.
            let same = kept.iter().find(|file| slot.source == Source::Numbered(file.as_raw_fd()));
            let closing = match same.map(rustix::io::fcntl_getfd).transpose() {
                Ok(flags) => flags.map_or(!slot.kept, |flags| flags.contains(FdFlags::CLOEXEC)),
                Err(errno) => return Err(Error::io(format!("slot {}", slot.name), errno)),
            };
            let place = Op::Place { source: source as u32, slot: slot.number, closing: u32::from(closing) };
            writer.push(place, format!("slot {}", slot.name));
        }
        let place = Op::Place { source: Copying::report(given), slot: report, closing: 1 };
        writer.push(place, "report of a copy");
        let is_kept = |number: i32| self.slots.all.iter().any(|slot| slot.number == number);
        for slot in table.open().iter().copied().filter(|number| !is_kept(*number)) {
            let place = Op::Place { source: Copying::nothing(given), slot, closing: 1 };
            writer.push(place, "descriptors that are not granted");
        }
        for slot in self.slots.all.iter().filter(|slot| matches!(slot.source, Source::Cgroup(_))) {
            writer.push(Op::JoinCgroup { slot: slot.number }, "cgroup");
        }
        Ok(())
    }
}

/// What was kept is given as the number that it has: as that it stays.
fn descriptors<'a>(
    command: &'a Command,
    prepared: &'a Prepared,
    pipes: &'a Pipes,
    own: &'a Own,
    kept: &[BorrowedFd<'a>],
) -> Result<Vec<BorrowedFd<'a>>> {
    let mut descriptors = pipes.descriptors(command, prepared, own)?;
    for (place, slot) in descriptors.iter_mut().zip(&prepared.slots.all) {
        if let Some(file) = kept.iter().find(|file| slot.source == Source::Numbered(file.as_raw_fd())) {
            *place = *file;
        }
    }
    Ok(descriptors)
}

fn refused(refusal: Refusal) -> Error {
    let errno = match &refusal {
        Refusal::Unknown(_, error) | Refusal::Means(_, error) => error.raw_os_error().map(Errno),
        _ => None,
    };
    let fault = if errno.is_some() { Fault::Kernel } else { Fault::Caller };
    let error = Error::new("copy of this process", refusal.to_string(), fault);
    match errno {
        Some(errno) => error.with_errno(errno),
        None => error,
    }
}

/// Writes what the copy's code has said on standard output, whichever way it ends.
struct Flush;

impl Drop for Flush {
    fn drop(&mut self) {
        let _ = std::io::stdout().flush();
    }
}
