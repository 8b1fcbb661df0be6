//! Ready points: where a program is stopped to become a template.
//!
//! Safety idea: a ready point is one word of a person, read into what it can be and nothing else; a program that does not come to it is
//! ended, and the error says where it was.

use std::ffi::OsString;
use std::fmt;
use std::str::FromStr;

use beget::{Part, Register};

use crate::arguments::{self, Arguments};
use crate::{Error, Fault, Result};

/// Where a program is stopped; as words `entry`, `main`, `stdin`, `stop` and `symbol=NAME`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Ready {
    /// At its entry: loaded and relocated, before its first instruction. For any program.
    Entry,
    /// At its `main`: what runs before that, constructors among it, has run.
    Main,
    /// Where it first waits for its standard input: an interpreter that is given its program there.
    ///
    /// The template's descriptor 0 must then be the reading end of an empty pipe whose other end somebody keeps open; what a product gets
    /// there takes its place before the call is made again. A program that waits for its input in a set of descriptors that the kernel
    /// keeps (`epoll`) cannot be copied so, for that would wait for the template's.
    ///
    /// What it wrote before then no product writes, and it has seen a pipe there: whoever gives products a file or a terminal finds what it
    /// made of that (no prompt, no seeking). Both are among the hazards, here and for `stop` and `symbol`.
    Stdin,
    /// Where it sends itself `SIGSTOP`, in any language: after that call. The signal never stops it.
    Stop,
    /// At the first instruction of this function, of the program or of a library that is there when it starts.
    Symbol(String),
}

impl FromStr for Ready {
    type Err = Error;

    fn from_str(word: &str) -> Result<Ready> {
        match word {
            "entry" => Ok(Ready::Entry),
            "main" => Ok(Ready::Main),
            "stdin" => Ok(Ready::Stdin),
            "stop" => Ok(Ready::Stop),
            _ => match word.strip_prefix("symbol=") {
                Some(name) if !name.is_empty() && !name.contains('\0') => Ok(Ready::Symbol(name.to_owned())),
                _ => {
                    let words = format!("{word:?} is none: entry, main, stdin, stop, or symbol=NAME");
                    Err(Error::new("factory: ready point", words, Fault::Caller))
                }
            },
        }
    }
}

impl fmt::Display for Ready {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ready::Entry => f.write_str("entry"),
            Ready::Main => f.write_str("main"),
            Ready::Stdin => f.write_str("stdin"),
            Ready::Stop => f.write_str("stop"),
            Ready::Symbol(name) => write!(f, "symbol={name}"),
        }
    }
}

/// What is known of a program that was stopped at its ready point.
#[derive(Clone, Debug)]
pub struct Point {
    /// The ready point that it came to.
    pub ready: Ready,
    /// What it was started with, where that can be other for each product: at its entry, and at `main`.
    pub arguments: Option<Arguments>,
}

impl Point {
    /// What a product's program goes on with, where that is not what the template's was started with. Adds to `part` what must be in its
    /// memory, and gives the registers that must be other, for [`Template::start_with`](beget::Template::start_with).
    ///
    /// `arguments` are all of them, the name first; the environment is all of it. It should be called for every product: at the entry each
    /// gets 16 random bytes of its own for `AT_RANDOM`, whatever else.
    ///
    /// # Errors
    /// What is not possible at this ready point; a string with a NUL, a variable's name with `=`; more than the stack's limit allows; no
    /// random numbers.
    pub fn rewrite(
        &self,
        part: &mut Part<'_>,
        arguments: Option<&[OsString]>,
        environment: Option<&[(OsString, OsString)]>,
    ) -> Result<Vec<(Register, u64)>> {
        arguments::rewrite(&self.ready, self.arguments.as_ref(), part, arguments, environment)
    }

    /// Gives a copy 16 random bytes of its own for `AT_RANDOM` at the entry, and nothing else: what [`rewrite`](Point::rewrite) does where it is
    /// given nothing, before anything of a request is known.
    ///
    /// # Errors
    /// No random numbers.
    pub fn refresh(&self, part: &mut Part<'_>) -> Result<()> {
        self.arguments.as_ref().map_or(Ok(()), |arguments| arguments.refresh(part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_word_is_read_and_written_the_same() {
        for word in ["entry", "main", "stdin", "stop", "symbol=Py_BytesMain"] {
            assert_eq!(word.parse::<Ready>().expect("a ready point").to_string(), word);
        }
        for word in ["", "Entry", "symbol", "symbol=", "start"] {
            let error = word.parse::<Ready>().expect_err("no ready point");
            assert!(error.to_string().starts_with("factory: ready point: "), "{error}");
        }
    }
}
