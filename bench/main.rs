//! What births cost, beside the peers, on one machine in one run: `cargo run --release -p beget-bench`.

mod machine;
mod measure;
mod options;
mod report;
mod subjects;
mod ways;

use std::process::ExitCode;

use options::Options;
use report::Report;
use ways::Programs;

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(Some(options)) => options,
        Ok(None) => {
            print!("{}", options::HELP);
            return ExitCode::SUCCESS;
        }
        Err(message) => {
            eprintln!("beget-bench: {message}");
            return ExitCode::from(2);
        }
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("beget-bench: {message}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    if cfg!(debug_assertions) {
        eprintln!("beget-bench: this is not a release build; its figures mean little");
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
    print!("{}", report.text(false));
    let save = |path: &std::path::Path, text: String| {
        std::fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
    };
    if let Some(path) = &options.json {
        save(path, format!("{:#}\n", report.json()))?;
    }
    if let Some(path) = &options.write {
        save(path, report.text(true))?;
    }
    Ok(())
}
