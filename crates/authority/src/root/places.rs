//! What is wanted at each place of a private root: the grants, what the caller adds, and what every root has.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use beget_sys::Errno;
use beget_sys::landlock::fs;
use beget_sys::namespace::attribute;
use rustix::fs::{Mode, OFlags};

use super::layout::Source;
use super::links::Ways;
use super::wanted::Wanted;
use super::{Entry, ROOM, Root};
use crate::error::{Error, Reason};
use crate::{Opened, Rights, base};

/// What is wanted at a place.
#[derive(Debug)]
pub(super) enum What {
    Directory,
    File { contents: Vec<u8> },
    Link { target: PathBuf },
    Bind { source: Source, directory: bool, attributes: u32, own: bool },
    Mount { filesystem: &'static str, options: Vec<(&'static str, String)>, attributes: u32 },
    Scratch { lower: Source, status: Metadata, keep: Option<Source> },
}

/// Of a mount: files in it mean no more than themselves.
pub(super) const PLAIN: u32 = attribute::NO_SET_USER | attribute::NO_DEVICES;

/// Where everything is wanted.
pub(super) struct Places {
    pub(super) wanted: Wanted,
    pub(super) allowed: Vec<(PathBuf, Rights)>,
    pub(super) kept: Vec<(PathBuf, u32)>,
    ways: Ways,
    /// What may be executed is decided by the mount, because there is no Landlock to decide it.
    by_mount: bool,
}

impl Places {
    /// Everything that is wanted; the last step leaves out what is shown anyhow.
    pub(super) fn of(root: &Root, opened: &[Opened], base: bool, landlock: bool) -> Result<Places, Error> {
        if root.host_name.is_empty() || root.host_name.len() > 64 || root.host_name.contains('\0') {
            return Err(wrong("root: host name", "has 1 to 64 bytes"));
        }
        if root.temporary == 0 {
            return Err(wrong("root: /tmp", NO_SIZE));
        }
        let (wanted, allowed, kept) = (Wanted::default(), Vec::new(), Vec::new());
        let mut places = Places { wanted, allowed, kept, ways: Ways::default(), by_mount: !landlock };
        places.allowed.push((PathBuf::from("/"), Rights::READ));
        places.grants(opened)?;
        for entry in &root.entries {
            places.entry(entry)?;
        }
        places.builtin(root, opened)?;
        if base {
            places.old_programs();
        }
        places.links(opened);
        places.drop_covered();
        Ok(places)
    }

    /// The attributes of the root itself.
    pub(super) fn of_the_root(&self) -> u32 {
        match self.wanted.get(Path::new("/")) {
            Some(What::Bind { attributes, .. } | What::Mount { attributes, .. }) => *attributes,
            _ => PLAIN | attribute::READ_ONLY,
        }
    }

    fn put(&mut self, at: &Path, what: What) -> Result<(), Error> {
        let at = checked(at)?;
        if self.wanted.get(&at).is_some() {
            return Err(wrong(&format!("root: {}", at.display()), "something else is there already"));
        }
        self.wanted.insert(at, what);
        Ok(())
    }

    fn attributes(&self, rights: Rights, device: bool) -> u32 {
        let mut attributes = attribute::NO_SET_USER;
        if !device {
            attributes |= attribute::NO_DEVICES;
        }
        if rights.0 & fs::WRITE_FILE == 0 {
            attributes |= attribute::READ_ONLY;
        }
        if self.by_mount && rights.0 & fs::EXECUTE == 0 {
            attributes |= attribute::NO_EXECUTE;
        }
        attributes
    }

    /// Memory to write in.
    fn memory(&self, size: u64, mode: u32) -> What {
        let options = vec![("size", size.to_string()), ("mode", format!("{mode:o}"))];
        let attributes = PLAIN | if self.by_mount { attribute::NO_EXECUTE } else { 0 };
        What::Mount { filesystem: "tmpfs", options, attributes }
    }

