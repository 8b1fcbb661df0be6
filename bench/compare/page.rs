//! The answers as one page for a browser.

use super::answer::{Answer, Forgot};
use super::compared::Compared;
use super::table::{HEADS, cells, ranged};
use super::tracer::in_short;
use super::ways::Kind;
use crate::report::page::{Grid, Page, Section, Tone, Words};
use crate::report::plot::{Kind as Colour, Plot};

/// Everything.
pub(super) fn page(compared: &Compared) -> Page {
    let mut page = Page::new(
        "Ways to make a process",
        "A process P holds A and B. It has a process C made, which should hold A. Each way was really taken; what C holds it has said \
         itself, and which file is which was told by device and inode.",
    );
    let section = page.section("What C holds, and what it costs");
    if let Some(verdict) = compared.verdict() {
        section.prose(format!("In this comparison: {verdict}."));
    }
    section.table(table(compared));
    section.plot(times(compared));
    section.plot(calls(compared));
    section.prose(
        "B is reached by a descriptor that C has, by B's path, through P's /proc, or out of P itself: by pidfd_getfd, from its memory, by tracing \
         it. System calls were counted by a tracer: those of P until it goes on, those of C before its first own instruction, and those of whoever \
         stands between. The time is from P's request to C's end; C reads A and ends; all ways took turns.",
    );
    let section = page.section("Way by way");
    for answer in &compared.answers {
        section.heading(answer.entry.title);
        match &answer.absent {
            Some(why) => _ = section.prose(format!("Not here: {why}")),
            None => details(section, answer),
        }
    }
    let section = page.section("How it was measured");
    section.command(compared.command.clone());
    section.list(compared.machine.iter().map(|(name, value)| format!("{name}: {value}")));
    page
}

/// What the columns are called where there is one line for it.
fn column(index: usize) -> String {
    const NAMES: [&str; HEADS.len()] = [
        "way",
        "calls of P",
        "calls of C",
        "calls of others",
        "C holds",
        "B by descriptor",
        "B by path",
        "B by /proc",
        "B out of P",
        "one step forgotten",
        "time (10-90 %)",
    ];
    NAMES[index].to_owned()
}

fn table(compared: &Compared) -> Grid {
    let mut grid = Grid::new("", (0..HEADS.len()).map(column).chain(["× vfork+exec".to_owned()]));
    for answer in compared.answers.iter().filter(|answer| answer.absent.is_none()) {
        let mut row: Vec<Words> = cells(answer)
            .into_iter()
            .map(|cell| {
                let tone = match cell.good {
                    Some(true) => Tone::Good,
                    Some(false) => Tone::Bad,
                    None => Tone::Plain,
                };
                Words::new(cell.text, tone)
            })
            .collect();
        row.push(match &answer.ratio {
            None => Words::new("?", Tone::Faint),
            Some(ratio) if ratio.is_noisy(ratio.middle) => {
                Words::new(format!("too noisy ({:.2}-{:.2})", ratio.low, ratio.high), Tone::Faint)
            }
            Some(ratio) => format!("{:.2} ({:.2}-{:.2})", ratio.middle, ratio.low, ratio.high).into(),
        });
        grid.row(row);
    }
    for answer in &compared.answers {
        if let Some(why) = &answer.absent {
            grid.note(format!("{}: not here: {why}", answer.entry.title));
        }
    }
    grid
}

fn colour(kind: Kind) -> Colour {
    if kind == Kind::Ours { Colour::Ours } else { Colour::Peer }
}

fn times(compared: &Compared) -> Plot {
    let mut plot = Plot::new("From P's request to C's end", "us");
    if let Some(floor) = &compared.floor {
        plot.range("floor: vfork, exit and wait", [floor.p50, floor.p10, floor.p90], ranged(floor))
            .of(Colour::Floor);
    }
    for answer in &compared.answers {
        if let Some(times) = &answer.times {
            plot.range(answer.entry.title, [times.p50, times.p10, times.p90], ranged(times))
                .of(colour(answer.entry.kind));
        }
    }
    plot
}

fn calls(compared: &Compared) -> Plot {
    let mut plot = Plot::new("System calls until C's first own instruction", "calls");
    for answer in &compared.answers {
        if let Some(Ok(calls)) = &answer.calls {
            plot.bar(answer.entry.title, calls.count() as f64, calls.count().to_string())
                .of(colour(answer.entry.kind));
        }
    }
    plot
}

fn details(section: &mut Section, answer: &Answer) {
    let entry = answer.entry;
    section.steps(entry.steps.iter().copied());
    let forgotten = match &answer.forgot {
        Some(Ok(Forgot::FailsAtOnce(seen))) => format!("C fails at once: {seen}"),
        Some(Ok(what)) => what.word().to_owned(),
        Some(Err(why)) => format!("not known: {why}"),
        None => "not known".to_owned(),
    };
    let limits = entry.limits.iter().map(|limit| format!("Limit: {limit}"));
    let untimed = answer.untimed.iter().map(|why| format!("Not timed: {why}"));
    let told = std::iter::once(format!("Forgotten: {}: {forgotten}", entry.forgotten));
    section.list(told.chain(limits).chain(untimed));
    match &answer.calls {
        Some(Ok(calls)) => {
            let whose = [("P", &calls.parent), ("C", &calls.newborn), ("others", &calls.others)];
            let calling = whose.iter().filter(|(_, names)| !names.is_empty());
            let lines = calling.map(|(whose, names)| format!("Of {whose}: {}", in_short(names))).collect();
            section.folded(format!("{} system calls", calls.count()), lines);
        }
        Some(Err(why)) => _ = section.prose(format!("Calls not counted: {why}")),
        None => {}
    }
}
