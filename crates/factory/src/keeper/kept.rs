//! The factory that is kept, and who speaks to it.
//!
//! Safety idea: there are no more connections than a bound, so that one who makes many keeps no thread from others for ever.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use super::capabilities::Capabilities;
use crate::Factory;

/// The most connections at a time.
const MOST: usize = 4096;

#[derive(Debug)]
pub(super) struct Kept {
    pub(super) factory: Factory,
    pub(super) capabilities: Capabilities,
    connections: Mutex<usize>,
    changed: Condvar,
}

impl Kept {
    pub(super) fn new(factory: Factory) -> Kept {
        let (connections, changed) = (Mutex::default(), Condvar::new());
        Kept { factory, capabilities: Capabilities::default(), connections, changed }
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts one more; `false` when there are as many as there may be.
    pub(super) fn enter(&self) -> bool {
        let mut connections = self.lock();
        let room = *connections < MOST;
        *connections += usize::from(room);
        room
    }

    /// Counts one less.
    pub(super) fn leave(&self) {
        *self.lock() -= 1;
        self.changed.notify_all();
    }

    /// Waits until there is none.
    pub(super) fn wait_until_alone(&self) {
        let connections = self.lock();
        drop(self.changed.wait_while(connections, |count| *count > 0));
    }
}
