//! The monitor: births on behalf of clients, ends that nobody loses, and whoever lies to it.

mod births;
mod clients;
mod crowds;
mod hostile;
mod killed;

use std::collections::VecDeque;
use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Duration;

use beget_monitor::fields::{Reader, Writer};
use beget_monitor::packet::{Came, Connection, Packet, Scratch};
use beget_monitor::protocol::{VERSIONS, kind, policy};
use beget_monitor::{Options, Policy};
use beget_plan::message::{Born, Item, change, label_words};
use beget_plan::{Draft, Op};
use beget_tests::tracer::driver;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

beget_tests::driver!(drive);

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);

/// What this test program does instead of its tests when one of them starts it.
fn drive(words: &str) {
    let mut words = words.split(' ');
    match words.next() {
        Some("monitor") => {
            let listener = beget_sys::descriptor::take_up(0).expect("it was given");
            let policy = if words.next() == Some("live") { Policy::Live } else { Policy::Die };
            let nurseries = words.next().and_then(|word| word.parse().ok()).expect("a number");
            let other_users = words.next() == Some("others");
            let folder = words.next().map(PathBuf::from);
            let options = Options {
                listener: Some(listener),
                folder,
                policy,
                nurseries,
                other_users,
                ..Options::default()
            };
            beget_monitor::serve(options).expect("it serves");
        }
        // What whoever starts it is connected by, and what it lives as long as.
        Some("part") => {
            let take_up = |number| Some(beget_sys::descriptor::take_up(number).expect("it was given"));
            let options = Options { connection: take_up(0), alive: take_up(1), ..Options::default() };
            beget_monitor::serve(options).expect("it serves");
        }
        Some("client") => clients::drive(words),
        _ => panic!("no such driver"),
    }
}

/// A monitor's process, and where it listens.
struct Monitor {
    process: Child,
    folder: beget_tests::Scratch,
    how: String,
}

impl Monitor {
    fn new(policy: &str, nurseries: usize, others: &str) -> Monitor {
        let folder = beget_tests::Scratch::new();
        std::fs::create_dir(folder.at("nurseries")).expect("a folder");
        let how = format!("monitor {policy} {nurseries} {others} {}", folder.at("nurseries"));
        Monitor { process: start(&how, &folder), folder, how }
    }

    fn service(&self) -> Service {
        let mut service = self.silent_service();
        let welcome = service.hello();
        let mut reader = Reader::new(&welcome.body);
        assert_eq!(reader.u32(), Some(VERSIONS[1]));
        let live = self.how.starts_with("monitor live");
        assert_eq!(reader.u32(), Some(if live { policy::LIVE } else { policy::DIE }));
        assert_eq!(reader.u32(), Some(self.process.id()));
        assert!(reader.u64().is_some() && reader.ends().is_some());
        service
    }

    /// One that has not said hello.
    fn silent_service(&self) -> Service {
        let socket =
            rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
                .expect("a socket");
        let address = SocketAddrUnix::new(self.folder.at("socket")).expect("a short path");
        rustix::net::connect(&socket, &address).expect("it listens");
        Service::new(Connection::new(socket))
    }

    fn kill(&mut self) {
        self.process.kill().expect("it is ours");
        self.process.wait().expect("it is ours");
    }

    fn start_again(&mut self) {
        self.process = start(&self.how, &self.folder);
    }

    /// The sockets of lasting nurseries.
    fn sockets(&self) -> usize {
        std::fs::read_dir(self.folder.at("nurseries")).expect("ours").count()
    }
}

fn start(how: &str, folder: &beget_tests::Scratch) -> Child {
    let path = folder.at("socket");
    let _ = std::fs::remove_file(&path);
    let listener =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("a socket");
    rustix::net::bind(&listener, &SocketAddrUnix::new(path).expect("a short path")).expect("a free name");
    rustix::net::listen(&listener, 16).expect("it is bound");
    driver(how).stdin(Stdio::from(listener)).spawn().expect("a monitor")
}

