//! Who speaks to us: connections, each of which is a right to something.
//!
//! Safety idea: what a connection is a right to was decided when it was made, and is never read from what comes over it. A session is served
//! only after the monitor has said who is at its other end. No more than one packet is taken from a connection in a turn, and none while
//! an answer is still to be taken by its holder: so whoever floods, or never reads, keeps only himself waiting.

use std::os::fd::{AsFd, OwnedFd};

use beget_monitor::fields::Writer;
use beget_monitor::packet::{Came, Connection};
use beget_monitor::protocol::kind as monitor;
use beget_sys::Errno;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::event::{PollFd, PollFlags};
use rustix::net::{SocketFlags, accept_with};

use super::ends::UNHELD;
use super::keep::Note;
use super::numbers::Share;
use super::outbox::{Outbox, Sent};
use super::timers::{Key, Timer};
use super::unfinished::Half;
use super::{LISTENER, MOMENT, Server};
use crate::protocol::{error, kind, right};

/// The most sessions of one user.
const MOST_SESSIONS: usize = 1024;
/// How many the monitor is asked about at a time: whoever connects again and again has no more of it than that.
const MOST_STRANGERS: usize = 8;
/// How many are accepted in one turn.
const ACCEPTED_AT_ONCE: usize = 16;

/// What a connection is a right to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// Everything of one user.
    Session,
    /// This domain.
    Domain(u64),
    /// Creation, as this domain may.
    Spawner(u64),
}

/// What is being done for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Doing {
    /// Nothing: the next request may come.
    Nothing,
    /// The monitor is asked who it is.
    Meeting,
    /// It waits for the domain's end. Another request takes the place of this one.
    Wait(u64, Option<Key>),
    /// It waits for what the domain asks for. Another request takes the place of this one.
    Asked(u64, Option<Key>),
    /// Something that is answered when it is done; the timer is that of a request which waits for a monitor.
    Work(Option<Key>),
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) connection: Connection,
    pub(crate) subject: Subject,
    pub(crate) rights: u32,
    pub(crate) user: u32,
    /// The client that its births are made for.
    pub(crate) client: u64,
    /// Its domain is ended when no such connection is left.
    pub(crate) tied: bool,
    pub(crate) doing: Doing,
    /// The number of the request that is being done, or was last.
    pub(crate) request: u64,
    /// The half of a packet that has come.
    pub(crate) half: Option<Half>,
    out: Outbox,
    watched: Option<EventFlags>,
    /// The service before this one may have taken the first half of a packet from it.
    resumed: bool,
    /// What is said last.
    closing: bool,
    /// Something that is to be said gives so many capabilities, which the monitor is to keep first.
    gives: Vec<Share>,
}

/// A capability that nobody has yet.
#[derive(Debug)]
pub(crate) struct Reserved {
    pub(crate) key: u64,
    note: Note,
    /// For the monitor.
    copy: OwnedFd,
    theirs: OwnedFd,
}

/// How many connections a user has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Crowd {
    all: usize,
    sessions: usize,
}

/// Somebody for whom births can be made: who made a session.
#[derive(Debug)]
pub(crate) struct Client {
    /// Connections that count as its own.
    pub(crate) connections: usize,
    /// The session, when it is no connection of ours any more: the monitor reads from it who the client is.
    pub(crate) socket: Option<(OwnedFd, Share)>,
}

impl Connected {
    pub(crate) fn new(socket: OwnedFd, subject: Subject, rights: u32, user: u32, client: u64) -> Connected {
        Connected {
            connection: Connection::new(socket),
            subject,
            rights,
            user,
            client,
            tied: false,
            doing: Doing::Nothing,
            request: 0,
            half: None,
            out: Outbox::default(),
            watched: None,
            resumed: false,
            closing: false,
            gives: Vec::new(),
        }
    }

    /// One that the monitor kept.
    pub(crate) fn kept(socket: OwnedFd, subject: Subject, rights: u32, user: u32, client: u64) -> Connected {
        Connected { resumed: true, ..Connected::new(socket, subject, rights, user, client) }
    }