    fn grants(&mut self, opened: &[Opened]) -> Result<(), Error> {
        for one in opened {
            let path = self.ways.place(one);
            let attributes = self.attributes(one.rights, one.device);
            let at = match &one.at {
                Some(at) => checked(at)?,
                // A terminal of the old root has no number among those of this one.
                None if path.starts_with("/dev/pts") => PathBuf::from("/dev/console"),
                None => path.clone(),
            };
            match self.wanted.get_mut(&at) {
                // The same file granted twice: what one of them allows is allowed.
                Some(What::Bind { source, attributes: known, .. }) if source.path == path => {
                    *known &= attributes
                }
                Some(_) => {
                    let part = format!("grant of {} at {}", one.path.display(), at.display());
                    return Err(wrong(&part, "something else is there already"));
                }
                None => {
                    let own = at == path;
                    let file = Arc::clone(&one.file);
                    let source = Source { file, path };
                    self.wanted.insert(at, What::Bind { source, directory: one.directory, attributes, own });
                }
            }
        }
        Ok(())
    }

    fn entry(&mut self, entry: &Entry) -> Result<(), Error> {
        match entry {
            Entry::Directory { at } => self.put(at, What::Directory),
            Entry::File { at, contents } => self.put(at, What::File { contents: contents.clone() }),
            Entry::Link { at, target } => self.put(at, What::Link { target: target.clone() }),
            Entry::Memory { at, size: 0 } => Err(wrong(&format!("root: {}", at.display()), NO_SIZE)),
            Entry::Memory { at, size } => {
                self.allowed.push((checked(at)?, Rights::WRITE));
                self.put(at, self.memory(*size, 0o755))
            }
            Entry::Scratch { path, at, keep } => self.scratch(path, at.as_deref(), keep.as_deref()),
        }
    }

    fn scratch(&mut self, path: &Path, at: Option<&Path>, keep: Option<&Path>) -> Result<(), Error> {
        let lower = open_directory(path, "--scratch")?;
        let status = std::fs::metadata(&lower.path).map_err(|error| failed(path, &error))?;
        let keep = match keep {
            None => None,
            Some(folder) => {
                let source = open_directory(folder, "--keep")?;
                if source.path.starts_with(&lower.path) || lower.path.starts_with(&source.path) {
                    let part = format!("root: --keep {}", folder.display());
                    return Err(wrong(&part, "what is kept and what it is kept from lie in each other"));
                }
                self.kept.push((source.path.clone(), status.mode() & 0o1777));
                Some(source)
            }
        };
        let at = checked(at.unwrap_or(&lower.path))?;
        if at == Path::new("/") {
            let part = format!("root: --scratch {}", path.display());
            return Err(wrong(
                &part,
                "it cannot be the whole root, which other things lie in: put it at another place",
            ));
        }
        let mut rights = Rights::WRITE;
        // A grant of the same folder says what else may be done in it; what is shown is the scratch.
        if let Some(What::Bind { source, .. }) = self.wanted.get(&at)
            && source.path == lower.path
        {
            self.wanted.remove(&at);
            rights = Rights(Rights::WRITE.0 | fs::EXECUTE);
        }
        self.allowed.push((at.clone(), rights));
        self.put(&at, What::Scratch { lower, status, keep })
    }

    /// What every root has, where nothing else was asked for.
    fn builtin(&mut self, root: &Root, opened: &[Opened]) -> Result<(), Error> {
        let mut mounts = vec![(
            "/proc",
            What::Mount {
                filesystem: "proc",
                options: Vec::new(),
                attributes: PLAIN | attribute::NO_EXECUTE | attribute::READ_ONLY,
            },
        )];
        let memory = self.memory(root.temporary, 0o1777);
        mounts.push(("/tmp", memory));
        if self.wanted.get(Path::new("/dev")).is_none() {
            mounts.push(("/dev", self.memory(1 << 20, 0o755)));
            mounts.push(("/dev/shm", self.memory(ROOM, 0o1777)));
            let terminals = What::Mount {
                filesystem: "devpts",
                options: vec![("ptmxmode", "666".to_owned()), ("mode", "620".to_owned())],
                attributes: attribute::NO_SET_USER | attribute::NO_EXECUTE,
            };
            mounts.push(("/dev/pts", terminals));
            self.allowed.push((PathBuf::from("/dev/shm"), Rights::WRITE));
            self.allowed.push((PathBuf::from("/dev/pts"), Rights(Rights::TERMINAL.0 | fs::READ_DIR)));
            let links = [
                ("/dev/ptmx", "pts/ptmx"),
                ("/dev/fd", "/proc/self/fd"),
                ("/dev/stdin", "/proc/self/fd/0"),
                ("/dev/stdout", "/proc/self/fd/1"),
                ("/dev/stderr", "/proc/self/fd/2"),
            ];
            for (name, target) in links {
                mounts.push((name, What::Link { target: target.into() }));
            }
        }
        // The keys of this user are listed there, by name, whatever namespace asks.
        for at in ["/proc/keys", "/proc/key-users"] {
            let null = opened.iter().find(|one| one.path == Path::new("/dev/null"));
            if let Some(null) = null.filter(|_| Path::new(at).exists()) {
                let file = Arc::clone(&null.file);
                let source = Source { file, path: self.ways.place(null) };
                let attributes = PLAIN | attribute::READ_ONLY | attribute::NO_EXECUTE;
                mounts.push((at, What::Bind { source, directory: false, attributes, own: false }));
            }
        }
        for (at, what) in mounts {
            let at = PathBuf::from(at);
            if at == Path::new("/tmp") && self.wanted.get(&at).is_none() {
                self.allowed.push((at.clone(), Rights::WRITE));
            }
            self.wanted.offer(at, what);
        }
        Ok(())
    }

