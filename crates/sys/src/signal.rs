//! Signals: sets, masks and dispositions.

#[cfg(not(beget_freestanding))]
use std::os::fd::{FromRawFd, OwnedFd};

use crate::{Result, arch, nr};

/// A set of signals: bit N-1 is signal N (`man 7 signal`), 64 of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SignalSet(pub u64);

impl SignalSet {
    /// No signal.
    pub const EMPTY: SignalSet = SignalSet(0);
    /// Every signal. The kernel leaves SIGKILL and SIGSTOP out of any mask by itself.
    pub const ALL: SignalSet = SignalSet(!0);

    /// The set with `signal` (1 to 64) added; other numbers add nothing.
    #[must_use]
    pub const fn with(self, signal: i32) -> SignalSet {
        if signal >= 1 && signal <= 64 { SignalSet(self.0 | 1 << (signal - 1)) } else { self }
    }

    /// Whether `signal` is in it.
    #[must_use]
    pub const fn has(self, signal: i32) -> bool {
        signal >= 1 && signal <= 64 && self.0 & 1 << (signal - 1) != 0
    }
}

/// The kernel's `struct sigaction`, which differs from libc's.
#[repr(C)]
#[derive(Default)]
struct Action {
    handler: usize,
    flags: u64,
    restorer: usize,
    mask: u64,
}

const SIG_SETMASK: usize = 2;
const SET_SIZE: usize = 8;
const SIG_IGN: usize = 1;

/// Replaces the calling thread's signal mask and returns the old one (`rt_sigprocmask`).
///
/// # Errors
/// None that can happen with these arguments; a filter may make it fail.
pub fn set_mask(set: SignalSet) -> Result<SignalSet> {
    let mut old = 0u64;
    // SAFETY: the kernel reads eight bytes at `set` and writes eight at `old`, both on this stack.
    unsafe {
        arch::call4(
            nr::RT_SIGPROCMASK,
            SIG_SETMASK,
            &raw const set.0 as usize,
            &raw mut old as usize,
            SET_SIZE,
        )?;
    }
    Ok(SignalSet(old))
}

/// Whether eight bytes at an address of this process can be read; those of a stack that would grow there are made. It is found out
/// by a call that reads them and does nothing with them.
#[must_use]
pub fn may_read(at: usize) -> bool {
    const NO_SUCH_CHANGE: usize = 99;
    // SAFETY: the kernel reads the bytes, or answers EFAULT, and then refuses what is asked, so nothing changes.
    let answer = unsafe { arch::call4(nr::RT_SIGPROCMASK, NO_SUCH_CHANGE, at, 0, SET_SIZE) };
    answer == Err(crate::Errno::EINVAL)
}

/// Gives `signal` its default disposition.
///
/// # Errors
/// `EINVAL` for SIGKILL, SIGSTOP and numbers outside 1 to 64.
pub fn set_default(signal: i32) -> Result<()> {
    let action = Action::default();
    // SAFETY: the kernel reads an action on this stack; a default disposition runs no code of ours.
    unsafe { arch::call4(nr::RT_SIGACTION, signal as usize, &raw const action as usize, 0, SET_SIZE) }
        .map(drop)
}

/// Ignores `signal`.
///
/// # Errors
/// As for [`set_default`].
#[cfg(not(beget_freestanding))]
pub fn ignore(signal: i32) -> Result<()> {
    let action = Action { handler: SIG_IGN, ..Action::default() };
    // SAFETY: the kernel reads an action on this stack; an ignored signal runs no code of ours.
    unsafe { arch::call4(nr::RT_SIGACTION, signal as usize, &raw const action as usize, 0, SET_SIZE) }
        .map(drop)
}

/// Whether the calling process ignores `signal`.
///
/// # Errors
/// `EINVAL` for numbers outside 1 to 64.
pub fn is_ignored(signal: i32) -> Result<bool> {
    let mut action = Action::default();
    // SAFETY: the kernel writes an action on this stack.
    unsafe { arch::call4(nr::RT_SIGACTION, signal as usize, 0, &raw mut action as usize, SET_SIZE) }?;
    Ok(action.handler == SIG_IGN)
}

/// Sends `signal` to a process, or to the group of that number when negative, or to the own group when zero (`man 2 kill`).
///
/// # Errors
/// `ESRCH` when there is none; `EPERM` when it may not be signalled; `EINVAL` for an unknown signal.
pub fn kill(process: i32, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { arch::call2(nr::KILL, process as usize, signal as usize) }.map(drop)
}

/// A descriptor from which the blocked signals of `set` can be read, close-on-exec and non-blocking (`man 2 signalfd`).
///
/// # Errors
/// `EMFILE`, `ENFILE`, `ENOMEM`.
#[cfg(not(beget_freestanding))]
pub fn descriptor(set: SignalSet) -> Result<OwnedFd> {
    // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
    raw_descriptor(set).map(|fd| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The same, as a number that nobody owns yet.
///
/// # Errors
/// As for [`descriptor`](fn@descriptor).
pub fn raw_descriptor(set: SignalSet) -> Result<i32> {
    const SFD_CLOEXEC_NONBLOCK: usize = 0o2_000_000 | 0o4_000;
    let new = usize::MAX;
    // SAFETY: the kernel reads eight bytes at `set`.
    unsafe { arch::call4(nr::SIGNALFD4, new, &raw const set.0 as usize, SET_SIZE, SFD_CLOEXEC_NONBLOCK) }
        .map(|fd| fd as i32)
}
