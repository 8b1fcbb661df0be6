//! Two runs beside each other: every figure of both, and whether they differ by more than what both are uncertain of.

use serde_json::{Value, json};

use super::cell::{Cell, Figure};
use super::{Results, Table};

impl Results {
    /// This run beside an older one: a row for each median that both have.
    pub(crate) fn against(&self, old: &Results) -> Table {
        let columns = ["table: row: column", "old", "new", "new / old", "verdict"];
        let mut told = Table::new("Beside an earlier run", &columns);
        let (mut compared, mut apart) = (0, 0);
        for table in &self.tables {
            let Some(before) = old.tables.iter().find(|one| one.title == table.title) else { continue };
            for (row, cells) in &table.rows {
                for (column, new) in table.figures(cells) {
                    let Some(Cell::Figure(old)) = before.cell(row, column) else { continue };
                    compared += 1;
                    apart += usize::from(new.differs(old));
                    told.row(&format!("{}: {row}: {column}", table.title), cells_of(old, new));
                }
            }
        }
        told.note(format!("{compared} figures are in both runs; {apart} differ by more than their ranges"));
        for name in ["kernel", "processor", "mitigations", "run as", "run"] {
            let of = |results: &Results| {
                let line = results.machine.iter().find(|(line, _)| line == name);
                line.map_or("not said".to_owned(), |(_, value)| value.clone())
            };
            let (old, new) = (of(old), of(self));
            if old != new {
                told.note(format!("{name}: it was {old}, it is {new}"));
            }
        }
        told
    }

    /// The same results, with the comparison in their JSON.
    pub(crate) fn with_against(self, told: &Table) -> Results {
        let mut json = self.json;
        if let Value::Object(fields) = &mut json {
            fields.insert("against".to_owned(), json!(told.json()));
        }
        Results { json, ..self }
    }
}

fn cells_of(old: &Figure, new: &Figure) -> Vec<Cell> {
    let verdict = match (new.differs(old), new.middle > old.middle) {
        (false, _) => "the same, within the ranges",
        (true, true) => "more",
        (true, false) => "less",
    };
    let ratio = if old.middle == 0.0 { Cell::Nothing } else { Cell::number(new.middle / old.middle, 3) };
    let ratio = if old.noisy || new.noisy { Cell::Nothing } else { ratio };
    vec![Cell::Figure(*old), Cell::Figure(*new), ratio, Cell::Words(verdict.to_owned())]
}
