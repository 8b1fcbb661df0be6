//! What can go wrong on a channel, each in one sentence.

use std::fmt;

use beget_sys::Errno;

/// Why nothing came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Error {
    /// The name is none: what is wrong with it.
    Name(&'static str),
    /// As much waits there as the kernel keeps: the other side does not read. Nothing was sent.
    Full,
    /// The other side is gone, or has closed its end.
    Closed,
    /// This process was born without a channel.
    None,
    /// What has the number of the channel is no such socket.
    NotOne,
    /// A capability came, and there was no number for its descriptor (`EMFILE`): it is lost.
    Lost,
    /// The kernel refused a step.
    Kernel(&'static str, Errno),
}

/// What the calls of this crate return.
pub type Result<T> = std::result::Result<T, Error>;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Name(wrong) => write!(f, "channel: {wrong}"),
            Error::Full => f.write_str("channel: the other side does not read: as much waits there as can"),
            Error::Closed => f.write_str("channel: the other side has closed it"),
            Error::None => f.write_str("channel: this process was born without one"),
            Error::NotOne => f.write_str("channel: what has its number is no such socket"),
            Error::Lost => {
                f.write_str("channel: a capability came, and no number was free for its descriptor")
            }
            Error::Kernel(step, errno) => write!(f, "channel: {step}: {errno}"),
        }
    }
}

impl std::error::Error for Error {}

impl Error {
    pub(crate) fn of(step: &'static str) -> impl Fn(rustix::io::Errno) -> Error {
        move |errno| Error::Kernel(step, Errno(errno.raw_os_error()))
    }
}
