//! What is promised of a child, and which mechanism of this kernel keeps it.
//!
//! Each promise has an ordered list of mechanisms. The first that the kernel has is used; where none is to be had, the spawn
//! fails and names the feature and the kernel that has it.

use std::fmt;
use std::str::FromStr;

use crate::Support;
use crate::cgroup::Means;

macro_rules! promises {
    ($($(#[$doc:meta])* $name:ident = $word:literal, $what:literal, $needs:literal;)*) => {
        /// Something promised, by the name that `--degrade` takes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Promise {
            $($(#[$doc])* $name,)*
        }

        impl Promise {
            /// Every promise.
            pub const ALL: &'static [Promise] = &[$(Promise::$name),*];

            /// The word for it.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Promise::$name => $word,)* }
            }

            /// What it says.
            #[must_use]
            pub const fn what(self) -> &'static str {
                match self { $(Promise::$name => $what,)* }
            }

            /// What a system must have to keep it.
            #[must_use]
            pub const fn what_it_needs(self) -> &'static str {
                match self { $(Promise::$name => $needs,)* }
            }
        }
    };
}

promises! {
    /// What is not granted has no name.
    Root = "root", "what is not granted does not exist: no name, number, size or time of it is seen",
        "needs user namespaces (Linux 5.12, allowed to this user)";
    /// No file but those granted is opened, made, removed, renamed or executed.
    Files = "files", "only the granted files are opened, made, removed, renamed or executed",
        "needs Landlock (Linux 5.13, enabled at boot)";
    /// No file but those granted for writing is truncated.
    Truncation = "truncation", "only files granted for writing are truncated",
        "needs Landlock ABI 3 (Linux 6.2), or ABI 1 (5.13) and a seccomp filter";
    /// No device is controlled.
    Devices = "devices", "no device is controlled by ioctl, but for a terminal that was given",
        "needs Landlock ABI 5 (Linux 6.10) or a seccomp filter";
    /// No process outside is traced, read or written.
    Tracing = "tracing", "no process outside is traced, read or written",
        "needs Landlock (Linux 5.13, enabled at boot)";
    /// No process outside is signalled.
    Signals = "signals", "no process outside is signalled",
        "needs Landlock ABI 6 (Linux 6.12), or ABI 1 (5.13), a seccomp filter and no --spawn";
    /// No abstract Unix socket made outside is reached.
    AbstractSockets = "abstract-sockets", "no abstract Unix socket made outside is reached",
        "needs Landlock ABI 6 (Linux 6.12) or a seccomp filter";
    /// Only the granted TCP ports are connected to or bound.
    TcpPorts = "tcp-ports", "only the granted TCP ports are connected to or bound",
        "needs Landlock ABI 4 (Linux 6.7)";
    /// The calls that Landlock does not cover are refused.
    Calls = "calls", "no other way out: sockets, namespaces, System V IPC, io_uring, keys, perf, bpf and the rest",
        "needs seccomp filters (Linux 3.17, CONFIG_SECCOMP_FILTER)";
    /// No key of the user or the login session is reached.
    Keys = "keys", "no key of the user or the login session is reached",
        "needs a seccomp filter";
    /// No file is marked.
    Marks = "marks", "no file is marked: no lock, lease, mode, owner or time of one is changed",
        "needs a seccomp filter";
    /// The memory of all its processes together is limited.
    Memory = "memory", "the memory of all its processes together is limited",
        "needs a cgroup that this user can make and limit (version 2, delegated, or version 1)";
    /// The number of its processes is limited.
    Processes = "processes", "the number of its processes is limited",
        "needs a cgroup that this user can make and limit (version 2, delegated, or version 1)";
    /// Its processors are limited.
    Processors = "cpus", "its processors are limited",
        "needs a seccomp filter";
}

impl fmt::Display for Promise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for Promise {
    type Err = String;

    fn from_str(word: &str) -> Result<Promise, String> {
        Promise::ALL.iter().copied().find(|promise| promise.word() == word).ok_or_else(|| {
            let known: Vec<&str> = Promise::ALL.iter().map(|promise| promise.word()).collect();
            format!("no such promise; there are {}", known.join(", "))
        })
    }
}

/// A promise and what keeps it here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Enforced {
    /// The promise.
    pub promise: Promise,
    /// The mechanism; `None` when it was given up and nothing keeps it.
    pub by: Option<&'static str>,
    /// What is done in its place when it was given up, which is less than it says; for limits only.
    pub instead: Option<&'static str>,
}

