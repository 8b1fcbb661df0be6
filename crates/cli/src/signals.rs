//! Signals, taken as data: blocked, and read from a descriptor beside everything else that can happen.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use beget_sys::signal::{self, SignalSet};

pub(crate) const HUP: i32 = 1;
pub(crate) const INT: i32 = 2;
pub(crate) const QUIT: i32 = 3;
pub(crate) const USR1: i32 = 10;
pub(crate) const USR2: i32 = 12;
pub(crate) const ALRM: i32 = 14;
pub(crate) const TERM: i32 = 15;
pub(crate) const CHLD: i32 = 17;
pub(crate) const CONT: i32 = 18;
pub(crate) const TSTP: i32 = 20;
pub(crate) const TTIN: i32 = 21;
pub(crate) const TTOU: i32 = 22;

/// Passed on to the program.
const FORWARDED: [i32; 7] = [HUP, INT, QUIT, USR1, USR2, ALRM, TERM];

/// The signals that are read instead of acting on this process.
#[derive(Debug)]
pub(crate) struct Signals {
    file: OwnedFd,
    blocked: SignalSet,
}

impl Signals {
    /// Blocks them. One that is ignored, as `nohup` does, stays ignored; SIGCHLD is taken back, or statuses would be lost.
    pub(crate) fn take() -> Result<Signals, beget_sys::Errno> {
        signal::set_default(CHLD)?;
        let mut blocked = SignalSet::EMPTY.with(CHLD).with(CONT).with(TSTP).with(TTIN).with(TTOU);
        for number in FORWARDED {
            if !signal::is_ignored(number)? {
                blocked = blocked.with(number);
            }
        }
        signal::set_mask(blocked)?;
        Ok(Signals { file: signal::descriptor(blocked)?, blocked })
    }

    /// The next signal, if one waits.
    pub(crate) fn next(&self) -> Option<i32> {
        let mut information = [0u8; 128];
        match rustix::io::read(&self.file, &mut information) {
            Ok(128) => information[..4].try_into().ok().map(i32::from_ne_bytes),
            _ => None,
        }
    }

    /// Lets `number` act on this process group as if it had not been read, and returns when the process goes on.
    pub(crate) fn suffer(&self, number: i32) {
        let _ = signal::set_default(number);
        let open = SignalSet(self.blocked.0 & !SignalSet::EMPTY.with(number).0);
        let _ = signal::set_mask(open);
        let _ = signal::kill(0, number);
        let _ = signal::set_mask(self.blocked);
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Whether a signal is passed on.
pub(crate) fn is_forwarded(number: i32) -> bool {
    FORWARDED.contains(&number)
}
