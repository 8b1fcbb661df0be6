//! The flags of the commands that measure.

use std::ffi::OsString;
use std::path::PathBuf;

use beget_bench::Output;

use super::{Apply, Flag, Group, number, text};
use crate::options::Options;

const BENCH: &[&str] = &["bench"];
const COMPARE: &[&str] = &["compare"];
const BOTH: &[&str] = &["bench", "compare"];

const fn flag(
    of: &'static [&'static str],
    name: &'static str,
    value: &'static str,
    help: &'static str,
    apply: Apply,
) -> Flag {
    Flag { name, value, group: Group::Measuring, help, apply, of }
}

fn file(value: OsString) -> Result<PathBuf, String> {
    if value.is_empty() { Err("wants a file".into()) } else { Ok(value.into()) }
}

/// One of some names.
fn named(options: &mut Options, value: OsString, names: &[&str], what: &str) -> Result<(), String> {
    let name = text(&value)?;
    if !names.contains(&name) {
        return Err(format!("no such {what}; there are {}", crate::commands::sentence(names)));
    }
    options.bench.only.push(name.to_owned());
    Ok(())
}

/// All of them, in the order that help has.
pub(super) const FLAGS: &[Flag] = &[
    flag(BENCH, "quick", "", "about two minutes: fewer rounds, wider ranges", |options, _| {
        options.bench.quick = true;
        Ok(())
    }),
    flag(
        BENCH,
        "only",
        "SUBJECT",
        "measure this and no other subject; may be given again. --list names them",
        |options, value| named(options, value, &beget_bench::subjects(), "subject"),
    ),
    flag(COMPARE, "quick", "", "some seconds: fewer rounds, wider ranges", |options, _| {
        options.bench.quick = true;
        Ok(())
    }),
    flag(
        COMPARE,
        "only",
        "WAY",
        "compare this and no other way; may be given again. --list names them",
        |options, value| named(options, value, &beget_bench::compared(), "way"),
    ),
    flag(
        BOTH,
        "list",
        "",
        "print the names for --only and what each is about, and measure nothing",
        |options, _| {
            options.bench.list = true;
            Ok(())
        },
    ),
    flag(
        BOTH,
        "json",
        "FILE|-",
        "write everything to FILE, for other programs; `-` is standard output, which then has\nnothing else",
        |options, value| {
            let output = if value == "-" { Output::Standard } else { Output::File(file(value)?) };
            options.bench.json = Some(output);
            Ok(())
        },
    ),
    flag(
        BOTH,
        "html",
        "FILE",
        "write everything to FILE, one page for a browser that needs nothing else",
        |options, value| {
            options.bench.html = Some(file(value)?);
            Ok(())
        },
    ),
    flag(
        BENCH,
        "against",
        "OLD.json",
        "tell the results of an earlier run, as --json wrote them, beside those of this one, and\nwhether they differ by more than their ranges",
        |options, value| {
            options.bench.against = Some(file(value)?);
            Ok(())
        },
    ),
    flag(
        BENCH,
        "write",
        "",
        "write bench/RESULTS.md, bench/results.json and the figures in README.md of the\nrepository that we are in; of a whole run, not with --only or --slow",
        |options, _| {
            options.bench.write = true;
            Ok(())
        },
    ),
    flag(
        BENCH,
        "slow",
        "NAME=DURATION",
        "make every turn of the way that has this name in a table longer by this: to see that\nit shows",
        |options, value| {
            let (name, time) = text(&value)?.rsplit_once('=').ok_or("wants NAME=DURATION")?;
            options.bench.slow.push((name.to_owned(), beget_spec::duration(time)?));
            Ok(())
        },
    ),
    flag(
        BENCH,
        "pin",
        "N",
        "everything on processor N: steadier on a machine with other work, unfair to what uses\ntwo processes",
        |options, value| {
            options.bench.pin = Some(number(&value)?);
            Ok(())
        },
    ),
];
