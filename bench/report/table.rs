//! A table: rows by name, cells that know how they are printed.

use serde_json::{Value, json};

use super::cell::{Cell, Figure};
use super::page::{Grid, Tone, Words};
use super::plot::{Kind, Plot};
use crate::measure::{Pairs, Series, Summary};

/// A table.
#[derive(Clone, Debug)]
pub struct Table {
    pub(super) subject: String,
    pub(super) title: String,
    pub(super) columns: Vec<String>,
    pub(super) rows: Vec<(String, Vec<Cell>)>,
    notes: Vec<String>,
}

impl Table {
    /// An empty one; the first column is the rows' names.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Table {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Table { subject: String::new(), title: title.into(), columns, rows: Vec::new(), notes: Vec::new() }
    }

    /// The columns that [`Table::times`] fills, after the name.
    pub const SPREAD: [&'static str; 5] = ["n", "min", "p10", "median", "p90"];
    /// The columns that [`Table::timed`] fills, after the name, in microseconds.
    pub const TIMES: [&'static str; 6] = ["n", "min", "p10", "median", "p90", "cpu"];

    /// Adds a row.
    pub fn row(&mut self, name: &str, cells: Vec<Cell>) {
        self.rows.push((name.to_owned(), cells));
    }

    /// Cells for [`Table::SPREAD`]; `None` when there are no samples.
    pub fn times(samples: &[f64]) -> Option<Vec<Cell>> {
        let wall = Summary::of(samples)?;
        let digits = super::cell::digits(wall.p50);
        let time = |time| Cell::number(time, digits);
        Some(vec![
            Cell::Count(wall.count),
            time(wall.min),
            time(wall.p10),
            Cell::median(samples),
            time(wall.p90),
        ])
    }

    /// Adds a row that begins with the times of a series; one that was skipped becomes a note.
    pub fn timed(&mut self, name: &str, series: &Series, more: Vec<Cell>) {
        let Some(mut cells) = Table::times(series.measure(0)) else {
            self.note(format!(
                "{name}: skipped: {}",
                series.skipped.as_deref().unwrap_or("no time was left")
            ));
            return;
        };
        if self.has("cpu") {
            let processor = Summary::of(series.measure(1));
            cells.push(processor.map_or(Cell::Nothing, |time| Cell::number(time.p50, 0)));
        }
        cells.extend(more);
        self.row(name, cells);
    }

    /// Whether it has a column of this name.
    pub fn has(&self, column: &str) -> bool {
        self.columns.iter().any(|name| name == column)
    }

    /// Adds words below.
    pub fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }

    /// The cell of a row and a column.
    pub(super) fn cell(&self, row: &str, column: &str) -> Option<&Cell> {
        let at = self.columns.iter().position(|name| name == column)?.checked_sub(1)?;
        self.rows.iter().find(|(name, _)| name == row)?.1.get(at)
    }

    /// The medians of a row, each with its column's name.
    pub(super) fn figures<'a>(
        &'a self,
        cells: &'a [Cell],
    ) -> impl Iterator<Item = (&'a str, &'a Figure)> + 'a {
        self.columns.iter().skip(1).zip(cells).filter_map(|(column, cell)| match cell {
            Cell::Figure(figure) => Some((column.as_str(), figure)),
            _ => None,
        })
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
    pub(crate) fn aligned(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("  {note}\n")).collect();
        format!("== {}\n{}{notes}", self.title, self.layout("", "  ", false))
    }

    /// For a document.
    pub(super) fn markdown(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("- {note}\n")).collect();
        let gap = if notes.is_empty() { "" } else { "\n" };
        format!("## {}\n\n{}{gap}{notes}", self.title, self.layout(" | ", " | ", true))
    }

    /// The rows alone, in lines that a person can change.
    pub(super) fn plain_markdown(&self) -> String {
        let row = |line: &Vec<String>| format!("| {} |\n", line.join(" | "));
        let mut lines = self.lines();
        lines.insert(1, vec!["---".to_owned(); self.columns.len()]);
        lines.iter().map(row).collect()
    }

    /// For a page.
    pub(super) fn grid(&self) -> Grid {
        let mut grid = Grid::new(&self.title, &self.columns);
        for (name, cells) in &self.rows {
            let words = |cell: &Cell| match cell {
                Cell::Figure(Figure { noisy: true, .. }) | Cell::Nothing => {
                    Words::new(cell.text(), Tone::Faint)
                }
                Cell::Words(text) => Words::new(text, tone(text)),
                _ => cell.text().into(),
            };
            grid.row(std::iter::once(name.into()).chain(cells.iter().map(words)));
        }
        self.notes.iter().for_each(|note| grid.note(note));
        grid
    }

    /// The medians of the rows, for a page; nothing where there are fewer than two.
    pub(super) fn plot(&self) -> Option<Plot> {
        let (_, unit) = self.title.rsplit_once(", ").unwrap_or(("", ""));
        let unit = if self.title.contains(", ns") {
            "ns"
        } else if unit.starts_with("ms") {
            "ms"
        } else {
            "us"
        };
        let mut plot = Plot::new(format!("{}: medians", self.title), unit);
        for (name, cells) in &self.rows {
            if let Some((_, figure)) = self.figures(cells).find(|(column, _)| *column == "median") {
                let Figure { middle, low, high, noisy, .. } = *figure;
                match noisy {
                    true => plot.uncertain(name, [low, high], figure.text()),
                    false => plot.range(name, [middle, low, high], figure.text()),
                }
                .of(kind(name));
            }
        }
        (plot.bars() > 1).then_some(plot)
    }

    /// For programs.
    pub(super) fn json(&self) -> Value {
        let row = |(name, cells): &(String, Vec<Cell>)| json!({"name": name, "cells": cells.iter().map(Cell::json).collect::<Vec<_>>()});
        json!({
            "subject": self.subject,
            "title": self.title,
            "columns": self.columns,
            "rows": self.rows.iter().map(row).collect::<Vec<_>>(),
            "notes": self.notes,
        })
    }

    /// What [`Table::json`] wrote.
    pub(super) fn read(value: &Value) -> Option<Table> {
        let words = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let list = |name: &str| -> Option<Vec<String>> {
            value
                .get(name)?
                .as_array()?
                .iter()
                .map(|one| Some(one.as_str()?.to_owned()))
                .collect::<Option<_>>()
        };
        let row = |row: &Value| {
            let cells: Option<Vec<Cell>> = row.get("cells")?.as_array()?.iter().map(Cell::read).collect();
            Some((row.get("name")?.as_str()?.to_owned(), cells?))
        };
        Some(Table {
            subject: words("subject")?,
            title: words("title")?,
            columns: list("columns")?,
            rows: value.get("rows")?.as_array()?.iter().map(row).collect::<Option<_>>()?,
            notes: list("notes")?,
        })
    }
}

