//! A right to a sealed factory that another process keeps.
//!
//! Safety idea: what it is a right to was decided where the connection was made. Requests give descriptors and words of the requestor's own, and
//! can take nothing of what holds a product away.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use beget::{Grant, Limit};
use beget_monitor::fields::{Reader, Writer};
use rustix::fs::{Mode, OFlags};

use super::answer::{Confinement, Facts};
use super::line::Line;
use super::product::RemoteProduct;
use crate::judge::HoleIdentity;
use crate::keeper::protocol::{Start, kind, right};
use crate::{Error, Fault, Result};

/// A capability to a factory. Clones are the same connection, for any number of threads; when the last is dropped, products that came of it end,
/// but for [lasting](RemoteRequest::lasting) ones.
#[derive(Clone, Debug)]
pub struct RemoteFactory {
    line: Arc<Line>,
    rights: u32,
}

impl RemoteFactory {
    /// Takes a capability that was handed on.
    ///
    /// # Errors
    /// A connection to something else; a keeper that has ended.
    pub fn from_fd(socket: impl Into<OwnedFd>) -> Result<RemoteFactory> {
        let (line, rights) = Line::new("factory", socket.into())?;
        Ok(RemoteFactory { line: Arc::new(line), rights })
    }

    /// What it is a right to: bits of [`right`].
    #[must_use]
    pub fn rights(&self) -> u32 {
        self.rights
    }

    /// A product that is asked for. Takes [`right::REQUEST`].
    #[must_use]
    pub fn request(&self) -> RemoteRequest {
        RemoteRequest {
            line: Arc::clone(&self.line),
            start: Start::default(),
            given: Vec::new(),
            slots: Vec::new(),
            directory: None,
            cgroup: None,
        }
    }

    /// What its products reach, and how that is known. Takes [`right::VERIFY`].
    ///
    /// # Errors
    /// No right to that; a keeper that has ended.
    pub fn confinement(&self) -> Result<Confinement> {
        let answer = self.line.ask(kind::CONFINEMENT, &[], &[], kind::CONFINEMENT_IS)?;
        Confinement::decode(&answer.body).ok_or_else(|| self.line.confused())
    }

    /// Whether its products can tell nobody but through these holes. Takes [`right::VERIFY`].
    ///
    /// # Errors
    /// As for [`confinement`](RemoteFactory::confinement).
    pub fn is_confined(&self, authorised: &[HoleIdentity]) -> Result<bool> {
        Ok(self.confinement()?.is_confined(authorised))
    }

    /// Whether its holes are among those of `other` (KeyKOS's test). Takes [`right::VERIFY`] to both.
    ///
    /// # Errors
    /// As for [`confinement`](RemoteFactory::confinement).
    pub fn compare(&self, other: &RemoteFactory) -> Result<bool> {
        Ok(self.confinement()?.compare(&other.confinement()?))
    }

    /// Whether the process behind a pidfd is a product of this factory, and lives (its brand). Takes [`right::VERIFY`].
    ///
    /// # Errors
    /// A descriptor that is no pidfd; no right to that; a keeper that has ended.
    pub fn is_product(&self, pidfd: impl AsFd) -> Result<bool> {
        Ok(self.number(kind::IS_PRODUCT, &[pidfd.as_fd()])? != 0)
    }

    /// What rights to this very factory a connection is that somebody handed on; 0 for what is none. Only the keeper makes such, as an answer to
    /// [`attenuate`](RemoteFactory::attenuate) or to the seal: one that somebody else made as if it led there is none. Takes [`right::VERIFY`], of a connection
    /// that is trusted: one that came of the service by the factory's name.
    ///
    /// # Errors
    /// No right to that; a keeper that has ended.
    pub fn is_capability(&self, connection: impl AsFd) -> Result<u32> {
        self.number(kind::IS_CAPABILITY, &[connection.as_fd()])
    }

    /// How its products are made, and what it counted. Takes [`right::VERIFY`] or [`right::REQUEST`].
    ///
    /// # Errors
    /// No right to that; a keeper that has ended.
    pub fn facts(&self) -> Result<Facts> {
        let answer = self.line.ask(kind::FACTS, &[], &[], kind::FACTS_ARE)?;
        Facts::decode(&answer.body).ok_or_else(|| self.line.confused())
    }

