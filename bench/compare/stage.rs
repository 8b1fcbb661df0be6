//! The scene: a private folder with A and B in it, and P's side of them.
//!
//! Safety idea: A and B are real files that only this user may open; which of them a descriptor is, is known by device and inode and
//! never by its number.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::order::Order;
use crate::folder::Folder;

/// What a file is, whatever its name or number.
pub(super) type Identity = (u64, u64);

/// What C needs: it reads that before all else.
const A: &[u8] = b"what C is for\n";
/// The length of what nobody but P is to know.
pub(super) const SECRET: usize = 32;

fn told(path: &Path) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{}: {error}", path.display())
}

/// The folder; dropped, it is gone.
#[derive(Debug)]
pub(super) struct Scene {
    folder: Folder,
}

impl Scene {
    /// Makes the folder, A and B, for this user alone.
    pub(super) fn make() -> Result<Scene, String> {
        let mut random = [0u8; SECRET / 2];
        let path = Path::new("/dev/urandom");
        File::open(path).and_then(|mut file| file.read_exact(&mut random)).map_err(told(path))?;
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        let scene = Scene { folder: Folder::make("beget-compare", false)? };
        scene.file("a", A)?;
        scene.file("b", hex(&random).as_bytes())?;
        Ok(scene)
    }

    /// Puts a file there that only this user may open.
    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
        let path = self.folder().join(name);
        let mut options = File::options();
        let file = options.write(true).create_new(true).mode(0o600).open(&path);
        file.and_then(|mut file| file.write_all(bytes)).map_err(told(&path))?;
        Ok(path)
    }

    /// Where it is.
    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Which file A is, and which B.
    pub(super) fn identities(&self) -> Result<[Identity; 2], String> {
        let one = |name: &str| {
            let path = self.folder().join(name);
            std::fs::metadata(&path).map(|found| (found.dev(), found.ino())).map_err(told(&path))
        };
        Ok([one("a")?, one("b")?])
    }

    /// What B says.
    pub(super) fn secret(&self) -> Result<Vec<u8>, String> {
        let path = self.folder().join("b");
        std::fs::read(&path).map_err(told(&path))
    }
}

/// What P holds: A and B, open as a C program opens files, without close-on-exec; and what B says, in its memory.
#[derive(Debug)]
pub(super) struct Holdings {
    pub(super) a: File,
    pub(super) b: File,
    pub(super) null: OwnedFd,
    pub(super) folder: PathBuf,
    secret: Box<[u8]>,
}

impl Holdings {
    /// Opens them.
    pub(super) fn open(folder: &Path) -> Result<Holdings, String> {
        let open = |name: &str| {
            let path = folder.join(name);
            File::open(&path).map_err(told(&path))
        };
        let (a, mut b) = (open("a")?, open("b")?);
        let mut secret = vec![0; SECRET].into_boxed_slice();
        b.read_exact(&mut secret).map_err(told(&folder.join("b")))?;
        let null = Path::new("/dev/null");
        let null = File::options().read(true).write(true).open(null).map_err(told(null))?.into();
        let holdings = Holdings { a, b, null, folder: folder.to_owned(), secret };
        holdings.close_on_exec(false)?;
        Ok(holdings)
    }

    /// Sets or clears close-on-exec, of both.
    pub(super) fn close_on_exec(&self, closing: bool) -> Result<(), String> {
        for file in [&self.a, &self.b] {
            let flag = if closing { libc::FD_CLOEXEC } else { 0 };
            // SAFETY: a flag of a descriptor that we own.
            if unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFD, flag) } != 0 {
                return Err(format!("close-on-exec: {}", std::io::Error::last_os_error()));
            }
        }
        Ok(())
    }

    /// C reads A from its beginning, each time.
    pub(super) fn rewind(&mut self) -> Result<(), String> {
        self.a.rewind().map_err(|error| format!("A: {error}"))
    }

    /// What C is told of where B could be got from.
    pub(super) fn order(&self, look: bool) -> Order {
        Order {
            look,
            parent: std::process::id(),
            number: self.b.as_raw_fd(),
            path: self.folder.join("b"),
            at: self.secret.as_ptr() as u64,
        }
    }
}
