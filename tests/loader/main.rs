//! Programs that Beget puts into memory itself behave as those that the kernel executes: what they print, how they end, what they
//! find around them, what is seen of them from outside.
//!
//! Each is run plainly, by the kernel's loader in Beget, and by Beget's own; the three must agree.

mod attached;
mod auxiliary;
mod broken;
mod ends;
mod fixtures;
mod forbidden;
mod given;
mod inside;
mod interpreters;
mod layout;
mod libraries;
mod linked;
mod memory;
mod registers;
mod seen;
mod suspended;
mod symbols;
mod tools;
mod unloadable;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Output, Stdio};

use beget_tests::{Need, beget, finish, has, skip, text};

/// A program to be run in three ways.
struct Case {
    words: Vec<String>,
    flags: Vec<String>,
    variables: Vec<(String, String)>,
    folder: String,
}

/// How one of them went.
#[derive(Debug, PartialEq, Eq)]
struct Ran {
    /// As a shell would tell it.
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: &Output) -> Ran {
        let code = output.status.code().or(output.status.signal().map(|signal| 128 + signal));
        Ran { code: code.expect("it ended"), out: text(&output.stdout), err: text(&output.stderr) }
    }
}

/// A program that needs `--base` and nothing else.
fn case(words: &[impl AsRef<str>]) -> Case {
    Case {
        words: words.iter().map(|word| word.as_ref().to_owned()).collect(),
        flags: vec!["--base".into()],
        variables: Vec::new(),
        folder: "/".into(),
    }
}

impl Case {
    fn flags(mut self, flags: &[&str]) -> Case {
        self.flags.extend(flags.iter().map(|flag| (*flag).to_owned()));
        self
    }

    fn env(mut self, name: &str, value: &str) -> Case {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    fn folder(mut self, folder: &str) -> Case {
        folder.clone_into(&mut self.folder);
        self
    }

    /// Without Beget, with the same variables.
    fn plain(&self) -> Ran {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).env_clear().env("PATH", beget::DEFAULT_PATH);
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        command.current_dir(&self.folder).stdin(Stdio::null());
        // SAFETY: one call, in the child; no core files, as under Beget.
        unsafe { command.pre_exec(|| limit(libc::RLIMIT_CORE, 0)) };
        Ran::of(&finish(&mut command))
    }

    /// In Beget, by this loader.
    fn by(&self, loader: &str) -> Ran {
        let mut command = beget();
        command.args(["run", "--timeout", "25s", "--loader", loader, "--cwd", &self.folder]);
        for (name, value) in &self.variables {
            command.arg("--env").arg(format!("{name}={value}"));
        }
        command.args(&self.flags).arg("--").args(&self.words).stdin(Stdio::null());
        Ran::of(&finish(&mut command))
    }

    /// Runs it in all three ways, which must agree, and gives what came of it.
    #[track_caller]
    fn agrees(&self) -> Ran {
        let plain = self.plain();
        for loader in ["kernel", "direct"] {
            let ran = self.by(loader);
            assert!(
                ran == plain,
                "{:.200?} by {loader}:\n{ran:.2000?}\nand plainly\n{plain:.2000?}",
                self.words
            );
        }
        plain
    }

    /// The same, and it succeeds and prints this.
    #[track_caller]
    fn prints(&self, out: &str) {
        let ran = self.agrees();
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, out, ""), "{:.200?}", self.words);
    }
}

/// Sets both limits of this process.
fn limit(resource: libc::__rlimit_resource_t, value: u64) -> std::io::Result<()> {
    let limit = libc::rlimit { rlim_cur: value, rlim_max: value };
    // SAFETY: a live structure.
    if unsafe { libc::setrlimit(resource, &raw const limit) } == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

/// Whether one of these programs is not here; then the test is skipped, and says so.
fn lacks(test: &str, programs: &[&'static str]) -> bool {
    match programs.iter().find(|program| !has(program)) {
        Some(program) => skip(test, Need::Program(program)),
        None => return false,
    }
    true
}
