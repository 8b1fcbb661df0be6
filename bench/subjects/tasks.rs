//! Births that tasks ask for and await, beside tokio's own: one at a time, and a hundred whose ends are awaited by a task each.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::ExitStatus;

use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use super::embryos::told;
use crate::measure::{Entry, Pairs, Series, processor_time, race};
use crate::options::Options;
use crate::report::{Cell, Report, Table};
use crate::ways::{Program, Programs, unconfined};

/// How many live at once.
const COUNTS: [usize; 2] = [1, 100];
const TOKIO: &str = "tokio::process";

fn runtime(threads: usize) -> Result<Runtime, String> {
    let mut builder = match threads {
        0 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 0 {
        builder.worker_threads(threads);
    }
    builder.enable_all().build().map_err(|error| error.to_string())
}

/// Wall and processor time a birth, from the first call to the last end that is told.
fn each<F>(runtime: &Runtime, count: usize, mut born: impl FnMut() -> F) -> Result<Vec<f64>, String>
where
    F: Future<Output = Result<ExitStatus, String>> + Send + 'static,
{
    let (processor, begin) = (processor_time(), crate::measure::now());
    let good = |status: ExitStatus| if status.success() { Ok(()) } else { Err(status.to_string()) };
    runtime.block_on(async {
        if count == 1 {
            return good(born().await?);
        }
        let mut ends = JoinSet::new();
        for _ in 0..count {
            ends.spawn(born());
        }
        while let Some(end) = ends.join_next().await {
            good(end.map_err(|error| error.to_string())??)?;
        }
        Ok(())
    })?;
    let (wall, processor) = (crate::measure::now() - begin, processor_time() - processor);
    Ok(vec![wall / count as f64, processor / count as f64])
}

fn ways<'a>(runtime: &'a Runtime, count: usize, program: &Program) -> Result<Vec<Entry<'a>>, String> {
    let mut theirs = tokio::process::Command::new(OsStr::from_bytes(program.path.to_bytes()));
    theirs.env_clear();
    let mut ours = beget::tokio::Command::from(unconfined(&program.path));
    let mut same = beget::tokio::Command::from(unconfined(&program.path));
    same.session(false);
    let mut born = beget::tokio::Command::from(unconfined(&program.path));
    born.nursery(&beget::Nursery::new().map_err(told)?);
    Ok(vec![
        Entry::new(TOKIO, move || {
            each(runtime, count, || {
                // Started by the call, as ours is.
                let end = theirs.status();
                async { end.await.map_err(|error| error.to_string()) }
            })
        }),
        Entry::new("beget::tokio", move || {
            each(runtime, count, || {
                let end = ours.status();
                async { Ok(end.await.map_err(told)?.status) }
            })
        }),
        Entry::new("beget::tokio, the caller's session", move || {
            each(runtime, count, || {
                let end = same.status();
                async { Ok(end.await.map_err(told)?.status) }
            })
        }),
        Entry::new("beget::tokio, in a nursery", move || {
            each(runtime, count, || {
                let end = born.status();
                async { Ok(end.await.map_err(told)?.status) }
            })
        }),
    ])
}

fn rows(table: &mut Table, what: &str, series: &[Series]) {
    let Some(base) = series.iter().find(|one| one.name == TOKIO) else { return };
    for one in series {
        let ratio = |measure| match one.name == TOKIO {
            true => Cell::Words("1".to_owned()),
            false => Cell::ratio(Pairs::ratio(one.measure(measure), base.measure(measure))),
        };
        table.timed(&format!("{what}: {}", one.name), one, vec![ratio(0), ratio(1)]);
    }
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    for program in &programs.all {
        let title = format!("Awaited by tasks, {}: time to the last end, us a birth", program.name);
        let columns = [&["runtime, at once: way"], &Table::TIMES[..], &["× tokio", "cpu ×"]].concat();
        let mut table = Table::new(title, &columns);
        table.note("A session of one's own is a group of its own to the scheduler (sched_autogroup_enabled), which shows on a busy machine.");
        for (name, threads) in [("one thread", 0), ("two threads", 2)] {
            let runtime = runtime(threads)?;
            for count in COUNTS {
                let title = format!("async: {}, {name}, {count}", program.name);
                let series = race(&title, options.time(4.0), ways(&runtime, count, program)?);
                rows(&mut table, &format!("{name}, {count}"), &series);
            }
        }
        report.tables.push(table);
    }
    Ok(())
}
