//! The answers for a terminal: what was done, way by way, and then the table. Nothing is wider than 100 columns.

use std::fmt::Write;

use super::answer::{Answer, Forgot, Got};
use super::compared::Compared;
use crate::measure::Summary;

/// The most columns that a line has.
const WIDTH: usize = 100;
const RED: &str = "31";
const GREEN: &str = "32";
const BOLD: &str = "1";
const FAINT: &str = "2";

/// How it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    pub(super) colour: bool,
}

impl Style {
    fn paint(self, code: &str, text: &str) -> String {
        if self.colour && !code.is_empty() { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// Words of a table, and the colour they have.
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) good: Option<bool>,
}

impl Cell {
    fn plain(text: impl Into<String>) -> Cell {
        Cell { text: text.into(), good: None }
    }

    fn got(got: Option<&Got>) -> Cell {
        let Some(got) = got else { return Cell::plain("-") };
        let good = match got {
            Got::Yes => Some(false),
            Got::No(_) => Some(true),
            Got::Unknown => None,
        };
        Cell { text: got.word().to_owned(), good }
    }

    fn code(&self) -> &'static str {
        match self.good {
            Some(true) => GREEN,
            Some(false) => RED,
            None => "",
        }
    }
}

/// The table's heads: above, and below it.
pub(super) const HEADS: [[&str; 2]; 11] = [
    ["", "way"],
    ["", "P"],
    ["", "C"],
    ["calls", "others"],
    ["C", "holds"],
    ["B by", "fd"],
    ["", "path"],
    ["", "/proc"],
    ["", "P"],
    ["one step", "forgotten"],
    ["time", "(10-90 %)"],
];

/// A row.
pub(super) fn cells(answer: &Answer) -> Vec<Cell> {
    let look = answer.look.as_ref();
    let calls = answer.calls.as_ref().and_then(|calls| calls.as_ref().ok());
    let count = |of: fn(&super::tracer::Calls) -> usize| {
        Cell::plain(calls.map_or("?".to_owned(), |calls| of(calls).to_string()))
    };
    let holds = look.map_or("-".to_owned(), |look| {
        let named = ["A", "B"].into_iter().filter(|name| look.held.iter().any(|one| one.what == *name));
        let named: Vec<_> = named.collect();
        if named.is_empty() { "nothing".to_owned() } else { named.join(" ") }
    });
    let forgot = match &answer.forgot {
        Some(Ok(what)) => {
            let good = match what {
                Forgot::SilentLeak => Some(false),
                Forgot::FailsAtOnce(_) => Some(true),
                Forgot::Nothing => None,
            };
            Cell { text: what.in_short().to_owned(), good }
        }
        Some(Err(_)) => Cell::plain("?"),
        None => Cell::plain("-"),
    };
    let parent = look.map(super::answer::Look::parent);
    vec![
        Cell::plain(answer.entry.title),
        count(|calls| calls.parent.len()),
        count(|calls| calls.newborn.len()),
        count(|calls| calls.others.len()),
        Cell { good: look.map(|look| !look.has_b_held() && look.has_a()), text: holds },
        Cell::got(look.map(|look| &look.descriptor)),
        Cell::got(look.map(|look| &look.path)),
        Cell::got(look.map(|look| &look.proc)),
        Cell::got(parent.as_ref()),
        forgot,
        Cell::plain(times(answer)),
    ]
}

fn times(answer: &Answer) -> String {
    let Some(times) = &answer.times else { return "?".to_owned() };
    ranged(times)
}

/// A time as people read it, with where a tenth of all lies below and above.
pub(super) fn ranged(times: &Summary) -> String {
    const LONG: f64 = 10_000.0;
    let (unit, scale) = if times.p50 < LONG { ("us", 1.0) } else { ("ms", 1e3) };
    let short = |us: f64| match us / scale {
        few @ ..100.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    };
    format!("{} {unit} ({}-{})", short(times.p50), short(times.p10), short(times.p90))
}

/// Everything.
pub(super) fn text(compared: &Compared, style: Style) -> String {
    let mut text =
        String::from("A process P holds A and B. It has a process C made, which should hold A.\n\n");
    for answer in &compared.answers {
        details(answer, style, &mut text);
    }
    let present: Vec<&Answer> = compared.answers.iter().filter(|answer| answer.absent.is_none()).collect();
    if !present.is_empty() {
        table(&present, style, &mut text);
    }
    if let Some(floor) = &compared.floor {
        let _ = writeln!(text, "\nfloor: vfork, exit and wait: {}", ranged(floor));
    }
    let notes = [
        "calls: system calls of P until it goes on, of C before its first own instruction, and of those between, counted by a tracer",
        "B by: a descriptor that C has, B's path, P's /proc, or out of P itself (pidfd_getfd, its memory, tracing it)",
        "time: from P's request to C's end, C being a program that reads A and ends; all ways in turn, medians",
    ];
    notes.iter().for_each(|note| wrap(note, 0, 7, &mut text));
    for (name, value) in &compared.machine {
        if ["kernel", "processor", "run as", "others' share"].contains(&name.as_str()) {
            wrap(&format!("{name}: {value}"), 0, 7, &mut text);
        }
    }
    if let Some(verdict) = compared.verdict() {
        let mut line = String::new();
        wrap(&verdict, 0, 7, &mut line);
        let _ = writeln!(text, "\n{}", style.paint(BOLD, line.trim_end()));
    }
    text
}

