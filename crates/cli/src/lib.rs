//! The command line.
//!
//! Exit codes: the program's own; 125 when Beget failed, 126 when the program was found and cannot be run, 127 when it was not
//! found, 128+N when it died of signal N. Messages go to standard error, in lower case, `beget: ` first.

#![forbid(unsafe_code)]

mod check;
mod commands;
mod completions;
mod domains;
mod factory;
mod flags;
mod help;
mod options;
mod pages;
mod parse;
mod profiles;
mod relay;
mod run;
mod serve;
mod show;
mod signals;
mod terminal;
mod top;
mod tree;
mod units;

use std::ffi::OsString;
use std::io::Write;
use std::os::fd::AsFd;

pub use pages::{Page, pages};

/// The exit code of Beget's own failures.
const FAILED: u8 = 125;

/// Runs the command line of this process and gives its exit code.
#[must_use]
pub fn main() -> u8 {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    if let Some(code) = beget_bench::part(&arguments) {
        return code;
    }
    match prepare().and_then(|()| commands::dispatch(&arguments)) {
        Ok(code) => code,
        Err((message, code)) => {
            say(&message);
            code
        }
    }
}

/// Says what is wrong, and shows the line of a file that it is about.
fn say_wrong(wrong: &parse::Wrong) -> u8 {
    say(&wrong.message);
    let _ = std::io::stderr().write_all(wrong.excerpt.as_bytes());
    FAILED
}

/// What a runtime would have done, done here so that the binary can do without one: standard streams that are closed become
/// `/dev/null`, or what we open would take their place; a reader that left is an error, not a signal.
fn prepare() -> Result<(), (String, u8)> {
    const SIGPIPE: i32 = 13;
    let failed = |part: &str, words: String| (format!("{part}: {words}"), FAILED);
    beget_sys::signal::ignore(SIGPIPE).map_err(|errno| failed("signals", errno.to_string()))?;
    let (input, output, error) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
    for stream in [input.as_fd(), output.as_fd(), error.as_fd()] {
        if rustix::io::fcntl_getfd(stream) == Err(rustix::io::Errno::BADF) {
            // The lowest free number is the closed stream's own.
            let null = rustix::fs::open("/dev/null", rustix::fs::OFlags::RDWR, rustix::fs::Mode::empty());
            std::mem::forget(null.map_err(|errno| failed("/dev/null", errno.to_string()))?);
        }
    }
    Ok(())
}

/// Writes a message in one line, whatever the names in it hold: a line's end or a terminal's command in one of them is shown, not
/// obeyed. A message that cannot be written is lost; the exit code is not.
fn say(message: &str) {
    let _ = std::io::stderr().write_all(format!("beget: {}\n", plain(message)).as_bytes());
}

/// The text with control characters written out.
fn plain(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for letter in text.chars() {
        // What ends a line, or turns the rest of it around, to some reader.
        let turns = matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        if letter.is_control() || turns { line.extend(letter.escape_default()) } else { line.push(letter) }
    }
    line
}

/// Writes what was asked for. A reader that left early, such as `head`, is no failure.
fn tell(text: &str) -> Result<u8, (String, u8)> {
    let mut output = std::io::stdout();
    match output.write_all(text.as_bytes()).and_then(|()| output.flush()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let words =
                error.raw_os_error().map_or(error.to_string(), |number| beget_sys::Errno(number).to_string());
            Err((format!("standard output: {words}"), FAILED))
        }
        _ => Ok(0),
    }
}
