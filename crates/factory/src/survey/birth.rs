//! How a program was born: what it was given, so that the survey knows what it made itself.
//!
//! Safety idea: it is looked at before the program's first instruction, when all that is there is what a plan has put there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use beget::Template;
use rustix::fs::FileType;

use super::text::{self, Described};
use crate::tracee::Tracee;
use crate::{Error, Fault, Result};

/// An open descriptor of a stopped process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Open {
    pub(super) identity: Identity,
    pub(super) described: Described,
    pub(super) links: u64,
    pub(super) size: u64,
}

/// What a descriptor leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) mode: u32,
    /// For a device: which.
    pub(super) special: u64,
    /// Where `/proc` leads: a path, `pipe:[5]`, `anon_inode:[eventpoll]`.
    pub(super) link: PathBuf,
}

impl Identity {
    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    pub(super) fn link(&self) -> String {
        self.link.to_string_lossy().into_owned()
    }

    /// Whether it leads to the same thing. A file keeps its identity when it is renamed.
    pub(super) fn is(&self, other: &Identity) -> bool {
        let unnamed = |one: &Identity| one.link().strip_prefix("anon_inode:").map(str::to_owned);
        (self.device, self.inode, self.mode) == (other.device, other.inode, other.mode)
            && unnamed(self) == unnamed(other)
    }
}

/// What a program was given at its birth, and what of that each of its products is given anew.
#[derive(Clone, Debug)]
pub struct Expectations {
    /// Of the socket that is its channel.
    pub(super) channel: u64,
    pub(super) given: BTreeMap<i32, Open>,
    pub(super) replaced: Vec<i32>,
    pub(super) namespaces: BTreeMap<String, PathBuf>,
    /// Lines of `status` that say who it is.
    pub(super) user: [String; 2],
    pub(super) filters: String,
    /// The limit of open files, soft and hard.
    pub(super) open_files: [u64; 2],
    pub(super) alone: bool,
}

impl Expectations {
    /// Those of a program that was just [seized](Tracee::seize), before its first instruction.
    ///
    /// # Errors
    /// Those of reading `/proc`; a program without the channel of a template.
    pub fn at_birth(tracee: &Tracee) -> Result<Expectations> {
        let number = tracee.number();
        let mut given = open(number)?;
        let channel = given.remove(&Template::CHANNEL).map(|open| open.identity);
        let Some(channel) = channel.filter(|channel| channel.file_type() == FileType::Socket) else {
            return Err(Error::new("template: survey", "it was born without a channel", Fault::Caller));
        };
        let status = read(number, "status")?;
        let line = |key| text::status(&status, key).unwrap_or_default().to_owned();
        Ok(Expectations {
            channel: channel.inode,
            given,
            replaced: vec![0, 1, 2],
            namespaces: namespaces(number)?,
            user: [line("Uid"), line("Gid")],
            filters: line("Seccomp_filters"),
            open_files: open_files(number)?,
            alone: false,
        })
    }

    /// The slots that each product is given anew, instead of 0, 1 and 2: what is in them now stands in for that.
    #[must_use]
    pub fn replaced(mut self, slots: &[i32]) -> Expectations {
        slots.clone_into(&mut self.replaced);
        self
    }

    /// Says that its nursery has no other child, so that each other is the program's doing. Without this those in its session or process group
    /// are.
    #[must_use]
    pub fn alone(mut self) -> Expectations {
        self.alone = true;
        self
    }

    /// The inode of the socket that is its channel.
    #[must_use]
    pub fn channel_inode(&self) -> u64 {
        self.channel
    }
}

pub(super) fn failed(what: &str, error: impl Into<std::io::Error>) -> Error {
    Error::io(format!("template: survey: {what}"), error)
}

/// A file of its folder in `/proc`, as text; names in it may be anything.
pub(super) fn read(number: i32, name: &str) -> Result<String> {
    let bytes = std::fs::read(format!("/proc/{number}/{name}")).map_err(|error| failed(name, error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Its open descriptors.
pub(super) fn open(number: i32) -> Result<BTreeMap<i32, Open>> {
    let entries = std::fs::read_dir(format!("/proc/{number}/fd")).map_err(|error| failed("fd", error))?;
    let mut found = BTreeMap::new();
    for entry in entries {
        let entry = entry.map_err(|error| failed("fd", error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let Ok(slot) = name.parse() else { continue };
        let link = std::fs::read_link(entry.path()).map_err(|error| failed(&name, error))?;
        // Through the link, to what is open: a path is not looked up.
        let stat = rustix::fs::stat(entry.path()).map_err(|error| failed(&name, error))?;
        let described = description(number, slot)?;
        let identity = Identity {
            device: stat.st_dev,
            inode: stat.st_ino,
            mode: stat.st_mode,
            special: stat.st_rdev,
            link,
        };
        let (links, size) = (stat.st_nlink, stat.st_size as u64);
        found.insert(slot, Open { identity, described, links, size });
    }
    Ok(found)
}

/// What `fdinfo` says of one of them now.
pub(super) fn description(number: i32, slot: i32) -> Result<Described> {
    let name = format!("fdinfo/{slot}");
    let what = || Error::new(format!("template: survey: {name}"), "it means nothing", Fault::Kernel);
    text::described(&read(number, &name)?).ok_or_else(what)
}

/// Its limit of open files, soft and hard.
pub(super) fn open_files(number: i32) -> Result<[u64; 2]> {
    let limits = read(number, "limits")?;
    text::open_files(&limits)
        .ok_or_else(|| Error::new("template: survey: limits", "they mean nothing", Fault::Kernel))
}

pub(super) fn namespaces(number: i32) -> Result<BTreeMap<String, PathBuf>> {
    let entries = std::fs::read_dir(format!("/proc/{number}/ns")).map_err(|error| failed("ns", error))?;
    let mut found = BTreeMap::new();
    for entry in entries.flatten() {
        let link = std::fs::read_link(entry.path());
        // One that it has not got yet has no link: the namespace of children to come, before the first.
        found.insert(entry.file_name().to_string_lossy().into_owned(), link.unwrap_or_default());
    }
    Ok(found)
}
