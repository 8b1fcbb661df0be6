//! What stands in a cell of a table: numbers that know how they are written, so that every face of a report has the same figures.

use serde_json::{Value, json};

use crate::measure::Pairs;

/// A median with the range that it is trusted to lie in, all with so many digits after the point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figure {
    /// The median.
    pub middle: f64,
    /// Where the range begins.
    pub low: f64,
    /// Where it ends.
    pub high: f64,
    /// Digits after the point.
    pub digits: usize,
    /// The range is too wide for the median to be told.
    pub noisy: bool,
}

/// What stands in a cell.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// A number, with so many digits after the point.
    Number(f64, usize),
    /// A count.
    Count(usize),
    /// A median and its range.
    Figure(Figure),
    /// Words.
    Words(String),
    /// Nothing to say.
    Nothing,
}

/// As many digits after the point as a time or a part of that size is worth.
pub(super) fn digits(size: f64) -> usize {
    match size.abs() {
        size if size < 1.0 => 3,
        size if size < 10.0 => 2,
        size if size < 10_000.0 => 1,
        _ => 0,
    }
}

pub(super) fn rounded(number: f64, digits: usize) -> f64 {
    format!("{number:.digits$}").parse().unwrap_or(number)
}

impl Figure {
    /// Judged by `size`, which the figure is or is a part of.
    pub fn new(pairs: Pairs, size: f64, digits: usize) -> Figure {
        let [middle, low, high] = [pairs.middle, pairs.low, pairs.high].map(|one| rounded(one, digits));
        Figure { middle, low, high, digits, noisy: pairs.is_noisy(size) }
    }

    /// The range alone.
    pub fn range(&self) -> String {
        let Figure { low, high, digits, .. } = self;
        format!("{low:.digits$}–{high:.digits$}")
    }

    /// The median and its range; the range alone where it is too wide.
    pub fn text(&self) -> String {
        match self.noisy {
            true => format!("too noisy ({})", self.range()),
            false => format!("{:.*} ({})", self.digits, self.middle, self.range()),
        }
    }

    /// The same, divided.
    pub(super) fn over(&self, by: f64) -> Figure {
        Figure { middle: self.middle / by, low: self.low / by, high: self.high / by, ..*self }
    }

    /// Whether the ranges of two lie apart.
    pub fn differs(&self, other: &Figure) -> bool {
        self.low > other.high || other.low > self.high
    }

    fn json(&self) -> Value {
        let Figure { middle, low, high, digits, noisy } = self;
        json!({"median": middle, "low": low, "high": high, "digits": digits, "noisy": noisy})
    }

    fn read(value: &Value) -> Option<Figure> {
        let number = |name: &str| value.get(name)?.as_f64();
        Some(Figure {
            middle: number("median")?,
            low: number("low")?,
            high: number("high")?,
            digits: some_digits(value)?,
            noisy: value.get("noisy")?.as_bool()?,
        })
    }
}

/// No file makes us write more than this many.
fn some_digits(value: &Value) -> Option<usize> {
    value.get("digits")?.as_u64().filter(|digits| *digits <= 9).map(|digits| digits as usize)
}

impl Cell {
    /// A ratio, judged by itself.
    pub fn ratio(pairs: Option<Pairs>) -> Cell {
        pairs.map_or(Cell::Nothing, |pairs| Cell::Figure(Figure::new(pairs, pairs.middle, 3)))
    }

    /// A difference, judged by what it is a part of.
    pub fn difference(pairs: Option<Pairs>, of: f64) -> Cell {
        pairs.map_or(Cell::Nothing, |pairs| Cell::Figure(Figure::new(pairs, of, digits(of))))
    }

    /// The median of samples, judged by itself.
    pub fn median(samples: &[f64]) -> Cell {
        let pairs = Pairs::alone(samples);
        pairs.map_or(Cell::Nothing, |pairs| {
            Cell::Figure(Figure::new(pairs, pairs.middle, digits(pairs.middle)))
        })
    }

    /// A number by itself.
    pub fn number(number: f64, digits: usize) -> Cell {
        Cell::Number(rounded(number, digits), digits)
    }

    pub(super) fn text(&self) -> String {
        match self {
            Cell::Number(number, digits) => format!("{number:.digits$}"),
            Cell::Count(count) => count.to_string(),
            Cell::Figure(figure) => figure.text(),
            Cell::Words(words) => words.clone(),
            Cell::Nothing => "–".to_owned(),
        }
    }

    pub(super) fn json(&self) -> Value {
        match self {
            Cell::Number(number, digits) => json!({"value": number, "digits": digits}),
            Cell::Count(count) => json!(count),
            Cell::Figure(figure) => figure.json(),
            Cell::Words(words) => json!(words),
            Cell::Nothing => Value::Null,
        }
    }

    pub(super) fn read(value: &Value) -> Option<Cell> {
        Some(match value {
            Value::Null => Cell::Nothing,
            Value::String(words) => Cell::Words(words.clone()),
            Value::Number(count) => Cell::Count(usize::try_from(count.as_u64()?).ok()?),
            Value::Object(fields) if fields.contains_key("value") => {
                Cell::Number(value.get("value")?.as_f64()?, some_digits(value)?)
            }
            _ => Cell::Figure(Figure::read(value)?),
        })
    }
}