impl Promise {
    /// What is done in its place when it is given up: less than it says.
    pub(crate) const fn instead(self) -> Option<&'static str> {
        match self {
            Promise::Memory => Some("resource limit, of each process for itself (RLIMIT_DATA)"),
            Promise::Processes => Some("resource limit, of all processes of this user (RLIMIT_NPROC)"),
            _ => None,
        }
    }
}

/// What the choice of mechanisms depends on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Circumstances<'a> {
    pub(crate) support: Support,
    /// It has a private root, and with it a namespace of process numbers.
    pub(crate) root: bool,
    /// It was to have one.
    pub(crate) root_given_up: bool,
    /// It has a network namespace too.
    pub(crate) own_network: bool,
    /// Unix sockets are granted by path.
    pub(crate) unix: bool,
    pub(crate) spawn: bool,
    pub(crate) ports: bool,
    pub(crate) keyring: bool,
    /// It is to mark no file.
    pub(crate) discreet: bool,
    pub(crate) memory: bool,
    pub(crate) processes: bool,
    pub(crate) processors: bool,
    /// What keeps the limits of a whole tree.
    pub(crate) groups: &'a Means,
}

/// What counts the processes of a private root, where there is no cgroup.
pub(crate) const OWN_COUNT: &str = "resource limit, counted in its own user namespace (RLIMIT_NPROC)";

impl Circumstances<'_> {
    /// Whether the kernel counts the processes of a user namespace for themselves: from Linux 5.14 on, of which Landlock's second ABI (5.19) is the
    /// sign. It never counts the processes of the machine's root.
    pub(crate) fn own_count(&self) -> bool {
        self.root && self.support.landlock_from(2) && !rustix::process::geteuid().is_root()
    }

    /// The first mechanism that keeps `promise` here, or none; nothing at all when the promise is not made.
    pub(crate) fn mechanism(&self, promise: Promise) -> Option<Option<&'static str>> {
        let landlock = |abi: u32, words: &'static str| self.support.landlock_from(abi).then_some(words);
        let filter = |words: &'static str| self.support.filter.then_some(words);
        // Whoever may open any file writes `/proc/PID/mem`, and so does whatever another process may do.
        let files = self.support.landlock_from(1) || self.root;
        let root = |words: &'static str| self.root.then_some(words);
        Some(match promise {
            Promise::Root if !self.root && !self.root_given_up => return None,
            Promise::Root => root("user, mount, PID, IPC, UTS and cgroup namespaces"),
            Promise::Files => landlock(1, "Landlock rules on files")
                .or_else(|| root("the mounts of a private root: read-only, no devices, nothing executed")),
            Promise::Truncation => landlock(3, "Landlock right to truncate").or_else(|| {
                filter("seccomp filter: no truncate, no O_TRUNC without writing, no openat2")
                    .filter(|_| files)
            }),
            Promise::Devices => landlock(5, "Landlock right to ioctl")
                .or_else(|| filter("seccomp filter: only the ioctls of files, pipes, sockets and terminals")),
            Promise::Tracing => landlock(1, "Landlock domain").or_else(|| root("PID namespace")),
            Promise::Signals => landlock(6, "Landlock scope").or_else(|| {
                root("PID namespace").or_else(|| {
                    filter("seccomp filter: only to its own number").filter(|_| files && !self.spawn)
                })
            }),
            Promise::AbstractSockets => landlock(6, "Landlock scope")
                .or_else(|| self.own_network.then_some("network namespace"))
                .or_else(|| filter("seccomp filter: no Unix sockets").filter(|_| !self.unix)),
            Promise::TcpPorts if !self.ports => return None,
            Promise::TcpPorts => landlock(4, "Landlock rules on ports"),
            Promise::Calls => filter("seccomp filter"),
            Promise::Keys if self.keyring => {
                filter("seccomp filter: no key calls, and an empty session keyring")
            }
            Promise::Keys => filter("seccomp filter: no key calls"),
            Promise::Marks if !self.discreet => return None,
            Promise::Marks => filter("seccomp filter: no chmod, chown, utimes, locks and leases"),
            Promise::Memory if !self.memory => return None,
            Promise::Processes if !self.processes => return None,
            Promise::Memory => self.groups.memory(),
            Promise::Processes => self.groups.processes().or_else(|| self.own_count().then_some(OWN_COUNT)),
            Promise::Processors if !self.processors => return None,
            Promise::Processors => filter("processor affinity, and a seccomp filter that keeps it"),
        })
    }
}
