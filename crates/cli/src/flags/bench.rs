//! The flags of the commands that measure.

use std::ffi::OsString;

use beget_bench::Output;

use super::{Flag, Group, flag, number, some, text};
use crate::options::Options;

const BENCH: &[&str] = &["bench"];
const COMPARE: &[&str] = &["compare"];
const BOTH: &[&str] = &["bench", "compare"];

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
    flag("quick", "", Group::Measuring, "about three minutes: fewer rounds, wider ranges", |options, _| {
        options.bench.quick = true;
        Ok(())
    }).of(BENCH),
    flag("only", "SUBJECT", Group::Measuring, "measure this and no other subject; may be given again. --list names them",
        |options, value| named(options, value, &beget_bench::subjects(), "subject"),
    ).of(BENCH),
    flag("quick", "", Group::Measuring, "some seconds: fewer rounds, wider ranges", |options, _| {
        options.bench.quick = true;
        Ok(())
    }).of(COMPARE),
    flag("only", "WAY", Group::Measuring, "compare this and no other way; may be given again. --list names them",
        |options, value| named(options, value, &beget_bench::compared(), "way"),
    ).of(COMPARE),
    flag("list", "", Group::Measuring, "print the names for --only, and measure nothing",
        |options, _| {
            options.bench.list = true;
            Ok(())
        },
    ).of(BOTH),
    flag("json", "FILE|-", Group::Measuring, "write everything to FILE, for other programs; `-` is standard output, which then has\nnothing else",
        |options, value| {
            let output = if value == "-" { Output::Standard } else { Output::File(some(value, "a file")?.into()) };
            options.bench.json = Some(output);
            Ok(())
        },
    ).of(BOTH),
    flag("html", "FILE", Group::Measuring, "write everything to FILE, one page for a browser that needs nothing else",
        |options, value| {
            if value == "-" {
                return Err("wants a file: `-` is for --json alone".to_owned());
            }
            options.bench.html = Some(some(value, "a file")?.into());
            Ok(())
        },
    ).of(BOTH),
    flag("against", "OLD.json", Group::Measuring, "tell the results of an earlier run, as --json wrote them, beside those of this one, and\nwhether they differ by more than their ranges",
        |options, value| {
            options.bench.against = Some(some(value, "a file")?.into());
            Ok(())
        },
    ).of(BENCH),
    flag("write", "", Group::Measuring, "write bench/RESULTS.md, bench/results.json and the figures in README.md of the\nrepository that we are in; of a whole run, not with --only or --slow",
        |options, _| {
            options.bench.write = true;
            Ok(())
        },
    ).of(BENCH),
    flag("slow", "NAME=DURATION", Group::Measuring, "make every turn of the way that has this name in a table longer by this: to see that\nit shows",
        |options, value| {
            let (name, time) = text(&value)?.rsplit_once('=').ok_or("wants NAME=DURATION")?;
            options.bench.slow.push((name.to_owned(), beget_spec::duration(time)?));
            Ok(())
        },
    ).of(BENCH),
    flag("pin", "N", Group::Measuring, "everything on processor N: steadier on a machine with other work, unfair to what uses\ntwo processes",
        |options, value| {
            options.bench.pin = Some(number(&value)?);
            Ok(())
        },
    ).of(BENCH),
];
