//! posix_spawn, and the standard library's Command.

use std::ffi::c_char;
use std::os::fd::AsRawFd;
use std::process::{Command, Stdio};

use super::{Born, Given, Way, told};

struct Posix;

/// File actions; dropped, what the C library has made for them goes too.
struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> Actions {
        // SAFETY: zeroes are what the initialisation overwrites.
        let mut actions = Actions(unsafe { std::mem::zeroed() });
        // SAFETY: a live structure.
        unsafe { libc::posix_spawn_file_actions_init(&raw mut actions.0) };
        actions
    }

    fn dup2(&mut self, from: i32, to: i32) {
        // SAFETY: initialised; numbers.
        unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from, to) };
    }

    fn close(&mut self, number: i32) {
        // SAFETY: initialised; a number.
        unsafe { libc::posix_spawn_file_actions_addclose(&raw mut self.0, number) };
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: initialised, and not used afterwards.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

impl Way for Posix {
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String> {
        let strings = given.arguments()?;
        let end = [std::ptr::null_mut()];
        let arguments: Vec<*mut c_char> =
            strings.iter().map(|word| word.as_ptr().cast_mut()).chain(end).collect();
        let mut actions = Actions::new();
        actions.dup2(given.holdings.a.as_raw_fd(), 0);
        actions.close(given.holdings.a.as_raw_fd());
        actions.dup2(given.output(), 1);
        if !given.forget {
            actions.close(given.holdings.b.as_raw_fd());
        }
        let (mut child, variables) = (0, [std::ptr::null_mut::<c_char>()]);
        // SAFETY: strings and arrays end in NUL and null, and live until the call returns, as the actions do.
        let errno = unsafe {
            libc::posix_spawn(
                &raw mut child,
                arguments[0],
                &raw const actions.0,
                std::ptr::null(),
                arguments.as_ptr(),
                variables.as_ptr(),
            )
        };
        match errno {
            0 => Ok(Born::Number(child)),
            _ => Err(format!("posix_spawn: {}", std::io::Error::from_raw_os_error(errno))),
        }
    }
}

/// The C library's.
pub(super) fn posix(_: &Given<'_>) -> Result<Box<dyn Way>, String> {
    Ok(Box::new(Posix))
}

struct Std;

impl Way for Std {
    fn start(&mut self, given: &Given<'_>) -> Result<Born, String> {
        given.holdings.close_on_exec(!given.forget)?;
        let mut command = Command::new(given.program);
        command.args(given.words()).env_clear().stdin(given.a()?);
        command.stdout(given.report()?.map_or_else(Stdio::null, Stdio::from));
        let born = command.spawn();
        given.holdings.close_on_exec(false)?;
        born.map(Born::Std).map_err(told)
    }
}

/// The standard library's.
pub(super) fn std_command(_: &Given<'_>) -> Result<Box<dyn Way>, String> {
    Ok(Box::new(Std))
}
