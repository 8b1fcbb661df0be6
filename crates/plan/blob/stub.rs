//! The stub's entry: from the stack that the kernel made to the role that its first argument names. See `src/stub/mod.rs`.
//!
//! Safety idea: one entry, which reads what the kernel wrote and turns it into slices; everything else is the library's.

#![no_std]
#![no_main]

use core::ffi::CStr;

use beget_plan::stub::{self, Start, WORKPLACE};

mod support;

/// The first byte of the stub's code.
///
/// # Safety
/// The kernel enters here, and nobody else.
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".head.text")]
unsafe extern "C" fn _start() -> ! {
    core::arch::naked_asm!(
        "mov rdi, rsp",
        "lea rsi, [rip + WORKPLACE_BEGINS]",
        "lea rdx, [rip + _start]",
        // The stub's own stack is at the end of its workplace: the kernel's is the program's.
        "lea rsp, [rsi + {end}]",
        "xor ebp, ebp",
        "call {run}",
        "ud2",
        end = const stub::stack_in(WORKPLACE).0,
        run = sym run,
    )
}

/// # Safety
/// `first` must be the stack pointer as the kernel left it; the workplace must be as the linker laid it out.
unsafe extern "C" fn run(first: *const u64, workplace: *mut u64, code: *const u8) -> ! {
    // SAFETY: the kernel laid out argc, the arguments, a null, the environment, a null, and pairs that end in one whose key is 0.
    let (role, auxiliary) = unsafe {
        let count = *first as usize;
        let role = if count == 0 { c"" } else { CStr::from_ptr(*first.add(1) as *const _) };
        let mut next = first.add(count + 2);
        while *next != 0 {
            next = next.add(1);
        }
        let pairs = next.add(1).cast::<[u64; 2]>();
        let mut length = 1;
        while (*pairs.add(length - 1))[0] != 0 {
            length += 1;
        }
        (role, core::slice::from_raw_parts(pairs, length))
    };
    let begin = code as usize & !0xfff;
    let start = Start { role, auxiliary, home: (begin, workplace as usize + WORKPLACE - begin) };
    // SAFETY: zeroed by the kernel, and used by nobody else, but for the stack at its end.
    let workplace = unsafe { core::slice::from_raw_parts_mut(workplace, stub::stack_in(WORKPLACE).1 / 8) };
    // SAFETY: the kernel has just made this process's memory, for this program.
    unsafe { stub::play(&start, workplace) }
}
