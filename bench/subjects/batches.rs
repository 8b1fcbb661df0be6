//! A thousand births in one message, against loops of posix_spawn: on all processors, and on one.

use beget::{Batch, Command, Nursery};

use super::embryos::{TIMES, told};
use crate::machine;
use crate::measure::{Entry, Pairs, Series, minima, race};
use crate::options::Options;
use crate::report::{Cell, Goal, Report, Table};
use crate::ways::{Program, Programs, posix_spawn, posix_spawned, reaped, unconfined};

/// How many births.
const COUNT: usize = 1000;
const LOOP: &str = "posix_spawn, each waited for";
const ALL: &str = "posix_spawn, all started, then all waited for";
const BATCH: &str = "beget, Batch";

fn in_a_batch(command: &mut Command, nursery: &Nursery) -> Result<(), String> {
    let mut batch = Batch::new();
    batch.add(command, COUNT).map_err(told)?;
    // Handles go only when all have ended: nobody closes one meanwhile in the loops either.
    let mut processes =
        batch.spawn(nursery).map_err(told)?.into_iter().collect::<Result<Vec<_>, _>>().map_err(told)?;
    for process in &mut processes {
        let ended = process.wait().map_err(told)?;
        if !ended.status.success() {
            return Err(ended.status.to_string());
        }
    }
    Ok(())
}

fn one_by_one(command: &mut Command) -> Result<(), String> {
    (0..COUNT).try_for_each(|_| super::spawn::start(command))
}

fn started(program: &Program) -> Result<(), String> {
    let children: Vec<_> =
        (0..COUNT).map(|_| posix_spawned(&program.path, false)).collect::<Result<_, _>>()?;
    children.into_iter().try_for_each(reaped)
}

/// Microseconds for each of the births.
fn each(work: impl FnOnce() -> Result<(), String>) -> Result<Vec<f64>, String> {
    let begin = crate::measure::now();
    work()?;
    Ok(vec![(crate::measure::now() - begin) / COUNT as f64])
}

fn ways<'a>(program: &'a Program, nursery: &'a Nursery) -> Vec<Entry<'a>> {
    let path = program.path.as_c_str();
    let (mut batch, mut born) = (unconfined(path), unconfined(path));
    born.nursery(nursery);
    vec![
        Entry::new(LOOP, || each(|| (0..COUNT).try_for_each(|_| posix_spawn(&program.path, false)))),
        Entry::new(ALL, || each(|| started(program))),
        Entry::new(BATCH, move || each(|| in_a_batch(&mut batch, nursery))),
        Entry::new("beget, in a nursery, each waited for", move || each(|| one_by_one(&mut born))),
    ]
}

fn find<'a>(series: &'a [Series], name: &str) -> Option<&'a [f64]> {
    series.iter().find(|one| one.name == name).map(|one| one.measure(0))
}

fn rows(table: &mut Table, program: &str, series: &[Series]) {
    let ratio = |these: &[f64], name: &str| {
        Cell::ratio(find(series, name).and_then(|those| Pairs::ratio(these, those)))
    };
    for one in series {
        let these = one.measure(0);
        table.timed(&format!("{program}: {}", one.name), one, vec![ratio(these, LOOP), ratio(these, ALL)]);
    }
}

fn goal(program: &str, series: &[Series], other: &str) -> Goal {
    const RATE: f64 = 1.3;
    let both = find(series, BATCH).zip(find(series, other));
    Goal {
        what: format!("batch of {COUNT}, one processor, {program}, × {other}"),
        reach: format!("≤ 1/{RATE} of the time"),
        measured: both.and_then(|(ours, base)| Pairs::ratio(ours, base)),
        by_minima: both.and_then(|(ours, base)| minima(ours, base, |ours, base| ours / base)),
        most: 1.0 / RATE,
        size: None,
    }
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let _limit = machine::more_files(4 * COUNT as u64)?;
    let columns = [&["program: way"], &TIMES[..], &["× each waited for", "× all started"]].concat();
    let title = |where_: &str| format!("{COUNT} births, {where_}: to the last one reaped, us a birth");
    let mut free = Table::new(title("all processors"), &columns);
    let mut alone = Table::new(title("one processor"), &columns);
    for program in &programs.all {
        // A nursery runs where its creator could when it was made.
        let nursery = Nursery::new().map_err(told)?;
        let name = format!("batches: {}", program.name);
        rows(&mut free, program.name, &race(&name, options.time(6.0), ways(program, &nursery)));
        machine::on_one_processor(|| {
            let nursery = Nursery::new().map_err(told)?;
            let name = format!("batches: {}, one processor", program.name);
            let series = race(&name, options.time(6.0), ways(program, &nursery));
            rows(&mut alone, program.name, &series);
            report.goals.extend([LOOP, ALL].map(|other| goal(program.name, &series, other)));
            Ok(())
        })?;
    }
    report.tables.extend([free, alone]);
    Ok(())
}
