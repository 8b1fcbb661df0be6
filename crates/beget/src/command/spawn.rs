//! From a prepared plan to a process.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use beget_authority::cgroup::Group;
use beget_channel::Holder;
use beget_plan::engine::{self, Failure};
use beget_plan::{Engine, Plan};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};

use super::Command;
use super::prepare::Prepared;
use super::slots::Source;
use crate::embryo::Part;
use crate::error::{Error, Fault, Result};
use crate::nursery::{Delivery, Nursery, Request, RootRequest};
use crate::process::{Parent, Process};
use crate::refusals::Refusals;
use crate::writer::{Step, tell};

/// What one spawn makes for itself: the ends of its pipes and of its channel, and its cgroup.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    input: Option<(PipeReader, PipeWriter)>,
    outputs: [Option<(PipeReader, PipeWriter)>; 2],
    listener: Option<(OwnedFd, OwnedFd)>,
    pub(crate) channel: Option<(Holder, OwnedFd)>,
    pub(crate) group: Option<Group>,
}

impl Pipes {
    pub(super) fn make(prepared: &Prepared) -> Result<Pipes> {
        let mut pipes = Pipes { group: prepared.make_group()?, ..Pipes::default() };
        let failed = |error: std::io::Error| Error::io("pipe", error);
        for slot in &prepared.slots.all {
            match slot.source {
                Source::Pipe(0) => pipes.input = Some(std::io::pipe().map_err(failed)?),
                Source::Pipe(stream) => pipes.outputs[stream - 1] = Some(std::io::pipe().map_err(failed)?),
                Source::Listener => {
                    let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
                    let pair = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None);
                    pipes.listener = Some(pair.map_err(|errno| failed(errno.into()))?);
                }
                Source::Channel => pipes.channel = Some(Holder::pair()?),
                _ => {}
            }
        }
        Ok(pipes)
    }
}

impl Pipes {
    /// Every descriptor of a birth, in the order of the slots.
    pub(super) fn descriptors<'a>(
        &'a self,
        command: &'a Command,
        prepared: &'a Prepared,
        own: &'a Own,
    ) -> Result<Vec<BorrowedFd<'a>>> {
        let find =
            |source| self.made(source, own).or_else(|| super::prepare::given(command, prepared, source));
        let descriptors: Option<Vec<BorrowedFd<'_>>> =
            prepared.slots.all.iter().map(|slot| find(slot.source)).collect();
        descriptors.ok_or_else(|| Error::new("plan", "a slot has no source", Fault::Beget))
    }

    /// What was made for this birth, or is the caller's at this moment.
    pub(crate) fn made<'a>(&'a self, source: Source, own: &'a Own) -> Option<BorrowedFd<'a>> {
        Some(match source {
            Source::Inherited(0) => own.0.as_fd(),
            Source::Inherited(1) => own.1.as_fd(),
            Source::Inherited(_) => own.2.as_fd(),
            Source::Pipe(0) => self.input.as_ref()?.0.as_fd(),
            Source::Pipe(stream) => self.outputs[stream - 1].as_ref()?.1.as_fd(),
            Source::Listener => self.listener.as_ref()?.1.as_fd(),
            Source::Channel => self.channel.as_ref()?.1.as_fd(),
            Source::Cgroup(index) => self.group.as_ref()?.entry(index)?,
            _ => return None,
        })
    }

    /// The cgroup that it is born in.
    pub(super) fn cradle<'a>(&'a self, command: &'a Command) -> Option<BorrowedFd<'a>> {
        match &self.group {
            Some(group) => group.cradle(),
            None => command.cgroup.as_ref().map(AsFd::as_fd),
        }
    }

    /// Gives the process its ends, and what else is its own.
    pub(super) fn hand_over(
        self,
        command: &Command,
        prepared: &Prepared,
        mut process: Process,
    ) -> Result<Process> {
        (process.kill_on_drop, process.held) = (command.kill_on_drop, Arc::clone(&prepared.held));
        process.output_limit = command.output_limit;
        process.stdin = self.input.map(|(_, ours)| ours);
        let [stdout, stderr] = self.outputs;
        process.stdout = stdout.map(|(ours, _)| ours);
        process.stderr = stderr.map(|(ours, _)| ours);
        process.keep_group(self.group);
        process.channel = self.channel.map(|(ours, _)| ours);
        if let Some((ours, theirs)) = self.listener {
            drop(theirs);
            process.refusals = match receive_listener(&ours) {
                Ok(listener) => listener.map(Refusals::new),
                Err(error) => {
                    // It runs already, and nobody would hold it.
                    let _ = process.kill();
                    let _ = process.wait();
                    return Err(error);
                }
            };
        }
        Ok(process)
    }
}

/// The caller's standard streams.
#[derive(Debug)]
pub(crate) struct Own(std::io::Stdin, std::io::Stdout, std::io::Stderr);

impl Own {
    pub(crate) fn new() -> Own {
        Own(std::io::stdin(), std::io::stdout(), std::io::stderr())
    }
}

