//! The kernel as Beget sees it: raw system calls, their numbers and layouts, and the only assembler of the project.
//!
//! Everything here can run in a process that shares its memory with another (a `vfork` child) or that has no libc at all (the
//! freestanding blob): no allocation, no panic, no libc, no `errno`. A call returns [`Result`], the kernel's own answer.
//!
//! # Safety idea
//!
//! A function is `unsafe` when misuse can break memory or the ownership of a descriptor (closing or replacing one, executing,
//! cloning). Calls that merely use a descriptor number are safe: a wrong number is `EBADF`.
//!
//! # What this crate does not do
//!
//! It does not wrap the calls that `rustix` wraps well; the rooms above that run in an ordinary process use `rustix` for those.
//! It does not retry `EINTR`, and it supports x86_64 Linux only.

#![no_std]

#[cfg(not(all(target_os = "linux", target_arch = "x86_64")))]
compile_error!("beget runs on x86_64 Linux: another machine needs its own `arch` module and number table");

#[cfg(not(beget_freestanding))]
extern crate std;

mod arch;
pub mod descriptor;
mod errno;
#[cfg(not(beget_freestanding))]
pub mod heap;
pub mod keyring;
pub mod landlock;
pub mod memory;
pub mod message;
pub mod namespace;
pub mod nr;
#[cfg(not(beget_freestanding))]
pub mod peer;
pub mod process;
pub mod seccomp;
pub mod signal;
#[cfg(not(beget_freestanding))]
pub mod trace;
pub mod wait;

pub use errno::{Errno, Result};
