//! A monitor without processes, which does what the test says.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::path::Path;

use beget_monitor::fields::{Reader, Writer};
use beget_monitor::packet::{Came, Connection, Packet, Scratch};
use beget_monitor::protocol::{kind, place};
use beget_plan::message::{Batch, Born, change};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

/// A birth that is not over.
#[derive(Debug)]
pub(crate) struct Birth {
    request: u64,
    labels: Vec<u64>,
    nursery: u64,
}

#[derive(Debug)]
pub(crate) struct Monitor {
    listener: OwnedFd,
    connection: Option<Connection>,
    scratch: Scratch,
    pub(crate) epoch: u64,
    pub(crate) policy: u32,
    /// Label: process number, nursery.
    pub(crate) living: BTreeMap<u64, (u32, u64)>,
    /// Ends that are not taken.
    pub(crate) ended: BTreeMap<u64, (u32, u32)>,
    pub(crate) kept: BTreeMap<u64, (Vec<u8>, OwnedFd)>,
    pub(crate) nurseries: BTreeSet<u64>,
    pub(crate) births: Vec<Birth>,
    /// Births wait for the test.
    pub(crate) slow: bool,
    /// Whoever is asked to end does.
    pub(crate) obedient: bool,
    /// Births fail so: operation and errno.
    pub(crate) failing: Option<(u32, u32)>,
    /// Clients are refused.
    pub(crate) refusing: bool,
    pub(crate) signals: Vec<(u64, u32)>,
    /// Every label that was ever born.
    pub(crate) born: Vec<u64>,
    /// Every label whose end was taken.
    pub(crate) taken: Vec<u64>,
    pub(crate) stopped: bool,
    next: u32,
}

pub(crate) fn listen(path: &Path) -> OwnedFd {
    let _ = std::fs::remove_file(path);
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .unwrap();
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).unwrap()).unwrap();
    rustix::net::listen(&socket, 1000).unwrap();
    socket
}

fn quick(listener: OwnedFd) -> OwnedFd {
    rustix::io::ioctl_fionbio(&listener, true).unwrap();
    listener
}

impl Monitor {
    pub(crate) fn new(path: &Path, epoch: u64, policy: u32) -> Monitor {
        Monitor {
            listener: quick(listen(path)),
            connection: None,
            scratch: Scratch::default(),
            epoch,
            policy,
            living: BTreeMap::new(),
            ended: BTreeMap::new(),
            kept: BTreeMap::new(),
            nurseries: BTreeSet::new(),
            births: Vec::new(),
            slow: false,
            obedient: true,
            failing: None,
            refusing: false,
            signals: Vec::new(),
            born: Vec::new(),
            taken: Vec::new(),
            stopped: false,
            // No process of this machine has such a number.
            next: 5_000_000,
        }
    }

    fn say(&self, kind: u16, request: u64, body: &Writer) {
        if let Some(connection) = &self.connection {
            let _ = connection.send(kind, request, body.body(), &[]);
        }
    }

    /// Does what it was asked.
    pub(crate) fn step(&mut self) {
        while let Some(connection) = &mut self.connection {
            match connection.receive(&mut self.scratch, false) {
                Ok(Came::Packet(packet)) => self.asked(packet).expect("the service speaks the protocol"),
                Ok(Came::Closed) => self.connection = None,
                Ok(other) => panic!("the service says {other:?}"),
                Err(_) => break,
            }
        }
        if let Ok(socket) = rustix::net::accept_with(&self.listener, SocketFlags::CLOEXEC) {
            assert!(self.connection.is_none(), "one service at a time");
            self.connection = Some(Connection::new(socket));
        }
    }

