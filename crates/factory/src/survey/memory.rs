//! The memory of a program: what copies would share, what they would not have, and which files it came from.
//!
//! Safety idea: each copy has memory of its own, but for what is mapped shared; so nothing shared that can be written is let through, however
//! it came about.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use super::birth;
use super::hazard::{Hazard, Kind};
use super::text::{self, Mapping};
use crate::tracee::Tracee;
use crate::{Error, Fault, Result};

/// A file that is mapped in a template, as it was on disk when that was looked at: when one of these changes, the template is out of date.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MappedFile {
    /// Its path, as the kernel told it.
    pub path: PathBuf,
    /// The device that it is on, and its number there (`st_dev`, `st_ino`).
    pub inode: (u64, u64),
    /// In bytes.
    pub size: u64,
    /// When it was last changed, contents or otherwise: nanoseconds since 1970 (`st_ctime`). Nobody sets that to what he likes.
    pub changed: i128,
    /// Where it can be looked at from here: its path, or, where that leads elsewhere here than there, the same below the root of the template.
    watched: PathBuf,
}

impl MappedFile {
    fn look(path: PathBuf, watched: PathBuf) -> Option<MappedFile> {
        let found = std::fs::metadata(&watched).ok()?;
        let changed = i128::from(found.ctime()) * 1_000_000_000 + i128::from(found.ctime_nsec());
        Some(MappedFile { path, inode: (found.dev(), found.ino()), size: found.size(), changed, watched })
    }

    /// The file that a path leads to for a program with this root.
    fn below(root: &str, path: PathBuf) -> Option<MappedFile> {
        let inside = PathBuf::from(root).join(path.strip_prefix("/").ok()?);
        let found = MappedFile::look(path.clone(), inside)?;
        match MappedFile::look(path.clone(), path) {
            Some(here) if (here.inode, here.changed) == (found.inode, found.changed) => Some(here),
            _ => Some(found),
        }
    }

    /// Whether it is still there, unchanged. It is asked for by name. One that only the template's root has at that name is not, once the
    /// template has ended.
    #[must_use]
    pub fn is_current(&self) -> bool {
        MappedFile::look(self.path.clone(), self.watched.clone()).as_ref() == Some(self)
    }
}

/// Its mappings.
pub(super) fn mappings(tracee: &Tracee) -> Result<Vec<Mapping>> {
    let name = format!("/proc/{}/smaps", tracee.number());
    let smaps = std::fs::read(name).map_err(|error| birth::failed("smaps", error))?;
    let nothing = || Error::new("template: survey: smaps", "it means nothing", Fault::Kernel);
    text::mappings(&smaps).ok_or_else(nothing)
}

/// What is the kernel's own, in every process.
fn is_kernels(mapping: &Mapping) -> bool {
    mapping.inode == 0
        && [&b"[vvar"[..], b"[vdso]", b"[vsyscall]"].iter().any(|own| mapping.path.starts_with(own))
}

/// Judges one; several things may be wrong with it, and the first says enough.
fn judge(mapping: &Mapping) -> Option<Hazard> {
    let what = mapping.name();
    let refused = |kind, why: &str| Some(Hazard::refused(kind, what.clone(), why));
    if mapping.is_shared() && what.starts_with("/SYSV") {
        return refused(Kind::SharedMemory, "a segment of System V, shared with whoever attaches it");
    }
    if mapping.is_shared() && what.starts_with("/[aio]") {
        return refused(Kind::Object, "asynchronous input and output, of which a copy has none");
    }
    // May be written, or be made so: what is sealed, or was opened to be read, has neither.
    if mapping.is_shared() && (mapping.is_writable() || mapping.has(b"mw")) {
        return refused(Kind::SharedMemory, "it can be written, and all products would share it");
    }
    if mapping.has(b"um") || mapping.has(b"uw") || mapping.has(b"ui") {
        return refused(Kind::Memory, "another process answers its page faults, and not those of a copy");
    }
    if mapping.has(b"io") || mapping.has(b"pf") {
        return refused(Kind::Memory, "it is a device's");
    }
    if mapping.has(b"dc") {
        return refused(Kind::Memory, "the program keeps it from copies of itself");
    }
    if mapping.has(b"ss") {
        return refused(Kind::Memory, "a shadow stack, which is not copied");
    }
    if mapping.has(b"wf") {
        return Some(Hazard::cured(
            Kind::Memory,
            what,
            "the kernel wipes it in each copy, as the program asked",
        ));
    }
    if mapping.has(b"lo") {
        return Some(Hazard::declared(
            Kind::Memory,
            format!("{what} is locked in the template, and may be swapped out in products"),
        ));
    }
    if mapping.has(b"ht") {
        return Some(Hazard::declared(
            Kind::Memory,
            format!("{what} is of huge pages, of which a product needs some to be free"),
        ));
    }
    None
}

