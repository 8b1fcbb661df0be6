//! Builds the Landlock ruleset, outside, as a descriptor.

use std::os::fd::{AsFd, OwnedFd};

use beget_sys::Errno;
use beget_sys::landlock::{self, Handled, fs, net, scope};

use crate::error::{Error, Reason};
use crate::{Grant, Opened, Support};

/// The rights on files that ABI `abi` knows.
fn known(abi: u32) -> u64 {
    let bits = match abi {
        ..=1 => 13,
        2 => 14,
        3 | 4 => 15,
        _ => 16,
    };
    (1 << bits) - 1
}

/// The rights that a rule may give: those that the kernel knows, and none to execute where only the program is executed.
pub(crate) fn allowed(support: Support, only: bool) -> u64 {
    known(support.landlock.unwrap_or(0)) & if only { !fs::EXECUTE } else { !0 }
}

/// A ruleset that allows what was opened and the granted ports, and nothing else.
pub(crate) fn build(
    support: Support,
    opened: &[Opened],
    grants: &[Grant],
    only: bool,
) -> Result<Option<OwnedFd>, Error> {
    let Some(abi) = support.landlock else { return Ok(None) };
    let open_network = grants.contains(&Grant::Net) || grants.contains(&Grant::Loopback);
    let handled = Handled {
        fs: known(abi),
        net: if abi >= 4 && !open_network { net::BIND_TCP | net::CONNECT_TCP } else { 0 },
        scope: if abi >= 6 { scope::ABSTRACT_UNIX_SOCKET | scope::SIGNAL } else { 0 },
    };
    let failed = |errno| Error::kernel("Landlock ruleset", errno);
    let ruleset = landlock::create(&handled).map_err(failed)?;
    for one in opened {
        let executable = if only && !one.program { !fs::EXECUTE } else { !0 };
        let rights = one.rights.0 & handled.fs & executable;
        if rights != 0 {
            allow(&ruleset, one, rights).map_err(|errno| refuse_rule(one, errno))?;
        }
    }
    if handled.net != 0 {
        for (port, right) in ports(grants) {
            landlock::allow_port(ruleset.as_fd(), port, right).map_err(failed)?;
        }
    }
    Ok(Some(ruleset))
}

/// A ruleset that takes no file and no port away: whoever puts it on is in a domain of its own, which reaches no other by a signal, an abstract
/// socket or a trace. The kernel copies every rule that is in force already for it, and none of these.
///
/// `None` where there are no scopes (before ABI 6, Linux 6.12): a ruleset that handles nothing is refused there.
///
/// # Errors
/// Those of the kernel.
pub fn apart(support: Support) -> Result<Option<OwnedFd>, Error> {
    if support.landlock.is_none_or(|abi| abi < 6) {
        return Ok(None);
    }
    let handled = Handled { scope: scope::ABSTRACT_UNIX_SOCKET | scope::SIGNAL, ..Handled::default() };
    landlock::create(&handled).map(Some).map_err(|errno| Error::kernel("Landlock ruleset", errno))
}

fn allow(ruleset: &OwnedFd, one: &Opened, rights: u64) -> beget_sys::Result<()> {
    match landlock::allow_path(ruleset.as_fd(), one.file.as_fd(), rights) {
        // A right for directories on what is none; never the other way round.
        Err(Errno::EINVAL) if rights & fs::ON_FILES != 0 && rights & !fs::ON_FILES != 0 => {
            landlock::allow_path(ruleset.as_fd(), one.file.as_fd(), rights & fs::ON_FILES)
        }
        answer => answer,
    }
}

fn refuse_rule(one: &Opened, errno: Errno) -> Error {
    let part = format!("grant of {}", one.path.display());
    match errno {
        Errno::EBADFD => {
            Error { part, reason: Reason::Senseless("no file of a filesystem, so no rule can name it") }
        }
        errno => Error::kernel(&part, errno),
    }
}

fn ports(grants: &[Grant]) -> impl Iterator<Item = (u16, u64)> {
    const DNS: u16 = 53;
    grants.iter().filter_map(|grant| match grant {
        Grant::TcpConnect(port) => Some((*port, net::CONNECT_TCP)),
        Grant::TcpBind(port) => Some((*port, net::BIND_TCP)),
        Grant::InetDns => Some((DNS, net::CONNECT_TCP)),
        _ => None,
    })
}
