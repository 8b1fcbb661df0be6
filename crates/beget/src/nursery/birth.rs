//! Births in a nursery: a batch of plans in one message, one answer.
//!
//! Safety idea: every child that an answer tells of has a handle before anybody else can speak; one that the creator cannot hold, for
//! want of a number for its pidfd, is ended rather than live on unseen.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use beget_plan::Fault as Failed;
use beget_plan::births::{self, Birth, Mother};
use beget_plan::link;
use beget_plan::message::{BORN_AT_ONCE, Born, Header, MOST_GIVEN, MOST_ITEMS, flag, kind};
use beget_sys::process::Child;
use beget_sys::{Errno, wait};

use super::inner::Channel;
use super::{Inner, Kind, News};
use crate::error::{Error, Fault, Result};

/// A birth that is asked for.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) plan: &'a [u8],
    pub(crate) descriptors: Vec<BorrowedFd<'a>>,
    pub(crate) cgroup: Option<BorrowedFd<'a>>,
    /// It becomes this process's own child.
    pub(crate) own: bool,
    /// Its stops are told.
    pub(crate) stops: bool,
    /// The template that makes it.
    pub(crate) template: Option<Mother<'a>>,
}

/// What came of it.
#[derive(Debug)]
pub(crate) enum Delivery {
    /// A child of the nursery's.
    Child(Child, Arc<News>),
    /// A child of this process.
    Own(Child),
    /// An operation failed.
    Failed(Failed),
    /// No process could be made.
    None(Errno),
}

