//! A mount namespace of our own with cgroup version 2 alone, for peers that refuse to run where version 1 is mounted too.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

const CGROUPS: &CStr = c"/sys/fs/cgroup";

/// This process's mounts, until it is dropped.
pub struct OtherMounts {
    before: File,
    directory: PathBuf,
}

fn done(what: &str, answer: libc::c_int) -> Result<(), String> {
    if answer == 0 { Ok(()) } else { Err(format!("{what}: {}", std::io::Error::last_os_error())) }
}

impl OtherMounts {
    /// Enters them. Takes root, and a process of one thread, which this one is.
    pub fn enter() -> Result<OtherMounts, String> {
        let before = File::open("/proc/self/ns/mnt").map_err(|error| error.to_string())?;
        let directory = std::env::current_dir().map_err(|error| error.to_string())?;
        let none = std::ptr::null();
        // SAFETY: numbers, and strings that end in NUL.
        unsafe {
            done("unshare", libc::unshare(libc::CLONE_NEWNS))?;
            let other = OtherMounts { before, directory };
            let flags = libc::MS_REC | libc::MS_PRIVATE;
            done("mount", libc::mount(none, c"/".as_ptr(), none, flags, none.cast()))?;
            // It may be no mount point at all.
            let _ = libc::umount2(CGROUPS.as_ptr(), libc::MNT_DETACH);
            let kind = c"cgroup2".as_ptr();
            done("mount", libc::mount(kind, CGROUPS.as_ptr(), kind, 0, none.cast()))?;
            Ok(other)
        }
    }
}

impl Drop for OtherMounts {
    fn drop(&mut self) {
        // SAFETY: a number, and a descriptor that is ours.
        unsafe { libc::setns(self.before.as_raw_fd(), libc::CLONE_NEWNS) };
        let _ = std::env::set_current_dir(&self.directory);
    }
}
