//! One group, for one tree: made, joined, emptied, read, removed.
//!
//! Safety idea: whoever holds a [`Group`] holds its directories open and locked. One whose maker was killed is found by its name, which
//! has the maker's number, and by the lock, which the kernel has taken back; it is removed by the next who makes one in the same place, if it
//! is empty. Nothing that runs is ended for its sake.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use beget_sys::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::directory::Directory;
use super::site::Site;
use super::{Means, TreeUsage};
use crate::error::{Error, Reason};

/// How long a group that is being ended may take to become empty: a process can wait in the kernel for a device.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a group that ought to be empty is given to be so: a process that was reaped may be counted for a moment more.
const MOMENT: Duration = Duration::from_secs(1);
/// What the names of groups begin with.
pub(super) const PREFIX: &str = "beget";

/// Groups that hold processes which nobody holds any more. Each is removed when it is found empty.
static LET_GO: Mutex<VecDeque<Group>> = Mutex::new(VecDeque::new());

/// Removes the groups of processes that were let go of and have ended since. Making a group looks at some of them too.
pub fn sweep() {
    sweep_some(usize::MAX);
}

/// The same for those that were not looked at for the longest: one birth is not to pay for all that runs.
fn sweep_some(most: usize) {
    let lock = || LET_GO.lock().unwrap_or_else(PoisonError::into_inner);
    let mut taken: Vec<Group> = {
        let mut groups = lock();
        let count = groups.len().min(most);
        groups.drain(..count).collect()
    };
    taken.retain_mut(|group| group.is_mine() && !group.remove_now());
    lock().extend(taken);
}

/// The cgroups of one tree of processes.
///
/// Dropping it removes them; what runs in them still goes on, and then they are removed later, by this process or by whoever next makes groups in
/// the same place.
#[derive(Debug)]
pub struct Group {
    pub(super) means: Arc<Means>,
    /// One for each site.
    pub(super) parts: Vec<Part>,
    /// What a newborn joins by itself.
    pub(super) entries: Vec<OwnedFd>,
    pub(super) born_there: bool,
    /// A copy of this process has no say in what becomes of it.
    pub(super) maker: u32,
}

#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    pub(super) directory: Directory,
}

pub(super) fn failed(directory: &Path, file: &str, errno: rustix::io::Errno) -> Error {
    let part = format!("cgroup {}{}{file}", directory.display(), if file.is_empty() { "" } else { ": " });
    Error { part, reason: Reason::Kernel(Errno(errno.raw_os_error())) }
}

impl Group {
    /// Makes and limits the groups for one birth. `born_there`: the newborn is born in that of version 2
    /// (`CLONE_INTO_CGROUP`) and need not join it.
    ///
    /// # Errors
    /// What the kernel refused, with the directory and the file. Nothing is left then.
    pub fn make(means: &Arc<Means>, born_there: bool) -> Result<Group, Error> {
        sweep_some(32);
        let (parts, entries) = (Vec::new(), Vec::new());
        let mut group =
            Group { means: Arc::clone(means), parts, entries, born_there, maker: std::process::id() };
        for site in &means.sites {
            prepare(site)?;
            let part = Part::make(site)?;
            group.parts.push(part);
            let Some(Part { directory, .. }) = group.parts.last() else { continue };
            let path = directory.path.as_path();
            // A lock of our own upon it, for as long as this process lives; its maker's number alone could come to be another's.
            rustix::fs::flock(directory, FlockOperation::NonBlockingLockShared)
                .map_err(|errno| failed(path, "", errno))?;
            for setting in &site.settings {
                match directory.write(setting.file, &setting.value) {
                    Ok(()) => {}
                    Err(rustix::io::Errno::NOENT) if setting.optional => {}
                    Err(errno) => return Err(failed(path, setting.file, errno)),
                }
            }
            if !(born_there && site.is_unified()) {
                const ENTRY: &str = "cgroup.procs";
                let entry =
                    directory.open_file(ENTRY, OFlags::WRONLY).map_err(|errno| failed(path, ENTRY, errno))?;
                group.entries.push(entry);
            }
        }
        Ok(group)
    }

