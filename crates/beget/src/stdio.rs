//! What a standard stream of a child is.

use std::fs::File;
use std::io::{PipeReader, PipeWriter};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What to put at standard input, output or error. A stream that is not set is closed.
#[derive(Debug)]
pub struct Stdio(pub(crate) Kind);

#[derive(Clone, Debug)]
pub(crate) enum Kind {
    Inherit,
    Null,
    Piped,
    File(Arc<OwnedFd>),
    /// The terminal that is its own.
    Pty,
}

impl Stdio {
    /// The caller's own stream.
    #[must_use]
    pub fn inherit() -> Stdio {
        Stdio(Kind::Inherit)
    }

    /// `/dev/null`.
    #[must_use]
    pub fn null() -> Stdio {
        Stdio(Kind::Null)
    }

    /// A new pipe at every spawn, whose other end is in the [`Process`](crate::Process).
    #[must_use]
    pub fn piped() -> Stdio {
        Stdio(Kind::Piped)
    }
}

macro_rules! from {
    ($($kind:ty),*) => {$(
        impl From<$kind> for Stdio {
            fn from(file: $kind) -> Stdio {
                Stdio(Kind::File(Arc::new(file.into())))
            }
        }
    )*};
}

from!(OwnedFd, File, PipeReader, PipeWriter);
