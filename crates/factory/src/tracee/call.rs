//! Calls of the system that a stopped program is made to make.
//!
//! Safety idea: meanwhile it takes no signal: what reaches it then is pending when the call is over, and not lost. Its registers and its mask are
//! then what they were, whatever the call answered.

use beget_sys::trace::{self, General, Stop};
use beget_sys::{Errno, nr};

use super::{Tracee, failed};
use crate::{Error, Fault, Result};

/// `SIGILL`, `SIGBUS`, `SIGFPE`, `SIGSEGV`.
const FAULTS: [i32; 4] = [4, 7, 8, 11];

impl Tracee {
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
        self.end_sequence()?;
        let number = self.number();
        let mask = trace::signal_mask(number).map_err(|errno| failed("signal mask", errno))?;
        trace::set_signal_mask(number, u64::MAX).map_err(|errno| failed("signal mask", errno))?;
        let answer = self.call_unsignalled(call, arguments);
        trace::set_signal_mask(number, mask).map_err(|errno| failed("signal mask", errno))?;
        answer
    }

    fn call_unsignalled(
        &mut self,
        call: u32,
        arguments: [u64; 6],
    ) -> Result<std::result::Result<u64, Errno>> {
        let at = self.instruction()?;
        let [rdi, rsi, rdx, r10, r8, r9] = arguments;
        let (rax, orig_rax) = (u64::from(call), u64::MAX);
        let registers = General { rip: at, rax, orig_rax, rdi, rsi, rdx, r10, r8, r9, ..self.registers };
        let number = self.number();
        trace::set_registers(number, &registers).map_err(|errno| failed("registers", errno))?;
        // To the entry of the call and to its end: a step would raise a signal, which, blocked, loses the program its handler.
        for _ in 0..2 {
            loop {
                trace::go_on_to_call(number, 0).map_err(|errno| failed("one call", errno))?;
                match self.await_stop()? {
                    Stop::Call => break,
                    // A signal that cannot be blocked: it would come again and again.
                    Stop::Signal(signal) if FAULTS.contains(&signal) => {
                        let words = format!("the program got signal {signal} where it was to make a call");
                        return Err(Error::new("template", words, Fault::NotRunnable));
                    }
                    // What it is told meanwhile is of stops that are over.
                    _ => {}
                }
            }
        }
        let after = trace::registers(number).map_err(|errno| failed("registers", errno))?;
        trace::set_registers(number, &self.registers).map_err(|errno| failed("registers", errno))?;
        let answer = after.rax as i64;
        let refused = (-4095..0).contains(&answer);
        Ok(if refused { Err(Errno(-answer as i32)) } else { Ok(after.rax) })
    }

    /// Has it make calls at this address, or wherever the kernel's page of calls is now: for memory that changes under them.
    pub(crate) fn call_from(&mut self, at: Option<u64>) {
        self.instruction = at;
    }

    /// Where a `syscall` instruction is in its memory: the kernel's own page of calls has some.
    fn instruction(&mut self) -> Result<u64> {
        if let Some(at) = self.instruction {
            return Ok(at);
        }
        for mapping in self.mappings()?.iter().filter(|mapping| mapping.path == "[vdso]") {
            let mut bytes = vec![0; (mapping.range.end - mapping.range.start) as usize];
            self.read(mapping.range.start, &mut bytes)?;
            if let Some(offset) = bytes.windows(2).position(|pair| pair == [0x0f, 0x05]) {
                let at = mapping.range.start + offset as u64;
                self.instruction = Some(at);
                return Ok(at);
            }
        }
        Err(Error::new("template", "no instruction to make calls with was found in it", Fault::NotRunnable))
    }

    /// What it does now, for a message: the call that it is in, or where it runs.
    pub(super) fn whereabouts(&self) -> String {
        let General { orig_rax, rip, rdi, .. } = self.registers;
        match u32::try_from(orig_rax).ok().and_then(nr::name) {
            Some(name) => format!("in the call {} of {rdi:#x}", name.to_lowercase()),
            None => format!("at {rip:#x}, in no call"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use beget::{Command, Grant, Stdio};
    use beget_sys::{nr, signal};

    use super::*;
    use crate::Ready;

    #[test]
    fn a_signal_that_comes_while_calls_are_made_reaches_the_program_afterwards() {
        let (theirs, _input) = std::io::pipe().expect("a pipe");
        let script = "trap 'exit 7' USR1; trap '' TRAP; kill -STOP $$; while :; do read line; done";
        let mut command = Command::new("/bin/sh");
        command.grant(Grant::Base).args(["-c", script]).stdin(Stdio::from(theirs));
        let (process, _template) = command.spawn_template().expect("a program");
        let mut tracee = Tracee::seize(process).expect("it is traced");
        tracee.run_until_ready(&Ready::Stop, Duration::from_secs(60)).expect("it stops itself");
        let (before, mask) = (tracee.registers, trace::signal_mask(tracee.number()).expect("a mask"));
        const SIGUSR1: i32 = 10;
        signal::kill(tracee.number(), SIGUSR1).expect("it is there");
        for _ in 0..100 {
            assert_eq!(
                tracee.call("its number", nr::GETPID, [0; 6]).expect("a call"),
                tracee.number() as u64
            );
        }
        assert_eq!(tracee.try_call(nr::CLOSE, [12_345, 0, 0, 0, 0, 0]).expect("a call"), Err(Errno::EBADF));
        assert_eq!(trace::registers(tracee.number()).expect("registers"), before);
        assert_eq!(trace::signal_mask(tracee.number()).expect("a mask"), mask);
        let mut process = tracee.let_go().expect("it goes on");
        assert_eq!(process.wait().expect("it ends").status.code(), Some(7));
    }
}
