//! A process that is traced: stopped, looked into, and made to make calls of the system.
//!
//! Safety idea: it is killed when the thread that traces it ends or this is dropped, so none is left that was only half changed. Only a
//! program that was let go of, with the stub in it, lives on.

mod context;
mod plant;

pub use context::Context;
pub use plant::Planted;

use std::fs::File;
use std::os::unix::fs::FileExt;

use beget::Process;
use beget_sys::trace::{self, General, Stop, option};
use beget_sys::{Errno, wait};
use std::os::fd::AsFd;

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
}

pub(crate) fn failed(step: &str, errno: Errno) -> Error {
    Error::kernel(format!("template: {step}"), errno, Fault::Kernel)
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
        // Opened by number, which is its own as long as it is traced.
        let memory = File::options().read(true).write(true).open(format!("/proc/{number}/mem"));
        let memory = memory.map_err(|error| Error::io("template: its memory", error))?;
        let mut tracee = Tracee {
            process: Some(process),
            number,
            memory,
            registers: General::default(),
            instruction: None,
        };
        tracee.await_stop()?;
        // The stop of its group ends, and it stays where it is; of both it will be told once more.
        const SIGCONT: i32 = 18;
        if let Some(process) = &tracee.process {
            wait::send_signal(process.as_fd(), SIGCONT).map_err(|errno| failed("continuing", errno))?;
        }
        tracee.refresh()?;
        Ok(tracee)
    }

    /// Its process number.
    #[must_use]
    pub fn number(&self) -> i32 {
        self.number
    }

    /// Waits for its next stop.
    ///
    /// # Errors
    /// One that ended.
    pub fn await_stop(&mut self) -> Result<Stop> {
        loop {
            match trace::next_stop(self.number(), true) {
                Ok(Some(Stop::Exited(code))) => {
                    let words = format!("the program ended with {code} before it was ready");
                    return Err(Error::new("template", words, Fault::NotRunnable));
                }
                Ok(Some(Stop::Killed(signal))) => {
                    let words = format!("the program was ended by signal {signal} before it was ready");
                    return Err(Error::new("template", words, Fault::NotRunnable));
                }
                Ok(Some(stop)) => return Ok(stop),
                Ok(None) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed("waiting", errno)),
            }
        }
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

    /// Has it make a call of the system, and gives what that answered. Its registers are then what they were.
    ///
    /// # Errors
    /// What the kernel answered to the call, told as `step`; a program without a `syscall` instruction.
    pub fn call(&mut self, step: &str, call: u32, arguments: [u64; 6]) -> Result<u64> {
        match self.try_call(call, arguments)? {
            Ok(value) => Ok(value),
            Err(errno) => Err(failed(step, errno)),
        }
    }

    /// The same, with the kernel's answer apart.
    ///
    /// # Errors
    /// Those of tracing.
    pub fn try_call(&mut self, call: u32, arguments: [u64; 6]) -> Result<std::result::Result<u64, Errno>> {
        let at = self.instruction()?;
        let [rdi, rsi, rdx, r10, r8, r9] = arguments;
        let registers = General {
            rip: at,
            rax: call.into(),
            orig_rax: u64::MAX,
            rdi,
            rsi,
            rdx,
            r10,
            r8,
            r9,
            ..self.registers
        };
        let number = self.number();
        trace::set_registers(number, &registers).map_err(|errno| failed("registers", errno))?;
        const TRAP: i32 = 5;
        loop {
            trace::step(number).map_err(|errno| failed("one step", errno))?;
            if self.await_stop()? == Stop::Signal(TRAP) {
                let after = trace::registers(number).map_err(|errno| failed("registers", errno))?;
                if after.rip == at + 2 {
                    trace::set_registers(number, &self.registers)
                        .map_err(|errno| failed("registers", errno))?;
                    let answer = after.rax as i64;
                    let refused = (-4095..0).contains(&answer);
                    return Ok(if refused { Err(Errno(-answer as i32)) } else { Ok(after.rax) });
                }
            }
        }
    }

    /// Where a `syscall` instruction is in its memory: the kernel's own page of calls has some.
    fn instruction(&mut self) -> Result<u64> {
        if let Some(at) = self.instruction {
            return Ok(at);
        }
        let maps = std::fs::read_to_string(format!("/proc/{}/maps", self.number()));
        let maps = maps.map_err(|error| Error::io("template: its maps", error))?;
        for line in maps.lines().filter(|line| line.ends_with("[vdso]")) {
            let range = line.split(' ').next().and_then(|range| range.split_once('-'));
            let Some((first, end)) = range else { continue };
            let number = |text| u64::from_str_radix(text, 16).unwrap_or(0);
            let mut bytes = vec![0; (number(end) - number(first)) as usize];
            self.read(number(first), &mut bytes)?;
            if let Some(offset) = bytes.windows(2).position(|pair| pair == [0x0f, 0x05]) {
                let at = number(first) + offset as u64;
                self.instruction = Some(at);
                return Ok(at);
            }
        }
        Err(Error::new("template", "no instruction to make calls with was found in it", Fault::NotRunnable))
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
