//! Putting the stub beside a stopped program, and letting it serve.
//!
//! Safety idea: the program's own memory stays as it is. The stub lies in memory of its own that a copy gives up before it goes on; what
//! stays with a copy is one mapping that cannot be written, with two calls in it that any program may make.

use beget::Template;
use beget_plan::stub::template::{EXIT, PASSAGE, Passage};
use beget_plan::stub::{self, WORKPLACE, role};
use beget_sys::memory::{PAGE, how};
use beget_sys::{nr, trace};

use super::context::Context;
use super::{Tracee, failed};
use crate::Result;

/// Where in the lasting mapping each thing lies.
const RECORD: u64 = 64;
const ROLE: u64 = 192;
const STACK: u64 = 256;
/// On pages of its own: a copy changes registers there before it goes on, and code is never written.
const FRAME: u64 = PAGE as u64;

/// What was put into a template.
#[derive(Clone, Copy, Debug)]
pub struct Planted {
    /// The stub: first address, and bytes. Gone from every product.
    pub home: (u64, u64),
    /// What stays in every product: first address, and bytes.
    pub lasting: (u64, u64),
}

impl Planted {
    /// Where the frame is that copies go on with.
    pub(crate) fn frame(&self) -> u64 {
        self.lasting.0 + FRAME
    }

    /// The addresses of all that was put there.
    pub(crate) fn ranges(&self) -> Vec<std::ops::Range<u64>> {
        [self.home, self.lasting].map(|(at, length)| at..at + length).to_vec()
    }
}

impl Tracee {
    /// Maps memory that nobody has yet.
    fn map(&mut self, length: u64) -> Result<u64> {
        let (rights, flags) = ((how::READ | how::WRITE) as u64, (how::PRIVATE | how::ANONYMOUS) as u64);
        self.call("memory for the stub", nr::MMAP, [0, length, rights, flags, u64::MAX, 0])
    }

    /// Puts the stub beside it, so that copies go on where it is stopped now. It can be changed from outside until it is
    /// [let go](Tracee::serve).
    ///
    /// # Errors
    /// Memory that cannot be mapped in it, or not be made executable.
    pub fn plant(&mut self) -> Result<Planted> {
        let code = stub::code();
        let length = code.len().next_multiple_of(PAGE);
        let home = self.map((length + WORKPLACE) as u64)?;
        self.write(home, code)?;
        let executable = (how::READ | how::EXECUTE) as u64;
        self.call("code of the stub", nr::MPROTECT, [home, length as u64, executable, 0, 0, 0])?;
        // Any of it will do to ask things of the kernel in.
        let scratch = home + length as u64;
        let context = Context::of(self, scratch)?;
        let passage = self.passage(scratch)?;
        let bytes = (FRAME as usize + context.frame_length()).next_multiple_of(PAGE) as u64;
        let lasting = self.map(bytes)?;
        let passage = Passage { exit: lasting, frame: lasting + FRAME, lasting: [lasting, bytes], ..passage };
        self.write(scratch, &[0; 64])?;
        self.write(lasting, &EXIT)?;
        self.write(lasting + RECORD, &passage.encode())?;
        self.write(lasting + ROLE, role::TEMPLATE.to_bytes_with_nul())?;
        let stack = [1, lasting + ROLE, 0, 0, PASSAGE, lasting + RECORD, 0, 0];
        self.write(lasting + STACK, &stack.map(u64::to_ne_bytes).concat())?;
        self.write(lasting + FRAME, &context.frame(lasting + FRAME))?;
        self.call("way back", nr::MPROTECT, [lasting, FRAME, executable, 0, 0, 0])?;
        let readable = how::READ as u64;
        self.call("way back", nr::MPROTECT, [lasting + FRAME, bytes - FRAME, readable, 0, 0, 0])?;
        Ok(Planted { home: (home, (length + WORKPLACE) as u64), lasting: (lasting, bytes) })
    }

    /// What the stub must know of the program.
    fn passage(&mut self, scratch: u64) -> Result<Passage> {
        const GET_THREAD_ADDRESS: u64 = 40;
        let mut passage = Passage { channel: Template::CHANNEL as u64, ..Passage::default() };
        if self.try_call(nr::PRCTL, [GET_THREAD_ADDRESS, scratch, 0, 0, 0, 0])?.is_ok() {
            passage.thread_number = self.word(scratch)?;
        }
        let own = self.number() as u32;
        let holds = |tracee: &Tracee, at: u64| -> bool {
            let mut number = [0; 4];
            at != 0 && tracee.read(at, &mut number).is_ok() && u32::from_ne_bytes(number) == own
        };
        let base = self.registers.fs_base;
        if holds(self, passage.thread_number) {
            passage.set_number = 1;
        } else if base != 0 && self.word(base).is_ok_and(|word| word == base) && holds(self, base + 48) {
            // musl keeps it elsewhere than it told the kernel.
            passage.second_number = base + 48;
        }
        if self.try_call(nr::GET_ROBUST_LIST, [0, scratch, scratch + 8, 0, 0, 0])?.is_ok() {
            passage.locks = [self.word(scratch)?, self.word(scratch + 8)?];
        }
        Ok(passage)
    }

    /// Lets the stub serve: from now on the process is a template, which nobody traces.
    ///
    /// # Errors
    /// Those of tracing.
    pub fn serve(mut self, planted: &Planted) -> Result<beget::Process> {
        const SINGLE_STEP_OR_BACKWARDS: u64 = 0x500;
        let number = self.number();
        trace::set_signal_mask(number, u64::MAX).map_err(|errno| failed("signal mask", errno))?;
        let registers = &mut self.registers;
        (registers.rip, registers.rsp, registers.rbp) = (planted.home.0, planted.lasting.0 + STACK, 0);
        registers.orig_rax = u64::MAX;
        registers.eflags &= !SINGLE_STEP_OR_BACKWARDS;
        self.let_go()
    }
}
