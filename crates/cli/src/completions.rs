//! Completions for bash, zsh and fish, written from the tables of commands and flags.
//!
//! What completes a value follows from the value's name in the table of flags: `PATH` is a file, `kernel|direct` one of two words. So
//! a new flag needs nothing here, unless its value has a new name; then a test says so.

use std::ffi::OsString;
use std::fmt::Write;

use beget::Promise;

use crate::commands::{self, COMMANDS, Entry, Takes};
use crate::flags::{self, Flag};
use crate::{FAILED, tell};

const BASH: &str = include_str!("completions/beget.bash");
const ZSH: &str = include_str!("completions/beget.zsh");
const FISH: &str = include_str!("completions/beget.fish");

/// What completes a flag's value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// The flag takes none.
    None,
    /// A file or a folder, also after the last `=` or `:`.
    File,
    Folder,
    Words(Vec<String>),
    /// A variable of the environment.
    Variable,
    /// Numbers, names and texts, which nobody can know.
    Anything,
}

impl Value {
    /// By the value's name; nothing for a name that is not known here.
    pub(crate) fn of(flag: &Flag) -> Option<Value> {
        let words = |words: &[&str]| Value::Words(words.iter().map(|word| (*word).to_owned()).collect());
        let name = flag.value;
        Some(match name {
            "" => Value::None,
            "PROMISE" => words(&Promise::ALL.iter().map(|promise| promise.word()).collect::<Vec<_>>()),
            "PROFILE" => words(beget_spec::shipped::NAMES),
            "landlock=N|none, cgroup=none" => {
                let mut known = vec!["cgroup=none".to_owned(), "landlock=none".to_owned()];
                // From the sixth on every promise is kept.
                known.extend((1..=6).map(|abi| format!("landlock={abi}")));
                Value::Words(known)
            }
            "SUBJECT" => words(&beget_bench::subjects()),
            "WAY" => words(&beget_bench::compared()),
            "POINT" => words(&["entry", "main", "stdin", "stop", "symbol="]),
            "NAME[=VALUE]" => Value::Variable,
            "SIGNAL" => {
                let names = flags::service::SIGNALS.iter().map(|(name, _)| *name);
                words(&names.collect::<Vec<_>>())
            }
            "PORT" | "N" | "MODULE,..." | "SIZE" | "DURATION" | "NAME" | "DST=TEXT" | "NAME=DURATION"
            | "SLOT=NAME[:RIGHT]" => Value::Anything,
            // What a spec's variables hold is mostly a path.
            "NAME=VALUE" => Value::File,
            "DIR" | "DST" | "DST[=SIZE]" => Value::Folder,
            _ if ["PATH", "FILE", "OLD.json", "SRC", "TARGET"].iter().any(|part| name.contains(part)) => {
                Value::File
            }
            _ if name.contains('|') && name.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'-' | b'|')) => {
                words(&name.split('|').collect::<Vec<_>>())
            }
            _ => return None,
        })
    }

    fn of_known(flag: &Flag) -> Value {
        Value::of(flag).unwrap_or(Value::Anything)
    }
}

/// `beget completions SHELL`.
pub(crate) fn print(words: &[OsString]) -> Result<u8, (String, u8)> {
    match words {
        [shell] => match script(&shell.to_string_lossy()) {
            Some(script) => tell(&script),
            None => Err((format!("shell {}: there are bash, zsh and fish", shell.display()), FAILED)),
        },
        _ => Err(("shell: wants one of bash, zsh and fish".to_owned(), FAILED)),
    }
}

/// The script for a shell.
pub(crate) fn script(shell: &str) -> Option<String> {
    Some(match shell {
        "bash" => bash(),
        "zsh" => zsh(),
        "fish" => fish(),
        _ => return None,
    })
}

/// What a flag says of itself, up to where it goes into detail: a list has one line for it.
fn short(help: &str) -> String {
    let help = help.replace('\n', " ");
    let end = [": ", "; ", ". ", ", such"].iter().filter_map(|mark| help.find(mark)).min();
    help[..end.unwrap_or(help.len())].to_owned()
}

