//! A table: rows by name, cells that know how they are printed.

use serde_json::{Value, json};

use super::page::Grid;
use crate::measure::{Pairs, Series, Summary};

/// What stands in a cell.
#[derive(Clone, Debug)]
pub enum Cell {
    /// A number, with so many digits after the point.
    Number(f64, usize),
    /// A count.
    Count(usize),
    /// A ratio or difference; the number is what its noise is judged by.
    Pairs(Pairs, f64, usize),
    /// Words.
    Words(String),
    /// Nothing to say.
    Nothing,
}

impl Cell {
    /// A ratio, judged by itself.
    pub fn ratio(pairs: Option<Pairs>) -> Cell {
        pairs.map_or(Cell::Nothing, |pairs| Cell::Pairs(pairs, pairs.middle, 3))
    }

    /// A difference in microseconds, judged by what it is a part of.
    pub fn difference(pairs: Option<Pairs>, of: f64) -> Cell {
        pairs.map_or(Cell::Nothing, |pairs| Cell::Pairs(pairs, of, 1))
    }

    fn text(&self) -> String {
        match self {
            Cell::Number(number, digits) => format!("{number:.digits$}"),
            Cell::Count(count) => count.to_string(),
            Cell::Pairs(pairs, size, digits) => {
                let Pairs { middle, low, high } = pairs;
                if pairs.is_noisy(*size) {
                    format!("too noisy ({low:.digits$}–{high:.digits$})")
                } else {
                    format!("{middle:.digits$} ({low:.digits$}–{high:.digits$})")
                }
            }
            Cell::Words(words) => words.clone(),
            Cell::Nothing => "–".to_owned(),
        }
    }

    fn json(&self) -> Value {
        match self {
            Cell::Number(number, _) => json!(number),
            Cell::Count(count) => json!(count),
            Cell::Pairs(pairs, size, _) => {
                json!({"median": pairs.middle, "low": pairs.low, "high": pairs.high, "noisy": pairs.is_noisy(*size)})
            }
            Cell::Words(words) => json!(words),
            Cell::Nothing => Value::Null,
        }
    }
}

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    title: String,
    columns: Vec<String>,
    rows: Vec<(String, Vec<Cell>)>,
    notes: Vec<String>,
}

impl Table {
    /// An empty one; the first column is the rows' names.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Table {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Table { title: title.into(), columns, rows: Vec::new(), notes: Vec::new() }
    }

    /// The columns that [`Table::timed`] fills, after the name, in microseconds.
    pub const TIMES: [&'static str; 6] = ["n", "min", "p10", "p50", "p90", "cpu p50"];

    /// Adds a row.
    pub fn row(&mut self, name: &str, cells: Vec<Cell>) {
        self.rows.push((name.to_owned(), cells));
    }

    /// Adds a row that begins with the times of a series; one that was skipped becomes a note.
    pub fn timed(&mut self, name: &str, series: &Series, more: Vec<Cell>) {
        let Some(wall) = Summary::of(series.measure(0)) else {
            self.note(format!(
                "{name}: skipped: {}",
                series.skipped.as_deref().unwrap_or("no time was left")
            ));
            return;
        };
        let mut cells = vec![Cell::Count(wall.count)];
        cells.extend([wall.min, wall.p10, wall.p50, wall.p90].map(|time| Cell::Number(time, 1)));
        if self.columns.iter().any(|column| column == "cpu p50") {
            let processor = Summary::of(series.measure(1));
            cells.push(processor.map_or(Cell::Nothing, |time| Cell::Number(time.p50, 0)));
        }
        cells.extend(more);
        self.row(name, cells);
    }

    /// Adds words below.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    fn lines(&self) -> Vec<Vec<String>> {
        let rows = self.rows.iter().map(|(name, cells)| {
            let mut line = vec![name.clone()];
            line.extend(cells.iter().map(Cell::text));
            line.resize(self.columns.len(), String::new());
            line
        });
        std::iter::once(self.columns.clone()).chain(rows).collect()
    }

    fn layout(&self, edge: &str, between: &str, rule: bool) -> String {
        let lines = self.lines();
        let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns.len()).map(width).collect();
        let mut text = String::new();
        for (index, line) in lines.iter().enumerate() {
            let cells: Vec<String> = line
                .iter()
                .zip(&widths)
                .enumerate()
                .map(
                    |(column, (cell, width))| {
                        if column == 0 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
                    },
                )
                .collect();
            text += format!("{edge}{}{edge}", cells.join(between)).trim();
            text.push('\n');
            if rule && index == 0 {
                let dashes = |(column, width): (usize, &usize)| {
                    if column == 0 { "-".repeat(*width) } else { format!("{}:", "-".repeat(width - 1)) }
                };
                let cells: Vec<String> = widths.iter().enumerate().map(dashes).collect();
                text += format!("{edge}{}{edge}", cells.join(between)).trim();
                text.push('\n');
            }
        }
        text
    }

    /// For a terminal.
    pub fn aligned(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("  {note}\n")).collect();
        format!("== {}\n{}{notes}", self.title, self.layout("", "  ", false))
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("- {note}\n")).collect();
        let gap = if notes.is_empty() { "" } else { "\n" };
        format!("## {}\n\n{}{gap}{notes}", self.title, self.layout(" | ", " | ", true))
    }

    /// What it is called.
    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// For a page.
    pub(crate) fn grid(&self) -> Grid {
        let mut lines = self.lines().into_iter();
        let mut grid = Grid::new("", lines.next().unwrap_or_default());
        lines.for_each(|line| grid.row(line));
        self.notes.iter().for_each(|note| grid.note(note));
        grid
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let row = |(name, cells): &(String, Vec<Cell>)| {
            let mut row = serde_json::Map::new();
            row.insert("name".to_owned(), json!(name));
            row.extend(self.columns.iter().skip(1).cloned().zip(cells.iter().map(Cell::json)));
            Value::Object(row)
        };
        json!({
            "title": self.title,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }
}
