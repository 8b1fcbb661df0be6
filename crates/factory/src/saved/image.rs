//! A saved image that was read and held against its digests.
//!
//! Safety idea: what is used afterwards is what was looked at: the header is in memory, and the contents are in memory that nobody can change,
//! or in a file that nobody but its owner can.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};

use beget_image::frozen::{Frozen, Preamble};
use rustix::fs::{MemfdFlags, SealFlags};

use super::format::{self, Opened, Seal};
use super::keys::PublicKey;
use super::refused;
use crate::{Error, Result};

/// How much of an image is looked at when it is opened, and what it is mapped from then. The header always is, whole, and with it the digests of
/// all else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verify {
    /// All contents are held against their digests; they are mapped from the file, which nobody but its owner may be able to write.
    #[default]
    Whole,
    /// The file is copied into memory, sealed there against every change, and that is held against the digests and mapped. It takes as much
    /// memory, and it does not matter who may write the file.
    Sealed,
    /// The contents are not looked at: each page is read when it is needed first. For a file that was looked at before, and that nobody but its
    /// owner may be able to write.
    Lazy,
}

/// A saved image.
#[derive(Debug)]
pub struct Image {
    pub(super) file: File,
    pub(super) opened: Opened,
}

/// What an image says of itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Info {
    /// The digest of its header, and so of everything.
    pub digest: [u8; 32],
    /// The kernel that it was saved on (`uname -r`).
    pub release: String,
    /// The file that was executed.
    pub program: Vec<u8>,
    /// Where it is ready.
    pub ready: String,
    /// The adapter that speaks to it there, if one does.
    pub adapter: Option<String>,
    /// The text that whoever saved it kept with it.
    pub note: Vec<u8>,
    /// Every file that must be there as it was, the program's own among them: names, and SHA-256 of all of each.
    pub files: Vec<(Vec<u8>, [u8; 32])>,
    /// How many bytes of memory it holds.
    pub contents: u64,
    /// How many bytes the file has.
    pub size: u64,
    /// Keys that it is said to be signed with. Whether their signatures hold is what [`Image::signed_by`] looks at.
    pub signers: Vec<PublicKey>,
}

impl Info {
    pub(super) fn of(frozen: &Frozen, preamble: &Preamble, seal: &Seal) -> Info {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let files: Vec<_> = frozen.files.iter().map(|file| (file.path.clone(), file.digest)).collect();
        let program = files.get(frozen.program.executable as usize).map(|(path, _)| path.clone());
        let readiness = text(&frozen.program.ready);
        let (ready, adapter) = readiness.split_once(' ').unzip();
        Info {
            digest: seal.root,
            release: text(&frozen.system.release),
            program: program.unwrap_or_default(),
            ready: ready.unwrap_or(&readiness).to_owned(),
            adapter: adapter.map(str::to_owned),
            note: frozen.note.clone(),
            files,
            contents: preamble.length,
            size: preamble.file(),
            signers: seal.signatures.iter().map(|(key, _)| *key).collect(),
        }
    }

    /// What is true of whatever is loaded from it, in words: beside what is true of any template.
    #[must_use]
    pub fn hazards(&self) -> Vec<&'static str> {
        vec![
            "fixed layout: addresses, canaries and seeds are the same each time that it is loaded, and known to whoever can read the file",
        ]
    }
}

impl Image {
    /// Opens a saved image.
    ///
    /// # Errors
    /// A file that is no image, is of another version, was cut off or changed; one that others may write, unless it is copied; those of reading.
    pub fn open(file: File, verify: Verify) -> Result<Image> {
        let file = if verify == Verify::Sealed { sealed_copy(&file)? } else { only_its_owners(file)? };
        let opened = format::open(&file)?;
        if verify != Verify::Lazy {
            format::check_contents(&file, &opened)?;
        }
        Ok(Image { file, opened })
    }

