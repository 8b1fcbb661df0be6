//! The operations that make a private root, and those that look something up in one.
//!
//! Safety idea: the check of a plan lets through only what changes namespaces that the plan itself has made; every name is looked up inside the
//! new root, where no link leads out, and what is shown of the old root must be the very file that its creator opened.

use beget_sys::namespace::{self, Lookup, Name};
use beget_sys::{Errno, Result, process};

use crate::encoding::Plan;
use crate::op::{Op, Span, mapping};

/// Does `op`, which is one of those; `slot` is where [`Op::Open`] puts what it opens.
pub(crate) fn perform(plan: &Plan<'_>, op: Op, descriptors: &[i32], slot: i32) -> Result<()> {
    let name = |at: u32| plan.string(at).map(<[u8]>::as_ptr).ok_or(Errno::EINVAL);
    let bytes = |span: Span| plan.bytes(span).ok_or(Errno::EINVAL);
    let given = |source: u32| descriptors.get(source as usize).copied().ok_or(Errno::EBADF);
    match op {
        Op::MapUsers { source, users, groups } => {
            let folder = given(source)?;
            // SAFETY: constants that end in NUL.
            unsafe {
                namespace::set(folder, c"self/setgroups".as_ptr().cast(), b"deny")?;
                namespace::set(folder, c"self/uid_map".as_ptr().cast(), bytes(users)?)?;
                namespace::set(folder, c"self/gid_map".as_ptr().cast(), bytes(groups)?)
            }
        }
        Op::Namespaces { kinds } => namespace::unshare(kinds),
        Op::NewRoot { options } => {
            namespace::keep_mounts_private()?;
            // What is made in it has exactly the mode that is asked for; the program's own mask is one of its own operations.
            process::umask(0)?;
            // SAFETY: the check saw that every string ends in NUL, here and below.
            unsafe { namespace::mount_over_root(c"tmpfs".as_ptr().cast(), strings(plan, options), SETTLED) }
        }
        // SAFETY: likewise.
        Op::MakeDirectory { folder, name: own, mode } => unsafe {
            namespace::make_directory(name(folder)?, name(own)?, mode)
        },
        // SAFETY: likewise.
        Op::MakeFile { folder, name: own, contents, mode } => unsafe {
            namespace::make_file(name(folder)?, name(own)?, bytes(contents)?, mode)
        },
        // SAFETY: likewise.
        Op::MakeLink { folder, name: own, target } => unsafe {
            namespace::make_link(name(folder)?, name(own)?, name(target)?)
        },
        // SAFETY: likewise.
        Op::Bind { source, path, at, attributes } => unsafe {
            namespace::bind(name(path)?, given(source)?, attributes, name(at)?)
        },
        // SAFETY: likewise.
        Op::Mount { filesystem, options, at, attributes } => unsafe {
            namespace::mount(name(filesystem)?, strings(plan, options), attributes, name(at)?)
        },
        // SAFETY: likewise.
        Op::Seal { at, attributes } => unsafe { namespace::seal(name(at)?, attributes) },
        Op::BecomeRoot { attributes } => namespace::become_root(attributes),
        Op::HostName { name } => namespace::set_host_name(bytes(name)?),
        Op::Loopback {} => namespace::bring_up_loopback(),
        Op::Open { path, source, .. } => {
            let same = if source == mapping::NO_FILE { -1 } else { given(source)? };
            // SAFETY: the check saw that the string ends in NUL; the table of descriptors is the newborn's own.
            unsafe { namespace::open_into(name(path)?, Lookup::InRoot, same, slot) }
        }
        // SAFETY: the check saw that the string ends in NUL, here and below.
        Op::EnterDirectory { path } => unsafe { namespace::enter(name(path)?, Lookup::InRoot) },
        // SAFETY: likewise.
        Op::Allow { slot, path, rights } => unsafe {
            namespace::allow(slot, name(path)?, Lookup::InRoot, rights)
        },
        _ => Err(Errno::EINVAL),
    }
}

/// What the new root's own filesystem is mounted with: files that mean more than themselves are never made there.
const SETTLED: u32 = namespace::attribute::NO_SET_USER | namespace::attribute::NO_DEVICES;

fn strings<'p>(plan: &'p Plan<'_>, table: Span) -> impl Iterator<Item = Name> + use<'p> {
    (0..table.count).map_while(move |index| plan.string_of(table, index).map(<[u8]>::as_ptr))
}
