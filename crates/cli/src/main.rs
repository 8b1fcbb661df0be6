//! The `beget` binary; everything is in the library beside it, so that tests run the same code.

use std::process::ExitCode;

fn main() -> ExitCode {
    beget_cli::main()
}