/// Gives birth to one child.
pub(super) fn spawn(command: &Command, prepared: &Prepared) -> Result<Process> {
    let (own, pipes) = (Own::new(), Pipes::make(prepared)?);
    let descriptors = pipes.descriptors(command, prepared, &own)?;
    let process = give_birth(command, prepared, &descriptors, pipes.cradle(command))?;
    drop(descriptors);
    pipes.hand_over(command, prepared, process)
}

/// By the engine that the command wants.
fn give_birth(
    command: &Command,
    prepared: &Prepared,
    descriptors: &[BorrowedFd<'_>],
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Process> {
    let own = match &prepared.authority.layout {
        Some(layout) => {
            layout.make_kept()?;
            let own_network = prepared.authority.own_network;
            // Of the caller's own: everything that is born here is in it. One of ours is joined by the program itself.
            let cgroup = command.cgroup.as_ref().filter(|_| !prepared.has_group()).map(AsFd::as_fd);
            Some(Nursery::in_root(RootRequest { layout, own_network, cgroup })?)
        }
        None if command.own_tree => Some(Nursery::new()?),
        None => None,
    };
    let nursery = match own.as_ref().or(command.nursery.as_ref()) {
        Some(nursery) => Some(nursery.clone()),
        None if command.needs_embryo() => Some(Nursery::shared()?),
        None => None,
    };
    let mut process = match nursery {
        None => in_shared_memory(command, prepared, descriptors, cgroup)?,
        Some(nursery) if command.needs_embryo() => in_embryo(command, prepared, &nursery, descriptors)?,
        Some(nursery) => {
            let request = request(command, prepared, descriptors.to_vec(), cgroup);
            let delivery = nursery.inner.deliver(&[request], false)?.pop();
            delivered(delivery, &nursery, &prepared.steps)?
        }
    };
    process.tree = own;
    Ok(process)
}

/// In a child of this process, which shares its memory until the exec.
fn in_shared_memory(
    command: &Command,
    prepared: &Prepared,
    descriptors: &[BorrowedFd<'_>],
    cgroup: Option<BorrowedFd<'_>>,
) -> Result<Process> {
    if command.own_child {
        return Err(Error::new("own child", "it is one already where no nursery is used", Fault::Caller));
    }
    let plan = Plan::check(&prepared.plan, Engine::Vfork).map_err(Error::malformed_plan)?;
    let place = engine::Place { cgroup, ..engine::Place::default() };
    let child = engine::spawn(&plan, descriptors, place).map_err(|failure| match failure {
        Failure::Birth(errno) => Error::kernel("process", errno, Fault::Kernel),
        Failure::Op(fault) => tell(fault, &prepared.steps),
    })?;
    Ok(Process::new(child, Parent::Own))
}

/// In an embryo, which has memory of its own.
fn in_embryo(
    command: &Command,
    prepared: &Prepared,
    nursery: &Nursery,
    descriptors: &[BorrowedFd<'_>],
) -> Result<Process> {
    if command.own_child || command.cgroup.is_some() && prepared.authority.layout.is_none() {
        let words = "not for a child with another user or group, or a loader of its own";
        let part = if command.own_child { "own child" } else { "cgroup" };
        return Err(Error::new(part, words, Fault::Caller));
    }
    let mut embryo = nursery.embryo_in_place()?;
    let slots = prepared.slots.end();
    match &prepared.direct {
        None => embryo.become_process(slots, &prepared.plan, descriptors, &prepared.steps),
        Some(direct) => {
            let mut part = Part::new();
            part.descriptors = descriptors.to_vec();
            let number = embryo.id();
            direct.write(command, prepared, number, &embryo.place()?, &mut part)?;
            let process =
                embryo.become_process(slots, &part.encode(), &part.descriptors, &part.writer.steps)?;
            direct.is_whole().inspect_err(|_| {
                let _ = process.kill();
                let _ = process.wait_shared();
            })?;
            Ok(process)
        }
    }
}

/// A birth in a nursery.
pub(super) fn request<'a>(
    command: &'a Command,
    prepared: &'a Prepared,
    descriptors: Vec<BorrowedFd<'a>>,
    cgroup: Option<BorrowedFd<'a>>,
) -> Request<'a> {
    Request { plan: &prepared.plan, descriptors, cgroup, own: command.own_child, stops: true, template: None }
}

/// The process that a nursery made.
pub(super) fn delivered(delivery: Option<Delivery>, nursery: &Nursery, steps: &[Step]) -> Result<Process> {
    match delivery {
        Some(Delivery::Child(child, news)) => {
            Ok(Process::new(child, Parent::Nursery(Arc::clone(&nursery.inner), news)))
        }
        Some(Delivery::Own(child)) => Ok(Process::new(child, Parent::Own)),
        Some(Delivery::Failed(fault)) => Err(tell(fault, steps)),
        Some(Delivery::None(errno)) => Err(Error::kernel("process", errno, Fault::Kernel)),
        None => Err(Error::new("nursery", "it did not answer", Fault::Beget)),
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
        // No number was free for it here.
        Ok(message) if message.flags.contains(rustix::net::ReturnFlags::CTRUNC) => {
            return Err(failed(rustix::io::Errno::MFILE));
        }
        Ok(_) | Err(rustix::io::Errno::AGAIN) => {}
        Err(errno) => return Err(failed(errno)),
    }
    Ok(control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut files) => files.next(),
        _ => None,
    }))
}
