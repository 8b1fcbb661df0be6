//! Any arguments, environment, auxiliary vector and place made into a first stack: refused, or read back as it was meant.
//!
//! ```text
//! 0   top in pages, gap, limit: 8, 2 and 3 bytes
//! 13  random bytes; how many entries the auxiliary vector has, and these: a byte and 8 bytes
//! ... strings, each ended by NUL: the name, arguments up to one that is empty, the environment
//! ```

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/image/tests/support/invariants.rs"]
mod invariants;

use std::ffi::CString;

use beget_image::FirstStack;
use libfuzzer_sys::fuzz_target;

fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn stack(bytes: &[u8]) -> Option<()> {
    let (numbers, rest) = bytes.split_at_checked(13)?;
    let (random, rest) = rest.split_first_chunk::<16>()?;
    let (count, rest) = rest.split_first()?;
    let (entries, rest) = rest.split_at_checked(usize::from(*count) * 9)?;
    let auxiliary: Vec<(u64, u64)> =
        entries.chunks_exact(9).map(|entry| (u64::from(entry[0]), number(&entry[1..]))).collect();
    let mut strings =
        rest.split(|byte| *byte == 0).map(|string| CString::new(string).expect("it was split there"));
    let name = strings.next()?;
    let arguments: Vec<CString> = strings.by_ref().take_while(|string| !string.is_empty()).collect();
    let environment: Vec<CString> = strings.collect();
    invariants::stack(&FirstStack {
        arguments: &arguments,
        environment: &environment,
        name: &name,
        platform: c"x86_64",
        random: *random,
        auxiliary: &auxiliary,
        top: number(&numbers[..8]).wrapping_mul(4096),
        shift: number(&numbers[8..10]),
        limit: number(&numbers[10..]),
    });
    Some(())
}

fuzz_target!(|bytes: &[u8]| {
    let _ = stack(bytes);
});
