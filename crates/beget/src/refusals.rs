//! Refusals worth telling: a process or a socket that the program asked for and was not granted.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use beget_authority::filter;
use beget_sys::{Errno, seccomp};

use crate::error::{Error, Fault, Result};

/// One refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Refusal {
    /// What was refused.
    pub what: &'static str,
    /// The flag that would allow it.
    pub flag: &'static str,
    /// The call's name, as its manual page has it, in upper case.
    pub call: &'static str,
}

/// Where refusals arrive. Whoever holds this must serve it: a refused call waits until it is answered, and fails with `ENOSYS` when
/// this is dropped.
#[derive(Debug)]
pub struct Refusals {
    listener: OwnedFd,
}

impl Refusals {
    pub(crate) fn new(listener: OwnedFd) -> Refusals {
        Refusals { listener }
    }

    /// Takes the next refusal and answers it; waits for one unless [`as_fd`](Refusals::as_fd) is readable. `None` when the
    /// program was ended meanwhile.
    ///
    /// # Errors
    /// Those of the kernel's notification calls (`man 2 seccomp_unotify`).
    pub fn next(&self) -> Result<Option<Refusal>> {
        let failed = |errno| Error::kernel("refusal", errno, Fault::Kernel);
        let call = match seccomp::receive(self.listener.as_fd()) {
            Ok(call) => call,
            Err(Errno::ENOENT | Errno::EINTR) => return Ok(None),
            Err(errno) => return Err(failed(errno)),
        };
        let (what, flag, errno) = filter::refusal(call.number).unwrap_or(("a call", "no flag", Errno::EPERM));
        match seccomp::refuse(self.listener.as_fd(), call.id, errno) {
            Ok(()) | Err(Errno::ENOENT | Errno::EINPROGRESS) => {}
            Err(errno) => return Err(failed(errno)),
        }
        Ok(Some(Refusal { what, flag, call: beget_sys::nr::name(call.number).unwrap_or("?") }))
    }
}

impl AsFd for Refusals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }
}
