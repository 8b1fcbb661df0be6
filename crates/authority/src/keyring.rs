//! The empty session keyring that children join.
//!
//! One per user, kept by a link in the user's keyring: a new one per spawn would exhaust a logged-in user's quota of keys. The first
//! child makes it, because that takes a session keyring to make it in, and the caller's is not ours to touch. Two first ones at once make
//! two, and the older is joined, by its name, until the last process that has it ends: either will do, so each child looks at what it
//! joined, not only at its number.

use std::ffi::CStr;

use beget_sys::{Errno, keyring};

/// Its name.
pub const NAME: &CStr = c"beget:empty";

/// What there is to join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keyring {
    /// It is there, with this serial number.
    Made(i32),
    /// The child is to make it.
    Missing,
    /// There are no keyrings, or no way to them: a filter that refuses the key calls is all there is to do.
    None,
}

/// Looks for it. One that lacks the rights it should have is half made, and made anew; so is one that holds a key.
#[must_use]
pub fn look() -> Keyring {
    match keyring::find(NAME).and_then(|serial| Ok((serial, keyring::is_empty_for_good(serial)?))) {
        Ok((serial, true)) => Keyring::Made(serial),
        Ok((_, false)) | Err(Errno::ENOKEY) => Keyring::Missing,
        Err(_) => Keyring::None,
    }
}
