//! Whether a process can be copied at all, and which descriptors it has.
//!
//! Safety idea: a copy is made of a process with one thread, for the others' locks would stay locked in it for ever; and of one that shares no
//! memory that it may write to, for that would be a way out that nobody granted. What cannot be told is refused.

use std::fmt;
use std::fs;
use std::io;
use std::os::fd::{OwnedFd, RawFd};
use std::string::{String, ToString};
use std::vec::Vec;

use beget_sys::{Errno, descriptor};

/// Why a process is not copied. Nothing was made.
#[derive(Debug)]
pub enum Refusal {
    /// It has so many threads.
    Threads(usize),
    /// It shares memory with others that it may write to: the kernel's line of it in `/proc/PID/maps`.
    SharedMemory(String),
    /// What the kernel says of it in `/proc` cannot be read: which file, and why.
    Unknown(&'static str, io::Error),
    /// There is no number, or no memory, for what a copy is made with; or no `/dev/null`.
    Means(&'static str, io::Error),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Threads(count) => {
                write!(
                    f,
                    "this process has {count} threads, and a copy would have one of them and the locks of all"
                )
            }
            Refusal::SharedMemory(line) => {
                write!(f, "this process shares memory with others, and a copy would still hold it: {line}")
            }
            Refusal::Unknown(file, error) => {
                write!(f, "what a copy would hold cannot be told: {file}: {error}")
            }
            Refusal::Means(what, error) => write!(f, "{what}: {error}"),
        }
    }
}

impl core::error::Error for Refusal {}

/// Looks whether the calling process can be copied.
///
/// # Errors
/// A [`Refusal`].
pub(super) fn check() -> Result<(), Refusal> {
    const TASKS: &str = "/proc/self/task";
    let threads = fs::read_dir(TASKS).map_err(|error| Refusal::Unknown(TASKS, error))?.count();
    if threads != 1 {
        return Err(Refusal::Threads(threads));
    }
    let maps = read("/proc/self/maps")?;
    match shared(&maps) {
        Shared::Nothing => Ok(()),
        Shared::Writable(line) => Err(Refusal::SharedMemory(line)),
        // Whether it could be made writable is told by the longer list alone, which takes the kernel a walk through all that is mapped.
        Shared::ToRead => match could_be_written(&read("/proc/self/smaps")?) {
            Some(line) => Err(Refusal::SharedMemory(line)),
            None => Ok(()),
        },
    }
}

