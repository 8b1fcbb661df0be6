//! A factory that a process of the service keeps: how soon a product's first instruction is seen, asked for over a capability, beside the same
//! factory in this process.

use std::cell::RefCell;
use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use beget_factory::Ready;
use beget_factory::remote::RemoteFactory;

use super::embryos::TIMES;
use super::factories::{FIRST, WAITING, at_rest, command, factory, first_byte, rows, time_goal};
use super::services::{Running, said};
use crate::measure::{Entry, now, race, timed};
use crate::options::Options;
use crate::report::{Report, Table};
use crate::ways::{Asked, Programs, own_command};

const IN_PROCESS: &str = "factory in this process, from a pool";
const POOLED: &str = "factory of the service, from a pool";

/// Has the service keep a factory of this name, confined as the others are, and gives every right to it.
fn kept(running: &Running, name: &str, program: &Path, pool: usize) -> Result<RemoteFactory, String> {
    let mut create = std::process::Command::new(own_command()?);
    create.args(["factory", "create", "--ready", "entry", "--base", "--socket"]).arg(running.socket());
    if pool > 0 {
        create.args(["--pool", &pool.to_string()]);
    }
    let made = create.args([name, "--"]).arg(program).stdin(Stdio::null()).output();
    let made = made.map_err(|error| error.to_string())?;
    if !made.status.success() {
        return Err(format!("factory {name}: {}", String::from_utf8_lossy(&made.stderr)));
    }
    let mut domain = running.session()?.open(name).map_err(said)?;
    let socket = domain.factory("all").map_err(said)?;
    let factory = RemoteFactory::from_fd(socket).map_err(|error| error.to_string())?;
    // It has looked through what it grants then, and does so no more.
    factory.confinement().map_err(|error| error.to_string())?;
    Ok(factory)
}

fn counted(factory: &RemoteFactory, name: &str) -> Result<u64, String> {
    let facts = factory.facts().map_err(|error| error.to_string())?;
    Ok(facts.statistics.iter().find(|one| one.0 == name).map_or(0, |one| one.1))
}

/// Waits until the pool of a kept factory is at rest.
fn remote_at_rest(factory: &RemoteFactory) -> Result<(), String> {
    let until = Instant::now() + Duration::from_secs(10);
    let mut last = 0;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(2));
        let waiting = counted(factory, "waiting")?;
        if waiting == last && waiting >= WAITING.div_ceil(2) as u64 {
            return Ok(());
        }
        last = waiting;
    }
    Err("the pool is never full".to_owned())
}

/// From the request to the first byte; the end is awaited afterwards.
fn remote_first_byte(factory: &RemoteFactory) -> Result<Vec<f64>, String> {
    let failed = |error: beget_factory::Error| error.to_string();
    let (mut out, theirs) = std::io::pipe().map_err(|error| error.to_string())?;
    let request = factory.request().stdout(&theirs).map_err(failed)?;
    drop(theirs);
    let begin = now();
    let product = request.start().map_err(failed)?;
    let mut byte = [0];
    out.read_exact(&mut byte).map_err(|error| error.to_string())?;
    let time = now() - begin;
    let ended = product.wait().map_err(failed)?;
    if ended.status.success() { Ok(vec![time]) } else { Err(ended.status.to_string()) }
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let program = programs.compile("first", "first.S", FIRST, &["-nostdlib", "-static"])?;
    let running = Running::start()?;
    let (warm, pooled) = (kept(&running, "warm", &program, 0)?, kept(&running, "pooled", &program, WAITING)?);
    let here = factory(command(&program), Some(Ready::Entry), WAITING)?;
    let asked = programs.asked.as_deref().map(Asked::start).transpose()?.map(RefCell::new);
    let mut entries = Vec::new();
    if let Some(asked) = &asked {
        let wake = "floor: a blocked process woken over a socket pair, and back";
        entries.push(Entry::new(wake, || timed(|| asked.borrow_mut().ask(false))));
    }
    entries.push(Entry::new(IN_PROCESS, || {
        let measured = first_byte(&here);
        at_rest(&here)?;
        measured
    }));
    entries.push(Entry::new("factory of the service, a copy on request", || remote_first_byte(&warm)));
    entries.push(Entry::new(POOLED, || {
        let measured = remote_first_byte(&pooled);
        remote_at_rest(&pooled)?;
        measured
    }));
    at_rest(&here)?;
    remote_at_rest(&pooled)?;
    let series = race("factories: of the service, first instruction", options.time(4.0), entries);
    let title = "Factories that the service keeps, confined, a tiny program: start, over a capability, to the byte that its first \
                 instructions write, us";
    let mut table = Table::new(title, &[&["way"], &TIMES[..], &["× the floor"]].concat());
    rows(&mut table, &series);
    for others in ["warm", "cold", "failed"] {
        let count = counted(&pooled, others)?;
        if count > 0 {
            table.note(format!("{POOLED}: {count} of its products were {others}"));
        }
    }
    report.tables.push(table);
    let what = "pooled product, confined, through the service, start to first instruction";
    report.goals.push(time_goal(what, "≤ 60 us", 60.0, &series, POOLED));
    Ok(())
}
