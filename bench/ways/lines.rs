//! Whole command lines, each started anew, and where the programs for them are.

use std::ffi::{CString, c_char};
use std::path::{Path, PathBuf};
use std::ptr::null;

use super::reaped;

/// A command line, started with its streams at `/dev/null`.
pub struct Line {
    words: Vec<CString>,
    variables: Vec<CString>,
    actions: libc::posix_spawn_file_actions_t,
}

impl Line {
    /// `words` follow the program's own name.
    pub fn new(program: &Path, words: &[&str]) -> Result<Line, String> {
        let string = |text: &str| CString::new(text).map_err(|_| "a word has a NUL byte".to_owned());
        let program = program.to_str().ok_or("a path is not text")?;
        let words =
            std::iter::once(&program).chain(words).map(|word| string(word)).collect::<Result<_, _>>()?;
        let variables = vec![string("PATH=/usr/local/bin:/usr/bin:/bin")?, string("HOME=/tmp")?];
        // SAFETY: zeroes are overwritten by the initialisation that follows.
        let mut actions: libc::posix_spawn_file_actions_t = unsafe { std::mem::zeroed() };
        // SAFETY: the structure lives in the line until it is dropped; the path is copied.
        unsafe {
            libc::posix_spawn_file_actions_init(&raw mut actions);
            for stream in 0..=2 {
                let actions = &raw mut actions;
                libc::posix_spawn_file_actions_addopen(
                    actions,
                    stream,
                    c"/dev/null".as_ptr(),
                    libc::O_RDWR,
                    0,
                );
            }
        }
        Ok(Line { words, variables, actions })
    }

    /// Starts it and waits for a success.
    pub fn run(&self) -> Result<(), String> {
        let pointers = |strings: &[CString]| -> Vec<*mut c_char> {
            strings.iter().map(|s| s.as_ptr().cast_mut()).chain([std::ptr::null_mut()]).collect()
        };
        let (words, variables) = (pointers(&self.words), pointers(&self.variables));
        let mut child = 0;
        // SAFETY: strings and arrays end in NUL and null and outlive the call; the actions were initialised.
        let errno = unsafe {
            let actions = &raw const self.actions;
            libc::posix_spawn(&raw mut child, words[0], actions, null(), words.as_ptr(), variables.as_ptr())
        };
        if errno != 0 {
            return Err(std::io::Error::from_raw_os_error(errno).to_string());
        }
        reaped(child)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // SAFETY: initialised once, destroyed once.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.actions) };
    }
}

/// Where a program is, in the folders that every user has.
pub fn find(name: &str) -> Option<PathBuf> {
    let folders = ["/usr/local/bin", "/usr/bin", "/bin", "/usr/sbin", "/sbin"];
    folders.iter().map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}

/// The same, or that it is missing.
pub fn installed(name: &str) -> Result<PathBuf, String> {
    find(name).ok_or(format!("{name} is not installed"))
}

/// Our own command: this very program.
pub fn own_command() -> Result<PathBuf, String> {
    std::env::current_exe().map_err(|error| error.to_string())
}

/// The same built for musl, where that was done: it lies in that target's folder.
pub fn own_musl_command() -> Result<PathBuf, String> {
    let path = own_command()?;
    let target = path.parent().and_then(Path::parent).ok_or("no target folder")?;
    let path = target.join("x86_64-unknown-linux-musl/release/beget");
    if path.exists() {
        Ok(path)
    } else {
        Err("not built: cargo build --release -p beget-cli --target x86_64-unknown-linux-musl".to_owned())
    }
}
