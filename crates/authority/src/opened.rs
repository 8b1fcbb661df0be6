//! Grants of files, opened: from here on a descriptor stands for each, and no name is looked up again.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use beget_sys::landlock::fs;
use rustix::fs::{FileType, Mode, OFlags, Stat};

use crate::error::Error;
use crate::{Grant, base};

/// Rights on a file, or on all below a directory, as bits of [`beget_sys::landlock::fs`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rights(pub u64);

impl Rights {
    /// Read files, list directories.
    pub const READ: Rights = Rights(fs::READ_FILE | fs::READ_DIR);
    /// Read and execute.
    pub const EXECUTE: Rights = Rights(Rights::READ.0 | fs::EXECUTE);
    /// Everything but executing and devices.
    pub const WRITE: Rights = Rights(
        Rights::READ.0
            | fs::WRITE_FILE
            | fs::TRUNCATE
            | fs::REMOVE_DIR
            | fs::REMOVE_FILE
            | fs::MAKE_DIR
            | fs::MAKE_REG
            | fs::MAKE_SOCK
            | fs::MAKE_FIFO
            | fs::MAKE_SYM
            | fs::REFER,
    );
    /// Use a device that does nothing when it is controlled.
    pub const DEVICE: Rights = Rights(fs::READ_FILE | fs::WRITE_FILE);
    /// Use and control the terminal.
    pub const TERMINAL: Rights = Rights(Rights::DEVICE.0 | fs::IOCTL_DEV);
}

impl fmt::Display for Rights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = vec!["read"];
        if self.0 & fs::WRITE_FILE != 0 {
            words.push("write");
        }
        if self.0 & fs::MAKE_REG != 0 {
            words.push("create, remove, rename");
        }
        if self.0 & fs::EXECUTE != 0 {
            words.push("execute");
        }
        if self.0 & fs::IOCTL_DEV != 0 {
            words.push("control");
        }
        f.write_str(&words.join(", "))
    }
}

/// A granted file or directory. A copy is the same open file.
#[derive(Clone, Debug)]
pub struct Opened {
    pub(crate) file: Arc<OwnedFd>,
    /// What may be done with it, masked by what it is.
    pub rights: Rights,
    /// The name it was asked for by.
    pub path: PathBuf,
    /// A directory: the rights are for all below it too.
    pub directory: bool,
    /// Where it is to lie in a private root, instead of at its own name.
    pub(crate) at: Option<PathBuf>,
    /// A device: nothing below it, and more than what is written in it.
    pub(crate) device: bool,
    /// A socket with a name.
    socket: bool,
    /// It was opened by its name, which tells where it is; a file that somebody opened already may be called anything.
    pub(crate) named: bool,
    /// The program, its interpreter or its loader, opened by whoever names it.
    pub(crate) program: bool,
    /// On a filesystem whose files live only as long as somebody holds them (`/proc`): the holder keeps it open.
    pub(crate) fleeting: bool,
}

/// The file, opened to mean it and no more.
impl AsFd for Opened {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Opened {
    /// A file that somebody opened already.
    ///
    /// # Errors
    /// Those of `fstat`.
    pub fn adopt(file: OwnedFd, rights: Rights, path: &Path) -> rustix::io::Result<Opened> {
        let status = rustix::fs::fstat(&file)?;
        Ok(Opened::of(file, rights, path, &status))
    }

    /// The same file, as one that the program cannot start without: it may be executed even where no other may.
    #[must_use]
    pub fn needed(self) -> Opened {
        Opened { program: true, ..self }
    }

    /// The same file, to execute as well.
    #[must_use]
    pub fn executable(self) -> Opened {
        Opened { rights: Rights(self.rights.0 | fs::EXECUTE), ..self }
    }

    fn of(file: OwnedFd, rights: Rights, path: &Path, status: &Stat) -> Opened {
        let kind = FileType::from_raw_mode(status.st_mode);
        let directory = kind == FileType::Directory;
        let device = matches!(kind, FileType::CharacterDevice | FileType::BlockDevice);
        // A right that does not fit the kind of file would make the kernel refuse the whole rule.
        let rights = if directory { rights } else { Rights(rights.0 & fs::ON_FILES) };
        Opened {
            file: Arc::new(file),
            rights,
            path: path.to_owned(),
            directory,
            at: None,
            device,
            socket: kind == FileType::Socket,
            named: false,
            program: false,
            fleeting: on_proc(status),
        }
    }

    /// Whether it is the program, its interpreter, its loader or a script.
    #[must_use]
    pub fn is_program(&self) -> bool {
        self.program
    }

    /// Where it really is, after following links; the name it was asked for by where `/proc` cannot tell.
    #[must_use]
    pub fn real_path(&self) -> PathBuf {
        real_path(&self.file).unwrap_or_else(|| self.path.clone())
    }
}

/// Where the file behind a descriptor is, as `/proc` tells it.
#[must_use]
pub fn real_path(file: impl AsFd) -> Option<PathBuf> {
    use std::os::fd::AsRawFd;
    std::fs::read_link(format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())).ok()
}

