//! A session with the process service of this user, or of another socket.
//!
//! Safety idea: a session may be closed at any moment, when both services were killed; what is asked again then is only what can be
//! asked twice, and a spawn has a token by which the service knows it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use beget_monitor::fields::Writer;
use beget_monitor::packet::Packet;

use super::domain::{Domain, capability, records};
use super::error::{Error, Fault, Result};
use super::find::{connect, socket_path};
use super::link::Link;
use super::spawn::Capability;
use crate::protocol::{Record, State, kind, subject};

/// How long a service that was there a moment ago is looked for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);
/// How long the first answer of a service may take.
const FIRST_ANSWER: Duration = Duration::from_secs(30);

/// A session with a process service.
#[derive(Debug)]
pub struct Service {
    pub(crate) link: Link,
    pub(crate) path: Option<PathBuf>,
    pub(crate) part: String,
}

impl Service {
    /// Connects to the service that listens at this path.
    ///
    /// # Errors
    /// [`Fault::NotRunning`] when none does; [`Fault::Client`] when it does not serve us; [`Fault::Version`].
    pub fn connect(path: impl AsRef<Path>) -> Result<Service> {
        let path = path.as_ref();
        let part = format!("service {}", path.display());
        let link = session(path, &part)?;
        Ok(Service { link, path: Some(path.to_owned()), part })
    }

    /// The same where a service was a moment ago, which may be started again just now.
    pub(crate) fn connect_with_patience(path: &Path) -> Result<Service> {
        let until = Instant::now() + PATIENCE;
        loop {
            match Service::connect(path) {
                Err(error)
                    if matches!(error.fault(), Fault::NotRunning | Fault::Gone) && Instant::now() < until =>
                {
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => return other,
            }
        }
    }

    /// Connects to the service of this user: see [`socket_path`].
    ///
    /// # Errors
    /// Those of [`connect`](Service::connect).
    pub fn find() -> Result<Service> {
        Service::connect(socket_path())
    }

    /// Takes a session that is connected already. It cannot be made again when the service and the monitor are killed.
    ///
    /// # Errors
    /// [`Fault::NoRight`] when it is a right to something else; [`Fault::Gone`].
    pub fn from_fd(socket: impl Into<OwnedFd>) -> Result<Service> {
        match Capability::from_fd(socket)? {
            Capability::Session(service) => Ok(service),
            _ => Err(Error::new("service", "the connection is no session", Fault::NoRight)),
        }
    }

    pub(crate) fn of(link: Link) -> Service {
        Service { link, path: None, part: "service".to_owned() }
    }

    /// Asks, and once more on a new session if this one was closed.
    pub(crate) fn ask(
        &mut self,
        kind: u16,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
        wanted: &[u16],
    ) -> Result<Packet> {
        let Service { link, part, path } = self;
        link.ask_again(part, kind, body, descriptors, wanted, || {
            Service::connect_with_patience(path.as_deref()?).ok().map(|service| service.link)
        })
    }

    /// The living domains of this user.
    ///
    /// # Errors
    /// [`Fault::Gone`].
    pub fn list(&mut self) -> Result<Vec<Record>> {
        let answer = self.ask(kind::LIST, &[], &[], &[kind::RECORDS])?;
        records(&self.part, &answer)
    }

    /// Those that have ended, the latest first, and no more than so many.
    ///
    /// # Errors
    /// [`Fault::Gone`].
    pub fn history(&mut self, most: u32) -> Result<Vec<Record>> {
        let mut body = Writer::new();
        body.u32(most);
        let answer = self.ask(kind::HISTORY, body.body(), &[], &[kind::RECORDS])?;
        records(&self.part, &answer)
    }

    /// A capability to the domain of this name: the living one, or the one of those that have ended which had it last.
    ///
    /// # Errors
    /// [`Fault::NoSuch`]; [`Fault::Limit`]; [`Fault::Gone`].
    pub fn open(&mut self, name: &str) -> Result<Domain> {
        let part = format!("domain {name}");
        let mut body = Writer::new();
        body.str(name);
        let answer = self.ask(kind::OPEN, body.body(), &[], &[kind::CAPABILITY]);
        let answer = answer.map_err(|error| match error.fault() {
            Fault::NoSuch | Fault::Limit | Fault::Malformed => error.about(&*part),
            _ => error,
        })?;
        let (id, rights, socket) = capability(&part, answer)?;
        Domain::new(socket, id, rights, name, self.path.as_deref())
    }

    /// What the service says of itself.
    ///
    /// # Errors
    /// [`Fault::Gone`].
    pub fn state(&mut self) -> Result<State> {
        let answer = self.ask(kind::STATE, &[], &[], &[kind::STATE_IS])?;
        State::decode(&answer.body).ok_or_else(|| Error::confused(&*self.part))
    }

    /// Has the service end all domains of this user that it keeps, the monitor and itself.
    ///
    /// # Errors
    /// [`Fault::NoRight`] when it is not ours to end; [`Fault::Gone`].
    pub fn stop(&mut self) -> Result<()> {
        self.link.ask(&self.part, kind::STOP, &[], &[], &[kind::DONE]).map(drop)
    }
}

impl AsFd for Service {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }
}

fn session(path: &Path, part: &str) -> Result<Link> {
    let until = Instant::now() + PATIENCE;
    let (link, welcome) = loop {
        let mut link = Link::new(connect(path)?)?;
        match link.hello(part, Some(FIRST_ANSWER)) {
            // It was killed before it knew us; the next one takes whoever waits at the socket.
            Err(error) if error.fault() == Fault::Gone && Instant::now() < until => {
                std::thread::sleep(Duration::from_millis(5));
            }
            welcome => break (link, welcome?),
        }
    };
    if welcome.subject == subject::SESSION { Ok(link) } else { Err(Error::confused(part)) }
}
