//! Every command, once: its name, how it is called, what it says of itself, and what it does. Help, manual pages and completions are
//! written from this table and from that of the flags.

use std::ffi::OsString;

use crate::flags;
use crate::options::Options;
use crate::parse::{self, Parsed};
use crate::{
    FAILED, check, completions, domains, factory, help, profiles, run, say_wrong, serve, show, tell, top,
};

/// An exit code, or a message and one.
type Outcome = Result<u8, (String, u8)>;

/// The words that a command takes after its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Takes {
    /// Flags, then a program and its arguments.
    Program,
    /// Flags and the name of a domain, then a program and its arguments.
    NameAndProgram,
    /// Flags and the name of a domain.
    Domain,
    /// Flags and names of domains.
    Domains,
    /// Flags and the name of a factory, then arguments of its product.
    NameAndArguments,
    /// Flags.
    Flags,
    /// One of these words.
    Word(&'static [&'static str]),
    /// The name of a command.
    Command,
    Nothing,
}

impl Takes {
    /// Whether there are flags among them.
    pub(crate) fn flags(self) -> bool {
        !matches!(self, Takes::Word(_) | Takes::Command | Takes::Nothing)
    }

    /// Whether there is a program among them.
    pub(crate) fn program(self) -> bool {
        matches!(self, Takes::Program | Takes::NameAndProgram)
    }
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
        takes: Takes::Program,
        act: |words| with_flags("run", words),
    },
    Entry {
        name: "show",
        usage: "[FLAGS] [-- PROGRAM [ARG...] | NAME]",
        summary: "print what a program would hold, and what enforces each line",
        text: "Prints what the child of the same `beget run` would hold, which kernel feature enforces each line, and what stays \
               open. Nothing is started. Without a program, /bin/true stands for it. It takes the flags of `beget run`.\n\n\
               A word that is the name of a domain of this user's service, and does not come after `--`, is that domain: then what it was \
               given is shown, as whoever created it said it, and how it is.",
        examples: &[
            ("beget show --base --read . --tcp-connect 443 -- python3", "what that Python could reach"),
            ("beget show --base --as-if landlock=3 -- python3", "the same on Linux 6.2"),
            ("beget show --json --base -- python3", "for another program to read"),
        ],
        takes: Takes::Program,
        act: |words| with_flags("show", words),
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
        takes: Takes::Program,
        act: |words| with_flags("check", words),
    },
    Entry {
        name: "serve",
        usage: "[FLAGS]",
        summary: "keep domains: processes with a name, held by capability",
        text: "Starts the service of this user, and stays: two processes beside this one, a monitor that makes domains and a process \
               service that keeps their names, ends and history. Either may be killed at any moment and is started again; no domain is lost \
               by that, and no exit status forgotten, unless the monitor goes and --on-monitor-death says that domains end with it.\n\n\
               It needs no root, and gives a domain no right that whoever asked for it has not. Without --other-users only this user is \
               served. `beget spawn` starts a service by itself when none runs; that one ends when it has nothing left to keep.\n\n\
               It listens at --socket, or BEGET_SOCKET, or else at service.sock in /run/beget for root, in beget in XDG_RUNTIME_DIR for others, and in \
               /tmp/beget-UID where there is none. Its journal lies in the folder of the same name with .d, and remembers as long as that lies there.\n\n\
               A signal that asks it to end, or the end of its terminal, ends its domains too, unless --on-monitor-death says that they live on; \
               then the next `beget serve` at the same socket finds them. With --stop all end.\n\n\
               Where systemd passes two sockets with the names service and monitor, those are used.",
        examples: &[
            ("beget serve", "the service of this user"),
            ("beget serve --on-monitor-death live", "domains outlive a monitor that is killed"),
            ("beget serve --manifest site.toml", "with the domains that a file says"),
            ("beget serve --status", "what the one that runs says of itself"),
            ("beget serve --stop", "the end of it, and of all its domains"),
        ],
        takes: Takes::Flags,
        act: |words| with_flags("serve", words),
    },
    Entry {
        name: "spawn",
        usage: "[FLAGS] [NAME] -- PROGRAM [ARG...]",
        summary: "start a program as a domain of the service",
        text: "Starts PROGRAM as a domain with a name, which holds what the flags grant, as with `beget run`, and nothing else; and prints \
               the name when it runs. Its standard streams are /dev/null unless they are given. In the slot beget it has a channel, over \
               which `beget send` gives it more. Without a NAME the service chooses one. A name is letters, digits, -, _ and ., and not only \
               digits; that of a domain that has ended is free again.\n\n\
               When no service runs for this user, one is started, which says so once and ends when it has nothing left to keep.",
        examples: &[
            (
                "beget spawn web --base --read ./site --tcp-bind 8080 --cwd ./site -- python3 -m http.server 8080",
                "a server that reads one folder",
            ),
            (
                "beget spawn build --base --stdio --tied -- make",
                "in the terminal, for as long as we are here",
            ),
            (
                "beget spawn watch --base --capability web=web:look,wait -- ./watch",
                "a domain that may see and wait for another one, and no more",
            ),
        ],
        takes: Takes::NameAndProgram,
        act: |words| with_flags("spawn", words),
    },
    Entry {
        name: "ps",
        usage: "[FLAGS]",
        summary: "list the domains that live",
        text: "Lists the living domains of this user: name, state, process number, age, memory, and what each holds. Those that a domain \
               created stand below it.",
        examples: &[("beget ps", "for people"), ("beget ps --json", "for programs")],
        takes: Takes::Flags,
        act: |words| with_flags("ps", words),
    },
    Entry {
        name: "wait",
        usage: "[FLAGS] NAME...",
        summary: "wait until domains have ended, and tell how",
        text: "Waits until each domain has ended; the exit code is that of the last. One that has ended already is told of as long as it \
               is remembered; any number may wait for the same. The exit code is 124 when one has not ended in the time that there is.",
        examples: &[
            ("beget wait build", "its exit code is ours"),
            ("beget wait --timeout 10s --json build", "no longer than ten seconds"),
        ],
        takes: Takes::Domains,
        act: |words| with_flags("wait", words),
    },
    Entry {
        name: "kill",
        usage: "[FLAGS] NAME...",
        summary: "end domains and all that they left",
        text: "Ends each domain: what others can ask of it is cut off first, then every process of it is ended, to the last grandchild, and \
               the domains that it created; then `kill` returns. With --grace, its own or one \
               given to `kill`, it is asked before that. With --signal it only gets that signal. One that is not there is told of, \
               and the others are ended.",
        examples: &[
            ("beget kill --grace 5s web", "asked, and ended after five seconds"),
            ("beget kill --signal HUP web", "a signal and no more"),
        ],
        takes: Takes::Domains,
        act: |words| with_flags("kill", words),
    },
    Entry {
        name: "send",
        usage: "[FLAGS] NAME",
        summary: "give a running domain one more descriptor, by name",
        text: "Sends descriptors to a running domain, over the channel that it was born with in the slot beget: files, descriptors of ours, or \
               capabilities to other domains. The domain takes them with recvmsg(2), or with one of the clients for C, Python and Rust. What it \
               holds by its grants does not change: what is sent is a right by itself.",
        examples: &[
            ("beget send --fd log=./today.log:rw web", "a file, opened to write"),
            ("beget send --capability peer=build:look web", "the right to look at another domain"),
        ],
        takes: Takes::Domain,
        act: |words| with_flags("send", words),
    },
    Entry {
        name: "history",
        usage: "[FLAGS]",
        summary: "list the domains that have ended",
        text: "Lists the domains of this user that have ended, the latest first: name, how it ended, when, how long it ran, its peak memory, and \
               why it ended where that was the service's doing.",
        examples: &[("beget history --limit 10", "the last ten")],
        takes: Takes::Flags,
        act: |words| with_flags("history", words),
    },
    Entry {
        name: "top",
        usage: "[FLAGS]",
        summary: "watch the domains that live",
        text: "Shows the living domains of this user on the whole terminal, and what changes. Keys: j and k or the arrows move; s sorts by another \
               column; / filters by name; K ends the chosen domain, when it is confirmed; ? tells the keys; q leaves.",
        examples: &[("beget top", "this user's domains")],
        takes: Takes::Flags,
        act: |words| with_flags("top", words),
    },
    Entry {
        name: "factory",
        usage: "create|run|list|show|replace|save|load|destroy ...",
        summary: "make a program many times, knowing what it can reach",
        text: "A factory makes the same program again and again, each product with arguments and streams of its own. It is built from the flags of \
               `beget run`, sealed, and kept by a process of the service; from then on nobody changes what its products hold, and whoever asks is \
               told what they reach: its holes, with the reason for each, what is confined and by which feature of the kernel. A program that was started once \
               and stopped at its ready point is copied, which takes a fraction of a start.\n\n\
               `beget factory create --help` and so on tell of each command.",
        examples: &[
            (
                "beget factory create upper --base --ready main -- tr a-z A-Z",
                "a factory of a program that is stopped at its main",
            ),
            ("beget factory run upper < file", "a product of it"),
            ("beget factory show upper", "what its products can reach, and how many there were"),
        ],
        takes: Takes::Word(factory::VERBS),
        act: factory::dispatch,
    },
    Entry {
        name: "compare",
        usage: "[FLAGS]",
        summary: "show what differs between the ways to make a process",
        text: "A process P holds A and B, and has a process C made that should hold A. Compares the ways to do that by really taking them: fork and exec, \
               vfork, posix_spawn, Rust's Command, those of Beget, and bwrap, crun, Python and others that are installed. For each it shows the steps; the \
               system calls, counted by a tracer; what C holds, as a probe inside of C reports it; whether C gets B by a descriptor, by its path, through /proc, \
               or out of P itself; what it costs to forget one step, by forgetting it; how long it takes; and its own limits. It takes about a minute.\n\n\
               It needs no root and no service. What it makes lies in one folder of its own in TMPDIR, and goes away. A way that cannot be had here says why, \
               and the others go on.\n\n\
               The exit code is 0 when nothing of Beget's leaked, 1 when something did or the comparison could not be made, and 2 when the command line is \
               wrong.",
        examples: &[
            ("beget compare", "all of them"),
            ("beget compare --quick --only fork-forgotten --only confined", "two of them, in a moment"),
            ("beget compare --html compare.html", "a page for a browser beside the table"),
        ],
        takes: Takes::Flags,
        act: |words| with_flags("compare", words),
    },
    Entry {
        name: "bench",
        usage: "[FLAGS]",
        summary: "measure what births cost here, beside other ways",
        text: "Measures, on this machine and in one run, what it costs to make a process: Beget beside posix_spawn, fork, bwrap, crun and others that are \
               installed. Everybody runs once a round, in an order that changes; figures are medians, with the range that they are trusted to lie \
               in, the ratio to the peer and to the floor, and the goal beside it. A figure whose range is too wide is not told. It takes about \
               eleven minutes.\n\n\
               The exit code is 0 when it was measured, 1 when it could not be, and 2 when the command line is wrong.",
        examples: &[
            ("beget bench --quick", "about three minutes"),
            ("beget bench --only floors --only spawn", "two subjects of it"),
            ("beget bench --json now.json --html now.html", "for another program, and for a browser"),
        ],
        takes: Takes::Flags,
        act: |words| with_flags("bench", words),
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

/// The commands that have a page, those of `factory` among them.
pub(crate) fn all() -> impl Iterator<Item = &'static Entry> {
    COMMANDS.iter().chain(factory::ENTRIES)
}