fn on_proc(status: &Stat) -> bool {
    static PROC: OnceLock<Option<u64>> = OnceLock::new();
    let device = PROC.get_or_init(|| rustix::fs::stat("/proc").ok().map(|status| status.st_dev));
    *device == Some(status.st_dev)
}

/// Opens what `grant` names, adding to `opened`; grants that name no file add nothing.
pub(crate) fn open(grant: &Grant, opened: &mut Vec<Opened>) -> Result<(), Error> {
    let (path, rights) = match grant {
        Grant::Read(path) => (path.as_path(), Rights::READ),
        Grant::Write(path) => (path.as_path(), Rights::WRITE),
        Grant::Execute(path) => (path.as_path(), Rights::EXECUTE),
        Grant::Terminal => (Path::new("/dev/tty"), Rights::TERMINAL),
        Grant::Base => return open_base(grant, opened),
        Grant::At(inner, at) => {
            let from = opened.len();
            open(inner, opened)?;
            for one in opened.iter_mut().skip(from) {
                one.at = Some(at.clone());
            }
            return Ok(());
        }
        // Connecting is no writing, and what lies there is not the program's to change.
        Grant::Unix(path) => (path.as_path(), Rights::READ),
        _ => return Ok(()),
    };
    let one = open_path(path, rights, OFlags::empty()).map_err(|errno| Error::grant(grant, errno))?;
    if matches!(grant, Grant::Unix(_)) && !one.socket {
        return Err(Error::senseless_grant(grant, "no Unix socket"));
    }
    if one.fleeting && is_own_process(&one) {
        let why = "that is the process asking, not the child";
        return Err(Error::senseless_grant(grant, why));
    }
    opened.push(one);
    Ok(())
}

/// Opens the devices that every private root has.
pub(crate) fn open_devices(opened: &mut Vec<Opened>) -> Result<(), Error> {
    let devices = base::DEVICES.iter().map(|path| (*path, Rights::DEVICE));
    // Whatever terminal the child has is its session's own.
    for (path, rights) in devices.chain([("/dev/tty", Rights::TERMINAL)]) {
        let there = |one: &Opened| {
            one.path == Path::new(path) && one.at.is_none() && one.rights.0 & rights.0 == rights.0
        };
        if opened.iter().any(there) {
            continue;
        }
        match open_path(Path::new(path), rights, OFlags::empty()) {
            Ok(one) => opened.push(one),
            Err(rustix::io::Errno::NOENT) => {}
            Err(errno) => {
                return Err(Error::kernel(&format!("root: {path}"), beget_sys::Errno(errno.raw_os_error())));
            }
        }
    }
    Ok(())
}

fn open_path(path: &Path, rights: Rights, more: OFlags) -> rustix::io::Result<Opened> {
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC | more, Mode::empty())?;
    let status = rustix::fs::fstat(&file)?;
    Ok(Opened { named: true, ..Opened::of(file, rights, path, &status) })
}

/// `/proc/self` and all below it, by whatever name: opened here, it means the caller, whose secrets are not the child's.
fn is_own_process(opened: &Opened) -> bool {
    let own = format!("/proc/{}", rustix::process::getpid().as_raw_nonzero());
    opened.real_path().starts_with(own)
}

/// Opens what is there of the system's own files. Their kinds are known, so nobody asks; a rule for one that is of another kind
/// after all is made by [`crate::ruleset`] with the rights of a file.
fn open_base(grant: &Grant, opened: &mut Vec<Opened>) -> Result<(), Error> {
    let mut optional = |path: &str, rights: Rights, directory: bool, more| {
        let flags = OFlags::PATH | OFlags::CLOEXEC | more;
        match rustix::fs::open(path, flags, Mode::empty()) {
            Ok(file) => {
                let rights = if directory { rights } else { Rights(rights.0 & fs::ON_FILES) };
                opened.push(Opened {
                    file: Arc::new(file),
                    rights,
                    path: path.into(),
                    directory,
                    at: None,
                    device: rights == Rights::DEVICE,
                    socket: false,
                    named: true,
                    program: false,
                    fleeting: false,
                });
                Ok(())
            }
            Err(rustix::io::Errno::NOENT | rustix::io::Errno::NOTDIR | rustix::io::Errno::LOOP) => Ok(()),
            Err(errno) => Err(Error::grant(grant, errno)),
        }
    };
    optional(base::PROGRAMS, Rights::EXECUTE, true, OFlags::empty())?;
    for path in base::OLD_PROGRAMS {
        optional(path, Rights::EXECUTE, true, OFlags::NOFOLLOW | OFlags::DIRECTORY)?;
    }
    for path in base::SETTINGS {
        optional(path, Rights::READ, false, OFlags::empty())?;
    }
    for path in base::SETTING_FOLDERS {
        optional(path, Rights::READ, true, OFlags::empty())?;
    }
    for version in base::PYTHONS {
        optional(&format!("/etc/python3.{version}"), Rights::READ, true, OFlags::empty())?;
    }
    for path in base::DEVICES {
        optional(path, Rights::DEVICE, false, OFlags::empty())?;
    }
    Ok(())
}
