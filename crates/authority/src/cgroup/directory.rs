//! A cgroup's directory, open, with the name that messages have for it, and its small files.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use beget_sys::Errno;
use rustix::fs::{Access, AtFlags, Mode, OFlags};

/// A directory of a cgroup filesystem.
#[derive(Debug)]
pub(super) struct Directory {
    file: OwnedFd,
    pub(super) path: PathBuf,
}

/// An error in the words that the rest of Beget has for it.
pub(super) fn words(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |number| Errno(number).to_string())
}

impl Directory {
    pub(super) fn open(path: &Path) -> Result<Directory, String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let file = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| format!("the cgroup {}: {}", path.display(), words(&errno.into())))?;
        Ok(Directory { file, path: path.to_owned() })
    }

    /// One of version 2 that somebody opened.
    pub(super) fn adopt(file: BorrowedFd<'_>) -> Result<Directory, String> {
        const VERSION_2: u64 = 0x6367_7270;
        let is_one = rustix::fs::fstatfs(file).is_ok_and(|status| status.f_type as u64 == VERSION_2);
        if !is_one {
            return Err("what was given as a cgroup is none of version 2".into());
        }
        let file = file.try_clone_to_owned().map_err(|error| words(&error))?;
        let path = crate::real_path(&file).unwrap_or_else(|| PathBuf::from("that was given"));
        Ok(Directory { file, path })
    }

    /// One of any version that somebody handed over.
    pub(super) fn handed(file: OwnedFd) -> rustix::io::Result<(Directory, bool)> {
        const VERSION_1: u64 = 0x0027_e0eb;
        const VERSION_2: u64 = 0x6367_7270;
        let unified = match rustix::fs::fstatfs(&file)?.f_type as u64 {
            VERSION_1 => false,
            VERSION_2 => true,
            _ => return Err(rustix::io::Errno::INVAL),
        };
        let path = crate::real_path(&file).unwrap_or_else(|| PathBuf::from("that was handed over"));
        Ok((Directory { file, path }, unified))
    }

    /// Whose it is.
    pub(super) fn owner(&self) -> rustix::io::Result<u32> {
        rustix::fs::fstat(&self.file).map(|status| status.st_uid)
    }

    /// One right below this one.
    pub(super) fn below(&self, name: &str) -> rustix::io::Result<Directory> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(&self.file, name, flags, Mode::empty())?;
        Ok(Directory { file, path: self.path.join(name) })
    }

    pub(super) fn open_file(&self, name: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        rustix::fs::openat(&self.file, name, flags | OFlags::CLOEXEC, Mode::empty())
    }

    /// What a file in it says; none where there is no such file.
    pub(super) fn read(&self, name: &str) -> Option<String> {
        let file = std::fs::File::from(self.open_file(name, OFlags::RDONLY).ok()?);
        io::read_to_string(file).ok()
    }

    pub(super) fn write(&self, name: &str, value: &str) -> rustix::io::Result<()> {
        let file = self.open_file(name, OFlags::WRONLY)?;
        rustix::io::write(&file, value.as_bytes()).map(drop)
    }

    /// Whether this user, as it is in effect now, may write an entry of it.
    pub(super) fn may_write(&self, name: &str) -> Result<(), String> {
        rustix::fs::accessat(&self.file, name, Access::WRITE_OK, AtFlags::EACCESS).map_err(|errno| {
            let entry = if name == "." { String::new() } else { format!("/{name}") };
            format!("{}{entry}: {}", self.path.display(), words(&errno.into()))
        })
    }

    pub(super) fn make(&self, name: &str) -> rustix::io::Result<()> {
        rustix::fs::mkdirat(&self.file, name, Mode::from_raw_mode(0o755))
    }

    /// Removes an empty group right below.
    pub(super) fn remove(&self, name: &str) -> rustix::io::Result<()> {
        rustix::fs::unlinkat(&self.file, name, AtFlags::REMOVEDIR)
    }

    /// The names of its entries.
    pub(super) fn names(&self) -> Vec<String> {
        let Ok(entries) = rustix::fs::Dir::read_from(&self.file) else { return Vec::new() };
        entries.flatten().filter_map(|entry| entry.file_name().to_str().ok().map(str::to_owned)).collect()
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
