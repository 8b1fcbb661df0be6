//! The process that spawns while its tracer makes calls fail: it does one round for each order, and tells how it went.

use std::os::fd::AsFd;

use beget::Command;
use beget_tests::tracer::say;

use crate::cases;
use crate::state::State;

/// The tracer's answer that ends the driver.
pub const STOP: i64 = 1;
/// The tracer's answer that wants a command without anything prepared.
pub const ANEW: i64 = 2;

/// Runs rounds of the command `case` until told to stop; `warm` when there was a spawn before the first.
pub fn drive(case: &str, warm: bool) {
    let (mut command, _held) = cases::command(case);
    if warm {
        // What the library keeps for the next spawn is there from here on.
        drop(once(&mut command));
    }
    loop {
        let order = say("ready");
        // What a prepared command keeps open is its own, and goes when a setter makes it forget.
        let forget = |command: &mut Command| {
            if order == ANEW {
                command.umask(0o22);
            }
        };
        if order == STOP {
            return;
        }
        forget(&mut command);
        let before = State::take();
        let told = once(&mut command);
        forget(&mut command);
        let changes = before.difference(&State::take()).join("; ");
        say(&format!("{told}\t{changes}"));
    }
}

/// One spawn, as a line: how it ended, or the error's part, fault, errno and sentence.
fn once(command: &mut Command) -> String {
    say("spawning");
    let spawned = command.spawn();
    say("spawned");
    match spawned {
        Ok(mut child) => {
            assert!(ends_in_time(child.as_fd()), "the child ends in time");
            match child.wait() {
                Ok(ended) => format!("ended\t{}\t\t", ended.status),
                Err(error) => format!("lost\t{error}\t\t"),
            }
        }
        Err(error) => {
            format!("error\t{}\t{:?} {:?}\t{error}", error.part(), error.fault(), error.errno())
        }
    }
}

/// Waits for the end of a child, but not for ever.
fn ends_in_time(pidfd: std::os::fd::BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    let mut watched = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one live entry.
    unsafe { libc::poll(&raw mut watched, 1, 60_000) == 1 }
}
