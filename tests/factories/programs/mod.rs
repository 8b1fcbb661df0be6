//! Programs that nobody thought of: each product of a factory does what the same command does from the beginning.
//!
//! A table of real programs, each made warm wherever it can be, on request and from a pool, frozen and not, opaque and not. What they
//! write, and how they end, is compared with a cold run of the same command under the same grants. A difference is a failure; a program that
//! cannot be copied is refused by name. What is not on this machine is left out of the table.
//!
//! A run takes each program at one of its points, and once where it waits for input; with `BEGET_TEST_MANY=1000` it takes all of them, and
//! makes as many products of some. `BEGET_TEST_PROGRAM=sed` takes one program alone.

mod limits;
mod many;
mod refused;
mod shells;
mod streams;
mod tools;

use std::fs::File;
use std::io::Write;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::Duration;

use beget::{Command, Grant, Process, Stdio};
use beget_factory::survey::Kind;
use beget_factory::{Error, Factory, Options, Pool, Ready};
use beget_tests::{Scratch, has, text};

/// More than anything here takes; a program that runs as long as this is ended, which is a difference.
const LONG: Duration = Duration::from_secs(60);

/// What a program was seen to do.
#[derive(Clone, PartialEq, Eq)]
struct Did {
    code: Option<i32>,
    signal: Option<i32>,
    out: Vec<u8>,
    err: Vec<u8>,
}

impl std::fmt::Debug for Did {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let short = |bytes: &[u8]| text(&bytes[..bytes.len().min(300)]);
        let Did { code, signal, out, err } = self;
        write!(
            f,
            "code {code:?} signal {signal:?}, {} bytes out {:?}, err {:?}",
            out.len(),
            short(out),
            short(err)
        )
    }
}

/// What it is given on standard input.
#[derive(Clone, Debug, Default)]
enum Input {
    /// `/dev/null`.
    #[default]
    Nothing,
    /// This, through a pipe.
    Pipe(Vec<u8>),
    /// This, as a file.
    Text(Vec<u8>),
}

impl Input {
    fn open(&self) -> Stdio {
        match self {
            Input::Nothing => Stdio::null(),
            Input::Pipe(bytes) => {
                let (input, mut feed) = std::io::pipe().expect("a pipe");
                let bytes = bytes.clone();
                // One that reads no more is no failure of ours.
                std::thread::spawn(move || feed.write_all(&bytes));
                Stdio::from(input)
            }
            Input::Text(bytes) => {
                let scratch = Scratch::new();
                Stdio::from(File::open(scratch.file("input", bytes)).expect("a file"))
            }
        }
    }
}

/// One run of a program: what is the request's own.
#[derive(Clone, Debug, Default)]
struct Run {
    words: Vec<String>,
    variables: Vec<(String, String)>,
    input: Input,
    /// It waits for its input at the start, having read nothing: it can be made warm there.
    waits: bool,
}

/// A program of the table.
struct Program {
    /// How products that are copied where it waits for input may differ, which is then among the hazards.
    differs: Option<Kind>,
    command: Box<dyn Fn() -> Command>,
    name: &'static str,
    here: bool,
    points: Vec<Ready>,
    runs: Vec<Run>,
}

/// The libraries of this machine, which every program is granted, and no more of its files: sealing looks at all that is granted.
fn libraries() -> Vec<Grant> {
    let folders = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten().map(|entry| entry.path());
    let of_c = folders.filter(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with("-linux-gnu") || name.ends_with("-linux-musl") || name.starts_with("ld-musl")
    });
    let files = ["/etc/ld.so.cache", "/etc/passwd", "/etc/group", "/etc/nsswitch.conf"].map(PathBuf::from);
    let libraries =
        of_c.chain([PathBuf::from("/usr/lib64")]).filter(|path| path.exists()).map(Grant::Execute);
    let devices = ["/dev/null", "/dev/zero", "/dev/urandom"].map(|path| Grant::Write(path.into()));
    libraries.chain(files.into_iter().filter(|path| path.exists()).map(Grant::Read)).chain(devices).collect()
}

