//! What is wrong with a spec, in one sentence, and the line of the file that it is about.

use std::fmt;

/// An error: the part, and what is wrong with it. A part in a file is `spec FILE:LINE:COLUMN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    part: String,
    words: String,
    excerpt: String,
}

/// What the calls of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(part: impl fmt::Display, words: impl fmt::Display) -> Error {
        Error { part: part.to_string(), words: words.to_string(), excerpt: String::new() }
    }

    pub(crate) fn with_excerpt(mut self, excerpt: String) -> Error {
        self.excerpt = excerpt;
        self
    }

    /// What is wrong, without the part.
    #[must_use]
    pub fn words(&self) -> &str {
        &self.words
    }

    /// The line of the file and a mark under what is wrong, in two lines; empty when the error is about no line.
    #[must_use]
    pub fn excerpt(&self) -> &str {
        &self.excerpt
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.words)
    }
}

impl std::error::Error for Error {}
