//! Templates: unmodified programs, stopped where they are ready, and copied.

mod arguments;
mod copies;
#[path = "../loader/fixtures.rs"]
mod fixtures;
mod hazards;
mod memory;
mod ready;
mod saved;
mod saved_state;
mod state;

use std::ffi::OsString;
use std::io::{PipeWriter, Read, Write};
use std::os::fd::AsFd;
use std::time::Duration;

use beget::{Command, Ended, Grant, Nursery, Process, Stdio, Template};
use beget_factory::tracee::Tracee;
use beget_factory::{Point, Ready};

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);

/// A template of this command, stopped at its entry; and its process.
fn at_entry(command: &mut Command) -> (Process, Template) {
    let nursery = Nursery::new().expect("a nursery");
    let (process, template) = command.nursery(&nursery).spawn_template().expect("a template");
    let mut tracee = Tracee::seize(process).expect("it is traced");
    tracee.run_until_ready(&Ready::Entry, LONG).expect("it gets to its entry");
    let planted = tracee.plant().expect("a stub");
    let process = tracee.serve(&planted).expect("it serves");
    (process, template)
}

/// A template, and all that keeps it.
struct Made {
    template: Template,
    point: Point,
    _process: Process,
    /// The other end of its standard input, which nobody writes to.
    _input: PipeWriter,
}

/// A template of this command, stopped where it is ready; or why there is none.
fn made(command: &mut Command, ready: &Ready, patience: Duration) -> beget_factory::Result<Made> {
    let nursery = Nursery::new().expect("a nursery");
    made_anywhere(command.nursery(&nursery), ready, patience)
}

/// The same in whatever nursery the command has it in.
fn made_anywhere(command: &mut Command, ready: &Ready, patience: Duration) -> beget_factory::Result<Made> {
    let (theirs, input) = std::io::pipe().expect("a pipe");
    command.stdin(Stdio::from(theirs)).stdout(Stdio::null()).stderr(Stdio::null());
    let (process, template) = command.spawn_template().expect("a template");
    let mut tracee = Tracee::seize(process).expect("it is traced");
    let point = tracee.run_until_ready(ready, patience)?;
    let planted = tracee.plant().expect("a stub");
    let process = tracee.serve(&planted).expect("it serves");
    Ok(Made { template, point, _process: process, _input: input })
}

/// Why none can be made.
fn refused(command: &mut Command, ready: &Ready, patience: Duration) -> String {
    made(command, ready, patience).err().expect("no template can be made").to_string()
}

/// What a program wrote, and how it ended.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    out: String,
    code: Option<i32>,
    signal: Option<i32>,
}

impl Made {
    /// A product that is given this at its standard input.
    fn run(&self, input: &str) -> Ran {
        self.run_with(input, None, None).expect("a product")
    }

    /// The same with arguments and an environment of its own.
    fn run_with(
        &self,
        input: &str,
        arguments: Option<&[OsString]>,
        environment: Option<&[(OsString, OsString)]>,
    ) -> beget_factory::Result<Ran> {
        let (theirs, mut feed) = std::io::pipe().expect("a pipe");
        let (mut output, writes) = std::io::pipe().expect("a pipe");
        feed.write_all(input.as_bytes()).expect("room");
        drop(feed);
        let mut part = self.template.first_part();
        part.grant(0, theirs.as_fd()).grant(1, writes.as_fd()).grant(2, writes.as_fd());
        let registers = self.point.rewrite(&mut part, arguments, environment)?;
        let process = self.template.start_with(part, &registers)?;
        drop((theirs, writes));
        Ok(finished(&process, &mut output))
    }
}

fn finished(process: &Process, output: &mut impl Read) -> Ran {
    let mut out = Vec::new();
    output.read_to_end(&mut out).expect("it writes");
    let Ended { status, .. } = process.wait_timeout(LONG).expect("it is waited for").expect("it ends");
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    Ran { out: String::from_utf8_lossy(&out).into_owned(), code: status.code(), signal }
}

/// The same program, started anew.
fn cold(command: &mut Command, input: &str) -> Ran {
    let (theirs, mut feed) = std::io::pipe().expect("a pipe");
    let (mut output, writes) = std::io::pipe().expect("a pipe");
    feed.write_all(input.as_bytes()).expect("room");
    drop(feed);
    let again = writes.try_clone().expect("a descriptor");
    command.stdin(Stdio::from(theirs)).stdout(Stdio::from(writes)).stderr(Stdio::from(again));
    let process = command.spawn().expect("it starts");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    finished(&process, &mut output)
}

fn base(program: &str) -> Command {
    let mut command = Command::new(program);
    command.grant(Grant::Base);
    command
}
