//! A thousand births in one message, against loops of posix_spawn: on all processors, and on one.

use beget::{Batch, Command, Nursery};

use super::embryos::{TIMES, told};
use crate::machine;
use crate::measure::{Entry, Pairs, Series, minima, race};
use crate::options::Options;
use crate::report::{Cell, Goal, Report, Table, beside_floor};
use crate::ways::{Program, Programs, Stack, posix_spawn, posix_spawned, reaped, unconfined, vfork_exec};

/// How many births, in a long run and in a quick one.
const COUNTS: [usize; 2] = [1000, 100];
const LOOP: &str = "posix_spawn, each waited for";
const ALL: &str = "posix_spawn, all started, then all waited for";
const BATCH: &str = "beget, Batch";

pub(super) fn in_a_batch(count: usize, command: &mut Command, nursery: &Nursery) -> Result<(), String> {
    let mut batch = Batch::new();
    batch.add(command, count).map_err(told)?;
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

fn started(count: usize, program: &Program) -> Result<(), String> {
    let children: Vec<_> =
        (0..count).map(|_| posix_spawned(&program.path, false)).collect::<Result<_, _>>()?;
    children.into_iter().try_for_each(reaped)
}

/// Microseconds for each of the births.
fn each(count: usize, work: impl FnOnce() -> Result<(), String>) -> Result<Vec<f64>, String> {
    let begin = crate::measure::now();
    work()?;
    Ok(vec![(crate::measure::now() - begin) / count as f64])
}

fn ways<'a>(count: usize, program: &'a Program, nursery: &'a Nursery) -> Vec<Entry<'a>> {
    let path = program.path.as_c_str();
    let mut batch = unconfined(path);
    vec![
        Entry::new(LOOP, move || each(count, || (0..count).try_for_each(|_| posix_spawn(path, false)))),
        Entry::new(ALL, move || each(count, || started(count, program))),
        Entry::new("floor: vfork + exec, each waited for", move || {
            let mut stack = Stack::default();
            each(count, || (0..count).try_for_each(|_| vfork_exec(&mut stack, path)))
        }),
        Entry::new(BATCH, move || each(count, || in_a_batch(count, &mut batch, nursery))),
    ]
}

fn find<'a>(series: &'a [Series], name: &str) -> Option<&'a [f64]> {
    series.iter().find(|one| one.name == name).map(|one| one.measure(0))
}

fn rows(table: &mut Table, program: &str, series: &[Series]) {
    let ratio = |one: &Series, name: &str| match find(series, name) {
        Some(_) if one.name == name => Cell::Words("1".to_owned()),
        those => Cell::ratio(those.and_then(|those| Pairs::ratio(one.measure(0), those))),
    };
    for one in series {
        let more = vec![ratio(one, LOOP), ratio(one, ALL), beside_floor(series, one)];
        table.timed(&format!("{program}: {}", one.name), one, more);
    }
}

fn goal(count: usize, program: &str, series: &[Series], other: &str) -> Goal {
    const RATE: f64 = 1.3;
    let both = find(series, BATCH).zip(find(series, other));
    Goal {
        what: format!("batch of {count}, one processor, {program}, × {other}"),
        reach: format!("≤ 1/{RATE} of the time"),
        measured: both.and_then(|(ours, base)| Pairs::ratio(ours, base)),
        by_minima: both.and_then(|(ours, base)| minima(ours, base, |ours, base| ours / base)),
        most: 1.0 / RATE,
        size: None,
    }
}

/// Measures. With all processors only what is over soon: there they are as good as one for a program that takes long to start.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let count = COUNTS[usize::from(options.quick)];
    let _limit = machine::more_files(4 * count as u64)?;
    let columns =
        [&["program: way"], &TIMES[..], &["× each waited for", "× all started", "× floor"]].concat();
    let title = |where_: &str| format!("{count} births, {where_}: to the last one reaped, us a birth");
    let race = |name: &str, program: &Program| {
        // A nursery runs where its creator could when it was made.
        let nursery = Nursery::new().map_err(told)?;
        let title = format!("batches: {}, {name}", program.name);
        Ok::<_, String>(race(&title, options.time(9.0), ways(count, program, &nursery)))
    };
    if let Some(program) = programs.smallest() {
        let mut table = Table::new(title("all processors"), &columns);
        rows(&mut table, program.name, &race("all processors", program)?);
        report.tables.push(table);
    }
    let mut table = Table::new(title("one processor"), &columns);
    for program in &programs.all {
        machine::on_one_processor(|| {
            let series = race("one processor", program)?;
            rows(&mut table, program.name, &series);
            report.goals.extend([LOOP, ALL].map(|other| goal(count, program.name, &series, other)));
            Ok(())
        })?;
    }
    report.tables.push(table);
    Ok(())
}
