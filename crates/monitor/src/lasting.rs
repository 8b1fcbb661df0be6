//! Nurseries that outlive a monitor: where they listen, and how the next monitor finds them.
//!
//! Safety idea: they listen in a folder that only the monitor's user may enter. The name of a socket says what the monitor knew of its
//! nursery; whose domains are in it the nursery itself says, and is believed where that agrees with what the service knows.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use beget_plan::message::{self, Header};
use beget_plan::nursery::Identity;
use beget_sys::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::monitor::Monitor;
use crate::nurseries::{Keeper, Nursery, Pending};

/// How long a nursery may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where one nursery listens.
#[derive(Debug)]
pub(crate) struct Listener {
    name: String,
    socket: Option<OwnedFd>,
}

impl Listener {
    /// The socket, which the nursery is given.
    pub(crate) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("it is closed only once it was given").as_fd()
    }

    /// The same, given away.
    pub(crate) fn give(&mut self) -> Option<OwnedFd> {
        self.socket.take()
    }

    /// What is left here when the nursery has it: the name.
    pub(crate) fn closed(self) -> Listener {
        Listener { socket: None, ..self }
    }
}

/// What a socket's name says.
struct Name {
    number: u64,
    owner: Owner,
    made: Made,
}

/// Where a nursery was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Made {
    /// By a monitor itself.
    Here,
    /// In another nursery, which it does not outlive.
    Inside {
        /// Process numbers in it mean nothing outside.
        own_numbers: bool,
    },
}

/// Whose a nursery is, in few bytes, for the address of a socket is short: user, group, and what the groups come to. Nobody chooses his groups, so
/// that they come to the same is chance, at one in 2^64.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Owner {
    user: u32,
    group: u32,
    groups: u64,
}

impl Owner {
    pub(crate) fn user(self) -> u32 {
        self.user
    }

    pub(crate) fn of(identity: &Identity) -> Owner {
        // FNV-1a.
        let add = |sum: u64, byte: u8| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        let groups = identity.groups.iter().flat_map(|group| group.to_le_bytes());
        Owner { user: identity.user, group: identity.group, groups: groups.fold(0xcbf2_9ce4_8422_2325, add) }
    }
}

fn name(identity: &Identity, number: u64, made: Made, unique: (u64, u64)) -> String {
    let Owner { user, group, groups } = Owner::of(identity);
    let kind = match made {
        Made::Here => 'n',
        Made::Inside { own_numbers: false } => 'b',
        Made::Inside { own_numbers: true } => 'p',
    };
    format!("{kind}-{number:x}-{user:x}-{group:x}-{groups:x}-{:x}-{:x}", unique.0 as u32, unique.1)
}

fn read_name(name: &OsStr) -> Option<Name> {
    let mut parts = name.to_str()?.split('-');
    let made = match parts.next()? {
        "n" => Made::Here,
        "b" => Made::Inside { own_numbers: false },
        "p" => Made::Inside { own_numbers: true },
        _ => return None,
    };
    let number = u64::from_str_radix(parts.next()?, 16).ok()?;
    let user = u32::from_str_radix(parts.next()?, 16).ok()?;
    let group = u32::from_str_radix(parts.next()?, 16).ok()?;
    let groups = u64::from_str_radix(parts.next()?, 16).ok()?;
    Some(Name { number, owner: Owner { user, group, groups }, made })
}

/// Calls a nursery, without waiting until it takes the call.
fn connect(path: &Path) -> Result<OwnedFd, Errno> {
    let number = |errno: rustix::io::Errno| Errno(errno.raw_os_error());
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).map_err(number)?;
    let address = SocketAddrUnix::new(path).map_err(number)?;
    rustix::net::connect(&socket, &address).map_err(number)?;
    Ok(socket)
}

impl Monitor {
    /// Where a new nursery is to listen; `None` where nurseries end with their monitor.
    pub(crate) fn listener_for(
        &self,
        identity: &Identity,
        number: u64,
        made: Made,
        key: u64,
    ) -> Result<Option<Listener>, Errno> {
        let Some(folder) = self.folder.as_ref().filter(|_| self.lasts()) else { return Ok(None) };
        let name = name(identity, number, made, (self.epoch, key));
        let socket = UnixListener::bind(folder.path.join(&name))
            .map_err(|error| Errno(error.raw_os_error().unwrap_or(Errno::EINVAL.0)))?;
        Ok(Some(Listener { name, socket: Some(socket.into()) }))
    }

    /// Takes the name of a nursery that has ended away.
    pub(crate) fn remove(&self, listener: Listener) {
        if let Some(folder) = &self.folder {
            let _ = std::fs::remove_file(folder.path.join(listener.name));
        }
    }

    /// Calls every nursery that another monitor left, and asks what it has. They serve nothing new but in the nurseries that have a number.
    pub(crate) fn take_over(&mut self) {
        let Some(folder) = &self.folder else { return };
        let entries: Vec<_> = std::fs::read_dir(&folder.path).into_iter().flatten().flatten().collect();
        for entry in entries {
            let Some(Name { number, owner, made }) = read_name(&entry.file_name()) else {
                continue;
            };
            let socket = match connect(&entry.path()) {
                Ok(socket) => socket,
                // Others call there already, and it has not taken their calls. It is asked again by the next monitor.
                Err(Errno::EAGAIN) => continue,
                Err(_) => {
                    // Nobody listens there any more.
                    let _ = std::fs::remove_file(entry.path());
                    continue;
                }
            };
            let key = self.token();
            let mut nursery = Nursery::new(socket, owner, number, Keeper::Nobody);
            let name = entry.file_name().into_string().unwrap_or_default();
            nursery.listen_at(Some(Listener { name, socket: None }));
            nursery.made(made);
            nursery.retired = number == 0;
            let header = Header { kind: message::kind::ROLL, ..Header::default() };
            if nursery.queue(header, Vec::new(), &[]).is_err() {
                continue;
            }
            nursery.await_answer(Pending::Roll);
            nursery.await_until(Monitor::deadline(PATIENCE));
            if !nursery.watch_by(self, key) {
                continue;
            }
            if number != 0 {
                self.numbered.insert(number, key);
            }
            self.nurseries.insert(key, nursery);
            self.cared_for.insert(key);
            self.flush(key);
        }
    }
}
