//! The vfork engine: runs a plan in a child that shares the caller's memory, and so costs nothing of the caller's size.
//!
//! Safety idea: the birth itself is in [`birth`]; here is what it needs, a guarded stack of its own and scratch beside it, taken from
//! a few that are kept. Other threads go on and are not touched. It can be called from any thread, by any number at once.

use std::boxed::Box;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::vec::Vec;

use beget_sys::memory::Guarded;
use beget_sys::process::{self, Child, Cradle};
use beget_sys::signal::{self, SignalSet};
use beget_sys::{Errno, wait};

use crate::birth::{self, Birth, Room};
use crate::encoding::Plan;
use crate::interpreter::Fault;
use crate::op::Engine;

/// Why there is no child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The process could not be made.
    Birth(Errno),
    /// An operation failed in it; nothing of it is left.
    Op(Fault),
}

/// The child's stack. The interpreter's deepest path, unoptimised, uses less than a quarter of this (a test measures it).
const STACK: usize = 32 << 10;
/// What a kept mapping has for scratch: enough for any ordinary plan.
const SCRATCH: usize = 32 << 10;

/// Mappings kept for the next spawn, by address; zero is an empty place. Taking and giving back is one atomic operation, so a
/// `fork` of the host in another thread can never leave it locked.
static KEPT: [AtomicUsize; 8] = [const { AtomicUsize::new(0) }; 8];

/// A stack and scratch for one child.
struct Workplace {
    memory: Guarded,
    kept: bool,
}

impl Workplace {
    fn take(scratch: usize) -> Result<Workplace, Errno> {
        if scratch <= SCRATCH {
            for place in &KEPT {
                let base = place.swap(0, Ordering::Acquire);
                // SAFETY: the address was put there by `drop` below, with the one length that kept mappings have, and the swap
                // took it out for us alone.
                if let Some(memory) = unsafe { Guarded::from_raw(base, STACK + SCRATCH + GUARD) } {
                    return Ok(Workplace { memory, kept: true });
                }
            }
        }
        let memory = Guarded::map(STACK + scratch.max(SCRATCH))?;
        Ok(Workplace { memory, kept: scratch <= SCRATCH })
    }

    fn give_back(self) {
        if self.kept {
            let (base, _) = self.memory.into_raw();
            for place in &KEPT {
                if place.compare_exchange(0, base, Ordering::Release, Ordering::Relaxed).is_ok() {
                    return;
                }
            }
            // SAFETY: the pair came from `into_raw` a moment ago and found no place.
            drop(unsafe { Guarded::from_raw(base, STACK + SCRATCH + GUARD) });
        }
    }
}

/// The guard page that [`Guarded::map`] adds.
const GUARD: usize = 4096;

/// Where a child is born, beside being a child of the calling process.
#[derive(Clone, Copy, Debug, Default)]
pub struct Place<'a> {
    /// The open directory of its cgroup.
    pub cgroup: Option<BorrowedFd<'a>>,
    /// Namespaces that it is born in: [`Cradle::namespaces`].
    pub namespaces: u32,
    /// It has no supplementary groups from the beginning on, for in a user namespace of its own it could not give them up. The calling
    /// thread gives them up meanwhile, and no other thread is touched; takes CAP_SETGID.
    pub without_groups: bool,
}

/// Gives birth: runs `plan`, which must have been checked for [`Engine::Vfork`], with `descriptors`, in a
/// new child of the calling process.
///
/// Returns when the child executes its program. A child that fails before is reaped here; it leaves no process, no zombie and
/// no descriptor.
///
/// # Errors
/// [`Failure::Birth`] when no process could be made (`EAGAIN`, `ENOMEM`, `EMFILE`, or those of the cgroup and of namespaces); [`Failure::Op`]
/// with the operation and its errno; `EINVAL` when the plan was checked for another engine, or the descriptors are fewer than it
/// needs.
pub fn spawn(plan: &Plan<'_>, descriptors: &[BorrowedFd<'_>], place: Place<'_>) -> Result<Child, Failure> {
    if plan.engine() != Engine::Vfork || descriptors.len() < plan.descriptors() {
        return Err(Failure::Birth(Errno::EINVAL));
    }
    let mut numbers: Box<[i32]> = descriptors.iter().map(|fd| fd.as_raw_fd()).collect();
    let mut workplace = Workplace::take(plan.scratch() * 8).map_err(Failure::Birth)?;
    let (stack, scratch) = workplace.memory.bytes().split_at_mut(STACK);
    // SAFETY: any bytes are words; the mapping is aligned to pages and the stack's size is a multiple of eight.
    let (_, scratch, _) = unsafe { scratch.align_to_mut::<u64>() };
    let cgroup = place.cgroup.map(|fd| fd.as_raw_fd());
    let cradle = Cradle { cgroup, parent: false, namespaces: place.namespaces };
    let groups = if place.without_groups { process::groups().map_err(Failure::Birth)? } else { Vec::new() };
    let mask = signal::set_mask(SignalSet::ALL).map_err(Failure::Birth)?;
    if !groups.is_empty()
        && let Err(errno) = process::set_groups(&[])
    {
        let _ = signal::set_mask(mask);
        return Err(Failure::Birth(errno));
    }
    // SAFETY: every signal is blocked; the numbers are those of descriptors borrowed until this returns.
    let born = unsafe { birth::give(plan, &mut numbers, Room { stack, scratch }, cradle) };
    if !groups.is_empty() {
        // What was given up a moment ago by whoever has the right to set them.
        let _ = process::set_groups(&groups);
    }
    // The mask that the kernel gave out a moment ago is one it takes back.
    let _ = signal::set_mask(mask);
    workplace.give_back();
    match born {
        Birth::Child(born) => {
            // SAFETY: the kernel gave us this descriptor a moment ago, and nobody else knows it.
            Ok(unsafe { born.own() })
        }
        Birth::Failed(born, fault) => {
            // SAFETY: likewise.
            reap(&unsafe { born.own() });
            Err(Failure::Op(fault))
        }
        Birth::None(errno) => Err(Failure::Birth(errno)),
    }
}

/// Waits for a child that is ending, so that not even a zombie is left.
fn reap(child: &Child) {
    while wait::on(child.pidfd.as_fd(), wait::option::EXITED | wait::option::ALL) == Err(Errno::EINTR) {}
}
