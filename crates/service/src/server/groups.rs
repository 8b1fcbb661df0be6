//! The cgroups of a domain, ended and removed when its processes are gone.
//!
//! Safety idea: a folder came with the request; it is used only when it lies in a hierarchy of cgroups that this machine shows us, for a file
//! system of somebody's making could keep us waiting for ever. No name leads out of it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags};

/// The most cgroups of one domain: one of version 2, or one for each controller of version 1.
pub(crate) const MOST: usize = 16;

type Device = (u32, u32);

/// The hierarchies there are.
#[derive(Debug)]
pub(crate) struct Hierarchies(Vec<Device>);

/// The device that a descriptor lies on; nobody is asked for it.
fn device(of: impl AsFd, name: &str) -> Option<(Device, bool)> {
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC | AtFlags::SYMLINK_NOFOLLOW;
    let stat = rustix::fs::statx(of, name, flags, StatxFlags::TYPE).ok()?;
    let folder = stat.stx_mode & 0o170_000 == 0o040_000;
    Some(((stat.stx_dev_major, stat.stx_dev_minor), folder))
}

impl Hierarchies {
    /// Looks for them at their usual place.
    pub(crate) fn find() -> Hierarchies {
        let mut found = Vec::new();
        let folder = |path: &std::path::Path| {
            rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()
        };
        let root = std::path::Path::new("/sys/fs/cgroup");
        let below = std::fs::read_dir(root).into_iter().flatten().flatten().map(|entry| entry.path());
        for path in std::iter::once(root.to_owned()).chain(below) {
            let file = folder(&path);
            let is_one = file.as_ref().is_some_and(|file| {
                const CGROUP: u64 = 0x0027_e0eb;
                const CGROUP2: u64 = 0x6367_7270;
                rustix::fs::fstatfs(file).is_ok_and(|stat| [CGROUP, CGROUP2].contains(&(stat.f_type as u64)))
            });
            if is_one
                && let Some((device, _)) = file.and_then(|file| device(file, ""))
                && !found.contains(&device)
            {
                found.push(device);
            }
        }
        Hierarchies(found)
    }

    /// Whether this is a folder of one of them.
    pub(crate) fn have(&self, folder: impl AsFd) -> bool {
        device(folder, "").is_some_and(|(device, is_folder)| is_folder && self.0.contains(&device))
    }
}

/// Whether a cgroup may have this name: one name, of a folder below.
pub(crate) fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() <= 255 && !name.contains(['/', '\0']) && name != "." && name != ".."
}

/// Ends every process in a cgroup and removes it; whether nothing is left of it.
pub(crate) fn remove(folder: &OwnedFd, name: &str) -> bool {
    use rustix::io::Errno;
    let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDONLY;
    let gone = |errno| matches!(errno, Errno::NOENT | Errno::NODEV);
    match rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR) {
        Ok(()) => return true,
        Err(errno) if gone(errno) => return true,
        Err(_) => {}
    }
    let Ok(group) = rustix::fs::openat(folder, name, flags, Mode::empty()) else { return false };
    let file = |name: &str, flags| rustix::fs::openat(&group, name, flags | OFlags::CLOEXEC, Mode::empty());
    let write =
        |name, text: &[u8]| file(name, OFlags::WRONLY).and_then(|file| rustix::io::write(&file, text));
    let _ = write("pids.max", b"0");
    if write("cgroup.kill", b"1").is_err() {
        kill_each(&group);
    }
    // Groups that its processes made themselves.
    if let Ok(entries) = rustix::fs::Dir::read_from(&group) {
        for entry in entries.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type() == rustix::fs::FileType::Directory && is_name(&name) {
                remove(&group, &name);
            }
        }
    }
    rustix::fs::unlinkat(folder, name, AtFlags::REMOVEDIR).map_or_else(gone, |()| true)
}

/// Before Linux 5.14, and in version 1: each by a pidfd, once it is certain that it means one of the group.
fn kill_each(group: &OwnedFd) {
    use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
    let listed = || -> Vec<i32> {
        let file = rustix::fs::openat(group, "cgroup.procs", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let mut bytes = [0; 16 << 10];
        let count = file.and_then(|file| rustix::io::read(&file, &mut bytes)).unwrap_or(0);
        let text = String::from_utf8_lossy(&bytes[..count]).into_owned();
        text.lines().filter_map(|line| line.parse().ok()).collect()
    };
    let held = listed().into_iter().filter_map(|number| {
        let pid = Pid::from_raw(number)?;
        Some((number, pidfd_open(pid, PidfdFlags::empty()).ok()?))
    });
    let held: Vec<(i32, OwnedFd)> = held.collect();
    let still = listed();
    for (_, pidfd) in held.iter().filter(|(number, _)| still.contains(number)) {
        let _ = pidfd_send_signal(pidfd, Signal::KILL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_elsewhere_is_none() {
        let hierarchies = Hierarchies::find();
        assert!(!hierarchies.have(std::fs::File::open("/").unwrap()));
        assert!(!hierarchies.have(std::fs::File::open("/dev/null").unwrap()));
        assert!(is_name("beget-1-2") && !is_name("..") && !is_name("a/b") && !is_name("") && !is_name("a\0"));
    }
}
