//! The factory's side of a job: a copy is told it, and says that it is unlike the others.
//!
//! Safety idea: it is done when that one byte has come, and in no other case. A copy that neither reads nor answers costs the time that it was
//! given, and no more.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

use super::ACKNOWLEDGED;
use crate::{Error, Fault, Result};

/// A job on its way to one copy.
#[derive(Debug)]
pub struct Exchange {
    name: String,
    line: OwnedFd,
    job: Vec<u8>,
    told: usize,
}

impl Exchange {
    /// Begins one for the adapter of this name, and gives the end that is to be in the copy's slot [`JOB`](super::JOB): nobody else should
    /// keep it, or its end is not seen. What fits into the socket is sent already, so that a copy finds it when it looks.
    ///
    /// # Errors
    /// A job of 4 GiB; no sockets.
    pub fn begin(name: &str, job: &[u8]) -> Result<(Exchange, OwnedFd)> {
        let length = u32::try_from(job.len()).map_err(|_| super::refuse(name, "it is too long"))?;
        let (family, kind) = (AddressFamily::UNIX, SocketType::STREAM);
        let pair = rustix::net::socketpair(family, kind, SocketFlags::CLOEXEC, None);
        let (line, theirs) =
            pair.map_err(|errno| Error::io(format!("factory: {name}: a product's job"), errno))?;
        let mut framed = length.to_ne_bytes().to_vec();
        framed.extend_from_slice(job);
        let mut exchange = Exchange { name: name.to_owned(), line, job: framed, told: 0 };
        exchange.tell()?;
        Ok((exchange, theirs))
    }

    /// Tells the rest, and waits until the copy says that it is unlike the others.
    ///
    /// # Errors
    /// A copy that has ended, closed its end, said anything else, or not answered within `patience`. It must then be ended.
    pub fn finish(mut self, patience: Duration) -> Result<()> {
        let until = Instant::now() + patience;
        loop {
            let mut wanted = PollFlags::IN;
            wanted.set(PollFlags::OUT, self.told < self.job.len());
            let left = until.saturating_duration_since(Instant::now());
            let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
            let mut polled = [PollFd::new(&self.line, wanted)];
            match rustix::event::poll(&mut polled, Some(&left)) {
                Ok(0) => return Err(self.failed("the copy did not say in time that it is unlike the others")),
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::io(self.part(), errno)),
            }
            if let Some(answer) = self.answer()? {
                let silent =
                    "the copy ended, or closed its line, without saying that it is unlike the others";
                return match answer {
                    None => Err(self.failed(silent)),
                    Some(ACKNOWLEDGED) => Ok(()),
                    Some(other) => {
                        Err(self.failed(&format!("the copy answered {other:#04x}, which means nothing")))
                    }
                };
            }
            self.tell()?;
        }
    }

    /// The answer as far as there is one: `Some(None)` for its end.
    fn answer(&self) -> Result<Option<Option<u8>>> {
        let mut byte = [0];
        match rustix::net::recv(self.line.as_fd(), &mut byte, RecvFlags::DONTWAIT) {
            Ok((0, _)) | Err(Errno::CONNRESET) => Ok(Some(None)),
            Ok(_) => Ok(Some(Some(byte[0]))),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(errno) => Err(Error::io(self.part(), errno)),
        }
    }

    /// Sends what can be sent without waiting. That nobody is there shows by the missing answer.
    fn tell(&mut self) -> Result<()> {
        while let Some(rest) = self.job.get(self.told..).filter(|rest| !rest.is_empty()) {
            match rustix::net::send(self.line.as_fd(), rest, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(sent) => self.told += sent,
                Err(Errno::PIPE | Errno::CONNRESET) => self.told = self.job.len(),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::io(self.part(), errno)),
            }
        }
        Ok(())
    }

    fn part(&self) -> String {
        format!("factory: {}: a product's job", self.name)
    }

    fn failed(&self, words: &str) -> Error {
        Error::new(self.part(), words, Fault::NotRunnable)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn a_long_job_arrives_whole_and_is_acknowledged() {
        let job: Vec<u8> = (0..1_000_000_u32).map(|number| number as u8).collect();
        let (exchange, theirs) = Exchange::begin("x", &job).expect("an exchange");
        let copy = std::thread::spawn(move || {
            let mut line = UnixStream::from(theirs);
            let mut length = [0; 4];
            line.read_exact(&mut length).expect("a length");
            let mut job = vec![0; u32::from_ne_bytes(length) as usize];
            line.read_exact(&mut job).expect("a job");
            line.write_all(&[ACKNOWLEDGED]).expect("it is waited for");
            job
        });
        exchange.finish(LONG).expect("it is acknowledged");
        assert_eq!(copy.join().expect("it read it"), job);
    }

    #[test]
    fn a_copy_that_does_not_say_so_is_refused() {
        let (exchange, theirs) = Exchange::begin("x", b"job").expect("an exchange");
        drop(theirs);
        let error = exchange.finish(LONG).expect_err("nobody answers");
        assert!(error.to_string().starts_with("factory: x: a product's job: the copy ended"), "{error}");
        let (exchange, theirs) = Exchange::begin("x", b"job").expect("an exchange");
        UnixStream::from(theirs).write_all(b"0").expect("it is there");
        let error = exchange.finish(LONG).expect_err("that is no answer");
        assert!(error.to_string().contains("0x30"), "{error}");
        let (exchange, _theirs) = Exchange::begin("x", b"job").expect("an exchange");
        let error = exchange.finish(Duration::from_millis(1)).expect_err("it says nothing");
        assert!(error.to_string().contains("in time"), "{error}");
    }
}