fn read(file: &'static str) -> Result<String, Refusal> {
    // A file's name may be of any bytes.
    let bytes = fs::read(file).map_err(|error| Refusal::Unknown(file, error))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[derive(Debug, PartialEq, Eq)]
enum Shared {
    Nothing,
    ToRead,
    Writable(String),
}

/// The rights in a line of `maps`: `rw-s`.
fn rights(line: &str) -> Option<&str> {
    let mut words = line.split_ascii_whitespace();
    let (range, rights) = (words.next()?, words.next()?);
    let is_range = range.split_once('-').is_some_and(|(from, to)| {
        [from, to].iter().all(|end| !end.is_empty() && end.bytes().all(|byte| byte.is_ascii_hexdigit()))
    });
    (is_range && rights.len() == 4).then_some(rights)
}

/// What is shared with others of what `/proc/PID/maps` lists.
fn shared(maps: &str) -> Shared {
    let mut found = Shared::Nothing;
    for line in maps.lines() {
        match rights(line).map(str::as_bytes) {
            Some([_, b'w', _, b's']) => return Shared::Writable(line.to_string()),
            Some([.., b's']) => found = Shared::ToRead,
            _ => {}
        }
    }
    found
}

/// The first mapping of what `/proc/PID/smaps` lists that is shared and may be made writable.
fn could_be_written(smaps: &str) -> Option<String> {
    let mut mapping = None;
    for line in smaps.lines() {
        if rights(line).is_some() {
            mapping = Some(line);
        } else if let Some(flags) = line.strip_prefix("VmFlags:") {
            let has = |flag| flags.split_ascii_whitespace().any(|one| one == flag);
            // Shared, and may be made writable.
            if has("sh") && has("mw") {
                return mapping.map(ToString::to_string);
            }
        }
    }
    None
}

/// The numbers that are open in the calling process, in order.
#[derive(Debug)]
pub struct Table {
    open: Vec<RawFd>,
}

impl Table {
    /// What `/proc` lists, but for the list itself.
    pub(super) fn look() -> Result<Table, Refusal> {
        const FILES: &str = "/proc/self/fd";
        let unknown = |error| Refusal::Unknown(FILES, error);
        let mut open = Vec::new();
        for entry in fs::read_dir(FILES).map_err(unknown)? {
            let name = entry.map_err(unknown)?.file_name();
            let number = name.to_str().and_then(|name| name.parse().ok());
            open.push(number.ok_or_else(|| unknown(io::ErrorKind::InvalidData.into()))?);
        }
        // The folder itself was among them, and is closed by now.
        open.retain(|number| descriptor::is_open(*number));
        open.sort_unstable();
        Ok(Table { open })
    }

    /// The numbers, in order.
    #[must_use]
    pub fn open(&self) -> &[RawFd] {
        &self.open
    }

    /// One past the highest number that is open, and past the standard streams.
    #[must_use]
    pub fn end(&self) -> RawFd {
        self.open.last().map_or(3, |last| (last + 1).max(3))
    }
}

/// What a copy is made with, beside what it is given.
#[derive(Debug)]
pub struct Means {
    /// Over which it is held until its maker has its pidfd, and hears how far it came.
    pub(super) ours: OwnedFd,
    /// Over which the copy tells that.
    pub(super) theirs: OwnedFd,
    /// What lies at each number that the caller has open and the copy does not hold: it can be neither read nor written, and no name is
    /// looked up in it. The number stays taken, so that what owns it in the copy's memory never comes to mean something else.
    pub(super) nothing: OwnedFd,
}

impl Means {
    /// Looks whether the calling process can be copied, and opens what that takes.
    ///
    /// # Errors
    /// A [`Refusal`].
    pub fn new() -> Result<Means, Refusal> {
        check()?;
        let (ours, theirs) =
            descriptor::owned_pair().map_err(|errno| Refusal::Means("report of a copy", error(errno)))?;
        let nothing = descriptor::open_to_mean(c"/dev/null")
            .map_err(|errno| Refusal::Means("/dev/null, for what a copy does not hold", error(errno)))?;
        Ok(Means { ours, theirs, nothing })
    }

    /// Which numbers are open by now. Call it last: what is opened afterwards is a mistake.
    ///
    /// # Errors
    /// [`Refusal::Unknown`].
    pub fn table(&self) -> Result<Table, Refusal> {
        Table::look()
    }
}

fn error(errno: Errno) -> io::Error {
    io::Error::from_raw_os_error(errno.0)
}

#[cfg(test)]
mod tests {
    use std::format;

    use super::*;

    const MAPS: &str = "\
        5581c9a00000-5581c9a02000 r--p 00000000 08:01 131 /usr/bin/rw-s\n\
        7f10a0000000-7f10a0021000 rw-p 00000000 00:00 0 \n\
        7ffd1a000000-7ffd1a021000 rw-p 00000000 00:00 0 [stack]\n";

    #[test]
    fn what_is_private_is_not_shared_whatever_its_file_is_called() {
        assert_eq!(shared(MAPS), Shared::Nothing);
    }

    #[test]
    fn what_is_shared_is_found() {
        let line = "7f10a0100000-7f10a0101000 rw-s 00000000 00:01 77 /memfd:x (deleted)";
        assert_eq!(shared(&format!("{MAPS}{line}\n")), Shared::Writable(line.to_string()));
        let line = "7f10a0100000-7f10a0101000 r--s 00000000 08:01 77 /usr/lib/gconv-modules.cache";
        assert_eq!(shared(&format!("{MAPS}{line}\n")), Shared::ToRead);
        let with = |flags: &str| {
            let first =
                "5581c9a00000-5581c9a02000 r--p 00000000 08:01 131 /usr/bin/x\nVmFlags: rd mr mw me\n";
            could_be_written(&format!("{first}{line}\nSize: 4 kB\nVmFlags: {flags}\n"))
        };
        assert_eq!(with("rd sh mr me ms"), None);
        assert_eq!(with("rd sh mr mw me ms"), Some(line.to_string()));
    }
}
