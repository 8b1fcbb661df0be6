//! A launcher for the corpus of ways out: makes a copy of itself with the attacker's grants, which executes its words' program.
//!
//! ```text
//! through-fork FOLDER PROGRAM ARGUMENT...
//! ```

use std::os::unix::process::CommandExt;
use std::process::Command;

use beget::{Fork, Grant, Stdio};

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [folder, program, rest @ ..] = &words[..] else { panic!("FOLDER PROGRAM ARGUMENT...") };
    let grants = [Grant::Base, Grant::Execute(program.into()), Grant::Write(folder.into())];
    let mut fork = Fork::new();
    fork.grants(grants).stdin(Stdio::inherit()).stdout(Stdio::inherit()).stderr(Stdio::inherit());
    let copy = fork.spawn(|| {
        // Of the memory, which the copy has, the new program gets nothing either.
        let error = Command::new(program).args(rest).env_clear().exec();
        eprintln!("through-fork: {program}: {error}");
        126
    });
    if let Err(error) = copy.and_then(|mut process| process.wait()) {
        eprintln!("through-fork: {error}");
        std::process::exit(1);
    }
}
