//! What a factory keeps of a constituent, and what it gives of it to each product.
//!
//! Safety idea: two who hold one open description, or one file in memory, can tell each other by it, whatever its seals: its offset, flags, mode
//! and times are shared. So a factory keeps memory of its own, which nobody else holds and nobody may open for writing, and gives each product
//! a description of its own.

use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;

use beget::{Error, Fault, Result};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, SeekFrom};

use super::judgement::is_sealed;
use super::look::{Looked, What};

const EACCES: i32 = beget_sys::Errno::EACCES.0;
const EPERM: i32 = beget_sys::Errno::EPERM.0;

/// The factory's own of what was inserted: of sealed memory a copy that only the factory holds, of anything else the same thing. To be called
/// once, when it is inserted.
///
/// A refused write to sealed memory changes its times all the same, and its owner, who may be the builder, could let it be opened for
/// writing: a copy has an owner who does not, and that nobody may write.
///
/// # Errors
/// Those of reading it and of memory; sealed memory that this user may not read.
pub fn own(name: &str, file: BorrowedFd<'_>) -> Result<OwnedFd> {
    let part = || format!("factory: {name}: copying it");
    let failed = |errno: rustix::io::Errno| Error::io(part(), errno);
    let looked = Looked::at(name, file)?;
    if !matches!(looked.what, What::Memory(seals) if is_sealed(seals)) {
        return file.try_clone_to_owned().map_err(|error| Error::io(part(), error));
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let copy = rustix::fs::memfd_create(name, flags).map_err(failed)?;
    let from = File::from(reopen(file, OFlags::RDONLY).map_err(failed)?);
    let to = File::from(copy);
    let mut buffer = vec![0u8; 1 << 16];
    let mut at = 0;
    loop {
        match from.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(count) => {
                to.write_all_at(&buffer[..count], at).map_err(|error| Error::io(part(), error))?;
                at += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Error::io(part(), error)),
        }
    }
    // To read, and to execute where the one that was given could be executed and this system allows it of memory.
    const EXECUTE: u32 = 0o111;
    let plain = Mode::from_raw_mode(0o444);
    let executable = Mode::from_raw_mode(0o444 | looked.status.st_mode & EXECUTE);
    rustix::fs::fchmod(&to, executable).or_else(|_| rustix::fs::fchmod(&to, plain)).map_err(failed)?;
    let seals = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&to, seals).map_err(failed)?;
    Ok(to.into())
}

/// An open description of its own of the same thing, for one product, at the same offset: offset, flags and owner are shared with nobody. Of sealed memory it is one
/// to read; else it has the access that the given one has.
///
/// # Errors
/// What cannot be opened anew: sockets, and things without a name.
pub fn anew(name: &str, file: BorrowedFd<'_>) -> Result<OwnedFd> {
    let part = || format!("factory: {name}: opening it anew");
    let failed = |errno: rustix::io::Errno| Error::io(part(), errno);
    let flags = rustix::fs::fcntl_getfl(file).map_err(failed)?;
    if flags.contains(OFlags::PATH) {
        // It has no offset; opening the link anew would open the file. A copy means the same.
        return file.try_clone_to_owned().map_err(|error| Error::io(part(), error));
    }
    let looked = Looked::at(name, file)?;
    let mode = match looked.what {
        What::Memory(seals) if is_sealed(seals) => OFlags::RDONLY,
        _ => flags & (OFlags::RWMODE | OFlags::DIRECTORY | OFlags::APPEND),
    };
    let opened = reopen(file, mode).map_err(failed)?;
    let other = rustix::fs::fstat(&opened).map_err(failed)?;
    if (looked.status.st_dev, looked.status.st_ino) != (other.st_dev, other.st_ino) {
        return Err(Error::new(part(), "another file was opened", Fault::Kernel));
    }
    rustix::fs::fcntl_setfl(&opened, flags & (OFlags::APPEND | OFlags::NONBLOCK)).map_err(failed)?;
    if matches!(looked.what, What::File | What::Memory(_)) {
        let at = rustix::fs::seek(file, SeekFrom::Current(0)).map_err(failed)?;
        rustix::fs::seek(&opened, SeekFrom::Start(at)).map_err(failed)?;
    }
    Ok(opened)
}

/// What one product is given of a constituent: files, folders, sealed memory and plain devices are opened [`anew`]; `None` for what is shared, and
/// therefore a hole.
///
/// # Errors
/// Those of looking at it, and `EMFILE`.
pub(crate) fn for_product(name: &str, file: BorrowedFd<'_>) -> Result<Option<OwnedFd>> {
    let looked = Looked::at(name, file)?;
    let own = match looked.what {
        What::File | What::Folder | What::PlainDevice(_) => true,
        What::Memory(seals) => is_sealed(seals),
        _ => false,
    };
    match own.then(|| anew(name, file)).transpose() {
        // Opened by somebody who may; it is judged as what it is then: one for all.
        Err(error) if matches!(error.errno(), Some(EACCES | EPERM)) => Ok(None),
        made => made,
    }
}

/// Opens the very thing once more, and never waits.
fn reopen(file: BorrowedFd<'_>, mode: OFlags) -> rustix::io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::open(path, mode | OFlags::CLOEXEC | OFlags::NOCTTY | OFlags::NONBLOCK, Mode::empty())
}
