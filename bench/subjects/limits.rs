//! What the limits of a whole tree add to a birth: a cgroup made, joined, read and removed.

use beget::Limit;

use super::spawn::start;
use crate::measure::{Entry, Pairs, Summary, race, timed};
use crate::options::Options;
use crate::report::{Cell, Report, Table};
use crate::ways::{Programs, confined};

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let Some(program) = programs.smallest() else { return Ok(()) };
    let columns = [&["way"], &Table::TIMES[..], &["above no limit"]].concat();
    let mut table =
        Table::new(format!("Limits of a whole tree, {}, a command used again: us", program.name), &columns);
    let (processes, memory) = (Limit::Processes(100), Limit::Memory(1 << 30));
    let mut entries = Vec::new();
    let ways = [
        ("confined, no limit", vec![]),
        ("processes", vec![processes]),
        ("memory", vec![memory]),
        ("memory and processes", vec![memory, processes]),
    ];
    for (name, limits) in ways {
        let mut command = confined(&program.path);
        for limit in &limits {
            command.limit(*limit);
        }
        match command.describe() {
            Ok(description) => {
                let by = description.enforced.iter().filter(|line| {
                    matches!(line.promise, beget::Promise::Memory | beget::Promise::Processes)
                });
                let by: Vec<&str> = by.filter_map(|line| line.by).collect();
                let name =
                    if by.is_empty() { name.to_owned() } else { format!("{name} ({})", by.join(", ")) };
                entries.push(Entry::new(name, move || timed(|| start(&mut command))));
            }
            Err(why) => table.note(format!("{name}: skipped: {why}")),
        }
    }
    let series = race("roots: limits", options.time(4.0), entries);
    for (index, one) in series.iter().enumerate() {
        let size = Summary::of(one.measure(0)).map_or(1.0, |sum| sum.p50);
        let above = Cell::difference(Pairs::difference(one.measure(0), series[0].measure(0)), size);
        table.timed(&one.name, one, vec![if index == 0 { Cell::Nothing } else { above }]);
    }
    report.tables.push(table);
    Ok(())
}
