//! From a prepared plan to a process.

use std::io::{PipeReader, PipeWriter};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use beget_plan::engine::{self, Failure};
use beget_plan::{Engine, Plan};
use beget_sys::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
};

use super::Command;
use super::prepare::Prepared;
use super::slots::{Slots, Source};
use super::write::Step;
use crate::error::{Error, Fault, Result};
use crate::process::{Parent, Process};
use crate::refusals::Refusals;

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
pub(super) fn spawn(command: &Command, prepared: &Prepared) -> Result<Process> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let pipes = Pipes::make(&prepared.slots)?;
    let find = |source: Source| -> Option<BorrowedFd<'_>> {
        Some(match source {
            Source::Inherited(0) => stdin.as_fd(),
            Source::Inherited(1) => stdout.as_fd(),
            Source::Inherited(_) => stderr.as_fd(),
            Source::Pipe(0) => pipes.input.as_ref()?.0.as_fd(),
            Source::Pipe(stream) => pipes.outputs[stream - 1].as_ref()?.1.as_fd(),
            Source::Listener => pipes.listener.as_ref()?.1.as_fd(),
            other => return super::prepare::given(command, prepared, other),
        })
    };
    let descriptors: Option<Vec<BorrowedFd<'_>>> =
        prepared.slots.all.iter().map(|slot| find(slot.source)).collect();
    let descriptors = descriptors.ok_or_else(|| Error::new("plan", "a slot has no source", Fault::Beget))?;
    let plan = Plan::check(&prepared.plan, Engine::Vfork).map_err(Error::malformed_plan)?;
    let child = engine::spawn(&plan, &descriptors, command.cgroup.as_ref().map(AsFd::as_fd))
        .map_err(|failure| tell(failure, &prepared.steps))?;

    let mut process = Process::new(child, Parent::Own, Arc::clone(&prepared.held));
    process.kill_on_drop = command.kill_on_drop;
    process.stdin = pipes.input.map(|(_, ours)| ours);
    let [stdout, stderr] = pipes.outputs;
    process.stdout = stdout.map(|(ours, _)| ours);
    process.stderr = stderr.map(|(ours, _)| ours);
    if let Some((ours, theirs)) = pipes.listener {
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
