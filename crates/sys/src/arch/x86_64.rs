//! System calls on x86_64: number in `rax`, arguments in `rdi rsi rdx r10 r8 r9`, answer in `rax`; `rcx` and `r11` are lost.
//!
//! Safety idea: these are as unsafe as the call they make; every caller in this crate states why its call is sound.

use core::arch::asm;

use crate::{Errno, Result};

/// An answer between -4095 and -1 is an error number, anything else a value (`man 2 syscall`).
#[inline(always)]
fn answer(raw: isize) -> Result<usize> {
    if (-4095..0).contains(&raw) { Err(Errno(-raw as i32)) } else { Ok(raw as usize) }
}

macro_rules! calls {
    ($($name:ident($($argument:ident: $register:tt),*);)*) => {$(
        /// # Safety
        ///
        /// The caller answers for what this call does to memory and descriptors.
        #[inline(always)]
        pub(crate) unsafe fn $name(number: u32 $(, $argument: usize)*) -> Result<usize> {
            let raw: isize;
            // SAFETY: the instruction clobbers only what is named; the effect of the call is the caller's to answer for.
            unsafe {
                asm!(
                    "syscall",
                    inlateout("rax") number as usize => raw,
                    $(in($register) $argument,)*
                    lateout("rcx") _,
                    lateout("r11") _,
                    options(nostack, preserves_flags),
                );
            }
            answer(raw)
        }
    )*};
}

calls! {
    call0();
    call1(a: "rdi");
    call2(a: "rdi", b: "rsi");
    call3(a: "rdi", b: "rsi", c: "rdx");
    call4(a: "rdi", b: "rsi", c: "rdx", d: "r10");
    call5(a: "rdi", b: "rsi", c: "rdx", d: "r10", e: "r8");
    call6(a: "rdi", b: "rsi", c: "rdx", d: "r10", e: "r8", f: "r9");
}

/// Makes `clone` or `clone3` and, in the child, calls `entry(context)` on the stack that the call was given.
///
/// # Safety
///
/// The arguments must describe a child with a stack of its own, aligned to 16 bytes and large enough for `entry`. With
/// `CLONE_VM`, all that `entry` touches must outlive the child or its exec, and nobody else may touch it meanwhile.
#[inline(never)]
pub(crate) unsafe fn clone_onto(
    number: u32,
    arguments: [usize; 5],
    entry: extern "C" fn(*mut ()) -> !,
    context: *mut (),
) -> Result<usize> {
    let raw: isize;
    // SAFETY: the parent's registers are untouched but for the named ones; the child leaves this block only into `entry`, which
    // does not return, on its own stack, with the frame pointer cleared so that a backtrace ends there.
    unsafe {
        asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "ud2",
            "2:",
            inlateout("rax") number as usize => raw,
            in("rdi") arguments[0],
            in("rsi") arguments[1],
            in("rdx") arguments[2],
            in("r10") arguments[3],
            in("r8") arguments[4],
            in("r12") context,
            in("r13") entry,
            lateout("rcx") _,
            lateout("r11") _,
            options(nostack),
        );
    }
    answer(raw)
}

/// Executes what is no instruction: the kernel ends the process, whatever it blocks, ignores or may call.
pub(crate) fn fault() -> ! {
    // SAFETY: it goes no further, and changes nothing.
    unsafe { asm!("ud2", options(noreturn, nostack, nomem)) }
}
