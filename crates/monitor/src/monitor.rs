//! The monitor's loop: one thread that waits for everything at once, and for nothing alone.
//!
//! Safety idea: nothing that somebody else can delay is waited for. A nursery that does not read or answer, a service that does not read and a
//! client that is gone each hold up their own affairs and nobody else's.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, Hasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use beget_plan::nursery::{self, Identity};
use beget_sys::signal::{self, SignalSet};
use beget_sys::{Errno, process};
use rustix::event::{Timespec, epoll};
use rustix::fs::{Mode, OFlags};
use rustix::net::SocketFlags;

use crate::fields::Writer;
use crate::nurseries::Nursery;
use crate::options::{Error, Options, Policy};
use crate::packet::{Came, Connection, Outgoing, Scratch};
use crate::peer::Own;
use crate::protocol::kind;
use crate::service::{MOST_WAITING, Service, Word};

const SIGCHLD: i32 = 17;
/// What epoll tells of what is no connection and no nursery.
const SIGNALS: u64 = 0;
const LISTENER: u64 = 1;
const ALIVE: u64 = 2;
const FIRST_TOKEN: u64 = 16;
/// How many may be connected that have not said what they speak.
const MOST_CALLERS: usize = 16;
/// More packets than a socket holds.
const MOST_LEFT: usize = 65_536;
/// How often is looked after what nobody tells of.
const TICK: Duration = Duration::from_millis(50);
/// `RLIMIT_NOFILE`.
const OPEN_FILES: u32 = 7;

/// A domain.
#[derive(Debug)]
pub(crate) struct Domain {
    /// The nursery that it is in.
    pub(crate) nursery: u64,
    /// Its number there, 0 before it is born.
    pub(crate) number: u32,
    /// Its number here, or 0.
    pub(crate) process: u32,
    /// How it ended.
    pub(crate) end: Option<Box<End>>,
    /// Its nursery says so, which another monitor made, and no service has said yet whether that can be: that nursery's user and number.
    pub(crate) claimed: Option<(u32, u64)>,
}

/// Where a service knows its living domains to be: user, and nursery or 0.
pub(crate) type Known = HashMap<u64, (u32, u64)>;

/// How a domain ended: how, status, what it used.
#[derive(Debug)]
pub(crate) struct End(pub(crate) u32, pub(crate) u32, pub(crate) [u8; 144]);

/// A client, and whether it has the monitor's own credentials.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) identity: Rc<Identity>,
    pub(crate) own: bool,
}

/// All that a monitor knows.
pub(crate) struct Monitor {
    pub(crate) policy: Policy,
    pub(crate) other_users: bool,
    /// Nurseries for one set of credentials.
    pub(crate) per_identity: usize,
    pub(crate) folder: Option<Folder>,
    pub(crate) own: Own,
    pub(crate) stub: Rc<OwnedFd>,
    pub(crate) root: OwnedFd,
    pub(crate) itself: Rc<OwnedFd>,
    pub(crate) epoch: u64,
    epoll: OwnedFd,
    signals: OwnedFd,
    listener: Option<OwnedFd>,
    alive: Option<OwnedFd>,
    next_token: u64,
    /// Whoever is connected and has not said anything yet.
    pub(crate) callers: Vec<Service>,
    pub(crate) service: Option<Service>,
    /// Grows with each service.
    pub(crate) generation: u64,
    scratch: Scratch,
    pub(crate) clients: HashMap<u64, Client>,
    pub(crate) nurseries: HashMap<u64, Nursery>,
    pub(crate) numbered: HashMap<u64, u64>,
    pub(crate) shared: HashMap<Rc<Identity>, Vec<u64>>,
    pub(crate) children: HashMap<u32, u64>,
    /// Nurseries that are looked after from time to time.
    pub(crate) cared_for: HashSet<u64>,
    pub(crate) domains: HashMap<u64, Domain>,
    /// What other nurseries say of the same labels.
    pub(crate) rivals: HashMap<u64, Vec<Domain>>,
    pub(crate) kept: HashMap<u64, (Vec<u8>, OwnedFd)>,
    pub(crate) most_kept: usize,
    /// Requests for a roll that wait until every nursery that was taken over has told what it has.
    pub(crate) rolls: Vec<(u64, Known)>,
    /// Everything is to end, as this request says.
    pub(crate) stopping: Option<u64>,
    pub(crate) told_to_stop: bool,
    /// What is to be said to the service waits for something that nobody tells of.
    pub(crate) stalled: bool,
}