impl Drop for Monitor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A process service, as far as the monitor sees one.
struct Service {
    connection: Connection,
    scratch: Scratch,
    next: u64,
    unasked: VecDeque<Packet>,
}

/// What is told of an end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ended {
    label: u64,
    process: u32,
    how: u32,
    status: u32,
}

/// What is told of a living domain: label, process, whether its birth is not over, nursery.
type Living = (u64, u32, bool, u64);

/// All that a monitor knows.
#[derive(Debug, Default)]
struct Roll {
    living: Vec<Living>,
    kept: Vec<(u64, Vec<u8>, OwnedFd)>,
    ended: Vec<Ended>,
}

impl Service {
    fn new(connection: Connection) -> Service {
        Service { connection, scratch: Scratch::default(), next: 1, unasked: VecDeque::new() }
    }

    fn hello(&mut self) -> Packet {
        let mut body = Writer::new();
        body.u32(VERSIONS[0]).u32(VERSIONS[1]);
        let welcome = self.ask(kind::HELLO, body.body(), &[]);
        assert_eq!(welcome.kind, kind::WELCOME, "{welcome:?}");
        welcome
    }

    /// The next packet.
    fn hear(&mut self) -> Option<Packet> {
        let mut watched = libc::pollfd {
            fd: std::os::fd::AsRawFd::as_raw_fd(&self.connection.as_fd()),
            events: libc::POLLIN,
            revents: 0,
        };
        // SAFETY: one structure is read and written.
        assert_eq!(unsafe { libc::poll(&mut watched, 1, LONG.as_millis() as i32) }, 1, "it says nothing");
        match self.connection.receive(&mut self.scratch, true).expect("it waits") {
            Came::Packet(packet) => Some(packet),
            Came::Closed => None,
            other => panic!("{other:?}"),
        }
    }

