//! The least that anything can cost here, in the same run.

use crate::measure::{Entry, now, race, timed};
use crate::options::Options;
use crate::report::{Report, Table};
use crate::ways::{Programs, Stack, fork_exit, posix_spawn, vfork_exec, vfork_exit};

/// A call so cheap that only many of them can be timed: microseconds each.
fn repeated(times: u32, call: impl Fn()) -> Vec<f64> {
    let begin = now();
    for _ in 0..times {
        call();
    }
    vec![(now() - begin) / f64::from(times)]
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let (mut stack, mut other_stack) = (Stack::default(), Stack::default());
    let mut entries = vec![
        Entry::new("getpid", || {
            Ok(repeated(1000, || {
                let _ = beget_sys::process::process();
            }))
        }),
        Entry::new("CPUID, one", || {
            Ok(repeated(20, || {
                std::hint::black_box(std::arch::x86_64::__cpuid(0));
            }))
        }),
        Entry::new("vfork + _exit + wait", || timed(|| vfork_exit(&mut stack))),
        Entry::new("fork + _exit + wait", || timed(fork_exit)),
    ];
    if let Some(program) = programs.smallest() {
        let path = program.path.clone();
        entries.push(Entry::new(format!("vfork + exec + wait, {}", program.name), move || {
            timed(|| vfork_exec(&mut other_stack, &path))
        }));
    }
    for program in &programs.all {
        let name = format!("posix_spawn + wait, {}", program.name);
        entries.push(Entry::new(name, move || timed(|| posix_spawn(&program.path, false))));
    }
    let series = race("floors", options.time(5.0), entries);
    let columns = [&["floors, us"], &Table::TIMES[..]].concat();
    let mut table = Table::new("Floors, small parent", &columns);
    for one in &series {
        table.timed(&one.name, one, Vec::new());
    }
    report.tables.push(table);
    Ok(())
}
