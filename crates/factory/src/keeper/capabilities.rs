//! Connections that the keeper made itself, by the kernel's number for the end that it gave away (`SO_COOKIE`, Linux 4.12).
//!
//! Safety idea: that number is never given twice while the machine runs, and whoever holds a socket cannot change its own. A connection that leads
//! here, but was made by somebody else, is not in the table: nobody can pass one off as a capability to this factory.

use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::net::{AddressFamily, SocketFlags, SocketType, sockopt};

use crate::{Error, Result};

/// The ends that were given away, with the rights that they are.
#[derive(Debug, Default)]
pub(super) struct Capabilities(Mutex<HashMap<u64, u32>>);

/// A new connection.
#[derive(Debug)]
pub(super) struct Made {
    pub(super) ours: OwnedFd,
    pub(super) theirs: OwnedFd,
    pub(super) cookie: u64,
}

impl Capabilities {
    fn lock(&self) -> MutexGuard<'_, HashMap<u64, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new one, which is these rights.
    pub(super) fn make(&self, rights: u32) -> Result<Made> {
        let pair =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.map_err(|errno| Error::io("factory: a capability", errno))?;
        let cookie = sockopt::socket_cookie(&theirs);
        let cookie = cookie.map_err(|errno| Error::io("factory: a capability", errno))?;
        self.lock().insert(cookie, rights);
        Ok(Made { ours, theirs, cookie })
    }

    /// It is closed.
    pub(super) fn forget(&self, cookie: u64) {
        self.lock().remove(&cookie);
    }

    /// The rights that this connection is; 0 for what was not made here.
    pub(super) fn rights(&self, connection: impl AsFd) -> u32 {
        let cookie = sockopt::socket_cookie(connection);
        cookie.ok().and_then(|cookie| self.lock().get(&cookie).copied()).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_made_here_is_a_capability() {
        let capabilities = Capabilities::default();
        let (one, two) = (capabilities.make(3).unwrap(), capabilities.make(4).unwrap());
        let copy = one.theirs.try_clone().unwrap();
        assert_eq!((capabilities.rights(&copy), capabilities.rights(&two.theirs)), (3, 4));
        assert_eq!(capabilities.rights(&one.ours), 0);
        let (pipe, _other) = std::io::pipe().unwrap();
        assert_eq!(capabilities.rights(pipe), 0);
        capabilities.forget(one.cookie);
        assert_eq!(capabilities.rights(&copy), 0);
    }
}
