//! The stub as a file to execute: sealed memory, made once in a process.
//!
//! Safety idea: what is executed can be changed by nobody, this process included; its mode, where the kernel does not seal that, is put
//! right before each use.

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::OnceLock;

use beget_plan::stub::PROGRAM;
use beget_sys::Errno;
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};

use crate::error::{Error, Fault, Result};

/// The stub, opened.
pub(crate) fn stub() -> Result<&'static OwnedFd> {
    static STUB: OnceLock<OwnedFd> = OnceLock::new();
    if let Some(stub) = STUB.get() {
        // A program that was loaded directly finds it at `/proc/self/exe`, and may change the mode of what its user owns. Where that is
        // not sealed it is put right.
        let _ = rustix::fs::fchmod(stub, Mode::from_raw_mode(0o500));
        return Ok(stub);
    }
    let made = match sealed("beget-stub", PROGRAM, true) {
        Ok(file) => file,
        // Executable memory is forbidden here (`vm.memfd_noexec`), or there is none: a file without a name, then.
        Err(errno @ (Errno::EACCES | Errno::EPERM | Errno::ENOSYS)) => unnamed().ok_or_else(|| {
            let words =
                format!("no memory can be executed ({errno}), and no folder for a file without a name");
            Error::new("nursery", words, Fault::Kernel)
        })?,
        Err(errno) => return Err(Error::kernel("nursery", errno, Fault::Kernel)),
    };
    Ok(STUB.get_or_init(|| made))
}

/// Sealed memory that holds `bytes`.
pub(crate) fn sealed(name: &str, bytes: &[u8], executable: bool) -> std::result::Result<OwnedFd, Errno> {
    let number = |errno: rustix::io::Errno| Errno(errno.raw_os_error());
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let kind = if executable { MemfdFlags::EXEC } else { MemfdFlags::NOEXEC_SEAL };
    let file = match rustix::fs::memfd_create(name, flags | kind) {
        // Before Linux 6.3 there are no such flags, and all memory can be executed.
        Err(rustix::io::Errno::INVAL) => rustix::fs::memfd_create(name, flags),
        other => other,
    };
    let file = file.map_err(number)?;
    write_all(&file, bytes).map_err(number)?;
    /// Nobody changes whether it may be executed, by whatever name (`F_SEAL_EXEC`, Linux 6.3).
    const MODE: SealFlags = SealFlags::from_bits_retain(0x20);
    let seals = SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE;
    match rustix::fs::fcntl_add_seals(&file, seals | MODE) {
        Err(rustix::io::Errno::INVAL) => rustix::fs::fcntl_add_seals(&file, seals).map_err(number)?,
        other => other.map_err(number)?,
    }
    Ok(file)
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match rustix::io::write(file, bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

/// A file without a name that holds the stub, in the first folder whose files may be executed.
fn unnamed() -> Option<OwnedFd> {
    use std::os::fd::{AsFd, AsRawFd};
    let folders = [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some(std::env::temp_dir())];
    let more = ["/dev/shm", "/var/tmp"].map(|folder| Some(PathBuf::from(folder)));
    folders.into_iter().chain(more).flatten().find_map(|folder| {
        let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
        let file = rustix::fs::open(folder, flags, Mode::from_raw_mode(0o500)).ok()?;
        write_all(&file, PROGRAM).ok()?;
        // Opened anew only to read: a file that is open for writing cannot be executed.
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let readable = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
        beget_sys::descriptor::may_execute(readable.as_fd()).ok()?;
        Some(readable)
    })
}
