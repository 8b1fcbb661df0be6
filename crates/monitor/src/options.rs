//! How a monitor serves, and why it cannot.
//!
//! Safety idea: everything that it takes from outside is said once, when it is started.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use beget_sys::Errno;

/// What becomes of domains when their monitor is killed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// They end.
    #[default]
    Die,
    /// They live on under their nursery, which keeps how they end until another monitor has taken it over.
    Live,
}

/// How a monitor serves.
#[derive(Debug, Default)]
pub struct Options {
    /// A listening `SOCK_SEQPACKET` socket where process services connect; who may is for its folder to say.
    pub listener: Option<OwnedFd>,
    /// A process service that is connected already.
    pub connection: Option<OwnedFd>,
    /// The folder where lasting nurseries listen for the next monitor, needed for [`Policy::Live`]: it must be there, this user's, and nobody
    /// else's to enter.
    pub folder: Option<PathBuf>,
    /// What becomes of domains when the monitor is killed.
    pub policy: Policy,
    /// How many nurseries share the births of one set of credentials; 0 means one. As many as there are processors lets births scale
    /// with them.
    pub nurseries: usize,
    /// Other users are served, as themselves. Takes root.
    pub other_users: bool,
    /// When the other end of this is closed the monitor exits, as if it was killed.
    pub alive: Option<OwnedFd>,
}

/// Why a monitor cannot serve.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Which part of it.
    pub part: String,
    /// The kernel's answer.
    pub errno: Errno,
}

impl Error {
    pub(crate) fn new(part: impl Into<String>, errno: impl Into<i32>) -> Error {
        Error { part: part.into(), errno: Errno(errno.into()) }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.part, self.errno)
    }
}

impl std::error::Error for Error {}