    /// Nobody has said yet who it is.
    pub(crate) fn is_new(&self) -> bool {
        self.doing == Doing::Meeting
    }

    /// What the monitor is to note of it.
    pub(crate) fn note(&self) -> Note {
        match self.subject {
            Subject::Session => Note::Session(self.rights, self.user, self.client),
            Subject::Domain(id) => Note::Domain(id, self.rights, self.user, self.tied),
            Subject::Spawner(id) => Note::Spawner(id, self.user),
        }
    }

    /// Whether the next packet is to be taken.
    fn listens(&self) -> bool {
        let free = matches!(self.doing, Doing::Nothing | Doing::Wait(..) | Doing::Asked(..));
        free && self.out.is_empty() && !self.closing
    }

    fn wanted(&self) -> EventFlags {
        let read = if self.listens() { EventFlags::IN } else { EventFlags::empty() };
        let write = if self.out.is_empty() { EventFlags::empty() } else { EventFlags::OUT };
        read | write
    }
}

impl Server {
    /// Lets clients connect.
    pub(crate) fn listen(&mut self) {
        if !self.listening && self.link.is_ready() && self.link.strangers() < MOST_STRANGERS {
            let data = EventData::new_u64(LISTENER);
            self.listening = epoll::add(&self.epoll, &self.options.listener, data, EventFlags::IN).is_ok();
        }
    }

    /// Lets them wait.
    pub(crate) fn do_not_listen(&mut self) {
        if std::mem::take(&mut self.listening) {
            let _ = epoll::delete(&self.epoll, &self.options.listener);
        }
    }

    /// Clients have connected.
    pub(crate) fn accept(&mut self) {
        for _ in 0..ACCEPTED_AT_ONCE {
            if self.link.strangers() >= MOST_STRANGERS {
                return self.do_not_listen();
            }
            match accept_with(&self.options.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
                Ok(socket) => self.meet(socket),
                Err(rustix::io::Errno::INTR | rustix::io::Errno::CONNABORTED) => {}
                Err(rustix::io::Errno::AGAIN) => return,
                Err(_) => {
                    // No number for it: somebody must let go of something first.
                    self.do_not_listen();
                    self.timers.set(MOMENT, Timer::Accept);
                    return;
                }
            }
        }
    }

