//! A plot of bars, each with its range, drawn at the width it is shown at, so that its letters keep their size.

use std::fmt::Write;

use super::page::escaped;

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
}

#[derive(Clone, Debug)]
struct Bar {
    name: String,
    kind: Kind,
    value: f64,
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

const LETTER: u32 = 7;
const LINE: u32 = 17;

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
        self.add(name.into(), value, None, told.into())
    }

    /// Adds a bar: its value, and where its range begins and ends.
    pub fn range(
        &mut self,
        name: impl Into<String>,
        [value, low, high]: [f64; 3],
        told: impl Into<String>,
    ) -> &mut Plot {
        self.add(name.into(), value, Some((low, high)), told.into())
    }

    fn add(&mut self, name: String, value: f64, range: Option<(f64, f64)>, told: String) -> &mut Plot {
        if value.is_finite() {
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
    /// variables `--ours`, `--peer` and `--floor`.
    #[must_use]
    pub fn svg(&self, width: u32) -> String {
        let scale = Scale::of(self);
        // Names beside the bars where there is room, else above.
        let beside = if width >= 600 { width * 2 / 5 } else { 0 };
        let values =
            (self.bars.iter().map(|bar| letters(&bar.told)).max().unwrap_or(0) * LETTER + 8).min(width / 3);
        let (left, right) = if beside > 0 { (beside, width - values) } else { (2, width - 4) };
        let at = |value: f64| f64::from(left) + scale.part(value) * f64::from(right - left);
        let mut drawing = String::new();
        let mut top = if self.marks.is_empty() { 4 } else { LINE + 4 };
        let begin = top;
        for bar in &self.bars {
            let room = if beside > 0 { beside - 10 } else { width - values };
            let lines = wrapped(&bar.name, (room / LETTER) as usize);
            let height = LINE * lines.len() as u32;
            for (index, line) in lines.iter().enumerate() {
                let baseline = top + LINE * index as u32 + 13;
                let _ = writeln!(drawing, "<text x=\"2\" y=\"{baseline}\">{}</text>", escaped(line));
            }
            let class = ["ours", "peer", "floor"][bar.kind as usize];
            let bar_top = if beside > 0 { top + height / 2 - 6 } else { top + height + 1 };
            let told_at = if beside > 0 { bar_top + 11 } else { top + 13 };
            let _ = writeln!(
                drawing,
                "<rect x=\"{left}\" y=\"{bar_top}\" width=\"{:.1}\" height=\"12\" rx=\"2\" style=\"fill:var(--{class})\"/>\n<text x=\"{}\" y=\"{told_at}\" \
                 text-anchor=\"end\">{}</text>",
                (at(bar.value) - f64::from(left)).max(1.0),
                width - 2,
                escaped(&bar.told)
            );
            if let Some((low, high)) = bar.range {
                let (low, high, middle) = (at(low), at(high), bar_top + 6);
                let (up, down) = (bar_top + 2, bar_top + 10);
                let _ = writeln!(
                    drawing,
                    "<path d=\"M{low:.1} {middle}H{high:.1}M{low:.1} {up}V{down}M{high:.1} {up}V{down}\" style=\"stroke:currentColor;fill:none\"/>"
                );
            }
            top += height + if beside > 0 { 5 } else { 20 };
        }
        let bottom = top;
        for tick in scale.ticks((right - left) / 60) {
            let x = at(tick);
            let anchor = if x + 30.0 > f64::from(width) {
                "end"
            } else if x < 30.0 {
                "start"
            } else {
                "middle"
            };
            let _ = writeln!(
                drawing,
                "<path d=\"M{x:.1} {begin}V{bottom}\" style=\"stroke:currentColor;opacity:.15\"/>\n<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\" \
                 style=\"opacity:.75\">{}</text>",
                bottom + 14,
                short(tick)
            );
        }
        for (value, name) in &self.marks {
            let x = at(*value);
            let anchor = if x > f64::from(width) / 2.0 { "end" } else { "start" };
            let _ = writeln!(
                drawing,
                "<path d=\"M{x:.1} {begin}V{bottom}\" style=\"stroke:currentColor;stroke-dasharray:4 3;fill:none\"/>\n<text x=\"{x:.1}\" y=\"13\" \
                 text-anchor=\"{anchor}\">{}</text>",
                escaped(name)
            );
        }
        let scale_name =
            if scale.powers { format!("{}, each step ten times", self.unit) } else { self.unit.clone() };
        let _ = writeln!(
            drawing,
            "<text x=\"{}\" y=\"{}\" text-anchor=\"end\" style=\"opacity:.75\">{}</text>",
            width - 2,
            bottom + 31,
            escaped(&scale_name)
        );
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{0}\" viewBox=\"0 0 {width} {0}\" role=\"img\" aria-label=\"{1}\" \
             style=\"font:13px system-ui,sans-serif;fill:currentColor\">\n{drawing}</svg>",
            bottom + 38,
            escaped(&self.title)
        )
    }
}

