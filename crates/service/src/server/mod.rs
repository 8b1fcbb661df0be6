//! The process service itself: one thread that waits for whatever happens, and never for anybody in particular.
//!
//! A turn of its loop hears what has come, changes what it knows, and writes down what is to be said. At the end of the turn, and only
//! there, it all leaves this process, in this order: the journal, what the monitor is asked, what clients are told. So whoever kills it at any
//! moment finds that what was told was written before.
//!
//! | file | what it answers |
//! |---|---|
//! | `event`, `journal`, `domains` | what is known of domains, and how it outlives this process |
//! | `connections`, `keep` | who speaks to us, with which right; how a connection outlives this process |
//! | `requests`, `list` | what is asked |
//! | `checks`, `births`, `batch` | a spawn, from its request to its answer |
//! | `keepers` | the birth of a process that keeps a factory, written here |
//! | `ends`, `groups` | an end, from its cause to the last of what is left |
//! | `numbers`, `unfinished` | how many descriptors each user has of us, and what becomes of half a packet |
//! | `channels` | what is given to a running domain, and what it asks for |
//! | `monitor` | what the monitor says, and what is done when there is another |
//!
//! Safety idea: it holds no right to create anything; a domain is known by a number that is never given twice; whoever speaks to it is
//! served in turn, and what waits for anybody is bounded.

mod batch;
mod births;
mod channels;
mod checks;
mod connections;
mod domains;
mod ends;
mod event;
mod groups;
mod journal;
mod keep;
mod keepers;
mod list;
mod look;
mod monitor;
mod numbers;
mod outbox;
mod requests;
#[cfg(test)]
mod simulation;
mod timers;
mod unfinished;

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use beget_monitor::packet::{Packet, Scratch};
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use births::Spawning;
use channels::Channel;
use connections::{Client, Connected, Crowd};
use domains::Register;
use ends::Holds;
use event::Event;
use groups::Hierarchies;
use journal::Journal;
pub use keepers::{KEEPER, KEEPER_BUILD};
use list::Listing;
use monitor::Link;
use numbers::{Numbers, Share};
use timers::{Timer, Timers};

/// What a process service is started with.
#[derive(Debug)]
pub struct Options {
    /// The socket that clients connect to: `SOCK_SEQPACKET`, listening.
    pub listener: OwnedFd,
    /// Where the monitor listens.
    pub monitor: PathBuf,
    /// A folder of its own (mode 0700), which keeps the journal.
    pub state: PathBuf,
    /// How many domains that have ended are remembered of each user. Those to which somebody holds a capability are remembered beside them.
    pub history: usize,
    /// It ends when for some seconds nothing lives and nobody is connected.
    pub idle_exit: bool,
    /// Users other than its own are served, each with what is theirs; the monitor decides whether they may be.
    pub other_users: bool,
    /// When this is closed at its other end, the service ends; domains live on.
    pub alive: Option<OwnedFd>,
    /// The program that keeps a factory, opened: the `beget` binary, which is executed with the argument [`KEEPER`](crate::KEEPER). Without it
    /// no factory is kept.
    pub keeper: Option<OwnedFd>,
}

/// Why a process service has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// It was asked to, and everything has ended.
    Stopped,
    /// There was nothing to do, for long enough; the monitor was told to end too.
    Idle,
    /// Whoever started it is gone. What lives lives on.
    Abandoned,
}

/// Why a process service cannot go on: which part, and why.
#[derive(Debug)]
pub struct Stuck {
    part: String,
    why: io::Error,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process service: {}: {}", self.part, self.why)
    }
}

impl std::error::Error for Stuck {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.why)
    }
}

fn stuck(part: impl Into<String>) -> impl FnOnce(io::Error) -> Stuck {
    let part = part.into();
    move |why| Stuck { part, why }
}

/// How long nothing must have happened for [`Options::idle_exit`].
const IDLE: Duration = Duration::from_secs(5);
/// How long, at the end of everything, a domain is waited for that was made to end: one that is not born, or whose nursery is stopped, does not.
const STUCK: Duration = if cfg!(test) { Duration::from_millis(200) } else { Duration::from_secs(10) };
/// How long it waits after there was no number for a descriptor.
const MOMENT: Duration = Duration::from_millis(100);
/// Numbers that are reserved at once.
const RESERVED: u64 = 4096;
/// What is in epoll's words beside connections and channels.
const LISTENER: u64 = u64::MAX;
const MONITOR: u64 = u64::MAX - 1;
const ALIVE: u64 = u64::MAX - 2;

