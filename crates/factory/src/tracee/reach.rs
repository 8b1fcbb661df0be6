//! Bringing a program to its ready point.
//!
//! Safety idea: it comes there with everything that it would have had without a tracer: its signals, its memory to the last byte, its
//! descriptors. If it does not, it is ended, and the error says what it did instead.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::run::{Came, Interrupts, Way};
use super::{Objects, Tracee};
use crate::arguments::Arguments;
use crate::ready::{Point, Ready};
use crate::{Error, Fault, Result};

/// More instructions than any start file has before it calls its C library.
const MOST_STEPS: u32 = 4096;

/// What a call answers that is made again (`ERESTARTSYS`).
const RESTARTS: u64 = -512i64 as u64;

/// What a call answers that was not made yet (`ENOSYS`); no wait for input ends so.
const ENTERS: u64 = -38i64 as u64;

fn refused(ready: &Ready, words: impl Into<String>) -> Error {
    Error::new(format!("template: ready point {ready}"), words, Fault::NotRunnable)
}

/// Whether a program waits for its standard input on its way to another ready point: it gets nowhere, for there is none yet.
struct Hunger {
    ready: Ready,
    /// What its standard input was to begin with. What it has put there itself may have something for it.
    input: Option<PathBuf>,
    since: Option<Instant>,
}

impl Hunger {
    fn of(tracee: &Tracee, ready: &Ready) -> Hunger {
        Hunger { ready: ready.clone(), input: tracee.input(), since: None }
    }

    fn look(&mut self, tracee: &Tracee) -> Result<()> {
        /// It may be interrupted by a signal yet.
        const LONG: Duration = Duration::from_secs(2);
        if !tracee.seems_to_read() || self.input.is_none() || tracee.input() != self.input {
            self.since = None;
        } else if self.since.get_or_insert_with(Instant::now).elapsed() > LONG {
            let words = "the program waits for its standard input, of which there is none before it is ready";
            return Err(refused(&self.ready, words));
        }
        Ok(())
    }
}

impl Tracee {
    /// Runs it until it is ready, at most `patience`.
    ///
    /// Its signals are delivered, but that none stops it; an exec is followed, and `stdin`, `stop` and `symbol` then mean the new program's.
    /// A `SIGTRAP` that is blocked or ignored where a breakpoint is met (`main`, `symbol`) gets its default disposition, and a child that the
    /// program creates on its way and that comes to the same place is ended by one, for the breakpoint is in its copy of the memory: then it is refused.
    ///
    /// # Errors
    /// A program that ends, is not ready in time, or waits for its input where that is not its ready point; one without that ready point. It has ended
    /// then.
    pub fn run_until_ready(&mut self, ready: &Ready, patience: Duration) -> Result<Point> {
        let now = Instant::now();
        // A time that cannot be told is for ever.
        self.deadline = now.checked_add(patience).map(|deadline| (deadline, patience));
        let reached = self.reach(ready);
        self.deadline = None;
        let point = reached.and_then(|()| {
            self.restart_call();
            Ok(Point { ready: ready.clone(), arguments: Arguments::of(self, ready)? })
        });
        if point.is_err()
            && let Some(process) = &self.process
        {
            let _ = process.kill();
        }
        point
    }

    fn reach(&mut self, ready: &Ready) -> Result<()> {
        let mut hunger = Hunger::of(self, ready);
        let hungry = &mut |tracee: &Tracee| hunger.look(tracee).map(|()| false);
        match ready {
            Ready::Entry => self.run_to_entry().map(drop),
            Ready::Main => {
                let objects = self.run_to_entry()?;
                let main = self.main(&objects)?;
                match self.run_until(main, hungry)? {
                    Came::There => Ok(()),
                    _ => Err(refused(ready, "the program executed another one before it")),
                }
            }
            // Not every kernel has it, and to stop at each call takes five times as long.
            Ready::Stdin => match std::fs::read(format!("/proc/{}/syscall", self.number())) {
                Ok(_) => self.run_to_wait(),
                Err(_) => self.run_to_wait_by_calls(),
            },
            Ready::Stop => loop {
                if self.go(Way::Free(None), hungry)? == Came::Stopped {
                    return Ok(());
                }
            },
            Ready::Symbol(name) => loop {
                // Libraries are mapped by then.
                let at = self.run_to_entry()?.function(name)?;
                let came = match at {
                    Some(at) => self.run_until(at, hungry)?,
                    None => self.run_to_exec(hungry).map_err(|error| {
                        refused(ready, format!("no program or library has a function of that name; {error}"))
                    })?,
                };
                if came == Came::There {
                    return Ok(());
                }
            },
        }
    }

    /// Runs it to its entry, where it and its libraries are mapped.
    fn run_to_entry(&mut self) -> Result<Objects> {
        let entry = self.objects()?.entry()?;
        self.run_to(entry)?;
        self.objects()
    }

