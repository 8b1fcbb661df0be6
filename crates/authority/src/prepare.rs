//! Turns a request into what holds a child to it.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use beget_sys::seccomp::Instruction;

use crate::cgroup::Means;
use crate::error::{Error, Reason};
use crate::filter::{self, Policy};
use crate::promise::{Circumstances, OWN_COUNT};
use crate::root::{self, Layout, Root};
use crate::{Enforced, Grant, Limit, Opened, Promise, Support, opened, ruleset};

/// What is asked for.
#[derive(Debug)]
pub struct Request<'a> {
    /// What the child is given.
    pub grants: &'a [Grant],
    /// What it is held to.
    pub limits: &'a [Limit],
    /// The private root that it is to have.
    pub root: Option<&'a Root>,
    /// It was to have one, and goes on without.
    pub root_given_up: bool,
    /// Files that the caller opened itself: the program, its interpreter, its loader, a script.
    pub files: Vec<Opened>,
    /// No other program is executed by `execve`.
    pub only: bool,
    /// Promises that may go unkept.
    pub degraded: &'a [Promise],
    /// What the kernel can do.
    pub support: Support,
    /// The slot that the program is executed from; none for one that is put into memory.
    pub program_slot: Option<u32>,
    /// Whether the child is given a socket, open.
    pub given_sockets: bool,
    /// Whether the child leads a session of its own.
    pub own_session: bool,
    /// Whether the child holds a terminal that is not its session's.
    pub keep_modes: bool,
    /// Whether the child leads a process group that holds nobody else.
    pub own_group: bool,
    /// Whether the child marks no file.
    pub discreet: bool,
    /// Whether refusals are put to a listener.
    pub listener: bool,
    /// Whether the child joins a keyring of its own.
    pub keyring: bool,
    /// How the limits of its tree are kept here.
    pub groups: Arc<Means>,
}

/// What holds a child to its grants.
#[derive(Debug)]
pub struct Authority {
    /// The Landlock ruleset to apply.
    pub ruleset: Option<Arc<OwnedFd>>,
    /// The filter to put on.
    pub filter: Option<Vec<Instruction>>,
    /// What the filter was made from.
    pub policy: Option<Policy>,
    /// The same filter with refusals of processes and sockets put to a listener, if that was asked for.
    pub asking: Option<Vec<Instruction>>,
    /// Each promise made, and what keeps it.
    pub enforced: Vec<Enforced>,
    /// Whether its private root has a network of its own, for nothing outside is granted.
    pub own_network: bool,
    /// The private root, worked out.
    pub layout: Option<Layout>,
    /// The granted files; those whose rules die with them must be held for the child's life.
    pub opened: Vec<Opened>,
    /// Where its cgroup is made, when it needs one.
    pub groups: Arc<Means>,
    /// Its processes are counted by their own user namespace.
    pub own_count: bool,
    /// The limits of its tree that are only limits of each process, or of this user.
    pub given_up: Vec<Promise>,
}

impl Authority {
    /// Opens the grants and builds ruleset and filter.
    ///
    /// # Errors
    /// The first grant that cannot be opened, or the first promise that this kernel cannot keep and that was not given up.
    pub fn prepare(mut request: Request<'_>) -> Result<Authority, Error> {
        let mut opened = Authority::open(request.grants, request.root)?;
        // Its own files first.
        let mut all = std::mem::take(&mut request.files);
        all.append(&mut opened);
        request.files = all;
        Authority::of_opened(request, None)
    }

    /// Opens what the grants name, and what every private root has.
    ///
    /// # Errors
    /// The first grant that cannot be opened, or that does not go with the root.
    pub fn open(grants: &[Grant], root: Option<&Root>) -> Result<Vec<Opened>, Error> {
        root::check_grants(grants, root)?;
        let mut opened = Vec::new();
        for grant in grants {
            opened::open(grant, &mut opened)?;
        }
        if root.is_some() {
            opened::open_devices(&mut opened)?;
        }
        Ok(opened)
    }

