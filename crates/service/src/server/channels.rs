//! Capabilities after birth: what is given to a running domain over its channel, and what it asks for.
//!
//! Safety idea: nobody waits for a domain that does not read, and one that floods is heard once a turn; what it asks for is kept once, and
//! no more names than a bound.

use std::os::fd::{AsFd, OwnedFd};

use beget_channel::{Error, Packet};
use beget_monitor::fields::Writer;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::fs::FileType;

use super::Server;
use super::connections::Doing;
use super::domains::MOST_ASKED;
use super::event::Event;
use super::timers::Timer;
use crate::protocol::{error, kind};

/// The holder's end of a domain's channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) socket: OwnedFd,
    pub(crate) domain: u64,
}

impl Channel {
    pub(crate) fn new(socket: OwnedFd, domain: u64) -> Channel {
        Channel { socket, domain }
    }
}

/// Also where it cannot be told.
fn is_directory(file: &OwnedFd) -> bool {
    let kind = rustix::fs::fstat(file).map(|status| FileType::from_raw_mode(status.st_mode));
    kind.is_err() || kind == Ok(FileType::Directory)
}

impl Server {
    /// Listens to a domain's channel; whether it could.
    pub(crate) fn take_channel(&mut self, key: u64, channel: Channel) -> bool {
        let data = EventData::new_u64(key);
        if epoll::add(&self.epoll, &channel.socket, data, EventFlags::IN).is_err() {
            return false;
        }
        self.remember(channel.domain).channel = Some(key);
        self.channels.insert(key, channel);
        true
    }

    /// Closes a domain's channel.
    pub(crate) fn close_channel(&mut self, domain: u64) {
        let Some(key) = self.holds.get_mut(&domain).and_then(|holds| holds.channel.take()) else { return };
        if let Some(channel) = self.channels.remove(&key) {
            let _ = epoll::delete(&self.epoll, &channel.socket);
        }
        self.forget_kept(key);
        let askers = self.holds.get_mut(&domain).map(|holds| std::mem::take(&mut holds.askers));
        for asker in askers.into_iter().flatten() {
            self.refuse(asker, error::ENDED, 0, "its channel is closed");
        }
    }

    /// A domain has said something.
    pub(crate) fn channel_speaks(&mut self, key: u64) {
        let Some(channel) = self.channels.get(&key) else { return };
        let id = channel.domain;
        match beget_channel::receive(&channel.socket, false) {
            Ok(Some(Packet::Asked(name))) => self.asks(id, name),
            // What came with it is closed.
            Ok(_) => {}
            Err(Error::Closed) => self.close_channel(id),
            Err(_) => {}
        }
    }

    fn asks(&mut self, id: u64, name: String) {
        let Some(domain) = self.register.get(id) else { return };
        let untold = domain.asks.iter().any(|(asked, told)| *asked == name && !told);
        let known = domain.asks.iter().any(|(asked, _)| *asked == name);
        if untold || (!known && domain.asks.len() >= MOST_ASKED) {
            return;
        }
        self.note(Event::Asked(id, name));
        let asker = self.holds.get_mut(&id).and_then(|holds| holds.askers.pop());
        if let Some(asker) = asker {
            self.tell_asked(asker, id);
        }
    }

    /// Tells the next name; `false` when there is none.
    fn tell_asked(&mut self, key: u64, id: u64) -> bool {
        let Some(request) = self.connections.get(&key).map(|connected| connected.request) else {
            return false;
        };
        let Some(domain) = self.register.get(id) else { return false };
        let told =
            domain.told.as_ref().filter(|(before, _)| *before == request).map(|(_, name)| name.clone());
        let name = match told {
            // The service before this one did not come to say it.
            Some(name) => name,
            None => match domain.asks.iter().find(|(_, told)| !told) {
                Some((name, _)) => {
                    let name = name.clone();
                    self.note(Event::Told(id, name.clone(), request));
                    name
                }
                None => return false,
            },
        };
        let mut body = Writer::new();
        body.str(&name);
        self.answer(key, kind::NAME, body.body(), Vec::new());
        true
    }

    /// A holder wants to know what the domain asks for.
    pub(crate) fn asked(&mut self, key: u64, id: u64, milliseconds: u64) {
        if self.tell_asked(key, id) {
            return;
        }
        let Some(holds) = self.holds.get(&id).filter(|holds| holds.channel.is_some()) else {
            return self.refuse(key, error::ENDED, 0, "it has no channel, or has closed it");
        };
        debug_assert!(!holds.askers.contains(&key));
        if milliseconds == 0 {
            return self.answer(key, kind::NOT_YET, &[], Vec::new());
        }
        let timer = self.request_timer(key, milliseconds);
        if let Some(connected) = self.connections.get_mut(&key) {
            connected.doing = Doing::Asked(id, timer);
        }
        self.remember(id).askers.push(key);
    }

    /// Gives a domain a capability.
    pub(crate) fn give(&mut self, key: u64, id: u64, name: &str, given: &OwnedFd) {
        let channel = self.holds.get(&id).and_then(|holds| holds.channel);
        let Some(channel) = channel.and_then(|channel| self.channels.get(&channel)) else {
            return self.refuse(key, error::ENDED, 0, "it has no channel, or has closed it");
        };
        if self.register.is_in_root(id) && is_directory(given) {
            let words = "a directory that is open leads out of a private root";
            return self.refuse(key, error::NO_RIGHT, 0, words);
        }
        match beget_channel::send(&channel.socket, name, Some(given.as_fd()), false) {
            Ok(()) => {
                let asked = self
                    .register
                    .get(id)
                    .is_some_and(|domain| domain.asks.iter().any(|(ask, _)| ask == name));
                if asked {
                    self.note(Event::Given(id, name.to_owned()));
                }
                self.answer(key, kind::DONE, &[], Vec::new());
            }
            Err(Error::Full) => self.refuse(key, error::FULL, 0, "it does not read what it is sent"),
            Err(Error::Closed) => self.refuse(key, error::ENDED, 0, "it has closed its channel"),
            Err(Error::Name(wrong)) => self.refuse(key, error::MALFORMED, 0, wrong),
            Err(Error::Kernel(_, errno)) => {
                self.refuse(key, error::KERNEL, errno.0 as u32, "it cannot be sent")
            }
            Err(_) => self.refuse(key, error::KERNEL, 0, "it cannot be sent"),
        }
    }

    /// A timer for a request that waits; none for one that waits without an end.
    pub(crate) fn request_timer(&mut self, key: u64, milliseconds: u64) -> Option<super::timers::Key> {
        let time = std::time::Duration::from_millis(milliseconds);
        (milliseconds != u64::MAX).then(|| self.timers.set(time, Timer::Request(key)))
    }
}
