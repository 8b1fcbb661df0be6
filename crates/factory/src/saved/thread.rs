//! The state of a program's one thread: taken from a stopped process, and given to another.
//!
//! Safety idea: a state is numbers to the process that it is given to. The kernel looks at each as it would if the program had set it itself,
//! and which segments and rights the processor runs with is not taken from a file.

use beget_image::frozen::{Disposition, END, Thread};
use beget_sys::trace::{self, General};
use beget_sys::{Errno, nr};

use crate::tracee::{Context, Tracee};
use crate::{Error, Fault, Result};

use super::{SIGNALS, failed, refused};

const GET_THREAD_ADDRESS: u64 = 40;
const BYTES_OF_A_SET: u64 = 8;

/// What [`General`] is in a file.
fn words(general: &General) -> [u64; 27] {
    let General { r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, .. } = *general;
    let General { orig_rax, rip, cs, eflags, rsp, ss, fs_base, gs_base, ds, es, fs, gs, .. } = *general;
    [
        r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, cs, eflags,
        rsp, ss, fs_base, gs_base, ds, es, fs, gs,
    ]
}

/// The other way; segments are those of the process that it is for.
fn registers(words: &[u64; 27], own: &General) -> General {
    let [r15, r14, r13, r12, rbp, rbx, r11, r10, r9, r8, rax, rcx, rdx, rsi, rdi, orig_rax, rip, ..] = *words;
    let [.., eflags, rsp, _, fs_base, gs_base, _, _, _, _] = *words;
    let General { cs, ss, ds, es, fs, gs, .. } = *own;
    General {
        r15,
        r14,
        r13,
        r12,
        rbp,
        rbx,
        r11,
        r10,
        r9,
        r8,
        rax,
        rcx,
        rdx,
        rsi,
        rdi,
        orig_rax,
        rip,
        cs,
        eflags,
        rsp,
        ss,
        fs_base,
        gs_base,
        ds,
        es,
        fs,
        gs,
    }
}

/// That of a stopped process, or what a template's copies go on with. `scratch` is a page of its memory that it does not need.
pub(super) fn take(tracee: &mut Tracee, scratch: u64, ready: Option<Context>) -> Result<Thread> {
    /// The one segment of code of a 64-bit program.
    const CODE: u64 = 0x33;
    let number = tracee.number();
    let Context { registers: general, extended, mask, stack } = match ready {
        Some(context) => context,
        None => Context::of(tracee, scratch)?,
    };
    if general.cs & 0xffff != CODE || general.fs & 0xffff != 0 || general.gs & 0xffff != 0 {
        return Err(refused("thread", "it uses segments of the processor"));
    }
    let mut words_of_stack = [0; 3];
    for (word, bytes) in words_of_stack.iter_mut().zip(stack.as_chunks().0) {
        *word = u64::from_ne_bytes(*bytes);
    }
    let sequences = match trace::processor_note(number) {
        Ok((at, bytes, signature)) => [at, bytes.into(), signature.into()],
        // A kernel that does not tell: a program of today's C library has them, and would be without.
        Err(errno) => return Err(failed("restartable sequences", errno)),
    };
    tracee.call("place of its number", nr::PRCTL, [GET_THREAD_ADDRESS, scratch, 0, 0, 0, 0])?;
    let number_at = tracee.word(scratch)?;
    tracee.call("list of locks", nr::GET_ROBUST_LIST, [0, scratch, scratch + 8, 0, 0, 0])?;
    let locks = [tracee.word(scratch)?, tracee.word(scratch + 8)?];
    let own = number as u32;
    let holds = |at: u64| {
        let mut number = [0; 4];
        at != 0 && tracee.read(at, &mut number).is_ok() && u32::from_ne_bytes(number) == own
    };
    let base = general.fs_base;
    let mut numbers = [0; 2];
    if holds(number_at) {
        numbers[0] = number_at;
    } else if base != 0 && tracee.word(base).is_ok_and(|word| word == base) {
        // musl keeps it elsewhere than it told the kernel.
        let musl = base.wrapping_add(48);
        numbers[1] = if holds(musl) { musl } else { 0 };
    }
    let stack = words_of_stack;
    Ok(Thread { registers: words(&general), extended, mask, stack, number_at, numbers, locks, sequences })
}

