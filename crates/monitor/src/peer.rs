//! Who a client is, and whether it may be served: with its own credentials, and never when the monitor could do more for it than it can
//! do itself.
//!
//! Safety idea: what the kernel noted of the connection decides who it is; what the kernel says of that very process, held by a descriptor
//! while it is read, decides whether it is more confined than the monitor. Whatever cannot be read is a refusal.

use std::fs;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::MetadataExt;

use beget_plan::nursery::Identity;
use beget_sys::{Errno, peer, process};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Why somebody is not served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// For programs.
    pub errno: Errno,
    /// For people.
    pub words: String,
}

impl Refusal {
    pub(crate) fn new(errno: Errno, words: impl Into<String>) -> Refusal {
        Refusal { errno, words: words.into() }
    }
}

/// A client that may be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) process: u32,
    pub(crate) identity: Identity,
    /// It has the monitor's own credentials.
    pub(crate) own: bool,
}

/// Namespaces that a client must share with the monitor: one that is in others sees less.
const NAMESPACES: [&str; 5] = ["user", "mnt", "pid", "net", "ipc"];

/// What decides how confined a process is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Confinement {
    no_new_privileges: bool,
    filters: u64,
    capabilities: u64,
    /// The files that namespaces and root directory are.
    places: Vec<(&'static str, (u64, u64))>,
    /// AppArmor's or another module's label.
    label: String,
}

impl Confinement {
    /// Of a process by its name below `/proc`.
    fn read(process: &str) -> Option<Confinement> {
        let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
        let field = |name: &str| {
            status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
        };
        let file = |path: String| fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        let mut places = Vec::new();
        for name in NAMESPACES {
            places.push((name, file(format!("/proc/{process}/ns/{name}"))?));
        }
        places.push(("root", file(format!("/proc/{process}/root"))?));
        let label = fs::read_to_string(format!("/proc/{process}/attr/current")).unwrap_or_default();
        Some(Confinement {
            no_new_privileges: field("NoNewPrivs")? != "0",
            // Before Linux 5.9 only whether there is any.
            filters: field("Seccomp_filters").or(field("Seccomp"))?.parse().ok()?,
            capabilities: u64::from_str_radix(field("CapEff")?, 16).ok()?,
            places,
            label: label.trim_matches(['\0', '\n', ' ']).to_owned(),
        })
    }

    /// In what a process is more confined than this one; capabilities count only between processes of one user.
    fn exceeded_by(&self, other: &Confinement, one_user: bool) -> Option<String> {
        if other.no_new_privileges && !self.no_new_privileges {
            return Some("it may gain no privileges (no_new_privs)".to_owned());
        }
        if other.filters > self.filters {
            return Some("it has a system call filter".to_owned());
        }
        if one_user && self.capabilities & !other.capabilities != 0 {
            return Some("it has fewer capabilities".to_owned());
        }
        let differs = self.places.iter().zip(&other.places).find(|(own, theirs)| own != theirs);
        if let Some(((name, _), _)) = differs {
            let words = if *name == "root" { "root directory" } else { name };
            let more = if *name == "root" { "" } else { " namespace" };
            return Some(format!("it has another {words}{more}"));
        }
        let unconfined = |label: &str| label.is_empty() || label == "unconfined";
        if unconfined(&self.label) && self.label != other.label && !other.label.is_empty() {
            return Some(format!("it is confined as {:?}", other.label));
        }
        None
    }
}

/// The monitor itself, as it was when it was started.
#[derive(Clone, Debug)]
pub(crate) struct Own {
    pub(crate) identity: Identity,
    confinement: Confinement,
}

impl Own {
    /// # Errors
    /// Where `/proc` cannot be read.
    pub(crate) fn read() -> Result<Own, Refusal> {
        let unreadable = || Refusal::new(Errno::ENOENT, "/proc cannot be read");
        let groups = process::groups().map_err(|errno| Refusal::new(errno, "the monitor's own groups"))?;
        let identity = Identity {
            user: rustix::process::geteuid().as_raw(),
            group: rustix::process::getegid().as_raw(),
            groups: sorted(groups.into_iter().map(u32::from_ne_bytes).collect()),
        };
        Ok(Own { identity, confinement: Confinement::read("self").ok_or_else(unreadable)? })
    }

    /// Who is at the other end of a client's connection.
    ///
    /// # Errors
    /// A refusal with the reason for it.
    pub(crate) fn judge(&self, connection: BorrowedFd<'_>, other_users: bool) -> Result<Peer, Refusal> {
        let gone = || Refusal::new(Errno::ESRCH, "the client is gone");
        let unknown = |errno| Refusal::new(errno, "it cannot be told who the client is");
        let [number, user, group] = peer::credentials(connection).map_err(unknown)?;
        if number == 0 {
            return Err(Refusal::new(Errno::EPERM, "the client is in another PID namespace"));
        }
        let groups = sorted(peer::groups(connection).map_err(unknown)?);
        let identity = Identity { user, group, groups };
        let one_user = user == self.identity.user;
        let may_serve = one_user || (other_users && self.identity.user == 0);
        if !may_serve {
            let words =
                format!("the client is user {user}, and this service is for user {}", self.identity.user);
            return Err(Refusal::new(Errno::EPERM, words));
        }
        let held = match peer::process(connection) {
            Ok(held) => held,
            // Before Linux 6.5: the number means the client unless it ended a moment ago.
            Err(Errno::ENOPROTOOPT) => {
                let number = Pid::from_raw(number as i32).ok_or_else(gone)?;
                pidfd_open(number, PidfdFlags::empty()).map_err(|_| gone())?
            }
            Err(_) => return Err(gone()),
        };
        let confinement = Confinement::read(&number.to_string());
        // It lives still, so what was read is of this process and of no other with its number.
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        if poll(&mut [PollFd::new(&held, PollFlags::IN)], Some(&now)) != Ok(0) {
            return Err(gone());
        }
        let unreadable = || Refusal::new(Errno::EPERM, "it cannot be told how confined the client is");
        let confinement = confinement.ok_or_else(unreadable)?;
        if let Some(why) = self.confinement.exceeded_by(&confinement, one_user) {
            let words = format!("the client is more confined than this service: {why}");
            return Err(Refusal::new(Errno::EPERM, words));
        }
        if one_user && user != 0 {
            let has = |group: &u32| *group == identity.group || identity.groups.contains(group);
            let own = &self.identity;
            if let Some(group) = own.groups.iter().chain([&own.group]).find(|group| !has(group)) {
                let words = format!("this service is in group {group}, and the client is not");
                return Err(Refusal::new(Errno::EPERM, words));
            }
        }
        let identity = if one_user { self.identity.clone() } else { identity };
        Ok(Peer { process: number, identity, own: one_user })
    }
}

fn sorted(mut groups: Vec<u32>) -> Vec<u32> {
    groups.sort_unstable();
    groups.dedup();
    groups
}
