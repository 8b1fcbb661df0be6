//! Keyrings: what one is, seen by whoever looks for it or has joined it (`man 2 keyctl`).
//!
//! Safety idea: a name can be anybody's, and so can a number that is told; what counts is what the kernel says of the keyring itself.

use crate::process::READ_ONLY_KEYRING;
use crate::{Result, arch, nr};

const DESCRIBE: usize = 6;
#[cfg(not(beget_freestanding))]
const SEARCH: usize = 10;
const READ: usize = 11;
/// `KEY_SPEC_USER_KEYRING`: the keyring of the caller's user number.
#[cfg(not(beget_freestanding))]
const USER_KEYRING: usize = -4isize as usize;

/// `KEY_SPEC_SESSION_KEYRING`, in place of a serial number: the session keyring of the caller.
pub const OF_SESSION: i32 = -3;

/// The serial number of the keyring `name` in the user's keyring.
///
/// # Errors
/// `ENOKEY` when there is none; `ENOSYS` when the kernel has no keyrings; `EPERM` when a filter refuses the call.
#[cfg(not(beget_freestanding))]
pub fn find(name: &core::ffi::CStr) -> Result<i32> {
    let (kind, name) = (c"keyring".as_ptr() as usize, name.as_ptr() as usize);
    // SAFETY: the kernel reads two strings that outlive the call.
    unsafe { arch::call5(nr::KEYCTL, SEARCH, USER_KEYRING, kind, name, 0) }.map(|serial| serial as i32)
}

/// Whether a keyring is the caller's user's, has exactly the rights that [`make_keyring`](crate::process::make_keyring) gives, and holds
/// no key. With those rights nobody can put one into it any more, nor change the rights, whoever made it.
///
/// # Errors
/// `ENOKEY` when it is gone; `EACCES` when it may not be looked at.
pub fn is_empty_for_good(serial: i32) -> Result<bool> {
    let mut text = [0u8; 128];
    let (at, size) = (text.as_mut_ptr() as usize, text.len());
    // SAFETY: the kernel writes at most `size` bytes at `at`, on this stack.
    unsafe { arch::call4(nr::KEYCTL, DESCRIBE, serial as usize, at, size) }?;
    // SAFETY: no memory is passed.
    let user = unsafe { arch::call0(nr::GETEUID) }?;
    // "keyring;user;group;rights in hexadecimal;name"
    let mut fields = text.split(|byte| *byte == b';');
    let owner = fields.nth(1).and_then(|digits| number(digits, 10));
    let rights = fields.nth(1).and_then(|digits| number(digits, 16));
    if owner != Some(user as u32) || rights != Some(READ_ONLY_KEYRING) {
        return Ok(false);
    }
    // Asked last: with those rights it cannot change any more.
    // SAFETY: without a buffer the kernel only says how many bytes its serial numbers would take.
    unsafe { arch::call4(nr::KEYCTL, READ, serial as usize, 0, 0) }.map(|bytes| bytes == 0)
}

/// What digits say; `str` and its parsing are not for a newborn, where nothing may panic.
fn number(digits: &[u8], base: u32) -> Option<u32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0u32, |sum, digit| {
        let value = char::from(*digit).to_digit(base)?;
        sum.checked_mul(base)?.checked_add(value)
    })
}
