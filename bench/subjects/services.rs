//! The service: births through it beside births in process and `posix_spawn`, a batch of a thousand, and the same with many domains that
//! live meanwhile.

use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use beget::{Command, Grant, Nursery, ParcelOptions};
use beget_service::{Domain, Service, Wish};

use super::batches::in_a_batch;
use super::embryos::{TIMES, told};
use crate::folder::Folder;
use crate::machine;
use crate::measure::{Entry, Pairs, Series, now, race, run, timed};
use crate::options::Options;
use crate::report::{Cell, Goal, Report, Table, beside_floor};
use crate::ways::{Program, Programs, Stack, own_command, posix_spawn, unconfined, vfork_exec};

/// How many births of a batch, and how many domains that live, in a long run and in a quick one.
const BATCH: [usize; 2] = [1000, 100];
const LIVING: [usize; 2] = [10_000, 300];
/// How many of those are timed, for the 99th of a hundred.
const TIMED: [usize; 2] = [1000, 300];

const LOOP: &str = "posix_spawn, each waited for";
const IN_PROCESS: &str = "beget, in process";
const IN_NURSERY: &str = "beget, in a nursery";
const SERVICE: &str = "beget, through the service";

pub(super) fn said(error: beget_service::Error) -> String {
    error.to_string()
}

/// The name of its socket, in a folder of its own.
const SOCKET: &str = "s";

/// A service of its own, which ends with this.
pub(super) struct Running {
    supervisor: Child,
    folder: Folder,
}

