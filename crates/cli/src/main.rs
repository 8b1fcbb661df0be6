//! The `beget` binary; everything is in the library beside it, so that tests run the same code.
//!
//! With glibc it is entered as C programs are, without Rust's own start: that reads `/proc/self/maps` and makes a signal stack for
//! a message on stack overflow, work that a short-lived launcher does without. The guard page is there all the same.
//!
//! Safety idea: the one name exported is C's `main`, with C's signature; glibc has told Rust the arguments before.

#![cfg_attr(target_env = "gnu", no_main)]

#[global_allocator]
static HEAP: beget_sys::heap::Heap = beget_sys::heap::Heap::new();

#[cfg(target_env = "gnu")]
#[unsafe(no_mangle)]
extern "C" fn main(_count: i32, _arguments: *const *const u8) -> i32 {
    beget_cli::main().into()
}

#[cfg(not(target_env = "gnu"))]
fn main() -> std::process::ExitCode {
    beget_cli::main().into()
}
