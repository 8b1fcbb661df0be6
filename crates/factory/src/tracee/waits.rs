//! Waiting for standard input: what call a program waits in, and whether a copy can wait in it again.
//!
//! Safety idea: what `/proc` tells of a running program is a hint, on which it is interrupted; whether it was there is then seen in its
//! registers. A wait that a copy would do for the template's input, not for its own, is refused.

use std::path::PathBuf;

use beget_sys::nr;
use beget_sys::trace::General;

use super::Tracee;
use crate::{Error, Fault, Result};

/// More descriptors than a program waits for.
const MOST_POLLED: u64 = 4096;
/// `POLLIN | POLLRDNORM`.
const READABLE: u16 = 0x41;
const ENTRY: usize = 8;

impl Tracee {
    /// Whether it waits for its standard input now, as far as `/proc` tells of a running program.
    ///
    /// # Errors
    /// A wait that no copy could go on with.
    pub(super) fn seems_to_wait(&self) -> Result<bool> {
        self.call_now().map_or(Ok(false), |(call, first, second)| self.waits_in(call, first, second))
    }

    /// Whether it is in a read of it now.
    pub(super) fn seems_to_read(&self) -> bool {
        matches!(self.call_now(), Some((nr::READ | nr::READV, 0, _)))
    }

    /// What its standard input is.
    pub(super) fn input(&self) -> Option<PathBuf> {
        std::fs::read_link(format!("/proc/{}/fd/0", self.number())).ok()
    }

    /// The call that it is in, and the first two arguments of that.
    fn call_now(&self) -> Option<(u32, u64, u64)> {
        let text = std::fs::read_to_string(format!("/proc/{}/syscall", self.number())).ok()?;
        let mut words = text.split_ascii_whitespace();
        // `running`, or -1 in no call.
        let call = words.next()?.parse().ok()?;
        let mut hex = || u64::from_str_radix(words.next()?.trim_start_matches("0x"), 16).ok();
        Some((call, hex()?, hex()?))
    }

    /// Whether the call that it enters is such a wait.
    pub(super) fn is_to_wait(&self) -> Result<bool> {
        let General { orig_rax, rdi, rsi, .. } = self.registers;
        u32::try_from(orig_rax).map_or(Ok(false), |call| self.waits_in(call, rdi, rsi))
    }

    /// Whether it was stopped in such a wait, which makes its call again when it goes on.
    pub(super) fn waits(&self) -> Result<bool> {
        let General { orig_rax, rdi, rsi, .. } = self.registers;
        let Ok(call) = u32::try_from(orig_rax) else { return Ok(false) };
        Ok(self.is_to_restart() && self.waits_in(call, rdi, rsi)?)
    }

    fn waits_in(&self, call: u32, first: u64, second: u64) -> Result<bool> {
        Ok(match call {
            nr::READ | nr::READV | nr::RECVFROM | nr::RECVMSG => first == 0,
            nr::POLL | nr::PPOLL => self.polls_input(first, second),
            nr::SELECT | nr::PSELECT6 => {
                let mut byte = [0];
                first > 0 && second != 0 && self.read(second, &mut byte).is_ok() && byte[0] & 1 == 1
            }
            nr::EPOLL_WAIT | nr::EPOLL_PWAIT | nr::EPOLL_PWAIT2 => {
                let about = std::fs::read_to_string(format!("/proc/{}/fdinfo/{first}", self.number()));
                let own = |line: &str| {
                    line.strip_prefix("tfd:")
                        .is_some_and(|rest| rest.split_ascii_whitespace().next() == Some("0"))
                };
                if about.is_ok_and(|text| text.lines().any(own)) {
                    let words = "the program waits for its standard input by epoll, where a copy would wait for the template's";
                    return Err(Error::new("template: ready point stdin", words, Fault::NotRunnable));
                }
                false
            }
            _ => false,
        })
    }

    /// Whether descriptor 0 is among those that are polled for reading.
    fn polls_input(&self, at: u64, count: u64) -> bool {
        let mut polled = vec![0; count.min(MOST_POLLED) as usize * ENTRY];
        self.read(at, &mut polled).is_ok()
            && polled.as_chunks::<ENTRY>().0.iter().any(|[a, b, c, d, low, high, ..]| {
                let (number, events) =
                    (i32::from_ne_bytes([*a, *b, *c, *d]), u16::from_ne_bytes([*low, *high]));
                number == 0 && events & READABLE != 0
            })
    }

    /// Whether it was stopped in a call that the kernel makes again.
    fn is_to_restart(&self) -> bool {
        // ERESTARTSYS, ERESTARTNOINTR, ERESTARTNOHAND, ERESTART_RESTARTBLOCK
        let General { orig_rax, rax, .. } = self.registers;
        orig_rax as i64 >= 0 && [-512, -513, -514, -516].contains(&(rax as i64))
    }

    /// Has it make the call again that it was stopped in, if any, from the beginning: what the kernel keeps to do so is not its copies'.
    pub(super) fn restart_call(&mut self) {
        /// Of a `syscall` instruction.
        const BYTES: u64 = 2;
        if self.is_to_restart() {
            self.registers.rax = self.registers.orig_rax;
            self.registers.rip -= BYTES;
        }
        self.registers.orig_rax = u64::MAX;
    }
}
