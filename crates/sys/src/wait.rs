//! Waiting for a process by its pidfd, with its resource use, and asking after one whose status somebody else took.

#[cfg(not(beget_freestanding))]
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::{Errno, Result, arch, nr};

/// How a process ended or stopped, as `waitid` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// It ended by itself, with this code.
    Exited(i32),
    /// A signal ended it; whether it also dumped core.
    Killed(i32, bool),
    /// A signal stopped it.
    Stopped(i32),
    /// It goes on after a stop.
    Continued,
}

/// The part of `struct rusage` that Linux fills.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Seconds and microseconds in user mode.
    pub user: [i64; 2],
    /// Seconds and microseconds in the kernel.
    pub system: [i64; 2],
    /// Largest resident size, in KiB.
    pub resident_peak: i64,
    _unused: [i64; 3],
    /// Page faults without input or output.
    pub minor_faults: i64,
    /// Page faults that read from a device.
    pub major_faults: i64,
    _swaps: i64,
    /// Blocks of 512 bytes read.
    pub blocks_in: i64,
    /// Blocks of 512 bytes written.
    pub blocks_out: i64,
    _messages: [i64; 3],
    /// Times it waited by itself.
    pub voluntary_switches: i64,
    /// Times it was made to wait.
    pub involuntary_switches: i64,
}

impl Usage {
    /// As it lies in memory, for another process of this machine.
    #[must_use]
    pub fn bytes(&self) -> &[u8; 144] {
        // SAFETY: it is 144 bytes of numbers without a gap, and any bytes may be read.
        unsafe { &*core::ptr::from_ref(self).cast() }
    }

    /// What another process of this machine wrote so.
    #[must_use]
    pub fn from_bytes(bytes: &[u8; 144]) -> Usage {
        // SAFETY: any bytes are numbers; they need not be aligned.
        unsafe { core::ptr::from_ref(bytes).cast::<Usage>().read_unaligned() }
    }
}

/// Which changes to wait for, and how (`man 2 waitid`).
pub mod option {
    /// Do not wait: tell what is there.
    pub const NO_HANG: u32 = 1;
    /// Stops.
    pub const STOPPED: u32 = 2;
    /// Ends.
    pub const EXITED: u32 = 4;
    /// Going on after a stop.
    pub const CONTINUED: u32 = 8;
    /// Leave the status to be taken again.
    pub const NO_WAIT: u32 = 0x0100_0000;
    /// Children of any kind, also those without SIGCHLD as their exit signal.
    pub const ALL: u32 = 0x4000_0000;
}

/// `siginfo_t` as `waitid` fills it.
#[repr(C)]
#[derive(Default)]
struct Information {
    signal: i32,
    errno: i32,
    code: i32,
    _pad: i32,
    process: i32,
    user: u32,
    status: i32,
    _rest: [u32; 25],
}

const P_ALL: usize = 0;
const P_PID: usize = 1;
#[cfg(not(beget_freestanding))]
const P_PIDFD: usize = 3;

/// Waits for the child behind `pidfd`. `None` with [`option::NO_HANG`] when nothing changed.
///
/// # Errors
/// `ECHILD` when it is not a child of this process, or its status was taken; `EINTR`.
#[cfg(not(beget_freestanding))]
pub fn on(pidfd: BorrowedFd<'_>, options: u32) -> Result<Option<(Change, Usage)>> {
    Ok(wait(P_PIDFD, pidfd.as_raw_fd() as usize, options)?.map(|(_, change, usage)| (change, usage)))
}

/// Waits for the child of this number. Until it is reaped the number is its own, so only the process that reaps may use this.
///
/// # Errors
/// As for [`on`].
pub fn child(number: i32, options: u32) -> Result<Option<(Change, Usage)>> {
    Ok(wait(P_PID, number as usize, options)?.map(|(_, change, usage)| (change, usage)))
}

/// Waits for any child and gives its number.
///
/// # Errors
/// `ECHILD` when there is none left; `EINTR`.
pub fn any(options: u32) -> Result<Option<(i32, Change, Usage)>> {
    wait(P_ALL, 0, options)
}

