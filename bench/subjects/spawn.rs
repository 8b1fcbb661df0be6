//! The library with nothing confined against posix_spawn, the standard library, fork and vfork, from parents of several kinds.

use crate::measure::{Entry, Pairs, Series, minima, race, timed};
use crate::options::Options;
use crate::report::{Cell, Goal, Report, Table, beside_floor};
use crate::ways::{
    Parent, Program, Programs, Stack, fork_exec, posix_spawn, std_command, unconfined, vfork_exec,
};

const AMBIENT: &str = "beget, reused";

/// Starts a command of ours and waits for a success.
pub(super) fn start(command: &mut beget::Command) -> Result<(), String> {
    let ended = command.status().map_err(|error| error.to_string())?;
    if ended.status.success() { Ok(()) } else { Err(ended.status.to_string()) }
}

fn quick_ways<'a>(program: &'a Program, stack: &'a mut Stack) -> Vec<Entry<'a>> {
    let path = program.path.as_c_str();
    let mut reused = unconfined(path);
    vec![
        Entry::new("posix_spawn", move || timed(|| posix_spawn(path, false))),
        Entry::new(AMBIENT, move || timed(|| start(&mut reused))),
        Entry::new("beget, fresh", move || timed(|| start(&mut unconfined(path)))),
        Entry::new("posix_spawn, own session", move || timed(|| posix_spawn(path, true))),
        Entry::new("std Command", move || timed(|| std_command(path))),
        Entry::new("vfork + exec", move || timed(|| vfork_exec(stack, path))),
    ]
}

/// A fork leaves the parent's pages write-protected, which whoever comes next would pay for: it races on its own, with fewer
/// rounds, and each is followed by a birth that nobody times.
fn slow_ways(program: &Program) -> Vec<Entry<'_>> {
    let path = program.path.as_c_str();
    vec![
        Entry::new("posix_spawn", move || timed(|| posix_spawn(path, false))),
        Entry::new("fork + exec", move || {
            let sample = timed(|| fork_exec(path));
            posix_spawn(path, false)?;
            sample
        }),
    ]
}

fn rows(table: &mut Table, parent: &str, series: &[Series]) {
    let Some(base) = series.iter().find(|one| one.name == "posix_spawn") else { return };
    for one in series {
        let ratio = |measure| Cell::ratio(Pairs::ratio(one.measure(measure), base.measure(measure)));
        let (wall, processor) = if one.name == base.name {
            (Cell::Words("1".to_owned()), Cell::Words("1".to_owned()))
        } else {
            (ratio(0), ratio(1))
        };
        let floor = beside_floor(series, one);
        table.timed(&format!("{parent}: {}", one.name), one, vec![wall, processor, floor]);
    }
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let mut tables: Vec<Table> = Vec::new();
    for program in &programs.all {
        let title = format!("Spawn, nothing confined, {}: time to reaped, us", program.name);
        let columns = [&["parent: way"], &Table::TIMES[..], &["× posix_spawn", "cpu ×", "× floor"]].concat();
        tables.push(Table::new(title, &columns));
    }
    for (name, make) in Parent::all() {
        if options.quick && name == "4 GiB" {
            tables.iter_mut().for_each(|table| table.note(format!("{name}: not in a quick run")));
            continue;
        }
        let parent = match make() {
            Ok(parent) => parent,
            Err(why) => {
                tables.iter_mut().for_each(|table| table.note(format!("{name}: skipped: {why}")));
                continue;
            }
        };
        for (program, table) in programs.all.iter().zip(&mut tables) {
            let title = format!("spawn: {}, {}", parent.name, program.name);
            let mut stack = Stack::default();
            let series = race(&title, options.time(4.0), quick_ways(program, &mut stack));
            rows(table, parent.name, &series);
            report.goals.push(goal(program, parent.name, &series));
            let slow = race(&format!("{title}, fork"), options.time(1.0), slow_ways(program));
            let (base, forks) = (&slow[0], &slow[1]);
            let ratio = |measure| Cell::ratio(Pairs::ratio(forks.measure(measure), base.measure(measure)));
            table.timed(&format!("{}: fork + exec", parent.name), forks, vec![ratio(0), ratio(1)]);
        }
    }
    report.tables.extend(tables);
    Ok(())
}

fn goal(program: &Program, parent: &str, series: &[Series]) -> Goal {
    let find = |name: &str| series.iter().find(|one| one.name == name).map(|one| one.measure(0));
    let both = find(AMBIENT).zip(find("posix_spawn"));
    Goal {
        what: format!("spawn, nothing confined, {parent}, {}", program.name),
        reach: "≤ 1.05 × posix_spawn".to_owned(),
        measured: both.and_then(|(ours, base)| Pairs::ratio(ours, base)),
        by_minima: both.and_then(|(ours, base)| minima(ours, base, |ours, base| ours / base)),
        most: 1.05,
        size: None,
    }
}
