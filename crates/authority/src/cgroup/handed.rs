//! Groups that change hands: made by one process for a birth that another one gives, which ends and removes them.
//!
//! Safety idea: what is handed over is a directory, open, and a name in it; whoever takes it over is told whose the group must be, and that it is a
//! group that Beget makes, so that nobody has another's processes ended in his place.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use beget_sys::Errno;
use rustix::fs::FlockOperation;

use super::group::{Group, PREFIX, Part, failed};
use super::{Means, site};
use crate::cgroup::directory::Directory;
use crate::error::{Error, Reason};

/// Where one group lies.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The directory that it is in.
    pub folder: BorrowedFd<'a>,
    /// Its name there.
    pub name: &'a str,
    /// Its own directory. While somebody holds a copy of this descriptor, nobody takes the group for one that was left behind.
    pub group: BorrowedFd<'a>,
}

impl Group {
    /// Where its groups lie, for somebody else to take them over.
    pub fn places(&self) -> impl Iterator<Item = Place<'_>> {
        self.with_sites().map(|(site, part)| Place {
            folder: site.directory.as_fd(),
            name: &part.name,
            group: part.directory.as_fd(),
        })
    }

    /// Lets go of it for good: somebody else has taken it over.
    pub fn hand_over(mut self) {
        self.parts.clear();
    }

    /// Takes over groups that another process has made: for each the directory that it is in, and its name there. `owner`: the user who must
    /// have made them. From now on they are ended and removed by this process, as if it had made them.
    ///
    /// # Errors
    /// A directory that is no cgroup; a name that Beget gives to none; a group that is not there, or another user's.
    pub fn take_over(
        places: impl IntoIterator<Item = (OwnedFd, String)>,
        owner: u32,
    ) -> Result<Group, Error> {
        let (mut sites, mut parts) = (Vec::new(), Vec::new());
        for (folder, name) in places {
            let (folder, unified) = Directory::handed(folder).map_err(|errno| Error {
                part: format!("cgroup {}", name.escape_debug()),
                reason: Reason::Kernel(Errno(errno.raw_os_error())),
            })?;
            let wrong = |errno| failed(&folder.path, &format!("/{}", name.escape_debug()), errno);
            let mut words = name.split('-');
            let is_ours = words.next() == Some(PREFIX)
                && words.next().is_some_and(|word| word.parse::<u32>().is_ok())
                && words.next().is_some_and(|word| word.parse::<u64>().is_ok())
                && words.next().is_none();
            if !is_ours {
                return Err(wrong(rustix::io::Errno::INVAL));
            }
            let directory = folder.below(&name).map_err(wrong)?;
            if directory.owner().map_err(wrong)? != owner {
                return Err(wrong(rustix::io::Errno::PERM));
            }
            rustix::fs::flock(&directory, FlockOperation::NonBlockingLockShared).map_err(wrong)?;
            sites.push(site::handed(folder, unified));
            parts.push(Part { name, directory });
        }
        let means = Arc::new(Means { sites, ..Means::default() });
        Ok(Group { means, parts, entries: Vec::new(), born_there: false, maker: std::process::id() })
    }
}
