//! Restartable sequences (`man 2 rseq`): what a program has noted for the kernel, so that it goes on elsewhere when it is interrupted.
//!
//! Safety idea: the kernel looks at that note whenever it interrupts any instruction of the process, the tracer's calls and the stub's too. Of a
//! sequence that is said to span them the program would have them go on in its own code: a call that was never made, a stub that is the
//! program's before the copy is confined. So the note is taken away before anything is done in the process, as the kernel itself does it.

use beget_sys::Errno;
use beget_sys::trace::{self, General};

use super::{Tracee, failed};
use crate::Result;

/// Where in its area the address of the sequence stands that is under way.
const UNDER_WAY: u64 = 8;

impl Tracee {
    /// Ends the sequence that is under way, if any: where the program is within it, it goes on where it said that it would.
    pub(super) fn end_sequence(&mut self) -> Result<()> {
        let (at, bytes, _) = match trace::processor_note(self.number()) {
            Ok(note) => note,
            // Before Linux 5.13 nobody tells.
            Err(Errno::EIO) => return Ok(()),
            Err(errno) => return Err(failed("restartable sequences", errno)),
        };
        let note = at.wrapping_add(UNDER_WAY);
        // A program can take the area's memory away; the kernel ends it then.
        if bytes == 0 || self.word(note).unwrap_or(0) == 0 {
            return Ok(());
        }
        let described = self.word(note)?;
        self.write(note, &[0; 8])?;
        // `struct rseq_cs`: version and flags, where it begins, its length, where it goes on.
        let [begin, length, elsewhere] =
            [8, 16, 24].map(|offset| self.word(described.wrapping_add(offset)).unwrap_or(0));
        let General { rip, .. } = self.registers;
        if rip.wrapping_sub(begin) < length {
            self.registers.rip = elsewhere;
        }
        Ok(())
    }
}
