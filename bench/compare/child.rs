//! C: the program that needs A. It says what it holds and how far it gets towards B.
//!
//! Safety idea: it begins with system calls alone, before anything of ours has opened or closed a descriptor, and asks for identities
//! and not for names. It reads, and harms nothing; what it could do to P is asked for and not done.

use std::ffi::{CString, OsString};
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;

use beget_sys::Errno;

use super::order::Order;
use super::stage::SECRET;

/// The exit code of a C that has no A.
pub(super) const NO_A: u8 = 3;
/// That of one which was not told what to do.
const NO_ORDER: u8 = 4;
/// How many descriptor numbers are looked at.
const NUMBERS: i32 = 1024;
const A: i32 = 0;
const REPORT: i32 = 1;

/// Does what the words say; gives the exit code.
pub(super) fn child(words: &[OsString]) -> u8 {
    // A template is stopped here, before it looks at anything: what it is told it is told already.
    let a = read_a();
    match Order::read(words) {
        Some(order) => follow(&order, a),
        None => NO_ORDER,
    }
}

/// The same for a C that is a copy of P.
pub(super) fn copied(order: &Order) -> u8 {
    super::mark::Mark::First.set();
    follow(order, read_a())
}

fn follow(order: &Order, a: Result<(), String>) -> u8 {
    if !order.look {
        return a.map_or(NO_A, |()| 0);
    }
    match a {
        Err(why) => {
            tell(&format!("error C has no A: {why}\nend\n"));
            NO_A
        }
        Ok(()) => {
            tell(&report(order));
            0
        }
    }
}

fn errno() -> String {
    Errno(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)).to_string()
}

fn read_a() -> Result<(), String> {
    let mut bytes = [0u8; 64];
    // SAFETY: the kernel writes at most so many bytes into a live buffer.
    let read = match unsafe { libc::read(A, bytes.as_mut_ptr().cast(), bytes.len()) } {
        // Another C that was given the same A has read it to its end.
        // SAFETY: likewise.
        0 => unsafe { libc::pread(A, bytes.as_mut_ptr().cast(), bytes.len(), 0) },
        other => other,
    };
    match read {
        1.. => Ok(()),
        0 => Err("there is nothing in it".to_owned()),
        _ => Err(errno()),
    }
}

fn tell(text: &str) {
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        // SAFETY: the kernel reads a live slice.
        match unsafe { libc::write(REPORT, rest.as_ptr().cast(), rest.len()) } {
            count @ 1.. => rest = &rest[count as usize..],
            _ => return,
        }
    }
}

/// Device, inode and kind of what is open at a number.
fn identity(number: i32) -> Option<(u64, u64, &'static str)> {
    // SAFETY: zeroes are a value of this plain structure.
    let mut found: libc::stat = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills a live structure.
    if unsafe { libc::fstat(number, &raw mut found) } != 0 {
        return None;
    }
    let kind = match found.st_mode & libc::S_IFMT {
        libc::S_IFREG => "file",
        libc::S_IFDIR => "folder",
        libc::S_IFIFO => "pipe",
        libc::S_IFSOCK => "socket",
        libc::S_IFCHR => "device",
        _ => "other",
    };
    Some((found.st_dev, found.st_ino, kind))
}

/// What an attempt gave: the identity of what was got, or why not.
fn got(text: &mut String, way: &str, number: i32) {
    match if number < 0 { None } else { identity(number) } {
        Some((device, inode, _)) => {
            let _ = writeln!(text, "{way} file {device} {inode}");
            // SAFETY: a number that the attempt gave us and nobody else knows.
            unsafe { libc::close(number) };
        }
        None => drop(writeln!(text, "{way} no {}", errno())),
    }
}

fn open(path: &[u8]) -> i32 {
    let Ok(path) = CString::new(path) else { return -1 };
    // SAFETY: a string that ends in NUL.
    unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) }
}

fn report(order: &Order) -> String {
    let mut text = String::new();
    for number in 0..NUMBERS {
        if let Some((device, inode, kind)) = identity(number) {
            let _ = writeln!(text, "holds {number} {device} {inode} {kind}");
        }
    }
    got(&mut text, "path", open(order.path.as_os_str().as_bytes()));
    got(&mut text, "proc", open(format!("/proc/{}/fd/{}", order.parent, order.number).as_bytes()));
    got(&mut text, "getfd", taken(order));
    memory(&mut text, order);
    let parent = order.parent as libc::pid_t;
    // SAFETY: no signal is sent: it is asked whether one could be.
    let signal = unsafe { libc::kill(parent, 0) } == 0;
    let _ = if signal { writeln!(text, "signal yes") } else { writeln!(text, "signal no {}", errno()) };
    // Last, for this ends with us.
    match beget_sys::trace::seize(parent, 0) {
        Ok(()) => text.push_str("trace yes\n"),
        Err(errno) => drop(writeln!(text, "trace no {errno}")),
    }
    text.push_str("end\n");
    text
}

/// B, taken out of P.
fn taken(order: &Order) -> i32 {
    // SAFETY: numbers only.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, order.parent, 0) };
    if process < 0 {
        return -1;
    }
    // SAFETY: numbers only.
    let file = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process, order.number, 0) };
    let why = std::io::Error::last_os_error().raw_os_error().unwrap_or(0);
    // SAFETY: our own; and the errno that is told is that of the call before.
    unsafe {
        libc::close(process as i32);
        *libc::__errno_location() = why;
    }
    file as i32
}

/// What B says, read where P has it.
fn memory(text: &mut String, order: &Order) {
    let mut bytes = [0u8; SECRET];
    match beget_sys::trace::read(order.parent as i32, order.at, &mut bytes) {
        Ok(()) => {
            text.push_str("memory bytes ");
            for byte in bytes {
                let _ = write!(text, "{byte:02x}");
            }
            text.push('\n');
        }
        Err(errno) => drop(writeln!(text, "memory no {errno}")),
    }
}
