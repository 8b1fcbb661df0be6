//! Letting a traced program go on, until something happens that matters to whoever traces it.
//!
//! Safety idea: what its tracer does not wait for reaches the program as it would without one. Only stops are passed by, for what is stopped
//! here would be stopped in every copy.

use std::time::{Duration, Instant};

use beget_sys::Errno;
use beget_sys::trace::{self, Stop};

use super::{Tracee, failed, memory_of};
use crate::{Error, Fault, Result};

const SIGTRAP: i32 = 5;
const SIGCHLD: i32 = 17;
const SIGCONT: i32 = 18;
const SIGSTOP: i32 = 19;

/// How it goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Freely, to the instruction that stands at this address for a breakpoint, if it comes there.
    Free(Option<u64>),
    /// To where it enters a call, or leaves one.
    Call,
    /// For one instruction.
    Step,
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Came {
    /// It made its step, is at its call, or met the breakpoint.
    There,
    /// `SIGSTOP` was about to stop it, and did not.
    Stopped,
    /// It executes another program, and is before its first instruction.
    Exec,
    /// It was interrupted, as was asked.
    Interrupted,
}

/// A look at it is taken when it has run this part of the time again that it ran before the last one, between these bounds.
const SHARE: u32 = 32;
const BOUNDS: [Duration; 2] = [Duration::from_micros(50), Duration::from_millis(10)];
/// How long an interrupted program may take to stop.
const TO_STOP: Duration = Duration::from_secs(1);

fn ended(how: &str) -> Error {
    Error::new("template", format!("the program {how} before it was ready"), Fault::NotRunnable)
}

impl Tracee {
    /// Waits for its next stop.
    ///
    /// # Errors
    /// One that ended; one that is not ready in time, which is ended.
    pub fn await_stop(&mut self) -> Result<Stop> {
        self.await_stop_or(&mut |_| Ok(false))
    }

    /// The same; `interrupts` is asked now and then whether to interrupt it.
    fn await_stop_or(&mut self, interrupts: &mut Interrupts<'_>) -> Result<Stop> {
        let begun = Instant::now();
        loop {
            // The kernel has no wait with a limit for this, and tells a descriptor of a process's end only.
            match trace::next_stop(self.number(), self.deadline.is_none()) {
                Ok(Some(Stop::Exited(code))) => return Err(ended(&format!("ended with {code}"))),
                Ok(Some(Stop::Killed(SIGTRAP))) => {
                    return Err(ended(
                        "was ended by signal 5, as by a breakpoint where another of its threads came first,",
                    ));
                }
                Ok(Some(Stop::Killed(signal))) => {
                    return Err(ended(&format!("was ended by signal {signal}")));
                }
                Ok(Some(stop)) => return Ok(stop),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(failed("waiting", errno)),
                Ok(None) => {
                    let Some((deadline, patience)) = self.deadline else { continue };
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Err(self.give_up(patience));
                    }
                    if !self.interrupted && interrupts(self)? {
                        self.interrupt()?;
                        continue;
                    }
                    let [least, most] = BOUNDS;
                    std::thread::sleep((begun.elapsed() / SHARE).clamp(least, most).min(left));
                }
            }
        }
    }

    fn interrupt(&mut self) -> Result<()> {
        trace::interrupt(self.number()).map_err(|errno| failed("interrupting", errno))?;
        self.interrupted = true;
        Ok(())
    }

    /// Ends one that is not ready in time, and says where it was.
    fn give_up(&mut self, patience: Duration) -> Error {
        let mut where_it_is = "nowhere to be seen".to_owned();
        self.deadline = Some((Instant::now() + TO_STOP, TO_STOP));
        if self.interrupt().is_ok() {
            let until = Instant::now() + TO_STOP;
            while Instant::now() < until {
                match trace::next_stop(self.number(), false) {
                    Ok(None) | Err(Errno::EINTR) => std::thread::sleep(BOUNDS[0]),
                    Ok(Some(Stop::Exited(_) | Stop::Killed(_))) | Err(_) => break,
                    Ok(Some(_)) => {
                        if self.refresh().is_ok() {
                            where_it_is = self.whereabouts();
                        }
                        break;
                    }
                }
            }
        }
        if let Some(process) = &self.process {
            let _ = process.kill();
        }
        let words = format!("the program is not ready after {patience:?}: it is {where_it_is}");
        Error::new("template", words, Fault::NotRunnable)
    }

    /// Whether what it is told is that a breakpoint has ended a child of its own: that has a copy of the memory.
    fn has_trapped_a_child(&self) -> bool {
        const KILLED: i32 = 2;
        const DUMPED: i32 = 3;
        matches!(trace::told_of_child(self.number()), Ok((KILLED | DUMPED, SIGTRAP)))
    }

    /// Lets it go on with its registers, and reads them when it stops. Its signals are delivered.
    pub(super) fn go(&mut self, way: Way, interrupts: &mut Interrupts<'_>) -> Result<Came> {
        let number = self.number();
        trace::set_registers(number, &self.registers).map_err(|errno| failed("registers", errno))?;
        let mut signal = 0;
        loop {
            let gone = match way {
                Way::Free(_) => trace::go_on(number, signal),
                Way::Call => trace::go_on_to_call(number, signal),
                Way::Step => trace::step(number, signal),
            };
            gone.map_err(|errno| failed("continuing", errno))?;
            signal = 0;
            let came = match self.await_stop_or(interrupts)? {
                Stop::EXEC => {
                    // It has other memory, and what was known of the old is not true of that.
                    self.memory = memory_of(number)?;
                    self.instruction = None;
                    Came::Exec
                }
                Stop::STOP if self.interrupted => {
                    self.interrupted = false;
                    Came::Interrupted
                }
                Stop::Group(_) => {
                    // It was stopped by what is no SIGSTOP, and has had its chance to do otherwise.
                    self.continue_group()?;
                    continue;
                }
                Stop::Call => Came::There,
                Stop::Signal(SIGSTOP) => Came::Stopped,
                Stop::Signal(SIGCONT) if self.continued => {
                    self.continued = false;
                    continue;
                }
                Stop::Signal(SIGTRAP) => {
                    self.refresh()?;
                    let there = match way {
                        Way::Step => true,
                        Way::Call => false,
                        Way::Free(at) => at.is_some_and(|at| self.registers.rip == at + 1),
                    };
                    if !there {
                        signal = SIGTRAP;
                        continue;
                    }
                    Came::There
                }
                Stop::Signal(SIGCHLD) if matches!(way, Way::Free(Some(_))) && self.has_trapped_a_child() => {
                    return Err(ended(
                        "had a child that came to the same place, and met the breakpoint there,",
                    ));
                }
                Stop::Signal(other) => {
                    signal = other;
                    continue;
                }
                _ => continue,
            };
            self.refresh()?;
            return Ok(came);
        }
    }
}

/// Says whether to interrupt it.
pub(super) type Interrupts<'a> = dyn FnMut(&Tracee) -> Result<bool> + 'a;
