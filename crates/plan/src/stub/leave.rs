//! Leaving for a program in memory: the last thing an embryo's stub does is to take itself away.
//!
//! The instruction after `munmap` must not be in what was unmapped. The kernel maps a page of calls of its own into every process (the
//! vdso), and the functions there end, after a `syscall` instruction, in a few instructions that restore registers and return. What
//! the stub unmaps itself with is such an end, found by reading the page and understood before it is used.
//!
//! Safety idea: only instructions whose whole effect is known are accepted, and the stack that they will read is written beforehand; what
//! cannot be understood is not used, and without a way out nothing is begun.

use core::arch::asm;

use beget_sys::memory::{self, how};
use beget_sys::{Errno, Result, descriptor, nr, process, signal};

use super::Start;
use super::template::Passage;
use crate::op::{Register, Registers};

const SIGSTOP: i32 = 19;

/// The most words that a way out takes from the stack, the address that it returns to among them.
const MOST_WORDS: usize = 32;

/// The end of a function behind a `syscall` instruction: what it takes from the stack, and what it does to registers on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WayOut {
    /// Where the `syscall` instruction is, in bytes from the beginning of the page.
    pub at: usize,
    /// Words taken from the stack, with the address to return to, which is the last.
    words: usize,
    /// For each word, the register it goes to; [`NOWHERE`] for one that is passed over.
    into: [u8; MOST_WORDS],
    /// What `rbp` must hold on the way in, in bytes from the lowest word, when it is used.
    frame: Option<i32>,
}

const NOWHERE: u8 = 0xff;
const RBX: u8 = 3;
const RSP: u8 = 4;
const RBP: u8 = 5;
const R12: u8 = 12;
const R15: u8 = 15;

/// Finds a way out in the code of a page of calls.
#[must_use]
pub fn find(code: &[u8]) -> Option<WayOut> {
    code.windows(2)
        .enumerate()
        .find_map(|(at, pair)| if pair == [0x0f, 0x05] { understand(code.get(at + 2..)?, at) } else { None })
}

/// Follows the instructions behind a `syscall` to their `ret`.
fn understand(code: &[u8], at: usize) -> Option<WayOut> {
    let mut way = WayOut { at, words: 0, into: [NOWHERE; MOST_WORDS], frame: None };
    let mut code = code;
    // More instructions than any such end has.
    for _ in 0..48 {
        code = match code {
            // ret
            [0xc3, ..] => {
                way.words = way.words.checked_add(1).filter(|words| *words <= MOST_WORDS)?;
                return Some(way);
            }
            // pop r8 to r15
            [0x41, pop @ 0x58..=0x5f, rest @ ..] => {
                way.take(pop - 0x58 + 8)?;
                rest
            }
            // pop rax to rdi, but not into rsp
            [pop @ 0x58..=0x5f, rest @ ..] if *pop != 0x58 + RSP => {
                way.take(pop - 0x58)?;
                rest
            }
            // leave
            [0xc9, rest @ ..] => {
                way.unwind_to_frame(0)?;
                way.take(RBP)?;
                rest
            }
            // lea rsp, [rbp + d]
            [0x48, 0x8d, 0x65, d, rest @ ..] => {
                way.unwind_to_frame(i32::from(*d as i8))?;
                rest
            }
            // add rsp, d
            [0x48, 0x83, 0xc4, d, rest @ ..] => {
                if *d >= 0x80 || d % 8 != 0 {
                    return None;
                }
                for _ in 0..d / 8 {
                    way.take(NOWHERE)?;
                }
                rest
            }
            // xor of a register that a call may change with itself
            [0x45, 0x31, both, rest @ ..] if (0xc0..=0xff).contains(both) => {
                let (a, b) = (both & 7, both >> 3 & 7);
                // r8 to r11
                (a == b && a < 4).then_some(rest)?
            }
            [0x31, both, rest @ ..] if (0xc0..=0xff).contains(both) => {
                let (a, b) = (both & 7, both >> 3 & 7);
                (a == b && ![RBX, RSP, RBP].contains(&a)).then_some(rest)?
            }
            _ => return None,
        };
    }
    None
}

impl WayOut {
    fn take(&mut self, register: u8) -> Option<()> {
        // A register that is to survive is restored once.
        let twice = register != NOWHERE && self.into.get(..self.words)?.contains(&register);
        *self.into.get_mut(self.words)? = register;
        self.words += 1;
        // Its return address needs a place too.
        (!twice && self.words < MOST_WORDS).then_some(())
    }