    /// Builds ruleset and filter from what is open already: all of it is in [`Request::files`]. `ruleset`: the one that was built from the same
    /// files and grants before.
    ///
    /// # Errors
    /// The first promise that this kernel cannot keep and that was not given up.
    pub fn of_opened(request: Request<'_>, ruleset: Option<Arc<OwnedFd>>) -> Result<Authority, Error> {
        let Request {
            grants,
            limits,
            root,
            root_given_up,
            files: opened,
            only,
            degraded,
            support,
            program_slot,
            own_group,
            own_session,
            given_sockets,
            keep_modes,
            keyring,
            discreet,
            listener,
            groups,
        } = request;
        let has = |grant: &Grant| grants.contains(grant);
        let ports = grants
            .iter()
            .any(|grant| matches!(grant, Grant::TcpConnect(_) | Grant::TcpBind(_) | Grant::InetDns));
        let limited = |wanted: fn(&Limit) -> bool| limits.iter().any(wanted);
        let circumstances = Circumstances {
            support,
            root: root.is_some(),
            root_given_up,
            unix: grants.iter().any(|grant| matches!(grant.plain(), Grant::Unix(_))),
            own_network: root.is_some() && !root::wants_network(grants),
            spawn: has(&Grant::Spawn),
            ports: ports && !has(&Grant::Net),
            keyring,
            discreet,
            memory: limited(|limit| matches!(limit, Limit::Memory(_))),
            processes: limited(|limit| matches!(limit, Limit::Processes(_))),
            processors: limited(|limit| matches!(limit, Limit::Processors(_))),
            groups: &groups,
        };
        let enforced = keep(Promise::ALL, &circumstances, degraded)?;
        let ruleset = match ruleset {
            Some(ruleset) => Some(ruleset),
            None => ruleset::build(support, &opened, grants, only)?.map(Arc::new),
        };
        let policy = Policy {
            spawn: circumstances.spawn,
            only: only.then_some(program_slot),
            tcp: ports,
            bind: grants.iter().any(|grant| matches!(grant, Grant::TcpBind(_))),
            udp: has(&Grant::InetDns),
            net: has(&Grant::Net) || has(&Grant::Loopback),
            unix: grants.iter().any(|grant| matches!(grant.plain(), Grant::Unix(_))),
            own_numbers: root.is_some(),
            keep_processors: circumstances.processors,
            landlock: support.landlock.unwrap_or(0),
            own_group,
            own_session,
            given_sockets,
            creates: support.landlock.is_none()
                || root.is_some()
                || grants.iter().any(|grant| matches!(grant, Grant::Write(_))),
            keep_modes,
            discreet,
            listener: false,
            copies: None,
        };
        let asking =
            (support.filter && listener).then(|| filter::build(&Policy { listener: true, ..policy }));
        let filter = match &asking {
            Some(asking) => Some(filter::without_listener(asking)),
            None => support.filter.then(|| filter::build(&policy)),
        };
        let by_landlock = support.landlock.is_some();
        let mut layout =
            root.map(|root| Layout::new(root, &opened, has(&Grant::Base), by_landlock)).transpose()?;
        for (_, rights) in layout.iter_mut().flat_map(|layout| &mut layout.allowed) {
            rights.0 &= ruleset::allowed(support, only);
        }
        let own_network = circumstances.own_network;
        let own_count = enforced.iter().any(|line| line.by == Some(OWN_COUNT));
        let given_up = given_up(&enforced);
        Ok(Authority {
            ruleset,
            policy: filter.is_some().then_some(policy),
            filter,
            asking,
            enforced,
            own_network,
            layout,
            opened,
            groups,
            own_count,
            given_up,
        })
    }

