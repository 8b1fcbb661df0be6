//! Keyrings, seen from the side that prepares them (`man 2 keyctl`).

use core::ffi::CStr;

use crate::{Result, arch, nr};

const SETPERM: usize = 5;
const SEARCH: usize = 10;
/// `KEY_SPEC_USER_KEYRING`: the keyring of the caller's user number.
const USER_KEYRING: usize = -4isize as usize;
/// View, read and search, for whoever possesses it and for its user; nothing for others, and no write for anyone.
const READ_ONLY: usize = 0x0b0b_0000;

/// The serial number of the keyring `name` in the user's keyring.
///
/// # Errors
/// `ENOKEY` when there is none; `ENOSYS` when the kernel has no keyrings; `EPERM` when a filter refuses the call.
pub fn find(name: &CStr) -> Result<i32> {
    let (kind, name) = (c"keyring".as_ptr() as usize, name.as_ptr() as usize);
    // SAFETY: the kernel reads two strings that outlive the call.
    unsafe { arch::call5(nr::KEYCTL, SEARCH, USER_KEYRING, kind, name, 0) }.map(|serial| serial as i32)
}

/// Makes an empty keyring `name`, read-only, kept by a link in the user's keyring.
///
/// # Errors
/// `EDQUOT` when the user has too many keys; `ENOSYS`, `EPERM` as for [`find`].
pub fn create(name: &CStr) -> Result<i32> {
    let (kind, name) = (c"keyring".as_ptr() as usize, name.as_ptr() as usize);
    // SAFETY: the kernel reads two strings that outlive the call, and no payload.
    let serial = unsafe { arch::call5(nr::ADD_KEY, kind, name, 0, 0, USER_KEYRING) }?;
    // SAFETY: no memory is passed.
    unsafe { arch::call3(nr::KEYCTL, SETPERM, serial, READ_ONLY) }?;
    Ok(serial as i32)
}