    /// Has a new template made; requests are answered meanwhile. Takes [`right::MANAGE`].
    ///
    /// # Errors
    /// Those of making one; a cold factory has none.
    pub fn replace(&self) -> Result<()> {
        self.line.ask(kind::REPLACE, &[], &[], kind::DONE).map(drop)
    }

    /// Has its program get ready once more, and saves what it is then into `file`, which is open for reading and writing; gives the digest of
    /// the image. Takes [`right::MANAGE`].
    ///
    /// # Errors
    /// Those of [`Factory::save`](crate::Factory::save); no right to that; a keeper that has ended.
    pub fn save(&self, file: impl AsFd) -> Result<String> {
        let answer = self.line.ask(kind::SAVE, &[], &[file.as_fd()], kind::LINE)?;
        let line = Reader::new(&answer.body).str().map(str::to_owned);
        line.ok_or_else(|| self.line.confused())
    }

    /// Another capability to the same factory, with no more than these rights: to be handed on.
    ///
    /// # Errors
    /// Rights that this one has not; as many connections as there may be.
    pub fn attenuate(&self, rights: u32) -> Result<OwnedFd> {
        let mut body = Writer::new();
        body.u32(rights);
        let answer = self.line.ask(kind::ATTENUATE, body.body(), &[], kind::CAPABILITY)?;
        answer.descriptors.into_iter().next().ok_or_else(|| self.line.confused())
    }

    fn number(&self, kind: u16, descriptors: &[BorrowedFd<'_>]) -> Result<u32> {
        let answer = self.line.ask(kind, &[], descriptors, kind::NUMBER)?;
        let mut reader = Reader::new(&answer.body);
        let number = reader.u32().filter(|_| reader.ends().is_some());
        number.ok_or_else(|| self.line.confused())
    }
}

impl AsFd for RemoteFactory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.line.as_fd()
    }
}

/// A product that is asked for: what the requestor gives it. Without more it has no streams, and the factory's own arguments and variables.
#[derive(Debug)]
pub struct RemoteRequest {
    line: Arc<Line>,
    start: Start,
    given: Vec<OwnedFd>,
    slots: Vec<OwnedFd>,
    directory: Option<OwnedFd>,
    cgroup: Option<OwnedFd>,
}

