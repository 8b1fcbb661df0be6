//! A private root: the whole tree of files that a child sees. What is not granted does not exist there.
//!
//! Safety idea: the tree is worked out here, outside, from what was opened; each part of the old root in it is named together with the open
//! descriptor that it must turn out to be.

mod layout;
mod links;
mod order;
mod outside;
mod places;
mod wanted;

use std::path::{Path, PathBuf};

use crate::Grant;
use crate::error::Error;

pub use layout::{Item, Layout, Source};

/// What a private root holds beside the granted files.
///
/// It always has a `/proc` of its own processes, a `/dev` with `null`, `zero`, `full`, `random`, `urandom`, `tty`, `ptmx`, `pts` and `shm`, and
/// a `/tmp` in memory; `/` itself is read-only. Granted files lie at their own names, links on the way to them included.
///
/// It takes user namespaces (`man 7 user_namespaces`), which some systems refuse, and Linux 5.12; 5.14 to keep changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Root {
    pub(crate) host_name: String,
    pub(crate) user: Option<u32>,
    pub(crate) group: Option<u32>,
    pub(crate) temporary: u64,
    pub(crate) entries: Vec<Entry>,
}

/// Something put into a root that is no granted file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    File { at: PathBuf, contents: Vec<u8> },
    Link { at: PathBuf, target: PathBuf },
    Directory { at: PathBuf },
    Memory { at: PathBuf, size: u64 },
    Scratch { path: PathBuf, at: Option<PathBuf>, keep: Option<PathBuf> },
}

/// Room in `/tmp`, and in each place of memory whose size is not given, in bytes. Memory is used only for what lies there.
pub const ROOM: u64 = 512 << 20;

impl Default for Root {
    fn default() -> Root {
        Root::new()
    }
}

impl Root {
    /// One that holds what is granted and nothing else.
    #[must_use]
    pub fn new() -> Root {
        Root { host_name: "beget".to_owned(), user: None, group: None, temporary: ROOM, entries: Vec::new() }
    }

    /// The name of the machine as seen inside, instead of `beget`; 1 to 64 bytes.
    #[must_use]
    pub fn host_name(mut self, name: impl Into<String>) -> Root {
        self.host_name = name.into();
        self
    }

    /// The user's number as seen inside, instead of the caller's own. It changes what is seen, not what may be done.
    #[must_use]
    pub fn uid(mut self, user: u32) -> Root {
        self.user = Some(user);
        self
    }

    /// The group's number as seen inside, instead of the caller's own.
    #[must_use]
    pub fn gid(mut self, group: u32) -> Root {
        self.group = Some(group);
        self
    }

    /// Room in `/tmp` in bytes, instead of [`ROOM`]; more than 0.
    #[must_use]
    pub fn tmp_size(mut self, bytes: u64) -> Root {
        self.temporary = bytes;
        self
    }

    /// A file with these contents, to read.
    #[must_use]
    pub fn file(self, at: impl AsRef<Path>, contents: impl Into<Vec<u8>>) -> Root {
        self.with(Entry::File { at: at.as_ref().to_owned(), contents: contents.into() })
    }

    /// A symbolic link at `at` that says `target`.
    #[must_use]
    pub fn symlink(self, at: impl AsRef<Path>, target: impl AsRef<Path>) -> Root {
        self.with(Entry::Link { at: at.as_ref().to_owned(), target: target.as_ref().to_owned() })
    }

    /// An empty directory, to read.
    #[must_use]
    pub fn directory(self, at: impl AsRef<Path>) -> Root {
        self.with(Entry::Directory { at: at.as_ref().to_owned() })
    }

    /// An empty directory in memory, to write, with room for so many bytes, more than 0; gone at the end.
    #[must_use]
    pub fn tmpfs(self, at: impl AsRef<Path>, bytes: u64) -> Root {
        self.with(Entry::Memory { at: at.as_ref().to_owned(), size: bytes })
    }

    /// The directory `path` to write, where what is changed is in memory and gone at the end: the original stays as it is (overlayfs).
    #[must_use]
    pub fn scratch(self, path: impl AsRef<Path>) -> Root {
        self.with(Entry::Scratch { path: path.as_ref().to_owned(), at: None, keep: None })
    }

    /// Where the last [`scratch`](Root::scratch) lies, instead of at its own name.
    #[must_use]
    pub fn scratch_at(mut self, place: impl AsRef<Path>) -> Root {
        if let Some(Entry::Scratch { at, .. }) = self.entries.last_mut() {
            *at = Some(place.as_ref().to_owned());
        }
        self
    }

    /// What the last [`scratch`](Root::scratch) changes is kept below the directory `folder`, in `folder/changes`, and found there by the next that
    /// names it; what was removed is there as a character device 0/0 (`man 5 overlayfs`). The folder must be on a filesystem that takes
    /// `user.` attributes, and is not in use by another at the same time.
    #[must_use]
    pub fn keep(mut self, folder: impl AsRef<Path>) -> Root {
        if let Some(Entry::Scratch { keep, .. }) = self.entries.last_mut() {
            *keep = Some(folder.as_ref().to_owned());
        }
        self
    }

    /// Whether nothing was put in: then a program that can do without a root misses nothing that it was to have.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The folders in which changes are kept ([`keep`](Root::keep)).
    pub fn kept(&self) -> impl Iterator<Item = &Path> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Scratch { keep, .. } => keep.as_deref(),
            _ => None,
        })
    }

    /// Whether the last thing put in is a [`scratch`](Root::scratch).
    #[must_use]
    pub fn ends_in_scratch(&self) -> bool {
        matches!(self.entries.last(), Some(Entry::Scratch { .. }))
    }

    fn with(mut self, entry: Entry) -> Root {
        self.entries.push(entry);
        self
    }
}

/// Whether what is granted is of the network outside: then a root has no network of its own.
pub(crate) fn wants_network(grants: &[Grant]) -> bool {
    let outside = |grant: &Grant| {
        matches!(grant, Grant::Net | Grant::InetDns | Grant::TcpConnect(_) | Grant::TcpBind(_))
    };
    grants.iter().any(outside)
}

/// Grants that mean something only in a private root, or only with each other.
pub(crate) fn check_grants(grants: &[Grant], root: Option<&Root>) -> Result<(), Error> {
    let outside = wants_network(grants);
    for grant in grants {
        let why = match grant {
            Grant::At(inner, _)
                if !matches!(
                    **inner,
                    Grant::Read(_) | Grant::Write(_) | Grant::Execute(_) | Grant::Unix(_)
                ) =>
            {
                "only files lie at another place"
            }
            Grant::At(..) if root.is_none() => "another place is there only in a private root: add --root",
            Grant::Unix(_) if root.is_none() => {
                "this kernel limits Unix sockets by path only in a private root: add --root, or grant an open socket with --fd"
            }
            Grant::Loopback if root.is_none() => {
                "a loopback interface of its own is there only in a private root: add --root"
            }
            Grant::Loopback if outside => "with the network outside it has no loopback interface of its own",
            _ => continue,
        };
        return Err(Error::senseless_grant(grant, why));
    }
    Ok(())
}
