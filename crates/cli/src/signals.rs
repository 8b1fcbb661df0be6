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
pub(crate) const STOP: i32 = 19;
pub(crate) const TSTP: i32 = 20;
pub(crate) const TTIN: i32 = 21;
pub(crate) const TTOU: i32 = 22;
pub(crate) const WINCH: i32 = 28;

/// Passed on to the program.
const FORWARDED: [i32; 7] = [HUP, INT, QUIT, USR1, USR2, ALRM, TERM];

/// A signal that was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signal {
    pub(crate) number: i32,
    /// The kernel sent it, for a key or because the terminal hung up: it was meant for a whole group.
    pub(crate) by_kernel: bool,
}

/// The signals that are read instead of acting on this process.
#[derive(Debug)]
pub(crate) struct Signals {
    file: OwnedFd,
    continued: OwnedFd,
    blocked: SignalSet,
}

impl Signals {
    /// Blocks them. One that is ignored, as `nohup` does, stays ignored; SIGCHLD is taken back, or statuses would be lost.
    pub(crate) fn take() -> Result<Signals, beget_sys::Errno> {
        signal::set_default(CHLD)?;
        let mut blocked = SignalSet::EMPTY.with(CHLD).with(CONT).with(TSTP).with(TTIN).with(TTOU).with(WINCH);
        for number in FORWARDED {
            if !signal::is_ignored(number)? {
                blocked = blocked.with(number);
            }
        }
        signal::set_mask(blocked)?;
        let continued = signal::descriptor(SignalSet::EMPTY.with(CONT))?;
        Ok(Signals { file: signal::descriptor(blocked)?, continued, blocked })
    }

    /// The next signal, if one waits.
    pub(crate) fn next(&self) -> Option<Signal> {
        read(&self.file)
    }

    /// From here on they act on this process again; those that came before do not.
    pub(crate) fn give_back(&self) {
        while self.next().is_some() {}
        let _ = signal::set_mask(SignalSet::EMPTY);
    }

    /// Lets `number` act on this process group as if it had not been read, and returns when the process goes on. Says whether it
    /// was stopped: a group that nobody watches as its job is not, for nobody would continue it.
    pub(crate) fn suffer(&self, number: i32) -> bool {
        let _ = read(&self.continued);
        let _ = signal::set_default(number);
        let open = SignalSet(self.blocked.0 & !SignalSet::EMPTY.with(number).0);
        let _ = signal::set_mask(open);
        let _ = signal::kill(0, number);
        let _ = signal::set_mask(self.blocked);
        // Taken here, so that the same continuation is not acted on twice.
        read(&self.continued).is_some()
    }
}

fn read(file: &OwnedFd) -> Option<Signal> {
    const BY_KERNEL: i32 = 0x80;
    let mut information = [0u8; 128];
    let length = rustix::io::read(file, &mut information).ok()?;
    let word = |at: usize| information.get(at..at + 4)?.try_into().ok().map(i32::from_ne_bytes);
    // `struct signalfd_siginfo`: number, errno, code.
    (length == information.len()).then_some(Signal { number: word(0)?, by_kernel: word(8)? == BY_KERNEL })
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