fn details(answer: &Answer, style: Style, text: &mut String) {
    let entry = answer.entry;
    let _ = writeln!(text, "{}", style.paint(BOLD, entry.title));
    if let Some(why) = &answer.absent {
        let mut line = String::new();
        wrap(&format!("not here: {why}"), 2, 4, &mut line);
        let _ = writeln!(text, "{}", style.paint(FAINT, line.trim_end()));
        return;
    }
    let steps = entry.steps.iter().enumerate().map(|(index, step)| format!("{}.\u{a0}{step}", index + 1));
    wrap(&steps.collect::<Vec<_>>().join("  "), 2, 4, text);
    let seen = match &answer.forgot {
        Some(Ok(Forgot::FailsAtOnce(seen))) => format!("C fails at once: {seen}"),
        Some(Ok(what)) => what.word().to_owned(),
        Some(Err(why)) => format!("not known: {why}"),
        None => "not known".to_owned(),
    };
    wrap(&format!("forgotten: {}: {seen}", entry.forgotten), 2, 4, text);
    wrap(&format!("limits: {}", entry.limits.join("; ")), 2, 4, text);
    if let Some(Err(why)) = &answer.calls {
        wrap(&format!("calls not counted: {why}"), 2, 4, text);
    }
    if let Some(why) = &answer.untimed {
        wrap(&format!("not timed: {why}"), 2, 4, text);
    }
}

fn table(answers: &[&Answer], style: Style, text: &mut String) {
    let rows: Vec<Vec<Cell>> = answers.iter().map(|answer| cells(answer)).collect();
    let width = |column: usize| {
        let head = HEADS[column].iter().map(|head| head.chars().count()).max().unwrap_or(0);
        rows.iter().map(|row| row[column].text.chars().count()).max().unwrap_or(0).max(head)
    };
    let widths: Vec<usize> = (0..HEADS.len()).map(width).collect();
    // The last column is the one that is cut off where something is wider than was thought.
    let gap = if widths.iter().sum::<usize>() + 2 * (widths.len() - 1) <= WIDTH { "  " } else { " " };
    text.push('\n');
    for line in 0..2 {
        let cells = HEADS.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (head, width))| padded(head[line], *width, is_number(column)));
        let line = cells.collect::<Vec<_>>().join(gap);
        let _ = writeln!(text, "{}", style.paint(BOLD, line.trim_end()));
    }
    for row in &rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| {
            let padded = padded(&cell.text, *width, is_number(column));
            style.paint(cell.code(), &padded)
        });
        let line = cells.collect::<Vec<_>>().join(gap);
        let _ = writeln!(text, "{}", line.trim_end());
    }
}

fn is_number(column: usize) -> bool {
    (1..=3).contains(&column)
}

fn padded(text: &str, width: usize, right: bool) -> String {
    if right { format!("{text:>width$}") } else { format!("{text:<width$}") }
}

/// Adds words in lines that fit, the first moved in by `first`, the others by `more`.
fn wrap(words: &str, first: usize, more: usize, text: &mut String) {
    let mut line = " ".repeat(first);
    let mut is_empty = true;
    for word in words.split(' ') {
        let long = line.chars().count() + 1 + word.chars().count() > WIDTH;
        if long && !is_empty {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(more);
            is_empty = true;
        }
        if !is_empty {
            line.push(' ');
        }
        // What has no place to be broken at is cut into lines.
        for letter in word.chars() {
            if line.chars().count() == WIDTH {
                let _ = writeln!(text, "{line}");
                line = " ".repeat(more);
            }
            line.push(match letter {
                // A space that no line is broken at.
                '\u{a0}' => ' ',
                letter if letter.is_control() => '?',
                letter => letter,
            });
        }
        is_empty = false;
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_fits() {
        let mut text = String::new();
        wrap(&format!("{} {}", "word ".repeat(50), "x".repeat(300)), 2, 4, &mut text);
        assert!(text.lines().all(|line| line.chars().count() <= WIDTH), "{text}");
        assert_eq!(text.matches('x').count(), 300);
        assert_eq!(text.matches("word").count(), 50);
    }
}
