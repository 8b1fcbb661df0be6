//! The `beget` binary, as shipped: its whole code is this one call, and with glibc it is entered without Rust's own start, which would open
//! what is closed.

#![cfg_attr(target_env = "gnu", no_main)]

#[cfg(target_env = "gnu")]
#[unsafe(no_mangle)]
extern "C" fn main(_count: i32, _arguments: *const *const u8) -> i32 {
    beget_cli::main().into()
}

#[cfg(not(target_env = "gnu"))]
fn main() -> std::process::ExitCode {
    beget_cli::main().into()
}
