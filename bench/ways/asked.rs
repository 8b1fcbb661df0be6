//! A process of a few pages that waits to be asked: what it costs to wake it, and what it costs it to fork.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};

/// The process, and our end of its socket.
pub struct Asked {
    socket: UnixStream,
    child: Child,
}

impl Asked {
    /// It is started.
    pub fn start(program: &Path) -> Result<Asked, String> {
        let failed = |error: std::io::Error| error.to_string();
        let (socket, theirs) = UnixStream::pair().map_err(failed)?;
        let child = Command::new(program).stdin(OwnedFd::from(theirs)).spawn().map_err(failed)?;
        Ok(Asked { socket, child })
    }

    /// It is woken, perhaps forks a child and waits for its end, and answers.
    pub fn ask(&mut self, fork: bool) -> Result<(), String> {
        let mut byte = [u8::from(fork)];
        self.socket
            .write_all(&byte)
            .and_then(|()| self.socket.read_exact(&mut byte))
            .map_err(|e| e.to_string())
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
        let _ = self.child.wait();
    }
}