    /// The stack pointer is taken from `rbp`, which the stub chooses: once, and not after it was restored.
    fn unwind_to_frame(&mut self, displacement: i32) -> Option<()> {
        let restored = self.into.get(..self.words)?.contains(&RBP);
        if self.frame.is_some() || restored {
            return None;
        }
        self.frame = Some((self.words as i32 * 8).checked_sub(displacement)?);
        Some(())
    }
}

/// What the stub must know to leave. It does not lie on the stack that the kernel made, which is the program's to overwrite.
#[derive(Clone, Copy, Debug)]
pub(super) struct Whereabouts {
    /// The kernel's page of calls.
    pub(super) calls: Option<&'static [u8]>,
    /// Where code and workplace lie: the first address, and bytes.
    pub(super) home: (usize, usize),
    /// The program around it, when there is one.
    pub(super) passage: Option<Passage>,
}

impl Whereabouts {
    pub(super) fn of(start: &Start) -> Whereabouts {
        Whereabouts { calls: page_of_calls(start), home: start.home, passage: None }
    }

    /// The addresses of what is left by.
    pub(super) fn way_out(&self) -> (usize, usize) {
        match (&self.passage, self.calls) {
            (Some(passage), _) => passage.range(),
            (None, Some(page)) => (page.as_ptr() as usize, page.as_ptr_range().end as usize),
            (None, None) => (0, 0),
        }
    }
}

/// The code of the kernel's page of calls in this process.
fn page_of_calls(start: &Start) -> Option<&'static [u8]> {
    const SYSINFO_EHDR: u64 = 33;
    let at = start.value(SYSINFO_EHDR)? as *const u8;
    // SAFETY: the kernel says that an ELF image of its own begins there; its first page is mapped, for reading, for ever.
    let head = unsafe { core::slice::from_raw_parts(at, memory::PAGE) };
    let number = |at: usize, size: usize| -> Option<usize> {
        let bytes = head.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let (table, count) = (number(32, 8)?, number(56, 2)?);
    for index in 0..count {
        let segment = table.checked_add(index.checked_mul(56)?)?;
        let (kind, flags, offset) = (number(segment, 4)?, number(segment + 4, 4)?, number(segment + 8, 8)?);
        let length = number(segment.checked_add(32)?, 8)?;
        if kind == 1 && flags & 1 == 1 && offset == 0 {
            // SAFETY: the image says that this much of it is loaded, from its beginning.
            return Some(unsafe { core::slice::from_raw_parts(at, length) });
        }
    }
    None
}

/// Puts a copy of the stub's code in the place of the file that it was executed from. As long as that is mapped the kernel lets nobody
/// say that the process is another program's.
///
/// # Safety
/// The home must be the stub's, with its workplace at the end.
pub(super) unsafe fn detach(from: &Whereabouts) -> Result<()> {
    let (at, length) = (from.home.0, from.home.1.checked_sub(super::WORKPLACE).ok_or(Errno::EINVAL)?);
    let (rights, flags) = (how::READ | how::WRITE, how::PRIVATE | how::ANONYMOUS);
    // SAFETY: new memory, wherever the kernel likes.
    let copy = unsafe { memory::map(0, length, rights, flags, -1, 0) }?;
    // SAFETY: both ranges are mapped, as long, and apart; the copy is ours alone until it takes the place of the very same bytes,
    // in which this code runs on.
    unsafe {
        core::ptr::copy_nonoverlapping(at as *const u8, copy as *mut u8, length);
        let done = memory::protect(copy, length, how::READ | how::EXECUTE)
            .and_then(|()| memory::move_to(copy, length, at));
        if done.is_err() {
            let _ = memory::unmap(copy, length);
        }
        done
    }
}