    fn say(&mut self, kind: u16, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> u64 {
        self.next += 1;
        self.connection.send(kind, self.next, body, descriptors).expect("it listens");
        self.next
    }

    fn answer(&mut self, request: u64) -> Packet {
        loop {
            let packet = self.hear().expect("it is there");
            if packet.request == request {
                return packet;
            }
            assert_eq!(packet.request, 0, "{packet:?}");
            self.unasked.push_back(packet);
        }
    }

    fn ask(&mut self, kind: u16, body: &[u8], descriptors: &[BorrowedFd<'_>]) -> Packet {
        let request = self.say(kind, body, descriptors);
        self.answer(request)
    }

    /// The next packet of this kind that nobody asked for.
    fn told(&mut self, kind: u16) -> Packet {
        if let Some(at) = self.unasked.iter().position(|packet| packet.kind == kind) {
            return self.unasked.remove(at).expect("it is there");
        }
        loop {
            let packet = self.hear().expect("it is there");
            if packet.request == 0 && packet.kind == kind {
                return packet;
            }
            self.unasked.push_back(packet);
        }
    }

    fn ended(&mut self) -> Ended {
        ended(&self.told(kind::ENDED))
    }

    fn number(&mut self, kind: u16, number: u64) {
        let mut body = Writer::new();
        body.u64(number);
        self.say(kind, body.body(), &[]);
    }

    fn take(&mut self, label: u64) {
        self.number(kind::TAKEN, label);
    }

    fn signal(&mut self, label: u64, signal: i32) -> i32 {
        let mut body = Writer::new();
        body.u64(label).u32(signal as u32);
        let answer = self.ask(kind::SIGNAL, body.body(), &[]);
        assert_eq!(answer.kind, kind::DONE);
        Reader::new(&answer.body).u32().expect("an errno") as i32
    }

    /// Shows this process as a client, and gives what is said of it.
    fn client(&mut self, client: u64) -> Packet {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let answer = self.show(client, ours.as_fd());
        drop(theirs);
        answer
    }

    fn show(&mut self, client: u64, connection: BorrowedFd<'_>) -> Packet {
        let mut body = Writer::new();
        body.u64(client);
        self.ask(kind::CLIENT, body.body(), &[connection])
    }

    fn births(&mut self, asked: &Births<'_>) -> u64 {
        let (body, descriptors) = asked.encode();
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        self.say(kind::BIRTHS, &body, &descriptors)
    }

    /// Births that come to something.
    fn born(&mut self, asked: &Births<'_>) -> Vec<Born> {
        let request = self.births(asked);
        let answer = self.answer(request);
        assert_eq!(answer.kind, kind::BORN, "{}", beget_tests::text(&answer.body));
        let (fault, births) = births(&answer);
        assert_eq!(fault, (0, 0));
        births
    }

    /// What is said against it.
    fn refused(&mut self, asked: &Births<'_>) -> (i32, String) {
        let request = self.births(asked);
        refusal(&self.answer(request))
    }

    fn roll(&mut self) -> Roll {
        self.roll_of(&[])
    }

    /// Knowing that these live: label, user, nursery.
    fn roll_of(&mut self, known: &[(u64, u32, u64)]) -> Roll {
        let mut body = Writer::new();
        for (label, user, nursery) in known {
            body.u64(*label).u32(*user).u64(*nursery);
        }
        let request = self.say(kind::ROLL, body.body(), &[]);
        self.unasked.clear();
        let mut roll = Roll::default();
        let mut more = true;
        loop {
            let packet = self.hear().expect("it is there");
            if packet.request == request {
                assert_eq!((packet.kind, packet.body.len(), more), (kind::ROLL_END, 0, false));
                return roll;
            }
            let mut reader = Reader::new(&packet.body);
            match packet.kind {
                // One that is told as it becomes known is told again with all.
                kind::ENDED => {
                    let end = ended(&packet);
                    if !roll.ended.contains(&end) {
                        roll.ended.push(end);
                    }
                }
                kind::LIVING => {
                    more = reader.u32() == Some(1);
                    for _ in 0..reader.u32().expect("a count") {
                        let mut next =
                            || Some((reader.u64()?, reader.u32()?, reader.u32()? == 1, reader.u64()?));
                        roll.living.push(next().expect("whole"));
                    }
                }
                kind::KEPT => {
                    let key = reader.u64().expect("a key");
                    let note = reader.bytes().expect("a note").to_owned();
                    let mut descriptors = packet.descriptors;
                    roll.kept.push((key, note, descriptors.pop().expect("what was kept")));
                    continue;
                }
                _ => self.unasked.push_back(packet),
            }
        }
    }

    /// Nothing lives, and nothing is remembered.
    fn is_empty(&mut self) {
        let roll = self.roll();
        assert_eq!((&roll.living[..], &roll.ended[..]), (&[][..], &[][..]));
    }
}

fn ended(packet: &Packet) -> Ended {
    let mut reader = Reader::new(&packet.body);
    let mut next = || {
        Some(Ended {
            label: reader.u64()?,
            process: reader.u32()?,
            how: reader.u32()?,
            status: reader.u32()?,
        })
    };
    let ended = next().expect("whole");
    assert_eq!(reader.rest().len(), 144);
    ended
}

fn births(packet: &Packet) -> ((u32, u32), Vec<Born>) {
    let mut reader = Reader::new(&packet.body);
    let count = reader.u32().expect("a count");
    let fault = (reader.u32().expect("an operation"), reader.u32().expect("an errno"));
    let all =
        (0..count).map(|_| Born::decode(reader.raw(Born::SIZE).expect("whole"), 0).expect("whole")).collect();
    assert!(reader.ends().is_some());
    (fault, all)
}

fn refusal(packet: &Packet) -> (i32, String) {
    assert_eq!(packet.kind, kind::REFUSED, "{packet:?}");
    let mut reader = Reader::new(&packet.body);
    (reader.u32().expect("an errno") as i32, reader.str().expect("words").to_owned())
}

/// Births that are asked for.
struct Births<'a> {
    client: u64,
    place: u32,
    nursery: u64,
    atomic: bool,
    labels: &'a [u64],
    script: &'a CStr,
    given: &'a [BorrowedFd<'a>],
    /// The plan of a nursery that comes first, and the descriptors after the first three.
    first: Option<Vec<u8>>,
}

