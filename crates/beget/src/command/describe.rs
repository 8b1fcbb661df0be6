//! What the child of a command would hold.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use beget_authority::Grant;
use beget_authority::limit::RESOURCES;
use beget_authority::root::{Item, Layout};
use beget_plan::Plan;
use beget_sys::namespace::attribute;
use rustix::net::{AddressFamily, SocketType};

use super::prepare::Prepared;
use super::slots::Source;
use super::{Command, Group};
use crate::description::{self, Description};
use crate::embryo::{Part, Place};

fn show_slot(slot: &super::slots::Slot, file: Option<BorrowedFd<'_>>) -> description::Slot {
    use rustix::fs::{OFlags, fcntl_getfl};
    use rustix::net::sockopt::{socket_domain, socket_type};
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let file = file.or(match slot.source {
        Source::Inherited(0) => Some(stdin.as_fd()),
        Source::Inherited(1) => Some(stdout.as_fd()),
        Source::Inherited(_) => Some(stderr.as_fd()),
        _ => None,
    });
    let is = |what: fn(BorrowedFd<'_>) -> bool| file.is_some_and(what);
    description::Slot {
        number: slot.number,
        name: slot.name.clone(),
        terminal: is(|file| file.is_terminal()),
        own: slot.source == Source::Terminal,
        readable: is(|file| fcntl_getfl(file).is_ok_and(|flags| flags & OFlags::RWMODE != OFlags::WRONLY)),
        reaches_sockets: is(|file| {
            socket_domain(file) == Ok(AddressFamily::UNIX)
                && (socket_type(file) == Ok(SocketType::DGRAM)
                    // One that is neither connected nor listening can still be connected to any path.
                    || rustix::net::getpeername(file).is_err()
                        && !rustix::net::sockopt::socket_acceptconn(file).unwrap_or(false))
        }),
    }
}

/// What the child would hold.
pub(super) fn describe(command: &Command, prepared: &Prepared) -> Description {
    let (program, authority) = (&prepared.program, &prepared.authority);
    let mut files: Vec<description::File> = authority
        .opened
        .iter()
        .map(|one| description::File { path: one.real_path(), rights: one.rights, below: one.directory })
        .collect();
    files.sort_by(|a, b| a.path.cmp(&b.path));
    files.dedup();
    let kept = prepared.slots.all.iter().filter(|slot| slot.kept);
    Description {
        program: program.path.clone(),
        interpreted: program.interpreted.is_some(),
        privileged: program.privileged,
        arguments: command.arguments.clone(),
        environment: prepared.environment.clone(),
        directory: prepared
            .directory
            .as_ref()
            .and_then(beget_authority::real_path)
            .map_or_else(|| prepared.directory_name.clone(), |path| path.display().to_string()),
        slots: kept
            .map(|slot| show_slot(slot, super::prepare::given(command, prepared, slot.source)))
            .collect(),
        files,
        root: authority.layout.as_ref().map(layout_lines).unwrap_or_default(),
        network: command
            .grants
            .iter()
            .filter(|grant| {
                matches!(
                    grant.plain(),
                    Grant::TcpConnect(_)
                        | Grant::TcpBind(_)
                        | Grant::InetDns
                        | Grant::Net
                        | Grant::Loopback
                        | Grant::Unix(_)
                )
            })
            .cloned()
            .collect(),
        channel: command.channel,
        spawn: command.grants.contains(&Grant::Spawn),
        ambient: command.has_ambient(),
        umask: command.umask,
        session: command.group == Group::Session,
        foreground: command.foreground,
        limits: prepared
            .limits
            .iter()
            .map(|one| (RESOURCES[one.number as usize], one.bounds.soft, one.bounds.hard))
            .collect(),
        enforced: authority.enforced.clone(),
        operations: operations(command, prepared),
        support: command.support,
    }
}

/// What lies in a private root, in words; folders on the way to something are left out.
fn layout_lines(layout: &Layout) -> Vec<(PathBuf, String)> {
    let access = |attributes: u32| match attributes & attribute::READ_ONLY {
        0 => "to write",
        _ => "to read",
    };
    let sealed = |at: &Path| {
        layout.items.iter().any(|item| matches!(item, Item::Seal { at: place, .. } if place == at))
    };
    let line = |item: &Item| {
        let what = match item {
            Item::Directory { .. } | Item::Seal { .. } => return None,
            Item::File { contents, .. } if contents.is_empty() => return None,
            Item::File { contents, .. } => format!("a file of {} bytes", contents.len()),
            Item::Link { target, .. } => format!("a link to {}", target.display()),
            Item::Bind { source, at, attributes } if source.path == *at => access(*attributes).to_owned(),
            Item::Bind { source, attributes, .. } => {
                format!("{}, {}", source.path.display(), access(*attributes))
            }
            Item::Mount { filesystem: "tmpfs", options, attributes, .. } => {
                let size =
                    options.iter().find(|(name, _)| *name == "size").map_or("", |(_, size)| size.as_str());
                let read_only = if sealed(item.at()) { attribute::READ_ONLY } else { 0 };
                format!("memory, at most {size} bytes, {}", access(attributes | read_only))
            }
            Item::Mount { filesystem: "overlay", .. } => "a scratch copy, to write".to_owned(),
            Item::Mount { filesystem, attributes, .. } => {
                format!("a {filesystem} of its own, {}", access(*attributes))
            }
        };
        Some((item.at().to_owned(), what))
    };
    // Of several at one place the last is what is seen; what is below a scratch copy is what that is made of.
    let lines: BTreeMap<PathBuf, String> = layout.items.iter().filter_map(line).collect();
    let scratches: Vec<&Path> = layout
        .items
        .iter()
        .filter(|item| matches!(item, Item::Mount { filesystem: "overlay", .. }))
        .map(Item::at)
        .collect();
    let hidden =
        |at: &Path| ["lower", "kept"].iter().any(|name| scratches.iter().any(|top| at == top.join(name)));
    lines.into_iter().filter(|(at, _)| !hidden(at)).collect()
}

/// The names of the plan's operations. Where a program will be loaded does not change them.
fn operations(command: &Command, prepared: &Prepared) -> Vec<String> {
    if let Some(direct) = &prepared.direct {
        let mut part = Part::new();
        let written = direct.write(command, prepared, 0, &Place::somewhere(), &mut part);
        let ops = written.map(|()| part.writer.draft.ops().to_vec()).unwrap_or_default();
        return ops.into_iter().map(|op| op.name().to_owned()).collect();
    }
    let check = if command.forks { Plan::check_part } else { Plan::check };
    let Ok(plan) = check(&prepared.plan, prepared.engine(command)) else { return Vec::new() };
    (0..plan.count()).filter_map(|index| plan.op(index)).map(|op| op.name().to_owned()).collect()
}
