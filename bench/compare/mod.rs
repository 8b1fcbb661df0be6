//! `beget compare`: a process P holds A and B, and has a process C made that should hold A; each way to do that, really done and measured.
//!
//! ```text
//!  beget compare ─▶ a scene: a private folder with A and B
//!    │  for each way: a P of its own (this program again, `compare-parent`; for Python's ways a Python)
//!    │                  └─ C (this program again, `compare-child`): reads A, looks about, reports
//!    ├─ looked at: what C holds, how far it gets towards B, and the same with one step forgotten
//!    ├─ counted:   the system calls of one birth, by a tracer
//!    └─ timed:     all ways in rounds, interleaved
//! ```
//!
//! Safety idea: B is a file that was made for this and is worth nothing to anybody; everything that is made lies in one folder that goes away,
//! and every process ends when the one that began it closes its control.

mod answer;
mod child;
mod compared;
mod json;
mod mark;
mod order;
mod page;
mod parent;
mod player;
mod stage;
mod table;
mod tracer;
mod ways;

use std::ffi::OsString;
use std::io::IsTerminal;

use crate::machine::Machine;
use crate::options::{Options, Output};
use crate::write;
use compared::Compared;
use stage::Scene;
use ways::{Entry, WAYS};

/// The first word of a command line that makes this program a P.
const PARENT: &str = "compare-parent";
/// The one that makes it a C.
const CHILD: &str = "compare-child";

/// The names that `--only` of `beget compare` takes, in the order of the table.
#[must_use]
pub fn ways() -> Vec<&'static str> {
    WAYS.iter().map(|entry| entry.name).collect()
}

/// Plays a part in a comparison, if the words of a command line ask for that; what is given is the exit code.
pub(crate) fn part(words: &[OsString]) -> Option<u8> {
    let (first, rest) = words.split_first()?;
    match first.to_str()? {
        CHILD => Some(child::child(rest)),
        PARENT => Some(parent::parent(rest)),
        _ => None,
    }
}

/// Compares the ways to make a process, and tells it: `beget compare`. The exit code is 0, or 1 when a C of Beget's had B, did not have A, or
/// would have had B without anybody hearing of it.
///
/// What is installed is compared; what is not is told, with the reason.
///
/// # Errors
///
/// One sentence when the scene cannot be made, or an output cannot be written.
pub fn compare(options: &Options) -> Result<u8, String> {
    if options.list {
        let widest = WAYS.iter().map(|entry| entry.name.len()).max().unwrap_or(0);
        let line = |entry: &Entry| format!("{:widest$}  {}\n", entry.name, entry.title);
        write(&Output::Standard, &WAYS.iter().map(line).collect::<String>())?;
        return Ok(0);
    }
    options.check_outputs()?;
    if cfg!(debug_assertions) {
        eprintln!("beget: this is no release build: its times mean little");
    }
    let seconds = options.time(SECONDS);
    let wanted: Vec<&'static Entry> = WAYS.iter().filter(|entry| options.wants(entry.name)).collect();
    let machine = Machine::look(None);
    let scene = Scene::make()?;
    let mut answers = compared::look_at(&wanted, &scene)?;
    let floor = compared::time(&mut answers, &scene, seconds);
    drop(scene);
    let command = command(options);
    let compared = Compared { answers, floor, machine: machine.lines(), command };
    if options.json != Some(Output::Standard) {
        let style = table::Style { colour: coloured() };
        write(&Output::Standard, &table::text(&compared, style))?;
    }
    if let Some(output) = &options.json {
        write(output, &format!("{:#}\n", json::json(&compared)))?;
    }
    if let Some(path) = &options.html {
        write(&Output::File(path.clone()), &page::page(&compared).html())?;
        if options.json != Some(Output::Standard) {
            write(&Output::Standard, &format!("page: {}\n", path.display()))?;
        }
    }
    Ok(u8::from(compared.answers.iter().any(answer::Answer::is_breach)))
}

/// How long the ways are raced.
const SECONDS: f64 = 30.0;

/// The command line that makes the same comparison.
fn command(options: &Options) -> String {
    let mut words = vec!["beget compare".to_owned()];
    if options.quick {
        words.push("--quick".to_owned());
    }
    words.extend(options.only.iter().map(|name| format!("--only {name}")));
    words.join(" ")
}

fn coloured() -> bool {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
    std::io::stdout().is_terminal() && !plain && !dumb
}
