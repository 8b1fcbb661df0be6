//! Sealed commands: opened once, spawned many times, each time with what somebody else asks for; and never with more than was sealed.

mod cold;
mod narrower;
mod opened;
mod refused;
mod warm;

use std::time::Duration;

use beget::{Command, Ended, Process, Sealed, Stdio, Variation};
use beget_tests::{program, text};

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);

/// A command for the probe.
fn probe(words: &[&str]) -> Command {
    let mut command = Command::new(program("probe"));
    command.args(words);
    command
}

fn sealed(command: Command) -> Sealed {
    command.seal().expect("it can be sealed")
}

/// What one spawn wrote to its standard output, and its exit code.
fn spawned(sealed: &Sealed, variation: &mut Variation) -> (Option<i32>, String) {
    let process = sealed.spawn(variation.stdout(Stdio::piped()), None).expect("spawn");
    let output = process.wait_with_output().expect("wait");
    (output.status.code(), text(&output.stdout))
}

fn fine(said: &str) -> (Option<i32>, String) {
    (Some(0), said.to_owned())
}

fn end(process: &Process) -> Ended {
    process.wait_timeout(LONG).expect("a child can be waited for").expect("it ends")
}