/// What it does with signals, where that is not the default.
pub(super) fn take_signals(tracee: &mut Tracee, scratch: u64) -> Result<Vec<Disposition>> {
    let mut signals = Vec::new();
    for signal in SIGNALS {
        let arguments = [signal.into(), 0, scratch, BYTES_OF_A_SET, 0, 0];
        tracee.call("signals", nr::RT_SIGACTION, arguments)?;
        let mut action = [0; 4];
        for (word, at) in action.iter_mut().zip((scratch..).step_by(8)) {
            *word = tracee.word(at)?;
        }
        if action != [0; 4] {
            signals.push(Disposition { signal, action });
        }
    }
    Ok(signals)
}

/// What the kernel is told of the thread: calls that it makes itself, before it has its registers.
pub(super) fn give(
    tracee: &mut Tracee,
    scratch: u64,
    thread: &Thread,
    signals: &[Disposition],
) -> Result<()> {
    const NEVER_CHANGED: [u32; 2] = [9, 19];
    for one in signals.iter().filter(|one| !NEVER_CHANGED.contains(&one.signal)) {
        tracee.write(scratch, &one.action.map(u64::to_ne_bytes).concat())?;
        tracee.call("signals", nr::RT_SIGACTION, [one.signal.into(), scratch, 0, BYTES_OF_A_SET, 0, 0])?;
    }
    tracee.write(scratch, &thread.stack.map(u64::to_ne_bytes).concat())?;
    tracee.call("alternate stack", nr::SIGALTSTACK, [scratch, 0, 0, 0, 0, 0])?;
    if thread.number_at != 0 {
        tracee.call("place of its number", nr::SET_TID_ADDRESS, [thread.number_at, 0, 0, 0, 0, 0])?;
    }
    let [head, length] = thread.locks;
    if head != 0 {
        tracee.call("list of locks", nr::SET_ROBUST_LIST, [head, length, 0, 0, 0, 0])?;
    }
    let [area, bytes, signature] = thread.sequences;
    if area != 0 {
        // No sequence is under way: a stub that is interrupted must not be sent elsewhere by what lies there.
        const SEQUENCE: u64 = 8;
        let place =
            area.checked_add(SEQUENCE).ok_or_else(|| refused("thread", "its sequences lie nowhere"))?;
        tracee.write(place, &[0; 8])?;
        tracee.call("restartable sequences", nr::RSEQ, [area, bytes, 0, signature, 0, 0])?;
    }
    let own = (tracee.number() as u32).to_ne_bytes();
    for at in thread.numbers.into_iter().filter(|at| *at != 0) {
        tracee.write(at, &own)?;
    }
    Ok(())
}

/// What it goes on with; last, for every call needs registers.
pub(super) fn give_registers(tracee: &mut Tracee, thread: &Thread) -> Result<()> {
    let number = tracee.number();
    trace::set_extended_state(number, &thread.extended).map_err(|errno| failed("processor state", errno))?;
    let general = registers(&thread.registers, &tracee.registers);
    if general.rip >= END {
        return Err(refused("registers", "it would go on in the kernel's memory"));
    }
    trace::set_registers(number, &general).map_err(|errno| match errno {
        Errno::EIO | Errno::EINVAL => {
            Error::new("image: registers", "they are such as no program can have", Fault::NotRunnable)
        }
        errno => failed("registers", errno),
    })?;
    tracee.refresh()?;
    trace::set_signal_mask(number, thread.mask).map_err(|errno| failed("signal mask", errno))
}

/// The parts of the state that the processor keeps, as the kernel puts them into a state.
pub(super) fn features(extended: &[u8]) -> Option<u64> {
    const SOFTWARE: usize = 464;
    extended.get(SOFTWARE..SOFTWARE + 8)?.try_into().ok().map(u64::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_read_as_they_were_written_but_for_segments() {
        let numbers: [u64; 27] = std::array::from_fn(|index| index as u64 + 100);
        let own = General { cs: 1, ss: 2, ds: 3, es: 4, fs: 5, gs: 6, ..General::default() };
        let general = registers(&numbers, &own);
        assert_eq!((general.cs, general.ss, general.gs, general.r15), (1, 2, 6, 100));
        let mut meant = numbers;
        (meant[17], meant[20], meant[23], meant[24], meant[25], meant[26]) = (1, 2, 3, 4, 5, 6);
        assert_eq!(words(&general), meant);
    }
}
