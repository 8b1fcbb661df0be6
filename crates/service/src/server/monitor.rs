//! The connection to the monitor: what it says, and what is done when it is another.
//!
//! When a connection begins, the monitor tells everything that it has. What it says is held against what is known: a birth that was meant and
//! that it knows nothing of never happened; a domain that lived and that it does not have is gone.
//!
//! Safety idea: a number that the monitor says and that we never gave is nobody's: it is ended. Nothing is looked for in `/proc` and taken for
//! ours.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::time::Duration;

use beget_monitor::fields::{Reader, Writer};
use beget_monitor::packet::{Came, Connection, Packet};
use beget_monitor::protocol::{VERSIONS, kind, policy};
use beget_plan::message::{Born, change};
use beget_sys::Errno;
use beget_sys::wait::Usage;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::births::{NEVER, Spawning};
use super::ends::UNHELD;
use super::event::{End, Event, Intent};
use super::outbox::{Outbox, Sent};
use super::timers::Timer;
use super::{MOMENT, MONITOR, Server, look, now};
use crate::protocol::{Life, error, kind as client, wanted};

/// How many packets of the monitor's are heard in one turn.
const AT_ONCE: usize = 64;
/// How long until it is looked for again: at first, and at most.
const SOON: Duration = Duration::from_millis(5);
const LATER: Duration = Duration::from_millis(500);
const SIGKILL: u32 = 9;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    /// There is none.
    #[default]
    Down,
    /// It is being asked what it has.
    Asking,
    /// Births may be asked for.
    Ready,
}

/// Whom an answer of the monitor's is for.
#[derive(Clone, Debug)]
pub(crate) enum Pending {
    /// Nobody.
    Nothing,
    /// A client that is to be served.
    Client(u64),
    /// A request's births, of these domains; of none: a nursery that is to be there first.
    Births([u8; 16], Vec<u64>),
    /// Who sends a signal: connection and request.
    Signal(u64, u64),
    /// All of us.
    Stop,
}

/// The connection.
#[derive(Debug, Default)]
pub(crate) struct Link {
    connection: Option<Connection>,
    stage: Stage,
    /// It was ready before.
    once: bool,
    out: Outbox,
    watched: Option<EventFlags>,
    pending: HashMap<u64, Pending>,
    /// How many clients it is being asked about.
    strangers: usize,
    asked: u64,
    number: u32,
    /// Its epoch and policy, until they are written down.
    said: Option<(u64, u32)>,
    /// What it says that lives: label, then process number and whether its birth is not over.
    living: HashMap<u64, (u32, bool)>,
    patience: Duration,
}

impl Link {
    /// Births may be asked for.
    pub(crate) fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// It was once.
    pub(crate) fn was_ready(&self) -> bool {
        self.once
    }

    /// Something that it was told has not gone yet.
    pub(crate) fn is_behind(&self) -> bool {
        self.connection.is_some() && !self.out.is_empty()
    }

    /// How many clients it is being asked about.
    pub(crate) fn strangers(&self) -> usize {
        self.strangers
    }

    /// How many bytes wait.
    pub(crate) fn waiting(&self) -> usize {
        self.out.bytes()
    }

    /// The number of the monitor's process, or 0.
    pub(crate) fn number(&self) -> u32 {
        if self.connection.is_some() { self.number } else { 0 }
    }
}

