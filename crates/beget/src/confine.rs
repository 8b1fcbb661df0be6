//! What holds a process to its grants, as operations.
//!
//! Safety idea: what confines must not be left out because it was forgotten elsewhere: a ruleset or a listener without a slot is an error,
//! not a child that goes without.

use beget_authority::Authority;
use beget_authority::filter::{self, Policy};
use beget_authority::keyring::{self, Keyring};
use beget_plan::Op;
use beget_sys::process;
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, Fault, Result};
use crate::writer::Writer;

/// Where the plan finds what it needs for it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Places {
    /// The slot of the Landlock ruleset.
    pub(crate) ruleset: Option<i32>,
    /// The slot of one that is put on besides.
    pub(crate) narrower: Option<i32>,
    /// The slot of the socket over which the listener is sent.
    pub(crate) listener: Option<i32>,
}

/// Whether this process may give up its supplementary groups: it has the capability, and no user namespace around it denies the call
/// (`man 7 user_namespaces`).
pub(crate) fn may_set_groups() -> Result<bool> {
    const CAP_SETGID: u64 = 1 << 6;
    let held =
        process::capabilities().map_err(|errno| Error::kernel("capabilities", errno, Fault::Kernel))?;
    if held & CAP_SETGID == 0 {
        return Ok(false);
    }
    let failed = |errno: rustix::io::Errno| Error::io("supplementary groups", errno);
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let file = match rustix::fs::open("/proc/self/setgroups", flags, Mode::empty()) {
        Ok(file) => file,
        // Without `/proc` the call itself will tell.
        Err(rustix::io::Errno::NOENT) => return Ok(true),
        Err(errno) => return Err(failed(errno)),
    };
    let mut word = [0; 4];
    rustix::io::read(&file, &mut word).map_err(failed)?;
    Ok(&word != b"deny")
}

/// Adds all that a child with ambient authority does without. `groups`: it has its creator's supplementary groups still.
pub(crate) fn write(
    authority: &Authority,
    keyring: Keyring,
    groups: bool,
    places: Places,
    writer: &mut Writer,
) -> Result<()> {
    write_rights(authority, keyring, groups, places, writer)?;
    let Some(filter) = &authority.filter else { return Ok(()) };
    let refusing = writer.draft.filter(filter);
    match &authority.asking {
        Some(asking) => {
            let socket = places.listener.ok_or_else(|| without_slot("listener"))?;
            let asking = writer.draft.filter(asking);
            writer.push(Op::FilterWithListener { asking, refusing, socket }, "seccomp filter");
        }
        None => writer.push(Op::Filter { instructions: refusing }, "seccomp filter"),
    }
    Ok(())
}

/// The same for a nursery of such a child's own: it may create processes, and is held to everything else.
pub(crate) fn write_for_nursery(
    authority: &Authority,
    keyring: Keyring,
    groups: bool,
    places: Places,
    writer: &mut Writer,
) -> Result<()> {
    write_rights(authority, keyring, groups, places, writer)?;
    write_filter(authority.policy.map(|policy| Policy { spawn: true, ..policy }), writer);
    Ok(())
}

/// The same for a template, which may create siblings with `key`. Its copies are born with its filter.
pub(crate) fn write_for_template(
    authority: &Authority,
    keyring: Keyring,
    groups: bool,
    places: Places,
    key: u64,
    writer: &mut Writer,
) -> Result<()> {
    write_rights(authority, keyring, groups, places, writer)?;
    write_filter(authority.policy.map(|policy| policy.of_template(key)), writer);
    Ok(())
}

/// The filter of a policy, without a listener.
fn write_filter(policy: Option<Policy>, writer: &mut Writer) {
    if let Some(policy) = policy {
        let instructions = writer.draft.filter(&filter::build(&Policy { listener: false, ..policy }));
        writer.push(Op::Filter { instructions }, "seccomp filter");
    }
}

/// Everything but the filter, which comes last.
fn write_rights(
    authority: &Authority,
    keyring: Keyring,
    groups: bool,
    places: Places,
    writer: &mut Writer,
) -> Result<()> {
    let name = writer.draft.string(keyring::NAME);
    match keyring {
        Keyring::Made(serial) => writer.push(Op::JoinKeyring { name, serial }, "session keyring"),
        Keyring::Missing => writer.push(Op::MakeKeyring { name }, "session keyring"),
        Keyring::None => {}
    }
    if groups && may_set_groups()? {
        let groups = writer.draft.numbers(&[]);
        writer.push(Op::Groups { groups }, "supplementary groups");
    }
    writer.push(Op::DropCapabilities {}, "capabilities");
    writer.push(Op::NoNewPrivileges {}, "no_new_privs");
    if authority.ruleset.is_some() {
        let slot = places.ruleset.ok_or_else(|| without_slot("Landlock"))?;
        writer.push(Op::Landlock { slot }, "Landlock");
    }
    if let Some(slot) = places.narrower {
        writer.push(Op::Landlock { slot }, "Landlock, narrower grants");
    }
    Ok(())
}

fn without_slot(what: &str) -> Error {
    Error::new(what, "no slot was laid out for it", Fault::Beget)
}
