//! What can be done to a process that is being built: the same for an embryo and for the process that asks.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use beget_authority::limit::Resource;
use beget_plan::Current;
use beget_sys::Errno;

use super::part::{Answer, Part, Protection};
use crate::error::{Error, Fault, Result};

/// The operations that build a process, one at a time; [`Part`] has them too, to be done in one message, and says how each fails.
///
/// An [`Embryo`](crate::Embryo) does them to itself when its holder says so. [`Current`](crate::Current) does the same operations, by the
/// same code, to the process that asks. Where the two differ:
///
/// | operation | an embryo | the current process |
/// |---|---|---|
/// | `map`, `unmap`, `protect`, `write`, `read` | its memory is empty but for a stack and the stub, which is out of reach | all memory is in reach, that of the running program too: that is why a [`Current`](crate::Current) is made by an unsafe call |
/// | `grant`, `close` | its slots are empty | its slots are the program's own descriptors; whoever owns one finds another file there |
/// | `chdir`, `umask`, `set_limit` | its own | the whole process's, for all of its threads |
/// | `set_name` | the process's | the calling thread's |
pub trait Construct {
    /// Does the operations of a part in order, and answers for each.
    ///
    /// # Errors
    /// The first that failed, in its words and with its errno; those before it are done, and the process is as they left it.
    fn apply(&mut self, part: &Part<'_>) -> Result<Vec<Answer>>;

    /// [`Part::map`].
    ///
    /// # Errors
    /// As there.
    fn map(&mut self, at: u64, length: u64, protection: Protection) -> Result<u64> {
        address(self.apply(Part::new().map(at, length, protection))?)
    }

    /// [`Part::map_file`].
    ///
    /// # Errors
    /// As there.
    fn map_file(
        &mut self,
        at: u64,
        length: u64,
        protection: Protection,
        file: BorrowedFd<'_>,
        page: u32,
    ) -> Result<u64> {
        address(self.apply(Part::new().map_file(at, length, protection, file, page))?)
    }

    /// [`Part::unmap`].
    ///
    /// # Errors
    /// As there.
    fn unmap(&mut self, at: u64, length: u64) -> Result<()> {
        self.apply(Part::new().unmap(at, length)).map(drop)
    }

    /// [`Part::protect`].
    ///
    /// # Errors
    /// As there.
    fn protect(&mut self, at: u64, length: u64, protection: Protection) -> Result<()> {
        self.apply(Part::new().protect(at, length, protection)).map(drop)
    }

    /// [`Part::write`].
    ///
    /// # Errors
    /// As there.
    fn write(&mut self, at: u64, bytes: &[u8]) -> Result<()> {
        self.apply(Part::new().write(at, bytes)).map(drop)
    }

    /// [`Part::read`].
    ///
    /// # Errors
    /// As there.
    fn read(&mut self, at: u64, length: u32) -> Result<Vec<u8>> {
        match self.apply(Part::new().read(at, length))?.pop() {
            Some(Answer::Bytes(bytes)) => Ok(bytes),
            _ => Err(unanswered()),
        }
    }

    /// [`Part::grant`].
    ///
    /// # Errors
    /// As there.
    fn grant(&mut self, slot: i32, file: BorrowedFd<'_>) -> Result<()> {
        self.apply(Part::new().grant(slot, file)).map(drop)
    }

    /// [`Part::close`].
    ///
    /// # Errors
    /// As there.
    fn close(&mut self, slot: i32) -> Result<()> {
        self.apply(Part::new().close(slot)).map(drop)
    }

    /// [`Part::chdir`].
    ///
    /// # Errors
    /// As there.
    fn chdir(&mut self, directory: BorrowedFd<'_>) -> Result<()> {
        self.apply(Part::new().chdir(directory)).map(drop)
    }

    /// [`Part::set_limit`].
    ///
    /// # Errors
    /// As there.
    fn set_limit(&mut self, limit: Resource) -> Result<()> {
        self.apply(Part::new().set_limit(limit)).map(drop)
    }

    /// [`Part::set_name`].
    ///
    /// # Errors
    /// As there.
    fn set_name(&mut self, name: &CStr) -> Result<()> {
        self.apply(Part::new().set_name(name)).map(drop)
    }

    /// [`Part::umask`].
    ///
    /// # Errors
    /// As there.
    fn umask(&mut self, mask: u32) -> Result<()> {
        self.apply(Part::new().umask(mask)).map(drop)
    }
}

impl Construct for Current {
    fn apply(&mut self, part: &Part<'_>) -> Result<Vec<Answer>> {
        let bytes = part.encode();
        let plan = part.check(&bytes)?;
        // What is lent is above every number that is named, those that are closed among them.
        let slots = part.slots.max(part.closed);
        let answers = self.run(&plan, slots, &part.descriptors).map_err(|fault| match fault.errno {
            Errno::EINVAL if fault.op == u32::MAX && slots > 0 => part.slot_error(),
            _ => part.error(fault),
        })?;
        part.read_answers(&answers)
    }
}

fn unanswered() -> Error {
    Error::new("embryo", "an operation was not answered", Fault::Beget)
}

fn address(answers: Vec<Answer>) -> Result<u64> {
    match answers.last() {
        Some(Answer::Address(address)) => Ok(*address),
        _ => Err(unanswered()),
    }
}