impl Inner {
    /// Sends `requests` as one message and waits for what came of each.
    ///
    /// # Errors
    /// Those of the channel; more descriptors or births than one message takes.
    pub(crate) fn deliver(&self, requests: &[Request<'_>], atomic: bool) -> Result<Vec<Delivery>> {
        self.deliver_while(requests, atomic, || {})
    }

    /// Sends one, does something `meanwhile`, and waits for what came of it.
    ///
    /// # Errors
    /// As for [`deliver`](Inner::deliver).
    pub(crate) fn deliver_one(&self, request: &Request<'_>, meanwhile: impl FnOnce()) -> Result<Delivery> {
        let mut all = self.deliver_while(std::slice::from_ref(request), false, meanwhile)?;
        all.pop().ok_or_else(confused)
    }

    fn deliver_while(
        &self,
        requests: &[Request<'_>],
        atomic: bool,
        meanwhile: impl FnOnce(),
    ) -> Result<Vec<Delivery>> {
        if requests.iter().any(|request| request.own) && self.kind() != Kind::Bare {
            let words = "a nursery with a guard cannot make children of its creator's";
            return Err(Error::new("nursery", words, Fault::Caller));
        }
        if atomic && requests.iter().any(|request| request.own) {
            let words = "a child of this process's own cannot be held back for others";
            return Err(Error::new("batch", words, Fault::Caller));
        }
        let (body, descriptors) = encode(requests)?;
        let words = [requests.len() as u32, if atomic { flag::ATOMIC } else { 0 }, 0, 0];
        let header = Header { kind: kind::BATCH, words, ..Header::default() };
        // Numbers for the pidfds that will come: better to know now than to end a child that has begun to run.
        // All of them, where all is to be let go on or nothing.
        let most = if atomic { requests.len() } else { requests.len().min(BORN_AT_ONCE) };
        let spare = (0..most).map(|_| self.news_fd().try_clone_to_owned());
        let spare: Vec<OwnedFd> =
            spare.collect::<std::io::Result<_>>().map_err(|error| Error::io("process", error))?;
        let mut channel = self.lock();
        self.send(&mut channel, header, &body, &descriptors)?;
        meanwhile();
        drop(spare);
        let mut deliveries = Vec::with_capacity(requests.len());
        let mut unheld = Vec::new();
        // A template that does not answer its nursery loses its channel, and with that the nursery has an answer.
        let late = || {
            for mother in requests.iter().filter_map(|request| request.template) {
                let _ = rustix::net::shutdown(mother.channel, rustix::net::Shutdown::Both);
            }
        };
        while deliveries.len() < requests.len() {
            let answer = self.answer(&mut channel, late)?;
            let lost = answer.lost;
            let mut pidfds = answer.descriptors.into_iter();
            for at in (0..answer.body.len()).step_by(Born::SIZE) {
                let born = Born::decode(&answer.body, at).ok_or_else(confused)?;
                let request = requests.get(deliveries.len()).ok_or_else(confused)?;
                if born.pidfd != 0 && lost {
                    unheld.push((born.number, request.own));
                    deliveries.push(Delivery::None(Errno::EMFILE));
                    continue;
                }
                let pidfd = if born.pidfd != 0 { Some(pidfds.next().ok_or_else(confused)?) } else { None };
                let translate = self.kind() == Kind::First;
                deliveries
                    .push(delivered(born, pidfd, request.own, translate, |number| channel.expect(number)));
            }
        }
        // Only now does the nursery listen again.
        for (number, own) in unheld {
            self.let_go(&mut channel, number, own)?;
        }
        Ok(deliveries)
    }

    /// Has a child ended that cannot be held: there was no number here for its pidfd.
    fn let_go(&self, channel: &mut Channel, number: u32, own: bool) -> Result<()> {
        const SIGKILL: i32 = 9;
        if own {
            // Our own child, which nobody else reaps.
            let _ = beget_sys::signal::kill(number as i32, SIGKILL);
            while wait::child(number as i32, wait::option::EXITED | wait::option::ALL) == Err(Errno::EINTR) {}
            return Ok(());
        }
        let words = [number, SIGKILL as u32, 0, 0];
        let header = Header { kind: kind::SIGNAL, words, ..Header::default() };
        self.send(channel, header, &[], &[])
    }
}

fn confused() -> Error {
    Error::new("nursery", "its answer means nothing", Fault::Beget)
}

fn delivered(
    born: Born,
    pidfd: Option<OwnedFd>,
    own: bool,
    translate: bool,
    expect: impl FnOnce(u32) -> Arc<News>,
) -> Delivery {
    let errno = Errno(born.errno as i32);
    match pidfd {
        Some(pidfd) if errno.0 == 0 => {
            let number = if translate { number_here(&pidfd) } else { born.number };
            let child = link::child(number, pidfd);
            if own { Delivery::Own(child) } else { Delivery::Child(child, expect(born.number)) }
        }
        pidfd => {
            if let Some(pidfd) = pidfd {
                // Ours to reap, for nobody else can.
                crate::process::reap(&pidfd);
            }
            if born.op == u32::MAX {
                Delivery::None(errno)
            } else {
                Delivery::Failed(Failed { op: born.op, errno })
            }
        }
    }
}

/// The number here of a process that was born in another namespace; 0 when it has ended and is gone.
fn number_here(pidfd: &OwnedFd) -> u32 {
    wait::number(pidfd.as_fd()).unwrap_or_else(|_| {
        let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let number = text.lines().find_map(|line| line.strip_prefix("Pid:"));
        number.and_then(|number| number.trim().parse::<i32>().ok()).map_or(0, |number| number.max(0) as u32)
    })
}

/// The body of a batch, and its descriptors.
fn encode<'a>(requests: &[Request<'a>]) -> Result<(Vec<u8>, Vec<BorrowedFd<'a>>)> {
    let birth = |request: &Request<'a>| Birth {
        plan: request.plan,
        descriptors: request.descriptors.iter().copied().map(Some).collect(),
        cgroup: request.cgroup,
        flags: if request.own { flag::PARENT } else { 0 } | if request.stops { flag::STOPS } else { 0 },
        namespaces: 0,
        template: request.template,
    };
    let (body, descriptors) = births::encode(&requests.iter().map(birth).collect::<Vec<_>>());
    if descriptors.len() > MOST_GIVEN || requests.len() > MOST_ITEMS {
        let words = format!(
            "{} births with {} descriptors; one message takes {MOST_ITEMS} and {MOST_GIVEN}",
            requests.len(),
            descriptors.len()
        );
        return Err(Error::new("batch", words, Fault::Caller));
    }
    Ok((body, descriptors))
}
