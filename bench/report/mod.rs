//! What was found, as text, as Markdown, as JSON and as a page: one structure, four faces.

pub mod page;
pub mod plot;
mod table;

use std::fmt::Write;

use serde_json::{Value, json};

pub(crate) use table::{Cell, Table};

use crate::measure::{NOISY, Pairs};
use page::Page;

/// A figure that the project wants to reach, and whether it does here.
#[derive(Clone, Debug)]
pub(crate) struct Goal {
    /// What it is about.
    pub what: String,
    /// What to reach, in words.
    pub reach: String,
    /// What was measured; `None` when it was not.
    pub measured: Option<Pairs>,
    /// The same from the least time of each, which a busy machine distorts least.
    pub by_minima: Option<f64>,
    /// The most that reaches it.
    pub most: f64,
    /// What the figure is a part of, to judge its noise by; a ratio is judged by itself.
    pub size: Option<f64>,
}

impl Goal {
    fn verdict(&self) -> &'static str {
        match &self.measured {
            None => "not measured",
            // Where the whole range lies on one side, noise does not matter.
            Some(pairs) if pairs.high <= self.most => "reached",
            Some(pairs) if pairs.low > self.most => "missed",
            Some(pairs) if pairs.is_noisy(self.size.unwrap_or(pairs.middle)) => "too noisy to say",
            Some(pairs) if pairs.middle <= self.most => "reached, within the noise",
            Some(_) => "missed, within the noise",
        }
    }
}

/// Everything that one run found.
#[derive(Debug, Default)]
pub(crate) struct Report {
    /// The machine, line by line.
    pub machine: Vec<(String, String)>,
    /// The tables.
    pub tables: Vec<Table>,
    /// The goals.
    pub goals: Vec<Goal>,
}

impl Report {
    fn goals(&self) -> Table {
        let mut table =
            Table::new("Figures to reach", &["what", "reach", "here", "range", "by minima", "verdict"]);
        for goal in &self.goals {
            let digits = if goal.size.is_some() { 1 } else { 3 };
            let (here, range) = match &goal.measured {
                Some(pairs) => (
                    Cell::Number(pairs.middle, digits),
                    Cell::Words(format!("{:.digits$}–{:.digits$}", pairs.low, pairs.high)),
                ),
                None => (Cell::Nothing, Cell::Nothing),
            };
            let words = |text: &str| Cell::Words(text.to_owned());
            let by_minima = goal.by_minima.map_or(Cell::Nothing, |number| Cell::Number(number, digits));
            table.row(&goal.what, vec![words(&goal.reach), here, range, by_minima, words(goal.verdict())]);
        }
        table
    }

    /// Aligned text, or Markdown.
    pub(crate) fn text(&self, markdown: bool) -> String {
        let mut text = String::new();
        let bound = NOISY * 100.0;
        if markdown {
            text.push_str("# Results\n\nWritten by `cargo run --release -p beget-bench --features async -- --write bench/RESULTS.md`; do not edit. Without the feature the rows of tasks are left out.\n\n");
        }
        let _ = writeln!(
            text,
            "Everybody runs once a round, in an order that changes; ratios and differences are medians of pairs of one round. The \
             range in brackets is their 95 % interval, widened to hold the medians of both halves of the run. Where it is wider \
             than {bound:.0} % the row says \"too noisy\" instead of a figure. Compare within one table only.\n"
        );
        if markdown {
            text.push_str("## Machine\n\n");
        }
        for (name, value) in &self.machine {
            let _ = if markdown {
                writeln!(text, "- {name}: {value}")
            } else {
                writeln!(text, "{name:<22} {value}")
            };
        }
        text.push('\n');
        for table in std::iter::once(&self.goals()).chain(&self.tables) {
            text.push_str(&if markdown { table.markdown() } else { table.aligned() });
            text.push('\n');
        }
        text
    }

    /// Everything, for a browser.
    pub(crate) fn page(&self) -> Page {
        let mut page = Page::new(
            "What a birth costs",
            "Beget beside its peers, on one machine in one run: written by `beget bench`.",
        );
        let lines = self.machine.iter().map(|(name, value)| format!("{name}: {value}"));
        page.section("Machine").list(lines);
        for table in std::iter::once(&self.goals()).chain(&self.tables) {
            page.section(table.title()).table(table.grid());
        }
        page
    }

    /// Everything, for other programs.
    pub(crate) fn json(&self) -> Value {
        let machine: serde_json::Map<String, Value> =
            self.machine.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
        let tables: Vec<Value> =
            std::iter::once(&self.goals()).chain(&self.tables).map(Table::json).collect();
        json!({ "machine": machine, "tables": tables })
    }
}
