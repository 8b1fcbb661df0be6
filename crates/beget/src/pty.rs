//! A terminal of one's own: a pseudo-terminal, whose other end a program has for its streams and controls its session by.
//!
//! Safety idea: the program gets the slave alone. The master closes at every exec, and no plan names it.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;

use crate::error::{Error, Fault, Result};

/// The size of a terminal's window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowSize {
    /// Lines of text.
    pub rows: u16,
    /// Letters in a line.
    pub columns: u16,
    /// Width in pixels; 0 when it is not known.
    pub width: u16,
    /// Height in pixels; 0 when it is not known.
    pub height: u16,
}

impl WindowSize {
    /// A size in letters, of unknown size in pixels.
    #[must_use]
    pub const fn new(rows: u16, columns: u16) -> WindowSize {
        WindowSize { rows, columns, width: 0, height: 0 }
    }

    /// The size of the window of a terminal; `None` for what is no terminal, or does not know its own.
    #[must_use]
    pub fn of(terminal: impl AsFd) -> Option<WindowSize> {
        let size = rustix::termios::tcgetwinsize(terminal).ok()?;
        let known = size.ws_row > 0 && size.ws_col > 0;
        known.then_some(WindowSize {
            rows: size.ws_row,
            columns: size.ws_col,
            width: size.ws_xpixel,
            height: size.ws_ypixel,
        })
    }
}

/// 24 rows of 80 columns.
impl Default for WindowSize {
    fn default() -> WindowSize {
        WindowSize::new(24, 80)
    }
}

/// The master of a pseudo-terminal (`man 7 pty`): what is written to it is typed at the terminal, what is read from it was written there.
///
/// [`Command::pty`](crate::Command::pty) gives a child the other end. Reading blocks while somebody holds that end and writes nothing,
/// and tells the end of the file when nobody holds it any more; a [`Command`](crate::Command) that is still there holds it too. Dropping
/// the master hangs the terminal up: its session gets SIGHUP.
///
/// ```
/// use beget::{Command, Grant, Pty, WindowSize};
/// use std::io::Read;
///
/// let mut pty = Pty::open(WindowSize::new(30, 100))?;
/// let mut process = Command::new("stty").arg("size").grant(Grant::Base).pty(&pty)?.spawn()?;
/// let mut shown = String::new();
/// pty.read_to_string(&mut shown)?;
/// assert_eq!(shown, "30 100\r\n");
/// assert!(process.wait()?.success());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Pty(File);

impl Pty {
    /// Makes a terminal with a window of this size, from the `/dev/ptmx` of this mount namespace.
    ///
    /// # Errors
    /// That `/dev/ptmx` is not there or may not be opened; `ENOSPC` when there are as many terminals as the machine allows
    /// (`kernel.pty.max`); `EMFILE`.
    pub fn open(size: WindowSize) -> Result<Pty> {
        let failed = |errno| Error::io("pseudo-terminal /dev/ptmx", errno);
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = rustix::pty::openpt(flags).map_err(failed)?;
        rustix::pty::unlockpt(&master).map_err(failed)?;
        let pty = Pty(master.into());
        pty.set_size(size)?;
        Ok(pty)
    }

    /// The other end, to read and write, close-on-exec; by the master and not by a name (`TIOCGPTPEER`, Linux 4.13).
    pub(crate) fn slave(&self) -> Result<OwnedFd> {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        rustix::pty::ioctl_tiocgptpeer(&self.0, flags).map_err(|errno| Error::io("pseudo-terminal", errno))
    }

    /// The size of its window.
    ///
    /// # Errors
    /// None but those of `ioctl_tty`.
    pub fn size(&self) -> Result<WindowSize> {
        let size = rustix::termios::tcgetwinsize(&self.0).map_err(|errno| Error::io("window size", errno))?;
        let (rows, columns) = (size.ws_row, size.ws_col);
        Ok(WindowSize { rows, columns, width: size.ws_xpixel, height: size.ws_ypixel })
    }

    /// Changes the size of its window; its foreground group gets SIGWINCH, if that is another size than before.
    ///
    /// # Errors
    /// None but those of `ioctl_tty`.
    pub fn set_size(&self, size: WindowSize) -> Result<()> {
        let WindowSize { rows, columns, width, height } = size;
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: width, ws_ypixel: height };
        rustix::termios::tcsetwinsize(&self.0, size).map_err(|errno| Error::io("window size", errno))
    }
}

/// The end of the file is when nobody holds the other end any more.
impl Read for Pty {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buffer) {
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error()) => Ok(0),
            other => other,
        }
    }
}

/// What is written is typed; a program that takes none of it makes this wait when some tens of kibibytes are in the way.
impl Write for Pty {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl AsFd for Pty {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<Pty> for OwnedFd {
    fn from(pty: Pty) -> OwnedFd {
        pty.0.into()
    }
}

/// Why a terminal is not a child's: it leads no session, which is what a terminal controls.
pub(crate) fn wants_session() -> Error {
    Error::new("pseudo-terminal", "it controls a session, and this child is in another's", Fault::Caller)
}
