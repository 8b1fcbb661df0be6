//! The small things that a test asks the probe to do from inside. What fails is told by its errno's name, on standard error, and
//! the exit code is then 1.

use std::ffi::{CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::mem::ManuallyDrop;
use std::os::fd::FromRawFd;
use std::os::unix::ffi::OsStrExt;
use std::time::{Duration, Instant};

use crate::errno;

/// Longer than any test waits, and short enough that a probe whose test died goes away.
const LONGEST: Duration = Duration::from_secs(120);

/// A number argument; 0 when there is none.
pub(crate) fn number(word: Option<&&OsStr>) -> i32 {
    word.and_then(|word| word.to_str()).and_then(|word| word.parse().ok()).unwrap_or(0)
}

fn output(bytes: &[u8]) -> std::io::Result<()> {
    descriptor(1).write_all(bytes)
}

/// A descriptor that this process was given, and does not close.
fn descriptor(number: i32) -> ManuallyDrop<File> {
    // SAFETY: never closed by us; if it is not open, using it is an error and nothing worse.
    ManuallyDrop::new(unsafe { File::from_raw_fd(number) })
}

fn answer(done: std::io::Result<()>, what: &OsStr) -> i32 {
    match done {
        Ok(()) => 0,
        Err(error) => {
            let why = error.raw_os_error().map_or(error.to_string(), errno::name);
            let _ = writeln!(descriptor(2), "{}: {why}", what.display());
            1
        }
    }
}

fn copy(mut from: impl Read) -> std::io::Result<()> {
    let mut chunk = [0; 1 << 16];
    loop {
        match from.read(&mut chunk)? {
            0 => return Ok(()),
            length => output(&chunk[..length])?,
        }
    }
}

pub(crate) fn cat(files: &[&OsStr]) -> i32 {
    if files.is_empty() {
        return answer(copy(&mut *descriptor(0)), OsStr::new("stdin"));
    }
    files.iter().map(|file| answer(File::open(file).and_then(copy), file)).max().unwrap_or(0)
}

pub(crate) fn await_end(code: i32) -> i32 {
    let mut byte = [0];
    while matches!(descriptor(0).read(&mut byte), Ok(1..)) {}
    code
}

pub(crate) fn copy_descriptors(numbers: &[&OsStr]) -> i32 {
    let copy = |word| answer(copy(&mut *descriptor(number(Some(&word)))), word);
    numbers.iter().map(|word| copy(*word)).max().unwrap_or(0)
}

pub(crate) fn say(words: &[&OsStr]) -> i32 {
    let mut line = words.join(OsStr::new(" ")).as_bytes().to_vec();
    line.push(b'\n');
    answer(output(&line), OsStr::new("stdout"))
}

/// Ends by a signal; 99 tells that it did not.
pub(crate) fn signal(number: i32) -> i32 {
    // SAFETY: signals nobody but this process.
    unsafe { libc::kill(libc::getpid(), number) };
    99
}

pub(crate) fn sleep() -> i32 {
    std::thread::sleep(LONGEST);
    98
}

/// Leaves as the most stubborn programs do: its grandchild has lost its parent, has a session of its own, and so has the child of
/// that. Each that stays writes one byte.
pub(crate) fn family() -> i32 {
    // SAFETY: this process has one thread, and its children do nothing but this.
    unsafe {
        if libc::fork() == 0 {
            libc::setsid();
            if libc::fork() != 0 {
                libc::_exit(0);
            }
            if libc::fork() == 0 {
                libc::setsid();
            }
        }
    }
    let written = output(b"x");
    if written.is_ok() { sleep() } else { 97 }
}

pub(crate) fn spin() -> i32 {
    let start = Instant::now();
    while start.elapsed() < LONGEST {
        std::hint::spin_loop();
    }
    98
}

/// Uses so many MiB of memory, for a moment.
pub(crate) fn hold(size: i32) -> i32 {
    let held = vec![1u8; (size as usize) << 20];
    i32::from(std::hint::black_box(&held).is_empty())
}

pub(crate) fn touch(paths: &[&OsStr]) -> i32 {
    let make = |path: &&OsStr| {
        let made = OpenOptions::new().create(true).append(true).open(path);
        answer(made.map(drop), path)
    };
    paths.iter().map(make).max().unwrap_or(0)
}

/// One operation on a path, as its name says.
fn perform(operation: &str, path: &OsStr) -> std::io::Result<()> {
    match operation {
        "read" => File::open(path)?.read_to_end(&mut Vec::new()).map(drop),
        "list" => std::fs::read_dir(path)?.try_for_each(|entry| entry.map(drop)),
        "write" => OpenOptions::new().append(true).open(path)?.write_all(b"+"),
        "truncate" => OpenOptions::new().write(true).truncate(true).open(path).map(drop),
        "truncate-by-path" => {
            let path = CString::new(path.as_bytes())?;
            // SAFETY: a string that ends in NUL, borrowed for the call.
            if unsafe { libc::truncate(path.as_ptr(), 0) } == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        }
        "create" => OpenOptions::new().write(true).create_new(true).open(path).map(drop),
        "mkdir" => std::fs::create_dir(path),
        "rmdir" => std::fs::remove_dir(path),
        "remove" => std::fs::remove_file(path),
        "link" => std::os::unix::fs::symlink("target", path),
        "stat" => std::fs::symlink_metadata(path).map(drop),
        "chdir" => std::env::set_current_dir(path),
        // Renames to the same name with a `~` after it.
        "rename" => {
            let mut other = path.to_owned();
            other.push("~");
            std::fs::rename(path, other)
        }
        _ => Err(std::io::Error::from_raw_os_error(libc::EOPNOTSUPP)),
    }
}

pub(crate) fn attempt(words: &[&OsStr]) -> i32 {
    let mut text = String::new();
    for pair in words.chunks_exact(2) {
        let operation = pair[0].to_str().unwrap_or_default();
        let result = match perform(operation, pair[1]) {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.raw_os_error().map_or(error.to_string(), errno::name),
        };
        text += &format!("{operation} {} {result}\n", pair[1].display());
    }
    answer(output(text.as_bytes()), OsStr::new("stdout"))
}

pub(crate) fn fork() -> i32 {
    // SAFETY: the child of this process without threads does nothing but leave.
    let result = match unsafe { libc::fork() } {
        // SAFETY: leaves at once, running no destructors of the parent's.
        0 => unsafe { libc::_exit(0) },
        -1 => errno::last(),
        child => {
            // SAFETY: waits for our own child; no status is asked for.
            unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
            "ok".to_owned()
        }
    };
    say(&[OsStr::new(&result)])
}

pub(crate) fn socket(words: &[&OsStr]) -> i32 {
    let word = |index| number(words.get(index));
    // SAFETY: numbers only.
    let result = match unsafe { libc::socket(word(0), word(1), word(2)) } {
        -1 => errno::last(),
        _ => "ok".to_owned(),
    };
    say(&[OsStr::new(&result)])
}
