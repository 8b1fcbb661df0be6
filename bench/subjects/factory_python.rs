//! Python from a factory: a script on standard input to its first output and to its end, how many a second, a hundred with modules imported
//! ahead; multiprocessing's forkserver and a server that forks ahead beside it.

use std::cell::RefCell;
use std::io::{PipeReader, PipeWriter, Read, Write};
use std::path::Path;
use std::process::{Child, Command as Std, Stdio as Piped};

use beget::{Process, Stdio};
use beget_factory::adapter::Python;
use beget_factory::{Factory, Options as How, Ready};

use super::embryos::{TIMES, told};
use super::factories::{
    a_pool, at_rest, check, command, ended, find, ratio_goal, rehearsed, rows, settled, time_goal,
};
use crate::measure::{Entry, Series, Summary, now, race};
use crate::options::Options;
use crate::report::{Cell, Report, Table, beside_floor};
use crate::ways::{Asked, Programs, installed};

/// What each runs: written at once, and without what an interpreter does at its end, which is the same for all and hides the rest.
const SCRIPT: &str = "import os\nprint(1, flush=True)\nos._exit(0)\n";

/// A process of multiprocessing's forkserver for each byte on standard input, and a byte when that has ended.
const FORKSERVER: &str = "\
import multiprocessing, os
def work():
    os.write(1, b'1')
if __name__ == '__main__':
    context = multiprocessing.get_context('forkserver')
    multiprocessing.set_forkserver_preload(['__main__'])
    while os.read(0, 1):
        process = context.Process(target=work)
        process.start()
        process.join()
        os.write(1, b'.')
";

/// A server that forks ahead: a child waits for a script, runs it, ends; its parent reaps it, says so, and forks the next.
const PREFORK: &str = "\
import os
while True:
    child = os.fork()
    if child == 0:
        script = os.read(0, 65536)
        if script:
            exec(script, {'__name__': '__main__'})
        os._exit(1)
    if os.waitpid(child, 0)[1]:
        break
    os.write(1, b'.')
";

/// One of these servers.
struct Server {
    child: Child,
    to: Option<PipeWriter>,
    from: PipeReader,
}

impl Server {
    fn start(python: &Path, file: &Path) -> Result<Server, String> {
        let failed = |error: std::io::Error| error.to_string();
        let (theirs, to) = std::io::pipe().map_err(failed)?;
        let (from, out) = std::io::pipe().map_err(failed)?;
        let child = Std::new(python).arg(file).stdin(theirs).stdout(out).stderr(Piped::null()).spawn();
        Ok(Server { child: child.map_err(failed)?, to: Some(to), from })
    }