    /// Whether so many descriptors more of this user are too many; in words.
    pub(crate) fn is_crowded(&self, user: u32, more: usize) -> Option<&'static str> {
        let most = if self.options.other_users { self.most_connections / 4 } else { self.most_connections };
        let connections = self.crowd.get(&user).map_or(0, |crowd| crowd.all);
        let own = connections + self.numbers.of(user).0 + self.unfinished.of(user).0;
        let all = self.connections.len() + self.numbers.all().0 + self.unfinished.all().0;
        (own + more > most || all + more > self.most_connections)
            .then_some("as many connections and descriptors are held as there may be")
    }

    /// A new session: the monitor is asked who it is.
    fn meet(&mut self, socket: OwnedFd) {
        // Nobody waits for an answer there.
        if is_closed(&socket) {
            return;
        }
        let key = self.number();
        let Ok(peer) = rustix::net::sockopt::socket_peercred(&socket) else { return };
        let user = peer.uid.as_raw();
        let mut connected = Connected::new(socket, Subject::Session, right::DOMAIN | right::SPAWN, user, key);
        let many = self.crowd.get(&user).is_some_and(|crowd| crowd.sessions >= MOST_SESSIONS);
        let crowded = if many {
            Some("as many sessions are open as one user may have")
        } else {
            self.is_crowded(user, 1)
        };
        if let Some(words) = crowded {
            // There is room in a new socket; if not, its end is answer enough.
            let _ = connected.out.push(kind::ERROR, 0, &error_body(error::LIMIT, 0, words), Vec::new());
            connected.out.send(&connected.connection);
            return;
        }
        let Ok(copy) = rustix::io::fcntl_dupfd_cloexec(&connected.connection, 3) else { return };
        connected.doing = Doing::Meeting;
        self.take_connection(key, connected);
        self.introduce(key, copy);
    }

    /// Asks the monitor who a client is.
    pub(crate) fn introduce(&mut self, client: u64, socket: OwnedFd) {
        let mut body = Writer::new();
        body.u64(client);
        self.ask_monitor(monitor::CLIENT, body.body(), vec![socket], super::monitor::Pending::Client(client));
    }

    /// The monitor has said who it is.
    pub(crate) fn met(&mut self, client: u64, user: u32) {
        let Some(connected) = self.connections.get_mut(&client) else { return };
        if !connected.is_new() {
            return;
        }
        connected.doing = Doing::Nothing;
        let before = std::mem::replace(&mut connected.user, user);
        let note = connected.note();
        let copy = rustix::io::fcntl_dupfd_cloexec(&connected.connection, 3);
        self.uncount(before, Subject::Session);
        self.count(user, Subject::Session);
        if let Ok(copy) = copy {
            let _ = self.keep(client, note, copy);
        }
        self.touched.insert(client);
    }

    /// The monitor does not serve this client.
    pub(crate) fn turned_away(&mut self, client: u64, errno: u32, words: &str) {
        if self.connections.get(&client).is_some_and(Connected::is_new) {
            self.part(client, error::CLIENT, errno, words);
        }
    }

    /// Takes a connection among those that are served.
    pub(crate) fn take_connection(&mut self, key: u64, connected: Connected) {
        self.count(connected.user, connected.subject);
        match connected.subject {
            Subject::Session => {
                let client = self.clients.entry(connected.client);
                client.or_insert(Client { connections: 0, socket: None }).connections += 1;
            }
            Subject::Domain(id) | Subject::Spawner(id) => {
                let tied = connected.tied;
                let holds = self.remember(id);
                holds.connections.insert(key);
                holds.tied += usize::from(tied);
            }
        }
        self.connections.insert(key, connected);
        self.touched.insert(key);
    }

    /// A new connection with this right; gives its other end.
    ///
    /// # Errors
    /// A code of [`error`], an errno, words.
    pub(crate) fn make_capability(
        &mut self,
        subject: Subject,
        rights: u32,
        user: u32,
        client: u64,
        tied: bool,
    ) -> Result<OwnedFd, (u32, u32, &'static str)> {
        let reserved = self.reserve_capability(subject, rights, user, client, tied)?;
        Ok(self.keep_reserved(reserved))
    }

    /// The same, before it is certain that there is anything to have a right to: all that it takes is there from now on.
    ///
    /// # Errors
    /// A code of [`error`], an errno, words.
    pub(crate) fn reserve_capability(
        &mut self,
        subject: Subject,
        rights: u32,
        user: u32,
        client: u64,
        tied: bool,
    ) -> Result<Reserved, (u32, u32, &'static str)> {
        if let Some(words) = self.is_crowded(user, 3) {
            return Err((error::LIMIT, 0, words));
        }
        let failed = |errno: Errno| (error::KERNEL, errno.0 as u32, "a connection cannot be made");
        let (ours, theirs) = Connection::pair().map_err(failed)?;
        let copy =
            rustix::io::fcntl_dupfd_cloexec(&ours, 3).map_err(|errno| failed(Errno(errno.raw_os_error())))?;
        let key = self.number();
        let mut connected = Connected::new(ours.into_socket(), subject, rights, user, client);
        connected.tied = tied;
        let note = connected.note();
        self.take_connection(key, connected);
        Ok(Reserved { key, note, copy, theirs })
    }

    /// Has the monitor keep one that was reserved; gives its other end.
    pub(crate) fn keep_reserved(&mut self, reserved: Reserved) -> OwnedFd {
        let Reserved { key, note, copy, theirs } = reserved;
        self.keep_copy(key, note, copy);
        theirs
    }

    fn count(&mut self, user: u32, subject: Subject) {
        let crowd = self.crowd.entry(user).or_default();
        crowd.all += 1;
        crowd.sessions += usize::from(subject == Subject::Session);
    }

    fn uncount(&mut self, user: u32, subject: Subject) {
        if let Some(crowd) = self.crowd.get_mut(&user) {
            crowd.all -= 1;
            crowd.sessions -= usize::from(subject == Subject::Session);
            if crowd.all == 0 {
                self.crowd.remove(&user);
            }
        }
    }

    /// Something has come over a connection, or it can take something.
    pub(crate) fn connection_speaks(&mut self, key: u64, flags: EventFlags) {
        let Some(connected) = self.connections.get_mut(&key) else { return };
        self.touched.insert(key);
        if !connected.listens() {
            // Its holder is gone, and nobody waits for the answer.
            if flags.intersects(EventFlags::HUP | EventFlags::ERR) {
                self.close(key);
            }
            return;
        }
        if !flags.intersects(EventFlags::IN | EventFlags::HUP | EventFlags::ERR) {
            return;
        }
        let came = connected.connection.receive(&mut self.scratch, false);
        self.mind_half(key);
        let Some(connected) = self.connections.get_mut(&key) else { return };
        match came {
            Ok(Came::Packet(packet)) => {
                connected.resumed = false;
                self.requested(key, packet);
            }
            // Its holder will ask for it again, for it was told that we are another.
            Ok(Came::Malformed(_)) if std::mem::take(&mut connected.resumed) => {}
            Ok(Came::Malformed(why)) => self.part(key, error::MALFORMED, 0, why),
            Ok(Came::Lost(_, request, errno)) => {
                connected.request = request;
                self.refuse(key, error::KERNEL, errno.0 as u32, "what came with it found no place here");
            }
            Ok(Came::Closed) => self.close(key),
            Err(_) => {}
        }
    }

    /// Answers the request that is being done.
    pub(crate) fn answer(&mut self, key: u64, kind: u16, body: &[u8], descriptors: Vec<OwnedFd>) {
        let Some(connected) = self.connections.get_mut(&key) else { return };
        let timer = match std::mem::replace(&mut connected.doing, Doing::Nothing) {
            Doing::Wait(_, timer) | Doing::Asked(_, timer) | Doing::Work(timer) => timer,
            Doing::Nothing | Doing::Meeting => None,
        };
        self.timers.cancel(timer);
        self.say(key, kind, body, descriptors);
    }

    fn say(&mut self, key: u64, kind: u16, body: &[u8], descriptors: Vec<OwnedFd>) {
        let Some(connected) = self.connections.get_mut(&key) else { return };
        self.touched.insert(key);
        if !descriptors.is_empty() {
            connected.gives.push(self.numbers.share(connected.user, descriptors.len(), 0));
        }
        if let Err(errno) = connected.out.push(kind, connected.request, body, descriptors) {
            let body = error_body(error::KERNEL, errno.0 as u32, "the answer cannot be sent");
            let _ = connected.out.push(kind::ERROR, connected.request, &body, Vec::new());
        }
    }

    /// Answers that the request is not done, and why.
    pub(crate) fn refuse(&mut self, key: u64, code: u32, errno: u32, words: &str) {
        self.answer(key, kind::ERROR, &error_body(code, errno, words), Vec::new());
    }

    /// Says why, and closes.
    pub(crate) fn part(&mut self, key: u64, code: u32, errno: u32, words: &str) {
        if let Some(connected) = self.connections.get_mut(&key) {
            // Whatever it waits for: this is the answer.
            connected.request = 0;
            connected.closing = true;
            self.refuse(key, code, errno, words);
        }
    }

    /// Tells the holders of everything that was kept that we are another.
    pub(crate) fn say_again(&mut self) {
        let mut body = Writer::new();
        body.u64(self.started);
        for (key, connected) in &mut self.connections {
            if connected.resumed {
                let _ = connected.out.push(kind::AGAIN, 0, body.body(), Vec::new());
                self.touched.insert(*key);
            }
        }
    }

    /// Closes a connection; what it was a right to goes on.
    pub(crate) fn close(&mut self, key: u64) {
        let Some(connected) = self.connections.remove(&key) else { return };
        if connected.watched.is_some() {
            // Another process has it too: closing alone would not do.
            let _ = epoll::delete(&self.epoll, &connected.connection);
        }
        // The monitor's copy goes a moment later, and whoever waits at the other end is told now.
        let _ = rustix::net::shutdown(&connected.connection, rustix::net::Shutdown::Both);
        self.uncount(connected.user, connected.subject);
        if let Some(half) = &connected.half {
            self.halves.remove(&half.timer);
            self.timers.cancel(Some(half.timer));
        }
        if !connected.is_new() {
            self.forget_kept(key);
        }
        match connected.doing {
            Doing::Wait(id, timer) | Doing::Asked(id, timer) => {
                self.timers.cancel(timer);
                self.does_not_wait(id, key);
            }
            Doing::Work(timer) => self.timers.cancel(timer),
            Doing::Nothing | Doing::Meeting => {}
        }
        match connected.subject {
            Subject::Session => self.session_closed(key, connected),
            // Its holder may never have had it: the answer that gave it was the service's before this one.
            Subject::Domain(id) if connected.tied && connected.resumed => {
                self.timers.set(UNHELD, Timer::Unheld(id));
                self.let_go(id, key, connected.tied, false);
            }
            Subject::Domain(id) | Subject::Spawner(id) => self.let_go(id, key, connected.tied, true),
        }
    }

    fn session_closed(&mut self, key: u64, connected: Connected) {
        let Some(client) = self.clients.get_mut(&connected.client) else { return };
        client.connections -= 1;
        if client.connections > 0 {
            if key == connected.client {
                let share = self.numbers.share(connected.user, 1, 0);
                client.socket = Some((connected.connection.into_socket(), share));
            }
            return;
        }
        self.clients.remove(&connected.client);
        let mut body = Writer::new();
        body.u64(connected.client);
        self.tell_monitor(monitor::GONE, 0, body.body(), Vec::new());
    }

    /// Sends what is to be sent, and listens to whom is to be listened to.
    pub(crate) fn flush_connections(&mut self) {
        let behind = self.link.is_behind();
        let touched: Vec<u64> = self.touched.drain().collect();
        for key in touched {
            let Some(connected) = self.connections.get_mut(&key) else { continue };
            if !connected.gives.is_empty() && behind {
                // Later: what is given is not kept yet.
                self.touched.insert(key);
                continue;
            }
            let sent = connected.out.send(&connected.connection);
            match sent {
                Sent::All => connected.gives.clear(),
                Sent::Full => {}
                Sent::Crowded => {
                    self.touched.insert(key);
                    self.timers.set(MOMENT, Timer::Send);
                }
                Sent::Broken => {
                    self.close(key);
                    continue;
                }
            }
            if connected.closing && (sent == Sent::All || sent == Sent::Full) {
                self.close(key);
                continue;
            }
            let wanted = connected.wanted();
            let ready = !connected.resumed || self.link.was_ready();
            if connected.watched == Some(wanted) || !ready {
                continue;
            }
            let data = EventData::new_u64(key);
            let set = match connected.watched {
                None => epoll::add(&self.epoll, &connected.connection, data, wanted),
                Some(_) => epoll::modify(&self.epoll, &connected.connection, data, wanted),
            };
            connected.watched = Some(wanted);
            if set.is_err() {
                self.close(key);
            }
        }
    }
}

/// The body of an error.
pub(crate) fn error_body(code: u32, errno: u32, words: &str) -> Vec<u8> {
    let mut body = Writer::new();
    body.u32(code).u32(errno).str(words);
    body.into_body()
}

/// Whether there is nobody at the other end.
fn is_closed(socket: impl AsFd) -> bool {
    let mut watched = [PollFd::new(&socket, PollFlags::empty())];
    let _ = rustix::event::poll(&mut watched, Some(&rustix::event::Timespec::default()));
    watched[0].revents().intersects(PollFlags::HUP | PollFlags::ERR)
}

/// A socket of the kind that connections are, whoever gave it.
pub(crate) fn is_packet_socket(socket: impl AsFd) -> bool {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    sockopt::socket_domain(&socket) == Ok(AddressFamily::UNIX)
        && sockopt::socket_type(&socket) == Ok(SocketType::SEQPACKET)
        && sockopt::socket_acceptconn(&socket) == Ok(false)
}
