//! The freestanding interpreter. See `src/blob.rs` for its contract and `blob/blob.ld` for what its link forbids.
//!
//! Safety idea: one entry, which turns six registers into slices and hands them to the same check and interpreter that the
//! library uses. There is no stack of its own, no data, no panic.

#![no_std]
#![no_main]

use beget_plan::interpreter::{self, Bench, Outcome};
use beget_plan::memory::Home;
use beget_plan::{Engine, Plan};

mod support;

/// The first byte of the blob.
///
/// # Safety
/// As for [`run`].
#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".head.text")]
unsafe extern "C" fn _start() {
    core::arch::naked_asm!("jmp {run}", run = sym run)
}

/// # Safety
/// Each pointer must be valid for its length and used by nobody else; the process must be a newborn with memory of its own.
unsafe extern "C" fn run(
    plan: *const u8,
    length: usize,
    descriptors: *mut i32,
    count: usize,
    scratch: *mut u64,
    words: usize,
) -> u64 {
    // SAFETY: the caller answers for the three ranges.
    let (plan, descriptors, scratch) = unsafe {
        (
            core::slice::from_raw_parts(plan, length),
            core::slice::from_raw_parts_mut(descriptors, count),
            core::slice::from_raw_parts_mut(scratch, words),
        )
    };
    match Plan::check(plan, Engine::Fresh) {
        Ok(plan) if plan.descriptors() <= count && plan.scratch() <= words && plan.answer_bytes() == 0 => {
            let mut bench = Bench { descriptors, scratch, answer: &mut [], home: Home::NONE };
            // SAFETY: the caller says that this process is a newborn with memory of its own.
            match unsafe { interpreter::run(&plan, &mut bench) } {
                Outcome::Failed(fault) => u64::from(fault.op) << 32 | fault.errno.0 as u32 as u64,
                Outcome::Done | Outcome::Enter(..) | Outcome::Resume(_) => u64::MAX,
            }
        }
        _ => u64::MAX,
    }
}
