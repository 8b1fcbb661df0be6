//! Help, written from the tables of commands and flags. Its lines fit the terminal, between 60 columns and 100; what is piped has 80
//! and no bold letters.

use std::ffi::OsString;
use std::fmt::Write;
use std::io::IsTerminal;

use crate::commands::{self, COMMANDS, Entry};
use crate::flags::{self, Flag, Group};
use crate::{FAILED, tell};

/// What an exit code means, for help and the manual pages.
pub(crate) const CODES: &[(&str, &str)] = &[
    ("0-124", "the program's own, and every other number that it ends with"),
    ("125", "Beget failed; one sentence on standard error says at which part"),
    ("126", "the program was found and cannot be run"),
    ("127", "the program was not found"),
    ("128+N", "the program died of signal N; 137 also when its time was up"),
];

/// The same for the commands that measure.
pub(crate) const MEASURING: &[(&str, &str)] = &[
    ("0", "it was measured"),
    (
        "1",
        "it could not be; one sentence on standard error says at which part. compare: or what is Beget's leaked",
    ),
    ("2", "the command line is wrong"),
];

/// How help is set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Style {
    width: usize,
    bold: bool,
}

impl Style {
    /// For standard output as it is.
    pub(crate) fn of_output() -> Style {
        let output = std::io::stdout();
        if !output.is_terminal() {
            return Style { width: 80, bold: false };
        }
        let columns = rustix::termios::tcgetwinsize(&output).map_or(80, |size| usize::from(size.ws_col));
        let width = if columns == 0 { 80 } else { columns.clamp(60, 100) };
        let dumb = std::env::var_os("TERM").is_none_or(|name| name == "dumb");
        Style { width, bold: !dumb && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()) }
    }

    fn strong(self, text: &str) -> String {
        if self.bold { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() }
    }
}

/// `beget help [COMMAND]`.
pub(crate) fn print(words: &[OsString]) -> Result<u8, (String, u8)> {
    let style = Style::of_output();
    let Some(name) = words.first() else {
        return tell(&overview(style));
    };
    let entry = commands::find(&name.to_string_lossy());
    let entry = entry.ok_or_else(|| {
        (format!("command {}: no such command; there are {}", name.display(), commands::names()), FAILED)
    })?;
    tell(&page(entry, style))
}

/// `beget help`: the commands, and the flags by name.
pub(crate) fn overview(style: Style) -> String {
    let mut text = "beget: run a program that holds only what it was given\n\n".to_owned();
    heading(&mut text, style, "USAGE");
    for entry in COMMANDS {
        let _ =
            writeln!(text, "{}", format!("  beget {} {}", style.strong(entry.name), entry.usage).trim_end());
    }
    text.push('\n');
    heading(&mut text, style, "COMMANDS");
    for entry in COMMANDS {
        item(&mut text, style, (entry.name, ""), entry.summary, 15);
    }
    text.push('\n');
    examples(&mut text, style, &[COMMANDS[0].examples, COMMANDS[1].examples].concat());
    for group in Group::ALL {
        let names: Vec<String> = in_group("run", group).map(|flag| format!("--{}", flag.name)).collect();
        if names.is_empty() {
            continue;
        }
        heading(&mut text, style, group.title());
        paragraph(&mut text, style, &names.join(" "), 2);
        text.push('\n');
    }
    paragraph(&mut text, style, "`beget run --help` tells what each flag does.", 0);
    text.push('\n');
    codes(&mut text, style, CODES);
    text
}

/// `beget COMMAND --help`.
pub(crate) fn page(entry: &Entry, style: Style) -> String {
    let usage = format!("beget {} {}", style.strong(&entry.typed()), entry.usage);
    let mut text = format!("{}\n\n", usage.trim_end());
    for part in entry.text.split("\n\n") {
        paragraph(&mut text, style, part, 0);
        text.push('\n');
    }
    if entry.takes.flags() {
        for group in Group::ALL {
            let flags: Vec<&Flag> = in_group(entry.name, group).collect();
            if flags.is_empty() {
                continue;
            }
            heading(&mut text, style, entry.title(group));
            for flag in flags {
                item(
                    &mut text,
                    style,
                    (&format!("--{}", flag.name), flag.value),
                    flag.help,
                    2 + column(style),
                );
            }
            text.push('\n');
        }
    }
    examples(&mut text, style, entry.examples);
    if entry.takes.flags() {
        codes(&mut text, style, entry.codes());
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn in_group(command: &str, group: Group) -> impl Iterator<Item = &'static Flag> {
    flags::of(command).filter(move |flag| flag.group == group)
}

/// How wide the names of flags are set.
fn column(style: Style) -> usize {
    if style.width >= 92 { 28 } else { 22 }
}

fn heading(text: &mut String, style: Style, title: &str) {
    let (word, _) = title.split_once(':').unwrap_or((title, ""));
    let mut indent = 0;
    for line in wrapped(title, style.width - 2) {
        let line = if indent == 0 { line.replacen(word, &style.strong(word), 1) } else { line };
        let _ = writeln!(text, "{:indent$}{line}", "");
        indent = 2;
    }
}

fn examples(text: &mut String, style: Style, examples: &[(&str, &str)]) {
    if examples.is_empty() {
        return;
    }
    heading(text, style, "EXAMPLES");
    for (line, what) in examples {
        let _ = writeln!(text, "  {line}");
        paragraph(text, style, what, 6);
    }
    text.push('\n');
}

fn codes(text: &mut String, style: Style, codes: &[(&str, &str)]) {
    heading(text, style, "EXIT CODES");
    for (code, what) in codes {
        item(text, style, (code, ""), what, 10);
    }
}

/// A name and its value, two columns in, and what it is from column `at` on; on a line of its own where the name is too long.
fn item(text: &mut String, style: Style, (name, value): (&str, &str), what: &str, at: usize) {
    let length = format!("{name} {value}").trim_end().chars().count();
    let _ = write!(text, "{}", format!("  {} {value}", style.strong(name)).trim_end());
    let mut room = at.saturating_sub(2 + length);
    if room < 2 {
        text.push('\n');
        room = at;
    }
    for (index, line) in wrapped(what, style.width - at).into_iter().enumerate() {
        let indent = if index == 0 { room } else { at };
        let _ = writeln!(text, "{:indent$}{line}", "");
    }
}

fn paragraph(text: &mut String, style: Style, words: &str, indent: usize) {
    for line in wrapped(words, style.width - indent) {
        let _ = writeln!(text, "{:indent$}{line}", "");
    }
}

/// The words in lines of at most `width` letters; a longer word has a line to itself.
fn wrapped(words: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in words.split_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        if line.is_empty() {
            line.push_str(word);
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            let _ = write!(line, " {word}");
        } else {
            lines.push(word.to_owned());
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every page fits its width, but for command lines, which are not broken.
    #[test]
    fn help_fits_the_terminal() {
        for width in [60, 80, 100] {
            let style = Style { width, bold: false };
            let pages = commands::all().map(|entry| page(entry, style)).chain([overview(style)]);
            for line in pages.collect::<String>().lines() {
                let typed = line.trim_start().starts_with("beget ");
                assert!(typed || line.chars().count() <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn bold_changes_nothing_else() {
        for entry in commands::all() {
            let bold = page(entry, Style { width: 80, bold: true });
            let plain = page(entry, Style { width: 80, bold: false });
            assert!(bold.contains("\x1b[1m"));
            assert_eq!(bold.replace("\x1b[1m", "").replace("\x1b[0m", ""), plain);
        }
    }
}
