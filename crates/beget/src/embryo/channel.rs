//! Our end of an embryo's channel: a part goes, an answer comes.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

use beget_plan::Fault as Failed;
use beget_plan::link::Link;
use beget_plan::message::{Header, Hello, kind};
use beget_sys::Errno;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::error::{Error, Fault, Result};

/// How an embryo took a part.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It did all of it, and answers.
    Done(Vec<u8>),
    /// It closed the channel: it became a program, or ended.
    Left,
    /// An operation failed.
    Failed(Failed),
}

/// Where things are in an embryo.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The end of the stack that the kernel made.
    pub(crate) stack_top: u64,
    /// What the stub lies in.
    pub(crate) home: std::ops::Range<u64>,
    /// It can leave for a program in memory.
    pub(crate) leaves: bool,
    /// What the kernel told the stub.
    pub(crate) auxiliary: Vec<(u64, u64)>,
}

impl Place {
    /// Where things could be, for a plan that is only looked at.
    pub(crate) fn somewhere() -> Place {
        let home = 0x7f00_0000_0000..0x7f00_0010_0000;
        Place { stack_top: 0x7fff_ffff_e000, home, leaves: true, auxiliary: Vec::new() }
    }
}

#[derive(Debug)]
pub(crate) struct Channel {
    link: Link,
    place: Option<Place>,
}

impl Channel {
    pub(crate) fn new(link: Link) -> Channel {
        Channel { link, place: None }
    }

    /// A copy's, which is where its template is and says nothing of that.
    pub(crate) fn of_copy(link: Link) -> Channel {
        Channel { link, place: Some(Place::somewhere()) }
    }

    /// Sets how long one answer, and room for what is sent, may be waited for: past that it is [late].
    pub(crate) fn set_patience(&self, patience: Duration) -> Result<()> {
        use rustix::net::sockopt::{Timeout, set_socket_timeout};
        [Timeout::Recv, Timeout::Send]
            .into_iter()
            .try_for_each(|way| set_socket_timeout(&self.link, way, Some(patience)))
            .map_err(|errno| Error::io("embryo: patience", errno))
    }

    /// Where things are in it: what it says first of all.
    pub(crate) fn place(&mut self) -> Result<&Place> {
        if self.place.is_none() {
            self.place = Some(self.hear_hello()?);
        }
        self.place.as_ref().ok_or_else(confused)
    }

    fn hear_hello(&self) -> Result<Place> {
        let message = self.link.receive(true).map_err(failed)?.ok_or_else(gone)?;
        if message.header.kind != kind::HELLO {
            return Err(confused());
        }
        let hello = Hello::decode(&message.body, 0).ok_or_else(confused)?;
        let long = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
        let begin = long(hello.home_low, hello.home_high);
        let number = |bytes: &[u8]| bytes.try_into().map_or(0, u64::from_ne_bytes);
        let pairs = message.body.get(Hello::SIZE..).unwrap_or_default().chunks_exact(16);
        Ok(Place {
            stack_top: long(hello.stack_low, hello.stack_high),
            home: begin..begin.saturating_add(hello.home_bytes.into()),
            leaves: hello.leaves == 1,
            auxiliary: pairs.map(|pair| (number(&pair[..8]), number(&pair[8..]))).collect(),
        })
    }

    /// Sends a part, with the number that the embryo's end is to have from now on, and waits for what comes of it.
    pub(crate) fn tell(&mut self, floor: u32, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<Taken> {
        self.say(floor, body, descriptors)?;
        self.hear()
    }

    /// Sends a part likewise, and does not wait.
    pub(crate) fn say(&mut self, floor: u32, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        self.place()?;
        self.say_it([floor, 0], body, descriptors)
    }

    /// Sends a part to a copy that may not be there yet: it goes on as its program only when its nursery lets it. What nobody reads yet must have room
    /// on the way.
    pub(crate) fn say_ahead(&self, floor: u32, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        self.say_it([floor, 1], body, descriptors)
    }

    fn say_it(&self, [floor, held]: [u32; 2], body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let header = Header { kind: kind::PART, words: [floor, held, 0, 0], ..Header::default() };
        match self.link.send(header, body, descriptors) {
            Ok(()) => Ok(()),
            Err(Errno::EPIPE) => Err(gone()),
            Err(Errno::EAGAIN) => Err(late()),
            Err(errno) => Err(failed(errno)),
        }
    }

    /// Waits a moment for something to come. Whoever waits in a receive is woken too when the other side has read what was sent, and would take
    /// its processor just then.
    pub(crate) fn await_answer(&self) {
        const MOMENT: Timespec = Timespec { tv_sec: 0, tv_nsec: 2_000_000 };
        // Whatever is wrong is found out by the receive, which has its patience.
        let _ = poll(&mut [PollFd::new(&self.link, PollFlags::IN)], Some(&MOMENT));
    }

    /// Closes it at both ends, for an embryo that is not known to be there. Gives how many of the parts that it was told it had done by then: it does
    /// no more.
    pub(crate) fn give_up(&mut self) -> usize {
        let _ = rustix::net::shutdown(&self.link, rustix::net::Shutdown::Both);
        std::iter::from_fn(|| match self.hear() {
            Ok(Taken::Done(_)) => Some(()),
            _ => None,
        })
        .count()
    }

    /// Waits for what comes of the next part that was sent.
    pub(crate) fn hear(&mut self) -> Result<Taken> {
        let came = self.link.receive(true).map_err(|errno| match errno {
            Errno::EAGAIN => late(),
            other => failed(other),
        })?;
        match came {
            None => Ok(Taken::Left),
            Some(answer) if answer.header.kind == kind::ANSWER => match answer.header.words {
                [_, 0, ..] => Ok(Taken::Done(answer.body)),
                [op, errno, ..] => Ok(Taken::Failed(Failed { op, errno: Errno(errno as i32) })),
            },
            Some(_) => Err(confused()),
        }
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

fn failed(errno: Errno) -> Error {
    Error::kernel("embryo", errno, Fault::Kernel)
}

pub(crate) fn gone() -> Error {
    Error::new("embryo", "it has ended", Fault::Kernel).with_errno(Errno::EPIPE)
}

/// It did not answer within its patience.
fn late() -> Error {
    Error::new("embryo", "it did not answer in time", Fault::Kernel).with_errno(Errno::EAGAIN)
}

fn confused() -> Error {
    Error::new("embryo", "its answer means nothing", Fault::Beget)
}