/// Milliseconds since 1970.
fn now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Everything that it knows.
#[derive(Debug)]
struct Server {
    options: Options,
    epoll: OwnedFd,
    scratch: Scratch,
    journal: Journal,
    register: Register,
    /// The next number of a domain, a connection, a nursery.
    next: u64,
    timers: Timers,
    link: Link,
    connections: HashMap<u64, Connected>,
    channels: HashMap<u64, Channel>,
    clients: HashMap<u64, Client>,
    /// How many connections each user has.
    crowd: HashMap<u32, Crowd>,
    /// The keys of the folders and files in `holds`.
    held: HashSet<u64>,
    /// What there is of a domain beside what is in the journal.
    holds: HashMap<u64, Holds>,
    /// Requests whose domains are being born.
    spawning: HashMap<[u8; 16], Spawning>,
    /// Requests that wait for a monitor, and who asked.
    spawns_held: Vec<(u64, Packet, Share)>,
    /// What each user has of our descriptors beside connections; and of them what came for packets that are not whole.
    numbers: Numbers,
    unfinished: Numbers,
    /// The connections of those packets, the oldest first.
    halves: BTreeMap<timers::Key, u64>,
    listings: VecDeque<Listing>,
    /// Connections that something is to be said to, or that are to be listened to differently.
    touched: HashSet<u64>,
    /// Domains whose start is to be noted.
    newborn: Vec<u64>,
    hierarchies: Hierarchies,
    /// What may be open in this process.
    most_connections: usize,
    own_user: u32,
    listening: bool,
    idle: Option<timers::Key>,
    stopping: Option<Stopping>,
    started: u64,
    over: Option<Over>,
}

/// Everything is being ended.
#[derive(Debug)]
struct Stopping {
    /// Who asked for it: connection and request.
    asked: Vec<(u64, u64)>,
    why: Over,
    /// The monitor has been told.
    told: bool,
}

/// Serves until it is over. It takes no thread but the caller's, and does not fork.
///
/// # Errors
/// What it cannot do without: its folder, its sockets, room for its journal. Domains live on, and whoever serves next knows them.
pub fn serve(options: Options) -> Result<Over, Stuck> {
    Server::new(options)?.run()
}

impl Server {
    fn new(options: Options) -> Result<Server, Stuck> {
        let mut register = Register::default();
        let journal = Journal::open(&options.state, |event| register.apply(event));
        let journal = journal.map_err(stuck(format!("journal in {}", options.state.display())))?;
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(|errno| stuck("epoll")(errno.into()))?;
        let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
        // Beside connections there are packets that are being read, and what a spawn brings.
        let most = limit.map_or(usize::MAX, |limit| usize::try_from(limit).unwrap_or(usize::MAX));
        let next = register.reserved.max(1);
        let mut server = Server {
            link: Link::default(),
            options,
            epoll,
            scratch: Scratch::default(),
            journal,
            register,
            next,
            timers: Timers::default(),
            connections: HashMap::new(),
            channels: HashMap::new(),
            clients: HashMap::new(),
            crowd: HashMap::new(),
            held: HashSet::new(),
            holds: HashMap::new(),
            spawning: HashMap::new(),
            spawns_held: Vec::new(),
            numbers: Numbers::default(),
            unfinished: Numbers::default(),
            halves: BTreeMap::new(),
            listings: VecDeque::new(),
            touched: HashSet::new(),
            newborn: Vec::new(),
            hierarchies: Hierarchies::find(),
            most_connections: most.saturating_sub(most / 10),
            own_user: rustix::process::geteuid().as_raw(),
            listening: false,
            idle: None,
            stopping: None,
            started: now(),
            over: None,
        };
        // One who goes away before he is accepted must not keep us waiting.
        rustix::io::ioctl_fionbio(&server.options.listener, true)
            .map_err(|errno| stuck("listening socket")(errno.into()))?;
        if let Some(alive) = &server.options.alive {
            epoll::add(&server.epoll, alive, EventData::new_u64(ALIVE), EventFlags::empty())
                .map_err(|errno| stuck("whoever started it")(errno.into()))?;
        }
        let living: Vec<u64> = server.register.living().collect();
        // Where there is none, births are refused.
        let _ = server.journal.make_room(0, living.len() as u64);
        for id in living {
            server.remember(id);
        }
        server.connect();
        Ok(server)
    }

