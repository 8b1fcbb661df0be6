//! A plot as SVG, part by part: bars with their names, values and ranges, the scale, the marks, and whose each colour is.
//!
//! Safety idea: every word of it is escaped; numbers are our own.

use std::fmt::Write;

use super::super::page::escaped;
use super::scale::Scale;
use super::{Bar, Kind, Plot};

/// About what a letter takes, a little more than most.
const LETTER: u32 = 7;
const LINE: u32 = 17;
/// What is fainter than the rest.
const FAINT: &str = "style=\"opacity:.75\"";

/// For a drawing that stands alone.
pub(super) const COLOURS: &str = "<style>svg{color:#1b1f24;--ours:#1a7f64;--peer:#6e7a89;--floor:#b7791f;--missed:#b42318}\
    @media (prefers-color-scheme: dark){svg{color:#e6e9ed;--ours:#3fb68e;--peer:#8b97a5;--floor:#d9a441;--missed:#ff8a7a}}</style>\n";

struct Drawing<'a> {
    plot: &'a Plot,
    scale: Scale,
    width: u32,
    /// Names stand beside the bars, which begin here; or above them, where it is 0.
    beside: u32,
    /// Room for the values.
    values: u32,
    left: u32,
    right: u32,
    text: String,
}

pub(super) fn svg(plot: &Plot, width: u32, style: &str) -> String {
    let beside = if width >= 600 { width * 2 / 5 } else { 0 };
    let longest = plot.bars.iter().map(|bar| letters(&bar.told)).max().unwrap_or(0);
    let values = (longest * LETTER + 8).min(width * 3 / 5);
    let (left, right) = if beside > 0 { (beside, (width - values).max(beside + 60)) } else { (2, width - 4) };
    let scale = Scale::of(plot);
    let mut drawing = Drawing { plot, scale, width, beside, values, left, right, text: String::new() };
    let begin = if plot.marks.is_empty() { 4 } else { LINE + 4 };
    let bottom = plot.bars.iter().fold(begin, |top, bar| drawing.bar(bar, top));
    drawing.ticks(begin, bottom);
    drawing.marks(begin, bottom);
    let end = drawing.below(bottom + 31);
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{end}\" viewBox=\"0 0 {width} {end}\" role=\"img\" \
         aria-label=\"{}\" style=\"font:13px system-ui,sans-serif;fill:currentColor\">\n{style}{}</svg>",
        escaped(&plot.title),
        drawing.text
    )
}

impl Drawing<'_> {
    fn at(&self, value: f64) -> f64 {
        f64::from(self.left) + self.scale.part(value) * f64::from(self.right - self.left)
    }

    fn word(&mut self, x: f64, y: u32, anchor: &str, more: &str, word: &str) {
        let word = escaped(word);
        let _ =
            writeln!(self.text, "<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\" {more}>{word}</text>");
    }

    /// Draws a bar below `top`, and says where the next begins.
    fn bar(&mut self, bar: &Bar, top: u32) -> u32 {
        let room = if self.beside > 0 { self.beside - 10 } else { self.width - self.values };
        let lines = wrapped(&bar.name, (room / LETTER) as usize);
        for (index, line) in lines.iter().enumerate() {
            self.word(2.0, top + LINE * index as u32 + 13, "start", "", line);
        }
        let height = LINE * lines.len() as u32;
        let (above, told) = if self.beside > 0 {
            (top + height / 2 - 6, top + height / 2 + 5)
        } else {
            (top + height + 1, top + 13)
        };
        if let Some(value) = bar.value {
            let length = (self.at(value) - f64::from(self.left)).max(1.0);
            let (left, colour) = (self.left, bar.kind.names().0);
            let _ = writeln!(
                self.text,
                "<rect class=\"bar\" x=\"{left}\" y=\"{above}\" width=\"{length:.1}\" height=\"12\" rx=\"2\" style=\"fill:var(--{colour})\"/>"
            );
        }
        if let Some((low, high)) = bar.range {
            let (low, high, middle) = (self.at(low), self.at(high), above + 6);
            let _ = match bar.value {
                Some(_) => {
                    let (up, down) = (above + 2, above + 10);
                    writeln!(
                        self.text,
                        "<path d=\"M{low:.1} {middle}H{high:.1}M{low:.1} {up}V{down}M{high:.1} {up}V{down}\" style=\"stroke:currentColor;fill:none\"/>"
                    )
                }
                None => writeln!(
                    self.text,
                    "<rect x=\"{low:.1}\" y=\"{}\" width=\"{:.1}\" height=\"6\" rx=\"3\" style=\"fill:var(--{});opacity:.5\"/>",
                    above + 3,
                    (high - low).max(3.0),
                    bar.kind.names().0
                ),
            };
        }
        self.word(f64::from(self.width - 2), told, "end", "", &bar.told);
        top + height + if self.beside > 0 { 5 } else { 20 }
    }

    fn ticks(&mut self, begin: u32, bottom: u32) {
        for tick in self.scale.ticks((self.right - self.left) / 60) {
            let x = self.at(tick);
            let anchor = match x {
                x if x + 30.0 > f64::from(self.width) => "end",
                x if x < 30.0 => "start",
                _ => "middle",
            };
            let _ = writeln!(
                self.text,
                "<path d=\"M{x:.1} {begin}V{bottom}\" style=\"stroke:currentColor;opacity:.15\"/>"
            );
            self.word(x, bottom + 14, anchor, FAINT, &short(tick));
        }
    }

    fn marks(&mut self, begin: u32, bottom: u32) {
        for (value, name) in &self.plot.marks {
            let x = self.at(*value);
            let anchor = if x > f64::from(self.width) / 2.0 { "end" } else { "start" };
            let _ = writeln!(
                self.text,
                "<path d=\"M{x:.1} {begin}V{bottom}\" style=\"stroke:currentColor;stroke-dasharray:4 3;fill:none\"/>"
            );
            self.word(x, 13, anchor, "", name);
        }
    }

    /// What the scale counts, and whose each colour is where there are several; says where the drawing ends.
    fn below(&mut self, baseline: u32) -> u32 {
        let step = if self.scale.powers { ", each step ten times" } else { "" };
        let unit = format!("{}{step}", self.plot.unit);
        self.word(f64::from(self.width - 2), baseline, "end", FAINT, &unit);
        let there: Vec<Kind> =
            Kind::ALL.into_iter().filter(|kind| self.plot.bars.iter().any(|bar| bar.kind == *kind)).collect();
        if there.len() < 2 {
            return baseline + 7;
        }
        let (mut x, y) = (2, baseline + LINE + 3);
        for kind in there {
            let (colour, name) = kind.names();
            let _ = writeln!(
                self.text,
                "<rect x=\"{x}\" y=\"{}\" width=\"10\" height=\"10\" rx=\"2\" style=\"fill:var(--{colour})\"/>",
                y - 10
            );
            self.word(f64::from(x + 15), y, "start", "", name);
            x += 15 + letters(name) * LETTER + 14;
        }
        y + 7
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
    match number {
        number if number >= 1e6 => format!("{}M", number / 1e6),
        number if number >= 1e4 => format!("{}k", number / 1e3),
        number => format!("{}", (number * 1e6).round() / 1e6),
    }
}