/// Where lasting nurseries listen.
#[derive(Debug)]
pub(crate) struct Folder {
    /// By a short name, for addresses are short.
    pub(crate) path: std::path::PathBuf,
    _held: OwnedFd,
}

/// Serves until it is told to stop and everything has ended, or until the other end of [`Options::alive`] is closed. To be called by the only
/// thread of a process, with no other children: their ends are taken.
///
/// # Errors
/// What cannot be made at the start.
pub fn serve(options: Options) -> Result<(), Error> {
    let mut monitor = Monitor::new(options)?;
    monitor.take_over();
    monitor.run()
}

/// A number that no other monitor has.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

impl Monitor {
    fn new(options: Options) -> Result<Monitor, Error> {
        use std::os::fd::AsRawFd;
        let io = |part: &'static str| move |errno: rustix::io::Errno| Error::new(part, errno.raw_os_error());
        let kernel = |part: &'static str| move |errno: Errno| Error::new(part, errno.0);
        let own = Own::read().map_err(|refusal| Error::new(refusal.words, refusal.errno.0))?;
        signal::set_mask(SignalSet::EMPTY.with(SIGCHLD)).map_err(kernel("signals"))?;
        let signals = signal::descriptor(SignalSet::EMPTY.with(SIGCHLD)).map_err(kernel("signals"))?;
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::open("/", directory, Mode::empty()).map_err(io("root directory"))?;
        let folder = match (options.policy, options.folder) {
            (Policy::Die, _) => None,
            (Policy::Live, None) => return Err(Error::new("folder for lasting nurseries", Errno::EINVAL.0)),
            (Policy::Live, Some(path)) => {
                let held = rustix::fs::open(&path, directory, Mode::empty())
                    .map_err(|errno| Error::new(path.display().to_string(), errno.raw_os_error()))?;
                Some(Folder { path: format!("/proc/self/fd/{}", held.as_raw_fd()).into(), _held: held })
            }
        };
        let files = process::limit(OPEN_FILES).map_err(kernel("open files"))?;
        let raised = process::Bounds { soft: files.hard, hard: files.hard };
        process::set_limit(OPEN_FILES, raised).map_err(kernel("open files"))?;
        let itself =
            rustix::process::pidfd_open(rustix::process::getpid(), rustix::process::PidfdFlags::empty())
                .map_err(io("own process"))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(io("epoll"))?;
        let mut monitor = Monitor {
            policy: options.policy,
            other_users: options.other_users,
            per_identity: options.nurseries.max(1),
            folder,
            own,
            stub: Rc::new(nursery::open_stub().map_err(kernel("stub"))?),
            root,
            itself: Rc::new(itself),
            epoch: random(),
            epoll,
            signals,
            listener: options.listener,
            alive: options.alive,
            next_token: FIRST_TOKEN,
            callers: Vec::new(),
            service: None,
            generation: 0,
            scratch: Scratch::default(),
            clients: HashMap::new(),
            nurseries: HashMap::new(),
            numbered: HashMap::new(),
            shared: HashMap::new(),
            children: HashMap::new(),
            cared_for: HashSet::new(),
            domains: HashMap::new(),
            rivals: HashMap::new(),
            kept: HashMap::new(),
            // Room is left for what a request brings, and for nurseries.
            most_kept: (files.hard as usize).saturating_sub(6000).max(files.hard as usize / 4),
            rolls: Vec::new(),
            stopping: None,
            told_to_stop: false,
            stalled: false,
        };
        monitor.watch(monitor.signals.as_fd(), SIGNALS)?;
        if let Some(listener) = &monitor.listener {
            rustix::io::ioctl_fionbio(listener, true).map_err(io("listening socket"))?;
            monitor.watch(listener.as_fd(), LISTENER)?;
        }
        if let Some(alive) = &monitor.alive {
            monitor.watch(alive.as_fd(), ALIVE)?;
        }
        if let Some(connection) = options.connection {
            monitor.welcome_caller(connection);
        }
        Ok(monitor)
    }