/// A program that is found by its name; with more than its libraries where that is granted.
fn program(name: &'static str, grants: &'static [Grant]) -> Program {
    let command = move || {
        let mut command = Command::new(name);
        command.grants(libraries()).grants(grants.iter().cloned()).discreet(true);
        command.env("PATH", beget::DEFAULT_PATH);
        command
    };
    let here = has(name) || Path::new(name).exists();
    let points = vec![Ready::Entry, Ready::Main];
    Program { differs: None, command: Box::new(command), name, here, points, runs: Vec::new() }
}

impl Program {
    /// Has the command be built further.
    fn with(self, more: impl Fn(&mut Command) + 'static) -> Program {
        let before = self.command;
        let command = Box::new(move || {
            let mut command = before();
            more(&mut command);
            command
        });
        Program { command, ..self }
    }

    fn at(mut self, points: &[Ready]) -> Program {
        self.points = points.to_vec();
        self
    }

    fn add(mut self, words: &[&str], input: Input, waits: bool) -> Program {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        self.runs.push(Run { words, input, waits, variables: Vec::new() });
        self
    }

    /// It is not told from a start from the beginning, but for what is declared by this name.
    fn differs(mut self, kind: Kind) -> Program {
        self.differs = Some(kind);
        self
    }

    /// A run without input.
    fn run(self, words: &[&str]) -> Program {
        self.add(words, Input::Nothing, false)
    }

