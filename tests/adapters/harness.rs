//! Products of an interpreter that has an adapter, made step by step: a template, and copies of it that are told a job each.
//!
//! What is asked for here is what a factory does; it is done with the parts, so that a failure says which.

use std::ffi::OsString;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use beget::{Command, Nursery, Process, Stdio, Template};
use beget_factory::adapter::{Adapter, Exchange, JOB};
use beget_factory::tracee::Tracee;
use beget_factory::{Error, Result};

/// More than anything here takes; a wait as long as this has failed.
pub const LONG: Duration = Duration::from_secs(60);

/// What a program wrote, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub out: String,
    pub told: String,
    pub code: Option<i32>,
    pub signal: Option<i32>,
}

/// A template of an interpreter, and what it was made from.
pub struct Interpreter<A> {
    adapter: A,
    template: Template,
    environment: Vec<(OsString, OsString)>,
    _process: Process,
    _input: PipeWriter,
}

/// A command that may have the interpreter's own flags, without the adapter's lines; made anew for each start.
pub type Make<'a> = &'a dyn Fn() -> Command;

impl<A: Adapter> Interpreter<A> {
    /// Makes it.
    pub fn new(adapter: A, command: Make<'_>) -> Result<Interpreter<A>> {
        let mut command = command();
        let nursery = Nursery::new()?;
        let (theirs, input) = std::io::pipe().expect("a pipe");
        let environment =
            command.get_envs().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        adapter.prepare(&mut command)?;
        command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::inherit());
        let (process, template) = command.nursery(&nursery).spawn_template()?;
        let mut tracee = Tracee::seize(process)?;
        tracee.run_until_ready(&adapter.ready(), LONG)?;
        let planted = tracee.plant()?;
        let process = tracee.serve(&planted)?;
        Ok(Interpreter { adapter, template, environment, _process: process, _input: input })
    }

    /// A product that is told its job, with these streams.
    pub fn start(
        &self,
        arguments: &[&str],
        more: &[(&str, &str)],
        streams: [&dyn AsFd; 3],
    ) -> Result<Process> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let mut environment = self.environment.clone();
        environment.extend(more.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))));
        let job = self.adapter.job(&arguments, &environment)?;
        let (exchange, theirs) = Exchange::begin(self.adapter.name(), &job)?;
        let mut part = self.template.first_part();
        for (slot, stream) in (0..).zip(streams) {
            part.grant(slot, stream.as_fd());
        }
        part.grant(JOB, theirs.as_fd());
        let mut process = self.template.start(part)?;
        drop(theirs);
        match exchange.finish(LONG) {
            Ok(()) => Ok(process),
            Err(error) => {
                process.kill()?;
                process.wait()?;
                Err(error)
            }
        }
    }

    /// The same, to its end.
    pub fn run(&self, arguments: &[&str], more: &[(&str, &str)], input: &[u8]) -> Ran {
        let streams = Streams::new(input);
        let process = self.start(arguments, more, streams.theirs());
        let process = process.unwrap_or_else(|error: Error| panic!("{arguments:?}: {error}"));
        streams.end(&process)
    }
}

/// The same program, started anew.
pub fn cold(command: Make<'_>, arguments: &[&str], more: &[(&str, &str)], input: &[u8]) -> Ran {
    let streams = Streams::new(input);
    let mut command = command();
    command.args(arguments).envs(more.iter().copied());
    let again = |stream: &dyn AsFd| Stdio::from(stream.as_fd().try_clone_to_owned().expect("a descriptor"));
    let [input, out, told] = streams.theirs();
    command.stdin(again(input)).stdout(again(out)).stderr(again(told));
    let process = command.spawn().expect("it starts");
    drop(command);
    streams.end(&process)
}

/// Standard streams of one child: files, which hold anything.
struct Streams([std::fs::File; 3]);

impl Streams {
    fn new(input: &[u8]) -> Streams {
        let memory = |name: &str| {
            let flags = rustix::fs::MemfdFlags::CLOEXEC;
            std::fs::File::from(rustix::fs::memfd_create(name, flags).expect("memory"))
        };
        let [mut given, out, told] = ["input", "output", "error"].map(memory);
        given.write_all(input).expect("memory can be written");
        std::io::Seek::rewind(&mut given).expect("a file");
        Streams([given, out, told])
    }

    fn theirs(&self) -> [&dyn AsFd; 3] {
        let [input, out, told] = &self.0;
        [input, out, told]
    }

    fn end(self, process: &Process) -> Ran {
        let ended = process.wait_timeout(LONG).expect("it is waited for").expect("it ends");
        let signal = std::os::unix::process::ExitStatusExt::signal(&ended.status);
        let [_, out, told] = self.0.map(|mut file| {
            let mut text = Vec::new();
            std::io::Seek::rewind(&mut file).expect("a file");
            file.read_to_end(&mut text).expect("a file");
            String::from_utf8_lossy(&text).into_owned()
        });
        Ran { out, told, code: ended.status.code(), signal }
    }
}

/// Addresses and times are no two programs' the same.
pub fn without_addresses(mut ran: Ran) -> Ran {
    for text in [&mut ran.out, &mut ran.told] {
        for start in ["0x", "started "] {
            let mut pieces = text.split(start);
            let mut clean = pieces.next().unwrap_or("").to_owned();
            for piece in pieces {
                clean.push_str(start);
                let digits = piece.find(|letter: char| !letter.is_ascii_hexdigit()).unwrap_or(piece.len());
                clean.push_str(if digits >= 8 { &piece[digits..] } else { piece });
            }
            *text = clean;
        }
    }
    ran
}