/// Takes the stub's memory away and enters the program. Comes back only when nothing was begun yet.
///
/// `before` is done when nothing can fail any more.
///
/// # Safety
/// The home must be all that the stub needs, and the program must be there.
pub(super) unsafe fn leave(
    from: &Whereabouts,
    registers: &Registers,
    floor: i32,
    stop: bool,
    before: impl FnOnce(),
) -> Result<core::convert::Infallible> {
    let page = from.calls.ok_or(Errno::ENOSYS)?;
    let way = find(page).ok_or(Errno::ENOSYS)?;
    let mut words = [0u64; MOST_WORDS];
    let last = way.words.checked_sub(1).ok_or(Errno::ENOSYS)?;
    for (word, register) in words.iter_mut().zip(way.into).take(last) {
        *word = match register {
            RBX => registers.rbx,
            RBP => registers.rbp,
            R12 => registers.r12,
            13 => registers.r13,
            14 => registers.r14,
            R15 => registers.r15,
            _ => 0,
        };
    }
    *words.get_mut(last).ok_or(Errno::ENOSYS)? = registers.instruction;
    let stack = registers.stack.checked_sub(way.words as u64 * 8).ok_or(Errno::EFAULT)?;
    let (home, end) = (from.home.0 as u64, from.home.0.saturating_add(from.home.1) as u64);
    if stack < end && home < registers.stack {
        // There will be no memory any more.
        return Err(Errno::EFAULT);
    }
    // The program's arguments may reach down to the lowest page that there is of its stack, which grows by this.
    for (index, word) in words.iter().take(way.words).enumerate() {
        // SAFETY: below the program's stack pointer nothing is in use; where there is no memory this fails.
        unsafe { memory::copy_to(stack as usize + index * 8, &word.to_ne_bytes()) }?;
    }
    let frame = match way.frame {
        Some(displacement) => stack.wrapping_add_signed(i64::from(displacement)),
        None => registers.rbp,
    };
    before();
    // SAFETY: what is the stub's, and its channel, is from `floor` on. From here on there is nobody to answer to.
    let _ = unsafe { descriptor::close_range(floor as u32, u32::MAX) };
    if stop {
        // To be looked at by a debugger before it begins.
        let _ = process::process().and_then(|own| signal::kill(own as i32, SIGSTOP));
    }
    let exit = page.as_ptr() as usize + way.at;
    let block = [registers.rbx, registers.r12, registers.r13, registers.r14, registers.r15];
    let (at, length) = from.home;
    // SAFETY: loads every register and jumps to the call that unmaps this code; the words it then takes from the stack were
    // written above, and its `ret` enters the program with the stack pointer that was asked for.
    unsafe {
        asm!(
            "mov rsp, r8",
            "mov rbp, r9",
            "mov r11, r10",
            "mov rbx, [rcx]",
            "mov r12, [rcx + 8]",
            "mov r13, [rcx + 16]",
            "mov r14, [rcx + 24]",
            "mov r15, [rcx + 32]",
            "xor r8d, r8d",
            "xor r9d, r9d",
            "xor r10d, r10d",
            "xor ecx, ecx",
            "cld",
            "jmp r11",
            in("rax") nr::MUNMAP as usize,
            in("rdi") at,
            in("rsi") length,
            in("rdx") 0usize,
            in("r8") stack,
            in("r9") frame,
            in("r10") exit,
            in("rcx") block.as_ptr(),
            options(noreturn),
        );
    }
}

/// Changes registers that the program will go on with: pairs of a number and a value.
///
/// # Safety
/// The passage must be that of the program around the stub, and its frame what nobody else looks at.
pub(super) unsafe fn change(passage: &Passage, changes: &[u8]) -> Result<()> {
    /// Flags, a link and an alternate stack come before them.
    const BEFORE: usize = 5;
    let (frame, (first, end)) = (passage.frame as usize, passage.range());
    let page = frame & !(memory::PAGE - 1);
    let registers = BEFORE + Register::COUNT as usize;
    let holds = page > first && frame + registers * size_of::<u64>() <= end;
    if changes.is_empty() {
        return Ok(());
    }
    if !holds {
        return Err(Errno::EINVAL);
    }
    let length = end - page;
    // SAFETY: pages of the frame alone, after those of the instructions that leave; the program never sees them.
    unsafe { memory::protect(page, length, how::READ | how::WRITE) }?;
    for pair in changes.as_chunks::<8>().0.as_chunks::<2>().0 {
        let [register, value] = pair.map(u64::from_ne_bytes);
        if register < Register::COUNT {
            // SAFETY: within the frame, which can be written, as was looked at above.
            unsafe { (frame as *mut u64).add(BEFORE + register as usize).write(value) };
        }
    }
    // SAFETY: as above.
    unsafe { memory::protect(page, length, how::READ) }
}

/// Takes the stub's memory away and goes on where the program around it was stopped.
///
/// # Safety
/// The passage must be that program's, and nothing that it returns to may have been changed.
pub(super) unsafe fn resume(from: &Whereabouts, passage: &Passage, floor: i32) -> ! {
    // SAFETY: what is the stub's, and its channel, is from `floor` on. From here on there is nobody to answer to.
    let _ = unsafe { descriptor::close_range(floor as u32, u32::MAX) };
    let (at, length) = from.home;
    // SAFETY: the instructions at the exit unmap this code and load every register from the frame, which no call changes.
    unsafe {
        asm!(
            "mov rsp, rcx",
            "jmp rax",
            in("rax") passage.exit,
            in("rcx") passage.frame,
            in("rdi") at,
            in("rsi") length,
            options(noreturn),
        );
    }
}