/// What one is beside the floor of its race: the least that anybody needs for it.
pub fn beside_floor(all: &[Series], one: &Series) -> Cell {
    let is_floor = |one: &&Series| one.name.starts_with("floor") || one.name.starts_with("vfork + exec");
    match all.iter().find(is_floor) {
        Some(floor) if floor.name == one.name => Cell::Words("1".to_owned()),
        Some(floor) => Cell::ratio(Pairs::ratio(one.measure(0), floor.measure(0))),
        None => Cell::Nothing,
    }
}

fn tone(words: &str) -> Tone {
    match words {
        _ if words.starts_with("reached") => Tone::Good,
        _ if words.starts_with("missed") => Tone::Bad,
        _ if words.starts_with("too noisy") || words == "not measured" => Tone::Faint,
        _ => Tone::Plain,
    }
}

/// Whose a row is, by what it is called.
fn kind(name: &str) -> Kind {
    let name = name.rsplit(": ").next().unwrap_or(name);
    let ours = ["beget", "factory", "embryo", "nursery", "through the service", "confined", "all, "];
    if name.starts_with("floor") || name.starts_with("vfork") || name == "getpid" {
        Kind::Floor
    } else if (name.starts_with("+ ") || ours.iter().any(|word| name.contains(word)))
        && !name.contains("unconfined")
    {
        Kind::Ours
    } else {
        Kind::Peer
    }
}
