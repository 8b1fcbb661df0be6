//! A folder that goes away however the run ends: by itself, by keys, or killed.
//!
//! Safety idea: a process of its own makes the folder, and takes away what it has made and nothing else. It is in a group that no key reaches, and
//! acts when the pipe that it reads is closed: that is when whoever asked for the folder says so, or is gone.

use std::ffi::{OsStr, OsString};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The first word of a command line that makes this program the one that keeps a folder.
const KEEPER: &str = "bench-folder";
/// What it says first: that the folder is made, or why it is not.
const MADE: u8 = b'm';
const FAILED: u8 = b'f';

/// A folder in the one for temporary files; dropped, it is gone.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    keeper: Child,
}

impl Folder {
    /// Makes an empty one whose name begins with this; of other users, everybody may read it, or nobody.
    pub(crate) fn make(name: &str, open: bool) -> Result<Folder, String> {
        let failed = |error: std::io::Error| format!("a folder for {name}: {error}");
        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg(KEEPER).arg(name).arg(if open { "755" } else { "700" });
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
        let mut keeper = command.spawn().map_err(failed)?;
        let mut said = Vec::new();
        if let Some(output) = keeper.stdout.take() {
            BufReader::new(output).read_until(0, &mut said).map_err(failed)?;
        }
        match said.split_last().and_then(|(_, said)| said.split_first()) {
            Some((&MADE, path)) => Ok(Folder { path: OsStr::from_bytes(path).into(), keeper }),
            said => {
                let why = said.map_or("nobody made it".into(), |(_, why)| String::from_utf8_lossy(why));
                let _ = keeper.wait();
                Err(why.into_owned())
            }
        }
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
        // It may have been killed.
        let _ = std::fs::remove_dir_all(&self.path);
    }
}

/// Keeps a folder, if the words of a command line ask for that; what is given is the exit code.
pub(crate) fn part(words: &[OsString]) -> Option<u8> {
    match words {
        [keeper, name, mode] if keeper == KEEPER => {
            Some(keep(name, if mode == "755" { 0o755 } else { 0o700 }))
        }
        _ => None,
    }
}

fn keep(name: &OsStr, mode: u32) -> u8 {
    let say = |kind: u8, bytes: &[u8]| {
        let mut output = std::io::stdout();
        output.write_all(&[&[kind], bytes, &[0]].concat()).and_then(|()| output.flush())
    };
    let path = match made(name, mode) {
        Ok(path) => path,
        Err(why) => {
            let _ = say(FAILED, why.as_bytes());
            return 1;
        }
    };
    if say(MADE, path.as_os_str().as_bytes()).is_ok() {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
    }
    // What was started with something in it may still be ending.
    for _ in 0..100 {
        match std::fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                std::thread::sleep(Duration::from_millis(50));
            }
            _ => return 0,
        }
    }
    1
}

/// A new folder: one that is there already is somebody else's.
fn made(name: &OsStr, mode: u32) -> Result<PathBuf, String> {
    let mut numbers = 0u32..;
    loop {
        let number = numbers.next().unwrap_or_default();
        let own = [name.as_bytes(), format!("-{}-{number}", std::process::id()).as_bytes()].concat();
        let path = std::env::temp_dir().join(OsString::from_vec(own));
        match std::os::unix::fs::DirBuilderExt::mode(&mut std::fs::DirBuilder::new(), 0o700).create(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(format!("{}: {}", path.display(), crate::words(&error))),
            Ok(()) => {
                let opened = std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode));
                return opened.map(|()| path.clone()).map_err(|error| {
                    let _ = std::fs::remove_dir(&path);
                    format!("{}: {}", path.display(), crate::words(&error))
                });
            }
        }
    }
}
