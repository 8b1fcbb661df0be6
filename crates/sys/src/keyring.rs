//! Keyrings, seen from the side that looks for them (`man 2 keyctl`).

use core::ffi::CStr;

use crate::process::READ_ONLY_KEYRING;
use crate::{Result, arch, nr};

const DESCRIBE: usize = 6;
const SEARCH: usize = 10;
/// `KEY_SPEC_USER_KEYRING`: the keyring of the caller's user number.
const USER_KEYRING: usize = -4isize as usize;

/// The serial number of the keyring `name` in the user's keyring.
///
/// # Errors
/// `ENOKEY` when there is none; `ENOSYS` when the kernel has no keyrings; `EPERM` when a filter refuses the call.
pub fn find(name: &CStr) -> Result<i32> {
    let (kind, name) = (c"keyring".as_ptr() as usize, name.as_ptr() as usize);
    // SAFETY: the kernel reads two strings that outlive the call.
    unsafe { arch::call5(nr::KEYCTL, SEARCH, USER_KEYRING, kind, name, 0) }.map(|serial| serial as i32)
}

/// Whether a keyring has exactly the rights that [`make_keyring`](crate::process::make_keyring) gives.
///
/// # Errors
/// `ENOKEY` when it is gone; `EACCES` when it may not be looked at.
pub fn is_read_only(serial: i32) -> Result<bool> {
    let mut text = [0u8; 128];
    let (at, size) = (text.as_mut_ptr() as usize, text.len());
    // SAFETY: the kernel writes at most `size` bytes at `at`, on this stack.
    unsafe { arch::call4(nr::KEYCTL, DESCRIBE, serial as usize, at, size) }?;
    // "keyring;user;group;rights in hexadecimal;name"
    let rights = text.split(|byte| *byte == b';').nth(3).and_then(|digits| core::str::from_utf8(digits).ok());
    Ok(rights.and_then(|digits| u32::from_str_radix(digits, 16).ok()) == Some(READ_ONLY_KEYRING))
}