    fn watch(&self, fd: BorrowedFd<'_>, token: u64) -> Result<(), Error> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(token), epoll::EventFlags::IN)
            .map_err(|errno| Error::new("epoll", errno.raw_os_error()))
    }

    pub(crate) fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// Watches something more for reading; `false` when that cannot be.
    pub(crate) fn watch_more(&self, fd: BorrowedFd<'_>, token: u64) -> bool {
        self.watch(fd, token).is_ok()
    }

    /// Says what to watch a descriptor for that is watched already.
    pub(crate) fn watch_for(&self, fd: BorrowedFd<'_>, token: u64, (read, write): (bool, bool)) {
        let flag = |on, flag| if on { flag } else { epoll::EventFlags::empty() };
        let flags = flag(read, epoll::EventFlags::IN) | flag(write, epoll::EventFlags::OUT);
        let _ = epoll::modify(&self.epoll, fd, epoll::EventData::new_u64(token), flags);
    }

    fn welcome_caller(&mut self, socket: OwnedFd) {
        let token = self.token();
        if !self.watch_more(socket.as_fd(), token) {
            return;
        }
        if self.callers.len() == MOST_CALLERS {
            // Whoever connected first, and said nothing since.
            self.callers.remove(0);
        }
        self.callers.push(Service::new(token, Connection::new(socket)));
    }

