//! Finding the program, and all that must be granted for it to start: its `#!` interpreter and its loader.
//!
//! Safety idea: each file is opened once, here, in the caller; the plan executes the descriptor. A script run by descriptor would
//! see `/dev/fd/N` as its name and leak N, so the interpreter is executed instead, with the script's real path.

mod script;

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use beget_authority::{Opened, Rights};
use beget_image::{Headers, Source};
use beget_sys::Errno;
use rustix::fs::{Access, AtFlags, CWD, FileType, Mode, OFlags};

use crate::error::{Error, Fault, Result};

/// How many interpreters deep a script may go, as in the kernel.
pub(crate) const DEPTH: usize = 5;
/// What the kernel reads of a file to learn what it is.
const HEAD: usize = 256;

/// A program, opened.
#[derive(Debug)]
pub(crate) struct Program {
    /// What is executed.
    pub(crate) file: OwnedFd,
    /// Arguments that come before the caller's own, instead of the name: interpreter, its argument, script.
    pub(crate) interpreted: Option<Vec<CString>>,
    /// What must be granted for it to start.
    pub(crate) files: Vec<Opened>,
    /// Where it was found.
    pub(crate) path: PathBuf,
    /// Set-uid or set-gid: it gains nothing by that.
    pub(crate) privileged: bool,
}

/// One file on the way: opened, with its first bytes.
struct Candidate {
    file: OwnedFd,
    head: Vec<u8>,
    size: u64,
    mode: u32,
}

/// What a search needs.
#[derive(Clone, Copy)]
pub(crate) struct Search<'a> {
    /// The child's `PATH`.
    pub(crate) path: &'a OsStr,
    /// The caller's own, to tell where a program would have been found.
    pub(crate) callers: Option<&'a OsStr>,
    /// Look into the file, and grant what it needs; not for a child with ambient authority.
    pub(crate) inspect: bool,
    /// How many times more `env` may name a script that `env` runs.
    pub(crate) depth: usize,
}

impl Program {
    /// The program of this process, of which a copy of the process needs nothing that it has not in its memory.
    pub(crate) fn own() -> Result<Program> {
        const NAME: &str = "/proc/self/exe";
        let file = rustix::fs::open(NAME, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())
            .map_err(|errno| Error::io(NAME, errno))?;
        let path = std::fs::read_link(NAME).map_err(|error| Error::io(NAME, error))?;
        Ok(Program { file, interpreted: None, files: Vec::new(), path, privileged: false })
    }

    /// Finds and opens the program that `name` means.
    pub(crate) fn find(name: &OsStr, search: Search<'_>) -> Result<Program> {
        let part = format!("program {}", name.display());
        if name.as_bytes().contains(&0) {
            return Err(Error::new(part, "its name has a NUL byte", Fault::Caller));
        }
        let path = locate(name, search, &part)?;
        let candidate = open(&path).map_err(|errno| refuse(&part, errno))?;
        candidate.runnable(&part)?;
        let privileged = candidate.mode & 0o6000 != 0;
        let mut program =
            Program { file: candidate.file, interpreted: None, files: Vec::new(), path, privileged };
        let (mut head, mut size) = (candidate.head, candidate.size);
        let mut script = program.path.clone();
        for depth in 0.. {
            let Some(line) =
                script::parse(&head).map_err(|why| Error::new(&part, why, Fault::NotRunnable))?
            else {
                break;
            };
            if depth == DEPTH {
                return Err(Error::new(part, "its interpreters are nested too deep", Fault::NotRunnable));
            }
            let interpreter = PathBuf::from(&line.interpreter);
            let inner = format!("{part}: its interpreter {}", interpreter.display());
            let next = open(&interpreter).map_err(|errno| unusable(&inner, errno))?;
            next.runnable(&inner)?;
            let opened =
                adopt(std::mem::replace(&mut program.file, next.file), Rights::READ, &script, &part)?;
            let mut arguments = vec![c_string(&line.interpreter, &part)?];
            if let Some(argument) = &line.argument {
                arguments.push(c_string(argument, &part)?);
            }
            arguments.push(c_string(opened.real_path().as_os_str(), &part)?);
            // The outer script's own arguments follow; its first, the name it was called by, is replaced by its path.
            arguments.extend(program.interpreted.take().into_iter().flatten().skip(1));
            program.interpreted = Some(arguments);
            program.files.push(opened);
            if search.inspect {
                program.grant_env_target(&line, search);
            }
            (head, size, script) = (next.head, next.size, interpreter);
        }
        if search.inspect {
            let copy = program.file.try_clone().map_err(|error| Error::io(&part, error))?;
            program.grant_image(copy, &head, size, &script, &part)?;
        }
        Ok(program)
    }

    /// Grants an image and its loader.
    fn grant_image(&mut self, file: OwnedFd, head: &[u8], size: u64, path: &Path, part: &str) -> Result<()> {
        // A file that may be executed and not read tells nothing; the kernel will.
        if !head.is_empty() || size == 0 {
            let wrong = |wrong| match wrong {
                beget_image::Error::Unread(error) => Error::io(part, error),
                why => Error::new(part, why.to_string(), Fault::NotRunnable),
            };
            let headers = Headers::read(&Begun { file: &file, head, size }).map_err(wrong)?;
            if let Some(loader) = headers.interpreter() {
                let inner = format!("{part}: its loader {}", loader.display());
                let opened = open(loader).map_err(|errno| unusable(&inner, errno))?;
                opened.runnable(&inner)?;
                self.files.push(adopt(opened.file, Rights::EXECUTE, loader, &inner)?);
            }
        }
        self.files.push(adopt(file, Rights::EXECUTE, path, part)?);
        Ok(())
    }

