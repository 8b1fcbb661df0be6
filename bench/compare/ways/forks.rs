//! fork and exec, vfork and exec.
//!
//! Safety idea: the child makes plain system calls only, from what was got ready before; one that shares memory runs on a stack of its own,
//! and writes nothing but that.

use std::ffi::{CString, c_char, c_int, c_void};
use std::os::fd::AsRawFd;
use std::ptr::null;

use super::{Born, Given, Way};

/// What the child does before its exec, got ready before it is there.
struct Ready {
    a: c_int,
    b: c_int,
    output: c_int,
    close_b: bool,
    arguments: Vec<*const c_char>,
    _strings: Vec<CString>,
}

impl Ready {
    fn of(given: &Given<'_>, close_b: bool) -> Result<Ready, String> {
        let strings = given.arguments()?;
        let arguments = strings.iter().map(|word| word.as_ptr()).chain([null()]).collect();
        let (a, b) = (given.holdings.a.as_raw_fd(), given.holdings.b.as_raw_fd());
        Ok(Ready { a, b, output: given.output(), close_b, arguments, _strings: strings })
    }

    /// In the child; comes back only to end it.
    fn execute(&self) -> c_int {
        let variables = [null::<c_char>()];
        // SAFETY: numbers; strings and arrays that end in NUL and null, and live as long as whoever made this child.
        unsafe {
            libc::dup2(self.a, 0);
            libc::close(self.a);
            libc::dup2(self.output, 1);
            if self.close_b {
                libc::close(self.b);
            }
            libc::execve(self.arguments[0], self.arguments.as_ptr(), variables.as_ptr());
        }
        127
    }
}

fn failed(call: &str) -> String {
    format!("{call}: {}", std::io::Error::last_os_error())
}

struct Fork {
    careful: bool,
}

impl Way for Fork {
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String> {
        let ready = Ready::of(given, self.careful && !given.forget)?;
        // SAFETY: the child makes system calls only.
        match unsafe { libc::fork() } {
            -1 => Err(failed("fork")),
            // SAFETY: ends the child.
            0 => unsafe { libc::_exit(ready.execute()) },
            child => Ok(Born::Number(child)),
        }
    }
}

/// fork, with B closed.
pub(super) fn fork(_: &Given<'_>) -> Result<Box<dyn Way>, String> {
    Ok(Box::new(Fork { careful: true }))
}

/// fork, with the one close forgotten.
pub(super) fn careless_fork(_: &Given<'_>) -> Result<Box<dyn Way>, String> {
    Ok(Box::new(Fork { careful: false }))
}

struct Vfork {
    stack: Vec<u128>,
}

extern "C" fn in_vfork(ready: *mut c_void) -> c_int {
    // SAFETY: what was handed over below, alive while its owner is held.
    unsafe { &*ready.cast::<Ready>() }.execute()
}

impl Way for Vfork {
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String> {
        let mut ready = Ready::of(given, !given.forget)?;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        let (top, ready) = (self.stack.as_mut_ptr_range().end.cast(), (&raw mut ready).cast());
        // SAFETY: the child has a stack of its own, and the call returns when the child is done with that and with what is ready.
        match unsafe { libc::clone(in_vfork, top, flags, ready) } {
            -1 => Err(failed("vfork")),
            child => Ok(Born::Number(child)),
        }
    }
}

/// vfork: what the C library does with `clone`, so that the child does not return into this frame.
pub(super) fn vfork(_: &Given<'_>) -> Result<Box<dyn Way>, String> {
    const WORDS: usize = 4096;
    Ok(Box::new(Vfork { stack: vec![0; WORDS] }))
}
