//! Images that last: a program that was stopped where it is ready, saved to a file, and started again from there: later, after a reboot, or
//! on another machine with the same kernel interfaces and processor features.
//!
//! [`save`] writes a stopped program, [`save_serving`] that of a template; [`Image::open`] reads such a file and holds it against its digests; [`Image::restore`] makes a stopped
//! program of it again, with the confinement of a command of whoever loads it; [`sign`] and [`Image::signed_by`] say whose it is.
//!
//! # Safety idea
//!
//! An image is somebody else's program, and no more: none of its instructions runs before the products of whoever loaded it are confined, and
//! what it is confined to is not in the file. What the file says of memory and registers is asked of the kernel by the new process itself,
//! as the program could have asked; what cannot be proved to be as it was, of the kernel, the processor and every file that is mapped, is
//! refused with the reason. What cannot be saved truly is refused by name.
//!
//! # What a saved program has not
//!
//! Standard descriptors, limits, user, session and rights: those are the command's that it is loaded with. The names that it gave to memory
//! (`PR_SET_VMA_ANON_NAME`), and Landlock rules of its own, which no kernel tells. Its addresses are the same each time that it is loaded
//! ([`Info::hazards`]).

mod areas;
mod capture;
mod format;
mod image;
mod keys;
mod memory;
mod restore;
mod save;
mod system;
#[cfg(test)]
mod tests;
mod thread;

use std::ops::RangeInclusive;

use beget_sys::Errno;

pub use format::sign;
pub use image::{Image, Info, Verify, inspect};
pub use keys::{PublicKey, SecretKey};
pub use restore::{Loaded, Restored};
pub use save::{Saving, save, save_serving};

use crate::{Error, Fault};

/// All signals.
const SIGNALS: RangeInclusive<u32> = 1..=64;

/// What is refused, told as an error of this part.
fn refused(part: &str, words: impl Into<String>) -> Error {
    Error::new(format!("image: {part}"), words, Fault::Caller)
}

/// What the kernel answered to a step.
fn failed(step: &str, errno: Errno) -> Error {
    Error::kernel(format!("image: {step}"), errno, Fault::Kernel)
}

/// A name or a path, for a message.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).escape_debug().to_string()
}
