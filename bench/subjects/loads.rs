//! A program into an embryo without an exec, and with one, beside the kernel's loader in a nursery and outside: to the reaped child.

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use beget::{Construct, Embryo, Loader, Nursery, Part};

use super::embryos::{TIMES, told};
use super::spawn::start;
use crate::measure::{Entry, Pairs, Series, Summary, race, timed};
use crate::options::Options;
use crate::report::{Cell, Report, Table, beside_floor};
use crate::ways::{Program, Programs, Stack, posix_spawn, unconfined, vfork_exec};

/// An embryo with the caller's standard streams, as the other ways have them.
fn embryo(nursery: &Nursery) -> Result<Embryo, String> {
    let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    let mut part = Part::new();
    part.grant(0, stdin.as_fd()).grant(1, stdout.as_fd()).grant(2, stderr.as_fd());
    let mut embryo = nursery.embryo().map_err(told)?;
    embryo.apply(&part).map_err(told)?;
    Ok(embryo)
}

fn waited(mut process: beget::Process) -> Result<(), String> {
    let ended = process.wait().map_err(told)?;
    if ended.status.success() { Ok(()) } else { Err(ended.status.to_string()) }
}

fn loaded(mut embryo: Embryo, program: &beget::Program) -> Result<(), String> {
    embryo.load(program, &["program"]).map_err(told)?;
    waited(embryo.start().map_err(told)?)
}

fn ways<'a>(
    program: &'a Program,
    nursery: &'a Nursery,
    stack: &'a mut Stack,
) -> Result<Vec<Entry<'a>>, String> {
    let path = program.path.as_c_str();
    let name = std::ffi::OsStr::from_bytes(path.to_bytes());
    let file = File::open(name).map_err(|error| error.to_string())?;
    let image = std::rc::Rc::new(beget::Program::open(name).map_err(told)?);
    let (fresh, waiting) = (image.clone(), image);
    let (mut own, mut born, mut direct) = (unconfined(path), unconfined(path), unconfined(path));
    born.nursery(nursery);
    direct.nursery(nursery).loader(Loader::Direct);
    Ok(vec![
        Entry::new("posix_spawn", move || timed(|| posix_spawn(path, false))),
        Entry::new("vfork + exec", move || timed(|| vfork_exec(stack, path))),
        Entry::new("beget, reused", move || timed(|| start(&mut own))),
        Entry::new("beget, reused, in a nursery", move || timed(|| start(&mut born))),
        Entry::new("beget, reused, Loader::Direct", move || timed(|| start(&mut direct))),
        Entry::new("embryo made, loaded and started", move || timed(|| loaded(embryo(nursery)?, &fresh))),
        Entry::new("embryo made, then executes", move || {
            timed(|| waited(embryo(nursery)?.execute(file.as_fd(), &["program"]).map_err(told)?))
        }),
        Entry::new("waiting embryo loaded and started", move || {
            let embryo = embryo(nursery)?;
            timed(|| loaded(embryo, &waiting))
        }),
    ])
}

fn rows(table: &mut Table, series: &[Series]) {
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
        table.timed(&one.name, one, [more, vec![beside_floor(series, one)]].concat());
    }
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let nursery = Nursery::shared().map_err(told)?;
    let columns = [&["way"], &TIMES[..], &["above posix_spawn", "× posix_spawn", "× floor"]].concat();
    for program in &programs.all {
        let mut stack = Stack::default();
        let entries = ways(program, &nursery, &mut stack)?;
        let series = race(&format!("embryos: {}", program.name), options.time(5.0), entries);
        let title = format!("Programs in embryos, {}: time to reaped, us", program.name);
        let mut table = Table::new(title, &columns);
        rows(&mut table, &series);
        report.tables.push(table);
    }
    Ok(())
}
