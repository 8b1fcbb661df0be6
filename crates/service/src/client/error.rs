//! What can go wrong for a client, as one sentence: which part, and why.

use std::fmt;

use beget_sys::Errno;

use crate::protocol::error;

/// What kind of thing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// No service listens at the socket.
    NotRunning,
    /// The connection was closed by the other side, and could not be made again.
    Gone,
    /// The other side says what this protocol does not know.
    Confused,
    /// It speaks no version of the protocol that we do.
    Version,
    /// It took a request for none.
    Malformed,
    /// This connection is no right to that.
    NoRight,
    /// No domain has this name.
    NoSuch,
    /// A living domain has this name.
    NameTaken,
    /// The domain has ended, or is being ended.
    Ended,
    /// The domain does not read what it is sent.
    Full,
    /// There are as many as there may be.
    Limit,
    /// The monitor was killed or refuses; nothing was made.
    Monitor,
    /// The kernel refused.
    Kernel,
    /// We may not be served: another user's service, or one that is less confined than we are.
    Client,
    /// What was asked for cannot be: a name, a path, a folder that is not ours.
    Caller,
    /// The birth failed, as it would have without a service.
    Birth(beget::Fault),
}

impl Fault {
    /// Of an error's code, as it lies in a packet.
    fn of_code(code: u32) -> Fault {
        match code {
            error::VERSION => Fault::Version,
            error::MALFORMED => Fault::Malformed,
            error::NO_RIGHT => Fault::NoRight,
            error::NO_SUCH => Fault::NoSuch,
            error::NAME_TAKEN => Fault::NameTaken,
            error::ENDED => Fault::Ended,
            error::FULL => Fault::Full,
            error::LIMIT => Fault::Limit,
            error::MONITOR => Fault::Monitor,
            error::KERNEL => Fault::Kernel,
            error::CLIENT => Fault::Client,
            _ => Fault::Confused,
        }
    }
}

/// An error: a part of the request, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Error {
    part: String,
    words: String,
    fault: Fault,
    errno: Option<i32>,
}

/// What the calls of a client return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    pub(crate) fn new(part: impl Into<String>, words: impl Into<String>, fault: Fault) -> Error {
        Error { part: part.into(), words: words.into(), fault, errno: None }
    }

    pub(crate) fn kernel(part: impl Into<String>, errno: Errno, fault: Fault) -> Error {
        Error { part: part.into(), words: errno.to_string(), fault, errno: Some(errno.0) }
    }

    /// What a caller found wrong before it asked: a sentence whose part comes before its first colon and blank.
    #[must_use]
    pub fn caller(sentence: &impl ToString) -> Error {
        let sentence = sentence.to_string();
        let (part, words) = sentence.split_once(": ").unwrap_or(("request", &sentence));
        Error::new(part, words, Fault::Caller)
    }

    pub(crate) fn confused(part: impl Into<String>) -> Error {
        Error::new(part, "the service's answer means nothing", Fault::Confused)
    }

    /// What the service said of a request that it did not do.
    pub(crate) fn told(part: &str, code: u32, errno: u32, words: &str) -> Error {
        let errno = i32::try_from(errno).ok().filter(|errno| *errno != 0);
        Error { part: part.to_owned(), words: words.to_owned(), fault: Fault::of_code(code), errno }
    }

    /// The same, about another part.
    pub(crate) fn about(mut self, part: impl Into<String>) -> Error {
        self.part = part.into();
        self
    }

    /// What kind of thing went wrong.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The kernel's error number, when it was the kernel that said no.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.errno
    }

    /// The part of the request: `domain web`, `service /run/beget/service.sock`, `grant --read /srv/x`.
    #[must_use]
    pub fn part(&self) -> &str {
        &self.part
    }

    /// The exit code of a command that ends with this error: 127 for a program not found, 126 for one not runnable, else 125.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.fault {
            Fault::Birth(beget::Fault::NotFound) => 127,
            Fault::Birth(beget::Fault::NotRunnable) => 126,
            _ => 125,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.part, self.words)
    }
}

impl std::error::Error for Error {}

impl From<beget::Error> for Error {
    fn from(error: beget::Error) -> Error {
        let (part, text) = (error.part().to_owned(), error.to_string());
        let words = text.strip_prefix(&part).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&text);
        Error { words: words.to_owned(), part, fault: Fault::Birth(error.fault()), errno: error.errno() }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        let kind = match (error.errno, error.fault) {
            (Some(errno), _) => std::io::Error::from_raw_os_error(errno).kind(),
            (None, Fault::NotRunning) => std::io::ErrorKind::NotConnected,
            (None, Fault::NoSuch) => std::io::ErrorKind::NotFound,
            (None, Fault::NoRight | Fault::Client) => std::io::ErrorKind::PermissionDenied,
            _ => std::io::ErrorKind::Other,
        };
        std::io::Error::new(kind, error)
    }
}
