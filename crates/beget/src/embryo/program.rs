//! What is loaded: an executable image and its loader, opened, with their symbols.
//!
//! Safety idea: a file is opened once, here, and what is mapped is that descriptor; what is in memory is sealed first, so that nobody,
//! its creator included, can change it any more.

use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use beget_authority::{Opened, Rights};
use beget_image::{Image, Symbols};
use beget_sys::Errno;
use rustix::fs::{FileType, Mode, OFlags};

use super::load::Layout;
use crate::error::{Error, Fault, Result};

/// A program's image: an ELF executable, opened or in memory.
///
/// What is in memory is put into sealed memory first, which nobody can change any more; so the embryo never has a writable view of
/// what its image says is read-only.
#[derive(Debug)]
pub struct Program {
    pub(super) source: Source,
    pub(super) loader: Option<Source>,
    pub(super) path: CString,
    symbols: OnceLock<[Option<Symbols>; 2]>,
}

/// A function that an address lies in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Symbol {
    /// Its name, as the image has it.
    pub name: String,
    /// Bytes from its beginning.
    pub offset: u64,
}

impl Program {
    /// Opens the executable at `path`, and its loader. A script is none. Whoever may read the file may load it, executable or not.
    ///
    /// # Errors
    /// Those of `open`; what is wrong with a file that is no executable image, or with its loader.
    pub fn open(path: impl AsRef<Path>) -> Result<Program> {
        let path = path.as_ref();
        let part = format!("program {}", path.display());
        // A pipe with a name would make us wait for a writer, whoever put it there.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let file = rustix::fs::open(path, flags, Mode::empty())
            .map_err(|errno| Error::io(part.as_str(), errno).with_fault(Fault::NotFound))?;
        Program::from_parts(file, part, path)
    }

    /// The executable that is open as `file`.
    ///
    /// # Errors
    /// As for [`open`](Program::open).
    pub fn from_file(file: impl Into<OwnedFd>) -> Result<Program> {
        let file = file.into();
        let path = beget_authority::real_path(&file).unwrap_or_default();
        let part = format!("program {}", path.display());
        Program::from_parts(file, part, &path)
    }

    /// The executable that these bytes are.
    ///
    /// # Errors
    /// As for [`open`](Program::open), and those of making sealed memory.
    pub fn from_bytes(bytes: &[u8]) -> Result<Program> {
        let part = "program in memory";
        // Mapped executable it must be, and where no memory may be executed as a file that is another matter.
        let file = beget_plan::nursery::sealed(c"beget-image", bytes, false)
            .map_err(|errno| Error::kernel(part, errno, Fault::Kernel))?;
        Program::from_parts(file, part.to_owned(), Path::new("beget-image"))
    }

    fn from_parts(file: OwnedFd, part: String, path: &Path) -> Result<Program> {
        let source = Source::open(file, part)?;
        let loader = loader_of(&source)?;
        let path = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
        Ok(Program { source, loader, path, symbols: OnceLock::new() })
    }

    /// What must be granted to a process that runs it.
    pub(super) fn files(&self) -> Result<Vec<Opened>> {
        let one = |source: &Source| {
            let failed = |error: std::io::Error| Error::io(source.part.as_str(), error);
            let file = source.file.try_clone().map_err(failed)?;
            let path = beget_authority::real_path(&file).unwrap_or_default();
            let opened = Opened::adopt(file, Rights::EXECUTE, &path);
            Ok(opened.map_err(|errno| failed(errno.into()))?.needed())
        };
        [Some(&self.source), self.loader.as_ref()].into_iter().flatten().map(one).collect()
    }

    /// The function that `address` lies in, in a process where this program was loaded as `layout` tells. `None` for an address of
    /// neither the program nor its loader, or where their images have no names.
    #[must_use]
    pub fn symbol_at(&self, layout: &Layout, address: u64) -> Option<Symbol> {
        let read = |source: &Source| Symbols::read(&source.file).ok();
        let tables = self.symbols.get_or_init(|| [read(&self.source), self.loader.as_ref().and_then(read)]);
        let places = [Some(&layout.program), layout.loader.as_ref()];
        places.into_iter().zip(tables).find_map(|(place, symbols)| {
            let place = place.filter(|place| place.span.contains(&address))?;
            let found = symbols.as_ref()?.at(address.wrapping_sub(place.bias))?;
            Some(Symbol { name: found.name_lossy().into_owned(), offset: found.offset })
        })
    }

    /// Where the function of this name begins in such a process.
    #[must_use]
    pub fn address_of(&self, layout: &Layout, name: &str) -> Option<u64> {
        let symbols = Symbols::read(&self.source.file).ok()?;
        Some(symbols.named(name.as_bytes())?.address.wrapping_add(layout.program.bias))
    }
}

/// An image and the file that it is in.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) file: OwnedFd,
    pub(crate) image: Image,
    /// What it is called in messages.
    pub(crate) part: String,
}

impl Source {
    pub(crate) fn open(file: OwnedFd, part: String) -> Result<Source> {
        let flags = rustix::fs::fcntl_getfl(&file).map_err(|errno| Error::io(part.as_str(), errno))?;
        let status = rustix::fs::fstat(&file).map_err(|errno| Error::io(part.as_str(), errno))?;
        match FileType::from_raw_mode(status.st_mode) {
            FileType::RegularFile => {}
            FileType::Directory => return Err(Error::kernel(part, Errno::EISDIR, Fault::NotRunnable)),
            _ => return Err(Error::new(part, "not a regular file", Fault::NotRunnable)),
        }
        // It may be executed and not read, which the kernel could do.
        if flags.contains(OFlags::PATH) {
            return Err(Error::kernel(part, Errno::EACCES, Fault::NotRunnable));
        }
        let image = Image::read(&file).map_err(|error| wrong(&part, error))?;
        Ok(Source { file, image, part })
    }

    /// What is mapped must be there: a file may have been cut short meanwhile.
    pub(crate) fn is_whole(&self) -> Result<()> {
        let size =
            rustix::fs::fstat(&self.file).map_err(|errno| Error::io(self.part.as_str(), errno))?.st_size;
        if size.unsigned_abs() < self.image.file_bytes_needed() {
            let words = "the file was cut short while it was mapped";
            return Err(Error::new(self.part.as_str(), words, Fault::NotRunnable));
        }
        Ok(())
    }
}

pub(crate) fn wrong(part: &str, error: beget_image::Error) -> Error {
    match error {
        beget_image::Error::Unread(error) => Error::io(part, error),
        malformed => Error::new(part, malformed.to_string(), Fault::NotRunnable),
    }
}

/// The loader that an image wants, opened.
pub(crate) fn loader_of(program: &Source) -> Result<Option<Source>> {
    let Some(path) = program.image.interpreter() else { return Ok(None) };
    let path = PathBuf::from(path);
    let part = format!("{}: its loader {}", program.part, path.display());
    // Never waits, whatever is there.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = rustix::fs::open(&path, flags, rustix::fs::Mode::empty())
        .map_err(|errno| Error::io(part.as_str(), errno).with_fault(Fault::NotRunnable))?;
    let loader = Source::open(file, part)?;
    if loader.image.interpreter().is_some() {
        let words = "a loader cannot want a loader itself";
        return Err(Error::new(loader.part, words, Fault::NotRunnable));
    }
    Ok(Some(loader))
}