/// The command of that name.
pub(crate) fn find(name: &str) -> Option<&'static Entry> {
    let name = match name {
        "--help" | "-h" => "help",
        "--version" | "-V" => "version",
        other => other,
    };
    all().find(|entry| entry.name == name)
}

/// The names, as a sentence lists them.
pub(crate) fn names() -> String {
    sentence(&COMMANDS.iter().map(|entry| entry.name).collect::<Vec<_>>())
}

/// Words as a sentence lists them.
pub(crate) fn sentence(words: &[&str]) -> String {
    match words.split_last() {
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
    if serve::PARTS.contains(&name) {
        return serve::part(name, rest);
    }
    if name == beget_service::KEEPER {
        return factory::keep();
    }
    let Some(entry) = find(name).filter(|entry| COMMANDS.iter().any(|one| one.name == entry.name)) else {
        return Err((format!("command {name}: no such command; there are {}", names()), FAILED));
    };
    let asks = |word: &OsString| word == "--help" || word == "-h";
    if !entry.takes.flags() && rest.first().is_some_and(asks) {
        return tell(&help::page(entry, help::Style::of_output()));
    }
    (entry.act)(rest)
}

impl Entry {
    /// As it is typed: `factory create` has a name of two words, which pages and tables join.
    pub(crate) fn typed(&self) -> String {
        self.name.replacen("factory-", "factory ", 1)
    }

    /// Whether it measures.
    pub(crate) fn measures(&self) -> bool {
        ["bench", "compare"].contains(&self.name)
    }

    /// The exit code for a command line that is wrong.
    fn wrong(&self) -> u8 {
        if self.measures() { 2 } else { FAILED }
    }

    /// What its exit codes mean.
    pub(crate) fn codes(&self) -> &'static [(&'static str, &'static str)] {
        if self.measures() { help::MEASURING } else { help::CODES }
    }

    /// What it is about, as a message says it.
    pub(crate) fn of_what(&self) -> &'static str {
        if self.name.starts_with("factory-") { "factory" } else { "domain" }
    }

    /// What a group of flags is called for this command.
    pub(crate) fn title(&self, group: flags::Group) -> &'static str {
        let alone = !matches!(self.takes, Takes::Program | Takes::NameAndProgram);
        if alone { "FLAGS" } else { group.title() }
    }
}

