//! Embryos: made, told to do things to themselves, and ended; and the nursery that they are born in. Floors beside them.

use beget::{Construct, Nursery, Part, Protection};

use crate::measure::{Entry, Pairs, Series, Summary, now, race, timed};
use crate::options::Options;
use crate::report::{Cell, Report, Table, beside_floor};
use crate::ways::{
    Asked, Parent, Program, Programs, Stack, fork_exit, posix_spawn, unconfined, vfork_exec, vfork_exit,
};

use super::spawn::start;

/// The columns of times without processor time: that of a nursery and of its children is not among this process's children's.
pub(super) const TIMES: [&str; 5] = Table::SPREAD;

/// An error in its words.
pub(super) fn told(error: beget::Error) -> String {
    error.to_string()
}

/// An operation, written into a part.
type Write = for<'part, 'fd> fn(&'part mut Part<'fd>) -> &'part mut Part<'fd>;

/// Ten of different kinds, which leave an embryo as it was but for its mask.
const TEN: [Write; 10] = [
    |part| part.umask(0o022),
    |part| part.map(AT, PAGE, Protection::WRITE),
    |part| part.write(AT, b"written"),
    |part| part.read(AT, 7),
    |part| part.protect(AT, PAGE, Protection::READ),
    |part| part.set_name(c"ten"),
    |part| part.unmap(AT, PAGE),
    |part| part.close(5),
    |part| part.close(6),
    |part| part.umask(0o077),
];
const AT: u64 = 0x10_0000;
const PAGE: u64 = 4096;

/// How long something took, without what is done after it.
fn only<T>(work: impl FnOnce() -> Result<T, String>) -> Result<Vec<f64>, String> {
    let begin = now();
    let done = work()?;
    let time = now() - begin;
    drop(done);
    Ok(vec![time])
}

fn apply(embryo: &mut impl Construct, ops: &[Write]) -> Result<(), String> {
    let mut part = Part::new();
    for op in ops {
        op(&mut part);
    }
    embryo.apply(&part).map(drop).map_err(told)
}

fn embryos(options: &Options, programs: &Programs, table: &mut Table) -> Result<(), String> {
    let nursery = Nursery::shared().map_err(told)?;
    let asked = programs.asked.as_deref().map(Asked::start).transpose()?.map(std::cell::RefCell::new);
    let mut stack = Stack::default();
    let [mut one, mut ten, mut singly] =
        [nursery.embryo(), nursery.embryo(), nursery.embryo()].map(|embryo| embryo.map_err(told));
    let mut entries = vec![
        Entry::new("floor: vfork + _exit + wait", || timed(|| vfork_exit(&mut stack))),
        Entry::new("floor: fork + _exit + wait, from here", || timed(fork_exit)),
        Entry::new("embryo, to its handle", || only(|| nursery.embryo().map_err(told))),
        Entry::new("embryo, until it has done an operation", || {
            only(|| {
                let mut embryo = nursery.embryo().map_err(told)?;
                apply(&mut embryo, &TEN[..1])?;
                Ok(embryo)
            })
        }),
        Entry::new("embryo, made and dropped", || timed(|| nursery.embryo().map(drop).map_err(told))),
        Entry::new("one operation", || timed(|| apply(one.as_mut().map_err(|why| why.clone())?, &TEN[..1]))),
        Entry::new("ten operations in one message", || {
            timed(|| apply(ten.as_mut().map_err(|why| why.clone())?, &TEN))
        }),
        Entry::new("the same ten, one by one", || {
            timed(|| {
                let embryo = singly.as_mut().map_err(|why| why.clone())?;
                TEN.iter().try_for_each(|op| apply(embryo, &[*op]))
            })
        }),
    ];
    if let Some(asked) = &asked {
        let wake = "floor: a blocked process woken over a socket pair, and back";
        entries.push(Entry::new(wake, || timed(|| asked.borrow_mut().ask(false))));
        let fork = "floor: the same, and fork + _exit + wait there, of three pages";
        entries.push(Entry::new(fork, || timed(|| asked.borrow_mut().ask(true))));
    }
    for one in &race("embryos: made and told", options.time(6.0), entries) {
        table.timed(&one.name, one, Vec::new());
    }
    Ok(())
}

fn nurseries(options: &Options, table: &mut Table) {
    let bare = || Nursery::bare().map_err(told);
    let guarded = || Nursery::new().map_err(told);
    let entries = vec![
        Entry::new("nursery without a guard, made", || only(bare)),
        Entry::new("nursery without a guard, made and ended", || timed(|| bare().map(drop))),
        Entry::new("nursery with a guard, made", || only(guarded)),
        Entry::new("nursery with a guard, made and ended", || timed(|| guarded().map(drop))),
    ];
    for one in &race("embryos: nurseries", options.time(3.0), entries) {
        table.timed(&one.name, one, Vec::new());
    }
}

fn rows(table: &mut Table, parent: &str, series: &[Series]) {
    let base = &series[0];
    let size = Summary::of(base.measure(0)).map_or(1.0, |summary| summary.p50);
    for one in series {
        let (these, those) = (one.measure(0), base.measure(0));
        let more = match one.name == base.name {
            true => vec![Cell::Nothing, Cell::Words("1".to_owned())],
            false => vec![
                Cell::difference(Pairs::difference(these, those), size),
                Cell::ratio(Pairs::ratio(these, those)),
            ],
        };
        let more = [more, vec![beside_floor(series, one)]].concat();
        table.timed(&format!("{parent}: {}", one.name), one, more);
    }
}

/// From parents of several sizes: a nursery is as small as ever, whoever asks it.
fn parents(options: &Options, program: &Program, table: &mut Table) -> Result<(), String> {
    let path = program.path.as_c_str();
    for (name, bytes) in [("small parent", 0), ("64 MiB", 64 << 20), ("1 GiB", 1 << 30)] {
        let parent = if bytes == 0 { Ok(None) } else { Parent::with_memory(name, bytes).map(Some) };
        let _parent = match parent {
            Ok(parent) => parent,
            Err(why) => {
                table.note(format!("{name}: skipped: {why}"));
                continue;
            }
        };
        let nursery = Nursery::shared().map_err(told)?;
        let (mut own, mut born, mut stack) = (unconfined(path), unconfined(path), Stack::default());
        born.nursery(&nursery);
        let entries = vec![
            Entry::new("posix_spawn", || timed(|| posix_spawn(path, false))),
            Entry::new("beget, reused", || timed(|| start(&mut own))),
            Entry::new("beget, reused, in a nursery", || timed(|| start(&mut born))),
            Entry::new("embryo, made and dropped", || timed(|| nursery.embryo().map(drop).map_err(told))),
            Entry::new("floor: vfork + exec", || timed(|| vfork_exec(&mut stack, path))),
        ];
        rows(table, name, &race(&format!("embryos: {name}"), options.time(2.0), entries));
    }
    Ok(())
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let mut table = Table::new("Embryos and nurseries, us", &[&["what"], &TIMES[..]].concat());
    embryos(options, programs, &mut table)?;
    nurseries(options, &mut table);
    report.tables.push(table);
    let Some(program) = programs.smallest() else { return Ok(()) };
    let title = format!("Births in a nursery by the parent's size, {}: time to reaped, us", program.name);
    let more = ["above posix_spawn", "× posix_spawn", "× floor"];
    let mut table = Table::new(title, &[&["parent: way"], &TIMES[..], &more].concat());
    parents(options, program, &mut table)?;
    report.tables.push(table);
    Ok(())
}
