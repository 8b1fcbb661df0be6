//! Python: modules imported once, and each product an interpreter that seems to have been started just now.
//!
//! Safety idea: what an interpreter decides when it starts cannot be decided again, so a job that would have it otherwise is refused here,
//! before there is a copy; all the rest is done by `python.py`, in the copy, before it answers.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use beget::Command;

use super::{Adapter, StartedWith, check_first, pack};
use crate::{Error, Fault, Result};

const NAME: &str = "python";

/// What the interpreter runs: see there how a product comes to be as if started just now.
const LINES: &str = include_str!("python.py");

/// Variables of Python that are looked at when they are needed, not when it starts.
const LATE: [&str; 8] = [
    "PYTHONASYNCIODEBUG",
    "PYTHONBREAKPOINT",
    "PYTHONIOENCODING",
    "PYTHONSTARTUP",
    "PYTHONUNBUFFERED",
    "PYTHON_BASIC_REPL",
    "PYTHON_COLORS",
    "PYTHON_HISTORY",
];

/// The adapter for CPython from 3.10 on. The factory's command is the interpreter, with flags of its own (`-I`, `-X utf8`) as arguments; a
/// product's arguments are what would come after those: a file, folder or archive, `-c TEXT`, `-m MODULE`, or `-` or nothing for a program on
/// standard input, and the program's own.
///
/// Output, error texts, tracebacks, exit codes, `sys.argv`, `sys.path`, `__main__`, `atexit`, and threads at its end are as of an interpreter
/// that was started just now. Made anew in each product are `random`'s shared generator, and each `random.Random` that was made without a
/// seed by what was imported ahead; `numpy.random`'s shared generator; `tempfile`'s names; the key of `multiprocessing`. `secrets`, `uuid`,
/// `ssl` and `os.urandom` differ by themselves. What a module registered with `os.register_at_fork` is run as in a child of a fork: whatever
/// holds randomness of its own can make it anew there.
///
/// What products have in common: the hashes of strings (give `PYTHONHASHSEED` or not, it is the template's), generators that a module made
/// with `numpy.random.default_rng` ahead, the layout of memory. What they have otherwise than an interpreter of their own: what was imported
/// ahead is in `sys.modules`, `gc.get_objects()` does not list it, a `RecursionError` comes up to two calls earlier, destructors and C's own
/// exit handlers are not run at the end (`atexit` is, and everything is flushed), and there is no interactive session.
#[derive(Debug, Default)]
pub struct Python {
    preload: Vec<OsString>,
    started_with: StartedWith,
}

impl Python {
    /// One that imports nothing ahead.
    #[must_use]
    pub fn new() -> Python {
        Python::default()
    }

    /// Has these modules imported ahead, in this order. They may start no thread: variables that have numeric libraries start none are set.
    #[must_use]
    pub fn preload(mut self, modules: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Python {
        self.preload.extend(modules.into_iter().map(|module| module.as_ref().to_owned()));
        self
    }
}

/// Whether the interpreter looks at this variable when it starts.
fn is_early(name: &OsStr) -> bool {
    let locale = ["LANG", "LC_ALL", "LC_CTYPE"].iter().any(|one| name == *one);
    locale || (name.as_bytes().starts_with(b"PYTHON") && !LATE.iter().any(|late| name == *late))
}

impl Adapter for Python {
    fn name(&self) -> &str {
        NAME
    }

    fn prepare(&self, command: &mut Command) -> Result<()> {
        for module in &self.preload {
            if module.is_empty() || module.as_bytes().iter().any(|byte| b"-/, \0".contains(byte)) {
                let part = format!("factory: {NAME}: --preload {}", module.to_string_lossy());
                return Err(Error::new(part, "that is no module's name", Fault::Caller));
            }
        }
        self.started_with.note(command);
        command.arg("-c").arg(LINES).args(&self.preload);
        Ok(())
    }

    fn job(&self, arguments: &[OsString], environment: &[(OsString, OsString)]) -> Result<Vec<u8>> {
        check_first(NAME, arguments, b"cm")?;
        self.started_with.check(NAME, environment, is_early)?;
        pack(NAME, arguments, environment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(arguments: &[&str], environment: &[(&str, &str)]) -> String {
        let python = Python::new();
        python.prepare(Command::new("python3").env("LANG", "C.UTF-8")).expect("a command");
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect();
        python.job(&arguments, &environment).map_or_else(|error| error.to_string(), |_| "a job".to_owned())
    }

    #[test]
    fn what_must_be_so_at_the_start_is_refused() {
        let lang = ("LANG", "C.UTF-8");
        for arguments in [&[][..], &["-"], &["x.py", "-I"], &["-c", "-I"], &["-cpass"], &["-m", "x"]] {
            assert_eq!(told(arguments, &[lang, ("PYTHONIOENCODING", "latin-1")]), "a job", "{arguments:?}");
        }
        for arguments in [&["-I"][..], &["-c"], &["-m"], &["--version"], &["-X", "dev"]] {
            assert!(
                told(arguments, &[lang]).starts_with("factory: python: a product's job: -"),
                "{arguments:?}"
            );
        }
        for variables in [&[][..], &[lang, ("PYTHONPATH", "/x")], &[("LANG", "de_DE.UTF-8")]] {
            assert!(told(&[], variables).contains("is for when the interpreter starts"), "{variables:?}");
        }
    }

    #[test]
    fn a_module_is_a_word() {
        for word in ["", "-c", "a,b", "../x"] {
            let error =
                Python::new().preload([word]).prepare(&mut Command::new("python3")).expect_err("no module");
            assert!(error.to_string().starts_with("factory: python: --preload"), "{error}");
        }
    }
}