fn letters(text: &str) -> u32 {
    text.chars().count() as u32
}

/// Words in lines of at most so many letters; a word that is longer has a line of its own.
fn wrapped(text: &str, most: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is always one");
        if last.is_empty() {
            last.push_str(word);
        } else if last.chars().count() + 1 + word.chars().count() <= most {
            last.push(' ');
            last.push_str(word);
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

fn short(number: f64) -> String {
    if number >= 1e6 {
        format!("{}M", number / 1e6)
    } else if number >= 1e4 {
        format!("{}k", number / 1e3)
    } else {
        format!("{}", (number * 1e6).round() / 1e6)
    }
}

/// From values to places.
struct Scale {
    least: f64,
    most: f64,
    powers: bool,
}

impl Scale {
    fn of(plot: &Plot) -> Scale {
        const APART: f64 = 30.0;
        let all = || {
            plot.bars
                .iter()
                .flat_map(|bar| [bar.value, bar.range.map_or(bar.value, |(_, high)| high)])
                .chain(plot.marks.iter().map(|(value, _)| *value))
        };
        let most = all().filter(|value| value.is_finite()).fold(0.0, f64::max);
        let least = all().filter(|value| *value > 0.0).fold(most, f64::min);
        if most <= 0.0 {
            return Scale { least: 0.0, most: 1.0, powers: false };
        }
        if plot.bars.iter().all(|bar| bar.value > 0.0) && most / least > APART {
            return Scale { least: 10_f64.powf(least.log10().floor()), most, powers: true };
        }
        Scale { least: 0.0, most: most * 1.02, powers: false }
    }

    fn part(&self, value: f64) -> f64 {
        let part = if self.powers {
            (value.max(self.least).log10() - self.least.log10()) / (self.most.log10() - self.least.log10())
        } else {
            value / self.most
        };
        part.clamp(0.0, 1.0)
    }

    /// Round numbers, about `count` of them.
    fn ticks(&self, count: u32) -> Vec<f64> {
        if self.powers {
            let first = self.least.log10().round() as i32;
            return (first..=self.most.log10().floor() as i32).map(|power| 10_f64.powi(power)).collect();
        }
        let rough = self.most / f64::from(count.clamp(2, 6));
        let power = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0]
            .into_iter()
            .map(|part| part * power)
            .find(|step| *step >= rough)
            .unwrap_or(rough);
        (0..).map(|index| step * f64::from(index)).take_while(|tick| *tick <= self.most).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_begin_at_zero_or_are_of_powers() {
        let mut plot = Plot::new("p", "us");
        plot.bar("a", 10.0, "10").bar("b", 40.0, "40");
        let near = Scale::of(&plot);
        assert!(!near.powers && near.part(0.0) == 0.0);
        assert_eq!(near.ticks(4), [0.0, 20.0, 40.0]);
        plot.bar("c", 4000.0, "4000");
        let far = Scale::of(&plot);
        assert!(far.powers && far.part(4000.0) == 1.0);
        assert_eq!(far.ticks(4), [10.0, 100.0, 1000.0]);
    }

    /// Drawn at any width, nothing lies outside of it.
    #[test]
    fn what_is_drawn_stays_within() {
        let mut plot = Plot::new("p", "us");
        plot.range(
            "a name of many words that a phone has no room for in one line",
            [3.0, 1.0, 900.0],
            "3.0 (1.0-900.0)",
        )
        .mark(500.0, "reach");
        plot.bar("nothing", 0.0, "0").bar("none", f64::NAN, "-");
        for width in [320_u32, 340, 720] {
            let drawing = plot.svg(width);
            for number in drawing.split(" x=\"").skip(1).filter_map(|rest| rest.split('"').next()) {
                let x: f64 = number.parse().expect("a number");
                assert!((0.0..=f64::from(width)).contains(&x), "{width}: {x}");
            }
            assert!(!drawing.contains("NaN") && !drawing.contains(">none<"), "{drawing}");
        }
    }
}