    /// The directory of version 2 to be born in, if the newborn is to be born there.
    #[must_use]
    pub fn cradle(&self) -> Option<BorrowedFd<'_>> {
        let mut unified = self.with_sites().filter(|(site, _)| self.born_there && site.is_unified());
        unified.next().map(|(_, part)| part.directory.as_fd())
    }

    /// The open `cgroup.procs` that a newborn joins by itself.
    #[must_use]
    pub fn entry(&self, index: usize) -> Option<BorrowedFd<'_>> {
        self.entries.get(index).map(AsFd::as_fd)
    }

    pub(super) fn with_sites(&self) -> impl Iterator<Item = (&Site, &Part)> {
        self.means.sites.iter().zip(&self.parts)
    }

    fn is_mine(&self) -> bool {
        self.maker == std::process::id()
    }

    /// Ends every process in it with SIGKILL, and returns when it is empty, or after ten seconds when one cannot be ended.
    pub fn kill(&self) {
        if !self.is_mine() {
            return;
        }
        let until = Instant::now() + PATIENCE;
        for part in &self.parts {
            // So that none comes for each that goes; where processes are not counted, whoever is faster wins in the end.
            let _ = part.directory.write("pids.max", "0");
        }
        for (site, part) in self.with_sites() {
            // From Linux 5.14 on, and version 2.
            let at_once = site.is_unified() && part.directory.write("cgroup.kill", "1").is_ok();
            while Instant::now() < until {
                let left = part.processes();
                if left.is_empty() {
                    break;
                }
                if !at_once {
                    part.kill(&left);
                }
                part.await_change();
            }
        }
    }

    /// Ends every process in it, gives what all of them used, and removes it.
    #[must_use]
    pub fn end(self) -> TreeUsage {
        self.kill();
        let mut used = TreeUsage::default();
        for (site, part) in self.with_sites() {
            if site.is_unified() {
                used.read_unified(&part.directory);
            } else {
                used.read_separate(&part.directory);
            }
        }
        used
    }

    /// Lets go of it with what runs in it.
    pub fn let_go(mut self) {
        if self.is_mine() && !self.remove_now() {
            LET_GO.lock().unwrap_or_else(PoisonError::into_inner).push_back(self);
        }
    }

    /// Removes what is empty; whether nothing is left.
    fn remove_now(&mut self) -> bool {
        while let Some(part) = self.parts.last() {
            let Some(site) = self.means.sites.get(self.parts.len() - 1) else { return true };
            match site.directory.remove(&part.name) {
                Ok(()) | Err(rustix::io::Errno::NOENT | rustix::io::Errno::NODEV) => {}
                Err(_) => return false,
            }
            self.parts.pop();
        }
        true
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if !self.is_mine() {
            return;
        }
        let until = Instant::now() + MOMENT;
        while !self.remove_now() && Instant::now() < until {
            // One that holds a process is not waited for.
            if self.parts.iter().any(|part| !part.processes().is_empty()) {
                let (parts, entries) = (Vec::new(), Vec::new());
                let means = Arc::clone(&self.means);
                let empty = Group { means, parts, entries, born_there: false, maker: 0 };
                return std::mem::replace(self, empty).let_go();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

impl Part {
    fn make(site: &Site) -> Result<Part, Error> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let directory = &site.directory;
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let name = format!("{PREFIX}-{}-{number}", std::process::id());
            match directory.make(&name) {
                Ok(()) => {
                    let made = directory.below(&name).map_err(|errno| {
                        let _ = directory.remove(&name);
                        failed(&directory.path, &name, errno)
                    })?;
                    return Ok(Part { name, directory: made });
                }
                // Left by another who had this number.
                Err(rustix::io::Errno::EXIST) => {}
                Err(errno) => return Err(failed(&directory.path, "a group below it", errno)),
            }
        }
    }

    fn processes(&self) -> Vec<i32> {
        let list = self.directory.read("cgroup.procs").unwrap_or_default();
        list.lines().filter_map(|line| line.parse().ok()).collect()
    }

    /// Kills those of `listed` that are in the group. A number that came to mean another meanwhile is not in the group, or is of it.
    fn kill(&self, listed: &[i32]) {
        let held = listed.iter().filter_map(|number| {
            let pid = Pid::from_raw(*number)?;
            Some((*number, pidfd_open(pid, PidfdFlags::empty()).ok()?))
        });
        let held: Vec<(i32, OwnedFd)> = held.collect();
        let still = self.processes();
        for (_, pidfd) in held.iter().filter(|(number, _)| still.contains(number)) {
            let _ = pidfd_send_signal(pidfd, Signal::KILL);
        }
    }

    /// Waits until the group has become empty or not, or for a moment.
    fn await_change(&self) {
        let short = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };
        let Ok(events) = self.directory.open_file("cgroup.events", OFlags::RDONLY) else {
            return std::thread::sleep(Duration::from_millis(1));
        };
        let _ = poll(&mut [PollFd::new(&events, PollFlags::PRI)], Some(&short));
    }
}

/// Enables what groups here need, and removes what those left that were killed; the latter once in a process.
fn prepare(site: &Site) -> Result<(), Error> {
    const FILE: &str = "cgroup.subtree_control";
    for controller in &site.enable {
        let word = format!("+{controller}");
        site.directory.write(FILE, &word).map_err(|errno| failed(&site.directory.path, FILE, errno))?;
    }
    if !site.enable.is_empty() {
        // To know what is read and written; where it cannot be, that is not known.
        let _ = site.directory.write(FILE, "+io");
    }
    static LOOKED_AT: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());
    let mut looked_at = LOOKED_AT.lock().unwrap_or_else(PoisonError::into_inner);
    if looked_at.insert(site.directory.path.clone()) {
        reclaim(&site.directory);
    }
    Ok(())
}

/// Removes the groups whose maker is gone, if they are empty.
fn reclaim(directory: &Directory) {
    if !Path::new("/proc/self").exists() {
        return;
    }
    for name in directory.names() {
        let mut parts = name.split('-');
        let (Some(PREFIX), Some(maker), Some(_), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        if maker.parse::<u32>().is_err() || Path::new(&format!("/proc/{maker}")).exists() {
            continue;
        }
        let Ok(group) = directory.below(&name) else { continue };
        // Its maker may be in another PID namespace.
        if rustix::fs::flock(&group, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = directory.remove(&name);
        }
    }
}
