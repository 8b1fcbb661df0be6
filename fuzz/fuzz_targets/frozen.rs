//! Any bytes read as the header of a saved image: an answer, never a panic, and what is accepted can be mapped and is written as it was read.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/image/tests/support/invariants.rs"]
mod invariants;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    invariants::frozen(bytes);
});
