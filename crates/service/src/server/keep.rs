//! What outlives this process: connections and other descriptors that the monitor keeps, each with a note that says what it is.
//!
//! Safety idea: the monitor does not look into a note; only a service wrote it, and one that means nothing is not taken for anything.

use std::os::fd::{AsFd, OwnedFd};

use beget_monitor::fields::{Reader, Writer};
use beget_monitor::protocol::kind;
use beget_sys::Errno;

use super::Server;
use super::channels::Channel;
use super::connections::{Connected, Subject};

/// What a kept descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Note {
    /// A session: rights, user, client.
    Session(u32, u32, u64),
    /// A capability to a domain: domain, rights, user, whether the domain is tied to it.
    Domain(u64, u32, u32, bool),
    /// The right to create domains that a domain holds: domain, user.
    Spawner(u64, u32),
    /// A domain's channel.
    Channel(u64),
    /// The folder that one of its cgroups lies in: domain, which.
    Folder(u64, u32),
    /// A file that is held for a domain's life.
    File(u64),
}

impl Note {
    fn encode(self) -> Vec<u8> {
        let mut writer = Writer::new();
        let (kind, domain, first, second, third) = match self {
            Note::Session(rights, user, client) => (1, client, rights, user, 0),
            Note::Domain(domain, rights, user, tied) => (2, domain, rights, user, u32::from(tied)),
            Note::Spawner(domain, user) => (3, domain, 0, user, 0),
            Note::Channel(domain) => (4, domain, 0, 0, 0),
            Note::Folder(domain, which) => (5, domain, which, 0, 0),
            Note::File(domain) => (6, domain, 0, 0, 0),
        };
        writer.u32(kind).u64(domain).u32(first).u32(second).u32(third);
        writer.into_body()
    }

    fn decode(bytes: &[u8]) -> Option<Note> {
        let mut reader = Reader::new(bytes);
        let (kind, domain) = (reader.u32()?, reader.u64()?);
        let (first, second, third) = (reader.u32()?, reader.u32()?, reader.u32()?);
        reader.ends()?;
        Some(match kind {
            1 => Note::Session(first, second, domain),
            2 => Note::Domain(domain, first, second, third != 0),
            3 => Note::Spawner(domain, second),
            4 => Note::Channel(domain),
            5 => Note::Folder(domain, first),
            6 => Note::File(domain),
            _ => return None,
        })
    }
}

impl Server {
    /// Has the monitor keep a descriptor. Where there is no monitor now, the next one is asked to.
    ///
    /// # Errors
    /// `EMFILE`.
    pub(crate) fn keep(&mut self, key: u64, note: Note, file: impl AsFd) -> Result<(), Errno> {
        let copy = rustix::io::fcntl_dupfd_cloexec(file, 3).map_err(|errno| Errno(errno.raw_os_error()))?;
        self.keep_copy(key, note, copy);
        Ok(())
    }

    /// The same, of a descriptor that is a copy already.
    pub(crate) fn keep_copy(&mut self, key: u64, note: Note, copy: OwnedFd) {
        let mut body = Writer::new();
        body.u64(key).bytes(&note.encode());
        self.tell_monitor(kind::KEEP, 0, body.body(), vec![copy]);
    }

    /// Has it closed there.
    pub(crate) fn forget_kept(&mut self, key: u64) {
        let mut body = Writer::new();
        body.u64(key);
        self.tell_monitor(kind::FORGET, 0, body.body(), Vec::new());
    }

    /// Has another monitor than before keep everything.
    pub(crate) fn keep_all(&mut self) {
        let mut all: Vec<(u64, Note, Result<OwnedFd, rustix::io::Errno>)> = Vec::new();
        let copy = |file: &dyn AsFdObject| rustix::io::fcntl_dupfd_cloexec(file.file(), 3);
        for (key, connected) in &self.connections {
            if !connected.is_new() {
                all.push((*key, connected.note(), copy(&connected.connection)));
            }
        }
        for (key, channel) in &self.channels {
            all.push((*key, Note::Channel(channel.domain), copy(&channel.socket)));
        }
        for (id, holds) in &self.holds {
            for (key, which, folder) in &holds.folders {
                all.push((*key, Note::Folder(*id, *which), copy(folder)));
            }
            all.extend(holds.files.iter().map(|(key, file)| (*key, Note::File(*id), copy(file))));
        }
        for (key, note, file) in all {
            // One for which there is no number lives as long as this process does.
            if let Ok(file) = file {
                let _ = self.keep(key, note, file);
            }
        }
    }

    /// The monitor gives back what it kept for a service before this one.
    pub(crate) fn kept(&mut self, key: u64, note: &[u8], file: OwnedFd) {
        let known = self.connections.contains_key(&key)
            || self.channels.contains_key(&key)
            || self.held.contains(&key);
        if known {
            return;
        }
        let taken = Note::decode(note).is_some_and(|note| self.take_kept(key, note, file));
        if !taken {
            self.forget_kept(key);
        }
    }

    fn take_kept(&mut self, key: u64, note: Note, file: OwnedFd) -> bool {
        // What was let in before is in, whether there is room for it or not.
        if let Note::Channel(id) | Note::Folder(id, _) | Note::File(id) = note
            && let Some(user) = self.register.get(id).filter(|domain| domain.lives()).map(|it| it.intent.user)
        {
            let share = self.numbers.share(user, 1, 0);
            self.remember(id).shares.push(share);
        }
        let of_domain =
            |server: &Server, id: u64| server.register.get(id).is_some_and(|domain| domain.lives());
        let connected = match note {
            Note::Session(rights, user, client) => {
                Connected::kept(file, Subject::Session, rights, user, client)
            }
            Note::Domain(id, rights, user, tied) => {
                if self.register.get(id).is_none() {
                    return false;
                }
                let mut connected = Connected::kept(file, Subject::Domain(id), rights, user, 0);
                connected.tied = tied;
                connected
            }
            Note::Spawner(id, user) if of_domain(self, id) => {
                Connected::kept(file, Subject::Spawner(id), crate::protocol::right::SPAWN, user, 0)
            }
            Note::Channel(id) if of_domain(self, id) => {
                return self.take_channel(key, Channel::new(file, id));
            }
            Note::Folder(id, which) if of_domain(self, id) => {
                self.held.insert(key);
                self.remember(id).folders.push((key, which, file));
                return true;
            }
            Note::File(id) if of_domain(self, id) => {
                self.held.insert(key);
                self.remember(id).files.push((key, file));
                return true;
            }
            _ => return false,
        };
        self.take_connection(key, connected);
        true
    }
}

/// Anything that has a descriptor.
trait AsFdObject {
    fn file(&self) -> std::os::fd::BorrowedFd<'_>;
}

impl<T: AsFd> AsFdObject for T {
    fn file(&self) -> std::os::fd::BorrowedFd<'_> {
        self.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_read_as_it_was_written() {
        for note in [
            Note::Session(1, 2, 3),
            Note::Domain(1, 2, 3, true),
            Note::Domain(1, 2, 3, false),
            Note::Spawner(1, 2),
            Note::Channel(1),
            Note::Folder(1, 2),
            Note::File(1),
        ] {
            let bytes = note.encode();
            assert_eq!(Note::decode(&bytes), Some(note));
            assert_eq!(Note::decode(&bytes[1..]), None);
        }
        assert_eq!(Note::decode(&[9; 24]), None);
    }
}
