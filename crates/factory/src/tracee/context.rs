//! What a stopped program goes on with: every register, its signal mask, its alternate stack; as the frame that `rt_sigreturn` takes.
//!
//! Safety idea: the frame is what the kernel itself would have put on a stack for a signal, at this moment; the kernel checks it again.

use beget_sys::trace::{self, General};

use super::{Tracee, failed};
use crate::Result;

/// Where in the frame the processor's extended state begins, which must lie at a multiple of 64.
const EXTENDED: usize = 448;
/// Where in the extended state software is told of its size.
const SOFTWARE: usize = 464;
const MAGIC: [u32; 2] = [0x4650_5853, 0x4650_5845];

/// All of a thread's state that a program can see in the processor.
#[derive(Debug)]
pub struct Context {
    pub(crate) registers: General,
    pub(crate) extended: Vec<u8>,
    pub(crate) mask: u64,
    /// `stack_t` of its alternate signal stack.
    pub(crate) stack: [u8; 24],
}

impl Context {
    /// That of a stopped process. `scratch` is 24 bytes of its memory that it does not need.
    ///
    /// # Errors
    /// Those of tracing.
    pub fn of(tracee: &mut Tracee, scratch: u64) -> Result<Context> {
        let number = tracee.number();
        let mut extended = vec![0; 64 << 10];
        let length = trace::extended_state(number, &mut extended);
        extended.truncate(length.map_err(|errno| failed("processor state", errno))?);
        let mask = trace::signal_mask(number).map_err(|errno| failed("signal mask", errno))?;
        tracee.call("alternate stack", beget_sys::nr::SIGALTSTACK, [0, scratch, 0, 0, 0, 0])?;
        let mut stack = [0; 24];
        tracee.read(scratch, &mut stack)?;
        Ok(Context { registers: tracee.registers, extended, mask, stack })
    }

    /// That which a frame in a process's memory holds, as [`frame`](Context::frame) has written it.
    pub(crate) fn read(tracee: &Tracee, at: u64) -> Result<Context> {
        let words = |first: u64, count: u64| (first..first + count).map(|index| tracee.word(at + index * 8));
        let mut stack = [0; 24];
        tracee.read(at + 16, &mut stack)?;
        let found = words(5, 19).collect::<Result<Vec<u64>>>()?;
        let Ok(
            [r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags, _],
        ) = <[u64; 19]>::try_from(found)
        else {
            return Err(failed("frame", beget_sys::Errno::EINVAL));
        };
        let registers = General {
            r8,
            r9,
            r10,
            r11,
            r12,
            r13,
            r14,
            r15,
            rdi,
            rsi,
            rbp,
            rbx,
            rdx,
            rax,
            rcx,
            rsp,
            rip,
            eflags,
            orig_rax: u64::MAX,
            // What no frame holds, the stub leaves alone.
            ..tracee.registers
        };
        let mask = tracee.word(at + 37 * 8)?;
        // Behind the first magic number, the size of all and the features.
        let length = tracee.word(at + (EXTENDED + SOFTWARE + 16) as u64)? & 0xffff_ffff;
        let mut extended = vec![0; length.min(64 << 10) as usize];
        tracee.read(at + EXTENDED as u64, &mut extended)?;
        // What the kernel has there where software is not told of sizes.
        let features = extended.get(SOFTWARE + 8..SOFTWARE + 16).map(<[u8]>::to_vec).unwrap_or_default();
        if let Some(place) = extended.get_mut(SOFTWARE..SOFTWARE + 48) {
            place.fill(0);
            place.iter_mut().zip(features).for_each(|(place, byte)| *place = byte);
        }
        Ok(Context { registers, extended, mask, stack })
    }

    /// How many bytes [`frame`](Context::frame) gives.
    #[must_use]
    pub fn frame_length(&self) -> usize {
        EXTENDED + self.extended.len() + 4
    }

    /// `struct ucontext` with the extended state behind it, for the address `at`, a multiple of 64.
    #[must_use]
    pub fn frame(&self, at: u64) -> Vec<u8> {
        /// There is extended state; `ss` is meant as it stands.
        const FLAGS: u64 = 1 | 2 | 4;
        const TRAP_FLAG: u64 = 0x100;
        let General { r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, .. } = self.registers;
        let General { rax, rcx, rsp, rip, eflags, cs, ss, .. } = self.registers;
        let selectors = cs & 0xffff | (ss & 0xffff) << 48;
        let mut words = vec![FLAGS, 0];
        words.extend(self.stack.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_ne_bytes)));
        words.extend([r8, r9, r10, r11, r12, r13, r14, r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip]);
        // Flags and selectors; an error, a trap, an old mask, an address: none; where the extended state is; eight words of nothing.
        words.extend([eflags & !TRAP_FLAG, selectors, 0, 0, 0, 0, at + EXTENDED as u64]);
        words.extend([0; 8]);
        words.push(self.mask);
        let mut frame: Vec<u8> = words.into_iter().flat_map(u64::to_ne_bytes).collect();
        frame.resize(EXTENDED, 0);
        frame.extend_from_slice(&self.extended);
        let length = self.extended.len() as u32;
        let [begin, end] = MAGIC;
        // The features that there are stand where the kernel has put them already.
        let features =
            frame.get(EXTENDED + SOFTWARE..EXTENDED + SOFTWARE + 8).map_or(vec![0; 8], <[u8]>::to_vec);
        let mut software = Vec::with_capacity(48);
        software.extend(begin.to_ne_bytes());
        software.extend((length + 4).to_ne_bytes());
        software.extend(features);
        software.extend(length.to_ne_bytes());
        software.resize(48, 0);
        if let Some(place) = frame.get_mut(EXTENDED + SOFTWARE..EXTENDED + SOFTWARE + 48) {
            place.copy_from_slice(&software);
        }
        frame.extend(end.to_ne_bytes());
        frame
    }
}