fn joined<'a>(words: impl Iterator<Item = &'a str>) -> String {
    words.collect::<Vec<_>>().join(" ")
}

/// The names of the commands that take what `takes` says; those of `factory` as their pages are called.
fn named(takes: impl Fn(Takes) -> bool) -> String {
    joined(commands::all().filter(|entry| takes(entry.takes)).map(|entry| entry.name))
}

/// The names of all that are typed first.
fn first() -> String {
    joined(COMMANDS.iter().map(|entry| entry.name))
}

/// Lines of a shell's `case`: what completes after a command that takes one of some words.
fn words_by_command(line: impl Fn(&str, &str) -> String) -> String {
    let mut text = String::new();
    for entry in COMMANDS {
        match entry.takes {
            Takes::Word(words) => text.push_str(&line(entry.name, &words.join(" "))),
            Takes::Command => text.push_str(&line(entry.name, &first())),
            _ => {}
        }
    }
    text
}

/// The flags of a command that take a value: another may have one of the same name without.
fn with_value(entry: &Entry) -> String {
    let flags = flags::of(entry.name).filter(|flag| !flag.value.is_empty());
    flags.map(|flag| format!("--{}", flag.name)).collect::<Vec<_>>().join(" ")
}

/// The commands that take flags.
fn with_flags() -> impl Iterator<Item = &'static Entry> {
    commands::all().filter(|entry| entry.takes.flags())
}

fn bash() -> String {
    let mut values = String::new();
    for flag in flags::all() {
        let kind = match Value::of_known(flag) {
            Value::File => "kind=file".to_owned(),
            Value::Folder => "kind=folder".to_owned(),
            Value::Variable => "kind=variable".to_owned(),
            Value::Words(words) => format!("kind=words words='{}'", words.join(" ")),
            Value::None | Value::Anything => continue,
        };
        let places = flag.of.iter().map(|command| format!("{command}:--{}", flag.name));
        let _ = writeln!(values, "        {}) {kind} ;;", places.collect::<Vec<_>>().join("|"));
    }
    let mut by_command = String::new();
    for entry in with_flags() {
        let names: Vec<String> = flags::of(entry.name).map(|flag| format!("--{}", flag.name)).collect();
        let takes = match entry.takes {
            Takes::Program => "program",
            Takes::NameAndProgram => "named",
            Takes::Domain | Takes::Domains | Takes::NameAndArguments => "names",
            _ => "nothing",
        };
        let (names, with_value) = (names.join(" "), with_value(entry));
        let _ = writeln!(
            by_command,
            "        {}) takes={takes} flags='{names}' with_value=' {with_value} ' ;;",
            entry.name
        );
    }
    BASH.replace("@COMMANDS@", &first())
        .replace("        @BY_COMMAND@\n", &by_command)
        .replace("        @VALUES@\n", &values)
        .replace(
            "        @WORDS@\n",
            &words_by_command(|name, words| format!("        {name}) words='{words}' ;;\n")),
        )
}

/// Between the quotes and brackets of `_arguments`.
fn for_zsh(text: &str) -> String {
    let mut quoted = String::new();
    for letter in text.chars() {
        match letter {
            '[' | ']' | ':' | '\\' => quoted.extend(['\\', letter]),
            '\'' => quoted.push_str("'\\''"),
            _ => quoted.push(letter),
        }
    }
    quoted
}

