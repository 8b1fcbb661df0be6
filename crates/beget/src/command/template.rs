//! A command as the beginning of a template.
//!
//! Safety idea: it is born as any child of the command is, and held as such; all that it may do beyond that is to create siblings, with a
//! number in two registers that is known to whoever holds the template and lies nowhere in the program's memory. So what runs until it is
//! ready can create none, and no copy of it: they are born with its filter, which stays shut.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::prepare::{self, Prepared};
use super::{Command, Group, Sealed, Variation, spawn, write};
use crate::error::{Error, Fault, Result};
use crate::nursery::Nursery;
use crate::process::Process;
use crate::template::{Hold, Template};

impl Command {
    /// Starts it as what a template is made from: stopped before its first instruction, in [`Command::nursery`], a nursery or a root of its
    /// own, with its end of the template's channel at [`Template::CHANNEL`]. What it is held to are the command's grants and limits, but that it
    /// may create siblings, asked to by whoever holds the [`Template`], and have [`Template::NUMBERS`] open files at least.
    ///
    /// The stub that answers on the channel is not there yet: whoever traces the process puts it there when it is ready.
    ///
    /// # Errors
    /// Those of [`spawn`](Command::spawn); a command that has its refusals told, a child of the caller's own, one with a terminal that is its
    /// session's, or something else in that slot.
    pub fn spawn_template(&mut self) -> Result<(Process, Template)> {
        let mut command = self.again();
        let channel = command.begin_template()?;
        let process = command.spawn()?;
        let prepared = command.prepared.take();
        let prepared = prepared.ok_or_else(|| Error::new("template", "it was not prepared", Fault::Beget))?;
        command.template_of(process, channel, prepared)
    }

    /// Makes it one that becomes a template; gives our end of its channel.
    fn begin_template(&mut self) -> Result<OwnedFd> {
        let refuse = |words: &str| Err(Error::new("template", words, Fault::Caller));
        if self.tell_refusals {
            return refuse("refusals are not told of a template's copies");
        }
        if self.own_child {
            return refuse("its copies are born in a nursery, and so must it be");
        }
        if self.terminal.is_some() || self.foreground {
            return refuse("a terminal is of one session, and each of its copies has one of its own");
        }
        if self.numbered.contains_key(&Template::CHANNEL) {
            return refuse("the slot of its own channel is taken");
        }
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        let pair = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.map_err(|errno| Error::io("template", errno))?;
        self.numbered.insert(Template::CHANNEL, Arc::new(theirs));
        self.copies = Some(random_key()?);
        self.suspended = true;
        if self.nursery.is_none() && !self.own_tree && self.private_root().is_none() {
            self.nursery = Some(Nursery::shared()?);
        }
        Ok(ours)
    }

    fn template_of(
        &self,
        process: Process,
        channel: OwnedFd,
        prepared: Arc<Prepared>,
    ) -> Result<(Process, Template)> {
        let nursery = process.nursery().or(self.nursery.as_ref()).cloned();
        let nursery = nursery.ok_or_else(|| Error::new("template", "it has no nursery", Fault::Beget))?;
        let files = write::open_files(&prepared.limits).next().copied();
        let key = self.copies.ok_or_else(|| Error::new("template", "it has no key", Fault::Beget))?;
        let hold = Hold::new(self.group == Group::Session, files, prepared, key, self.support)?;
        Ok((process, Template::new(nursery, channel, hold)))
    }
}

/// What opens the filter of one template. It is told nobody but that template's nursery, with each birth.
fn random_key() -> Result<u64> {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty())
        .map_err(|errno| Error::io("template: random numbers", errno))?;
    Ok(u64::from_ne_bytes(bytes))
}

impl Sealed {
    /// Starts it as what a template is made from, as [`Command::spawn_template`] does, in `nursery`, or where the command says. The same can
    /// be done again whenever a template is to be replaced. `variation`: what this template has of its own; what its copies are given is theirs.
    ///
    /// # Errors
    /// As for [`Command::spawn_template`] and [`spawn`](Sealed::spawn).
    pub fn spawn_template(
        &self,
        variation: &Variation,
        nursery: Option<&Nursery>,
    ) -> Result<(Process, Template)> {
        let mut command = self.varied(variation, nursery)?;
        self.renew_slots(&mut command)?;
        let channel = command.begin_template()?;
        prepare::check_streams(&command.streams)?;
        let mut prepared = prepare::arrange(&command, &self.opening, Some(&self.sharing))?;
        prepared.write_plan(&command)?;
        let process = spawn::spawn(&command, &prepared)?;
        command.template_of(process, channel, Arc::new(prepared))
    }
}
