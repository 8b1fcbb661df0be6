//! Manual pages, and the files that packages install: written from the tables of commands and flags, and kept in the repository so that
//! a change of a table is seen in them.

use std::fmt::Write;

use beget::Promise;

use crate::commands::{self, COMMANDS, Entry};
use crate::completions;
use crate::flags::{self, Flag, Group};
use crate::help::CODES;

/// When the pages were last worth a new date.
const DATE: &str = "2026-11-26";

/// A file that is written from the tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// Its place in the repository.
    pub path: String,
    /// What it holds.
    pub text: String,
}

/// The manual pages in `docs/man` and the completions in `packaging/completions`.
#[must_use]
pub fn pages() -> Vec<Page> {
    let mut pages = vec![Page { path: "docs/man/beget.1".into(), text: overview() }];
    for entry in commands::all().filter(|entry| has_page(entry)) {
        pages.push(Page { path: format!("docs/man/beget-{}.1", entry.name), text: command(entry) });
    }
    for (shell, name) in [("bash", "beget"), ("zsh", "_beget"), ("fish", "beget.fish")] {
        let text = completions::script(shell).unwrap_or_default();
        pages.push(Page { path: format!("packaging/completions/{shell}/{name}"), text });
    }
    pages
}

/// Whether there is enough to say for a page: the others are told of in `beget(1)`.
fn has_page(entry: &Entry) -> bool {
    !entry.examples.is_empty()
}

fn overview() -> String {
    let mut page = opening("beget", "run a program that holds only what it was given");
    page.push_str(".SH SYNOPSIS\n");
    for (index, entry) in COMMANDS.iter().enumerate() {
        page.push_str(if index == 0 { "" } else { ".br\n" });
        synopsis(&mut page, entry);
    }
    page.push_str(".SH DESCRIPTION\n");
    paragraphs(
        &mut page,
        "Beget creates processes that begin with nothing and hold exactly what they were given: no descriptor, variable, file, \
         socket or signal right comes by inheritance. It needs no root, no daemon, no container and no user namespace.\n\n\
         What a program may do is said with flags, each of which grants one thing; `beget show` prints the whole of it, with the \
         kernel feature that enforces each line and what stays open. A promise that the running kernel cannot keep is an error, \
         unless it was given up by name with --degrade.",
    );
    page.push_str(".SH COMMANDS\n");
    for entry in COMMANDS {
        let tag = format!("\\fB{}\\fP {}", plain(entry.name), values(entry.usage));
        let see = if has_page(entry) { format!("; see `beget-{}`(1)", entry.name) } else { String::new() };
        let what = sentence(entry.summary);
        let _ = writeln!(page, ".TP\n{}\n{}", tag.trim_end(), line(&format!("{what}{see}.")));
    }
    codes(&mut page, CODES);
    page.push_str(".SH ENVIRONMENT\n");
    paragraphs(
        &mut page,
        "No variable changes what is enforced, and none of yours is passed to a program unless --env names it. NO_COLOR, when it is set, \
         keeps help on a terminal from bold letters.",
    );
    examples(&mut page, COMMANDS[0].examples);
    see_also(&mut page, "");
    page
}

fn command(entry: &Entry) -> String {
    let name = format!("beget-{}", entry.name);
    let mut page = opening(&name, entry.summary);
    page.push_str(".SH SYNOPSIS\n");
    synopsis(&mut page, entry);
    page.push_str(".SH DESCRIPTION\n");
    paragraphs(&mut page, entry.text);
    match entry.name {
        "show" | "check" => {
            page.push_str(".SH OPTIONS\n");
            paragraphs(&mut page, "Those of `beget-run`(1), which lists the promises too.");
        }
        _ if entry.takes.flags() => options(&mut page, entry),
        _ => {}
    }
    if entry.name == "run" {
        promises(&mut page);
    }
    codes(&mut page, entry.codes());
    examples(&mut page, entry.examples);
    see_also(&mut page, entry.name);
    page
}

fn options(page: &mut String, entry: &Entry) {
    page.push_str(".SH OPTIONS\n");
    for group in Group::ALL {
        let flags: Vec<&Flag> = flags::of(entry.name).filter(|flag| flag.group == group).collect();
        if !flags.is_empty() {
            let _ = writeln!(page, ".SS {}", line(&sentence(entry.title(group))));
        }
        for flag in flags {
            let tag = format!("\\fB{}\\fP {}", plain(&format!("--{}", flag.name)), values(flag.value));
            let what = line(&format!("{}.", sentence(flag.help)));
            let _ = writeln!(page, ".TP\n{}\n{what}", tag.trim_end());
        }
    }
}

fn opening(name: &str, what: &str) -> String {
    format!(
        ".\\\" Written from the tables of commands and flags; do not edit.\n.TH {} 1 {DATE} \"beget {}\" \"User commands\"\n.nh\n.SH \
         NAME\n{} \\- {}\n",
        name.to_uppercase(),
        env!("CARGO_PKG_VERSION"),
        plain(name),
        line(what),
    )
}

fn synopsis(page: &mut String, entry: &Entry) {
    let text = format!("\\fBbeget {}\\fP {}", plain(&entry.typed()), values(entry.usage));
    let _ = writeln!(page, "{}", text.trim_end());
}

fn promises(page: &mut String) {
    page.push_str(".SH PROMISES\n");
    paragraphs(page, "What --degrade can give up, by name, and what a system must have to keep it:");
    for promise in Promise::ALL {
        let text = format!("{}: {}.", sentence(promise.what()), promise.what_it_needs());
        let _ = writeln!(page, ".TP\n\\fB{}\\fP\n{}", plain(promise.word()), line(&text));
    }
}

