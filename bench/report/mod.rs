//! What was found, as text, as Markdown, as JSON and as a page: one structure, four faces. Every face is made from what the JSON says, so none
//! has a figure that another has not.

mod against;
mod cell;
mod goal;
pub mod page;
pub mod plot;
pub mod readme;
mod table;

use std::fmt::Write;

use serde_json::{Value, json};

pub use cell::{Cell, Figure};
pub use goal::Goal;
pub use table::{Table, beside_floor};

use crate::measure::NOISY;
use goal::Told;
use page::Page;
use plot::{Kind, Plot};

/// The form of the JSON; another number is another form.
const FORM: u64 = 1;

/// Everything that one run found.
#[derive(Debug, Default)]
pub struct Report {
    /// The machine, line by line.
    pub machine: Vec<(String, String)>,
    /// The tables.
    pub tables: Vec<Table>,
    /// The goals.
    pub goals: Vec<Goal>,
}

/// A report as it is told, read from its JSON.
#[derive(Clone, Debug)]
pub struct Results {
    machine: Vec<(String, String)>,
    tables: Vec<Table>,
    goals: Vec<Told>,
    json: Value,
}

impl Report {
    /// Says of the tables that were added last whose they are.
    pub(crate) fn of_subject(&mut self, name: &str) {
        for table in self.tables.iter_mut().filter(|table| table.subject.is_empty()) {
            table.subject = name.to_owned();
        }
    }

    /// As it is told.
    pub(crate) fn results(&self) -> Result<Results, String> {
        let machine: Vec<Value> =
            self.machine.iter().map(|(name, value)| json!({"name": name, "value": value})).collect();
        Results::read(json!({
            "form": FORM,
            "machine": machine,
            "goals": self.goals.iter().map(|goal| Told::from(goal).json()).collect::<Vec<_>>(),
            "tables": self.tables.iter().map(Table::json).collect::<Vec<_>>(),
        }))
    }
}

impl Results {
    /// Reads what [`Results::json`] gives.
    ///
    /// # Errors
    ///
    /// One sentence when it is something else.
    pub fn read(json: Value) -> Result<Results, String> {
        let form = json.get("form").and_then(Value::as_u64);
        if form != Some(FORM) {
            return Err("no results of beget bench, or of another version of it".to_owned());
        }
        let all = |name: &str| json.get(name).and_then(Value::as_array).map(|all| all.iter());
        let line = |line: &Value| {
            Some((line.get("name")?.as_str()?.to_owned(), line.get("value")?.as_str()?.to_owned()))
        };
        let machine = all("machine").and_then(|all| all.map(line).collect());
        let tables = all("tables").and_then(|all| all.map(Table::read).collect());
        let goals = all("goals").and_then(|all| all.map(Told::read).collect());
        match (machine, tables, goals) {
            (Some(machine), Some(tables), Some(goals)) => Ok(Results { machine, tables, goals, json }),
            (machine, tables, _) => {
                let part = if machine.is_none() {
                    "machine"
                } else if tables.is_none() {
                    "tables"
                } else {
                    "goals"
                };
                Err(format!("{part}: not as beget bench writes it"))
            }
        }
    }

    /// The same from a file's text.
    ///
    /// # Errors
    ///
    /// One sentence when it is no JSON, or something else.
    pub fn parse(text: &str) -> Result<Results, String> {
        Results::read(serde_json::from_str(text).map_err(|error| error.to_string())?)
    }

    /// Everything, for other programs.
    #[must_use]
    pub fn json(&self) -> &Value {
        &self.json
    }

    fn goals(&self) -> Table {
        let mut table = Table::new("Figures to reach", &Told::COLUMNS);
        self.goals.iter().for_each(|goal| table.row(&goal.what, goal.cells()));
        table
    }

    fn everything(&self) -> Vec<Table> {
        let goals = (!self.goals.is_empty()).then(|| self.goals());
        goals.into_iter().chain(self.tables.iter().cloned()).collect()
    }

    fn how() -> String {
        format!(
            "Everybody runs once a round, in an order that changes; a run has two passes, each of which sets everything up anew. Figures are \
             medians; ratios and differences are medians of pairs of one round. The range in brackets is where they are trusted to lie, the \
             drift between neighbours in time and between both passes in it. Where it is wider than {:.0} % the row says \"too noisy\" instead of \
             a figure. Compare within one table only.",
            NOISY * 100.0
        )
    }

    /// For a terminal.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.machine {
            let _ = writeln!(text, "{name:<22} {value}");
        }
        for table in self.everything() {
            let _ = write!(text, "\n{}", table.aligned());
        }
        text
    }

    /// `bench/RESULTS.md`.
    #[must_use]
    pub fn markdown(&self) -> String {
        let how = Results::how();
        let mut text = format!(
            "# Results\n\nWritten by `beget bench --write`; do not edit. The same for programs: [results.json](results.json).\n\n{how}\n\n## Machine\n\n"
        );
        for (name, value) in &self.machine {
            let _ = writeln!(text, "- {name}: {value}");
        }
        for table in self.everything() {
            let _ = write!(text, "\n{}", table.markdown());
        }
        text
    }

    /// The drawing of the table whose title begins so, as a file of its own.
    pub(crate) fn drawing(&self, title: &str) -> Option<String> {
        const WIDTH: u32 = 720;
        let table = self.tables.iter().find(|table| table.title.starts_with(title))?;
        table.plot().map(|plot| plot.file(WIDTH))
    }

    /// For a browser; `subjects` are those that there are, with what each is about.
    pub(crate) fn page<'s>(
        &self,
        subjects: impl Iterator<Item = (&'s str, &'s str)>,
        against: Option<&Table>,
    ) -> Page {
        let mut page = Page::new(
            "What a birth costs",
            "Beget beside the other ways to make a process, on one machine in one run; written by beget bench.",
        );
        if !self.goals.is_empty() {
            let mut plot =
                Plot::new("What was measured, as a part of the most that reaches the goal", "of the goal");
            for goal in &self.goals {
                if let Some(figure) = goal.figure.filter(|figure| goal.most > 0.0 && !figure.noisy) {
                    let part = |number: f64| number / goal.most;
                    let kind = if goal.verdict().starts_with("missed") { Kind::Missed } else { Kind::Ours };
                    let told = format!("{:.*}", figure.digits, figure.middle);
                    plot.range(
                        format!("{}: {}", goal.what, goal.reach),
                        [part(figure.middle), part(figure.low), part(figure.high)],
                        told,
                    )
                    .of(kind);
                }
            }
            plot.mark(1.0, "the goal");
            let section = page.section("Figures to reach");
            if plot.bars() > 0 {
                section.plot(plot);
            }
            section.table(self.goals().grid());
        }
        if let Some(table) = against {
            page.section("Beside an earlier run").table(table.grid());
        }
        for (name, about) in subjects {
            let mut tables = self.tables.iter().filter(|table| table.subject == name).peekable();
            if tables.peek().is_none() {
                continue;
            }
            let section = page.section(sentence(name));
            section.prose(format!("{}.", sentence(about)));
            for table in tables {
                if let Some(plot) = table.plot() {
                    section.plot(plot);
                }
                section.table(table.grid());
            }
        }
        let lines = self.machine.iter().map(|(name, value)| format!("{name}: {value}"));
        page.section("How it was measured").prose(Results::how()).list(lines);
        page
    }
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests;
