//! What can go wrong, as one sentence: which part, and why; whose fault it is, and the exit code that says so.

use std::fmt;

use beget_plan::Malformed;
use beget_sys::Errno;

/// Whose fault it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// What was asked for cannot be: a path that is not there, a limit above the user's own.
    Caller,
    /// The program was not found.
    NotFound,
    /// The program was found and cannot be run.
    NotRunnable,
    /// The kernel has not, or refused, what is needed.
    Kernel,
    /// What was promised cannot be kept here, and was not given up: this system refuses a private root.
    Unkept,
    /// Somebody else in this process took the child's status: it called `wait` for any child, or ignores SIGCHLD.
    StatusTaken,
    /// Beget is wrong; please report it.
    Beget,
}

/// An error: a part of the request, and what is wrong with it.
#[derive(Clone, Debug)]
pub struct Error {
    part: String,
    words: String,
    fault: Fault,
    errno: Option<Errno>,
}

/// What the calls of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of this part, in these words.
    #[must_use]
    pub fn new(part: impl Into<String>, words: impl Into<String>, fault: Fault) -> Error {
        Error { part: part.into(), words: words.into(), fault, errno: None }
    }

    /// An answer of the kernel about this part.
    #[must_use]
    pub fn kernel(part: impl Into<String>, errno: Errno, fault: Fault) -> Error {
        Error { part: part.into(), words: errno.to_string(), fault, errno: Some(errno) }
    }

    /// An error of input or output with this part.
    #[must_use]
    pub fn io(part: impl Into<String>, error: impl Into<std::io::Error>) -> Error {
        let error = error.into();
        match error.raw_os_error() {
            Some(number) => Error::kernel(part, Errno(number), Fault::Kernel),
            None => Error::new(part, error.to_string(), Fault::Kernel),
        }
    }

    pub(crate) fn malformed_plan(refusal: Malformed) -> Error {
        Error::new("plan", refusal.to_string(), Fault::Beget)
    }

    /// The same with a reason why it is not helped.
    #[must_use]
    pub fn and(mut self, words: &str) -> Error {
        self.words = format!("{}; {words}", self.words);
        self
    }

    pub(crate) fn with_errno(mut self, errno: Errno) -> Error {
        self.errno = Some(errno);
        self
    }

    pub(crate) fn with_fault(mut self, fault: Fault) -> Error {
        self.fault = fault;
        self
    }

    /// Whose fault it is.
    #[must_use]
    pub fn fault(&self) -> Fault {
        self.fault
    }

    /// The kernel's error number, when it was the kernel that said no.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        self.errno.map(|errno| errno.0)
    }

    /// The part of the request, in the command line's notation: `grant --read /srv/x`, `program foo`, `limit --memory 5`.
    #[must_use]
    pub fn part(&self) -> &str {
        &self.part
    }

    /// The exit code of a command that ends with this error: 127 for a program not found, 126 for one not runnable, else 125.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self.fault {
            Fault::NotFound => 127,
            Fault::NotRunnable => 126,
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

impl From<beget_authority::Error> for Error {
    fn from(error: beget_authority::Error) -> Error {
        use beget_authority::Reason;
        let words = error.reason.to_string();
        let (fault, errno) = match error.reason {
            Reason::Kernel(errno) => (Fault::Caller, Some(errno)),
            Reason::Unkept(_) | Reason::NoCgroup(..) => (Fault::Kernel, None),
            _ => (Fault::Caller, None),
        };
        Error { part: error.part, words, fault, errno }
    }
}

impl From<beget_channel::Error> for Error {
    fn from(error: beget_channel::Error) -> Error {
        use beget_channel::Error as Of;
        match error {
            Of::Kernel(step, errno) => Error::kernel(format!("channel: {step}"), errno, Fault::Kernel),
            other => {
                let words = other.to_string();
                let words = words.strip_prefix("channel: ").unwrap_or(&words);
                let errno = match other {
                    Of::Full => Some(Errno::EAGAIN),
                    Of::Closed => Some(Errno::EPIPE),
                    _ => None,
                };
                Error { part: "channel".to_owned(), words: words.to_owned(), fault: Fault::Caller, errno }
            }
        }
    }
}

impl From<Error> for std::io::Error {
    fn from(error: Error) -> std::io::Error {
        let kind = error
            .errno
            .map_or(std::io::ErrorKind::Other, |errno| std::io::Error::from_raw_os_error(errno.0).kind());
        std::io::Error::new(kind, error)
    }
}
