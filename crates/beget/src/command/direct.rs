//! A command whose program is put into memory instead of being executed.
//!
//! Safety idea: it is the same plan, with the load among the operations that come before confinement and the start in the place of the
//! exec; so nothing of the program runs before everything that holds it is on.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;

use beget_plan::Op;
use beget_plan::op::Span;

use super::prepare::Prepared;
use super::{Command, write};
use crate::embryo::{Load, Part, Place, Source, loader_of, write_load};
use crate::error::{Error, Result};
use crate::program::Program;

/// The opened image, and its loader's.
#[derive(Debug)]
pub(super) struct Direct {
    program: Source,
    loader: Option<Source>,
    /// The program's path.
    name: CString,
}

impl Direct {
    pub(super) fn open(command: &Command, program: &Program) -> Result<Direct> {
        let part = format!("program {}", command.program.display());
        let file = program.file.try_clone().map_err(|error| Error::io(part.as_str(), error))?;
        let source = Source::open(file, part)?;
        let loader = loader_of(&source)?;
        // Of a script it is the interpreter's name, as after an exec.
        let path = match &program.interpreted {
            Some(before) => before.first().cloned().unwrap_or_default(),
            None => CString::new(program.path.as_os_str().as_bytes()).unwrap_or_default(),
        };
        Ok(Direct { program: source, loader, name: path })
    }

    /// The whole birth, for an embryo that lies so.
    pub(super) fn write<'a>(
        &'a self,
        command: &Command,
        prepared: &'a Prepared,
        number: u32,
        place: &Place,
        part: &mut Part<'a>,
    ) -> Result<()> {
        let (arguments, environment) = &prepared.strings;
        let mut environment = environment.clone();
        if prepared.slots.listening > 0 {
            environment.insert(0, CString::new(format!("LISTEN_PID={number}")).unwrap_or_default());
        }
        let load = Load {
            program: &self.program,
            loader: self.loader.as_ref(),
            arguments,
            environment: &environment,
            name: &self.name,
            comm: comm(&self.name),
            user: command.credentials.user,
            group: command.credentials.group,
        };
        prepared.write_before(command, &mut part.writer)?;
        let loaded = write_load(&load, place, part)?;
        prepared.write_after(command, &mut part.writer)?;
        write::last(command, &prepared.limits, &mut part.writer);
        // What an exec would close.
        for slot in prepared.slots.all.iter().filter(|slot| !slot.kept) {
            let number = slot.number as u32;
            part.writer.push(Op::Close { first: number, last: number }, "closing descriptors");
        }
        if command.credentials.are_changed() {
            // An exec would make it the new user's to look into; so late, because until then it can be told things.
            part.writer.push(Op::Dumpable { value: 1 }, "dumpable");
        }
        let words: Vec<u8> = loaded.registers.words().iter().flat_map(|word| word.to_ne_bytes()).collect();
        let Span { at, count } = part.writer.draft.bytes(&words);
        part.push(
            Op::Enter { registers: Span { at, count: count / 8 }, stop: command.suspended.into() },
            "start",
        );
        Ok(())
    }

    /// Whether the files were there to their ends when everything was mapped.
    pub(super) fn is_whole(&self) -> Result<()> {
        self.program.is_whole()?;
        self.loader.as_ref().map_or(Ok(()), Source::is_whole)
    }
}

/// The last part of a path.
fn comm(path: &CStr) -> &CStr {
    let bytes = path.to_bytes_with_nul();
    let from = bytes.iter().rposition(|byte| *byte == b'/').map_or(0, |at| at + 1);
    CStr::from_bytes_with_nul(&bytes[from..]).unwrap_or(path)
}
