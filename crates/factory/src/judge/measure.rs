//! Measuring: the digest of what an open descriptor gives.
//!
//! Safety idea: what is read is the file that was opened, never one that is looked up again by a name; below a folder each name is opened from
//! its folder, and no link is followed. What could not be looked at is said, and not left out.

use std::collections::HashMap;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use beget::{Error, Result};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use sha2::{Digest as _, Sha256};

use super::digest::{Digest, DigestKind};
use super::look::{self, What};

/// The most entries of a folder whose files are read.
const MOST_ENTRIES: u64 = 20_000;
/// The most bytes of all files of a folder together that are read.
const MOST_BYTES: u64 = 256 << 20;
/// The most entries that are looked at.
const MOST_LISTED: u64 = 2_000_000;
/// How deep: each level holds a descriptor open.
const DEEPEST: u32 = 100;

/// What a folder or file was, and what is in it that is more than files.
#[derive(Debug)]
pub(super) struct Measured {
    /// None where it could not be looked at whole.
    pub(super) digest: Option<Digest>,
    /// What lies in it that can tell someone when it is opened: where, and what it is.
    pub(super) special: Vec<(PathBuf, String)>,
}

fn failed(name: &str, error: impl Into<std::io::Error>) -> Error {
    Error::io(format!("factory: {name}: measuring it"), error)
}

/// The digest of a file's bytes; none of one that this user may not read.
pub(super) fn file(name: &str, file: BorrowedFd<'_>) -> Result<Option<Digest>> {
    let Some(file) = readable(name, file, OFlags::NONBLOCK)? else { return Ok(None) };
    let bytes = contents(&file).map_err(|error| failed(name, error))?;
    Ok(Some(Digest { kind: DigestKind::File, bytes }))
}

/// The digest of a folder and all below it, or of its listing where that is too large to be read.
pub(super) fn folder(name: &str, file: BorrowedFd<'_>) -> Result<Measured> {
    let Some(file) = readable(name, file, OFlags::DIRECTORY)? else {
        return Ok(Measured { digest: None, special: Vec::new() });
    };
    let mut listing = Walk::default();
    let listed = listing.folder(
        &OwnedFd::from(file.try_clone().map_err(|error| failed(name, error))?),
        Path::new(""),
        0,
    );
    let listed = listed.map_err(|error| failed(name, error))?;
    let kind = DigestKind::Listing;
    let mut digest = (!listing.incomplete).then_some(Digest { kind, bytes: listed });
    if !listing.incomplete && listing.entries <= MOST_ENTRIES && listing.bytes <= MOST_BYTES {
        let mut reading = Walk { reads: true, ..Walk::default() };
        let bytes = reading.folder(&OwnedFd::from(file), Path::new(""), 0);
        let bytes = bytes.map_err(|error| failed(name, error))?;
        // One that grew meanwhile is told by its listing.
        if !reading.incomplete {
            digest = Some(Digest { kind: DigestKind::Folder, bytes });
        }
        listing.special.extend(reading.special);
        listing.special.sort();
        listing.special.dedup();
    }
    Ok(Measured { digest, special: listing.special })
}

/// One digest of several, by name.
pub(super) fn whole<'a>(parts: impl Iterator<Item = (&'a str, Option<Digest>)>) -> Digest {
    let mut lines: Vec<(&str, String)> = parts
        .map(|(name, digest)| (name, digest.map_or_else(|| "none".to_owned(), |one| one.to_string())))
        .collect();
    lines.sort();
    let mut hash = Sha256::new();
    for (name, digest) in lines {
        put(&mut hash, name.as_bytes());
        put(&mut hash, digest.as_bytes());
    }
    Digest { kind: DigestKind::Whole, bytes: hash.finalize().into() }
}

/// The very file, open to read; none where this user may not.
fn readable(name: &str, file: BorrowedFd<'_>, more: OFlags) -> Result<Option<File>> {
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY | more, Mode::empty()) {
        Ok(file) => Ok(Some(File::from(file))),
        Err(rustix::io::Errno::ACCESS | rustix::io::Errno::PERM) => Ok(None),
        Err(errno) => Err(failed(name, errno)),
    }
}

/// Bytes with their length before them, so that no two sequences of them are alike.
fn put(hash: &mut Sha256, bytes: &[u8]) {
    hash.update((bytes.len() as u64).to_le_bytes());
    hash.update(bytes);
}

type Key = (u64, u64, i64, i64, i64, i64, i64);

/// Digests of files that nobody but root can change, which are therefore what they were while their times are.
static KNOWN: Mutex<Option<HashMap<Key, [u8; 32]>>> = Mutex::new(None);