    /// A run with a variable of its own.
    fn variable(mut self, name: &str, value: &str, words: &[&str]) -> Program {
        self = self.add(words, Input::Nothing, false);
        let last = self.runs.last_mut().expect("it was added");
        last.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A run that reads a pipe, first of all.
    fn reads(self, words: &[&str], input: impl AsRef<[u8]>) -> Program {
        self.add(words, Input::Pipe(input.as_ref().to_owned()), true)
    }

    /// A run that is given a pipe, and does other things first.
    fn given(self, words: &[&str], input: impl AsRef<[u8]>) -> Program {
        self.add(words, Input::Pipe(input.as_ref().to_owned()), false)
    }

    /// A run that is given a file.
    fn file(self, words: &[&str], input: impl AsRef<[u8]>) -> Program {
        self.add(words, Input::Text(input.as_ref().to_owned()), false)
    }

    fn cold(&self, run: &Run) -> Did {
        let mut command = (self.command)();
        command.args(&run.words).envs(run.variables.iter().cloned());
        command.stdin(run.input.open()).stdout(Stdio::piped()).stderr(Stdio::piped());
        did(command.spawn().expect("a cold start"))
    }

    /// Adds what differs, in words.
    fn check(&self, differences: &mut Vec<String>) {
        if !self.here {
            return;
        }
        let expected: Vec<Did> = self.runs.iter().map(|run| self.cold(run)).collect();
        let mut sealed = |ready: &Ready, words: &[String], runs: &[(&Run, &Did)]| {
            let declared = self.differs.filter(|_| *ready == Ready::Stdin);
            let options = next_options(ready.clone());
            let place = format!("{} {words:?} at {ready}, {}", self.name, shown(&options));
            let mut command = (self.command)();
            command.args(words);
            match seal(command, options) {
                Ok(factory) => match declared {
                    Some(kind) if factory.hazards().iter().any(|hazard| hazard.kind == kind) => {}
                    Some(kind) => differences.push(format!("{place}: it does not declare {kind}")),
                    None => differences.extend(differing(&factory, &place, runs)),
                },
                Err(error) => differences.push(format!("{place}: {error}")),
            }
        };
        static TURN: AtomicUsize = AtomicUsize::new(0);
        let chosen = match many() {
            Some(_) => self.points.as_slice(),
            None => &self.points[TURN.fetch_add(1, Ordering::Relaxed) % self.points.len()..][..1],
        };
        for ready in chosen {
            let runs: Vec<_> = self.runs.iter().zip(&expected).collect();
            sealed(ready, &[], &runs);
        }
        let mut done: Vec<&[String]> = Vec::new();
        for run in self.runs.iter().filter(|run| run.waits) {
            let due = many().is_some() || done.is_empty();
            if due && !done.contains(&run.words.as_slice()) {
                done.push(&run.words);
                let same = |one: &&(&Run, &Did)| one.0.waits && one.0.words == run.words;
                let pairs: Vec<_> = self.runs.iter().zip(&expected).collect();
                let bare: Vec<(Run, &Did)> = pairs
                    .iter()
                    .filter(same)
                    .map(|(run, did)| (Run { words: Vec::new(), ..(*run).clone() }, *did))
                    .collect();
                let runs: Vec<_> = bare.iter().map(|(run, did)| (run, *did)).collect();
                sealed(&Ready::Stdin, &run.words, &runs);
            }
        }
    }
}

/// How many products, where very many are wanted.
fn many() -> Option<usize> {
    std::env::var("BEGET_TEST_MANY").ok().and_then(|text| text.parse().ok())
}

/// Checks some programs, and says all that differs at once.
#[track_caller]
fn check(programs: impl IntoIterator<Item = Program>) {
    let only = std::env::var("BEGET_TEST_PROGRAM").ok();
    let mut differences = Vec::new();
    for program in programs {
        if only.as_deref().is_none_or(|only| only == program.name) {
            program.check(&mut differences);
        }
    }
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
}

/// The runs of which a product did something else than a cold start did.
fn differing(factory: &Factory, place: &str, runs: &[(&Run, &Did)]) -> Vec<String> {
    let mut differences = Vec::new();
    // Twice: what one has done another does not see.
    for round in 0..2 {
        for (run, expected) in runs {
            let place = format!("{place}: run {:?} {:?}, round {round}", run.words, run.variables);
            match product(factory, run) {
                Ok(was) if was == **expected => {}
                Ok(was) => differences.push(format!("{place}:\n  cold    {expected:?}\n  product {was:?}")),
                Err(error) => differences.push(format!("{place}: {error}")),
            }
        }
    }
    let done = factory.statistics();
    if done.cold > 0 || done.deaths > 0 {
        differences.push(format!("{place}: {done:?}"));
    }
    differences
}

fn product(factory: &Factory, run: &Run) -> Result<Did, Error> {
    let mut request = factory.request();
    request.args(&run.words).stdin(run.input.open()).stdout(Stdio::piped()).stderr(Stdio::piped());
    for (name, value) in &run.variables {
        request.env(name, value);
    }
    let process = request.start()?;
    drop(request);
    Ok(did(process))
}

/// Waits for its end, and ends it where that does not come.
fn did(process: Process) -> Did {
    let number = process.id();
    let (done, wait) = channel();
    std::thread::spawn(move || {
        let _ = done.send(process.wait_with_output());
    });
    let output = wait.recv_timeout(LONG).unwrap_or_else(|_| {
        // SAFETY: sends a signal to a child that nobody has waited for.
        unsafe { libc::kill(number as i32, libc::SIGKILL) };
        wait.recv().expect("the thread that waits")
    });
    let output = output.expect("its end");
    let status = output.status;
    Did { code: status.code(), signal: status.signal(), out: output.stdout, err: output.stderr }
}

fn seal(command: Command, options: Options) -> Result<Factory, Error> {
    let mut builder = Factory::builder(command);
    builder.options(options);
    builder.seal()
}

/// All ways in which products are made, one after the other.
fn next_options(ready: Ready) -> Options {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    let pool = if next & 1 == 0 { Pool::default() } else { Pool::of(2) };
    Options { ready: Some(ready), opaque: next & 2 == 0, frozen: next & 4 == 0, pool, ..Options::default() }
}

fn shown(options: &Options) -> String {
    let Options { opaque, frozen, pool, .. } = options;
    format!("opaque {opaque}, frozen {frozen}, pool of {}", pool.size)
}
