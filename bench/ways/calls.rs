//! One birth and one death, each way: same program, same arguments, no variables, standard streams inherited.

use std::ffi::{CStr, c_char, c_int, c_short, c_void};
use std::os::unix::ffi::OsStrExt;
use std::ptr::null;

use beget::{Command, Grant, Stdio};

/// Waits for a child; anything but success is an error, so that no failure is ever taken for speed.
pub fn reaped(child: libc::pid_t) -> Result<(), String> {
    let mut status = 0;
    // SAFETY: the kernel writes one number at a live place.
    while unsafe { libc::waitpid(child, &raw mut status, 0) } < 0 {
        let error = std::io::Error::last_os_error();
        if error.kind() != std::io::ErrorKind::Interrupted {
            return Err(format!("wait: {error}"));
        }
    }
    if status == 0 { Ok(()) } else { Err(format!("ended with wait status {status:#x}")) }
}

/// glibc's, without file actions; with `session`, in a session of its own, which is what ours gives.
pub fn posix_spawn(program: &CStr, session: bool) -> Result<(), String> {
    reaped(posix_spawned(program, session)?)
}

/// The same, without waiting.
pub fn posix_spawned(program: &CStr, session: bool) -> Result<libc::pid_t, String> {
    const SETSID: c_short = 0x80;
    let arguments = [program.as_ptr().cast_mut(), std::ptr::null_mut()];
    let variables = [std::ptr::null_mut::<c_char>()];
    let mut child = 0;
    // SAFETY: zeroes are what the initialisation that follows overwrites, and a value that needs no destruction.
    let mut attributes: libc::posix_spawnattr_t = unsafe { std::mem::zeroed() };
    // SAFETY: strings and arrays end in NUL and null, and live until the call returns, as the attributes do.
    let errno = unsafe {
        let mut chosen = null();
        if session {
            libc::posix_spawnattr_init(&raw mut attributes);
            libc::posix_spawnattr_setflags(&raw mut attributes, SETSID);
            chosen = &raw const attributes;
        }
        let (arguments, variables) = (arguments.as_ptr(), variables.as_ptr());
        libc::posix_spawn(&raw mut child, program.as_ptr(), null(), chosen, arguments, variables)
    };
    if errno != 0 {
        return Err(format!("posix_spawn: {}", std::io::Error::from_raw_os_error(errno)));
    }
    Ok(child)
}

/// The standard library's.
pub fn std_command(program: &CStr) -> Result<(), String> {
    let program = std::ffi::OsStr::from_bytes(program.to_bytes());
    let status =
        std::process::Command::new(program).env_clear().status().map_err(|error| error.to_string())?;
    if status.success() { Ok(()) } else { Err(status.to_string()) }
}

/// Executes `program`, in a child; comes back only to end it.
fn execute(program: &CStr) -> c_int {
    let arguments = [program.as_ptr(), null()];
    let variables = [null::<c_char>()];
    // SAFETY: strings and arrays end in NUL and null. The call does not return when it succeeds.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), variables.as_ptr()) };
    127
}

fn forked(work: impl FnOnce() -> c_int) -> Result<(), String> {
    // SAFETY: the child makes system calls only.
    match unsafe { libc::fork() } {
        -1 => Err(format!("fork: {}", std::io::Error::last_os_error())),
        // SAFETY: ends the child.
        0 => unsafe { libc::_exit(work()) },
        child => reaped(child),
    }
}

/// Fork, then exec.
pub fn fork_exec(program: &CStr) -> Result<(), String> {
    forked(|| execute(program))
}

/// Fork and nothing else.
pub fn fork_exit() -> Result<(), String> {
    forked(|| 0)
}

/// Where a child that shares our memory runs.
pub struct Stack(Vec<u128>);

impl Default for Stack {
    fn default() -> Stack {
        Stack(vec![0; 4096])
    }
}

/// A child that shares memory and holds us until it executes or ends: what `vfork` does, without a second return into this frame.
fn sharing(
    stack: &mut Stack,
    kinds: c_int,
    work: extern "C" fn(*mut c_void) -> c_int,
    context: *mut c_void,
) -> Result<(), String> {
    let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD | kinds;
    // SAFETY: the child has a stack of its own, borrowed until the call returns, which it does after the child is done with it; it
    // only executes a program or ends.
    let child = unsafe { libc::clone(work, stack.0.as_mut_ptr_range().end.cast(), flags, context) };
    if child < 0 {
        return Err(format!("clone: {}", std::io::Error::last_os_error()));
    }
    reaped(child)
}

/// `vfork`, then exec.
pub fn vfork_exec(stack: &mut Stack, program: &CStr) -> Result<(), String> {
    extern "C" fn work(program: *mut c_void) -> c_int {
        // SAFETY: the pointer is the string handed over below, alive while its owner is held.
        execute(unsafe { CStr::from_ptr(program.cast()) })
    }
    sharing(stack, 0, work, program.as_ptr().cast_mut().cast())
}

/// `vfork` and nothing else.
pub fn vfork_exit(stack: &mut Stack) -> Result<(), String> {
    vfork_exit_in(stack, 0)
}

/// The same, in new namespaces of these kinds.
pub fn vfork_exit_in(stack: &mut Stack, kinds: c_int) -> Result<(), String> {
    extern "C" fn work(_: *mut c_void) -> c_int {
        0
    }
    sharing(stack, kinds, work, std::ptr::null_mut())
}

fn command(program: &CStr, grant: Grant) -> Command {
    let mut command = Command::new(std::ffi::OsStr::from_bytes(program.to_bytes()));
    command.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit()).grant(grant);
    command
}

/// A command of ours with all that this user may do.
pub fn unconfined(program: &CStr) -> Command {
    command(program, Grant::Ambient)
}

/// A command of ours with nothing but the system's program files.
pub fn confined(program: &CStr) -> Command {
    command(program, Grant::Base)
}
