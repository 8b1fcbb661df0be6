//! A process that keeps one factory: everything that a factory is, behind connections.
//!
//! It is the `beget` binary, started by the process service with exactly the builder's credentials ([`keep`] is all that it does). First its one
//! connection builds; after the seal every connection has a thread of its own, which asks the factory and waits for the products that it started.
//!
//! # Safety idea
//!
//! It is closed to other processes of its user before it reads anything ([`close_to_others`]), and says of the factory what the factory says of itself.
//! A connection has the rights that it was made with; a builder has none after the seal. What a requestor started ends with its connection.

mod building;
mod capabilities;
mod connection;
mod kept;
pub mod protocol;
mod told;

use std::os::fd::OwnedFd;
use std::sync::Arc;

use beget_channel::Packet as Given;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::DumpableBehavior;

use crate::{Builder, Error, Result};
use building::Building;
use connection::Served;
use kept::Kept;
use protocol::right;

/// How a keeper makes a builder of what it is told and given: the first of the descriptors is the builder's working directory.
pub trait Plan: Sync {
    /// The builder.
    ///
    /// # Errors
    /// What is wrong with what was told.
    fn builder(&self, told: &[u8], given: Vec<OwnedFd>) -> Result<Builder>;
}

impl<F: Fn(&[u8], Vec<OwnedFd>) -> Result<Builder> + Sync> Plan for F {
    fn builder(&self, told: &[u8], given: Vec<OwnedFd>) -> Result<Builder> {
        self(told, given)
    }
}

/// Closes this process to others of its user: no debugger, no `/proc` of it, no core file (`PR_SET_DUMPABLE`). A builder reaches nothing of a keeper
/// after that but over its connection.
///
/// # Errors
/// Those of the kernel.
pub fn close_to_others() -> Result<()> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|errno| Error::io("factory: closing its keeper to others", errno))
}

/// Keeps one factory until nobody is left who could ask for anything: `first` is the connection that builds; over `channel`, where there is one,
/// others come by the name of the right that they are to be. Returns when `first` was closed before the seal, or when the channel and every
/// connection are closed.
///
/// # Errors
/// Those of the kernel, where the factory was sealed and nobody could be told.
pub fn keep(first: OwnedFd, channel: Option<OwnedFd>, plan: &impl Plan) -> Result<()> {
    let mut building = Building::new(first);
    let Some(factory) = building.until_sealed(plan) else { return Ok(()) };
    let kept = Arc::new(Kept::new(factory));
    let made = kept.capabilities.make(right::SEALED)?;
    begin(&kept, made.ours, right::SEALED, Some(made.cookie));
    // A builder that is gone meanwhile is the only one who knows of it.
    if !building.tell_sealed(made.theirs) {
        return Ok(());
    }
    if let Some(channel) = channel {
        while let Some((name, socket)) = next(&channel) {
            // A name that is no right, or that of what is over: whoever waits at the other end is told by its end.
            if let Some(rights) = right::named(&name).filter(|rights| rights & right::BUILD == 0) {
                begin(&kept, socket, rights, None);
            }
        }
    }
    kept.wait_until_alone();
    Ok(())
}

/// The next connection that comes over the channel; `None` when nobody can give anything any more.
fn next(channel: &OwnedFd) -> Option<(String, OwnedFd)> {
    loop {
        match beget_channel::receive(channel, false) {
            Ok(Some(Given::Capability(name, socket))) => return Some((name, socket)),
            Ok(None) => {
                let mut watched = [PollFd::new(channel, PollFlags::IN)];
                let _ = poll(&mut watched, None);
            }
            Err(beget_channel::Error::Closed) => return None,
            // Nothing of ours, or something that there was no number for.
            Ok(Some(_)) | Err(_) => {}
        }
    }
}

/// Serves a connection in a thread of its own. One more than there may be is closed.
fn begin(kept: &Arc<Kept>, socket: OwnedFd, rights: u32, cookie: Option<u64>) {
    let forget = |kept: &Kept| cookie.iter().for_each(|cookie| kept.capabilities.forget(*cookie));
    if !kept.enter() {
        return forget(kept);
    }
    let own = Arc::clone(kept);
    let thread = std::thread::Builder::new().name("beget-requestor".to_owned());
    let begun = thread.spawn(move || {
        Served::new(&own, socket, rights).until_closed();
        cookie.iter().for_each(|cookie| own.capabilities.forget(*cookie));
        own.leave();
    });
    if begun.is_err() {
        forget(kept);
        kept.leave();
    }
}
