//! Nothing lies where it lay before: each load chooses anew, as the kernel does.

use std::collections::BTreeSet;

use beget::{Command, Grant, Loader};
use beget_tests::text;

use crate::fixtures::c;
use crate::lacks;
use crate::seen::{SOURCE, Seen};

const RUNS: usize = 20;

fn seen(program: &str) -> Vec<Seen> {
    let mut command = Command::new(program);
    command.grant(Grant::Base).grant(Grant::Read("/proc".into())).loader(Loader::Direct).env("A", "B");
    let one = |_| Seen::of(&text(&command.output().expect("it runs").stdout));
    (0..RUNS).map(one).collect()
}

/// So many different ones there are.
fn different<T: Ord>(values: impl Iterator<Item = T>) -> usize {
    values.collect::<BTreeSet<T>>().len()
}

#[test]
fn twenty_children_of_one_nursery_differ_in_everything() {
    if lacks("twenty_children_of_one_nursery_differ_in_everything", &["gcc"]) {
        return;
    }
    for (link, moves) in [("-pie", true), ("-static-pie", true), ("-no-pie", false), ("-static", false)] {
        let program = c(SOURCE, &[link]);
        let seen = seen(&program);
        let place = |path: &str| different(seen.iter().map(|seen| seen.map(path).range.start));
        assert_eq!(place(&program), if moves { RUNS } else { 1 }, "{link}");
        for path in ["[stack]", "[vdso]", "[heap]"] {
            assert_eq!(place(path), RUNS, "{link}: {path}");
        }
        if ["-pie", "-no-pie"].contains(&link) {
            assert_eq!(place("/ld-linux-x86-64.so.2"), RUNS);
            assert_eq!(place("/libc.so.6"), RUNS);
        }
        assert_eq!(different(seen.iter().map(|seen| seen.text("random"))), RUNS);
        // Each by a number of its own: to know one place is to know no other.
        let apart = |one: &str, other: &str| {
            different(
                seen.iter().map(|seen| seen.map(one).range.start.wrapping_sub(seen.map(other).range.start)),
            )
        };
        assert_eq!(apart("[stack]", "[vdso]"), RUNS, "{link}");
        assert_eq!(apart(&program, "[heap]"), RUNS, "{link}");
        assert_eq!(apart(&program, "[stack]"), RUNS, "{link}");
        // Within its last page too, in steps of 16.
        assert!(different(seen.iter().map(|seen| seen.number("argv") % 4096)) > RUNS / 2, "{link}");
    }
}
