//! A descriptor to give: where it comes from, and how it is opened.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use beget_sys::Errno;
use rustix::fs::{Mode, OFlags};

/// Where a descriptor comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Source {
    /// A descriptor of this number that the caller has open; it is duplicated, and stays the caller's.
    Number(i32),
    /// A file, opened for reading, and for writing too if so.
    Path {
        /// Its path, from the caller's directory.
        path: PathBuf,
        /// Open for writing too. The file must be there.
        writing: bool,
    },
}

/// A descriptor to give by name, in the next free slot from 3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Descriptor {
    /// The slot's name.
    pub name: String,
    /// Where it comes from.
    pub source: Source,
}

impl Descriptor {
    /// Opens it. A pipe with a name is not waited for.
    ///
    /// # Errors
    /// `EBADF` for a number that is not open; those of `open(2)`.
    pub fn open(&self) -> std::result::Result<OwnedFd, Errno> {
        let (path, writing) = match &self.source {
            Source::Number(number) => return beget_sys::descriptor::take_up(*number),
            Source::Path { path, writing } => (path, *writing),
        };
        let number = |errno: rustix::io::Errno| Errno(errno.raw_os_error());
        let mode = if writing { OFlags::RDWR } else { OFlags::RDONLY };
        // A pipe with a name would make us wait for a writer, whoever put it there.
        let flags = mode | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK;
        let file = rustix::fs::open(path, flags, Mode::empty()).map_err(number)?;
        let flags = rustix::fs::fcntl_getfl(&file).map_err(number)?;
        rustix::fs::fcntl_setfl(&file, flags & !OFlags::NONBLOCK).map_err(number)?;
        Ok(file)
    }
}

/// As `--fd` takes it.
impl fmt::Display for Descriptor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source {
            Source::Number(number) => write!(f, "{}={number}", self.name),
            Source::Path { path, writing } => {
                write!(f, "{}={}{}", self.name, path.display(), if *writing { ":rw" } else { "" })
            }
        }
    }
}
