//! The seccomp filter: which calls are refused, and the program that refuses them.
//!
//! Safety idea: what Landlock covers is left to Landlock; the filter refuses what it does not cover, decides on registers alone
//! (never on memory, which can change after the look), and answers numbers newer than its table as an older kernel would.

mod compile;
mod table;

use beget_sys::seccomp::{Instruction, code, verdict};

use crate::Grant;

/// What the filter depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Processes may be created.
    pub spawn: bool,
    /// No program is executed but the one in this slot, or none at all.
    pub only: Option<Option<u32>>,
    /// TCP sockets; Landlock decides on ports.
    pub tcp: bool,
    /// Listening on TCP sockets.
    pub bind: bool,
    /// UDP sockets.
    pub udp: bool,
    /// Every socket of the internet families, and routing netlink.
    pub net: bool,
    /// Unix sockets: what has no path in its own root is not reached.
    pub unix: bool,
    /// The numbers of processes are of its own namespace: none is another's.
    pub own_numbers: bool,
    /// The processor affinity stays as it is.
    pub keep_processors: bool,
    /// The Landlock ABI in force, 0 for none: what it does not cover is refused here.
    pub landlock: u32,
    /// It may make files somewhere.
    pub creates: bool,
    /// It was given a socket, open: that can be disconnected, and pass others on.
    pub given_sockets: bool,
    /// It leads a session, in which no group is another's.
    pub own_session: bool,
    /// It holds a terminal that is not its session's: the modes of that are not its to change.
    pub keep_modes: bool,
    /// It leads a process group that holds nobody else.
    pub own_group: bool,
    /// Refusals of processes and sockets are put to a listener, which answers with the same errno.
    pub listener: bool,
    /// It marks no file: no lock, lease, mode, owner or time of one is changed.
    pub discreet: bool,
    /// It is a template's: whoever has this in the low halves of the last two arguments of `clone`, low word first, may create siblings,
    /// whatever `spawn` says. And it is its copies', which are not to name their template: no process is named by its own number.
    pub copies: Option<u64>,
}

impl Policy {
    /// That of a template whose copies are held to this one: with `key` it may create siblings, and its channel is a socket that it was given.
    #[must_use]
    pub fn of_template(self, key: u64) -> Policy {
        Policy { copies: Some(key), given_sockets: true, listener: false, ..self }
    }

    /// What is left of it where only `grants` are held of what was granted.
    #[must_use]
    pub fn narrowed(self, grants: &[Grant]) -> Policy {
        let has = |wanted: fn(&Grant) -> bool| grants.iter().any(|grant| wanted(grant.plain()));
        let net = has(|grant| matches!(grant, Grant::Net | Grant::Loopback));
        let udp = has(|grant| matches!(grant, Grant::InetDns));
        let bind = has(|grant| matches!(grant, Grant::TcpBind(_)));
        let tcp = udp || bind || has(|grant| matches!(grant, Grant::TcpConnect(_)));
        Policy {
            spawn: self.spawn && has(|grant| matches!(grant, Grant::Spawn)),
            tcp: self.tcp && (tcp || net) || self.net && tcp,
            bind: self.bind && (bind || net) || self.net && bind,
            udp: self.udp && (udp || net) || self.net && udp,
            net: self.net && net,
            unix: self.unix && has(|grant| matches!(grant, Grant::Unix(_))),
            ..self
        }
    }
}

/// The filter for a policy.
#[must_use]
pub fn build(policy: &Policy) -> Vec<Instruction> {
    compile::compile(&table::rules(policy))
}

/// What a copy puts on beside the filter of its template, which it was born with, where that alone is not as strict as the one of this
/// policy: with a Landlock that does not keep signals back, rules name the own process, and in the template's that is the template.
#[must_use]
pub fn for_copy(policy: &Policy) -> Option<Vec<Instruction>> {
    // What opens it makes no difference to the other rules.
    let theirs = table::rules(&policy.of_template(0));
    let named = |number| theirs.iter().any(|(one, rule)| *one == number && compile::names_itself(rule));
    let mut rules = table::rules(policy);
    rules.retain(|(number, _)| named(*number));
    (!rules.is_empty()).then(|| compile::compile(&rules))
}

/// The same filter for a kernel that gives no listener: what would have been put to one is refused with the same errno.
#[must_use]
pub fn without_listener(asking: &[Instruction]) -> Vec<Instruction> {
    const ERRNO_BITS: u32 = 0xffff;
    let refuse = |one: &Instruction| match *one {
        Instruction { code: code::RETURN, k, .. } if k & !ERRNO_BITS == verdict::NOTIFY => {
            Instruction { k: verdict::ERRNO | k & ERRNO_BITS, ..*one }
        }
        other => other,
    };
    asking.iter().map(refuse).collect()
}

/// The refusals that a listener tells of: what was refused, the flag that would allow it, and the errno to answer with.
///
/// `None` for a call that the filter never puts to a listener.
#[must_use]
pub fn refusal(number: u32) -> Option<(&'static str, &'static str, beget_sys::Errno)> {
    use beget_sys::{Errno, nr};
    match number {
        nr::FORK | nr::VFORK | nr::CLONE => Some(("a process", "--spawn", Errno::EPERM)),
        nr::SOCKET => Some((
            "a socket",
            "--tcp-connect PORT, --tcp-bind PORT, --inet-dns or --net",
            Errno::EAFNOSUPPORT,
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
