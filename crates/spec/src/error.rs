//! What is wrong with a spec, in one sentence.

use std::fmt;

/// An error: the part, and what is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error(String);

/// What the calls of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(part: impl fmt::Display, words: impl fmt::Display) -> Error {
        Error(format!("{part}: {words}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}