    /// On a system where `/bin` and its like are links into `/usr`, they are that here too.
    fn old_programs(&mut self) {
        let whole = self.wanted.get(Path::new("/")).is_some();
        for path in base::OLD_PROGRAMS.iter().filter(|_| !whole) {
            if let Some(target) = self.ways.look(Path::new(path)) {
                self.wanted.offer(PathBuf::from(path), What::Link { target });
            }
        }
    }

    /// The links on the way to what was granted at its own name.
    fn links(&mut self, opened: &[Opened]) {
        for one in opened.iter().filter(|one| one.at.is_none()) {
            for (at, target) in self.ways.along(&one.path).0 {
                let shown = at.ancestors().skip(1).any(|above| {
                    matches!(self.wanted.get(above), Some(What::Bind { .. } | What::Scratch { .. }))
                });
                if !shown && !is_device_place(&at) {
                    self.wanted.offer(at, What::Link { target });
                }
            }
        }
    }

    /// Leaves out what a folder above shows already, with no fewer rights.
    fn drop_covered(&mut self) {
        let covered: Vec<PathBuf> = self
            .wanted
            .iter()
            .filter(|(at, what)| {
                let What::Bind { attributes, own: true, .. } = what else { return false };
                let above = at.ancestors().skip(1).find_map(|above| match self.wanted.get(above)? {
                    What::Bind { attributes, own: true, directory: true, .. } => Some(Some(*attributes)),
                    What::Scratch { .. } => Some(Some(PLAIN)),
                    What::Link { .. } => None,
                    _ => Some(None),
                });
                above.flatten().is_some_and(|above| above & !*attributes == 0)
            })
            .map(|(at, _)| at.to_owned())
            .collect();
        for at in covered {
            self.wanted.remove(&at);
        }
    }
}

fn is_device_place(at: &Path) -> bool {
    at.starts_with("/dev") || at.starts_with("/proc")
}

fn open_directory(path: &Path, flag: &str) -> Result<Source, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let file = rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| {
        Error::kernel(&format!("root: {flag} {}", path.display()), Errno(errno.raw_os_error()))
    })?;
    let path = crate::real_path(&file).unwrap_or_else(|| path.to_owned());
    Ok(Source { file: Arc::new(file), path })
}

/// A place in a root: absolute, and without a step back.
fn checked(at: &Path) -> Result<PathBuf, Error> {
    let part = || format!("root: {}", at.display());
    if !at.is_absolute() {
        return Err(wrong(&part(), "a place in a root is absolute"));
    }
    if at.components().any(|part| part == Component::ParentDir) {
        return Err(wrong(&part(), "a place in a root has no .. in it"));
    }
    Ok(at.components().collect())
}

/// Of a folder in memory (`man 5 tmpfs`).
const NO_SIZE: &str = "wants room for more than 0 bytes, which to the kernel is no limit";

pub(super) fn wrong(part: &str, why: &'static str) -> Error {
    Error { part: part.to_owned(), reason: Reason::Senseless(why) }
}

pub(super) fn failed(path: &Path, error: &std::io::Error) -> Error {
    Error::kernel(&format!("root: {}", path.display()), Errno(error.raw_os_error().unwrap_or(5)))
}
