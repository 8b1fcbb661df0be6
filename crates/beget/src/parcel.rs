//! A birth to be given by somebody else: all that a monitor or a process service needs for the child that `spawn` would make.
//!
//! Safety idea: a parcel holds what the child will hold, as descriptors and bytes; whoever delivers it looks nothing up by name. What only this
//! process could do for the child is an error when the parcel is made, and never left out.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use beget_authority::cgroup;
use beget_plan::stub::role;
use beget_plan::{Engine, Fault as Failed, Plan};
use beget_sys::Errno;

use crate::command::{Own, Pipes, Stock};
use crate::description::Description;
use crate::error::{Error, Fault};
use crate::nursery::root;
use crate::writer::{Step, tell};

/// What is asked for beside the child's own plan.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ParcelOptions {
    /// Nurseries that are made for it outlive whoever makes them, as long as they have something to keep.
    pub lasting: bool,
    /// It brings the plan of a nursery for what the child will create through others: held to all that the child is held to, but that it may
    /// create processes.
    pub spawner: bool,
    /// It is to be born with others, all of them or none, as in [`Batch::together`](crate::Batch::together): it stops before the first
    /// instruction of its program, and whoever gives all the births has them go on.
    pub together: bool,
}

impl ParcelOptions {
    pub(crate) fn first(self) -> &'static CStr {
        if self.lasting { role::LASTING_FIRST } else { role::FIRST }
    }

    pub(crate) fn spawner(self) -> &'static CStr {
        if self.lasting { role::LASTING } else { role::GUARDED }
    }
}

/// A child to be born elsewhere: [`Command::parcel`](crate::Command::parcel) makes it.
///
/// Keep it until the birth was answered: only here are the words for what goes wrong. Parcels of one command share what they hold. One that
/// is dropped takes what it made back; after a birth [`delivered`](Parcel::delivered) leaves that to whoever has the child.
///
/// ```
/// use beget::{Command, Grant, ParcelOptions};
///
/// let mut command = Command::new("/bin/true");
/// command.grant(Grant::Base);
/// let parcel = command.parcel(ParcelOptions::default())?;
/// // What a monitor is told: these bytes, these descriptors, and that there will be no other process of it.
/// let (plan, descriptors) = (parcel.plan(), parcel.descriptors());
/// assert!(!plan.is_empty() && !descriptors.is_empty() && parcel.alone());
/// # Ok::<(), beget::Error>(())
/// ```
#[derive(Debug)]
pub struct Parcel {
    pub(crate) stock: Arc<Stock>,
    pub(crate) own: Own,
    pub(crate) made: Pipes,
    /// The nursery that it is to be born in, for one in a private root: the first process there.
    pub nursery: Option<NurseryPlan>,
    /// The nursery for what it will create, if that was asked for. It is to be born where the child is; what is born in it then can have no
    /// more than the child has. Plans for it are written by whoever is confined so: its filter refuses what others' plans do, such as
    /// joining a keyring. Where `/proc` is not granted it does not find orphans of what was born in it: whoever it is born under does.
    pub spawner: Option<NurseryPlan>,
}

impl Parcel {
    /// The plan, for a child that shares its parent's memory until it executes its program.
    #[must_use]
    pub fn plan(&self) -> &[u8] {
        self.stock.plan()
    }