fn zsh() -> String {
    let mut by_command = String::new();
    for entry in with_flags() {
        let _ = writeln!(by_command, "        {})\n            _arguments -S \\", entry.name);
        for flag in flags::of(entry.name) {
            let _ = writeln!(by_command, "                {} \\", zsh_flag(flag));
        }
        let words = match entry.takes {
            Takes::Program => "'(-):program:_command_names -e' '*::argument:_normal'",
            Takes::NameAndProgram => "'1:name: ' '(-)2:program:_command_names -e' '*::argument:_normal'",
            Takes::Domain => "'1:name:_beget_names'",
            Takes::Domains | Takes::NameAndArguments => "'*:name:_beget_names'",
            _ => "",
        };
        let help = "'(- *)--help[tell of this command]'";
        let _ =
            writeln!(by_command, "                {}\n            ;;", format!("{help} {words}").trim_end());
    }
    let list = COMMANDS.iter().map(|entry| format!("        '{}:{}'\n", entry.name, for_zsh(entry.summary)));
    ZSH.replace("        @COMMANDS@\n", &list.collect::<String>())
        .replace("        @BY_COMMAND@\n", &by_command)
        .replace(
            "        @WORDS@\n",
            &words_by_command(|name, words| {
                format!("        {name}) (( CURRENT == 2 )) && compadd -- {words} ;;\n")
            }),
        )
}

fn zsh_flag(flag: &Flag) -> String {
    let (name, what) = (flag.name, for_zsh(&short(flag.help)));
    let action = match Value::of_known(flag) {
        Value::None => return format!("'*--{name}[{what}]'"),
        Value::File if flag.value.contains('=') || flag.value.contains(':') => "_beget_file".to_owned(),
        Value::File => "_files".to_owned(),
        Value::Folder => "_files -/".to_owned(),
        Value::Words(words) => format!("({})", words.join(" ")),
        Value::Variable => "_parameters -g \"*export*\"".to_owned(),
        Value::Anything => " ".to_owned(),
    };
    format!("'*--{name}=[{what}]:{}:{action}'", for_zsh(flag.value))
}

/// Between single quotes.
fn for_fish(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

fn fish() -> String {
    let mut lines = String::new();
    for entry in COMMANDS {
        let (name, what) = (entry.name, for_fish(entry.summary));
        let _ = writeln!(lines, "complete -c beget -n __beget_wants_command -a {name} -d '{what}'");
    }
    lines.push_str(&words_by_command(|name, words| {
        format!("complete -c beget -n '__beget_wants_word {name}' -a '{words}'\n")
    }));
    for flag in flags::all() {
        let (name, what) = (flag.name, for_fish(&short(flag.help)));
        let value = match Value::of_known(flag) {
            Value::None => String::new(),
            Value::File => " -r -F".to_owned(),
            Value::Folder => " -x -a '(__fish_complete_directories)'".to_owned(),
            Value::Variable => " -x -a '(set --names --export)'".to_owned(),
            Value::Anything => " -x".to_owned(),
            Value::Words(words) => format!(" -x -a '{}'", words.join(" ")),
        };
        let of = flag.of.join(" ");
        let _ =
            writeln!(lines, "complete -c beget -n '__beget_wants_flag {of}' -l {name}{value} -d '{what}'");
    }
    let values = with_flags().map(|entry| {
        format!("        case {}\n            set with_value {}\n", entry.name, with_value(entry))
    });
    let domain = |takes| matches!(takes, Takes::Domain | Takes::Domains | Takes::NameAndArguments);
    FISH.replace("@WITH_FLAGS@", &named(Takes::flags))
        .replace("@WITH_PROGRAM@", &named(Takes::program))
        .replace("@WITH_DOMAIN@", &named(domain))
        .replace("@WITH_NAME@", &named(|takes| takes == Takes::NameAndProgram))
        .replace("        @WITH_VALUE@\n", &values.collect::<String>())
        .replace("@LINES@\n", &lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_has_a_known_name() {
        for flag in flags::all() {
            assert!(
                Value::of(flag).is_some(),
                "--{} {}: say in completions.rs what completes a {}",
                flag.name,
                flag.value,
                flag.value
            );
        }
    }

    #[test]
    fn nothing_is_left_of_a_template() {
        for shell in ["bash", "zsh", "fish"] {
            let script = script(shell).expect("it is one of the three");
            for name in ["COMMANDS", "BY_COMMAND", "WITH_", "VALUES", "WORDS", "LINES"] {
                assert!(!script.contains(&format!("@{name}")), "{shell}: {name}");
            }
        }
    }
}
