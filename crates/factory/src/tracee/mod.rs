//! A process that is traced: stopped, looked into, and made to make calls of the system.
//!
//! Safety idea: it is killed when the thread that traces it ends or this is dropped, so none is left that was only half changed. Only a
//! program that was let go of, with the stub in it, lives on.

mod call;
mod context;
mod objects;
mod pause;
mod plant;
mod reach;
mod run;
mod sequence;
mod waits;

pub use context::Context;
pub use objects::Mapping;
pub(crate) use objects::{Object, Objects, key};
pub use plant::Planted;

use std::fs::File;
use std::os::unix::fs::FileExt;

use beget::Process;
use beget_sys::trace::{self, General, Stop, option};
use beget_sys::{Errno, wait};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use crate::{Error, Fault, Result};

/// A stopped process of another program, and the registers that it will go on with.
#[derive(Debug)]
pub struct Tracee {
    /// Taken when it is let go.
    process: Option<Process>,
    number: i32,
    /// Its memory, which can be written there even where it itself could not.
    memory: File,
    /// The registers that it was stopped with, and goes on with.
    pub registers: General,
    /// A `syscall` instruction in its memory.
    instruction: Option<u64>,
    /// It was continued from here, and is told so still.
    continued: bool,
    /// When it must be ready, and what was promised.
    deadline: Option<(Instant, Duration)>,
    /// It was interrupted, and has not stopped for that.
    interrupted: bool,
}

pub(crate) fn failed(step: &str, errno: Errno) -> Error {
    Error::kernel(format!("template: {step}"), errno, Fault::Kernel)
}

/// Opened by number, which is its own as long as it is traced.
fn memory_of(number: i32) -> Result<File> {
    let memory = File::options().read(true).write(true).open(format!("/proc/{number}/mem"));
    memory.map_err(|error| Error::io("template: its memory", error))
}

impl Tracee {
    /// Begins to trace a process that was stopped before its first instruction (a suspended [`Command`](beget::Command)'s), and leaves it
    /// there.
    ///
    /// # Errors
    /// Those of tracing: `EPERM` for a process that may not be looked into.
    pub fn seize(process: Process) -> Result<Tracee> {
        let number = process.id() as i32;
        let options = option::TELL_CALLS_APART | option::KILLED_WITH_TRACER | option::EXEC;
        trace::seize(number, options).map_err(|errno| failed("tracing", errno))?;
        let mut tracee = Tracee {
            process: Some(process),
            number,
            memory: memory_of(number)?,
            registers: General::default(),
            instruction: None,
            continued: false,
            deadline: None,
            interrupted: false,
        };
        // It may still be on its way out of its exec: its stop is to come then, and a call that it is made to make before would be lost in that.
        loop {
            let signal = match tracee.await_stop()? {
                Stop::Group(_) => break,
                Stop::Signal(signal) => signal,
                Stop::EXEC => {
                    tracee.memory = memory_of(number)?;
                    0
                }
                _ => 0,
            };
            trace::go_on(number, signal).map_err(|errno| failed("continuing", errno))?;
        }
        tracee.continue_group()?;
        tracee.refresh()?;
        Ok(tracee)
    }

    /// Ends the stop of its group, which keeps it where it is; it is told of that once more.
    fn continue_group(&mut self) -> Result<()> {
        const SIGCONT: i32 = 18;
        if let Some(process) = &self.process {
            wait::send_signal(process.as_fd(), SIGCONT).map_err(|errno| failed("continuing", errno))?;
            self.continued = true;
        }
        Ok(())
    }

    /// Its process number.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.number
    }

    /// Reads its registers anew, after a stop.
    ///
    /// # Errors
    /// Those of tracing.
    pub fn refresh(&mut self) -> Result<()> {
        self.registers = trace::registers(self.number()).map_err(|errno| failed("registers", errno))?;
        Ok(())
    }

    /// Reads its memory.
    ///
    /// # Errors
    /// Where there is none.
    pub fn read(&self, at: u64, bytes: &mut [u8]) -> Result<()> {
        self.memory.read_exact_at(bytes, at).map_err(|error| Error::io(format!("template: {at:#x}"), error))
    }

    /// Writes its memory, even where it could not itself.
    ///
    /// # Errors
    /// Where there is none.
    pub fn write(&self, at: u64, bytes: &[u8]) -> Result<()> {
        self.memory.write_all_at(bytes, at).map_err(|error| Error::io(format!("template: {at:#x}"), error))
    }

    /// The number of eight bytes at `at`.
    ///
    /// # Errors
    /// As for [`read`](Tracee::read).
    pub fn word(&self, at: u64) -> Result<u64> {
        let mut bytes = [0; 8];
        self.read(at, &mut bytes)?;
        Ok(u64::from_ne_bytes(bytes))
    }

    /// Lets it go on with its [`registers`](Tracee::registers), untraced, and gives its process.
    ///
    /// # Errors
    /// Those of tracing.
    pub fn let_go(mut self) -> Result<Process> {
        let number = self.number();
        trace::set_registers(number, &self.registers).map_err(|errno| failed("registers", errno))?;
        trace::detach(number, 0).map_err(|errno| failed("letting go", errno))?;
        self.process.take().ok_or_else(|| Error::new("template", "it was let go", Fault::Beget))
    }
}

impl Drop for Tracee {
    fn drop(&mut self) {
        if let Some(process) = &self.process {
            let _ = process.kill();
            // Our own tracee tells its end to us first.
            while matches!(trace::next_stop(self.number(), true), Ok(Some(stop)) if !matches!(stop, Stop::Exited(_) | Stop::Killed(_)))
            {
            }
        }
    }
}
