//! Runtime adapters: the products of an interpreter are as if each was started just now, and unlike each other.

mod harness;
mod perl;
mod python;

use beget::{Command, Grant};

fn base(program: &str) -> Command {
    let mut command = Command::new(program);
    command.grant(Grant::Base);
    command
}
