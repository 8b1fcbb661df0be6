//! The whole service, turn by turn, beside a monitor that does what the test says. Dropping it between any two of its steps is what a kill is
//! to everybody else: so it is killed here at every step that it has.

mod births;
mod ends;
mod fake;
mod rights;
mod storm;

use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use beget_monitor::fields::{Reader, Writer};
use beget_monitor::packet::{Came, Connection, Packet, Scratch};
use beget_monitor::protocol::policy;
use beget_plan::message::Item;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{Options, Server};
use crate::protocol::{Life, Record, Spawn, Wanted, kind, wanted};
use fake::{Monitor, listen};

/// How long anything is waited for; what is right takes no time.
const PATIENCE: Duration = Duration::from_secs(20);

/// A service, its monitor, and where both are.
struct World {
    folder: PathBuf,
    listener: OwnedFd,
    server: Option<Server>,
    monitor: Monitor,
    history: usize,
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

impl World {
    fn new() -> World {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("beget-simulation-{}-{number}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir(&folder).unwrap();
        let listener = listen(&folder.join("service"));
        let monitor = Monitor::new(&folder.join("monitor"), 1, policy::LIVE);
        let mut world = World { folder, listener, server: None, monitor, history: 1000 };
        world.start();
        world
    }

    fn options(&self) -> Options {
        Options {
            listener: self.listener.try_clone().unwrap(),
            monitor: self.folder.join("monitor"),
            state: self.folder.clone(),
            history: self.history,
            idle_exit: false,
            other_users: false,
            alive: None,
            keeper: std::fs::File::open("/dev/null").ok().map(OwnedFd::from),
        }
    }

    /// Starts a service, which is ready.
    fn start(&mut self) {
        self.server = Some(Server::new(self.options()).unwrap());
        self.until(|world| world.server().link.is_ready());
    }

    /// `kill -9`, and another.
    fn restart(&mut self) {
        self.server = None;
        self.start();
    }

    /// The monitor is killed, and another begins; with all domains, or none.
    fn another_monitor(&mut self, policy: u32) {
        let path = self.folder.join("monitor");
        let epoch = self.monitor.epoch + 1;
        let old = std::mem::replace(&mut self.monitor, Monitor::new(&path, epoch, policy));
        if old.policy == policy::LIVE {
            self.monitor.living = old.living;
            self.monitor.ended = old.ended;
            self.monitor.nurseries = old.nurseries;
        }
        self.monitor.born = old.born;
        self.monitor.taken = old.taken;
    }

    fn server(&self) -> &Server {
        self.server.as_ref().unwrap()
    }

    /// Everybody does what there is to do, once.
    fn turn(&mut self) {
        let server = self.server.as_mut().unwrap();
        server.flush().unwrap();
        server.hear(Some(Duration::ZERO)).unwrap();
        self.monitor.step();
    }

    fn turns(&mut self) {
        (0..8).for_each(|_| self.turn());
    }

    /// Goes on until something is so.
    fn until(&mut self, mut so: impl FnMut(&mut World) -> bool) {
        let until = Instant::now() + PATIENCE;
        while !so(self) {
            assert!(Instant::now() < until, "it never came to be so");
            self.turn();
        }
    }

    /// Connects; nothing is asked yet.
    fn connect(&self) -> Client {
        let flags = SocketFlags::CLOEXEC;
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let path = self.folder.join("service");
        rustix::net::connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
        Client::new(socket)
    }

    /// Waits for the answer.
    fn answer(&mut self, client: &mut Client) -> Packet {
        let mut came = None;
        self.until(|_| {
            came = client.receive();
            came.is_some()
        });
        came.unwrap()
    }

    /// Asks, and gives the answer.
    fn ask(&mut self, client: &mut Client, kind: u16, body: &[u8], given: Vec<OwnedFd>) -> Packet {
        client.ask(kind, body, given);
        self.answer(client)
    }

    /// Asks, and gives the record that is the answer.
    fn record(&mut self, client: &mut Client, kind: u16, body: &[u8]) -> Record {
        one_record(&self.ask(client, kind, body, Vec::new()))
    }

    /// Makes one domain; gives its number and the capability, if one was asked for.
    fn spawn(&mut self, session: &mut Client, name: &str, flags: u32) -> (u64, Option<Client>) {
        let spawn = spawn_of(vec![wanted(name, flags)]);
        let mut answer = self.ask(session, kind::SPAWN, &spawn.encode(), Vec::new());
        let born = spawned(&answer);
        assert_eq!(born.len(), 1);
        assert_eq!(born[0].errno, 0);
        (born[0].id, answer.descriptors.pop().map(Client::new))
    }

    /// A capability to a domain by its name.
    fn open(&mut self, session: &mut Client, name: &str) -> Client {
        let mut body = Writer::new();
        body.str(name);
        let mut answer = self.ask(session, kind::OPEN, body.body(), Vec::new());
        assert_eq!(answer.kind, kind::CAPABILITY, "{}", words(&answer));
        Client::new(answer.descriptors.pop().unwrap())
    }

    /// The names that live.
    fn list(&mut self, session: &mut Client) -> Vec<String> {
        let answer = self.ask(session, kind::LIST, &[], Vec::new());
        records(&answer).into_iter().map(|record| record.name).collect()
    }
}

/// Somebody at the other end of a connection.
struct Client {
    connection: Connection,
    scratch: Scratch,
    number: u64,
    /// What was asked last: kind, body.
    asked: (u16, Vec<u8>),
    answered: bool,
    /// How often it heard that the service is another.
    again: usize,
    closed: bool,
}

impl Client {
    fn new(socket: OwnedFd) -> Client {
        let scratch = Scratch::default();
        Client {
            connection: Connection::new(socket),
            scratch,
            number: 0,
            asked: (0, Vec::new()),
            answered: true,
            again: 0,
            closed: false,
        }
    }

