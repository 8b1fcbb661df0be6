//! Landlock: rulesets are built outside, as descriptors; a newborn only applies one (`man 7 landlock`).

#[cfg(not(beget_freestanding))]
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use crate::{Result, arch, nr};

/// Rights on files; each names the ABI that brought it.
pub mod fs {
    /// Execute a file.
    pub const EXECUTE: u64 = 1 << 0;
    /// Open a file for writing.
    pub const WRITE_FILE: u64 = 1 << 1;
    /// Open a file for reading.
    pub const READ_FILE: u64 = 1 << 2;
    /// List a directory.
    pub const READ_DIR: u64 = 1 << 3;
    /// Remove an empty directory or rename one.
    pub const REMOVE_DIR: u64 = 1 << 4;
    /// Unlink or rename a file.
    pub const REMOVE_FILE: u64 = 1 << 5;
    /// Make a character device.
    pub const MAKE_CHAR: u64 = 1 << 6;
    /// Make a directory.
    pub const MAKE_DIR: u64 = 1 << 7;
    /// Make a regular file.
    pub const MAKE_REG: u64 = 1 << 8;
    /// Make a Unix socket.
    pub const MAKE_SOCK: u64 = 1 << 9;
    /// Make a named pipe.
    pub const MAKE_FIFO: u64 = 1 << 10;
    /// Make a block device.
    pub const MAKE_BLOCK: u64 = 1 << 11;
    /// Make a symbolic link.
    pub const MAKE_SYM: u64 = 1 << 12;
    /// Link or rename between directories (ABI 2, Linux 5.19).
    pub const REFER: u64 = 1 << 13;
    /// Truncate a file (ABI 3, Linux 6.2).
    pub const TRUNCATE: u64 = 1 << 14;
    /// `ioctl` on a device opened afterwards (ABI 5, Linux 6.10).
    pub const IOCTL_DEV: u64 = 1 << 15;
    /// The rights that make sense on what is not a directory.
    pub const ON_FILES: u64 = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV;
}

/// Rights on TCP ports (ABI 4, Linux 6.7).
pub mod net {
    /// Bind a TCP socket to a port.
    pub const BIND_TCP: u64 = 1 << 0;
    /// Connect a TCP socket to a port.
    pub const CONNECT_TCP: u64 = 1 << 1;
}

/// What stays inside the domain (ABI 6, Linux 6.12).
pub mod scope {
    /// No connection to an abstract Unix socket made outside.
    pub const ABSTRACT_UNIX_SOCKET: u64 = 1 << 0;
    /// No signal to a process outside.
    pub const SIGNAL: u64 = 1 << 1;
}

/// `struct landlock_ruleset_attr`: what a ruleset handles, and so refuses unless a rule allows it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Handled {
    /// Bits of [`fs`].
    pub fs: u64,
    /// Bits of [`net`].
    pub net: u64,
    /// Bits of [`scope`].
    pub scope: u64,
}

const RULE_PATH_BENEATH: usize = 1;
#[cfg(not(beget_freestanding))]
const RULE_NET_PORT: usize = 2;

/// The ABI of the running kernel's Landlock, from 1.
///
/// # Errors
/// `ENOSYS` when the kernel was built without it; `EOPNOTSUPP` when it was not enabled at boot.
#[cfg(not(beget_freestanding))]
pub fn abi() -> Result<u32> {
    const VERSION: usize = 1;
    // SAFETY: with this flag the kernel reads no memory.
    unsafe { arch::call3(nr::LANDLOCK_CREATE_RULESET, 0, 0, VERSION) }.map(|abi| abi as u32)
}

/// A new ruleset, close-on-exec.
///
/// # Errors
/// `EINVAL` or `E2BIG` when a bit is newer than the kernel; `ENOMSG` when nothing is handled; `EOPNOTSUPP`, `ENOSYS`.
#[cfg(not(beget_freestanding))]
pub fn create(handled: &Handled) -> Result<OwnedFd> {
    // A kernel before ABI 6 knows a shorter structure and refuses set bytes beyond; zero bytes beyond are accepted.
    let size = size_of::<Handled>();
    // SAFETY: the kernel reads `size` bytes of a structure that is borrowed for the call.
    let fd =
        unsafe { arch::call3(nr::LANDLOCK_CREATE_RULESET, handled as *const Handled as usize, size, 0) }?;
    // SAFETY: the kernel just gave us this descriptor and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

/// Allows `rights` on the file `at`, and on all below it when it is a directory.
///
/// # Errors
/// `EINVAL` when a right does not fit the kind of file or is not handled; `EBADFD` when `at` is on no real filesystem.
#[cfg(not(beget_freestanding))]
pub fn allow_path(ruleset: BorrowedFd<'_>, at: BorrowedFd<'_>, rights: u64) -> Result<()> {
    allow(ruleset.as_raw_fd(), at.as_raw_fd(), rights)
}

/// The same by numbers.
pub(crate) fn allow(ruleset: i32, at: i32, rights: u64) -> Result<()> {
    #[repr(C, packed)]
    struct PathBeneath {
        rights: u64,
        at: i32,
    }
    let rule = PathBeneath { rights, at };
    let rule = &raw const rule as usize;
    // SAFETY: the kernel reads a rule that lives on this stack.
    unsafe { arch::call4(nr::LANDLOCK_ADD_RULE, ruleset as usize, RULE_PATH_BENEATH, rule, 0) }.map(drop)
}

/// Allows `rights` on the TCP port `port`.
///
/// # Errors
/// `EINVAL` when a right is not handled; `EAFNOSUPPORT` when the kernel has no TCP.
#[cfg(not(beget_freestanding))]
pub fn allow_port(ruleset: BorrowedFd<'_>, port: u16, rights: u64) -> Result<()> {
    #[repr(C)]
    struct NetPort {
        rights: u64,
        port: u64,
    }
    let rule = NetPort { rights, port: port.into() };
    let (rule, ruleset) = (&raw const rule as usize, ruleset.as_raw_fd() as usize);
    // SAFETY: the kernel reads a rule that lives on this stack.
    unsafe { arch::call4(nr::LANDLOCK_ADD_RULE, ruleset, RULE_NET_PORT, rule, 0) }.map(drop)
}

/// Binds the calling thread, and all it will start, to the ruleset, for ever.
///
/// # Errors
/// `EPERM` without no_new_privs; `E2BIG` past sixteen nested rulesets; `EBADF`, `EBADFD` when it is no ruleset.
pub fn restrict_self(ruleset: i32) -> Result<()> {
    // SAFETY: no memory is passed.
    unsafe { arch::call2(nr::LANDLOCK_RESTRICT_SELF, ruleset as usize, 0) }.map(drop)
}
