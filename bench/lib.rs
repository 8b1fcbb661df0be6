//! Beget beside the other ways to make a process, on one machine in one run: `beget bench` and `beget compare`.
//!
//! Safety idea: `unsafe` is for the peers' own calls alone, and for numbers that the kernel is asked for; what is Beget's is
//! asked for as anybody would.

mod compare;
mod machine;
mod measure;
mod options;
pub mod report;
mod subjects;
mod ways;

pub use compare::{compare, part, ways as compared};
pub use options::{Options, Output};

use report::Report;
use ways::Programs;

/// The names that `--only` of `beget bench` takes, in the order in which they are measured.
#[must_use]
pub fn subjects() -> Vec<&'static str> {
    let mut names: Vec<&str> = subjects::ALL.iter().map(|(name, _)| *name).collect();
    names.dedup();
    names
}

/// Measures what births cost, and tells it: `beget bench`. The exit code is 0.
///
/// # Errors
///
/// One sentence when the programs that are started cannot be made, a subject cannot be measured, or an output cannot be written.
pub fn bench(options: &Options) -> Result<u8, String> {
    if options.list {
        write(&Output::Standard, &(subjects().join("\n") + "\n"))?;
        return Ok(0);
    }
    if cfg!(debug_assertions) {
        eprintln!("beget: this is no release build: its figures mean little");
    }
    if let Some(processor) = options.pin {
        machine::pin(processor)?;
    }
    let machine = machine::Machine::look(options.pin);
    let programs = Programs::build()?;
    let mut report = Report::default();
    for (name, subject) in subjects::ALL {
        if options.wants(name) {
            subject(options, &programs, &mut report)?;
        }
    }
    report.machine = machine.lines();
    let length = if options.quick { "quick: fewer rounds, wider ranges" } else { "whole" };
    report.machine.push(("run".to_owned(), length.to_owned()));
    report.machine.extend(programs.missing.iter().map(|why| ("missing".to_owned(), why.clone())));
    if options.json != Some(Output::Standard) {
        write(&Output::Standard, &report.text(false))?;
    }
    if let Some(output) = &options.json {
        write(output, &format!("{:#}\n", report.json()))?;
    }
    if let Some(path) = &options.html {
        write(&Output::File(path.clone()), &report.page().html())?;
    }
    Ok(0)
}

/// Writes a whole text. A reader of standard output that left early is no failure.
fn write(output: &Output, text: &str) -> Result<(), String> {
    use std::io::Write;
    let said = |error: std::io::Error| {
        error.raw_os_error().map_or(error.to_string(), |number| beget_sys::Errno(number).to_string())
    };
    match output {
        Output::File(path) => {
            std::fs::write(path, text).map_err(|error| format!("{}: {}", path.display(), said(error)))
        }
        Output::Standard => {
            let mut standard = std::io::stdout();
            match standard.write_all(text.as_bytes()).and_then(|()| standard.flush()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    Err(format!("standard output: {}", said(error)))
                }
                _ => Ok(()),
            }
        }
    }
}