    fn asked(&mut self, packet: Packet) -> Option<()> {
        let mut reader = Reader::new(&packet.body);
        let reader = &mut reader;
        let mut body = Writer::new();
        match packet.kind {
            kind::HELLO => {
                body.u32(1).u32(self.policy).u32(1).u64(self.epoch);
                self.say(kind::WELCOME, packet.request, &body);
            }
            kind::CLIENT if self.refusing => {
                body.u32(1).str("another user");
                self.say(kind::REFUSED, packet.request, &body);
            }
            kind::CLIENT => {
                body.u32(rustix::process::getuid().as_raw()).u32(0).u32(0);
                self.say(kind::CLIENT_IS, packet.request, &body);
            }
            kind::BIRTHS => self.births(packet.request, reader, packet.descriptors.len())?,
            kind::SIGNAL => {
                let (label, signal) = (reader.u64()?, reader.u32()?);
                self.signals.push((label, signal));
                body.u32(if self.living.contains_key(&label) { 0 } else { 3 });
                self.say(kind::DONE, packet.request, &body);
                if self.living.contains_key(&label) && (signal == 9 || (signal == 15 && self.obedient)) {
                    self.end(label, change::KILLED, signal);
                }
            }
            kind::END_NURSERY => {
                let nursery = reader.u64()?;
                let inside: Vec<u64> = self
                    .living
                    .iter()
                    .filter(|(_, (_, of))| *of == nursery)
                    .map(|(label, _)| *label)
                    .collect();
                inside.into_iter().for_each(|label| self.end(label, change::KILLED, 9));
                self.nurseries.remove(&nursery);
                body.u64(nursery);
                self.say(kind::NURSERY_ENDED, 0, &body);
            }
            kind::TAKEN => {
                let label = reader.u64()?;
                if self.ended.remove(&label).is_some() {
                    self.taken.push(label);
                }
            }
            kind::KEEP => {
                let (key, note) = (reader.u64()?, reader.bytes()?.to_vec());
                self.kept.insert(key, (note, packet.descriptors.into_iter().next()?));
            }
            kind::FORGET => drop(self.kept.remove(&reader.u64()?)),
            kind::ROLL => self.roll(packet.request),
            kind::STOP => {
                self.stopped = true;
                assert!(self.living.is_empty() || !self.obedient);
                body.u32(0);
                self.say(kind::DONE, packet.request, &body);
            }
            _ => {}
        }
        Some(())
    }

    fn births(&mut self, request: u64, reader: &mut Reader<'_>, given: usize) -> Option<()> {
        let (_client, place, nursery, _flags) = (reader.u64()?, reader.u32()?, reader.u64()?, reader.u32()?);
        let count = reader.u32()?;
        let items = reader.rest();
        let batch = Batch::check(items, count, given)?;
        let labels = (0..count as usize).map(|index| batch.birth(index).unwrap().label);
        let labels: Vec<u64> = labels.filter(|label| *label != 0).collect();
        match place {
            place::SHARED => assert_eq!(nursery, 0),
            place::EXISTING => assert!(self.nurseries.contains(&nursery)),
            place::WITHIN => {
                assert!(self.nurseries.contains(&(nursery - 1)) && self.nurseries.insert(nursery))
            }
            _ => assert!(self.nurseries.insert(nursery), "a new nursery"),
        }
        self.births.push(Birth { request, labels, nursery });
        if !self.slow {
            self.finish(false);
        }
        Some(())
    }

    /// Births are over; `late`: the service that asked is gone.
    pub(crate) fn finish(&mut self, late: bool) {
        for birth in std::mem::take(&mut self.births) {
            let mut body = Writer::new();
            body.u32(birth.labels.len() as u32).u32(0).u32(0);
            for label in birth.labels {
                let mut born = Born { op: u32::MAX, ..Born::default() };
                if let Some((op, errno)) = self.failing {
                    (born.op, born.errno) = (op, errno);
                } else {
                    self.next += 1;
                    born.number = self.next;
                    assert!(!self.born.contains(&label), "{label} is born twice");
                    self.living.insert(label, (self.next, birth.nursery));
                    self.born.push(label);
                }
                body.raw(&born.encode());
                if late {
                    let mut body = Writer::new();
                    body.u64(label).raw(&born.encode());
                    self.say(kind::BORN_LATE, 0, &body);
                }
            }
            if !late {
                self.say(kind::BORN, birth.request, &body);
            }
        }
    }

    /// A domain's process ends.
    pub(crate) fn end(&mut self, label: u64, how: u32, status: u32) {
        self.living.remove(&label).expect("it lives");
        self.ended.insert(label, (how, status));
        self.tell_end(label);
    }

    fn tell_end(&self, label: u64) {
        let (how, status) = self.ended[&label];
        let mut body = Writer::new();
        body.u64(label).u32(5).u32(how).u32(status).raw(&[0; 144]);
        self.say(kind::ENDED, 0, &body);
    }

    fn roll(&self, request: u64) {
        let unfinished = self.births.iter().flat_map(|birth| birth.labels.iter().map(|label| (*label, 0, 1)));
        let living = self.living.iter().map(|(label, (number, _))| (*label, *number, 0));
        for (label, number, unfinished) in living.chain(unfinished) {
            let mut body = Writer::new();
            body.u32(1).u32(1).u64(label).u32(number).u32(unfinished).u64(0);
            self.say(kind::LIVING, 0, &body);
        }
        for (key, (note, file)) in &self.kept {
            let mut body = Writer::new();
            body.u64(*key).bytes(note);
            if let Some(connection) = &self.connection {
                let _ = connection.send(kind::KEPT, 0, body.body(), &[std::os::fd::AsFd::as_fd(file)]);
            }
        }
        self.ended.keys().for_each(|label| self.tell_end(*label));
        self.say(kind::ROLL_END, request, &Writer::new());
    }
}