/// What is wrong with its memory, and the files that it came from.
pub(super) fn survey(tracee: &Tracee, all: &[Mapping], hazards: &mut Vec<Hazard>) -> Vec<MappedFile> {
    let root = format!("/proc/{}/root", tracee.number());
    let mut files = Vec::new();
    for mapping in all.iter().filter(|mapping| !is_kernels(mapping)) {
        if let Some(hazard) = judge(mapping)
            && !hazards.contains(&hazard)
        {
            hazards.push(hazard);
        }
        if mapping.inode == 0 || !mapping.path.starts_with(b"/") || mapping.is_shared() && mapping.has(b"mw")
        {
            continue;
        }
        // A name may have in it what looks like the kernel's escape, or its mark; the inode says which was meant. Some file systems show another
        // one here than there: then the mark alone is believed.
        let names = [text::unescaped(&mapping.path), mapping.path.clone()];
        let look = |name: &Vec<u8>| MappedFile::below(&root, PathBuf::from(OsString::from_vec(name.clone())));
        let same = names.iter().filter_map(look).find(|file| file.inode.1 == mapping.inode);
        let gone = mapping.path.ends_with(b" (deleted)");
        let file = same.or_else(|| if gone { None } else { names.first().and_then(look) });
        match file {
            Some(file) if !files.contains(&file) => files.push(file),
            Some(_) => {}
            None => {
                let hazard = Hazard::declared(
                    Kind::Replaced,
                    format!("{} is not on disk as it was mapped", mapping.name()),
                );
                if !hazards.contains(&hazard) {
                    hazards.push(hazard);
                }
            }
        }
    }
    files
}

/// How much memory is searched for a number.
const SEARCHED: u64 = 64 << 20;

/// Counts where its process number stands in memory that it wrote, but for `known` places, which are seen to.
pub(super) fn cached_number(tracee: &Tracee, all: &[Mapping], own: u32, known: &[u64]) -> Option<Hazard> {
    let (mut found, mut left, sought) = (0u64, SEARCHED, own.to_ne_bytes());
    let mut room = vec![0; 1 << 20];
    // Below the stack pointer nothing is anybody's, but for what a leaf function may use.
    let stack = tracee.registers.rsp.saturating_sub(128);
    for mapping in all.iter().filter(|one| one.is_writable() && !one.is_shared() && one.anonymous > 0) {
        let mut at = if (mapping.start..mapping.end).contains(&stack) { stack & !3 } else { mapping.start };
        while at < mapping.end && left > 0 {
            let length = (mapping.end - at).min(room.len() as u64).min(left);
            let chunk = room.get_mut(..length as usize)?;
            // What cannot be read cannot be searched, and is nobody's number.
            if tracee.read(at, chunk).is_ok() {
                let words = chunk.chunks_exact(4).zip((at..).step_by(4));
                found += words.filter(|(word, at)| *word == sought && !known.contains(at)).count() as u64;
            }
            at += length;
            left -= length;
        }
    }
    let cut = if left == 0 { format!(", of the first {} MiB", SEARCHED >> 20) } else { String::new() };
    let what = format!(
        "{own}, the template's, stands in {found} places of its memory{cut}: a product may take it for its own"
    );
    (found > 0).then(|| Hazard::declared(Kind::CachedNumber, what))
}

#[cfg(test)]
mod tests {
    use super::super::hazard::Verdict;
    use super::*;

    fn mapping(rights: &[u8; 4], path: &str, flags: &[&[u8; 2]]) -> Mapping {
        let flags = flags.iter().map(|flag| **flag).collect();
        Mapping { rights: *rights, path: path.into(), flags, inode: 5, ..Mapping::default() }
    }

    #[test]
    fn what_is_shared_and_can_be_written_is_refused_now_or_later() {
        for (rights, flags) in [(b"rw-s", &[b"sh", b"mw"][..]), (b"r--s", &[b"sh", b"mw"])] {
            let found = judge(&mapping(rights, "/x", flags)).expect("it is shared");
            assert_eq!(found.kind, Kind::SharedMemory);
            assert!(found.is_refused());
        }
        assert_eq!(judge(&mapping(b"r--s", "/sealed", &[b"rd", b"mr", b"ms"])), None);
        assert_eq!(judge(&mapping(b"rw-p", "/x", &[b"mw"])), None);
    }

    #[test]
    fn what_a_copy_lacks_is_refused_and_what_is_wiped_is_well() {
        for flag in [b"dc", b"io", b"pf", b"um", b"ss"] {
            assert!(judge(&mapping(b"rw-p", "", &[flag])).expect("it is not copied").is_refused());
        }
        let wiped = judge(&mapping(b"rw-p", "", &[b"wf"])).expect("it is told");
        assert!(matches!(wiped.verdict, Verdict::Cured(_)));
        let locked = judge(&mapping(b"rw-p", "", &[b"lo"])).expect("it is told");
        assert_eq!(locked.verdict, Verdict::Declared);
    }

    #[test]
    fn the_kernels_own_pages_are_told_by_more_than_a_name() {
        let own = Mapping { inode: 0, ..mapping(b"r--p", "[vvar_vclock]", &[b"io"]) };
        assert!(is_kernels(&own) && !is_kernels(&mapping(b"r--p", "[vvar]", &[b"io"])));
    }
}