    /// Where its `main` is, from its entry.
    fn main(&mut self, objects: &Objects) -> Result<u64> {
        let program = objects.program()?;
        let holds = |at: u64| {
            program.mappings.iter().any(|mapping| mapping.executable && mapping.range.contains(&at))
        };
        // The first that a program calls outside of itself is the C library's start, by its own link or by the loader that makes it;
        // and the first that it tells that is where `main` is. A program without a loader leaves itself for the kernel only.
        if objects.has_loader() {
            for _ in 0..MOST_STEPS {
                if !holds(self.registers.rip) {
                    break;
                }
                if self.go(Way::Step, &mut |_| Ok(false))? == Came::Exec {
                    break;
                }
            }
            if !holds(self.registers.rip) && holds(self.registers.rdi) {
                return Ok(self.registers.rdi);
            }
        }
        let found = objects.function_of(&program, "main");
        found.ok_or_else(|| refused(&Ready::Main, "the program calls no C library, and has no symbol `main`"))
    }

    /// Runs it to this address.
    ///
    /// # Errors
    /// One that ends, or executes another program.
    pub fn run_to(&mut self, at: u64) -> Result<()> {
        match self.run_until(at, &mut |_| Ok(false))? {
            Came::There => Ok(()),
            _ => {
                let words = format!("the program executed another one on its way to {at:#x}");
                Err(Error::new("template", words, Fault::NotRunnable))
            }
        }
    }

    /// The same, or to its next program.
    fn run_until(&mut self, at: u64, interrupts: &mut Interrupts<'_>) -> Result<Came> {
        const BREAKPOINT: [u8; 1] = [0xcc];
        let mut before = [0];
        self.read(at, &mut before)?;
        self.write(at, &BREAKPOINT)?;
        loop {
            let came = self.go(Way::Free(Some(at)), interrupts)?;
            match came {
                Came::There => {
                    self.write(at, &before)?;
                    self.registers.rip = at;
                    self.registers.orig_rax = u64::MAX;
                    return Ok(came);
                }
                Came::Exec => return Ok(came),
                Came::Stopped | Came::Interrupted => {}
            }
        }
    }

    /// Runs it to its first wait for its input.
    fn run_to_wait(&mut self) -> Result<()> {
        loop {
            let came = self.go(Way::Free(None), &mut |tracee| tracee.seems_to_wait())?;
            if came == Came::Interrupted && self.waits()? {
                return Ok(());
            }
        }
    }

    /// The same by every call that it makes: where it is about to wait, for there is nothing to read.
    fn run_to_wait_by_calls(&mut self) -> Result<()> {
        loop {
            if self.go(Way::Call, &mut |_| Ok(false))? != Came::There {
                continue;
            }
            if self.registers.rax == ENTERS && self.is_to_wait()? {
                // The call is not made, and the instruction is before it again.
                let entered = self.registers;
                self.registers.orig_rax = u64::MAX;
                while self.go(Way::Call, &mut |_| Ok(false))? != Came::There {}
                self.registers = entered;
                self.registers.rax = RESTARTS;
                return Ok(());
            }
        }
    }

    fn run_to_exec(&mut self, interrupts: &mut Interrupts<'_>) -> Result<Came> {
        loop {
            let came = self.go(Way::Free(None), interrupts)?;
            if came == Came::Exec {
                return Ok(came);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use beget::{Command, Grant, Stdio};

    use super::*;

    #[test]
    fn the_first_wait_for_input_is_the_same_one_by_every_call() {
        let mut found = Vec::new();
        for by_calls in [false, true] {
            let (theirs, _input) = std::io::pipe().expect("a pipe");
            let mut command = Command::new("/bin/sh");
            command.grant(Grant::Base).stdin(Stdio::from(theirs));
            let (process, _template) = command.spawn_template().expect("a program");
            let mut tracee = Tracee::seize(process).expect("it is traced");
            tracee.deadline = Some((Instant::now() + Duration::from_secs(60), Duration::from_secs(60)));
            if by_calls { tracee.run_to_wait_by_calls() } else { tracee.run_to_wait() }.expect("it waits");
            tracee.deadline = None;
            tracee.restart_call();
            let mut code = [0; 2];
            tracee.read(tracee.registers.rip, &mut code).expect("its code");
            assert_eq!(code, [0x0f, 0x05]);
            let registers = tracee.registers;
            found.push((
                registers.rax,
                registers.rdi,
                registers.rdx,
                registers.orig_rax,
                registers.rip & 0xfff,
            ));
        }
        assert_eq!(found[0], found[1]);
        assert_eq!(found[0].0, u64::from(beget_sys::nr::READ));
    }
}