    /// `#!/usr/bin/env X`: `env` will look X up by itself; where it is found, X is granted too. What is not found here `env` will
    /// not find either, and will say so.
    fn grant_env_target(&mut self, line: &script::Line, search: Search<'_>) {
        let Some(target) = line.env_target() else { return };
        // One that names itself would be looked for without end; `env` would run it without end.
        let Some(depth) = search.depth.checked_sub(1) else { return };
        let Ok(found) = Program::find(&target, Search { callers: None, depth, ..search }) else { return };
        // A script among these is executed by `env`, not only read by its interpreter.
        self.files.extend(found.files.into_iter().map(Opened::executable));
    }
}

/// A file whose first bytes were read already: by those it was judged, and they are not read again.
struct Begun<'a> {
    file: &'a OwnedFd,
    head: &'a [u8],
    size: u64,
}

impl Source for Begun<'_> {
    fn size(&self) -> std::io::Result<u64> {
        Ok(self.size)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> std::io::Result<usize> {
        if offset == 0 {
            return self.head.read_at(offset, buffer);
        }
        self.file.read_at(offset, buffer)
    }
}

impl Candidate {
    /// Whether it is a file that this user may execute.
    fn runnable(&self, part: &str) -> Result<()> {
        let wrong = |errno| Err(Error::kernel(part, errno, Fault::NotRunnable));
        match FileType::from_raw_mode(self.mode) {
            FileType::RegularFile => {}
            FileType::Directory => return wrong(Errno::EISDIR),
            _ => return Err(Error::new(part, "not a regular file", Fault::NotRunnable)),
        }
        match beget_sys::descriptor::may_execute(self.file.as_fd()) {
            Err(Errno::EACCES) => wrong(Errno::EACCES),
            // Whatever else is wrong, such as a filter around us that knows no such call, the exec will tell.
            _ => Ok(()),
        }
    }
}

fn refuse(part: &str, errno: Errno) -> Error {
    let fault = match errno {
        Errno::ENOENT | Errno::ENOTDIR => Fault::NotFound,
        _ => return unusable(part, errno),
    };
    Error::kernel(part, errno, fault)
}

/// A file that is there and cannot be opened: the file's fault, unless it is a lack of our own.
fn unusable(part: &str, errno: Errno) -> Error {
    let fault = match errno {
        Errno::EMFILE | Errno::ENFILE | Errno::ENOMEM => Fault::Kernel,
        _ => Fault::NotRunnable,
    };
    Error::kernel(part, errno, fault)
}

fn adopt(file: OwnedFd, rights: Rights, path: &Path, part: &str) -> Result<Opened> {
    Opened::adopt(file, rights, path).map(Opened::needed).map_err(|errno| Error::io(part, errno))
}

fn c_string(text: &OsStr, part: &str) -> Result<CString> {
    CString::new(text.as_bytes())
        .map_err(|_| Error::new(part, "its first line has a NUL byte", Fault::NotRunnable))
}

/// Opens a file to read its head, or only to execute it when reading is not allowed. Never waits, whatever is there.
fn open(path: &Path) -> std::result::Result<Candidate, Errno> {
    let number = |errno: rustix::io::Errno| Errno(errno.raw_os_error());
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let (file, readable) = match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => (file, true),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::NXIO) => {
            (rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(number)?, false)
        }
        Err(errno) => return Err(number(errno)),
    };
    let status = rustix::fs::fstat(&file).map_err(number)?;
    let mut head = vec![0; HEAD];
    let is_file = FileType::from_raw_mode(status.st_mode) == FileType::RegularFile;
    let length =
        if readable && is_file { rustix::io::pread(&file, &mut head, 0).map_err(number)? } else { 0 };
    head.truncate(length);
    Ok(Candidate { file, head, size: status.st_size.unsigned_abs(), mode: status.st_mode })
}

/// Where `name` is: as it stands when it has a slash, else in the child's `PATH`.
fn locate(name: &OsStr, search: Search<'_>, part: &str) -> Result<PathBuf> {
    if name.as_bytes().contains(&b'/') {
        return Ok(PathBuf::from(name));
    }
    if name.is_empty() {
        return Err(Error::new(part, "no name was given", Fault::NotFound));
    }
    let (found, denied) = look_in(search.path, name);
    if let Some(path) = found {
        return Ok(path);
    }
    if let Some(path) = denied {
        return Err(Error::new(part, format!("{} may not be executed", path.display()), Fault::NotRunnable));
    }
    let path = search.path.display();
    let hint = match search.callers.map(|callers| look_in(callers, name)) {
        Some((Some(elsewhere), _)) => format!("; your own PATH has {0}: name it so", elsewhere.display()),
        _ => String::new(),
    };
    Err(Error::new(part, format!("not found in the child's PATH ({path}){hint}"), Fault::NotFound))
}

/// The first executable file of that name, and the first that is there but not executable.
fn look_in(path: &OsStr, name: &OsStr) -> (Option<PathBuf>, Option<PathBuf>) {
    let mut denied = None;
    for folder in path.as_bytes().split(|byte| *byte == b':') {
        // An empty entry would mean the working directory: nothing is found there by accident.
        if folder.is_empty() {
            continue;
        }
        let mut candidate = OsString::from_vec(folder.to_vec());
        candidate.push("/");
        candidate.push(name);
        let candidate = PathBuf::from(candidate);
        let is_file = rustix::fs::stat(&candidate)
            .is_ok_and(|status| FileType::from_raw_mode(status.st_mode) == FileType::RegularFile);
        if !is_file {
            continue;
        }
        if rustix::fs::accessat(CWD, &candidate, Access::EXEC_OK, AtFlags::EACCESS).is_ok() {
            return (Some(candidate), None);
        }
        denied.get_or_insert(candidate);
    }
    (None, denied)
}
