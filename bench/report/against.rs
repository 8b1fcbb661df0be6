//! Two runs beside each other: every figure of both, and whether they differ by more than what both are uncertain of.
//!
//! A ratio was taken within one round, and is held against the other as it is. A time is that of a machine which is quicker in some minutes than in
//! others: it counts as different only where it differs from what the most of its table did.

use serde_json::{Value, json};

use super::cell::{Cell, Figure};
use super::{Results, Table};

impl Results {
    /// This run beside an older one: a row for each median that both have.
    pub(crate) fn against(&self, old: &Results) -> Table {
        let columns = ["table: row: column", "old", "new", "new / old", "verdict"];
        let mut told = Table::new("Beside an earlier run", &columns);
        let mut count = [0; Verdict::ALL.len()];
        let mut paces = Vec::new();
        for table in &self.tables {
            let Some(before) = old.tables.iter().find(|one| one.title == table.title) else { continue };
            let pace = pace(table, before);
            for (row, cells) in &table.rows {
                for (column, new) in table.figures(cells) {
                    let Some(Cell::Figure(old)) = before.cell(row, column) else { continue };
                    let verdict = Verdict::of(old, new, if is_ratio(column) { None } else { pace });
                    count[verdict as usize] += 1;
                    if verdict == Verdict::Paced {
                        paces.extend(pace);
                    }
                    told.row(&format!("{}: {row}: {column}", table.title), cells_of(old, new, verdict));
                }
            }
        }
        let [same, unknown, paced, less, more] = count;
        let (compared, apart) = (same + unknown + paced + less + more, less + more);
        told.note(format!(
            "figures in both runs: {compared}; different by more than their ranges: {apart}; too noisy to say: {unknown}"
        ));
        if let (Some(least), Some(most)) =
            (paces.iter().copied().reduce(f64::min), paces.iter().copied().reduce(f64::max))
        {
            told.note(format!(
                "times that differ as most of their tables do: {paced}, by × {least:.2} to {most:.2}: the machine was not as quick in both runs"
            ));
        }
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

/// What came of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Same,
    /// One of them was too noisy to be a figure, so nothing is known.
    Unknown,
    /// The same when that is taken out which the machine did to all of the table.
    Paced,
    Less,
    More,
}

impl Verdict {
    const ALL: [Verdict; 5] = [Verdict::Same, Verdict::Unknown, Verdict::Paced, Verdict::Less, Verdict::More];

    /// `pace`: how much longer the machine took for all of the table.
    fn of(old: &Figure, new: &Figure, pace: Option<f64>) -> Verdict {
        let paced = || pace.is_some_and(|pace| !new.over(pace).differs(old));
        let noisy = old.noisy || new.noisy;
        match (new.differs(old), new.middle > old.middle) {
            (false, _) if noisy => Verdict::Unknown,
            (false, _) => Verdict::Same,
            (true, _) if paced() && noisy => Verdict::Unknown,
            (true, _) if paced() => Verdict::Paced,
            (true, true) => Verdict::More,
            (true, false) => Verdict::Less,
        }
    }

    fn words(self) -> &'static str {
        match self {
            Verdict::Same => "the same, within the ranges",
            Verdict::Unknown => "too noisy to say",
            Verdict::Paced => "the same, at the machine's pace",
            Verdict::Less => "less",
            Verdict::More => "more",
        }
    }
}

/// Whether the figures of a column were taken beside others in the same round.
fn is_ratio(column: &str) -> bool {
    column.contains('×')
}

/// How much longer the middle one of a table's rows took than in an earlier run; `None` where there are too few to know one that changed from
/// a machine that did.
fn pace(table: &Table, before: &Table) -> Option<f64> {
    const FEWEST: usize = 4;
    let ratio = |(row, cells): &(String, Vec<Cell>)| {
        let (column, new) = table.figures(cells).find(|(column, _)| !is_ratio(column))?;
        match before.cell(row, column)? {
            Cell::Figure(old) if old.middle > 0.0 => Some(new.middle / old.middle),
            _ => None,
        }
    };
    let mut ratios: Vec<f64> = table.rows.iter().filter_map(ratio).collect();
    ratios.sort_by(f64::total_cmp);
    (ratios.len() >= FEWEST).then(|| ratios[(ratios.len() - 1) / 2])
}

fn cells_of(old: &Figure, new: &Figure, verdict: Verdict) -> Vec<Cell> {
    let ratio = if old.middle == 0.0 { Cell::Nothing } else { Cell::number(new.middle / old.middle, 3) };
    let ratio = if old.noisy || new.noisy { Cell::Nothing } else { ratio };
    vec![Cell::Figure(*old), Cell::Figure(*new), ratio, Cell::Words(verdict.words().to_owned())]
}