    /// From the request to the first output, and to its end.
    fn ask(&mut self, what: &[u8]) -> Result<Vec<f64>, String> {
        let begin = now();
        self.to.as_ref().ok_or("it is closed")?.write_all(what).map_err(|error| error.to_string())?;
        let mut first = 0.0;
        loop {
            let mut byte = [0];
            self.from.read_exact(&mut byte).map_err(|error| error.to_string())?;
            match byte[0] {
                b'1' => first = now() - begin,
                b'.' => return Ok(vec![first, now() - begin]),
                _ => {}
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.to = None;
        let _ = self.child.wait();
    }
}

fn fed(text: &str) -> Result<PipeReader, String> {
    let (input, mut feed) = std::io::pipe().map_err(|error| error.to_string())?;
    feed.write_all(text.as_bytes()).map_err(|error| error.to_string())?;
    Ok(input)
}

/// A product that runs the script, and where its output comes.
fn begun(factory: &Factory, script: &str) -> Result<(Process, PipeReader), String> {
    let (out, theirs) = std::io::pipe().map_err(|error| error.to_string())?;
    let mut request = factory.request();
    request.stdin(Stdio::from(fed(script)?)).stdout(theirs);
    let process = request.start().map_err(told)?;
    Ok((process, out))
}

fn heard(mut out: PipeReader) -> Result<(), String> {
    let mut byte = [0];
    out.read_exact(&mut byte).map_err(|_| "it wrote nothing".to_owned())
}

/// From the request to the first output, and to its end.
fn made(factory: &Factory) -> Result<Vec<f64>, String> {
    let begin = now();
    let (process, out) = begun(factory, SCRIPT)?;
    heard(out)?;
    let first = now() - begin;
    ended(process)?;
    let times = vec![first, now() - begin];
    at_rest(factory)?;
    Ok(times)
}

/// As many, by two at once; microseconds a product.
fn many(factory: &Factory, count: usize) -> Result<Vec<f64>, String> {
    let begin = now();
    let half = || {
        (0..count / 2).try_for_each(|_| {
            let (process, out) = begun(factory, SCRIPT)?;
            heard(out)?;
            ended(process)
        })
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(half);
        half().and(other.join().map_err(|_| "a thread panicked".to_owned())?)
    })?;
    let time = (now() - begin) / count as f64;
    at_rest(factory)?;
    Ok(vec![time])
}

/// With an adapter.
fn adapted(python: &Path, modules: &[&str], pool: usize) -> Result<Factory, String> {
    let mut builder = Factory::builder(command(python));
    builder.options(How { pool: a_pool(pool), rehearsal: SCRIPT.into(), ..How::default() });
    builder.adapter(Python::new().preload(modules));
    let factory = builder.seal().map_err(told)?;
    settled(&factory)?;
    Ok(factory)
}

const COLD: &str = "cold";
const REQUEST: &str = "factory, stopped where it reads, a copy on request";
const POOLED: &str = "factory, stopped where it reads, from a pool";
const ADAPTED: &str = "factory, Python adapter, a copy on request";
const ADAPTED_POOLED: &str = "factory, Python adapter, from a pool";

/// The factories that are compared.
struct Factories {
    all: Vec<(&'static str, Factory)>,
}

impl Factories {
    fn make(python: &Path) -> Result<Factories, String> {
        let plain = |ready, pool| rehearsed(command(python), ready, pool, SCRIPT);
        Ok(Factories {
            all: vec![
                (COLD, plain(None, 0)?),
                (REQUEST, plain(Some(Ready::Stdin), 0)?),
                (POOLED, plain(Some(Ready::Stdin), 32)?),
                (ADAPTED, adapted(python, &[], 0)?),
                (ADAPTED_POOLED, adapted(python, &[], 32)?),
            ],
        })
    }
}

fn one_by_one(
    options: &Options,
    python: &Path,
    programs: &Programs,
    factories: &Factories,
    report: &mut Report,
) -> Result<(), String> {
    let forkserver = RefCell::new(Server::start(python, &programs.text("forkserver.py", FORKSERVER)?)?);
    let prefork = RefCell::new(Server::start(python, &programs.text("prefork.py", PREFORK)?)?);
    let asked = programs.asked.as_deref().map(Asked::start).transpose()?.map(RefCell::new);
    let mut entries: Vec<Entry<'_>> =
        factories.all.iter().map(|(name, factory)| Entry::new(*name, || made(factory))).collect();
    entries
        .push(Entry::new("multiprocessing's forkserver, unconfined", || forkserver.borrow_mut().ask(b"1")));
    entries.push(Entry::new("a server that forks ahead, unconfined", || {
        prefork.borrow_mut().ask(SCRIPT.as_bytes())
    }));
    if let Some(asked) = &asked {
        let wake = "floor: a blocked process woken over a socket pair, and back";
        entries.push(Entry::new(wake, || {
            let begin = now();
            asked.borrow_mut().ask(false)?;
            Ok(vec![now() - begin; 2])
        }));
    }
    let series = race("factories: python", options.time(8.0), entries);
    let title = "Factories, confined, python3 with a script on standard input: request to first output, us";
    let mut table = Table::new(title, &[&["way"], &TIMES[..], &["× cold", "× floor", "to its end"]].concat());
    table_of(&mut table, &series);
    for (name, factory) in &factories.all {
        check(&mut table, name, factory);
    }
    table.note(
        "the script writes and leaves by os._exit; what an interpreter does at its end takes as long in each",
    );
    report.tables.push(table);
    let what = |way| format!("python3, script on standard input, confined, {way}: first output");
    report.goals.push(ratio_goal(
        &what("on request"),
        "≤ 1/30 of cold",
        1.0 / 30.0,
        &series,
        [REQUEST, COLD],
    ));
    report.goals.push(ratio_goal(&what("pooled"), "≤ 1/300 of cold", 1.0 / 300.0, &series, [POOLED, COLD]));
    Ok(())
}

fn table_of(table: &mut Table, series: &[Series]) {
    let cold = series.iter().find(|one| one.name == COLD).map(|one| one.measure(0));
    for one in series {
        let ratio = cold.and_then(|cold| crate::measure::Pairs::ratio(one.measure(0), cold));
        let end = Cell::median(one.measure(1));
        table.timed(&one.name, one, vec![Cell::ratio(ratio), beside_floor(series, one), end]);
    }
}

fn rates(options: &Options, factories: &Factories, report: &mut Report) {
    let entries = factories.all.iter().map(|(name, factory)| {
        let count = if *name == COLD { 4 } else { 100 };
        Entry::new(*name, move || many(factory, count))
    });
    let series = race("factories: python, rates", options.time(8.0), entries.collect());
    let title = "Factories, confined, python3 with a script on standard input, two at once: us a product";
    let mut table = Table::new(title, &[&["way"], &TIMES[..], &["× cold"]].concat());
    rows(&mut table, &series);
    report.tables.push(table);
    let best = [REQUEST, POOLED].into_iter().min_by(|one, other| {
        let middle = |name| find(&series, name).and_then(Summary::of).map_or(f64::MAX, |sum| sum.p50);
        middle(one).total_cmp(&middle(other))
    });
    let what = "python3, script on standard input, confined: products a second";
    let names = [best.unwrap_or(REQUEST), COLD];
    report.goals.push(ratio_goal(what, "≥ 25 × cold, as time ≤ 1/25", 0.04, &series, names));
}

/// A hundred, asked for by two threads, until each has written.
fn hundred(factory: &Factory, script: &str) -> Result<Vec<f64>, String> {
    let begin = now();
    let half = || {
        let all: Vec<_> = (0..50).map(|_| begun(factory, script)).collect::<Result<_, _>>()?;
        all.into_iter().map(|(process, out)| heard(out).map(|()| process)).collect::<Result<Vec<_>, String>>()
    };
    let all = std::thread::scope(|scope| {
        let other = scope.spawn(half);
        let own = half();
        let other = other.join().map_err(|_| "a thread panicked".to_owned())?;
        Ok::<_, String>([own?, other?])
    })?;
    let time = (now() - begin) / 1e3;
    all.into_iter().flatten().try_for_each(ended)?;
    at_rest(factory)?;
    Ok(vec![time])
}

fn hundreds(options: &Options, python: &Path, report: &mut Report) -> Result<(), String> {
    const REQUEST: &str = "on request";
    const POOLED: &str = "from a pool of 200";
    let has_numpy = Std::new(python).args(["-c", "import numpy"]).stderr(Piped::null()).status();
    let numpy = has_numpy.is_ok_and(|status| status.success());
    let (modules, script): (&[&str], _) = match numpy {
        true => (&["numpy"], "import numpy, os\nprint(numpy.arange(10).sum(), flush=True)\nos._exit(0)\n"),
        false => (
            &["json", "asyncio"],
            "import json, asyncio, os\nprint(len(json.dumps([1])), flush=True)\nos._exit(0)\n",
        ),
    };
    let _limit = crate::machine::more_files(4000)?;
    let (warm, pooled) = (adapted(python, modules, 0)?, adapted(python, modules, 200)?);
    let entries =
        vec![Entry::new(REQUEST, || hundred(&warm, script)), Entry::new(POOLED, || hundred(&pooled, script))];
    at_rest(&pooled)?;
    let series = race("factories: a hundred", options.time(4.0), entries);
    let names = modules.join(" and ");
    let title = format!(
        "Factories, confined, 100 products of the Python adapter with {names}: to the last one's output, ms"
    );
    let mut table = Table::new(title, &[&["way"], &TIMES[..], &["× on request"]].concat());
    rows(&mut table, &series);
    if !numpy {
        table.note("numpy is not installed: json and asyncio instead of it");
    }
    report.tables.push(table);
    for (way, name) in [("on request", REQUEST), ("pooled", POOLED)] {
        let what = format!("100 products of Python with {names}, confined, {way}, to their output, ms");
        report.goals.push(time_goal(&what, "≤ 60 ms with numpy", 60.0, &series, name));
    }
    Ok(())
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let python = match installed("python3").and_then(|path| path.canonicalize().map_err(|e| e.to_string())) {
        Ok(python) => python,
        Err(why) => {
            report.machine.push(("missing".to_owned(), why));
            return Ok(());
        }
    };
    let factories = Factories::make(&python)?;
    one_by_one(options, &python, programs, &factories, report)?;
    rates(options, &factories, report);
    drop(factories);
    hundreds(options, &python, report)
}
