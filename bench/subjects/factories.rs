//! Factories: `true` copied on request and taken from a pool, how soon a product's first instruction is seen, and a thousand products.
//! Every product is confined as `beget run --base` confines.

use std::cell::RefCell;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, Instant};

use beget::{Command, Grant, Process, Stdio};
use beget_factory::{Factory, Options as How, Pool, Ready, Request};

use super::embryos::{TIMES, told};
use super::spawn::start;
use crate::machine;
use crate::measure::{Entry, Pairs, Series, minima, now, race, timed};
use crate::options::Options;
use crate::report::{Cell, Goal, Report, Table, beside_floor};
use crate::ways::{Asked, Program, Programs, Stack, confined, posix_spawn, vfork_exec};

/// Writes a byte to its standard output first of all, and ends.
pub(super) const FIRST: &str = "\
.globl _start
_start: mov $1, %eax
mov $1, %edi
lea byte(%rip), %rsi
mov $1, %edx
syscall
mov $60, %eax
xor %edi, %edi
syscall
byte: .byte 49
.section .note.GNU-stack,\"\",@progbits
";

/// A server that forks ahead: a child waits for a byte on standard input, writes one, ends; its parent reaps it and forks the next.
const PREFORK: &str = "\
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    for (;;) {
        char byte;
        if (fork() == 0)
            _exit(read(0, &byte, 1) != 1 || write(0, &byte, 1) != 1);
        int status;
        if (wait(&status) < 0 || status != 0)
            return 0;
    }
}
";

/// How many wait in a pool that is measured.
pub(super) const WAITING: usize = 16;

pub(super) fn factory(command: Command, ready: Option<Ready>, pool: usize) -> Result<Factory, String> {
    rehearsed(command, ready, pool, "")
}

/// One whose copies are learned from by one that is given this on standard input.
pub(super) fn rehearsed(
    command: Command,
    ready: Option<Ready>,
    pool: usize,
    rehearsal: &str,
) -> Result<Factory, String> {
    let mut builder = Factory::builder(command);
    builder.options(How { ready, pool: a_pool(pool), rehearsal: rehearsal.into(), ..How::default() });
    let factory = builder.seal().map_err(told)?;
    settled(&factory)?;
    Ok(factory)
}

/// What is idle in a race is so for a moment only.
const IDLE: Duration = Duration::from_millis(5);

pub(super) fn a_pool(size: usize) -> Pool {
    Pool { idle: Some(IDLE), ..Pool::of(size) }
}

/// Waits until a factory has looked through what it grants, and learned what products touch.
pub(super) fn settled(factory: &Factory) -> Result<(), String> {
    let _ = factory.confinement();
    let until = Instant::now() + Duration::from_secs(10);
    let learns = || factory.facts().template.is_some_and(|template| template.prefault.is_none());
    while factory.options().pool.size > 0 && learns() {
        if Instant::now() > until {
            return Err("it is never learned what products write to".to_owned());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    at_rest(factory)
}

/// A command of this program, confined; no streams but those that a request gives.
pub(super) fn command(program: &Path) -> Command {
    let mut command = Command::new(program);
    command.grant(Grant::Base);
    command
}

/// A product of this factory, with this process's streams.
fn inheriting(factory: &Factory) -> Request {
    let mut request = factory.request();
    request.stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    request
}

pub(super) fn ended(mut process: Process) -> Result<(), String> {
    let end = process.wait().map_err(told)?;
    if end.status.success() { Ok(()) } else { Err(end.status.to_string()) }
}

fn made(factory: &Factory) -> Result<(), String> {
    ended(inheriting(factory).start().map_err(told)?)
}

/// Waits until a pool is at rest: what fills it is not to be measured as somebody else's time.
pub(super) fn at_rest(factory: &Factory) -> Result<(), String> {
    let pool = factory.options().pool;
    if pool.size == 0 {
        return Ok(());
    }
    let until = Instant::now() + Duration::from_secs(10);
    let mut last = factory.statistics().waiting;
    while Instant::now() < until {
        std::thread::sleep(Duration::from_millis(1));
        let waiting = factory.statistics().waiting;
        if waiting == last && waiting >= pool.low_water as u64 {
            // Those that wait read ahead meanwhile.
            std::thread::sleep(IDLE + Duration::from_millis(2));
            return Ok(());
        }
        last = waiting;
    }
    Err("the pool is never full".to_owned())
}

/// Every product was made in the way that was to be measured.
pub(super) fn check(table: &mut Table, name: &str, factory: &Factory) {
    let done = factory.statistics();
    let pooled = factory.options().pool.size > 0;
    let others = done.cold + if pooled { done.warm } else { 0 } + done.failed;
    if factory.options().ready.is_some() && others > 0 {
        table.note(format!("{name}: not all of its products were made so: {done:?}"));
    }
}

pub(super) fn find<'a>(series: &'a [Series], name: &str) -> Option<&'a [f64]> {
    series.iter().find(|one| one.name == name).map(|one| one.measure(0)).filter(|one| !one.is_empty())
}