fn key(status: &Stat) -> Option<Key> {
    const OTHERS_WRITE: u32 = 0o022;
    if status.st_uid != 0 || status.st_mode & OTHERS_WRITE != 0 {
        return None;
    }
    // What was changed a moment ago may be changed once more within the same tick of the filesystem's clock.
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    if status.st_ctime + 2 > now as i64 {
        return None;
    }
    Some((
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime,
        status.st_mtime_nsec as i64,
        status.st_ctime,
        status.st_ctime_nsec as i64,
    ))
}

/// The SHA-256 of a file's bytes, as many as there are.
fn contents(file: &File) -> std::io::Result<[u8; 32]> {
    let before = rustix::fs::fstat(file)?;
    let known = key(&before);
    let look = |key: &Key| KNOWN.lock().ok()?.as_ref()?.get(key).copied();
    if let Some(bytes) = known.as_ref().and_then(look) {
        return Ok(bytes);
    }
    let mut hash = Sha256::new();
    let mut buffer = vec![0u8; 1 << 16];
    let mut at = 0;
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => break,
            Ok(count) => {
                hash.update(&buffer[..count]);
                at += count as u64;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let bytes: [u8; 32] = hash.finalize().into();
    if let Some(known) = known
        && key(&rustix::fs::fstat(file)?) == Some(known)
        && let Ok(mut all) = KNOWN.lock()
    {
        all.get_or_insert_default().insert(known, bytes);
    }
    Ok(bytes)
}

/// A walk through a folder.
#[derive(Debug, Default)]
struct Walk {
    /// Files are read; else only what is known of them is looked at.
    reads: bool,
    entries: u64,
    bytes: u64,
    special: Vec<(PathBuf, String)>,
    incomplete: bool,
}

impl Walk {
    fn folder(&mut self, folder: &OwnedFd, path: &Path, depth: u32) -> std::io::Result<[u8; 32]> {
        let mut names = Vec::new();
        for entry in Dir::read_from(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            if name != c"." && name != c".." {
                names.push(name.to_owned());
            }
        }
        names.sort();
        let device = rustix::fs::fstat(folder)?.st_dev;
        let mut hash = Sha256::new();
        for name in names {
            self.entries += 1;
            if self.entries > MOST_LISTED
                || depth > DEEPEST
                || self.reads && (self.entries > 2 * MOST_ENTRIES || self.bytes > 2 * MOST_BYTES)
            {
                self.incomplete = true;
                break;
            }
            let below = || path.join(std::ffi::OsStr::from_bytes(name.as_bytes()));
            // Gone since it was listed: whoever changes it now has changed it.
            let Ok(status) = rustix::fs::statat(folder, name.as_c_str(), AtFlags::SYMLINK_NOFOLLOW) else {
                put(&mut hash, name.as_bytes());
                continue;
            };
            put(&mut hash, name.as_bytes());
            hash.update(status.st_mode.to_le_bytes());
            let open = |more| {
                let flags = OFlags::RDONLY
                    | OFlags::CLOEXEC
                    | OFlags::NOFOLLOW
                    | OFlags::NOCTTY
                    | OFlags::NONBLOCK
                    | more;
                rustix::fs::openat(folder, name.as_c_str(), flags, Mode::empty())
            };
            match FileType::from_raw_mode(status.st_mode) {
                FileType::Directory => match open(OFlags::DIRECTORY) {
                    Ok(inner) if status.st_dev != device && self.is_special(&inner, &below()) => {}
                    Ok(inner) => hash.update(self.folder(&inner, &below(), depth + 1)?),
                    Err(errno) => put(&mut hash, errno.to_string().as_bytes()),
                },
                FileType::RegularFile => {
                    hash.update(status.st_size.to_le_bytes());
                    self.bytes += status.st_size.unsigned_abs();
                    match self.reads.then(|| open(OFlags::empty())) {
                        Some(Ok(file)) if is_file(&file)? => hash.update(contents(&File::from(file))?),
                        // What this user may not read, no product of this user reads.
                        Some(_) => put(&mut hash, b"not read"),
                        None => {
                            hash.update(status.st_mtime.to_le_bytes());
                            hash.update((status.st_mtime_nsec as i64).to_le_bytes());
                        }
                    }
                }
                FileType::Symlink => {
                    let target = rustix::fs::readlinkat(folder, name.as_c_str(), Vec::new())?;
                    put(&mut hash, target.as_bytes());
                }
                FileType::Fifo => {
                    self.special.push((below(), "a named pipe, whose other end sees it opened".to_owned()))
                }
                FileType::CharacterDevice | FileType::BlockDevice if !is_plain(&status) => {
                    self.special.push((below(), "a device".to_owned()));
                }
                // A socket is not opened, and connecting to one is a grant of its own.
                _ => {}
            }
        }
        Ok(hash.finalize().into())
    }

    /// Whether the filesystem that begins here is no plain storage.
    fn is_special(&mut self, folder: &OwnedFd, path: &Path) -> bool {
        let what = match look::special_storage(folder.as_fd()) {
            Some(What::Kernel(kind)) => format!("files that the kernel makes up ({kind})"),
            Some(What::Served(kind)) => format!("files that somebody serves ({kind}), who sees them read"),
            _ => return false,
        };
        self.special.push((path.to_owned(), what));
        true
    }
}

fn is_file(file: &OwnedFd) -> std::io::Result<bool> {
    Ok(FileType::from_raw_mode(rustix::fs::fstat(file)?.st_mode) == FileType::RegularFile)
}

fn is_plain(status: &Stat) -> bool {
    const MEMORY: u32 = 1;
    FileType::from_raw_mode(status.st_mode) == FileType::CharacterDevice
        && rustix::fs::major(status.st_rdev) == MEMORY
        && look::PLAIN_DEVICES.iter().any(|(minor, _)| rustix::fs::minor(status.st_rdev) == *minor)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};

    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str) -> Scratch {
            let path = std::env::temp_dir().join(format!("beget-measure-{}-{name}", std::process::id()));
            std::fs::create_dir(&path).expect("the temporary folder can be written");
            Scratch(path)
        }

        fn digest(&self) -> Digest {
            let file = File::open(&self.0).expect("ours");
            folder("folder", file.as_fd()).expect("it is measured").digest.expect("it is small")
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn a_files_digest_is_its_sha256_wherever_the_descriptor_stands() {
        use std::io::Seek;
        let scratch = Scratch::new("file");
        let path = scratch.0.join("abc");
        std::fs::write(&path, "abc").expect("ours");
        let mut opened = File::open(&path).expect("ours");
        opened.seek(std::io::SeekFrom::End(0)).expect("it has an end");
        let digest = file("abc", opened.as_fd()).expect("it is measured").expect("it can be read");
        let known = "sha256-file:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.to_string(), known);
        assert_eq!(opened.stream_position().expect("it stands"), 3);
        // Another file of that name changes nothing: what was opened is what is measured.
        std::fs::rename(&path, scratch.0.join("old")).expect("ours");
        std::fs::write(&path, "other").expect("ours");
        assert_eq!(file("abc", opened.as_fd()).unwrap(), Some(digest));
    }

    #[test]
    fn whatever_changes_below_a_folder_changes_its_digest() {
        let scratch = Scratch::new("folder");
        let at = |name: &str| scratch.0.join(name);
        std::fs::create_dir_all(at("a/b")).expect("ours");
        std::fs::write(at("a/b/file"), "one").expect("ours");
        symlink("file", at("a/b/link")).expect("ours");
        let mut seen = vec![scratch.digest()];
        assert_eq!(seen[0].kind, DigestKind::Folder);
        assert_eq!(scratch.digest(), seen[0]);
        let changes: [&dyn Fn(); 6] = [
            &|| std::fs::write(at("a/b/file"), "two").expect("ours"),
            &|| std::fs::set_permissions(at("a/b/file"), PermissionsExt::from_mode(0o600)).expect("ours"),
            &|| std::fs::rename(at("a/b/file"), at("a/b/elif")).expect("ours"),
            &|| std::fs::create_dir(at("empty")).expect("ours"),
            &|| {
                std::fs::remove_file(at("a/b/link")).expect("ours");
                symlink("elif", at("a/b/link")).expect("ours");
            },
            &|| std::fs::write(at("a/b/more"), "").expect("ours"),
        ];
        for change in changes {
            change();
            let digest = scratch.digest();
            assert!(!seen.contains(&digest), "{digest}");
            seen.push(digest);
        }
    }

    #[test]
    fn what_can_tell_someone_is_found_below() {
        let scratch = Scratch::new("special");
        std::fs::create_dir(scratch.0.join("a")).expect("ours");
        rustix::fs::mknodat(rustix::fs::CWD, scratch.0.join("a/pipe"), FileType::Fifo, Mode::RUSR, 0)
            .expect("ours");
        let opened = File::open(&scratch.0).expect("ours");
        let measured =
            folder("folder", opened.as_fd()).expect("it is measured, and nobody waits at the pipe");
        assert_eq!(measured.special.len(), 1);
        assert_eq!(measured.special[0].0, Path::new("a/pipe"));
        let devices = File::open("/dev").expect("it is there");
        let measured = folder("/dev", devices.as_fd()).expect("it is measured");
        let found = |name: &str| measured.special.iter().any(|(path, _)| path == Path::new(name));
        assert!(found("tty") && !found("null") && !found("zero"), "{:?}", measured.special);
    }
}
