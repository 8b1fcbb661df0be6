//! Beget beside the other ways to make a process, on one machine in one run: `beget bench` and `beget compare`.
//!
//! Safety idea: `unsafe` is for the peers' own calls alone, and for numbers that the kernel is asked for; what is Beget's is
//! asked for as anybody would.

mod compare;
mod folder;
mod machine;
mod measure;
mod options;
pub mod report;
pub mod repository;
mod subjects;
mod ways;

pub use compare::{compare, ways as compared};
pub use options::{Options, Output};

use std::ffi::OsString;

use measure::run::{self, Slow};
use report::{Report, Results};
use ways::Programs;

/// Everything is set up and measured so often, for what differs from one to the next is uncertain.
const PASSES: usize = 2;

/// Whether the words of a command line make this program a part in what another has begun, a comparison or a run; then it plays that, before
/// anything else is opened or closed, and this is the exit code.
#[must_use]
pub fn part(words: &[OsString]) -> Option<u8> {
    compare::part(words).or_else(|| folder::part(words))
}

/// The names that `--only` of `beget bench` takes, in the order in which they are measured.
#[must_use]
pub fn subjects() -> Vec<&'static str> {
    subjects::about().map(|(name, _)| name).collect()
}

/// Measures what births cost, and tells it: `beget bench`. The exit code is 0, or 1 when a subject could not be measured.
///
/// # Errors
///
/// One sentence when the programs that are started cannot be made, results of an earlier run cannot be read, nobody has the name of one
/// that is to be slowed down, or an output cannot be written.
pub fn bench(options: &Options) -> Result<u8, String> {
    if options.list {
        let line = |(name, about): (&str, &str)| format!("{name:<11}{about}\n");
        write(&Output::Standard, &subjects::about().map(line).collect::<String>())?;
        return Ok(0);
    }
    // Whatever can be wrong is found before minutes are spent.
    options.check_outputs()?;
    let root = if options.write { Some(repository::root()?) } else { None };
    let old = options.against.as_deref().map(earlier).transpose()?;
    if let Some(processor) = options.pin {
        machine::pin(processor)?;
    }
    if cfg!(debug_assertions) {
        eprintln!("beget: this is no release build: its figures mean little");
    }
    let (mut results, failed) = measured(options)?;
    let against = old.map(|old| results.against(&old));
    if let Some(told) = &against {
        results = results.with_against(told);
    }
    if options.json != Some(Output::Standard) {
        let against = against.as_ref().map_or(String::new(), |told| format!("\n{}", told.aligned()));
        write(&Output::Standard, &(results.text() + &against))?;
    }
    if let Some(output) = &options.json {
        write(output, &format!("{:#}\n", results.json()))?;
    }
    if let Some(path) = &options.html {
        write(&Output::File(path.clone()), &results.page(subjects::about(), against.as_ref()).html())?;
    }
    if let Some(root) = root {
        repository::write(&root, &results)?;
    }
    Ok(u8::from(failed))
}

fn earlier(path: &std::path::Path) -> Result<Results, String> {
    let said = |why: String| format!("flag --against {}: {why}", path.display());
    let text = std::fs::read_to_string(path).map_err(|error| said(words(&error)))?;
    Results::parse(&text).map_err(said)
}

/// Everything that is asked for, in passes; and whether a subject failed, which does not keep the others from being measured.
fn measured(options: &Options) -> Result<(Results, bool), String> {
    let machine = machine::Machine::look(options.pin);
    let programs = Programs::build()?;
    let asked: Vec<_> = subjects::ALL.iter().filter(|(name, _)| options.wants(name)).collect();
    let mut names: Vec<&str> = asked.iter().map(|(name, _)| *name).collect();
    names.dedup();
    let slow = options.slow.iter().map(|(name, by)| Slow::new(name, *by)).collect();
    run::begin("beget bench", PASSES, slow);
    let mut report = Report::default();
    let mut failed: Vec<(&str, String)> = Vec::new();
    for pass in 0..PASSES {
        // What the last one reports has the samples of all.
        report = Report::default();
        for (name, subject) in &asked {
            let place = names.iter().position(|one| one == name).unwrap_or(0);
            run::subject(pass, name, place + 1, names.len());
            if let Err(why) = subject(options, &programs, &mut report) {
                failed.push((name, why));
            }
            report.of_subject(name);
        }
        if let Some(name) = run::never_came() {
            return Err(format!("flag --slow {name}: nobody of this name was measured"));
        }
    }
    run::end();
    let missing = std::mem::take(&mut report.machine);
    report.machine = machine.lines();
    let length = if options.quick { "quick: fewer rounds, wider ranges" } else { "whole" };
    let mut line = |name: &str, value: String| report.machine.push((name.to_owned(), value));
    line("run", length.to_owned());
    for (name, by) in &options.slow {
        line("slowed down on purpose", format!("{name}, by {} us", by.as_micros()));
    }
    programs.missing.iter().for_each(|why| line("missing", why.clone()));
    failed.dedup();
    for (name, why) in &failed {
        eprintln!("beget: subject {name}: {why}");
        line("failed", format!("{name}: {why}"));
    }
    report.machine.extend(missing);
    Ok((report.results()?, !failed.is_empty()))
}

/// The kernel's own words, in lower case.
fn words(error: &std::io::Error) -> String {
    error.raw_os_error().map_or(error.to_string(), |number| beget_sys::Errno(number).to_string())
}

/// Writes a whole text. A reader of standard output that left early is no failure.
fn write(output: &Output, text: &str) -> Result<(), String> {
    use std::io::Write;
    match output {
        Output::File(path) => {
            std::fs::write(path, text).map_err(|error| format!("{}: {}", path.display(), words(&error)))
        }
        Output::Standard => {
            let mut standard = std::io::stdout();
            match standard.write_all(text.as_bytes()).and_then(|()| standard.flush()) {
                Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
                    Err(format!("standard output: {}", words(&error)))
                }
                _ => Ok(()),
            }
        }
    }
}
