//! Whole commands: `beget run` beside bwrap, unshare, firejail and sandlock, each started anew.

use std::path::PathBuf;

use crate::measure::{Entry, Pairs, Series, Summary, minima, race, timed};
use crate::options::Options;
use crate::report::{Cell, Goal, Report, Table};
use crate::ways::{Line, Programs, installed, own_command, own_musl_command};

/// Our own, as built for glibc and for musl.
const OURS: [&str; 2] = ["beget run --base -- true", "beget (musl) run --base -- true"];
/// Start with these words, and take so long that they race apart, beside the mark alone.
const SLOW: [&str; 2] = ["firejail", "sandlock"];
const MARK: &str = "bwrap --ro-bind / / true";

/// Name in the table, program, words.
type Peer = (String, Result<PathBuf, String>, Vec<String>);

fn peers(what: &str, program: &str) -> Vec<Peer> {
    let mut peers: Vec<Peer> = vec![(what.to_owned(), Ok(PathBuf::from(program)), Vec::new())];
    let mut add = |path: Result<PathBuf, String>, name: &str, words: &[&str]| {
        let all = words.iter().map(|word| (*word).to_owned()).chain([program.to_owned()]).collect();
        peers.push((format!("{name} {} {what}", words.join(" ")), path, all));
    };
    add(own_command(), "beget", &["run", "--base", "--"]);
    add(own_musl_command(), "beget (musl)", &["run", "--base", "--"]);
    add(own_command(), "beget", &["run", "--base", "--loader", "direct", "--"]);
    add(installed("bwrap"), "bwrap", &["--ro-bind", "/", "/"]);
    add(installed("bwrap"), "bwrap", &["--unshare-all", "--ro-bind", "/", "/"]);
    add(installed("unshare"), "unshare", &["-Urmpf"]);
    add(installed("firejail"), "firejail", &["--quiet", "--noprofile"]);
    add(
        installed("sandlock"),
        "sandlock",
        &["run", "-r", "/usr", "-r", "/lib", "-r", "/lib64", "-r", "/etc", "--"],
    );
    peers
}

/// Adds the rows of a race of commands, beside the one named `mark` and above the first.
pub(super) fn rows(table: &mut Table, series: &[Series], mark: &str) {
    let find = |name: &str| series.iter().find(|one| one.name == name && one.skipped.is_none());
    let (mark, bare) = (find(mark), &series[0]);
    for one in series {
        let these = one.measure(0);
        let ratio = match mark {
            Some(mark) if mark.name == one.name => Cell::Words("1".to_owned()),
            Some(mark) => Cell::ratio(Pairs::ratio(these, mark.measure(0))),
            None => Cell::Nothing,
        };
        let size = Summary::of(these).map_or(1.0, |summary| summary.p50);
        let more = if one.name == bare.name {
            Cell::Nothing
        } else {
            Cell::difference(Pairs::difference(these, bare.measure(0)), size)
        };
        let least = mark.and_then(|mark| minima(these, mark.measure(0), |these, mark| these / mark));
        let least = least.map_or(Cell::Nothing, |ratio| Cell::number(ratio, 3));
        let times = match one.name == bare.name {
            true => Cell::Words("1".to_owned()),
            false => Cell::ratio(Pairs::ratio(these, bare.measure(0))),
        };
        table.timed(&one.name, one, vec![ratio, least, more, times]);
    }
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let columns =
        [&["command"], &Table::TIMES[..], &["× bwrap --ro-bind", "min ×", "above bare", "× bare"]].concat();
    for (what, name, seconds) in [("true", "dynamic true", 30.0), ("tiny", "tiny", 12.0)] {
        let Some(program) = programs.get(name) else { continue };
        let path = program.path.to_str().map_err(|error| error.to_string())?;
        let mut lines = Vec::new();
        let mut table = Table::new(format!("Whole commands around {name}, us"), &columns);
        for (name, found, words) in peers(what, path) {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            match found.and_then(|program| Line::new(&program, &words)) {
                Ok(line) => lines.push((name, line)),
                Err(why) => table.note(format!("{name}: skipped: {why}")),
            }
        }
        // A slow one among them would leave few rounds for all.
        let (slow, lines): (Vec<_>, Vec<_>) =
            lines.into_iter().partition(|(name, _)| SLOW.iter().any(|slow| name.starts_with(slow)));
        let entries =
            lines.iter().map(|(name, line)| Entry::new(name, || timed(|| line.run()))).collect::<Vec<_>>();
        let series = race(&format!("commands: {what}"), options.time(seconds), entries);
        rows(&mut table, &series, &format!("bwrap --ro-bind / / {what}"));
        for (name, line) in &slow {
            let mark =
                lines.iter().find(|(name, _)| name.starts_with("bwrap --ro-bind")).map(|(_, line)| line);
            let beside = mark.map(|mark| Entry::new("bwrap", || timed(|| mark.run())));
            let entries = std::iter::once(Entry::new(name, || timed(|| line.run()))).chain(beside).collect();
            let series = race(&format!("commands: {name}"), options.time(seconds / 8.0), entries);
            let (these, mark) = (series[0].measure(0), series.get(1).map(|mark| mark.measure(0)));
            let ratio = mark.map_or(Cell::Nothing, |mark| Cell::ratio(Pairs::ratio(these, mark)));
            let least = mark.and_then(|mark| minima(these, mark, |these, mark| these / mark));
            let least = least.map_or(Cell::Nothing, |ratio| Cell::number(ratio, 3));
            table.timed(name, &series[0], vec![ratio, least]);
        }
        report.tables.push(table);
        if what == "true" {
            report.goals.extend(OURS.iter().filter_map(|ours| goal(&series, ours)));
        }
    }
    Ok(())
}

fn goal(series: &[Series], ours: &str) -> Option<Goal> {
    let find = |name: &str| series.iter().find(|one| one.name == name).map(|one| one.measure(0));
    let these = find(ours)?;
    let mark = find(MARK);
    Some(Goal {
        what: ours.to_owned(),
        reach: format!("≤ 0.6 × {MARK}"),
        measured: mark.and_then(|mark| Pairs::ratio(these, mark)),
        by_minima: mark.and_then(|mark| minima(these, mark, |ours, mark| ours / mark)),
        most: 0.6,
        size: None,
    })
}
