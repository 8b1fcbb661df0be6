//! Any bytes read as a file with symbols: an answer, never a panic, and what is found by address is found by name.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/image/tests/support/invariants.rs"]
mod invariants;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let address = bytes.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
    invariants::symbols(bytes, address);
});
