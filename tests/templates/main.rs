//! Templates: unmodified programs, stopped where they are ready, and copied.

mod copies;

use std::time::Duration;

use beget::{Command, Grant, Nursery, Process, Template};
use beget_factory::tracee::Tracee;

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);

/// A template of this command, stopped at its entry; and its process.
fn at_entry(command: &mut Command) -> (Process, Template) {
    let nursery = Nursery::new().expect("a nursery");
    let (process, template) = command.nursery(&nursery).spawn_template().expect("a template");
    let entry = entry_of(process.id());
    let mut tracee = Tracee::seize(process).expect("it is traced");
    tracee.run_to(entry).expect("it gets to its entry");
    let planted = tracee.plant().expect("a stub");
    let process = tracee.serve(&planted).expect("it serves");
    (process, template)
}

fn entry_of(number: u32) -> u64 {
    const AT_ENTRY: u64 = 9;
    let bytes = std::fs::read(format!("/proc/{number}/auxv")).expect("its vector");
    let words: Vec<u64> = bytes.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    words.chunks(2).find(|pair| pair[0] == AT_ENTRY).expect("an entry")[1]
}

fn base(program: &str) -> Command {
    let mut command = Command::new(program);
    command.grant(Grant::Base);
    command
}
