//! The `beget` binary, as shipped: its whole code is this one call.

fn main() -> std::process::ExitCode {
    beget_cli::main().into()
}
