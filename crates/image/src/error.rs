//! What can be wrong with an image, in the words of whoever looked.

use std::borrow::Cow;
use std::{fmt, io};

/// Why there is no answer.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// The bytes are not what they would have to be: these words say how. It is the file's fault.
    Malformed(Cow<'static, str>),
    /// The bytes could not be read. It is not the file's fault.
    Unread(io::Error),
    /// The image cannot be put where it was asked to be. It is the caller's fault.
    Misplaced(&'static str),
}

/// What the calls of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Malformed(words) => f.write_str(words),
            Error::Unread(error) => error.fmt(f),
            Error::Misplaced(words) => f.write_str(words),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Error::Unread(error) => Some(error),
            Error::Malformed(_) | Error::Misplaced(_) => None,
        }
    }
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::Unread(error)
    }
}

/// `Err` with these words.
pub(crate) fn malformed<T>(words: impl Into<Cow<'static, str>>) -> Result<T> {
    Err(Error::Malformed(words.into()))
}
