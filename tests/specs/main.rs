//! Specs: what a file says is what the child holds, and what is wrong with it is told where it stands.

mod check;
mod errors;
mod extends;
mod flags;
mod profiles;
mod result;

use std::process::Output;

use beget_tests::{beget, finish, text};

/// How one run of `beget` in a folder ended.
struct Ran {
    words: String,
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(words: &[&str], output: &Output) -> Ran {
        let words = words.join(" ");
        Ran { words, code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// It succeeded, and wrote exactly this.
    #[track_caller]
    fn prints(&self, out: &str) -> &Ran {
        assert_eq!((self.code, self.out.as_str()), (Some(0), out), "beget {}\n{}", self.words, self.err);
        self
    }

    /// It succeeded, and this is in what it wrote.
    #[track_caller]
    fn shows(&self, part: &str) -> &Ran {
        let Ran { words, out, err, .. } = self;
        assert!(self.code == Some(0) && out.contains(part), "no {part:?}: beget {words}\n{out}\n{err}");
        self
    }

    /// The program failed, and gave this reason.
    #[track_caller]
    fn fails(&self, reason: &str) -> &Ran {
        let Ran { words, code, out, err } = self;
        let failed = code.is_some_and(|code| code != 0 && code != 125);
        assert!(failed && err.contains(reason), "no {reason:?}: beget {words}: {code:?}\n{out}\n{err}");
        self
    }

    /// Beget refused, with exactly these words.
    #[track_caller]
    fn refuses(&self, words: &str) -> &Ran {
        assert_eq!((self.code, self.err.as_str()), (Some(125), words), "beget {}", self.words);
        self
    }
}

/// Runs `beget` there.
fn run_in(folder: &str, words: &[&str]) -> Ran {
    Ran::of(words, &finish(beget().current_dir(folder).args(words)))
}