    /// What an unconfined child is held to: nothing but the limits of its tree, which it could leave.
    ///
    /// # Errors
    /// A limit that cannot be kept here and was not given up.
    pub fn ambient(
        limits: &[Limit],
        degraded: &[Promise],
        support: Support,
        groups: Arc<Means>,
    ) -> Result<Authority, Error> {
        let circumstances = Circumstances {
            support,
            root: false,
            root_given_up: false,
            unix: false,
            own_network: false,
            spawn: true,
            ports: false,
            keyring: false,
            discreet: false,
            memory: limits.iter().any(|limit| matches!(limit, Limit::Memory(_))),
            processes: limits.iter().any(|limit| matches!(limit, Limit::Processes(_))),
            processors: false,
            groups: &groups,
        };
        let enforced = keep(&[Promise::Memory, Promise::Processes], &circumstances, degraded)?;
        let own_count = enforced.iter().any(|line| line.by == Some(OWN_COUNT));
        let given_up = given_up(&enforced);
        let (ruleset, filter, asking, opened) = (None, None, None, Vec::new());
        let (own_network, layout) = (false, None);
        Ok(Authority {
            ruleset,
            policy: None,
            filter,
            asking,
            enforced,
            own_network,
            layout,
            opened,
            groups,
            own_count,
            given_up,
        })
    }

    /// Takes out of the filter what `grants` do not name: what was granted is held only as far as it is named there too. Files are not the
    /// filter's: [`narrower`] builds the ruleset that is put on besides.
    pub fn narrow(&mut self, grants: &[Grant]) {
        let Some(policy) = self.policy.map(|policy| policy.narrowed(grants)) else { return };
        if self.policy == Some(policy) {
            return;
        }
        let asking = self.asking.is_some();
        self.asking = asking.then(|| filter::build(&Policy { listener: true, ..policy }));
        self.filter = Some(match &self.asking {
            Some(asking) => filter::without_listener(asking),
            None => filter::build(&policy),
        });
        self.policy = Some(policy);
    }

    /// Keeps only those granted files that must stay open for the child's life, and gives back the others, so that closing them
    /// can wait until there is time for it.
    #[must_use]
    pub fn forget_opened(&mut self) -> Vec<Opened> {
        let (kept, forgotten) = std::mem::take(&mut self.opened).into_iter().partition(|one| one.fleeting);
        self.opened = kept;
        forgotten
    }
}

/// A ruleset of nothing but these files and the ports among `grants`, to be put on besides another: what both allow is left.
///
/// # Errors
/// A kernel without Landlock; a file that no rule can name.
pub fn narrower(support: Support, opened: &[Opened], grants: &[Grant]) -> Result<OwnedFd, Error> {
    let none = || Error {
        part: "narrower grants".to_owned(),
        reason: Reason::Senseless("this kernel has no Landlock, which would keep them"),
    };
    ruleset::build(support, opened, grants, false)?.ok_or_else(none)
}

fn given_up(enforced: &[Enforced]) -> Vec<Promise> {
    enforced.iter().filter(|line| line.instead.is_some()).map(|line| line.promise).collect()
}

/// Chooses a mechanism for each promise that is made; fails when some have none and were not given up, and names all of them.
fn keep(
    promises: &[Promise],
    circumstances: &Circumstances<'_>,
    degraded: &[Promise],
) -> Result<Vec<Enforced>, Error> {
    let line = |promise: &Promise| {
        let by = circumstances.mechanism(*promise)?;
        let instead = if by.is_none() { promise.instead() } else { None };
        Some(Enforced { promise: *promise, by, instead })
    };
    let enforced: Vec<Enforced> = promises.iter().filter_map(line).collect();
    let unkept = |line: &&Enforced| line.by.is_none() && !degraded.contains(&line.promise);
    let unkept: Vec<Promise> = enforced.iter().filter(unkept).map(|line| line.promise).collect();
    let limit = |promise: &Promise| format!("limit --{promise}");
    let part = match unkept.first() {
        None => return Ok(enforced),
        Some(promise @ (Promise::Memory | Promise::Processes)) => {
            let why = circumstances.groups.why().unwrap_or("there are none here");
            let of_root = *promise == Promise::Processes
                && !circumstances.root
                && Circumstances { root: true, ..*circumstances }.own_count();
            let why = format!(
                "{why}{}",
                if of_root { "; with --root its own user namespace counts them" } else { "" }
            );
            return Err(Error { part: limit(promise), reason: Reason::NoCgroup(unkept, why) });
        }
        Some(promise @ Promise::Processors) => limit(promise),
        Some(promise) => format!("promise {promise}"),
    };
    Err(Error { part, reason: Reason::Unkept(unkept) })
}
