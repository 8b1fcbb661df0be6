//! Every command, once: its name, how it is called, what it says of itself, and what it does. Help, manual pages and completions are
//! written from this table and from that of the flags.

use std::ffi::OsString;

use crate::flags;
use crate::options::Options;
use crate::parse::{self, Parsed};
use crate::{FAILED, check, completions, help, profiles, run, say_wrong, show, tell};

/// An exit code, or a message and one.
type Outcome = Result<u8, (String, u8)>;

/// The words that a command takes after its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Flags, then a program and its arguments.
    Flags,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The name of a command.
    Command,
    Nothing,
}

/// A command.
pub(crate) struct Entry {
    pub(crate) name: &'static str,
    /// What follows the name.
    pub(crate) usage: &'static str,
    /// One line, for lists.
    pub(crate) summary: &'static str,
    /// Paragraphs, with an empty line between.
    pub(crate) text: &'static str,
    /// Command lines, each with what it is for.
    pub(crate) examples: &'static [(&'static str, &'static str)],
    pub(crate) takes: Takes,
    pub(crate) act: fn(&[OsString]) -> Outcome,
}

/// All of them, in the order that help has.
pub(crate) const COMMANDS: &[Entry] = &[
    Entry {
        name: "run",
        usage: "[FLAGS] -- PROGRAM [ARG...]",
        summary: "run a program that holds only what it was given",
        text: "Runs PROGRAM with standard input, output and error, and what the flags grant; nothing else is there. \
               Naming the program grants it, its #! interpreter and its loader; its libraries come with --base. A PROGRAM \
               without a slash is looked for in the PATH that the program will have, not in yours.\n\n\
               When it ends, or is interrupted, or its time is up, every process it left is ended too. When it fails and was \
               refused something that a flag would allow, Beget names the flag.",
        examples: &[
            (
                "beget run --base -- python3 -c 'print(6*7)'",
                "Python, with the system's own program files and nothing else",
            ),
            (
                "beget run --base --spawn --read . --write ./build --cwd . -- make",
                "a build that reads this folder and writes one in it",
            ),
            (
                "beget run --base --tcp-connect 443 --inet-dns -- curl -s https://example.org",
                "a download, and no other part of the network than that port and name servers",
            ),
            (
                "beget run --profile python --set PROJECT=. -- python3 main.py",
                "Python in this folder, by a profile that is shipped",
            ),
            (
                "beget run --base --root --scratch . --cwd . --spawn -- ./install.sh",
                "a private root, where an installer writes in this folder, which stays as it is",
            ),
            ("beget run --base --timeout 10s --open-files 64 -- ./program", "no longer than ten seconds"),
        ],
        takes: Takes::Flags,
        act: |words| with_flags(flags::Command::Run, words),
    },
    Entry {
        name: "show",
        usage: "[FLAGS] [-- PROGRAM [ARG...]]",
        summary: "print what a program would hold, and what enforces each line",
        text: "Prints what the child of the same `beget run` would hold, which kernel feature enforces each line, and what stays \
               open. Nothing is started. Without a program, /bin/true stands for it. It takes the flags of `beget run`.",
        examples: &[
            ("beget show --base --read . --tcp-connect 443 -- python3", "what that Python could reach"),
            ("beget show --base --as-if landlock=3 -- python3", "the same on Linux 6.2"),
            ("beget show --json --base -- python3", "for another program to read"),
        ],
        takes: Takes::Flags,
        act: |words| with_flags(flags::Command::Show, words),
    },
    Entry {
        name: "check",
        usage: "[FLAGS] [-- PROGRAM [ARG...]]",
        summary: "print what this kernel can enforce",
        text: "Prints which promises this kernel can keep, and by what, and starts a confined child to try it. With --spec, or with \
               flags that ask for something, it reads that and prints whether the kernel can keep what it asks; nothing is started \
               then.\n\n\
               The exit code is 0 when every promise can be kept, or was given up with --degrade, and 1 when not.",
        examples: &[
            ("beget check", "all that there is to be kept"),
            (
                "beget check --spec agent.toml --set PROJECT=.",
                "whether a spec is right, and can be kept here",
            ),
        ],
        takes: Takes::Flags,
        act: |words| with_flags(flags::Command::Check, words),
    },
    Entry {
        name: "profiles",
        usage: "[NAME]",
        summary: "list the profiles that are shipped, or print one",
        text: "Lists the profiles that are shipped, with what each is for, or prints one: a file as --spec takes it.",
        examples: &[("beget profiles python > ours.toml", "a file to begin with")],
        takes: Takes::Word(beget_spec::shipped::NAMES),
        act: profiles::profiles,
    },
    Entry {
        name: "completions",
        usage: "bash|zsh|fish",
        summary: "print the completions of a shell",
        text: "Prints a script that completes commands, flags and their values in that shell. A package puts it where the shell \
               looks; for one user, the examples do.",
        examples: &[
            (
                "beget completions bash > ~/.local/share/bash-completion/completions/beget",
                "Bash, where its completion package is installed",
            ),
            ("beget completions zsh > ~/.zfunc/_beget", "Zsh, with ~/.zfunc in fpath before compinit"),
            ("beget completions fish > ~/.config/fish/completions/beget.fish", "Fish"),
        ],
        takes: Takes::Word(&["bash", "zsh", "fish"]),
        act: completions::print,
    },
    Entry {
        name: "help",
        usage: "[COMMAND]",
        summary: "tell of beget, or of one command",
        text: "Tells of Beget, or of one command, as `beget COMMAND --help` does.",
        examples: &[],
        takes: Takes::Command,
        act: help::print,
    },
    Entry {
        name: "version",
        usage: "",
        summary: "print the version",
        text: "Prints the version.",
        examples: &[],
        takes: Takes::Nothing,
        act: |_| tell(concat!("beget ", env!("CARGO_PKG_VERSION"), "\n")),
    },
];