impl RemoteRequest {
    /// An argument, after the factory's own.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<OsStr>) -> RemoteRequest {
        self.start.arguments.push(argument.as_ref().to_owned());
        self
    }

    /// Arguments, likewise.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl AsRef<OsStr>>) -> RemoteRequest {
        self.start.arguments.extend(arguments.into_iter().map(|argument| argument.as_ref().to_owned()));
        self
    }

    /// A variable.
    #[must_use]
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> RemoteRequest {
        self.start.environment.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// A descriptor, with this number in the product; the last of a number counts.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn fd(mut self, number: u32, file: impl AsFd) -> Result<RemoteRequest> {
        let copy = file.as_fd().try_clone_to_owned();
        let copy = copy.map_err(|error| Error::io(format!("descriptor {number}"), error))?;
        match self.start.numbers.iter().position(|known| *known == number) {
            Some(place) => self.given[place] = copy,
            None => {
                self.start.numbers.push(number);
                self.given.push(copy);
            }
        }
        Ok(self)
    }

    /// A descriptor, in the next free slot, by the name that the product finds it by (`LISTEN_FDNAMES`) where it reads its variables still.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn slot(mut self, name: impl Into<String>, file: impl AsFd) -> Result<RemoteRequest> {
        let name = name.into();
        let copy = file.as_fd().try_clone_to_owned();
        self.slots.push(copy.map_err(|error| Error::io(format!("slot {name}"), error))?);
        self.start.slots.push(name);
        Ok(self)
    }

    /// A limit, no wider than the factory's; the last of a kind counts.
    #[must_use]
    pub fn limit(mut self, limit: Limit) -> RemoteRequest {
        self.start.limits.push(limit);
        self
    }

    /// Holds it to these grants besides: what they and the factory's both allow is allowed. Paths are opened by the keeper, so relative ones are
    /// made absolute here.
    ///
    /// # Errors
    /// A grant that nothing can be held to besides: creating processes, a place in a private root.
    pub fn narrow(mut self, grants: &[Grant]) -> Result<RemoteRequest> {
        for grant in grants {
            let absolute = |path: &Path| {
                std::path::absolute(path).map_err(|error| Error::io(format!("grant {grant}"), error))
            };
            self.start.narrow.push(match grant {
                Grant::Read(path) => Grant::Read(absolute(path)?),
                Grant::Write(path) => Grant::Write(absolute(path)?),
                Grant::Execute(path) => Grant::Execute(absolute(path)?),
                Grant::Base | Grant::TcpConnect(_) | Grant::TcpBind(_) | Grant::InetDns | Grant::Net => {
                    grant.clone()
                }
                _ => {
                    let words = "a product cannot be held to that besides";
                    return Err(Error::new(format!("grant {grant}"), words, Fault::Caller));
                }
            });
        }
        Ok(self)
    }

    /// Where it starts.
    ///
    /// # Errors
    /// It is no directory that can be opened.
    pub fn current_dir(mut self, path: impl AsRef<Path>) -> Result<RemoteRequest> {
        let path = path.as_ref();
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = rustix::fs::open(path, flags, Mode::empty());
        self.directory =
            Some(opened.map_err(|errno| Error::io(format!("working directory {}", path.display()), errno))?);
        Ok(self)
    }

    /// The cgroup that pays for it, as its open directory.
    #[must_use]
    pub fn cgroup(mut self, directory: OwnedFd) -> RemoteRequest {
        self.cgroup = Some(directory);
        self
    }

    /// It must share no randomness with another product: refused where that cannot be promised.
    #[must_use]
    pub fn unique(mut self, unique: bool) -> RemoteRequest {
        self.start.unique = unique;
        self
    }

    /// It lives on when the connection is closed, until it or the factory ends.
    #[must_use]
    pub fn lasting(mut self, lasting: bool) -> RemoteRequest {
        self.start.lasting = lasting;
        self
    }

    /// Has it made and started.
    ///
    /// # Errors
    /// What a start in this process would be refused for, in the same words; no right to that; a keeper that has ended. Nothing is left then.
    pub fn start(self) -> Result<RemoteProduct> {
        let RemoteRequest { line, mut start, given, slots, directory, cgroup } = self;
        (start.directory, start.cgroup) = (directory.is_some(), cgroup.is_some());
        let descriptors: Vec<BorrowedFd<'_>> =
            given.iter().chain(&slots).chain(&directory).chain(&cgroup).map(AsFd::as_fd).collect();
        let (number, answer) =
            line.ask_numbered(kind::START, &start.encode(), &descriptors, kind::STARTED)?;
        let mut reader = Reader::new(&answer.body);
        let pid = reader.u32().filter(|_| reader.ends().is_some());
        let pidfd = answer.descriptors.into_iter().next();
        let (Some(pid), Some(pidfd)) = (pid, pidfd) else { return Err(line.confused()) };
        Ok(RemoteProduct::new(line, number, pid, pidfd))
    }
}

/// The same with less to write, for standard streams.
macro_rules! streams {
    ($($(#[$doc:meta])* $name:ident $number:literal;)*) => {
        impl RemoteRequest {$(
            $(#[$doc])*
            ///
            /// # Errors
            /// It cannot be copied.
            pub fn $name(self, file: impl AsFd) -> Result<RemoteRequest> {
                self.fd($number, file)
            }
        )*}
    };
}

streams! {
    /// Its standard input.
    stdin 0;
    /// Its standard output.
    stdout 1;
    /// Its standard error.
    stderr 2;
}

impl RemoteFactory {
    /// Fails where this is no right to all of `rights`, before anything is asked.
    ///
    /// # Errors
    /// A sentence that names what is missing.
    pub fn check(&self, rights: u32) -> Result<()> {
        let words = [
            (right::REQUEST, "have products made"),
            (right::VERIFY, "ask what its products reach"),
            (right::MANAGE, "manage it"),
        ];
        let missing = words.iter().find(|(bit, _)| rights & !self.rights & bit != 0);
        match missing {
            Some((_, what)) => Err(Error::new(
                self.line.part(),
                format!("the capability is no right to {what}"),
                Fault::Caller,
            )),
            None => Ok(()),
        }
    }
}
