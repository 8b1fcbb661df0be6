//! Limits that hold for a whole tree of processes: a cgroup is made for it, limited, read at the end and removed.
//!
//! [`Means::find`] looks for a place where groups can be made and says which limit is kept by what; it changes nothing.
//! [`Group::make`] makes one group there, for one birth.
//!
//! Version 2 is used where its controllers are to be had: in the caller's own cgroup, or in the nearest one above it that this user
//! may use. A group that processes are in themselves can have no limited groups below it (the rule against internal processes,
//! `man 7 cgroups`), which is why it is often the one above. Where a controller belongs to version 1, a group below the caller's is made in
//! that controller's own hierarchy.
//!
//! Safety idea: a group that is not made below the caller's own is given the caller's limits too, so that nobody gets more by
//! being started. Everything is done by directory descriptors, opened once. A group is empty before it is read and removed; what cannot
//! be limited is not started.

mod directory;
mod group;
mod handed;
mod hierarchy;
mod site;
mod used;

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

pub use group::{Group, sweep};
pub use handed::Place;
pub use used::TreeUsage;

use self::directory::Directory;
use self::hierarchy::{Controllers, Hierarchies};
use self::site::Site;
use crate::error::{Error, Reason};
use crate::{Limit, Support};

/// What counts and limits a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Controller {
    Memory,
    Pids,
}

impl Controller {
    const fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Pids => "pids",
        }
    }
}

impl fmt::Display for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A controller and its limit.
type Wanted = (Controller, u64);

/// How the limits of a tree are kept here, if they are.
#[derive(Debug, Default)]
pub struct Means {
    sites: Vec<Site>,
    memory: Option<&'static str>,
    processes: Option<&'static str>,
    /// Why a limit is not kept.
    why: Option<String>,
}

impl Means {
    /// Looks for what keeps the limits of `limits` that are a whole tree's. `within`: only below this cgroup of version 2, which is open.
    /// Nothing is made or changed; when no such limit is asked for, nothing is looked at either. What cannot be kept is no error
    /// here: [`Authority::prepare`](crate::Authority::prepare) asks whether it was given up.
    ///
    /// # Errors
    /// A limit of no processes at all, or of less memory than a page.
    pub fn find(limits: &[Limit], within: Option<&OwnedFd>, support: Support) -> Result<Means, Error> {
        if let Some(limit) = limits.iter().find(|limit| matches!(limit, Limit::Processes(0))) {
            return Err(Error::limit(limit, Reason::Senseless("a program is one process itself")));
        }
        // The kernel counts pages, and would make nothing of less.
        if let Some(limit) = limits.iter().find(|limit| matches!(limit, Limit::Memory(0..4096))) {
            return Err(Error::limit(limit, Reason::Senseless("no program has less than a page")));
        }
        let wanted = wanted(limits);
        if wanted.is_empty() {
            return Ok(Means::default());
        }
        let none = |why: String| Means { why: Some(why), ..Means::default() };
        Ok(match within {
            _ if !support.cgroups => none("the system is taken for one without".to_owned()),
            Some(within) => Means::below(&wanted, within),
            None => hierarchies().map_or_else(none, |own| Means::among(&wanted, &own)),
        })
    }

    fn below(wanted: &[Wanted], within: &OwnedFd) -> Means {
        let mut means = Means::default();
        let found = Directory::adopt(within.as_fd()).and_then(|directory| site::below(directory, wanted));
        match found {
            Ok(site) => means.add(site, wanted),
            Err(why) => means.why = Some(why),
        }
        means
    }

    fn among(wanted: &[Wanted], own: &Hierarchies) -> Means {
        let mut means = Means::default();
        // All of them in one group of version 2, or as many as can be: a process is in one such group only.
        let singles = wanted.iter().map(std::slice::from_ref);
        for some in std::iter::once(wanted).chain(singles) {
            match site::unified(own.unified.as_ref(), some) {
                Ok(site) => {
                    means.add(site, some);
                    break;
                }
                Err(why) => _ = means.why.get_or_insert(why),
            }
        }
        for one in wanted {
            if means.keeps(one.0).is_some() {
                continue;
            }
            match own.separate(one.0).map(|place| site::separate(place, *one)) {
                Some(Ok(site)) => means.add(site, &[*one]),
                // What its own hierarchy says is what matters: in the other one it cannot be.
                Some(Err(why)) => means.why = Some(why),
                None => {}
            }
        }
        means
    }

    fn add(&mut self, site: Site, wanted: &[Wanted]) {
        for (controller, _) in wanted {
            let words = Some(site.words(*controller));
            match controller {
                Controller::Memory => self.memory = words,
                Controller::Pids => self.processes = words,
            }
        }
        self.sites.push(site);
    }

    fn keeps(&self, controller: Controller) -> Option<&'static str> {
        match controller {
            Controller::Memory => self.memory,
            Controller::Pids => self.processes,
        }
    }

    /// What keeps the limit on memory.
    #[must_use]
    pub fn memory(&self) -> Option<&'static str> {
        self.memory
    }

    /// What keeps the limit on processes.
    #[must_use]
    pub fn processes(&self) -> Option<&'static str> {
        self.processes
    }

    /// Why one of the limits is not kept.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        self.why.as_deref()
    }

    /// Whether there is a group to make for each birth.
    #[must_use]
    pub fn is_needed(&self) -> bool {
        !self.sites.is_empty()
    }

    /// How many groups a newborn has to join by itself: those of version 1, and that of version 2 when it cannot be born there.
    #[must_use]
    pub fn joined(&self, born_there: bool) -> usize {
        self.sites.iter().filter(|site| !(born_there && site.is_unified())).count()
    }
}

/// The last limit of each kind.
fn wanted(limits: &[Limit]) -> Vec<Wanted> {
    let last = |wanted: fn(&Limit) -> Option<Wanted>| limits.iter().rev().find_map(wanted);
    let memory = last(|limit| match limit {
        Limit::Memory(bytes) => Some((Controller::Memory, *bytes)),
        _ => None,
    });
    let processes = last(|limit| match limit {
        Limit::Processes(count) => Some((Controller::Pids, *count)),
        _ => None,
    });
    memory.into_iter().chain(processes).collect()
}

fn hierarchies() -> Result<Hierarchies, String> {
    let read = |path: &str| {
        std::fs::read(path)
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .map_err(|error| format!("{path} cannot be read ({})", directory::words(&error)))
    };
    let controllers = Controllers::parse(&read("/proc/self/cgroup")?);
    Ok(Hierarchies::find(&read("/proc/self/mountinfo")?, &controllers))
}
