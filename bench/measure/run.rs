//! The run that races are a part of: its passes, whose samples are put together; who is slowed down on purpose; and what is shown while it goes
//! on.
//!
//! A run has two passes, each of which sets everything up anew: what depends on how memory happened to lie, or on the minute, then shows as
//! a range instead of as a figure that the next run contradicts.

use std::collections::HashMap;
use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::race::Series;

/// There is one at a time in a process, and none in most.
static RUN: Mutex<Option<Run>> = Mutex::new(None);

struct Run {
    passes: usize,
    pass: usize,
    kept: HashMap<String, Vec<Series>>,
    slow: Vec<Slow>,
    subject: String,
    began: Instant,
    name: &'static str,
    shown: bool,
}

/// Somebody whose every turn takes longer.
#[derive(Clone, Debug)]
pub struct Slow {
    /// The name of a way, as in its table.
    pub name: String,
    /// How much longer.
    pub by: Duration,
    met: bool,
}

impl Slow {
    /// Slows down the ways of this name.
    pub fn new(name: impl Into<String>, by: Duration) -> Slow {
        Slow { name: name.into(), by, met: false }
    }
}

fn run() -> MutexGuard<'static, Option<Run>> {
    RUN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Begins a run of so many passes; `name` stands before what is shown of it.
pub fn begin(name: &'static str, passes: usize, slow: Vec<Slow>) {
    *run() = Some(Run {
        passes,
        pass: 0,
        kept: HashMap::new(),
        slow,
        subject: String::new(),
        began: Instant::now(),
        name,
        shown: false,
    });
}

/// Says what comes next: a subject, in a pass, counted from 0.
pub fn subject(pass: usize, name: &str, place: usize, of: usize) {
    if let Some(run) = &mut *run() {
        run.pass = pass;
        run.subject = format!("{name} ({place} of {of})");
    }
}

/// Somebody who was to be slowed down, and did not come so far.
pub fn never_came() -> Option<String> {
    run().as_ref()?.slow.iter().find(|slow| !slow.met).map(|slow| slow.name.clone())
}

/// Ends the run.
pub fn end() {
    if run().take().is_some_and(|ended| ended.shown) && std::io::stderr().is_terminal() {
        let _ = std::io::stderr().write_all(b"\r\x1b[K");
    }
}

/// The part of a race's time that belongs to this pass.
pub(super) fn part(seconds: f64) -> f64 {
    run().as_ref().map_or(seconds, |run| seconds / run.passes as f64)
}

/// Waits as long as somebody of this name is slower, and says how long that was, in microseconds.
pub(super) fn delay(name: &str) -> f64 {
    let by = match &mut *run() {
        Some(run) => run.slow.iter_mut().find(|slow| slow.name == name).map(|slow| {
            slow.met = true;
            slow.by
        }),
        None => None,
    };
    let Some(by) = by else { return 0.0 };
    let begin = Instant::now();
    std::thread::sleep(by);
    begin.elapsed().as_secs_f64() * 1e6
}

/// What a race gave in this pass, after what it gave in those before.
pub fn with_earlier(title: &str, now: Vec<Series>) -> Vec<Series> {
    let mut run = run();
    let Some(run) = run.as_mut() else { return now };
    let all = match run.kept.remove(title) {
        Some(before) => joined(before, now),
        None => now,
    };
    run.kept.insert(title.to_owned(), all.clone());
    all
}

/// Rounds after rounds. Who was not there in both has no pairs with the others, and is out.
fn joined(before: Vec<Series>, now: Vec<Series>) -> Vec<Series> {
    let join = |mut later: Series| {
        let Some(earlier) = before.iter().find(|one| one.name == later.name) else {
            return out(later, "it took part in one pass alone");
        };
        match (&earlier.skipped, &later.skipped) {
            (None, None) if earlier.measures.len() == later.measures.len() => {
                for (later, earlier) in later.measures.iter_mut().zip(&earlier.measures) {
                    later.splice(0..0, earlier.iter().copied());
                }
                later
            }
            (Some(why), None) => out(later, why),
            _ => later,
        }
    };
    now.into_iter().map(join).collect()
}

fn out(series: Series, why: &str) -> Series {
    Series { measures: Vec::new(), skipped: Some(why.to_owned()), ..series }
}

/// Shows which race goes on: in one line that is written over on a terminal, elsewhere in a line each.
pub(super) fn show(title: &str) {
    let mut run = run();
    let Some(run) = run.as_mut() else { return progress(title) };
    let seconds = run.began.elapsed().as_secs();
    let (subject, pass) = (&run.subject, run.pass + 1);
    let pass = if run.passes > 1 { format!(", pass {pass} of {}", run.passes) } else { String::new() };
    let line = format!("{}: {}:{:02} {subject}{pass}: {title}", run.name, seconds / 60, seconds % 60);
    let mut stderr = std::io::stderr();
    let _ = if stderr.is_terminal() {
        run.shown = true;
        // What is longer than a line could not be written over.
        let line: String = line.chars().take(79).collect();
        write!(stderr, "\r\x1b[K{line}").and_then(|()| stderr.flush())
    } else {
        writeln!(stderr, "{line}")
    };
}

/// Takes away what was shown of a race that is no part of a run; a run shows the next one in its place.
pub(super) fn shown() {
    if run().is_none() {
        progress("");
    }
}

/// One line on standard error that is written over, when it is a terminal.
pub fn progress(title: &str) {
    let mut stderr = std::io::stderr();
    if stderr.is_terminal() {
        let _ = write!(stderr, "\r\x1b[K{title}");
        let _ = stderr.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(name: &str, samples: &[f64]) -> Series {
        Series { name: name.to_owned(), measures: vec![samples.to_vec()], skipped: None }
    }

    #[test]
    fn passes_are_put_together_in_their_order() {
        let all = joined(vec![series("a", &[1.0, 2.0])], vec![series("a", &[3.0])]);
        assert_eq!(all[0].measure(0), [1.0, 2.0, 3.0]);
    }

    #[test]
    fn who_failed_once_or_came_once_is_out() {
        let failed = out(series("a", &[1.0]), "no");
        for (before, now) in [(failed.clone(), series("a", &[1.0])), (series("a", &[1.0]), failed)] {
            let all = joined(vec![before], vec![now]);
            assert_eq!((all[0].measure(0), all[0].skipped.as_deref()), (&[][..], Some("no")));
        }
        let all = joined(vec![series("a", &[1.0])], vec![series("b", &[1.0])]);
        assert!(all[0].measure(0).is_empty() && all[0].skipped.is_some());
    }
}
