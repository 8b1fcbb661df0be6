//! Stopping a template that serves, to look at it, and letting it serve on.
//!
//! Safety idea: whatever happens meanwhile, it is let go as it was: it is not this module's to end. Whoever asks it for a copy waits so long.

use std::os::fd::AsFd;

use beget::Process;
use beget_sys::trace::{self, General, Stop, option};
use beget_sys::wait;

use super::{Tracee, failed, memory_of};
use crate::Result;

impl Tracee {
    /// Stops it wherever its stub is. To be ended by [`resume`](Tracee::resume), by the same thread.
    pub(crate) fn pause(process: &Process) -> Result<Tracee> {
        const NOTHING: i32 = 0;
        let number = process.id() as i32;
        trace::seize(number, option::TELL_CALLS_APART).map_err(|errno| failed("tracing", errno))?;
        let mut tracee = Tracee {
            // Not this one's to end.
            process: None,
            number,
            memory: memory_of(number)?,
            registers: General::default(),
            instruction: None,
            continued: false,
            deadline: None,
            interrupted: false,
        };
        let stopped = tracee.stop_it().and_then(|()| {
            // Had it ended, its number could be another's by now.
            wait::send_signal(process.as_fd(), NOTHING).map_err(|errno| failed("tracing", errno))
        });
        match stopped {
            Ok(()) => Ok(tracee),
            Err(error) => {
                let _ = tracee.resume();
                Err(error)
            }
        }
    }

    fn stop_it(&mut self) -> Result<()> {
        trace::interrupt(self.number()).map_err(|errno| failed("interrupting", errno))?;
        while self.await_stop()? != Stop::STOP {
            trace::go_on(self.number(), 0).map_err(|errno| failed("continuing", errno))?;
        }
        self.refresh()?;
        self.restart_call();
        Ok(())
    }

    /// Lets it go on where it was stopped, untraced.
    pub(crate) fn resume(self) -> Result<()> {
        let number = self.number();
        let set = trace::set_registers(number, &self.registers);
        trace::detach(number, 0).and(set).map_err(|errno| failed("letting go", errno))
    }
}