impl Running {
    pub(super) fn start() -> Result<Running, String> {
        let folder = Folder::make("beget-bench-service", false)?;
        let socket = folder.path().join(SOCKET);
        let mut command = std::process::Command::new(own_command()?);
        command
            .args(["serve", "--history", "100", "--socket"])
            .arg(&socket)
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let running = Running { supervisor: command.spawn().map_err(|error| error.to_string())?, folder };
        let until = now() + 10e6;
        while Service::connect(&socket).is_err() {
            if now() > until {
                return Err("the service does not listen".to_owned());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }

    /// Where it listens.
    pub(super) fn socket(&self) -> PathBuf {
        self.folder.path().join(SOCKET)
    }

    pub(super) fn session(&self) -> Result<Service, String> {
        Service::connect(self.socket()).map_err(said)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(mut session) = self.session() {
            let _ = session.stop();
        }
        let _ = self.supervisor.wait();
    }
}

fn wish(command: &mut Command) -> Result<Wish, String> {
    Ok(Wish::new(command.parcel(ParcelOptions::default()).map_err(told)?))
}

fn ended_well(mut domain: Domain) -> Result<(), String> {
    use beget_service::protocol::Life;
    match domain.wait().map_err(said)?.life {
        Life::Exited(0) => Ok(()),
        other => Err(format!("{other:?}")),
    }
}

fn through_service(service: &mut Service, command: &mut Command) -> Result<(), String> {
    ended_well(service.spawn(wish(command)?).map_err(said)?)
}

fn confined(program: &Program) -> Command {
    let mut command = Command::new(program.path.to_string_lossy().into_owned());
    command.grant(Grant::Base);
    command
}

fn rows(table: &mut Table, program: &str, series: &[Series], marks: [&str; 2]) {
    let find = |name: &str| series.iter().find(|one| one.name == name);
    for one in series {
        let floor = beside_floor(series, one);
        let ratio = |mark: &str| match find(mark) {
            Some(_) if one.name == mark => Cell::Words("1".to_owned()),
            mark => Cell::ratio(mark.and_then(|mark| Pairs::ratio(one.measure(0), mark.measure(0)))),
        };
        table.timed(&format!("{program}: {}", one.name), one, [&marks.map(ratio)[..], &[floor]].concat());
    }
}

/// One birth, from the call to the end being known.
fn births(
    options: &Options,
    programs: &Programs,
    running: &Running,
    report: &mut Report,
) -> Result<(), String> {
    let columns = [&["program: way"], &TIMES[..], &["× posix_spawn", "× in process", "× floor"]].concat();
    let mut table = Table::new("A birth through the service: to its end being known, us", &columns);
    for program in &programs.all {
        let path = program.path.as_c_str();
        let (mut bare, mut own) = (unconfined(path), unconfined(path));
        let nursery = Nursery::new().map_err(told)?;
        own.nursery(&nursery);
        let (mut asked, mut kept) = (unconfined(path), confined(program));
        let (mut kept_here, mut stack) = (confined(program), Stack::default());
        let (mut one, mut other) = (running.session()?, running.session()?);
        let waited = |command: &mut Command| {
            let ended = command.spawn().and_then(|mut process| process.wait()).map_err(told)?;
            if ended.success() { Ok(()) } else { Err(ended.status.to_string()) }
        };
        let entries = vec![
            Entry::new(LOOP, move || timed(|| posix_spawn(path, false))),
            Entry::new("floor: vfork + exec", move || timed(|| vfork_exec(&mut stack, path))),
            Entry::new(IN_PROCESS, move || timed(|| waited(&mut bare))),
            Entry::new(IN_NURSERY, move || timed(|| waited(&mut own))),
            Entry::new(SERVICE, move || timed(|| through_service(&mut one, &mut asked))),
            Entry::new("beget, in process, confined", move || timed(|| waited(&mut kept_here))),
            Entry::new("beget, through the service, confined", move || {
                timed(|| through_service(&mut other, &mut kept))
            }),
        ];
        let series = race(&format!("service: {}", program.name), options.time(8.0), entries);
        rows(&mut table, program.name, &series, [LOOP, IN_PROCESS]);
    }
    report.tables.push(table);
    Ok(())
}

/// Many in one request, on one processor, as in the subject `batches`.
fn batch(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let count = BATCH[usize::from(options.quick)];
    let _limit = machine::more_files(8 * count as u64)?;
    let columns =
        [&["program: way"], &TIMES[..], &["× each waited for", "× a batch in process", "× floor"]].concat();
    let title = format!("{count} confined births in one request to the service, one processor: us a birth");
    let mut table = Table::new(title, &columns);
    for program in &programs.all {
        machine::on_one_processor(|| {
            // It runs where its creator could when it was made.
            let running = Running::start()?;
            let mut service = running.session()?;
            let path = program.path.as_c_str();
            let nursery = Nursery::new().map_err(told)?;
            let (mut here, mut there) = (confined(program), confined(program));
            let each = |work: &mut dyn FnMut() -> Result<(), String>| {
                let begin = now();
                work()?;
                Ok(vec![(now() - begin) / count as f64])
            };
            let mut stack = Stack::default();
            let entries = vec![
                Entry::new("floor: vfork + exec, each waited for", move || {
                    each(&mut || (0..count).try_for_each(|_| vfork_exec(&mut stack, path)))
                }),
                Entry::new(LOOP, move || each(&mut || (0..count).try_for_each(|_| posix_spawn(path, false)))),
                Entry::new(IN_NURSERY, move || each(&mut || in_a_batch(count, &mut here, &nursery))),
                Entry::new(SERVICE, move || {
                    each(&mut || {
                        let wishes = (0..count).map(|_| wish(&mut there)).collect::<Result<_, _>>()?;
                        let domains = service.batch(wishes, false).map_err(said)?;
                        domains.into_iter().try_for_each(|domain| ended_well(domain.map_err(said)?))
                    })
                }),
            ];
            let series = race(&format!("service: batch, {}", program.name), options.time(8.0), entries);
            rows(&mut table, program.name, &series, [LOOP, IN_NURSERY]);
            Ok(())
        })?;
    }
    report.tables.push(table);
    Ok(())
}

/// How long a spawn takes, to its answer.
fn timed_spawn(service: &mut Service, command: &mut Command) -> Result<f64, String> {
    let wish = wish(command)?;
    let begin = now();
    let domain = service.spawn(wish).map_err(said)?;
    let time = now() - begin;
    ended_well(domain)?;
    Ok(time)
}

fn p99(times: &[f64]) -> Cell {
    let mut times = times.to_vec();
    times.sort_by(f64::total_cmp);
    times.get(times.len() * 99 / 100).map_or(Cell::Nothing, |time| Cell::number(*time, 0))
}

/// Spawns while none and while many live, and in turn with those of a service beside it that has none: what others do on the machine meets both.
fn living(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let Some(program) = programs.smallest() else { return Ok(()) };
    let (count, timed) = (LIVING[usize::from(options.quick)], TIMED[usize::from(options.quick)]);
    // A capability to each.
    let _limit = machine::more_files(count as u64 + 2000)?;
    let (running, beside) = (Running::start()?, Running::start()?);
    let (mut service, mut idle) = (running.session()?, beside.session()?);
    let mut sleeper = Command::new("/bin/sleep");
    sleeper.arg("100000").grant(Grant::Base);
    let mut command = confined(program);
    let columns = [
        "domains that live",
        "median",
        "p99",
        "beside: median",
        "beside: p99",
        "× median",
        "× p99",
        "monitor, KiB",
        "service, KiB",
    ];
    let mut table = Table::new("A spawn to its answer while others live, us", &columns);
    let mut held = Vec::new();
    let mut slowest_of_most = None;
    for goal in [0, count / 10, count] {
        while held.len() < goal {
            let wishes =
                (0..(goal - held.len()).min(250)).map(|_| wish(&mut sleeper)).collect::<Result<_, _>>()?;
            for domain in service.batch(wishes, false).map_err(said)? {
                held.push(domain.map_err(said)?);
            }
        }
        // Those that were born a moment ago are still starting.
        std::thread::sleep(Duration::from_secs(if options.quick { 1 } else { 5 }));
        let [mut these, mut those] = [Vec::with_capacity(timed), Vec::with_capacity(timed)];
        for _ in 0..timed {
            these.push(timed_spawn(&mut service, &mut command)?);
            those.push(timed_spawn(&mut idle, &mut command)?);
        }
        let series =
            |name: &str, times| Series { name: name.to_owned(), measures: vec![times], skipped: None };
        let both = run::with_earlier(
            &format!("service: {goal} live"),
            vec![series("these", these), series("those", those)],
        );
        let (these, those) = (both[0].measure(0), both[1].measure(0));
        let slowest = Pairs::ratio_of_slowest(these, those);
        slowest_of_most = slowest;
        let state = service.state().map_err(said)?;
        let memory = |bytes: u64| Cell::Count((bytes >> 10) as usize);
        table.row(
            &goal.to_string(),
            vec![
                Cell::median(these),
                p99(these),
                Cell::median(those),
                p99(those),
                Cell::ratio(Pairs::ratio(these, those)),
                Cell::ratio(slowest),
                memory(state.monitor_memory),
                memory(state.service_memory),
            ],
        );
    }
    report.goals.push(Goal {
        what: format!("the slowest hundredth of spawns while {count} domains live"),
        reach: "≤ 2 × that of a service that keeps none".to_owned(),
        measured: slowest_of_most,
        by_minima: None,
        most: 2.0,
        size: None,
    });
    table.note(
        "beside: the same spawn by a service that keeps none, in turn with the first, on the same machine",
    );
    for mut domain in held {
        domain.kill(Duration::ZERO).map_err(said)?;
    }
    report.tables.push(table);
    Ok(())
}

/// Measures.
pub fn measure(options: &Options, programs: &Programs, report: &mut Report) -> Result<(), String> {
    let running = Running::start()?;
    births(options, programs, &running, report)?;
    drop(running);
    batch(options, programs, report)?;
    living(options, programs, report)
}