impl Server {
    /// Looks for a monitor.
    pub(crate) fn connect(&mut self) {
        if self.link.connection.is_some() {
            return;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let connected = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
            .and_then(|socket| {
                rustix::net::connect(&socket, &SocketAddrUnix::new(&self.options.monitor)?)?;
                epoll::add(&self.epoll, &socket, EventData::new_u64(MONITOR), EventFlags::IN)?;
                Ok(socket)
            });
        let Ok(socket) = connected else {
            self.link.patience = (self.link.patience * 2).clamp(SOON, LATER);
            self.timers.set(self.link.patience, Timer::Connect);
            return;
        };
        self.link.connection = Some(Connection::new(socket));
        self.link.stage = Stage::Asking;
        self.link.watched = Some(EventFlags::IN);
        let mut body = Writer::new();
        body.u32(VERSIONS[0]).u32(VERSIONS[1]);
        self.ask_monitor(kind::HELLO, body.body(), Vec::new(), Pending::Nothing);
        // Whoever lives is where he was born: what another nursery says of him is not so.
        let mut body = Writer::new();
        for domain in self.register.living().filter_map(|id| self.register.get(id)) {
            let Intent { id, user, nursery, parent, .. } = domain.intent;
            let creator = self.register.get(parent).map_or(0, |parent| parent.intent.spawner);
            body.u64(id).u32(user).u64(if nursery == 0 { creator } else { nursery });
        }
        self.ask_monitor(kind::ROLL, body.body(), Vec::new(), Pending::Nothing);
    }

    /// Tells the monitor something; `false` when there is none.
    pub(crate) fn tell_monitor(
        &mut self,
        kind: u16,
        request: u64,
        body: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> bool {
        self.link.connection.is_some() && self.link.out.push(kind, request, body, descriptors).is_ok()
    }

    /// Asks it something; `false` when there is none.
    pub(crate) fn ask_monitor(
        &mut self,
        kind: u16,
        body: &[u8],
        descriptors: Vec<OwnedFd>,
        pending: Pending,
    ) -> bool {
        self.link.asked += 1;
        let request = self.link.asked;
        let told = self.tell_monitor(kind, request, body, descriptors);
        if told && !matches!(pending, Pending::Nothing) {
            self.link.strangers += usize::from(matches!(pending, Pending::Client(_)));
            self.link.pending.insert(request, pending);
        }
        told
    }

    /// Sends what is for the monitor.
    pub(crate) fn flush_monitor(&mut self) {
        let Some(connection) = &self.link.connection else { return };
        let sent = self.link.out.send(connection);
        let wanted = match sent {
            Sent::All => EventFlags::IN,
            Sent::Full => EventFlags::IN | EventFlags::OUT,
            Sent::Crowded => {
                self.timers.set(MOMENT, Timer::Send);
                EventFlags::IN
            }
            Sent::Broken => return self.monitor_lost(),
        };
        if self.link.watched != Some(wanted) {
            self.link.watched = Some(wanted);
            let _ = epoll::modify(&self.epoll, connection, EventData::new_u64(MONITOR), wanted);
        }
    }

    /// The monitor has said something, or is gone.
    pub(crate) fn monitor_speaks(&mut self) {
        for _ in 0..AT_ONCE {
            let Some(connection) = &mut self.link.connection else { return };
            match connection.receive(&mut self.scratch, false) {
                Ok(Came::Packet(packet)) => {
                    if self.monitor_said(packet).is_none() {
                        // It is no monitor of ours.
                        return self.monitor_lost();
                    }
                }
                // What was kept found no number here; its holder will find it closed.
                Ok(Came::Lost(..)) | Err(Errno::EINTR) => {}
                Ok(Came::Closed | Came::Malformed(_)) => return self.monitor_lost(),
                Err(_) => return,
            }
        }
    }

    /// There is none any more.
    fn monitor_lost(&mut self) {
        let Some(connection) = self.link.connection.take() else { return };
        let _ = epoll::delete(&self.epoll, &connection);
        drop(connection);
        self.do_not_listen();
        let link = &mut self.link;
        link.stage = Stage::Down;
        link.out = Outbox::default();
        link.living.clear();
        link.said = None;
        link.strangers = 0;
        let pending = std::mem::take(&mut link.pending);
        self.timers.set(SOON, Timer::Connect);
        for pending in pending.into_values() {
            match pending {
                Pending::Signal(key, request) => {
                    self.signalled(key, request, Err("the monitor was killed meanwhile"));
                }
                Pending::Stop => self.stopped(),
                // Births and clients are asked for again, or held against what the next one has.
                Pending::Births(..) | Pending::Client(_) | Pending::Nothing => {}
            }
        }
    }

    /// `None` when it is not what a monitor says.
    fn monitor_said(&mut self, packet: Packet) -> Option<()> {
        let mut reader = Reader::new(&packet.body);
        let reader = &mut reader;
        let pending = self.link.pending.remove(&packet.request).unwrap_or(Pending::Nothing);
        if matches!(pending, Pending::Client(_)) {
            self.link.strangers -= 1;
            self.listen();
        }
        match packet.kind {
            kind::WELCOME => {
                let (version, policy) = (reader.u32()?, reader.u32()?);
                self.link.number = reader.u32()?;
                self.link.said = Some((reader.u64()?, policy));
                (VERSIONS[0]..=VERSIONS[1]).contains(&version).then_some(())?;
            }
            kind::CLIENT_IS => {
                let user = reader.u32()?;
                if let Pending::Client(client) = pending {
                    self.met(client, user);
                }
            }
            kind::REFUSED => {
                let (errno, words) = (reader.u32()?, reader.str()?);
                self.monitor_refused(pending, errno, words);
            }
            kind::BORN => {
                if let Pending::Births(token, ids) = pending {
                    self.births_over(token, &ids, reader)?;
                }
            }
            kind::DONE => {
                let errno = reader.u32()?;
                match pending {
                    Pending::Signal(key, request) => self.signalled(key, request, Ok(errno)),
                    Pending::Stop => self.stopped(),
                    _ => {}
                }
            }
            kind::ENDED => {
                let (id, number, how, status) = (reader.u64()?, reader.u32()?, reader.u32()?, reader.u32()?);
                let usage = Usage::from_bytes(reader.raw(144)?.try_into().ok()?);
                self.link.living.remove(&id);
                self.ended(id, number, end(how, status, &usage));
            }
            kind::NURSERY_ENDED => self.nursery_ended(reader.u64()?),
            kind::BORN_LATE => {
                let id = reader.u64()?;
                let born = Born::decode(reader.rest(), 0)?;
                self.birth_over(id, born);
            }
            kind::LIVING => {
                let (_more, count) = (reader.u32()?, reader.u32()?);
                for _ in 0..count {
                    let (label, number, unfinished, _) =
                        (reader.u64()?, reader.u32()?, reader.u32()?, reader.u64()?);
                    self.link.living.insert(label, (number, unfinished != 0));
                }
            }
            kind::KEPT => {
                let (key, note) = (reader.u64()?, reader.bytes()?);
                if let Some(file) = packet.descriptors.into_iter().next() {
                    self.kept(key, note, file);
                }
            }
            kind::ROLL_END => self.roll_ends()?,
            // One that it does not keep lives as long as we do. And what a later version tells is passed over.
            _ => {}
        }
        Some(())
    }

    fn monitor_refused(&mut self, pending: Pending, errno: u32, words: &str) {
        match pending {
            Pending::Client(client) => self.turned_away(client, errno, words),
            Pending::Births(token, ids) => self.births_refused(token, &ids, errno, words),
            Pending::Signal(key, request) => self.signalled(key, request, Err(words)),
            Pending::Stop => self.stopped(),
            Pending::Nothing => {}
        }
    }

    fn births_over(&mut self, token: [u8; 16], ids: &[u64], reader: &mut Reader<'_>) -> Option<()> {
        let (_count, op, errno) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if errno != 0 {
            let undecided =
                self.spawning.get(&token).map(|spawning| spawning.undecided.iter().copied().collect());
            let all = if ids.is_empty() { undecided.unwrap_or_default() } else { ids.to_vec() };
            // Of both the first is made for the domain itself.
            let made = self.spawning.get(&token).map_or(0, |spawning| spawning.made);
            let planned = self.spawning.get(&token).is_some_and(|spawning| spawning.planned);
            let whose = if planned && made == 0 { 1 } else { 2 };
            all.into_iter().for_each(|id| self.unborn(id, op, errno, whose));
            return Some(());
        }
        if ids.is_empty() {
            self.nursery_made(token);
            return Some(());
        }
        let all = reader.rest();
        for (index, id) in ids.iter().enumerate() {
            let born = Born::decode(all, index * Born::SIZE)?;
            self.birth_over(*id, born);
        }
        Some(())
    }

    fn birth_over(&mut self, id: u64, born: Born) {
        let known = self.register.get(id).filter(|domain| domain.lives());
        match known.map(|domain| !domain.born && domain.end.is_none()) {
            Some(true) if born.errno == 0 => self.born(id, born.number),
            Some(true) => self.unborn(id, born.op, born.errno, 0),
            Some(false) => {}
            None if born.errno == 0 => self.end_stranger(id),
            None => {}
        }
    }

    /// Something lives that we know nothing of, or know to be over.
    fn end_stranger(&mut self, label: u64) {
        let mut body = Writer::new();
        body.u64(label).u32(SIGKILL);
        self.ask_monitor(kind::SIGNAL, body.body(), Vec::new(), Pending::Nothing);
        let mut body = Writer::new();
        body.u64(label);
        self.tell_monitor(kind::END_NURSERY, 0, body.body(), Vec::new());
    }

    /// A signal was sent, or not.
    fn signalled(&mut self, key: u64, request: u64, outcome: Result<u32, &str>) {
        const ESRCH: u32 = 3;
        if self.connections.get(&key).is_none_or(|connected| connected.request != request) {
            return;
        }
        match outcome {
            Ok(0) => self.answer(key, client::DONE, &[], Vec::new()),
            Ok(ESRCH) => self.refuse(key, error::ENDED, ESRCH, "it has ended"),
            Ok(errno) => self.refuse(key, error::KERNEL, errno, "the signal cannot be sent"),
            Err(words) => self.refuse(key, error::MONITOR, 0, words),
        }
    }

    /// Everything was told: it is held against what we know. `None` when it said nothing of itself before.
    fn roll_ends(&mut self) -> Option<()> {
        let (epoch, policy) = self.link.said.take()?;
        let before = self.register.monitor;
        let another = before.is_none_or(|(before, _)| before != epoch);
        // They end with the one that was killed, if that was its policy.
        let with_monitor = another && before.is_some_and(|(_, policy)| policy == policy::DIE);
        if before != Some((epoch, policy)) {
            self.note(Event::Monitor(epoch, policy));
        }
        let first = !std::mem::replace(&mut self.link.once, true);
        self.link.stage = Stage::Ready;
        self.link.patience = Duration::ZERO;
        if another && !first {
            self.keep_all();
        }
        let mut ids: Vec<u64> = self.register.living().collect();
        ids.sort_unstable();
        for id in ids {
            let told = self.link.living.remove(&id);
            self.compare(id, told, with_monitor);
        }
        for label in std::mem::take(&mut self.link.living).into_keys() {
            self.end_stranger(label);
        }
        self.introduce_all();
        if first {
            self.begin_to_serve();
        }
        self.touched.extend(self.connections.keys());
        self.listen();
        self.spawn_held();
        Some(())
    }

    /// A domain that lives as far as we know, and what the monitor says of it.
    fn compare(&mut self, id: u64, told: Option<(u32, bool)>, with_monitor: bool) {
        let Some(domain) = self.register.get(id).filter(|domain| domain.lives()) else { return };
        let (ended, unborn, token) = (domain.end.is_some(), !domain.born, domain.intent.token);
        match told {
            _ if ended => self.end_rest(id),
            Some((_, true)) if unborn => {
                // Its birth goes on; what comes of it is told late.
                let spawning = self.spawning.entry(token).or_default();
                spawning.undecided.insert(id);
            }
            Some((number, _)) if unborn => self.born(id, number),
            Some(_) => self.go_on_killing(id),
            None if unborn => {
                const EPIPE: u32 = 32;
                if let Some(Spawning { refused, .. }) = self.spawning.get_mut(&token) {
                    *refused = Some((EPIPE, "the monitor was killed meanwhile".to_owned()));
                }
                self.unborn(id, NEVER, EPIPE, 0);
            }
            None => self.is_lost(id, with_monitor),
        }
    }

    /// Says again who our clients are.
    fn introduce_all(&mut self) {
        let copy = |key: &u64| {
            let connected = self.connections.get(key).map(|connected| &connected.connection);
            let kept = self.clients.get(key).and_then(|client| client.socket.as_ref());
            let kept = kept.map(|(socket, _)| socket);
            match (connected, kept) {
                (Some(connection), _) => rustix::io::fcntl_dupfd_cloexec(connection, 3).ok(),
                (None, Some(socket)) => rustix::io::fcntl_dupfd_cloexec(socket, 3).ok(),
                (None, None) => None,
            }
        };
        let sockets: Vec<(u64, Option<OwnedFd>)> = self.clients.keys().map(|key| (*key, copy(key))).collect();
        for (key, socket) in sockets {
            if let Some(socket) = socket {
                self.introduce(key, socket);
            }
        }
    }

    /// We are the next service: what the one before left undone is done.
    fn begin_to_serve(&mut self) {
        self.say_again();
        let ids: Vec<u64> = self.register.living().collect();
        for id in ids {
            let Some(domain) = self.register.get(id) else { continue };
            let (tied, born) = (domain.intent.wanted.flags & wanted::TIED != 0, domain.born);
            if born && domain.start == 0 {
                self.newborn.push(id);
            }
            self.set_timeout(id);
            if tied && self.holds.get(&id).is_none_or(|holds| holds.tied == 0) {
                // Whoever asked for it may still ask again.
                self.timers.set(UNHELD, Timer::Unheld(id));
            }
        }
        self.forget_all_old();
    }

    /// Notes when the processes that were born were started.
    pub(crate) fn note_newborn(&mut self) {
        for id in std::mem::take(&mut self.newborn) {
            let number = self.register.get(id).filter(|domain| domain.end.is_none()).map(|domain| domain.pid);
            if let Some(start) = number.filter(|number| *number != 0).and_then(look::start) {
                self.note(Event::Noted(id, start));
            }
        }
    }
}

/// An end, as the monitor tells it.
fn end(how: u32, status: u32, usage: &Usage) -> End {
    let life = match how {
        change::EXITED => Life::Exited(status),
        change::KILLED | change::DUMPED => Life::Killed(status),
        _ => Life::Lost,
    };
    let time = |[seconds, micro]: [i64; 2]| {
        seconds.unsigned_abs().saturating_mul(1_000_000).saturating_add(micro.unsigned_abs())
    };
    End {
        life,
        at: now(),
        memory_peak: usage.resident_peak.unsigned_abs().saturating_mul(1024),
        user_time: time(usage.user),
        system_time: time(usage.system),
    }
}
