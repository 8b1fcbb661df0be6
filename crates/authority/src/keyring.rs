//! The empty session keyring that children join.
//!
//! One per user, kept by a link in the user's keyring: a new one per spawn would exhaust a logged-in user's quota of keys.

use std::ffi::CStr;

use beget_sys::{Errno, keyring};

/// Its name.
pub const NAME: &CStr = c"beget:empty";

/// Finds or makes it, and gives its serial number; `None` where there are no keyrings to protect, or no way to them, so that a
/// filter that refuses the key calls is all there is to do.
#[must_use]
pub fn empty() -> Option<i32> {
    match keyring::find(NAME) {
        Ok(serial) => Some(serial),
        Err(Errno::ENOKEY) => keyring::create(NAME).ok(),
        Err(_) => None,
    }
}
