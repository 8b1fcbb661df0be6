//! Asking for a process that keeps a factory, and for another connection to it.
//!
//! Safety idea: the service writes the keeper's birth, so that what the keeper says of its factory is the trusted side's word; here there is
//! nothing to choose but a name.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use beget_monitor::fields::{Reader, Writer};
use beget_monitor::packet::Connection;

use super::domain::Domain;
use super::error::{Error, Fault, Result};
use super::link::random;
use super::service::{PATIENCE, Service};
use super::spawn::{SOON, had_no_monitor};
use crate::protocol::{kind, right};

impl Service {
    /// Makes a process that keeps one factory, with exactly this user's credentials: the domain that it is, and the capability to build in it,
    /// a connection that `beget_factory::remote::RemoteBuilder` speaks on. It ends when that is closed before the factory is sealed. An empty name lets the
    /// service choose one.
    ///
    /// # Errors
    /// [`Fault::NameTaken`]; [`Fault::NoRight`] where the service keeps no factories; [`Fault::Limit`]; [`Fault::Monitor`] when there is
    /// none for 10 seconds; [`Fault::Birth`]; [`Fault::Gone`].
    pub fn keeper(&mut self, name: &str) -> Result<(Domain, OwnedFd)> {
        let part = if name.is_empty() { "factory".to_owned() } else { format!("factory {name}") };
        let until = Instant::now() + PATIENCE;
        let (answer, ours) = loop {
            let pair = Connection::pair().map_err(|errno| Error::kernel(&*part, errno, Fault::Kernel));
            let (ours, theirs) = pair?;
            let mut body = Writer::new();
            body.raw(&random::<16>()?).str(name);
            match self.ask(kind::KEEPER, body.body(), &[theirs.as_fd()], &[kind::SPAWNED]) {
                Err(error) if had_no_monitor(&error) && Instant::now() < until => std::thread::sleep(SOON),
                answer => break (answer, ours),
            }
        };
        let answer = answer.map_err(|error| match error.fault() {
            Fault::NameTaken | Fault::NoRight | Fault::Limit | Fault::Malformed => error.about(&*part),
            _ => error,
        })?;
        let confused = || Error::confused(&*part);
        let mut reader = Reader::new(&answer.body);
        let mut one = || {
            let nursery = (reader.u32()?, reader.u32()?, reader.u32()?);
            let (count, id, name) = (reader.u32()?, reader.u64()?, reader.str()?.to_owned());
            let (_pid, _operation) = (reader.u32()?, reader.u32()?);
            Some((nursery.1, count, id, name, reader.u32()?))
        };
        let (of_nursery, _, id, name, errno) = one().filter(|one| one.1 == 1).ok_or_else(confused)?;
        if let Some(errno) = [errno, of_nursery].into_iter().find(|errno| *errno != 0) {
            return Err(Error::kernel(
                part,
                beget_sys::Errno(errno as i32),
                Fault::Birth(beget::Fault::Kernel),
            ));
        }
        let socket = answer.descriptors.into_iter().next().ok_or_else(confused)?;
        let domain = Domain::new(socket, id, right::DOMAIN, &name, self.path.as_deref())?;
        Ok((domain, ours.into_socket()))
    }
}

impl Domain {
    /// Another connection to the factory that this domain keeps: `request` to have products made, `verify` to ask of it only. Takes
    /// [`right::SEND`].
    ///
    /// # Errors
    /// [`Fault::NoSuch`] when it keeps no factory; [`Fault::Full`] when for 10 seconds it takes no more of those who ask; those of
    /// [`send`](Domain::send).
    pub fn factory(&mut self, what: &str) -> Result<OwnedFd> {
        if !self.status()?.keeper {
            return Err(Error::new(self.part(), "it keeps no factory", Fault::NoSuch));
        }
        let pair = Connection::pair().map_err(|errno| Error::kernel(self.part(), errno, Fault::Kernel));
        let (ours, theirs) = pair?;
        let until = Instant::now() + PATIENCE;
        loop {
            match self.send(what, &theirs) {
                // It reads when it has sealed its factory, and others ask too.
                Err(error) if error.fault() == Fault::Full && Instant::now() < until => {
                    std::thread::sleep(SOON)
                }
                Err(error) => return Err(error),
                Ok(()) => return Ok(ours.into_socket()),
            }
        }
    }
}