/// The command of that name.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    let name = match name {
        "--help" | "-h" => "help",
        "--version" | "-V" => "version",
        other => other,
    };
    COMMANDS.iter().find(|entry| entry.name == name)
}

/// The names, as a sentence lists them.
pub(crate) fn names() -> String {
    let names: Vec<&str> = COMMANDS.iter().map(|entry| entry.name).collect();
    match names.split_last() {
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
        None => String::new(),
    }
}

/// Does what a command line asks for.
pub(crate) fn dispatch(arguments: &[OsString]) -> Outcome {
    let Some((name, rest)) = arguments.split_first() else {
        return tell(&help::overview(help::Style::of_output())).map(|_| FAILED);
    };
    let name = name.to_str().unwrap_or_default();
    let Some(entry) = find(name) else {
        return Err((format!("command {name}: no such command; there are {}", names()), FAILED));
    };
    let asks = |word: &OsString| word == "--help" || word == "-h";
    if entry.takes != Takes::Flags && rest.first().is_some_and(asks) {
        return tell(&help::page(entry, help::Style::of_output()));
    }
    (entry.act)(rest)
}

fn with_flags(command: flags::Command, words: &[OsString]) -> Outcome {
    let mut options: Box<Options> = match parse::parse(command, words) {
        Err(wrong) => return Ok(say_wrong(&wrong)),
        Ok(Parsed::Help) => {
            let name = match command {
                flags::Command::Run => "run",
                flags::Command::Show => "show",
                flags::Command::Check => "check",
            };
            return help::print(&[name.into()]);
        }
        Ok(Parsed::Options(options)) => options,
    };
    let from = std::mem::take(&mut options.from);
    let outcome = match command {
        flags::Command::Run => run::run(*options),
        flags::Command::Show => show::show(*options),
        flags::Command::Check => check::check(*options),
    };
    outcome.or_else(|(message, code)| match from.locate(&message) {
        Some(error) => {
            say_wrong(&error.into());
            Ok(code)
        }
        None => Err((message, code)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every example begins as it would be typed, with a command that there is.
    #[test]
    fn examples_are_of_their_command() {
        for entry in COMMANDS {
            for (line, _) in entry.examples {
                assert!(format!("{line} ").starts_with(&format!("beget {} ", entry.name)), "{line}");
            }
        }
    }

    /// And with flags that there are, and values that they take.
    #[test]
    fn examples_are_right() {
        for (line, _) in
            COMMANDS.iter().filter(|entry| entry.takes == Takes::Flags).flat_map(|entry| entry.examples)
        {
            // Quotes are only in the program's own words.
            let words: Vec<OsString> = line.split(' ').skip(2).map(OsString::from).collect();
            if line.contains("--spec ") {
                continue;
            }
            assert!(parse::parse(flags::Command::Check, &words).is_ok(), "{line}");
        }
    }

    #[test]
    fn names_are_listed_as_a_sentence_does() {
        assert!(names().starts_with("run, show, "), "{}", names());
        assert!(names().ends_with("help and version"), "{}", names());
    }
}
