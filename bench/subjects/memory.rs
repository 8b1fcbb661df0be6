//! The memory that waits: of an embryo among a hundred, of a nursery, of its guard. Proportional: a shared page counts in parts.

use std::time::Duration;

use beget::Nursery;

use super::embryos::told;
use crate::measure::{Pairs, Summary};
use crate::options::Options;
use crate::report::{Cell, Goal, Report, Table};
use crate::ways::Programs;

/// How many embryos wait.
const COUNT: usize = 100;

/// A number of KiB by its name in a file about a process.
fn kibibytes(process: u32, file: &str, name: &str) -> Result<f64, String> {
    let path = format!("/proc/{process}/{file}");
    let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    let number = line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok());
    number.ok_or_else(|| format!("{path}: no {name}"))
}

/// The nursery that a guard keeps: its one child, when that has come to rest.
fn kept_by(guard: u32) -> Result<u32, String> {
    let path = format!("/proc/{guard}/task/{guard}/children");
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(5));
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{path}: {error}"))?;
        if let Some(number) = text.split_ascii_whitespace().next() {
            return number.parse().map_err(|_| format!("{path}: {text}"));
        }
    }
    Err(format!("{path}: there is none"))
}

/// Proportional size, private pages, page tables, of each.
pub(super) fn look(processes: &[u32]) -> Result<[Vec<f64>; 3], String> {
    let all = |file, name| -> Result<Vec<f64>, String> {
        processes.iter().map(|process| kibibytes(*process, file, name)).collect()
    };
    Ok([all("smaps_rollup", "Pss")?, all("smaps_rollup", "Private_Dirty")?, all("status", "VmPTE")?])
}

pub(super) fn row(table: &mut Table, name: &str, sizes: &[Vec<f64>; 3]) {
    let middle = |sizes: &Vec<f64>| Summary::of(sizes).map_or(Cell::Nothing, |sum| Cell::number(sum.p50, 0));
    let mut cells = vec![Cell::Count(sizes[0].len())];
    cells.extend(sizes.iter().map(middle));
    table.row(name, cells);
}

/// Measures.
pub fn measure(_options: &Options, _programs: &Programs, report: &mut Report) -> Result<(), String> {
    let columns = ["process", "n", "Pss", "private", "page tables"];
    let mut table = Table::new(format!("Memory with {COUNT} embryos waiting, KiB, medians"), &columns);
    let nursery = Nursery::new().map_err(told)?;
    let kept = kept_by(nursery.id())?;
    row(&mut table, "guard of a nursery of no embryos", &look(&[nursery.id()])?);
    row(&mut table, "nursery of no embryos", &look(&[kept])?);
    let embryos: Vec<_> =
        (0..COUNT).map(|_| nursery.embryo().map_err(told)).collect::<Result<_, String>>()?;
    let numbers: Vec<u32> = embryos.iter().map(beget::Embryo::id).collect();
    let sizes = look(&numbers)?;
    row(&mut table, "embryo", &sizes);
    row(&mut table, "guard", &look(&[nursery.id()])?);
    row(&mut table, "nursery", &look(&[kept])?);
    report.tables.push(table);
    let sum = Summary::of(&sizes[0]);
    report.goals.push(Goal {
        what: format!("memory of an embryo, {COUNT} waiting, proportional"),
        reach: "≤ 102.4 KiB".to_owned(),
        measured: Pairs::alone(&sizes[0]),
        by_minima: sum.map(|sum| sum.min),
        most: 102.4,
        size: sum.map(|sum| sum.p50),
    });
    Ok(())
}
