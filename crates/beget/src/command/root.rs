//! What a command in a private root cannot have, and what is looked up there.
//!
//! Safety idea: a directory that was opened outside leads outside, whatever the root is; so none is given, and the working directory and the
//! program are opened anew inside.

use std::borrow::Cow;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use beget_authority::Grant;
use beget_authority::root::Layout;
use beget_plan::Op;

use super::{Command, Directory, Group};
use crate::error::{Error, Fault, Result};
use crate::program::Program;
use crate::writer::Writer;

/// Whether the rest of the command goes with a private root.
pub(super) fn check(command: &Command) -> Result<()> {
    let wrong = |part: &str, words: &str| Err(Error::new(part, words, Fault::Caller));
    if command.has_ambient() {
        return wrong("root", "a child with ambient authority has the root that its creator has");
    }
    if command.own_child || command.nursery.is_some() {
        return wrong("root", "its parent is the first process of its own root, and no other");
    }
    if command.credentials.are_changed() {
        return wrong("root", "its user and group are those of the root: Root::uid and Root::gid");
    }
    if matches!(command.group, Group::Caller) || matches!(command.group, Group::Join(group) if group != 0) {
        return wrong("root", "a process group of outside has no number inside");
    }
    Ok(())
}

/// The program's name outside: one that lies at another place in a private root is asked for by its name there.
pub(super) fn outside(command: &Command) -> Cow<'_, OsStr> {
    let asked = Path::new(&command.program);
    let placed =
        command.private_root().into_iter().flat_map(|_| &command.grants).find_map(|grant| match grant {
            Grant::At(inner, at) => match &**inner {
                Grant::Execute(source) | Grant::Read(source) | Grant::Write(source) => {
                    Some(match asked.strip_prefix(at).ok()? {
                        rest if rest.as_os_str().is_empty() => source.clone(),
                        rest => source.join(rest),
                    })
                }
                _ => None,
            },
            _ => None,
        });
    placed.map_or(Cow::Borrowed(command.program.as_os_str()), |path| Cow::Owned(path.into()))
}

/// The working directory's name, absolute.
pub(super) fn directory(command: &Command) -> Result<String> {
    let Directory::Path(path) = &command.directory else {
        let words = "a directory that is open leads out of a private root: name it";
        return Err(Error::new("working directory", words, Fault::Caller));
    };
    let part = || format!("working directory {}", path.display());
    let absolute = std::path::absolute(path).map_err(|error| Error::io(part(), error))?;
    let text = absolute.to_str().map(str::to_owned);
    text.ok_or_else(|| Error::new(part(), "not UTF-8", Fault::Caller))
}

/// The name of the file that is executed.
pub(super) fn path(program: &Program) -> Result<CString> {
    let path = beget_authority::real_path(&program.file).unwrap_or_else(|| program.path.clone());
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error::new("program", "its name has a NUL byte", Fault::Caller))
}

/// Allows what is made inside, in a ruleset that could not know it.
pub(super) fn allow(layout: &Layout, slot: i32, writer: &mut Writer) -> Result<()> {
    for (place, rights) in &layout.allowed {
        let part = || format!("root: {}", place.display());
        let path = CString::new(place.as_os_str().as_bytes())
            .map_err(|_| Error::new(part(), "it has a NUL byte", Fault::Caller))?;
        let path = writer.draft.string(&path);
        writer.push(Op::Allow { slot, path, rights: rights.0 }, part());
    }
    Ok(())
}