impl Default for Births<'_> {
    fn default() -> Self {
        Births {
            client: 1,
            place: beget_monitor::protocol::place::SHARED,
            nursery: 0,
            atomic: false,
            labels: &[],
            script: c"exit 0",
            given: &[],
            first: None,
        }
    }
}

impl Births<'_> {
    fn encode(&self) -> (Vec<u8>, Vec<OwnedFd>) {
        let mut descriptors = vec![OwnedFd::from(File::open("/bin/sh").expect("a shell"))];
        descriptors.extend(self.given.iter().map(|fd| fd.try_clone_to_owned().expect("a descriptor")));
        let plan = shell(self.script, descriptors.len());
        let count = self.labels.len() + usize::from(self.first.is_some());
        let (mut items, mut rest) = (Vec::new(), Vec::new());
        let begin = count * Item::SIZE;
        let mut add = |label: u64, plan: &[u8], table: &[u32]| {
            let [label_low, label_high] = label_words(label);
            let at = (begin + rest.len()) as u32;
            rest.extend(table.iter().flat_map(|index| index.to_ne_bytes()));
            let item = Item {
                table: at,
                plan: (begin + rest.len()) as u32,
                length: plan.len() as u32,
                descriptors: table.len() as u32,
                label_low,
                label_high,
                ..Item::EMPTY
            };
            rest.extend_from_slice(plan);
            items.extend(item.encode());
        };
        if let Some(first) = &self.first {
            // The first three mean nothing here; what comes after them is the shell's file.
            let plan = beget_plan::Plan::check(first, beget_plan::Engine::Vfork).expect("a plan");
            add(0, first, &vec![0; plan.descriptors()]);
        }
        let table: Vec<u32> = (0..descriptors.len() as u32).collect();
        for label in self.labels {
            add(*label, &plan, &table);
        }
        let mut body = Writer::new();
        body.u64(self.client).u32(self.place).u64(self.nursery).u32(u32::from(self.atomic)).u32(count as u32);
        body.raw(&items).raw(&rest);
        (body.into_body(), descriptors)
    }
}

/// A plan for a shell, which has what is given besides as its descriptors from 0 on.
fn shell(script: &CStr, descriptors: usize) -> Vec<u8> {
    let mut draft = Draft::new();
    draft.push(Op::DefaultSignals {});
    draft.push(Op::NewSession {});
    draft.push(Op::Raise { floor: 20 });
    draft.push(Op::Place { source: 0, slot: 10, closing: 1 });
    draft.push(Op::Close { first: 0, last: 9 });
    for index in 1..descriptors as u32 {
        draft.push(Op::Place { source: index, slot: index as i32 - 1, closing: 0 });
    }
    draft.push(Op::Close { first: 11, last: u32::MAX });
    draft.push(Op::SignalMask { mask: 0 });
    let (arguments, environment) = (draft.strings([c"sh", c"-c", script]), draft.strings([]));
    draft.push(Op::Execute { program: 10, arguments, environment, listening: 0 });
    draft.encode(descriptors)
}

fn exited(label: u64, born: &Born, code: u32) -> Ended {
    Ended { label, process: born.number, how: change::EXITED, status: code }
}

fn pipe() -> (File, File) {
    let (read, write) = std::io::pipe().expect("a pipe");
    (OwnedFd::from(read).into(), OwnedFd::from(write).into())
}

/// Waits until every holder of a pipe's writing end is gone.
fn await_end(reader: &File) {
    let mut watched =
        libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(reader), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure is read and written.
    assert_eq!(unsafe { libc::poll(&mut watched, 1, LONG.as_millis() as i32) }, 1, "somebody lives");
    let mut byte = [0];
    assert_eq!(std::io::Read::read(&mut &*reader, &mut byte).expect("a pipe"), 0);
}
