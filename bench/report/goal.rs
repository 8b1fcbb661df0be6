//! Figures that the project wants to reach, and whether it does here.

use serde_json::{Value, json};

use super::cell::{Cell, Figure, rounded};
use crate::measure::Pairs;

/// A figure to reach.
#[derive(Clone, Debug)]
pub struct Goal {
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

/// The same, as it is told.
#[derive(Clone, Debug)]
pub(super) struct Told {
    pub(super) what: String,
    pub(super) reach: String,
    pub(super) most: f64,
    pub(super) figure: Option<Figure>,
    pub(super) by_minima: Option<f64>,
}

impl From<&Goal> for Told {
    fn from(goal: &Goal) -> Told {
        let digits = if goal.size.is_some() { 1 } else { 3 };
        let size = goal.size.or(goal.measured.map(|pairs| pairs.middle)).unwrap_or(1.0);
        Told {
            what: goal.what.clone(),
            reach: goal.reach.clone(),
            most: goal.most,
            figure: goal.measured.map(|pairs| Figure::new(pairs, size, digits)),
            by_minima: goal.by_minima.map(|number| rounded(number, digits)),
        }
    }
}

impl Told {
    pub(super) const COLUMNS: [&'static str; 6] = ["what", "reach", "here", "range", "by minima", "verdict"];

    pub(super) fn verdict(&self) -> &'static str {
        match &self.figure {
            None => "not measured",
            // Where the whole range lies on one side, noise does not matter.
            Some(figure) if figure.high <= self.most => "reached",
            Some(figure) if figure.low > self.most => "missed",
            Some(figure) if figure.noisy => "too noisy to say",
            Some(figure) if figure.middle <= self.most => "reached, within the noise",
            Some(_) => "missed, within the noise",
        }
    }

    pub(super) fn cells(&self) -> Vec<Cell> {
        let words = |text: &str| Cell::Words(text.to_owned());
        let (here, range) = match &self.figure {
            Some(figure) if figure.noisy => (words("too noisy"), words(&figure.range())),
            Some(figure) => (Cell::Number(figure.middle, figure.digits), words(&figure.range())),
            None => (Cell::Nothing, Cell::Nothing),
        };
        let digits = self.figure.map_or(3, |figure| figure.digits);
        let by_minima = self.by_minima.map_or(Cell::Nothing, |number| Cell::Number(number, digits));
        vec![words(&self.reach), here, range, by_minima, words(self.verdict())]
    }

    pub(super) fn json(&self) -> Value {
        let figure = self.figure.map_or(Value::Null, |figure| Cell::Figure(figure).json());
        json!({
            "what": self.what, "reach": self.reach, "most": self.most, "measured": figure, "by_minima": self.by_minima,
            "verdict": self.verdict(),
        })
    }

    pub(super) fn read(value: &Value) -> Option<Told> {
        let words = |name: &str| Some(value.get(name)?.as_str()?.to_owned());
        let figure = match Cell::read(value.get("measured")?)? {
            Cell::Figure(figure) => Some(figure),
            _ => None,
        };
        Some(Told {
            what: words("what")?,
            reach: words("reach")?,
            most: value.get("most")?.as_f64()?,
            figure,
            by_minima: value.get("by_minima")?.as_f64(),
        })
    }
}