pub(crate) fn with_flags(command: &'static str, words: &[OsString]) -> Outcome {
    let Some(entry) = find(command) else { return help::print(&[command.into()]) };
    let mut options: Box<Options> = match parse::parse(entry, words) {
        Err(wrong) => return Ok(say_wrong(&wrong).min(entry.wrong())),
        Ok(Parsed::Help) => return help::print(&[command.into()]),
        Ok(Parsed::Options(options)) => options,
    };
    let from = std::mem::take(&mut options.from);
    let outcome = match command {
        "run" => run::run(*options),
        "show" => show::show(*options),
        "check" => check::check(*options),
        "serve" => serve::serve(*options),
        "spawn" => domains::spawn(*options),
        "ps" => domains::list(&options),
        "wait" => domains::wait(&options),
        "kill" => domains::kill(&options),
        "send" => domains::send(&options),
        "history" => domains::history(&options),
        "factory-create" => factory::create(*options),
        "factory-load" => factory::load(*options),
        "factory-run" => factory::run(*options),
        "factory-list" => factory::list(&options),
        "factory-show" => factory::show(&options),
        "factory-replace" => factory::replace(&options),
        "factory-save" => factory::save(&options),
        "factory-destroy" => factory::destroy(&options),
        "compare" => beget_bench::compare(&options.bench).map_err(|message| (message, 1)),
        "bench" => beget_bench::bench(&options.bench).map_err(|message| (message, 1)),
        _ => top::top(&options),
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
        for entry in all() {
            for (line, _) in entry.examples {
                assert!(format!("{line} ").starts_with(&format!("beget {} ", entry.typed())), "{line}");
            }
        }
    }

    /// And with flags that there are, and values that they take.
    #[test]
    fn examples_are_right() {
        for entry in all().filter(|entry| entry.takes.flags()) {
            for (line, _) in entry.examples.iter().filter(|(line, _)| !line.contains("--spec ")) {
                // Quotes are only in the program's own words.
                let own = entry.typed().split(' ').count() + 1;
                let words: Vec<OsString> = line.split(' ').skip(own).map(OsString::from).collect();
                assert!(parse::parse(entry, &words).is_ok(), "{line}");
            }
        }
    }

    #[test]
    fn names_are_listed_as_a_sentence_does() {
        assert!(names().starts_with("run, show, "), "{}", names());
        assert!(names().ends_with("help and version"), "{}", names());
    }
}