    /// Writes the very image into `file`, which is empty or loses what it holds: with its signatures.
    ///
    /// # Errors
    /// Those of reading and writing; what was written then is no image.
    pub fn copy_into(&self, file: &File) -> Result<Info> {
        let failed = |error| Error::io("image: file", error);
        let info = self.info();
        file.set_len(0).map_err(failed)?;
        let length = self.file.metadata().map_err(failed)?.len();
        let mut chunk = vec![0; 1 << 20];
        let mut at = 0;
        while at < length {
            let part = chunk.len().min(usize::try_from(length - at).unwrap_or(usize::MAX));
            let part = &mut chunk[..part];
            self.file.read_exact_at(part, at).and_then(|()| file.write_all_at(part, at)).map_err(failed)?;
            at += part.len() as u64;
        }
        Ok(info)
    }

    /// What it says of itself.
    #[must_use]
    pub fn info(&self) -> Info {
        let Opened { frozen, preamble, seal } = &self.opened;
        Info::of(frozen, preamble, seal)
    }

    /// Which of these keys has signed it.
    ///
    /// # Errors
    /// None of them has; it says who is said to have.
    pub fn signed_by(&self, keys: &[PublicKey]) -> Result<PublicKey> {
        let Seal { root, signatures } = &self.opened.seal;
        let holds =
            |key: &&PublicKey| signatures.iter().any(|(by, made)| by == *key && key.accepts(root, made));
        if let Some(key) = keys.iter().find(holds) {
            return Ok(*key);
        }
        let wanted: Vec<&PublicKey> =
            keys.iter().filter(|key| signatures.iter().any(|(by, _)| by == *key)).collect();
        let words = match (wanted.as_slice(), signatures.as_slice()) {
            (&[key, ..], _) => format!("the signature of {key} does not hold"),
            ([], []) => "it is not signed".to_owned(),
            ([], others) => {
                let names: Vec<String> = others.iter().map(|(key, _)| key.to_string()).collect();
                format!("it is not signed by a key that is trusted here, but by {}", names.join(", "))
            }
        };
        Err(refused("signature", words))
    }
}

/// The file that it is in.
impl AsFd for Image {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// What an image says of itself, held against the digest of the header alone: whoever may write the file.
///
/// # Errors
/// As for [`Image::open`], but for the contents and for who may write it.
pub fn inspect(file: &File) -> Result<Info> {
    let Opened { frozen, preamble, seal } = format::open(file)?;
    Ok(Info::of(&frozen, &preamble, &seal))
}

/// A file that could be changed by somebody else while its pages are a program's memory is refused.
fn only_its_owners(file: File) -> Result<File> {
    const OTHERS: u32 = 0o022;
    let metadata = file.metadata().map_err(|error| Error::io("image: file", error))?;
    let own = [0, rustix::process::geteuid().as_raw()];
    if !metadata.is_file() {
        return Err(refused("file", "it is no regular file"));
    }
    if metadata.mode() & OTHERS != 0 || !own.contains(&metadata.uid()) {
        return Err(refused(
            "file",
            "others may change it while it is mapped; it has to be copied, or to be its owner's alone",
        ));
    }
    Ok(file)
}

fn sealed_copy(file: &File) -> Result<File> {
    let failed = |error: std::io::Error| Error::io("image: copy", error);
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    // Kernels before 6.3 know no such flag, and have no such right to give.
    let memory = rustix::fs::memfd_create(c"beget-image", flags | MemfdFlags::NOEXEC_SEAL)
        .or_else(|_| rustix::fs::memfd_create(c"beget-image", flags));
    let copy = File::from(memory.map_err(|errno| failed(errno.into()))?);
    let (mut at, mut buffer) = (0, vec![0; 1 << 20]);
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(count) => {
                copy.write_all_at(buffer.get(..count).unwrap_or_default(), at).map_err(failed)?;
                at += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let seals = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&copy, seals).map_err(|errno| failed(errno.into()))?;
    Ok(copy)
}
