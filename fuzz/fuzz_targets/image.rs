//! Any bytes read as an executable and put somewhere: an answer, never a panic, and mappings that can be made.
//!
//! The bytes are taken as the whole file, and as the beginning of one of 4 GiB: else hardly any segment would be within it.

#![no_main]

#[allow(dead_code)]
#[path = "../../crates/image/tests/support/invariants.rs"]
mod invariants;

use std::io;

use beget_image::Source;
use libfuzzer_sys::fuzz_target;

struct Beginning<'a>(&'a [u8]);

impl Source for Beginning<'_> {
    fn size(&self) -> io::Result<u64> {
        Ok(4 << 30)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let there = self.0.read_at(offset, buffer)?;
        buffer[there..].fill(0);
        Ok((4u64 << 30).saturating_sub(offset).min(buffer.len() as u64) as usize)
    }
}

fuzz_target!(|bytes: &[u8]| {
    // The place comes from the end, which no header is in.
    let random = bytes.last_chunk().map_or(0, |last| u64::from_le_bytes(*last));
    invariants::image(bytes, random);
    invariants::image(&Beginning(bytes), random);
});
