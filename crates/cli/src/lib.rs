//! The command line.
//!
//! Exit codes: the program's own; 125 when Beget failed, 126 when the program was found and cannot be run, 127 when it was not
//! found, 128+N when it died of signal N. Messages go to standard error, in lower case, `beget: ` first.

#![forbid(unsafe_code)]

mod flags;
mod help;
mod options;
mod run;
mod show;
mod signals;
mod terminal;
mod tree;
mod units;

use std::ffi::OsString;
use std::process::ExitCode;

use options::Options;

/// The exit code of Beget's own failures.
const FAILED: u8 = 125;

/// Runs the command line of this process.
#[must_use]
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    ExitCode::from(match dispatch(&arguments) {
        Ok(code) => code,
        Err((message, code)) => {
            eprintln!("beget: {message}");
            code
        }
    })
}

fn dispatch(arguments: &[OsString]) -> Result<u8, (String, u8)> {
    let usage = |message: String| (message, FAILED);
    let (command, rest) = match arguments.split_first() {
        None => {
            print!("{}", help::overview());
            return Ok(FAILED);
        }
        Some((command, rest)) => (command.to_str().unwrap_or_default(), rest),
    };
    match command {
        "run" | "show" => {
            let command = if command == "run" { flags::Command::Run } else { flags::Command::Show };
            match Options::parse(command, rest).map_err(usage)? {
                options::Parsed::Help => {
                    print!("{}", help::page(command));
                    Ok(0)
                }
                options::Parsed::Options(options) => match command {
                    flags::Command::Run => run::run(*options),
                    flags::Command::Show => show::show(*options),
                },
            }
        }
        "help" | "--help" | "-h" => {
            print!("{}", help::overview());
            Ok(0)
        }
        "version" | "--version" | "-V" => {
            println!("beget {}", env!("CARGO_PKG_VERSION"));
            Ok(0)
        }
        other => {
            Err(usage(format!("command {other}: no such command; there are run, show, help and version")))
        }
    }
}