    fn run(&mut self) -> Result<(), Error> {
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        loop {
            if self.stopping.is_some() && self.nurseries.is_empty() && self.has_said_all() {
                return Ok(());
            }
            let tick = Timespec { tv_sec: 0, tv_nsec: TICK.as_nanos() as _ };
            let time = if self.needs_care() { Some(&tick) } else { None };
            events.clear();
            match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), time) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(Error::new("epoll", errno.raw_os_error())),
            }
            for event in &events {
                match event.data.u64() {
                    // A whole descriptor's worth; how many does not matter.
                    SIGNALS => {
                        let mut bytes = [0; 128];
                        while rustix::io::read(&self.signals, &mut bytes).is_ok() {}
                        self.reap();
                    }
                    LISTENER => self.accept(),
                    ALIVE => return Ok(()),
                    token if self.nurseries.contains_key(&token) => self.hear_nursery(token),
                    token => self.hear(token),
                }
            }
            self.care();
            self.speak();
        }
    }

    fn accept(&mut self) {
        let Some(listener) = &self.listener else { return };
        if let Ok(socket) = rustix::net::accept_with(listener, SocketFlags::CLOEXEC) {
            self.welcome_caller(socket);
        }
    }

    /// Reads from whoever has this token, if he is there still.
    fn hear(&mut self, token: u64) {
        // So many in one turn, so that others have theirs.
        for _ in 0..64 {
            let is_service = self.service.as_ref().is_some_and(|service| service.token == token);
            let connection = if is_service {
                self.service.as_mut().filter(|service| service.words.len() < MOST_WAITING)
            } else {
                self.callers.iter_mut().find(|caller| caller.token == token)
            };
            let came = connection.map(|service| service.connection.receive(&mut self.scratch, false));
            let Some(Ok(came)) = came else { return };
            if !self.take(token, came) {
                return;
            }
        }
    }

    /// Hears all that a service has sent which is gone, or not the service any more: it may have told others what rests on that.
    pub(crate) fn hear_out(&mut self) {
        // A dead one has sent no more than its socket holds.
        for _ in 0..MOST_LEFT {
            let Some(service) = &mut self.service else { return };
            match service.connection.receive(&mut self.scratch, false) {
                // Nobody waits for an answer.
                Ok(Came::Packet(packet)) if packet.kind != kind::HELLO => drop(self.carry_out(packet)),
                Ok(Came::Packet(_) | Came::Lost(..)) => {}
                Ok(Came::Closed | Came::Malformed(_)) | Err(_) => return,
            }
        }
    }

    /// Closes a connection. What the service has said no answer to is never answered.
    pub(crate) fn close(&mut self, token: u64) {
        self.callers.retain(|caller| caller.token != token);
        if self.service.as_ref().is_some_and(|service| service.token == token) {
            self.service = None;
            self.rolls.clear();
        }
    }

    fn has_said_all(&self) -> bool {
        self.service.as_ref().is_none_or(|service| service.words.is_empty() && service.sending.is_none())
    }

    /// Says what there is to be said, and what there is room for.
    fn speak(&mut self) {
        let Some(mut service) = self.service.take() else { return };
        let (mut gone, mut stalled) = (false, false);
        loop {
            if let Some(sending) = &mut service.sending {
                match sending.send(&service.connection) {
                    Ok(true) => service.sending = None,
                    Ok(false) => break,
                    // Descriptors on their way are counted, as is memory: there will be room, and nobody tells when.
                    Err(Errno::ETOOMANYREFS | Errno::ENOBUFS | Errno::ENOMEM) => {
                        stalled = true;
                        break;
                    }
                    Err(_) => {
                        gone = true;
                        break;
                    }
                }
            }
            let Some(word) = service.words.pop_front() else { break };
            service.sending = self.packet(word);
        }
        if gone {
            self.service = Some(service);
            self.hear_out();
            self.service = None;
            self.rolls.clear();
            return;
        }
        self.stalled = stalled;
        let watched = (service.words.len() < MOST_WAITING, service.sending.is_some() && !stalled);
        if watched != service.watched {
            self.watch_for(service.connection.as_fd(), service.token, watched);
            service.watched = watched;
        }
        self.service = Some(service);
        let tokens: Vec<u64> =
            self.callers.iter().filter(|caller| !caller.words.is_empty()).map(|it| it.token).collect();
        for token in tokens {
            // A refusal, after which nothing more is said.
            if let Some(at) = self.callers.iter().position(|caller| caller.token == token) {
                self.refuse_caller(at);
            }
        }
    }

    pub(crate) fn refuse_caller(&mut self, at: usize) {
        let mut caller = self.callers.remove(at);
        for word in caller.words.drain(..) {
            if let Word::Packet { kind, request, body } = word
                && let Ok(mut outgoing) = Outgoing::new(kind, request, &body, Vec::new())
            {
                let _ = outgoing.send(&caller.connection);
            }
        }
    }

    /// What a word is as a packet; `None` when it has become meaningless.
    fn packet(&self, word: Word) -> Option<Outgoing> {
        match word {
            Word::Packet { kind, request, body } => Outgoing::new(kind, request, &body, Vec::new()).ok(),
            Word::Ended(label) => {
                let domain = self.domains.get(&label)?;
                let End(how, status, usage) = &**domain.end.as_ref()?;
                let mut body = Writer::new();
                body.u64(label).u32(domain.process).u32(*how).u32(*status).raw(usage);
                Outgoing::new(kind::ENDED, 0, body.body(), Vec::new()).ok()
            }
            Word::Kept(key) => {
                let (note, fd) = self.kept.get(&key)?;
                let mut body = Writer::new();
                body.u64(key).bytes(note);
                Outgoing::new(kind::KEPT, 0, body.body(), vec![fd.try_clone().ok()?]).ok()
            }
        }
    }

    /// Something to be said to the service, if there is one.
    pub(crate) fn say(&mut self, word: Word) {
        if let Some(service) = &mut self.service {
            service.words.push_back(word);
        }
    }

    /// When somebody has waited long enough.
    pub(crate) fn deadline(patience: Duration) -> Option<Instant> {
        Instant::now().checked_add(patience)
    }

    /// The service's queue, to look at.
    pub(crate) fn words(&mut self) -> Option<&mut VecDeque<Word>> {
        self.service.as_mut().map(|service| &mut service.words)
    }
}
