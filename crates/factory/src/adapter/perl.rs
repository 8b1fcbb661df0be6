//! Perl: modules loaded once, and each product a perl with random numbers of its own.
//!
//! Safety idea: as the protocol's; what must be decided when the interpreter starts is refused before there is a copy.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use beget::Command;

use super::{Adapter, StartedWith, check_first, pack};
use crate::{Error, Fault, Result};

const NAME: &str = "perl";

/// What the interpreter runs.
const LINES: &str = include_str!("perl.pl");

/// The adapter for perl 5. The factory's command is the interpreter, with flags of its own as arguments; a product's arguments are what would
/// come after those: a file, `-e TEXT` or `-E TEXT`, or `-` or nothing for a program on standard input, and the program's own.
///
/// The seed of `rand` is the product's own: 32 bits of the kernel's random numbers, which is all that perl's generator takes. Order of hashes
/// (`PERL_HASH_SEED`) and layout of memory are the template's in all. A program runs in an `eval`: `$^S` is 1, `caller` shows it, and errors
/// that are not caught are told, and end it, as they are elsewhere; a program that does not compile is told of without the closing line
/// that its execution was aborted.
#[derive(Debug, Default)]
pub struct Perl {
    preload: Vec<OsString>,
    started_with: StartedWith,
}

impl Perl {
    /// One that loads nothing ahead.
    #[must_use]
    pub fn new() -> Perl {
        Perl::default()
    }

    /// Has these modules loaded ahead, in this order, as `require` does: nothing is imported from them.
    #[must_use]
    pub fn preload(mut self, modules: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Perl {
        self.preload.extend(modules.into_iter().map(|module| module.as_ref().to_owned()));
        self
    }
}

impl Adapter for Perl {
    fn name(&self) -> &str {
        NAME
    }

    fn prepare(&self, command: &mut Command) -> Result<()> {
        for module in &self.preload {
            let word = module.as_bytes();
            if word.is_empty()
                || !word.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_:".contains(byte))
            {
                let part = format!("factory: {NAME}: --preload {}", module.to_string_lossy());
                return Err(Error::new(part, "that is no module's name", Fault::Caller));
            }
        }
        self.started_with.note(command);
        command.arg("-e").arg(LINES).args(&self.preload);
        Ok(())
    }

    fn job(&self, arguments: &[OsString], environment: &[(OsString, OsString)]) -> Result<Vec<u8>> {
        check_first(NAME, arguments, b"eE")?;
        self.started_with.check(NAME, environment, |name| name.as_bytes().starts_with(b"PERL"))?;
        pack(NAME, arguments, environment)
    }
}
