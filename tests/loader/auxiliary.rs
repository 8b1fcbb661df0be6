//! The auxiliary vector: each entry that an exec would give, right for this program at this place.

use std::collections::BTreeSet;
use std::process::Command;

use beget_tests::text;

use crate::inside::{each_way, programs};
use crate::lacks;

mod key {
    pub(super) const PHDR: u64 = 3;
    pub(super) const PHNUM: u64 = 5;
    pub(super) const BASE: u64 = 7;
    pub(super) const ENTRY: u64 = 9;
    pub(super) const PLATFORM: u64 = 15;
    pub(super) const SECURE: u64 = 23;
    pub(super) const RANDOM: u64 = 25;
    pub(super) const EXECFN: u64 = 31;
    pub(super) const SYSINFO_EHDR: u64 = 33;
    /// Addresses: their values differ from run to run.
    pub(super) const PLACES: [u64; 7] = [PHDR, BASE, ENTRY, PLATFORM, RANDOM, EXECFN, SYSINFO_EHDR];
}

/// A hexadecimal or decimal number that `readelf` tells.
fn told(listing: &str, name: &str) -> u64 {
    let line = listing.lines().find_map(|line| line.trim().strip_prefix(name)).expect("readelf tells it");
    let word = line.split_whitespace().next().expect("a number");
    match word.strip_prefix("0x") {
        Some(hex) => u64::from_str_radix(hex, 16).expect("a number"),
        None => word.parse().expect("a number"),
    }
}

#[test]
fn the_auxiliary_vector_is_right() {
    if lacks("the_auxiliary_vector_is_right", &["gcc", "readelf"]) {
        return;
    }
    for (program, loader) in programs() {
        let [plain, kernel, direct] = each_way(&program);
        let header = Command::new("readelf").args(["-hW", &program]).output().expect("readelf is there");
        let header = text(&header.stdout);
        for seen in [&plain, &kernel, &direct] {
            let first = seen.map(&program);
            let bias = if header.contains("EXEC (") { 0 } else { first.range.start };
            assert_eq!(seen.auxiliary(key::ENTRY), bias + told(&header, "Entry point address:"));
            let table = first.range.start + told(&header, "Start of program headers:");
            assert_eq!(seen.auxiliary(key::PHDR), table, "{program}");
            assert_eq!(seen.auxiliary(key::PHNUM), told(&header, "Number of program headers:"));
            let base = loader.map_or(0, |loader| seen.map(loader).range.start);
            assert_eq!(seen.auxiliary(key::BASE), base, "{program}");
            assert_eq!(seen.auxiliary(key::SYSINFO_EHDR), seen.map("[vdso]").range.start);
            assert_eq!((seen.text("vdso"), seen.text("clock")), ("0", "0"), "the clock is read through it");
            assert_eq!(seen.auxiliary(key::SECURE), 0);
            let stack = seen.map("[stack]").range;
            for place in [key::RANDOM, key::EXECFN, key::PLATFORM] {
                assert!(stack.contains(&seen.auxiliary(place)), "{place} in {seen:?}");
            }
            assert!(seen.number("argv").is_multiple_of(8) && (seen.number("argv") - 8).is_multiple_of(16));
        }
        assert_eq!(plain.keys("aux."), direct.keys("aux."), "{program}: each entry, and no other");
        for entry in plain.keys("aux.") {
            let kind: u64 = entry["aux.".len()..].parse().expect("a number");
            if !key::PLACES.contains(&kind) {
                assert_eq!(plain.text(entry), direct.text(entry), "{program}: {entry}");
            }
        }
        assert_eq!((direct.text("execfn"), direct.text("platform")), (program.as_str(), "x86_64"));
        let randoms: BTreeSet<_> = [&plain, &kernel, &direct].map(|seen| seen.text("random")).into();
        assert_eq!(randoms.len(), 3, "{randoms:?}");
    }
}
