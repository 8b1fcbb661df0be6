//! The same operations on the process that asks.
//!
//! Safety idea: whoever makes a [`Current`] answers for all that its operations do to the process they are done in; from there on they
//! are checked like anybody's.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::vec::Vec;

use beget_sys::{Errno, descriptor};

use crate::encoding::Plan;
use crate::interpreter::{self, Bench, Fault, Outcome};
use crate::memory::Home;

/// The right to do operations to the calling process.
#[derive(Debug)]
pub struct Current(());

impl Current {
    /// Takes that right.
    ///
    /// # Safety
    /// The operations done through it must not take away, change or replace what the program relies on: memory that is in use,
    /// descriptors that somebody owns, the rights of pages that code runs in.
    #[must_use]
    pub unsafe fn assume() -> Current {
        Current(())
    }

    /// Does the operations of `plan`, whose slots are all below `slots`, and gives what they answered.
    ///
    /// # Errors
    /// The operation that failed; `EMFILE` for operation `u32::MAX` when there was no number to lend it a descriptor by; `EINVAL` for
    /// one that would turn the process into a program.
    pub fn run(
        &mut self,
        plan: &Plan<'_>,
        slots: u32,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<Vec<u8>, Fault> {
        let failed = |errno| Fault { op: u32::MAX, errno };
        if plan.ends() || plan.descriptors() != descriptors.len() {
            return Err(failed(Errno::EINVAL));
        }
        let mut lent = Lent(Vec::with_capacity(descriptors.len()));
        for fd in descriptors {
            // Out of the way of every slot, of its own too.
            lent.0.push(descriptor::duplicate_above(fd.as_raw_fd(), slots.max(3)).map_err(failed)?);
        }
        let mut scratch = std::vec![0; plan.scratch()];
        let mut answer = std::vec![0; plan.answer_bytes()];
        let mut bench =
            Bench { descriptors: &mut lent.0, scratch: &mut scratch, answer: &mut answer, home: Home::NONE };
        // SAFETY: whoever made `self` answers for what the operations do to this process.
        match unsafe { interpreter::run(plan, &mut bench) } {
            Outcome::Failed(fault) => Err(fault),
            Outcome::Done => Ok(answer),
            Outcome::Enter(..) | Outcome::Resume(_) => Err(failed(Errno::EINVAL)),
        }
    }
}

/// Duplicates that are closed in the end.
struct Lent(Vec<i32>);

impl Drop for Lent {
    fn drop(&mut self) {
        for fd in &self.0 {
            // SAFETY: made above, and known to nobody else.
            let _ = unsafe { descriptor::close(*fd) };
        }
    }
}
