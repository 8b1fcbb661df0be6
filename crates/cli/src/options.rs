//! From arguments to what was asked for, and from that to a command of the library.

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use beget::{Command, DEFAULT_PATH, Grant, Limit, Promise, Stdio, Support};
use lexopt::Arg;
use rustix::fs::{Mode, OFlags};

use crate::flags::{self, FLAGS};
use crate::terminal::Terminal;

/// Where a granted descriptor comes from.
#[derive(Debug)]
pub(crate) enum FdSource {
    Number(i32),
    Path { path: PathBuf, writing: bool },
}

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) grants: Vec<Grant>,
    pub(crate) limits: Vec<Limit>,
    pub(crate) fds: Vec<(String, OsString, FdSource)>,
    pub(crate) environment: Vec<(OsString, OsString)>,
    pub(crate) directory: Option<PathBuf>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) only: bool,
    pub(crate) degraded: Vec<Promise>,
    pub(crate) support: Support,
    pub(crate) json: bool,
    pub(crate) program: Option<OsString>,
    pub(crate) arguments: Vec<OsString>,
}

pub(crate) enum Parsed {
    Help,
    Options(Box<Options>),
}

impl Options {
    fn new() -> Options {
        Options {
            grants: Vec::new(),
            limits: Vec::new(),
            fds: Vec::new(),
            environment: Vec::new(),
            directory: None,
            timeout: None,
            only: false,
            degraded: Vec::new(),
            support: Support::detect(),
            json: false,
            program: None,
            arguments: Vec::new(),
        }
    }

    /// Reads the arguments after the command's name. The first that is no flag is the program; what follows belongs to it.
    pub(crate) fn parse(command: flags::Command, arguments: &[OsString]) -> Result<Parsed, String> {
        let mut options = Options::new();
        let mut parser = lexopt::Parser::from_args(arguments);
        loop {
            let name = match parser.next().map_err(|error| error.to_string())? {
                None => break,
                Some(Arg::Short('h') | Arg::Long("help")) => return Ok(Parsed::Help),
                Some(Arg::Long(name)) => name.to_owned(),
                Some(Arg::Short(letter)) => {
                    return Err(format!("flag -{letter}: no such flag; see beget help"));
                }
                Some(Arg::Value(program)) => {
                    options.program = Some(program);
                    options.arguments = parser.raw_args().map_err(|error| error.to_string())?.collect();
                    break;
                }
            };
            let Some(flag) = FLAGS.iter().find(|flag| flag.name == name) else {
                return Err(format!("flag --{name}: no such flag{}", nearest(&name)));
            };
            let value = if flag.value.is_empty() {
                OsString::new()
            } else {
                parser.value().map_err(|_| format!("flag --{name}: wants {}", flag.value))?
            };
            let shown = value.clone();
            (flag.apply)(&mut options, value).map_err(|why| {
                format!("flag {}: {why}", format!("--{name} {}", shown.display()).trim_end())
            })?;
        }
        if options.program.is_none() && command == flags::Command::Run {
            return Err("program: no name was given; usage: beget run [FLAGS] -- PROGRAM [ARG...]".into());
        }
        Ok(Parsed::Options(Box::new(options)))
    }

    /// The command for the library. With a terminal the child is a job of ours, else it gets a session of its own.
    pub(crate) fn command(
        &mut self,
        program: &OsString,
        terminal: Option<&Terminal>,
    ) -> Result<Command, String> {
        let mut command = Command::new(program);
        if let Some(terminal) = terminal {
            command.process_group(0).foreground(terminal.foreground);
            if self.grants.contains(&Grant::Base) {
                command.grant(Grant::Terminal);
            }
        }
        command
            .args(&self.arguments)
            .env("PATH", DEFAULT_PATH)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .grants(self.grants.iter().cloned())
            .only(self.only)
            .support(self.support)
            .stdin(Stdio::inherit())
            .stdout(Stdio::inherit())
            .stderr(Stdio::inherit());
        for limit in &self.limits {
            command.limit(*limit);
        }
        for promise in &self.degraded {
            command.degrade(*promise);
        }
        if let Some(directory) = &self.directory {
            command.current_dir(directory);
        }
        for (name, words, source) in self.fds.drain(..) {
            let file = open(source).map_err(|why| format!("grant --fd {}: {why}", words.display()))?;
            command.slot(name, file);
        }
        Ok(command)
    }
}

fn open(source: FdSource) -> Result<OwnedFd, beget_sys::Errno> {
    match source {
        FdSource::Number(number) => beget_sys::descriptor::take_up(number),
        FdSource::Path { path, writing } => {
            let mode = if writing { OFlags::RDWR } else { OFlags::RDONLY };
            rustix::fs::open(path, mode | OFlags::CLOEXEC | OFlags::NOCTTY, Mode::empty())
                .map_err(|errno| beget_sys::Errno(errno.raw_os_error()))
        }
    }
}

/// `; did you mean --X?` for the flag that differs least, if it differs little.
fn nearest(name: &str) -> String {
    let best = FLAGS.iter().map(|flag| (distance(name, flag.name), flag.name)).min();
    match best {
        Some((distance, flag)) if distance <= 2 => format!("; did you mean --{flag}?"),
        _ => "; see beget help".to_owned(),
    }
}

/// How many letters must change to make one word the other (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let change = diagonal + usize::from(from != *to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
