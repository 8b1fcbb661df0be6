//! The library with everything confined: what it adds to posix_spawn, and how much of that each mechanism is.

use beget::{Promise, Support};

use super::spawn::start;
use crate::measure::{Entry, Pairs, Series, Summary, minima, race, timed};
use crate::options::Options;
use crate::report::{Cell, Goal, Report, Table, beside_floor};
use crate::ways::{Parent, Program, Programs, Stack, confined, posix_spawn, unconfined, vfork_exec};

/// Confined, but without what `support` takes away.
fn without(program: &Program, support: Support) -> beget::Command {
    let mut command = confined(&program.path);
    command.support(support);
    for promise in Promise::ALL {
        command.degrade(*promise);
    }
    command
}

fn ways<'a>(program: &'a Program, stack: &'a mut Stack) -> Vec<Entry<'a>> {
    let path = program.path.as_c_str();
    let mut bare = unconfined(path);
    bare.session(false);
    let mut session = unconfined(path);
    let have = Support::detect();
    let mut no_filter = have;
    no_filter.filter = false;
    let mut neither = without(program, no_filter.with_landlock_at_most(None));
    let mut landlock = without(program, no_filter);
    let mut all = confined(path);
    vec![
        Entry::new("posix_spawn", move || timed(|| posix_spawn(path, false))),
        Entry::new("beget, nothing confined, caller's session", move || timed(|| start(&mut bare))),
        Entry::new("+ own session", move || timed(|| start(&mut session))),
        Entry::new("+ keyring, groups, capabilities, no_new_privs", move || timed(|| start(&mut neither))),
        Entry::new("+ Landlock", move || timed(|| start(&mut landlock))),
        Entry::new("+ filter: all, reused", move || timed(|| start(&mut all))),
        Entry::new("all, fresh", move || timed(|| start(&mut confined(path)))),
        Entry::new("floor: vfork + exec", move || timed(|| vfork_exec(stack, path))),
    ]
}

fn rows(table: &mut Table, series: &[Series]) {
    let base = &series[0];
    let size = Summary::of(base.measure(0)).map_or(1.0, |summary| summary.p50);
    for (index, one) in series.iter().enumerate() {
        let (these, those) = (one.measure(0), base.measure(0));
        let step = match index.checked_sub(1).and_then(|before| series.get(before)) {
            Some(before) if !one.name.starts_with("floor") => {
                Cell::difference(Pairs::difference(these, before.measure(0)), size)
            }
            _ => Cell::Nothing,
        };
        let (more, ratio) = match index {
            0 => (Cell::Nothing, Cell::Words("1".to_owned())),
            _ => (
                Cell::difference(Pairs::difference(these, those), size),
                Cell::ratio(Pairs::ratio(these, those)),
            ),
        };
        table.timed(&one.name, one, vec![more, step, ratio, beside_floor(series, one)]);
    }
}

fn goal(what: String, series: &[Series], name: &str) -> Goal {
    let ours = series.iter().find(|one| one.name == name).map(|ours| ours.measure(0));
    let base = series[0].measure(0);
    Goal {
        what,
        reach: "≤ posix_spawn + 150 us".to_owned(),
        measured: ours.and_then(|ours| Pairs::difference(ours, base)),
        by_minima: ours.and_then(|ours| minima(ours, base, |ours, base| ours - base)),
        most: 150.0,
        size: Summary::of(base).map(|summary| summary.p50),
    }
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let columns = [
        &["way"],
        &Table::TIMES[..],
        &["above posix_spawn", "above the row before", "× posix_spawn", "× floor"],
    ]
    .concat();
    for program in &programs.all {
        let series = race(
            &format!("confined: {}", program.name),
            options.time(8.0),
            ways(program, &mut Stack::default()),
        );
        let title = format!("Spawn, confined, {}: time to reaped, us", program.name);
        let mut table = Table::new(title, &columns);
        rows(&mut table, &series);
        report.tables.push(table);
        let name = program.name;
        report.goals.push(goal(format!("spawn, confined, reused, {name}"), &series, "+ filter: all, reused"));
        report.goals.push(goal(format!("spawn, confined, fresh, {name}"), &series, "all, fresh"));
    }
    let Some(program) = programs.smallest() else { return Ok(()) };
    let mut table = Table::new(format!("Spawn, confined, {}, 1 GiB parent: us", program.name), &columns);
    match Parent::with_memory("1 GiB", 1 << 30) {
        Ok(_parent) => {
            let series = race("confined: 1 GiB", options.time(4.0), ways(program, &mut Stack::default()));
            rows(&mut table, &series);
        }
        Err(why) => table.note(format!("skipped: {why}")),
    }
    report.tables.push(table);
    Ok(())
}
