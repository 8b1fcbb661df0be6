//! The stub as a file to execute, made once in a process.
//!
//! Safety idea: what is executed can be changed by nobody, this process included; its mode, where the kernel does not seal that, is put
//! right before each use.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use beget_plan::nursery::open_stub;
use beget_sys::Errno;
use rustix::fs::Mode;

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
    let made = open_stub().map_err(|errno| match errno {
        Errno::EACCES | Errno::EPERM | Errno::ENOSYS => {
            let words =
                format!("no memory can be executed ({errno}), and no folder for a file without a name");
            Error::new("nursery", words, Fault::Kernel)
        }
        errno => Error::kernel("nursery", errno, Fault::Kernel),
    })?;
    Ok(STUB.get_or_init(|| made))
}
