//! A plot of bars, each with its range, drawn at the width it is shown at, so that its letters keep their size.

#[path = "drawing.rs"]
mod drawing;
#[path = "scale.rs"]
mod scale;

/// Whose a bar is, which gives it its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Beget's own.
    #[default]
    Ours,
    /// Another's.
    Peer,
    /// The least that anybody needs.
    Floor,
    /// Beget's own, where it is not what it was to be.
    Missed,
}

impl Kind {
    const ALL: [Kind; 4] = [Kind::Ours, Kind::Peer, Kind::Floor, Kind::Missed];

    /// The variable of its colour, and what it is called.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Kind::Ours => ("ours", "Beget"),
            Kind::Peer => ("peer", "others"),
            Kind::Floor => ("floor", "floor"),
            Kind::Missed => ("missed", "Beget, not reached"),
        }
    }
}

#[derive(Clone, Debug)]
struct Bar {
    name: String,
    kind: Kind,
    /// None where it is too uncertain to be told.
    value: Option<f64>,
    range: Option<(f64, f64)>,
    told: String,
}

/// A plot. Bars lie one below the other and begin at zero, or, where they differ by more than a thirtieth, lie on a scale of powers of ten.
#[derive(Clone, Debug)]
pub struct Plot {
    title: String,
    unit: String,
    bars: Vec<Bar>,
    marks: Vec<(f64, String)>,
}

impl Plot {
    /// An empty one; `unit` is written at its scale.
    pub fn new(title: impl Into<String>, unit: impl Into<String>) -> Plot {
        Plot { title: title.into(), unit: unit.into(), bars: Vec::new(), marks: Vec::new() }
    }

    /// What it shows.
    #[must_use]
    pub fn title(&self) -> &str {
        &self.title
    }

    /// How many bars it has.
    #[must_use]
    pub fn bars(&self) -> usize {
        self.bars.len()
    }

    /// Adds a bar without a range. `told` is the value as it is written beside it. What is no number is left out.
    pub fn bar(&mut self, name: impl Into<String>, value: f64, told: impl Into<String>) -> &mut Plot {
        self.add(name.into(), Some(value), None, told.into())
    }

    /// Adds a bar: its value, and where its range begins and ends.
    pub fn range(
        &mut self,
        name: impl Into<String>,
        [value, low, high]: [f64; 3],
        told: impl Into<String>,
    ) -> &mut Plot {
        self.add(name.into(), Some(value), Some((low, high)), told.into())
    }

    /// Adds a range without a bar, for what is too uncertain to be told.
    pub fn uncertain(
        &mut self,
        name: impl Into<String>,
        [low, high]: [f64; 2],
        told: impl Into<String>,
    ) -> &mut Plot {
        self.add(name.into(), None, Some((low, high)), told.into())
    }

    fn add(
        &mut self,
        name: String,
        value: Option<f64>,
        range: Option<(f64, f64)>,
        told: String,
    ) -> &mut Plot {
        if value.is_none_or(f64::is_finite) {
            self.bars.push(Bar { name, kind: Kind::Ours, value, range, told });
        }
        self
    }

    /// Says whose the bar is that was added last.
    pub fn of(&mut self, kind: Kind) -> &mut Plot {
        if let Some(bar) = self.bars.last_mut() {
            bar.kind = kind;
        }
        self
    }

    /// Adds a line across all bars at a value, such as what is to be reached.
    pub fn mark(&mut self, value: f64, name: impl Into<String>) -> &mut Plot {
        if value.is_finite() {
            self.marks.push((value, name.into()));
        }
        self
    }

    /// The drawing, `width` pixels wide where there is room. Letters and lines have the colour of the text around; bars have those of the
    /// variables `--ours`, `--peer`, `--floor` and `--missed`.
    #[must_use]
    pub fn svg(&self, width: u32) -> String {
        drawing::svg(self, width, "")
    }

    /// The drawing as a file of its own, which brings its colours, light and dark.
    #[must_use]
    pub fn file(&self, width: u32) -> String {
        drawing::svg(self, width, drawing::COLOURS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Drawn at any width, nothing lies outside of it.
    #[test]
    fn what_is_drawn_stays_within() {
        let mut plot = Plot::new("p", "us");
        let name = "a name of many words that a phone has no room for in one line";
        plot.range(name, [3.0, 1.0, 900.0], "3.0 (1.0-900.0)").mark(500.0, "reach");
        plot.uncertain("nobody knows", [1e-9, 1e9], "too noisy").of(Kind::Peer);
        plot.bar("nothing", 0.0, "0").bar("none", f64::NAN, "-");
        for width in [320_u32, 340, 720] {
            let drawing = plot.svg(width);
            for number in drawing.split(" x=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let x: f64 = number.parse().expect("a number");
                assert!((0.0..=f64::from(width)).contains(&x), "{width}: {x}");
            }
            assert!(!drawing.contains("NaN") && !drawing.contains(">none<"), "{drawing}");
            // Two have a bar, and one a range alone.
            assert_eq!(drawing.matches("<rect class=\"bar\"").count(), 2, "{drawing}");
        }
        assert!(plot.file(720).contains("prefers-color-scheme: dark"));
    }
}