/// A ratio that is to be reached.
pub(super) fn ratio_goal(what: &str, reach: &str, most: f64, series: &[Series], names: [&str; 2]) -> Goal {
    let both = find(series, names[0]).zip(find(series, names[1]));
    Goal {
        what: what.to_owned(),
        reach: reach.to_owned(),
        measured: both.and_then(|(ours, base)| Pairs::ratio(ours, base)),
        by_minima: both.and_then(|(ours, base)| minima(ours, base, |ours, base| ours / base)),
        most,
        size: None,
    }
}

/// A time that is to be reached.
pub(super) fn time_goal(what: &str, reach: &str, most: f64, series: &[Series], name: &str) -> Goal {
    let times = find(series, name);
    let zeroes = vec![0.0; times.map_or(0, <[f64]>::len)];
    let measured = times.and_then(|times| Pairs::difference(times, &zeroes));
    Goal {
        what: what.to_owned(),
        reach: reach.to_owned(),
        measured,
        by_minima: times.and_then(|times| minima(times, &zeroes, |ours, _| ours)),
        most,
        size: measured.map(|pairs| pairs.middle),
    }
}

/// Rows with what each is beside the first of them.
pub(super) fn rows(table: &mut Table, series: &[Series]) {
    let Some(base) = series.first() else { return };
    for one in series {
        let ratio = match one.name == base.name {
            true => Cell::Words("1".to_owned()),
            false => Cell::ratio(Pairs::ratio(one.measure(0), base.measure(0))),
        };
        let floor = table.has("× floor").then(|| beside_floor(series, one));
        table.timed(&one.name, one, std::iter::once(ratio).chain(floor).collect());
    }
}

fn whole(
    options: &Options,
    program: &Program,
    programs: &Programs,
    report: &mut Report,
) -> Result<(), String> {
    const REQUEST: &str = "factory, a copy at its entry on request";
    const POOLED: &str = "factory, from a pool";
    let path = Path::new(OsStr::from_bytes(program.path.to_bytes()));
    let warm = factory(command(path), Some(Ready::Entry), 0)?;
    let pooled = factory(command(path), Some(Ready::Entry), WAITING)?;
    let cold = factory(command(path), None, 0)?;
    let mut reused = confined(&program.path);
    let asked = programs.asked.as_deref().map(Asked::start).transpose()?.map(RefCell::new);
    let mut entries = vec![
        Entry::new("posix_spawn", || timed(|| posix_spawn(&program.path, false))),
        Entry::new("beget, confined, reused", || timed(|| start(&mut reused))),
        Entry::new("factory, cold", || timed(|| made(&cold))),
        Entry::new(REQUEST, || timed(|| made(&warm))),
        Entry::new(POOLED, || {
            let measured = timed(|| made(&pooled));
            at_rest(&pooled)?;
            measured
        }),
    ];
    if let Some(asked) = &asked {
        let fork = "floor: a blocked process woken, fork + _exit + wait there, and back";
        entries.push(Entry::new(fork, || timed(|| asked.borrow_mut().ask(true))));
    }
    at_rest(&pooled)?;
    let series = race("factories: true", options.time(8.0), entries);
    let title = format!("Factories, confined, {}: request to reaped, us", program.name);
    let mut table = Table::new(title, &[&["way"], &TIMES[..], &["× posix_spawn", "× floor"]].concat());
    rows(&mut table, &series);
    check(&mut table, REQUEST, &warm);
    check(&mut table, POOLED, &pooled);
    report.tables.push(table);
    let what = |way| format!("{} from a template, {way}, confined, request to reaped", program.name);
    let base = "posix_spawn";
    let ([first, second], reach) =
        ([what("on request"), what("pooled")], |most| format!("≤ {most} × posix_spawn"));
    report.goals.push(ratio_goal(&first, &reach("0.40"), 0.40, &series, [REQUEST, base]));
    report.goals.push(ratio_goal(&second, &reach("0.22"), 0.22, &series, [POOLED, base]));
    Ok(())
}

/// From the call to the first byte; the end is awaited afterwards.
pub(super) fn first_byte(factory: &Factory) -> Result<Vec<f64>, String> {
    let (mut out, theirs) = std::io::pipe().map_err(|error| error.to_string())?;
    let mut request = factory.request();
    request.stdout(theirs);
    let begin = now();
    let process = request.start().map_err(told)?;
    let mut byte = [0];
    out.read_exact(&mut byte).map_err(|error| error.to_string())?;
    let time = now() - begin;
    ended(process)?;
    Ok(vec![time])
}

