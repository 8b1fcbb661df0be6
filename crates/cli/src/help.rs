//! Help, written from the table of flags.

use std::fmt::Write;

use crate::flags::{Command, FLAGS, Group};

const CODES: &str = "\
EXIT CODES
  the program's own; 125 beget failed, 126 found but not runnable, 127 not found, 128+N died of signal N
";

/// `beget help`.
pub(crate) fn overview() -> String {
    format!(
        "beget: run a program that holds only what it was given\n\n\
         USAGE\n  \
         beget run [FLAGS] -- PROGRAM [ARG...]     run it\n  \
         beget show [FLAGS] [-- PROGRAM [ARG...]]  print what it would hold, and what enforces each line\n  \
         beget help | version\n\n\
         EXAMPLES\n  \
         beget run --base -- python3 -c 'print(6*7)'\n  \
         beget run --base --write ./build --cwd . --spawn --read . -- make\n  \
         beget show --base --tcp-connect 443 -- curl https://example.org\n\n\
         {}{CODES}",
        flags()
    )
}

/// `beget run --help`.
pub(crate) fn page(command: Command) -> String {
    let usage = match command {
        Command::Run => {
            "beget run [FLAGS] -- PROGRAM [ARG...]\n\n\
             Runs PROGRAM with standard input, output and error, and what the flags grant; nothing else is there.\n\
             Naming the program grants it, its #! interpreter and its loader; its libraries come with --base.\n\
             When it ends, or is interrupted, or its time is up, every process it left is ended too."
        }
        Command::Show => {
            "beget show [FLAGS] [-- PROGRAM [ARG...]]\n\n\
             Prints what the child of the same `beget run` would hold, and which kernel feature enforces each\n\
             line. Nothing is started. Without a program, /bin/true stands for it."
        }
    };
    format!("{usage}\n\n{}{CODES}", flags())
}

fn flags() -> String {
    const COLUMN: usize = 30;
    let mut text = String::new();
    for group in Group::ALL {
        let _ = writeln!(text, "{}", group.title());
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            let name = format!("--{} {}", flag.name, flag.value);
            for (index, line) in flag.help.lines().enumerate() {
                let name = if index == 0 { name.trim_end() } else { "" };
                let _ = writeln!(text, "  {name:<COLUMN$}{line}");
            }
        }
        text.push('\n');
    }
    text
}
