//! Why authority could not be prepared: which part, and what was wrong with it.

use std::fmt;

use beget_sys::Errno;

use crate::{Grant, Limit, Promise};

/// A part of the request that cannot be had.
#[derive(Debug)]
pub struct Error {
    /// The part, as the person asking would write it: `grant --read /srv/x`.
    pub part: String,
    /// What is wrong with it.
    pub reason: Reason,
}

/// What is wrong with a part.
#[derive(Debug)]
#[non_exhaustive]
pub enum Reason {
    /// The kernel refused it.
    Kernel(Errno),
    /// It makes no sense, for this reason.
    Senseless(&'static str),
    /// This kernel has no mechanism that keeps these promises; there is one at least, and the part is the first.
    Unkept(Vec<Promise>),
    /// The limits of a whole tree need a cgroup, and this is why none can be made; the promises are all that are not kept.
    NoCgroup(Vec<Promise>, String),
}

impl Error {
    pub(crate) fn grant(grant: &Grant, errno: rustix::io::Errno) -> Error {
        Error { part: format!("grant {grant}"), reason: Reason::Kernel(Errno(errno.raw_os_error())) }
    }

    pub(crate) fn senseless_grant(grant: &Grant, why: &'static str) -> Error {
        Error { part: format!("grant {grant}"), reason: Reason::Senseless(why) }
    }

    pub(crate) fn limit(limit: &Limit, reason: Reason) -> Error {
        Error { part: format!("limit {limit}"), reason }
    }

    pub(crate) fn kernel(part: &str, errno: Errno) -> Error {
        Error { part: part.to_owned(), reason: Reason::Kernel(errno) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.reason)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Kernel(errno) => errno.fmt(f),
            Reason::Senseless(why) => f.write_str(why),
            Reason::NoCgroup(promises, why) => {
                let it = if promises.len() == 1 { "it" } else { "them" };
                write!(f, "needs a cgroup, and none can be made: {why}; give {it} up with")?;
                promises.iter().try_for_each(|promise| write!(f, " --degrade {promise}"))
            }
            Reason::Unkept(promises) => {
                let needs = promises.first().map_or("", |first| first.what_it_needs());
                let it = if promises.len() == 1 { "it" } else { "it and what rests on it" };
                write!(f, "{needs}; give {it} up with")?;
                promises.iter().try_for_each(|promise| write!(f, " --degrade {promise}"))
            }
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.reason {
            Reason::Kernel(errno) => Some(errno),
            _ => None,
        }
    }
}
