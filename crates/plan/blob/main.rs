//! The freestanding interpreter. See `src/blob.rs` for its contract and `blob/link.ld` for what its link forbids.
//!
//! Safety idea: one entry, which turns six registers into slices and hands them to the same check and interpreter that the
//! library uses. There is no stack of its own, no data, no panic.

#![no_std]
#![no_main]

use beget_plan::{Engine, Plan, interpreter};

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
        Ok(plan) if plan.descriptors() <= count && plan.scratch() <= words => {
            // SAFETY: the caller says that this process is a newborn with memory of its own.
            let fault = unsafe { interpreter::run(&plan, descriptors, scratch) };
            u64::from(fault.op) << 32 | fault.errno.0 as u32 as u64
        }
        _ => u64::MAX,
    }
}

unsafe extern "C" {
    /// Defined nowhere: the link fails when the optimiser could not remove every path to a panic.
    safe fn BLOB_CONTAINS_A_REACHABLE_PANIC() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    BLOB_CONTAINS_A_REACHABLE_PANIC()
}
