//! The process that is copied while its tracer makes calls fail: one copy for each order, and how it went.

use beget::{Fork, Grant, Limit, Stdio};
use beget_tests::tracer::say;

use crate::state::State;

/// The tracer's answer that ends the driver.
pub(crate) const STOP: i64 = 1;
/// The tracer's answer that wants nothing prepared, as it always is here.
pub(crate) const ANEW: i64 = 2;

/// Makes copies while the tracer makes calls fail, until it is told to stop.
pub(crate) fn drive(name: &str) {
    let Some(case) = name.strip_prefix("failing ") else { return };
    let (_reader, writer) = std::io::pipe().expect("a pipe");
    loop {
        if say("ready") == STOP {
            return;
        }
        let before = State::take();
        let mut fork = Fork::new();
        match case {
            "ambient" => drop(fork.grant(Grant::Ambient)),
            _ => {
                fork.keep(&writer).grant(Grant::Base).stdout(Stdio::piped()).tell_refusals(true);
                fork.limit(Limit::Processors(1)).die_with_thread(true);
            }
        }
        say("spawning");
        let made = fork.spawn(|| 7);
        say("spawned");
        drop(fork);
        let told = match made.and_then(|mut process| process.wait()) {
            Ok(ended) => format!("ended\t{}\t\t", ended.status),
            Err(error) => {
                format!("error\t{}\t{:?} {:?}\t{error}", error.part(), error.fault(), error.errno())
            }
        };
        let changes = before.difference(&State::take()).join("; ");
        say(&format!("{told}\t{changes}"));
    }
}