fn first(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    const POOLED: &str = "factory, from a pool";
    let program = programs.compile("first", "first.S", FIRST, &["-nostdlib", "-static"])?;
    let prefork = programs.compile("prefork", "prefork.c", PREFORK, &["-O2"])?;
    let warm = factory(command(&program), Some(Ready::Entry), 0)?;
    let pooled = factory(command(&program), Some(Ready::Entry), WAITING)?;
    let asked = programs.asked.as_deref().map(Asked::start).transpose()?.map(RefCell::new);
    let prefork = RefCell::new(Asked::start(&prefork)?);
    let mut entries = Vec::new();
    if let Some(asked) = &asked {
        let wake = "floor: a blocked process woken over a socket pair, and back";
        entries.push(Entry::new(wake, || timed(|| asked.borrow_mut().ask(false))));
    }
    entries.push(Entry::new("prefork server, unconfined, given nothing", || {
        let measured = timed(|| prefork.borrow_mut().ask(false));
        // It forks the next.
        std::thread::sleep(Duration::from_millis(1));
        measured
    }));
    entries.push(Entry::new("factory, a copy at its entry on request", || first_byte(&warm)));
    entries.push(Entry::new(POOLED, || {
        let measured = first_byte(&pooled);
        at_rest(&pooled)?;
        measured
    }));
    at_rest(&pooled)?;
    let series = race("factories: first instruction", options.time(4.0), entries);
    let title =
        "Factories, confined, a tiny program: start to the byte that its first instructions write, us";
    let mut table = Table::new(title, &[&["way"], &TIMES[..], &["× the floor"]].concat());
    rows(&mut table, &series);
    check(&mut table, POOLED, &pooled);
    report.tables.push(table);
    let what = "pooled product, confined, start to first instruction";
    report.goals.push(time_goal(what, "≤ 15 us", 15.0, &series, POOLED));
    Ok(())
}

/// A thousand products asked for one after the other, all of them alive until the last is there; then each is waited for.
fn thousand(count: usize, factory: &Factory) -> Result<Vec<f64>, String> {
    let request = inheriting(factory);
    let begin = now();
    let processes: Vec<_> = (0..count).map(|_| request.start().map_err(told)).collect::<Result<_, _>>()?;
    processes.into_iter().try_for_each(ended)?;
    Ok(vec![(now() - begin) / count as f64])
}

fn each_waited_for(count: usize, factory: &Factory) -> Result<Vec<f64>, String> {
    let request = inheriting(factory);
    let begin = now();
    (0..count).try_for_each(|_| ended(request.start().map_err(told)?))?;
    Ok(vec![(now() - begin) / count as f64])
}

fn batches(options: &Options, program: &Program, report: &mut Report) -> Result<(), String> {
    const LOOP: &str = "posix_spawn, each waited for";
    const REQUEST: &str = "factory, on request, each waited for";
    const POOLED: &str = "factory, born ahead, each waited for";
    let count = if options.quick { 100 } else { 1000 };
    let _limit = machine::more_files(8 * count as u64)?;
    machine::on_one_processor(|| {
        let path = Path::new(OsStr::from_bytes(program.path.to_bytes()));
        let warm = factory(command(path), Some(Ready::Entry), 0)?;
        let pooled = factory(command(path), Some(Ready::Entry), count)?;
        let entries = vec![
            Entry::new(LOOP, || {
                let begin = now();
                (0..count).try_for_each(|_| posix_spawn(&program.path, false))?;
                Ok(vec![(now() - begin) / count as f64])
            }),
            Entry::new("floor: vfork + exec, each waited for", || {
                let (begin, mut stack) = (now(), Stack::default());
                (0..count).try_for_each(|_| vfork_exec(&mut stack, &program.path))?;
                Ok(vec![(now() - begin) / count as f64])
            }),
            Entry::new(REQUEST, || each_waited_for(count, &warm)),
            Entry::new("factory, on request, all started, then all waited for", || thousand(count, &warm)),
            Entry::new(POOLED, || {
                let size = pooled.options().pool.size as u64;
                let until = Instant::now() + Duration::from_secs(10);
                while pooled.statistics().waiting < size && Instant::now() < until {
                    // Below its mark it is filled again, above it is not.
                    if pooled.statistics().waiting >= pooled.options().pool.low_water as u64 {
                        ended(inheriting(&pooled).start().map_err(told)?)?;
                    }
                    std::thread::sleep(Duration::from_millis(1));
                }
                each_waited_for(count / 2, &pooled)
            }),
        ];
        let series = race("factories: batches", options.time(9.0), entries);
        let title = format!("{count} products of {}, confined, one processor: us a product", program.name);
        let mut table = Table::new(title, &[&["way"], &TIMES[..], &["× posix_spawn", "× floor"]].concat());
        rows(&mut table, &series);
        table.note("born ahead: half as many, from a full pool; that they were born is not in it");
        report.tables.push(table);
        for (way, name) in [("warm", REQUEST), ("born ahead", POOLED)] {
            let what = format!("{count} small products, {way}, confined, one processor");
            report.goals.push(ratio_goal(
                &what,
                "≤ 1/4 of the time of posix_spawn",
                0.25,
                &series,
                [name, LOOP],
            ));
        }
        Ok(())
    })
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    if let Some(program) = programs.get("dynamic true") {
        whole(options, program, programs, report)?;
        batches(options, program, report)?;
    }
    first(options, programs, report)
}