fn wait(kind: usize, id: usize, options: u32) -> Result<Option<(i32, Change, Usage)>> {
    let mut information = Information::default();
    let mut usage = Usage::default();
    let (info, used) = (&raw mut information as usize, &raw mut usage as usize);
    // SAFETY: the kernel writes a siginfo (128 bytes) and a rusage (144 bytes), both on this stack.
    unsafe { arch::call5(nr::WAITID, kind, id, info, options as usize, used) }?;
    let status = information.status;
    let change = match information.code {
        _ if information.process == 0 => return Ok(None),
        1 => Change::Exited(status),
        2 => Change::Killed(status, false),
        3 => Change::Killed(status, true),
        4 | 5 => Change::Stopped(status),
        6 => Change::Continued,
        _ => return Err(Errno::EINVAL),
    };
    Ok(Some((information.process, change, usage)))
}

/// Sends `signal` to the process behind `pidfd`, never to another that got its number (`man 2 pidfd_send_signal`).
///
/// # Errors
/// `ESRCH` when it has ended; `EPERM`; `EINVAL` for an unknown signal.
#[cfg(not(beget_freestanding))]
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { arch::call4(nr::PIDFD_SEND_SIGNAL, pidfd.as_raw_fd() as usize, signal as usize, 0, 0) }.map(drop)
}

/// Sends `signal` to every process of the group that the process behind `pidfd` leads (`PIDFD_SIGNAL_PROCESS_GROUP`, Linux 6.9).
///
/// # Errors
/// `EINVAL` before Linux 6.9; `ESRCH` when there is none; `EPERM`.
#[cfg(not(beget_freestanding))]
pub fn send_signal_to_group(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    const PROCESS_GROUP: usize = 4;
    // SAFETY: no memory is passed.
    unsafe {
        arch::call4(nr::PIDFD_SEND_SIGNAL, pidfd.as_raw_fd() as usize, signal as usize, 0, PROCESS_GROUP)
    }
    .map(drop)
}

/// `struct pidfd_info`, as of Linux 6.13.
#[cfg(not(beget_freestanding))]
#[repr(C)]
#[derive(Default)]
struct Known {
    mask: u64,
    cgroup: u64,
    numbers: [u32; 3],
    credentials: [u32; 8],
    exit_code: i32,
}

#[cfg(not(beget_freestanding))]
fn known(pidfd: BorrowedFd<'_>, mask: u64) -> Result<Known> {
    const GET_INFO: usize = 0xc040_ff0b;
    let mut known = Known { mask, ..Known::default() };
    // SAFETY: the request's number says 64 bytes, which is this structure's size, and the kernel writes no more.
    unsafe { arch::call3(nr::IOCTL, pidfd.as_raw_fd() as usize, GET_INFO, &raw mut known as usize) }?;
    Ok(known)
}

/// The wait status of an ended process whose status somebody else took (`PIDFD_GET_INFO`, Linux 6.15).
///
/// # Errors
/// `ENOTTY` or `EINVAL` before Linux 6.13; `ENODATA` when the kernel does not keep it, or the process has not been reaped.
#[cfg(not(beget_freestanding))]
pub fn taken_status(pidfd: BorrowedFd<'_>) -> Result<i32> {
    const EXIT: u64 = 1 << 3;
    let known = known(pidfd, EXIT)?;
    if known.mask & EXIT != 0 { Ok(known.exit_code) } else { Err(Errno::ENODATA) }
}

/// The number that a process has in the caller's namespace (`PIDFD_GET_INFO`, Linux 6.13).
///
/// # Errors
/// `ENOTTY` or `EINVAL` before Linux 6.13; `ESRCH` when it is gone.
#[cfg(not(beget_freestanding))]
pub fn number(pidfd: BorrowedFd<'_>) -> Result<u32> {
    const PROCESS: u64 = 1;
    let [number, ..] = known(pidfd, PROCESS)?.numbers;
    if number == 0 { Err(Errno::ESRCH) } else { Ok(number) }
}

const _: () = assert!(size_of::<Information>() == 128 && size_of::<Usage>() == 144);