    fn ask(&mut self, kind: u16, body: &[u8], given: Vec<OwnedFd>) {
        self.number += 1;
        self.asked = (kind, body.to_vec());
        self.answered = false;
        let given: Vec<_> = given.iter().map(std::os::fd::AsFd::as_fd).collect();
        self.connection.send(kind, self.number, body, &given).unwrap();
    }

    /// What has come for the request that was asked last. Asks again when the service is another.
    fn receive(&mut self) -> Option<Packet> {
        loop {
            match self.connection.receive(&mut self.scratch, false) {
                Ok(Came::Packet(packet)) if packet.kind == kind::AGAIN => {
                    self.again += 1;
                    if !self.answered {
                        let (kind, body) = &self.asked;
                        let _ = self.connection.send(*kind, self.number, body, &[]);
                    }
                }
                Ok(Came::Packet(packet)) => {
                    assert!([self.number, 0].contains(&packet.request), "an answer to nothing: {packet:?}");
                    if self.answered && self.again > 1 {
                        // It asked again for the service before this one, which had answered: that is passed over.
                        continue;
                    }
                    assert!(!self.answered, "a second answer: {packet:?}");
                    self.answered = true;
                    return Some(packet);
                }
                Ok(Came::Closed) => {
                    self.closed = true;
                    return None;
                }
                Ok(other) => panic!("the service says {other:?}"),
                Err(_) => return None,
            }
        }
    }
}

/// A batch of plans that nobody looks into, one for each domain.
fn batch(count: usize) -> Vec<u8> {
    let begin = count * Item::SIZE;
    let item = Item { plan: begin as u32, length: 4, table: begin as u32, ..Item::EMPTY };
    let mut body: Vec<u8> = (0..count).flat_map(|_| item.encode()).collect();
    body.extend(b"plan");
    body
}

fn wanted(name: &str, flags: u32) -> Wanted {
    Wanted { name: name.to_owned(), program: "/bin/program".to_owned(), flags, ..Wanted::default() }
}

fn spawn_of(domains: Vec<Wanted>) -> Spawn {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut token = [0; 16];
    token[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_ne_bytes());
    let batch = batch(domains.len());
    Spawn { token, domains, batch, ..Spawn::default() }
}

/// What became of one domain of a spawn.
#[derive(Debug)]
struct Spawned {
    id: u64,
    name: String,
    op: u32,
    errno: u32,
    capability: bool,
}

fn spawned(answer: &Packet) -> Vec<Spawned> {
    assert_eq!(answer.kind, kind::SPAWNED, "{}", words(answer));
    let count = Reader::new(&answer.body[12..]).u32().unwrap();
    let mut reader = Reader::new(&answer.body[16..]);
    (0..count)
        .map(|_| Spawned {
            id: reader.u64().unwrap(),
            name: reader.str().unwrap().to_owned(),
            op: (reader.u32(), reader.u32()).1.unwrap(),
            errno: reader.u32().unwrap(),
            capability: reader.u32().unwrap() == 1,
        })
        .collect()
}

fn records(answer: &Packet) -> Vec<Record> {
    assert_eq!(answer.kind, kind::RECORDS, "{}", words(answer));
    let mut reader = Reader::new(&answer.body);
    let count = reader.u32().unwrap();
    let records = (0..count).map(|_| Record::read(&mut reader).unwrap()).collect();
    reader.ends().unwrap();
    records
}

fn one_record(answer: &Packet) -> Record {
    let mut records = records(answer);
    assert_eq!(records.len(), 1);
    records.remove(0)
}

/// The code of an error, or 0.
fn code(answer: &Packet) -> u32 {
    if answer.kind == kind::ERROR { Reader::new(&answer.body).u32().unwrap() } else { 0 }
}

fn words(answer: &Packet) -> String {
    if answer.kind != kind::ERROR {
        return format!("kind {}", answer.kind);
    }
    let mut reader = Reader::new(&answer.body);
    let (code, errno) = (reader.u32().unwrap(), reader.u32().unwrap());
    format!("error {code}, errno {errno}: {}", reader.str().unwrap())
}

fn number(number: u64) -> Vec<u8> {
    number.to_ne_bytes().to_vec()
}