    fn run(mut self) -> Result<Over, Stuck> {
        loop {
            self.flush()?;
            if let Some(over) = self.over {
                return Ok(over);
            }
            let now = Instant::now();
            let wait = if self.listings.is_empty() { self.timers.next(now) } else { Some(Duration::ZERO) };
            self.hear(wait)?;
        }
    }

    /// The beginning of a turn: hears what has come, and what it is time for. Waits no longer than `wait`.
    fn hear(&mut self, wait: Option<Duration>) -> Result<(), Stuck> {
        let wait = wait.and_then(|wait| rustix::event::Timespec::try_from(wait).ok());
        let mut events: Vec<epoll::Event> = Vec::with_capacity(256);
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), wait.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(stuck("epoll")(errno.into())),
        }
        for event in events {
            let (key, flags) = (event.data.u64(), event.flags);
            match key {
                LISTENER => self.accept(),
                MONITOR => self.monitor_speaks(),
                ALIVE => self.over = Some(Over::Abandoned),
                key if self.channels.contains_key(&key) => self.channel_speaks(key),
                key => self.connection_speaks(key, flags),
            }
        }
        let now = Instant::now();
        while let Some(timer) = self.timers.due(now) {
            self.time(timer);
        }
        self.list_on();
        Ok(())
    }

    fn time(&mut self, timer: Timer) {
        match timer {
            Timer::Timeout(id) => self.time_is_over(id),
            Timer::Grace(id) => self.grace_is_over(id),
            Timer::Left(id) => self.look_at_rest(id),
            Timer::Unheld(id) => self.end_if_unheld(id),
            Timer::Request(key) => self.waited_enough(key),
            Timer::Half(key) => self.half_is_late(key),
            Timer::Stop => self.stop_anyway(),
            Timer::Accept => self.listen(),
            Timer::Connect => self.connect(),
            Timer::Send => {}
            Timer::Idle => {
                self.idle = None;
                if self.is_idle() {
                    self.stop(None, Over::Idle);
                }
            }
        }
    }

    /// Writes down what happened, and takes it to be so.
    fn note(&mut self, event: Event) {
        self.journal.append(&event);
        self.register.apply(event);
    }

    /// A number that was never given and never will be again.
    fn number(&mut self) -> u64 {
        if self.next >= self.register.reserved {
            self.note(Event::Reserved(self.next + RESERVED));
        }
        self.next += 1;
        self.next - 1
    }

    /// Nothing lives and nobody is connected.
    fn is_idle(&self) -> bool {
        self.register.counts().0 == 0 && self.connections.is_empty() && self.spawning.is_empty()
    }

    /// The end of a turn: everything leaves this process, in the order that makes it safe.
    fn flush(&mut self) -> Result<(), Stuck> {
        self.flush_journal()?;
        self.flush_monitor();
        self.flush_connections();
        self.go_on_stopping();
        // Nobody waits for this.
        self.note_newborn();
        if self.options.idle_exit && self.stopping.is_none() {
            if !self.is_idle() {
                let idle = self.idle.take();
                self.timers.cancel(idle);
            } else if self.idle.is_none() {
                self.idle = Some(self.timers.set(IDLE, Timer::Idle));
            }
        }
        Ok(())
    }

    fn flush_journal(&mut self) -> Result<(), Stuck> {
        let part = || format!("journal in {}", self.options.state.display());
        self.journal.flush().map_err(|why| stuck(part())(why))?;
        if self.journal.is_long() {
            // Without room for another one the old one goes on.
            let _ = self.journal.rewrite(self.register.events());
            let _ = self.journal.make_room(0, self.register.counts().0 as u64);
        }
        Ok(())
    }

    /// Ends everything.
    fn stop(&mut self, asked: Option<(u64, u64)>, why: Over) {
        if let Some(stopping) = &mut self.stopping {
            stopping.asked.extend(asked);
            return;
        }
        self.stopping = Some(Stopping { asked: asked.into_iter().collect(), why, told: false });
        let living: Vec<u64> = self.register.living().collect();
        let mut longest = 0;
        for id in living {
            let Some(intent) = self.register.get(id).map(|domain| &domain.intent) else { continue };
            // Nobody else says how long our own user waits.
            let most = if intent.user == self.own_user { u64::MAX } else { STUCK.as_millis() as u64 };
            let grace = intent.wanted.grace.min(most);
            longest = longest.max(grace);
            self.kill(id, grace, "the service was ended");
        }
        self.timers.set(Duration::from_millis(longest).saturating_add(STUCK), Timer::Stop);
    }
}
