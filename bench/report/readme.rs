//! Figures in documents: a document has a place for each, between `<!-- bench:NAME -->` and `<!-- /bench -->`, and what stands there is
//! written from results, never by hand.

use super::cell::{Cell, Figure};
use super::goal::Told;
use super::{Results, Table};

/// Where a figure is found.
enum Source {
    /// The goals whose names begin so; their medians from the least to the most.
    Goals(&'static str),
    /// A cell: the beginning of its table's title, its row and its column.
    Cell(&'static str, &'static str, &'static str),
}

use Source::{Cell as At, Goals};

/// A row: what, beside what, and its figures, each with words before it and a unit behind it.
type Row = (&'static str, &'static str, &'static [(&'static str, Source, &'static str)]);

const COSTS: &[Row] = &[
    (
        "library, nothing confined, from any parent, a static or dynamic program",
        "glibc's posix_spawn",
        &[("×", Goals("spawn, nothing confined, "), "")],
    ),
    (
        "library, confined, a command used again",
        "posix_spawn",
        &[("+", Goals("spawn, confined, reused, "), " us")],
    ),
    (
        "library, confined, a new command each time, which opens its grants anew",
        "posix_spawn",
        &[("+", Goals("spawn, confined, fresh, "), " us")],
    ),
    (
        "`beget run --base -- true`, as a whole command",
        "`bwrap --ro-bind / /`",
        &[
            ("×", Goals("beget run --base -- true"), ""),
            ("built for musl ×", Goals("beget (musl) run --base -- true"), ""),
        ],
    ),
    (
        "`beget run --root --base -- true`, as a whole command",
        "`bwrap --unshare-all`, then `crun run`, showing the same files",
        &[
            ("×", Goals("beget run --root --base -- true"), ""),
            ("built for musl ×", Goals("beget (musl) run --root --base -- true"), ""),
        ],
    ),
    (
        "a confined copy of `true`, on request, until it is reaped",
        "posix_spawn",
        &[("×", Goals("dynamic true from a template, on request"), "")],
    ),
    ("the same from a pool", "posix_spawn", &[("×", Goals("dynamic true from a template, pooled"), "")]),
    (
        "a confined product from a pool, from the call to its first instruction",
        "the clock",
        &[("", Goals("pooled product, confined, start to first instruction"), " us")],
    ),
    (
        "Python with a script on standard input, confined, until it has written, on request",
        "the same, cold",
        &[("×", Goals("python3, script on standard input, confined, on request"), "")],
    ),
    (
        "the same from a pool",
        "the same, cold",
        &[("×", Goals("python3, script on standard input, confined, pooled"), "")],
    ),
    (
        "through the service, a confined `true`, until its end is told",
        "posix_spawn",
        &[(
            "×",
            At(
                "A birth through the service",
                "dynamic true: beget, through the service, confined",
                "× posix_spawn",
            ),
            "",
        )],
    ),
    (
        "a spawn through the service while 10,000 domains live, its median and its slowest hundredth",
        "a service that keeps none",
        &[
            ("×", At("A spawn to its answer while others live", "10000", "× median"), ""),
            ("×", Goals("the slowest hundredth of spawns while 10000"), ""),
        ],
    ),
    ("a batch of births, on one processor", "a loop of posix_spawn", &[("×", Goals("batch of "), "")]),
    (
        "an embryo that waits: its memory",
        "a limit of 102.4 KiB",
        &[("", Goals("memory of an embryo"), " KiB")],
    ),
    ("the filter: to put it on", "no filter", &[("+", Goals("installing the default filter"), " us")]),
];

/// Where documents have places, and the figures for them.
fn places(results: &Results) -> [(&'static str, String); 4] {
    let line = |name: &str| {
        let line = results.machine.iter().find(|(line, _)| line == name);
        line.map_or("not said", |(_, value)| value.as_str()).to_owned()
    };
    let machine = format!("{}; {}; one CPUID takes {}", line("processor"), line("kernel"), line("CPUID"));
    let reached =
        |verdict: &str| results.goals.iter().filter(|goal| goal.verdict().starts_with(verdict)).count();
    let goals = format!(
        "Of {} figures that were to be reached, {} are, {} are missed, and {} were not or could not be measured here.",
        results.goals.len(),
        reached("reached"),
        reached("missed"),
        reached("not measured") + reached("too noisy")
    );
    [("costs", results.costs()), ("machine", machine), ("goals", goals), ("size", line("size"))]
}

impl Results {
    fn costs(&self) -> String {
        let mut table = Table::new("", &["what", "beside", "ratio or difference"]);
        for (what, beside, sources) in COSTS {
            let told: Vec<String> = sources
                .iter()
                .filter_map(|(before, source, unit)| {
                    let figure = self.told(source)?;
                    let known = figure.starts_with(|letter: char| letter.is_ascii_digit() || letter == '-');
                    Some(if known { format!("{before} {figure}{unit}").trim().to_owned() } else { figure })
                })
                .collect();
            let told = if told.is_empty() { "not measured".to_owned() } else { told.join("; ") };
            table.row(what, vec![Cell::Words((*beside).to_owned()), Cell::Words(told)]);
        }
        table.plain_markdown()
    }

    fn told(&self, source: &Source) -> Option<String> {
        match source {
            Goals(beginning) => {
                let goals = self.goals.iter().filter(|goal| goal.what.starts_with(beginning));
                span(&goals.filter_map(|goal: &Told| goal.figure).collect::<Vec<_>>())
            }
            At(title, row, column) => {
                let table = self.tables.iter().find(|table| table.title.starts_with(title))?;
                match table.cell(row, column)? {
                    Cell::Figure(figure) => span(&[*figure]),
                    Cell::Number(number, digits) => Some(format!("{number:.digits$}")),
                    _ => None,
                }
            }
        }
    }
}

/// One figure, or the least and the most of several; those that were too noisy are not among them, unless all were: then it is their range.
fn span(figures: &[Figure]) -> Option<String> {
    let clear: Vec<&Figure> = figures.iter().filter(|figure| !figure.noisy).collect();
    let least = clear.iter().min_by(|one, other| one.middle.total_cmp(&other.middle));
    let most = clear.iter().max_by(|one, other| one.middle.total_cmp(&other.middle));
    let written = |figure: &Figure| format!("{:.*}", figure.digits.min(2), figure.middle);
    match (figures, least, most) {
        ([], _, _) => None,
        (_, Some(least), Some(most)) if written(least) == written(most) => Some(written(least)),
        (_, Some(least), Some(most)) => Some(format!("{} to {}", written(least), written(most))),
        _ => {
            let low = figures.iter().min_by(|one, other| one.low.total_cmp(&other.low))?;
            let high = figures.iter().max_by(|one, other| one.high.total_cmp(&other.high))?;
            Some(format!("{:.*}–{:.*}", low.digits.min(3), low.low, high.digits.min(3), high.high))
        }
    }
}

/// Puts the figures of `results` in their places in a document.
///
/// # Errors
///
/// One sentence that names a place which is not closed, or for which there is no figure.
pub fn fill(document: &str, results: &Results) -> Result<String, String> {
    const OPEN: &str = "<!-- bench:";
    const CLOSE: &str = "<!-- /bench -->";
    let places = places(results);
    let mut parts = document.split(OPEN);
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once(" -->").ok_or("a place for a figure has no name")?;
        let (old, rest) =
            rest.split_once(CLOSE).ok_or(format!("{OPEN}{name} --> is not closed by {CLOSE}"))?;
        let place = places.iter().find(|(place, _)| *place == name);
        let (_, text) = place.ok_or(format!("{OPEN}{name} -->: there is no such figure"))?;
        // Where it had lines of its own it keeps them.
        let edge = if old.starts_with('\n') { "\n" } else { "" };
        let text = text.trim_end_matches('\n');
        filled.push_str(&format!("{OPEN}{name} -->{edge}{text}{edge}{CLOSE}{rest}"));
    }
    Ok(filled)
}
