//! Capabilities after birth: a child that runs already is sent one by name, asks for one, and does what it likes with its channel without
//! harm to its holder.

mod births;
mod clients;
mod hostile;
mod tasks;

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::OwnedFd;
use std::time::Duration;

use beget::{Command, Ended, Process, Stdio};
use beget_tests::program;

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);

/// The client of ours, with a channel, which may do nothing but what it is given.
fn client(words: &[&str]) -> Command {
    let mut command = Command::new(program("channel-client"));
    command.args(words).channel(true).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// The reading end of a pipe that holds `text` and nothing more.
fn holding(text: &str) -> OwnedFd {
    let (reading, mut writing) = std::io::pipe().expect("a pipe");
    writing.write_all(text.as_bytes()).expect("it holds more");
    reading.into()
}

fn end(process: &Process) -> Ended {
    process.wait_timeout(LONG).expect("a child can be waited for").expect("it ends")
}

/// The lines that a process writes.
fn lines(process: &mut Process) -> impl FnMut() -> String + use<> {
    let pipe = OwnedFd::from(process.stdout.take().expect("it is piped"));
    let mut lines = BufReader::new(File::from(pipe)).lines();
    move || lines.next().map_or(String::new(), |line| line.expect("it is text"))
}

/// Answers each question with a file that holds the name twice, and says what was asked.
fn answer(process: &Process, count: usize) -> Vec<String> {
    let one = |_| {
        let name = process.asked(LONG).expect("it has a channel").expect("it asks");
        process.send(&name, holding(&name.repeat(2))).expect("it reads");
        name
    };
    (0..count).map(one).collect()
}
