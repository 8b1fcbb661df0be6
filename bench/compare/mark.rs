//! Marks in the stream of system calls, by which the tracer knows where a birth begins and ends.
//!
//! Safety idea: a mark is a seek on a descriptor number that nobody can have, which every filter lets by and the kernel answers with
//! EBADF: it changes nothing for whoever makes it.

use beget_sys::nr;

/// The descriptor number that is none.
const NOBODY: i32 = -3049;

/// What is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// P begins.
    Begin = 1,
    /// The call by which P has its child made has come back.
    Born = 2,
    /// C has ended.
    End = 3,
    /// The first own instructions of a C that was not executed.
    First = 4,
}

impl Mark {
    const ALL: [Mark; 4] = [Mark::Begin, Mark::Born, Mark::End, Mark::First];

    /// Makes it.
    pub(super) fn set(self) {
        // SAFETY: a number that is never open; the kernel touches no memory.
        unsafe { libc::lseek(NOBODY, self as libc::off_t, libc::SEEK_SET) };
    }

    /// The mark that a call is, if it is one.
    pub(super) fn of(number: u64, arguments: &[u64; 6]) -> Option<Mark> {
        let is_mark = number == u64::from(nr::LSEEK) && arguments[0] as i32 == NOBODY;
        Mark::ALL.into_iter().find(|mark| is_mark && *mark as u64 == arguments[1])
    }
}
