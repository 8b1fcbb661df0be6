//! Ordinary programs work under `--base` and the grants that they need, and are refused the rest for the right reason.
//!
//! Each test shows both: what a program printed, and how the same program fails without the grant.

mod compilers;
mod git;
mod network;
mod node;
mod older;
mod python;
mod rust;
mod scripts;
mod shell;
mod system;

use std::fmt;
use std::process::Output;

use beget_tests::{Need, beget, has, skip, text};

/// How one run of `beget` ended.
struct Ran {
    words: Vec<String>,
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(words: Vec<String>, output: &Output) -> Ran {
        Ran { words, code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// It succeeded, and wrote exactly this.
    #[track_caller]
    fn prints(&self, out: &str) -> &Ran {
        assert_eq!(self.code, Some(0), "{self}");
        assert_eq!(self.out, out, "{self}");
        self
    }

    /// It succeeded, and this is in what it wrote.
    #[track_caller]
    fn shows(&self, part: &str) -> &Ran {
        assert_eq!(self.code, Some(0), "{self}");
        assert!(self.out.contains(part), "no {part:?} in {self}");
        self
    }

    /// It failed with a code of its own, and gave this reason.
    #[track_caller]
    fn fails(&self, reason: &str) -> &Ran {
        assert!(self.code.is_some_and(|code| code != 0 && code != 125), "{self}");
        assert!(self.err.contains(reason), "no {reason:?} in {self}");
        self
    }

    /// It was told on standard error, and by which flag it would be allowed.
    #[track_caller]
    fn tells(&self, flag: &str) -> &Ran {
        let told = |line: &str| line.starts_with("beget: ") && line.contains(flag);
        assert!(self.err.lines().any(told), "no word of {flag} in {self}");
        self
    }
}

impl fmt::Display for Ran {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Ran { words, code, out, err } = self;
        write!(
            f,
            "beget {}\nended with {code:?}, wrote\n{out}\nand to standard error\n{err}",
            words.join(" ")
        )
    }
}

/// Runs a program with these flags and nothing else. A hanging program is ended: that is a failure, not a stuck test.
fn bare(flags: &[&str], program: &[&str]) -> Ran {
    let words = [&["run", "--timeout", "60s"], flags, &["--"], program].concat();
    let output = beget().args(&words).output().expect("beget can be started");
    Ran::of(words.into_iter().map(str::to_owned).collect(), &output)
}

/// Runs a program with `--base` and these flags.
fn run(flags: &[&str], program: &[&str]) -> Ran {
    bare(&[&["--base"], flags].concat(), program)
}

/// Whether one of these programs is not here; then the test is skipped, and says so.
fn lacks(test: &str, programs: &[&'static str]) -> bool {
    match programs.iter().find(|program| !has(program)) {
        Some(program) => skip(test, Need::Program(program)),
        None => return false,
    }
    true
}

/// Whether this kernel cannot hold a program to ports; then the test is skipped, and says so.
fn lacks_ports(test: &str) -> bool {
    let lacks = !beget::Support::detect().landlock_from(4);
    if lacks {
        skip(test, Need::Machine("Landlock ABI 4, for TCP ports"));
    }
    lacks
}