fn codes(page: &mut String, codes: &[(&str, &str)]) {
    page.push_str(".SH EXIT STATUS\n");
    for (code, what) in codes {
        let _ = writeln!(page, ".TP\n\\fB{}\\fP\n{}", plain(code), line(&format!("{}.", sentence(what))));
    }
}

fn examples(page: &mut String, examples: &[(&str, &str)]) {
    page.push_str(".SH EXAMPLES\n");
    for (index, (command, what)) in examples.iter().enumerate() {
        page.push_str(if index == 0 { "" } else { ".PP\n" });
        let what = line(&format!("{}:", sentence(what)));
        let _ = writeln!(page, "{what}\n.PP\n.RS 4\n.nf\n{}\n.fi\n.RE", plain(command));
    }
}

fn see_also(page: &mut String, own: &str) {
    let mut names: Vec<String> = commands::all()
        .filter(|entry| has_page(entry) && entry.name != own)
        .map(|entry| format!("beget-{}(1)", entry.name))
        .collect();
    names.extend((!own.is_empty()).then(|| "beget(1)".to_owned()));
    names.extend(["landlock(7)", "seccomp(2)", "setpriv(1)"].map(str::to_owned));
    names.sort_by_key(|name| name.split('(').nth(1).map(|section| (section.to_owned(), name.clone())));
    let names: Vec<String> = names
        .iter()
        .filter_map(|name| name.split_once('('))
        .map(|(name, section)| format!(".BR {} ({section}", plain(name)))
        .collect();
    let _ = writeln!(page, ".SH SEE ALSO\n{}", names.join(" ,\n"));
}

/// With a capital, as a sentence begins.
fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

/// Text with nothing in it that means anything to the formatter.
fn plain(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        match letter {
            '\\' => escaped.push_str("\\e"),
            '-' => escaped.push_str("\\-"),
            '\'' => escaped.push_str("\\(aq"),
            '`' => escaped.push_str("\\(ga"),
            '^' => escaped.push_str("\\(ha"),
            '~' => escaped.push_str("\\(ti"),
            _ => escaped.push(letter),
        }
    }
    if escaped.starts_with('.') { format!("\\&{escaped}") } else { escaped }
}

/// The names of values in italics, with what is between and around them as it is.
fn values(text: &str) -> String {
    let mut set = String::new();
    let mut inside = false;
    for letter in text.chars() {
        if letter.is_ascii_uppercase() != inside && !(inside && letter == '_') {
            inside = !inside;
            set.push_str(if inside { "\\fI" } else { "\\fP" });
        }
        set.push_str(&plain(&letter.to_string()).replace("\\&", ""));
    }
    if inside {
        set.push_str("\\fP");
    }
    set
}

/// Prose in lines of the source: short, as the pages' checkers want them, and none that reads as a request.
fn line(text: &str) -> String {
    let mut lines = vec![String::new()];
    for word in marked(text).split_whitespace() {
        let last = lines.last_mut().expect("there is always one");
        if last.is_empty() {
            last.push_str(word);
        } else if last.len() + 1 + word.len() <= 78 {
            let _ = write!(last, " {word}");
        } else {
            let guard = if word.starts_with('.') { "\\&" } else { "" };
            lines.push(format!("{guard}{word}"));
        }
    }
    lines.join("\n")
}

/// Prose: flags and what is between backquotes in bold. A hyphen in a word is a hyphen, in a flag it is a minus.
fn marked(text: &str) -> String {
    let mut set = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            let _ = write!(set, "\\fB{}\\fP", plain(part));
            continue;
        }
        for word in part.split_inclusive(char::is_whitespace) {
            let Some(at) =
                word.find("--").filter(|at| word[at + 2..].starts_with(|c: char| c.is_ascii_lowercase()))
            else {
                set.push_str(&plain(word).replace("\\-", "-").replace('\n', " "));
                continue;
            };
            let flag = &word[at..];
            let end = flag.find(|c: char| !c.is_ascii_lowercase() && c != '-').unwrap_or(flag.len());
            let (flag, rest) = flag.split_at(end);
            let rest = plain(rest).replace('\n', " ");
            let _ = write!(set, "{}\\fB{}\\fP{rest}", plain(&word[..at]), plain(flag));
        }
    }
    set
}

fn paragraphs(page: &mut String, text: &str) {
    for (index, part) in text.split("\n\n").enumerate() {
        page.push_str(if index == 0 { "" } else { ".PP\n" });
        let _ = writeln!(page, "{}", line(part));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_formatter_would_read_is_escaped() {
        assert_eq!(plain("a\\b 'c' -d"), "a\\eb \\(aqc\\(aq \\-d");
        assert_eq!(plain(".so x"), "\\&.so x");
        assert_eq!(line("with --only it, `beget run`"), "with \\fB\\-\\-only\\fP it, \\fBbeget run\\fP");
        assert_eq!(values("NAME=PATH[:rw]"), "\\fINAME\\fP=\\fIPATH\\fP[:rw]");
    }

    #[test]
    fn every_flag_and_promise_has_its_place() {
        let pages = pages();
        let run = pages.iter().find(|page| page.path == "docs/man/beget-run.1").expect("it is one of them");
        for flag in flags::of("run") {
            assert!(
                run.text.contains(&format!("\\fB{}\\fP", plain(&format!("--{}", flag.name)))),
                "{}",
                flag.name
            );
        }
        for promise in Promise::ALL {
            assert!(run.text.contains(&format!("\\fB{}\\fP\n", plain(promise.word()))), "{promise}");
        }
    }
}
