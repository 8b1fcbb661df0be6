//! The interpreter as a freestanding program: a few KiB of position-independent code without data, for processes that have no
//! libc and nothing of their creator's memory.
//!
//! It is linked from the sources of this crate and of `beget-sys` by the build script; the link fails when a panic, a relocation
//! or writable data gets in. Map [`CODE`] readable and executable anywhere and call its first byte as an [`Entry`].

/// Code and constants, one segment, entry at its first byte.
pub const CODE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/blob.bin"));

/// How the blob is called: plan and its length in bytes, descriptors and their number, scratch and its number of words.
///
/// It checks the plan for [`Engine::Fresh`](crate::Engine::Fresh) and runs it in the calling process. It returns only on failure:
/// the operation in the high half and the errno in the low one, or [`REFUSED`] when the bytes are no plan or room is missing.
pub type Entry = unsafe extern "C" fn(*const u8, usize, *mut i32, usize, *mut u64, usize) -> u64;

/// The answer to bytes that are no plan.
pub const REFUSED: u64 = u64::MAX;