    /// The descriptors of the plan, in its order.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.stock.descriptors(&self.made, &self.own)
    }

    /// Files that somebody must hold as long as the child lives: what they are granted for would be forgotten.
    pub fn held(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.stock.held().iter().map(|one| one.as_fd())
    }

    /// Whether it cannot create processes, because its filter refuses that: when it has ended, so has everything that came of it.
    #[must_use]
    pub fn alone(&self) -> bool {
        self.stock.alone()
    }

    /// Whether it stops before its program's first instruction, until all are there that it is to be born with.
    #[must_use]
    pub fn together(&self) -> bool {
        self.stock.together()
    }

    /// The cgroup that it is to be born in.
    #[must_use]
    pub fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        match &self.made.group {
            Some(group) => group.cradle(),
            None => self.stock.cgroup(),
        }
    }

    /// The cgroups that were made for its tree, which are to be ended and removed when it has ended: [`Group::take_over`](cgroup::Group::take_over).
    pub fn groups(&self) -> impl Iterator<Item = cgroup::Place<'_>> {
        self.made.group.iter().flat_map(cgroup::Group::places)
    }

    /// The holder's end of its channel, if it has one.
    #[must_use]
    pub fn channel(&self) -> Option<BorrowedFd<'_>> {
        self.made.channel.as_ref().map(|(ours, _)| ours.as_fd())
    }

    /// What it will hold, and what enforces that.
    #[must_use]
    pub fn description(&self) -> &Description {
        self.stock.description()
    }

    /// The error that a failed operation of its plan is told as; operation `u32::MAX` is the making of its process.
    #[must_use]
    pub fn explain(&self, operation: u32, errno: i32) -> Error {
        explain(operation, errno, self.stock.steps())
    }

    /// Somebody else has it now, and what was made for it: its cgroups are that one's to remove.
    pub fn delivered(mut self) {
        if let Some(group) = self.made.group.take() {
            group.hand_over();
        }
    }
}

fn explain(operation: u32, errno: i32, steps: &[Step]) -> Error {
    let errno = Errno(errno);
    if operation == u32::MAX {
        return Error::kernel("process", errno, Fault::Kernel);
    }
    tell(Failed { op: operation, errno }, steps)
}

/// The plan of a nursery: the stub, executed in namespaces or under confinement of its own.
///
/// The first three descriptors of the plan come from whoever makes the nursery: its end of a stream socket, which becomes its channel; the stub,
/// opened; and what its role has in slot 1: a pidfd of its creator, or a listening socket if it is to outlive that.
#[derive(Debug)]
pub struct NurseryPlan {
    pub(crate) plan: Vec<u8>,
    pub(crate) steps: Vec<Step>,
    pub(crate) descriptors: Vec<OwnedFd>,
    pub(crate) namespaces: u32,
    pub(crate) without_groups: bool,
    pub(crate) cgroup: Option<OwnedFd>,
}

impl NurseryPlan {
    /// How many descriptors come from whoever makes it; they are the first.
    pub const OF_ITS_MAKER: usize = root::OF_ITS_MAKER;

    /// The plan, checked for a child that shares its parent's memory.
    #[must_use]
    pub fn plan(&self) -> &[u8] {
        &self.plan
    }

    /// Its descriptors after the first three.
    #[must_use]
    pub fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        self.descriptors.iter().map(AsFd::as_fd).collect()
    }

    /// The namespaces that it is born in, as `clone3` has them.
    #[must_use]
    pub fn namespaces(&self) -> u32 {
        self.namespaces
    }

    /// Whether its parent gives up supplementary groups for the time of its birth: in a user namespace of its own it could not.
    #[must_use]
    pub fn without_groups(&self) -> bool {
        self.without_groups
    }

    /// The cgroup that it is born in.
    #[must_use]
    pub fn cgroup(&self) -> Option<BorrowedFd<'_>> {
        self.cgroup.as_ref().map(AsFd::as_fd)
    }

    /// The error that a failed operation of its plan is told as; operation `u32::MAX` is the making of its process. That there can be no
    /// private root here has [`Fault::Unkept`]: see [`Command::do_without_root`](crate::Command::do_without_root).
    #[must_use]
    pub fn explain(&self, operation: u32, errno: i32) -> Error {
        let error = explain(operation, errno, &self.steps);
        if self.namespaces == 0 {
            return error;
        }
        let errno = Errno(errno);
        if operation == u32::MAX {
            return root::refused(errno);
        }
        let plan = Plan::check(&self.plan, Engine::Vfork);
        root::explain(error, plan.ok().and_then(|plan| plan.op(operation as usize)), errno)
    }
}
