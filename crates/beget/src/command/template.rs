//! A command as the beginning of a template.
//!
//! Safety idea: it is born as any child of the command is, and held as such; all that it may do beyond that is to create siblings, and
//! what they are held to was prepared together with it.

use std::os::fd::OwnedFd;

use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::{Command, Group, write};
use crate::error::{Error, Fault, Result};
use crate::nursery::Nursery;
use crate::process::Process;
use crate::template::{Hold, Template};

impl Command {
    /// Starts it as what a template is made from: stopped before its first instruction, in [`Command::nursery`], a nursery or a root of its
    /// own, with its end of the template's channel at [`Template::CHANNEL`]. What it is held to are the command's grants and limits, but that it
    /// may create siblings, and have [`Template::NUMBERS`] open files at least; each copy puts on the whole filter.
    ///
    /// The stub that answers on the channel is not there yet: whoever traces the process puts it there when it is ready.
    ///
    /// # Errors
    /// Those of [`spawn`](Command::spawn); a command that has its refusals told, a child of the caller's own, or something else in that slot.
    pub fn spawn_template(&mut self) -> Result<(Process, Template)> {
        let refuse = |words: &str| Err(Error::new("template", words, Fault::Caller));
        if self.tell_refusals {
            return refuse("refusals are not told of a template's copies");
        }
        if self.own_child {
            return refuse("its copies are born in a nursery, and so must it be");
        }
        if self.numbered.contains_key(&Template::CHANNEL) {
            return refuse("the slot of its own channel is taken");
        }
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        let pair = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.map_err(|errno| Error::io("template", errno))?;
        self.numbered.insert(Template::CHANNEL, theirs);
        (self.copies, self.suspended) = (true, true);
        let shared = self.nursery.is_none() && !self.own_tree && self.private_root().is_none();
        if shared {
            self.nursery = Nursery::shared().ok();
        }
        let born = self.bear_template(ours);
        (self.copies, self.suspended) = (false, false);
        if shared {
            self.nursery = None;
        }
        self.numbered.remove(&Template::CHANNEL);
        born
    }

    fn bear_template(&mut self, channel: OwnedFd) -> Result<(Process, Template)> {
        let before = self.prepared.take();
        let process = self.spawn();
        let prepared = std::mem::replace(&mut self.prepared, before);
        let process = process?;
        let prepared = prepared.ok_or_else(|| Error::new("template", "it was not prepared", Fault::Beget))?;
        let nursery = process.nursery().or(self.nursery.as_ref()).cloned();
        let nursery = nursery.ok_or_else(|| Error::new("template", "it has no nursery", Fault::Beget))?;
        let files = write::open_files(&prepared.limits).next().copied();
        let hold = Hold { own_session: self.group == Group::Session, files, prepared };
        Ok((process, Template::new(nursery, channel, hold)))
    }
}
