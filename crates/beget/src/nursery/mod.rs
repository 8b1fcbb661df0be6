//! The nursery: a small process between, that makes children from plans and is their parent.
//!
//! Safety idea: it holds nothing of its creator's. Its one socket is the only thing that keeps it, and all that was born in it, alive:
//! when that closes, because its creator let go or died, however it died, the whole tree ends.

mod birth;
mod inner;
mod program;
pub(crate) mod root;

use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use birth::{Delivery, Request};
pub(crate) use inner::{Inner, News};
pub(crate) use program::stub;
pub(crate) use root::RootRequest;

use beget_authority::Root;
use beget_authority::root::Layout;

use crate::end::Usage;
use crate::error::Result;

/// Where children are born that are not this process's own: a process of a few pages that makes them, reaps them, and ends every one
/// of them, grandchildren in sessions of their own too, when its creator ends or lets go of it.
///
/// It costs a birth that does not depend on this process's size, shares no descriptor table with its threads, and can do what a child
/// that shares memory cannot: change user and group, or put a program into memory without an exec.
///
/// Clones are the same nursery. It ends when the last of them is dropped, and every [`Process`](crate::Process) and
/// [`Embryo`](crate::Embryo) born in it; [`end`](Nursery::end) ends it before.
///
/// It has the rights that this process had when it was made: user, group, capabilities, namespaces, filters. A process that has become
/// another user since, or has other capabilities, is refused by its old nurseries, and [`shared`](Nursery::shared) makes it a new one;
/// whoever only enters a namespace or puts on a filter is to make a new one by itself.
///
/// Its process, or its guard's, is a child of this one: a host that waits for any child may take its status, which does no harm.
///
/// What it does not do: if it and its guard are killed at the same moment, by somebody else, what was born in it lives on. Where
/// `/proc` cannot be read it finds no grandchildren.
#[derive(Clone, Debug)]
pub struct Nursery {
    pub(crate) inner: Arc<Inner>,
}

/// Who takes care of what a nursery leaves if it is killed, and whose its children are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A guard, which is its parent.
    Guarded,
    /// Its creator, which adopts orphans.
    Bare,
    /// The kernel: it is the first process of a namespace, and all others end with it.
    First,
}

impl Nursery {
    /// A new one, with a guard: a second small process that ends everything if the nursery itself is killed.
    ///
    /// # Errors
    /// Those of a birth; a system where no memory can be executed, nor a file without a name in any temporary folder.
    pub fn new() -> Result<Nursery> {
        Ok(Nursery { inner: Arc::new(Inner::new(Kind::Guarded)?) })
    }

    /// A new one without a guard. If it is killed, what was born in it becomes the caller's when the caller is a subreaper
    /// (`man 2 PR_SET_CHILD_SUBREAPER`), and else lives on. Only here can children be born as the caller's own
    /// ([`Command::own_child`](crate::Command::own_child)).
    ///
    /// # Errors
    /// As for [`new`](Nursery::new).
    pub fn bare() -> Result<Nursery> {
        Ok(Nursery { inner: Arc::new(Inner::new(Kind::Bare)?) })
    }

    /// A new one that is the first process in a private root.
    pub(crate) fn in_root(root: RootRequest<'_>) -> Result<Nursery> {
        Ok(Nursery { inner: Arc::new(Inner::in_root(root)?) })
    }

    /// Whether this system allows a private root: one is made, and ended.
    pub(crate) fn could_be_in_root() -> Result<()> {
        let layout = Layout::new(&Root::new(), &[], false, true)?;
        Nursery::in_root(RootRequest { layout: &layout, own_network: true, cgroup: None }).map(drop)
    }

    /// This process's own, made when it is first asked for and kept until the process ends; made anew if it was killed.
    ///
    /// # Errors
    /// As for [`new`](Nursery::new).
    pub fn shared() -> Result<Nursery> {
        static SHARED: Mutex<Option<Nursery>> = Mutex::new(None);
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        match &*shared {
            Some(nursery) if nursery.inner.serves() => Ok(nursery.clone()),
            _ => {
                let nursery = Nursery::new()?;
                *shared = Some(nursery.clone());
                Ok(nursery)
            }
        }
    }

    /// The number of its process, or of its guard's: for messages.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.inner.number()
    }

    /// Sets how long it, its templates and their products may take to answer; without this they may for ever. What was stopped by somebody is
    /// ended then, and what was asked for fails: a template's channel is closed, a product killed, and a nursery that does not go on when it
    /// is told to is given up. The first that is set holds.
    ///
    /// # Errors
    /// Those of its socket.
    pub fn set_patience(&self, patience: std::time::Duration) -> Result<()> {
        self.inner.set_patience(patience)
    }

    /// Whether it has ended, or was killed by somebody: then nothing can be born in it.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !self.inner.serves()
    }

    /// Tells it to end, and every process that was born in it, and returns at once. Nothing more can be born in it. What ends is
    /// still told of; [`end`](Nursery::end) waits until all is done.
    pub fn close(&self) {
        self.inner.close();
    }

    /// Ends it and every process that was born in it, however deep, and waits until that is done. Handles of those processes tell
    /// how they ended.
    pub fn end(&self) {
        self.inner.end();
    }

    /// What everything that was born in it used, orphans too, and the little that it used itself: processor time and I/O of all of them
    /// together, the memory of the largest. `None` before [`end`](Nursery::end), and when somebody killed it: then nobody has counted all.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.inner.usage()
    }
}
