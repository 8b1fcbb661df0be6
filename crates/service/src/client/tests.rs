//! A client against a service that says what is written here.

use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use beget_monitor::fields::Writer;
use beget_monitor::packet::{Came, Connection, Packet, Scratch};
use beget_plan::message::Batch;

use super::{Domain, Fault, Service, Wish};
use crate::protocol::{Life, Record, Spawn, error, kind, right, subject, wanted};

/// The other end.
struct Other {
    connection: Connection,
    scratch: Scratch,
}

impl Other {
    fn next(&mut self) -> Packet {
        match self.connection.receive(&mut self.scratch, true) {
            Ok(Came::Packet(packet)) => packet,
            other => panic!("no packet: {other:?}"),
        }
    }

    fn answer(&mut self, kind: u16, request: u64, body: &[u8]) {
        self.connection.send(kind, request, body, &[]).unwrap();
    }

    fn welcome(&mut self, subject: u32) {
        let hello = self.next();
        assert_eq!(hello.kind, kind::HELLO);
        let mut body = Writer::new();
        body.u32(1).u32(right::DOMAIN).u32(subject).u64(7).u64(1);
        self.answer(kind::WELCOME, hello.request, body.body());
    }
}

fn other(act: impl FnOnce(Other) + Send + 'static) -> (OwnedFd, JoinHandle<()>) {
    let (connection, theirs) = Connection::pair().unwrap();
    let other = Other { connection, scratch: Scratch::default() };
    (theirs, thread::spawn(move || act(other)))
}

fn one_record(life: Life) -> Vec<u8> {
    let mut body = Writer::new();
    body.u32(1);
    Record { id: 7, name: "web".to_owned(), life, ..Record::default() }.write(&mut body);
    body.into_body()
}

#[test]
fn a_request_is_repeated_with_its_number_when_the_service_was_started_again() {
    let (socket, other) = other(|mut other| {
        other.welcome(subject::DOMAIN);
        let first = other.next();
        // An answer to what was asked before is no answer.
        other.answer(kind::NOT_YET, first.request - 1, &[]);
        other.answer(kind::AGAIN, 0, &[0; 8]);
        let second = other.next();
        assert_eq!((first.kind, first.request, &first.body), (second.kind, second.request, &second.body));
        other.answer(kind::RECORDS, second.request, &one_record(Life::Exited(3)));
        let third = other.next();
        assert_ne!(third.request, second.request);
        other.answer(kind::NOT_YET, third.request, &[]);
    });
    let mut domain = Domain::from_fd(socket).unwrap();
    assert_eq!((domain.id(), domain.rights()), (7, right::DOMAIN));
    assert_eq!(domain.wait().unwrap().life, Life::Exited(3));
    assert!(domain.wait_timeout(Duration::ZERO).unwrap().is_none());
    other.join().unwrap();
    assert_eq!(domain.status().unwrap_err().fault(), Fault::Gone);
}

#[test]
fn what_is_refused_is_told_in_the_services_words() {
    let (socket, other) = other(|mut other| {
        other.welcome(subject::SESSION);
        let request = other.next().request;
        let mut body = Writer::new();
        body.u32(error::NO_SUCH).u32(0).str("no domain has this name");
        other.answer(kind::ERROR, request, body.body());
        let request = other.next().request;
        other.answer(kind::NAME, request, &[]);
        let request = other.next().request;
        other.answer(kind::RECORDS, request, &[9, 0, 0, 0]);
    });
    let mut service = Service::from_fd(socket).unwrap();
    let error = service.open("web").unwrap_err();
    assert_eq!(
        (error.fault(), error.to_string().as_str()),
        (Fault::NoSuch, "domain web: no domain has this name")
    );
    assert_eq!(service.list().unwrap_err().fault(), Fault::Confused);
    assert_eq!(service.list().unwrap_err().fault(), Fault::Confused);
    other.join().unwrap();
}

#[test]
fn a_connection_is_the_right_that_it_says() {
    let (socket, one) = other(|mut other| other.welcome(subject::DOMAIN));
    assert_eq!(Service::from_fd(socket).unwrap_err().fault(), Fault::NoRight);
    one.join().unwrap();
    let (socket, two) = other(|mut other| other.welcome(subject::SPAWNER));
    assert_eq!(Domain::from_fd(socket).unwrap_err().fault(), Fault::NoRight);
    two.join().unwrap();
    let (socket, three) = other(|_| ());
    three.join().unwrap();
    assert_eq!(Domain::from_fd(socket).unwrap_err().fault(), Fault::Gone);
}

#[test]
fn rights_are_named_in_words() {
    assert_eq!(super::rights("look,wait"), Ok(right::LOOK | right::WAIT));
    assert_eq!(super::rights("all"), Ok(right::DOMAIN));
    assert!(super::rights("look,").is_err());
}

/// What is asked for is what the protocol says, and each is told what became of it, in the words of its own parcel.
#[test]
fn a_batch_is_one_request_and_each_has_its_answer() {
    let (socket, other) = other(|mut other| {
        other.welcome(subject::SESSION);
        let asked = other.next();
        assert_eq!(asked.kind, kind::SPAWN);
        let spawn = Spawn::decode(&asked.body).unwrap();
        let own: u32 = spawn.domains.iter().map(|domain| domain.own).sum();
        assert_eq!((spawn.domains.len(), own, spawn.atomic), (3, 3, false));
        assert!(spawn.domains.iter().all(|domain| domain.flags & wanted::CHANNEL != 0));
        assert_eq!((spawn.domains[1].timeout, spawn.domains[1].grace), (1500, 20));
        let given = asked.descriptors.len() - own as usize;
        assert!(Batch::check(&spawn.batch, 3, given).is_some());
        // A request that is repeated has its token.
        other.answer(kind::AGAIN, 0, &[0; 8]);
        let again = other.next();
        assert_eq!((again.request, &again.body), (asked.request, &asked.body));
        let (_ours, theirs) = Connection::pair().unwrap();
        let mut body = Writer::new();
        body.u32(0).u32(0).u32(0).u32(3);
        body.u64(1).str("one").u32(100).u32(0).u32(0).u32(1);
        body.u64(2).str("two").u32(0).u32(u32::MAX).u32(11).u32(0);
        body.u64(3).str("three").u32(101).u32(0).u32(0).u32(0);
        other
            .connection
            .send(kind::SPAWNED, again.request, body.body(), &[std::os::fd::AsFd::as_fd(&theirs)])
            .unwrap();
    });
    let mut service = Service::from_fd(socket).unwrap();
    let mut command = beget::Command::new("/bin/true");
    command.grant(beget::Grant::Base).channel(true);
    let mut wish = |name: &str| {
        let parcel = command.parcel(beget::ParcelOptions::default()).unwrap();
        Wish::new(parcel).name(name).timeout(Duration::from_millis(1500)).grace(Duration::from_millis(20))
    };
    let wishes = vec![wish("one"), wish("two"), wish("three")];
    let made = service.batch(wishes, false).unwrap();
    other.join().unwrap();
    let faults: Vec<Option<Fault>> =
        made.iter().map(|one| one.as_ref().err().map(super::Error::fault)).collect();
    let kernel = Fault::Birth(beget::Fault::Kernel);
    assert_eq!(faults, [None, Some(kernel), Some(Fault::Limit)]);
    assert_eq!(made[0].as_ref().unwrap().id(), 1);
}

/// A request that found no monitor is another one when it is made again: nothing came of the first. What the monitor does not want stays so.
#[test]
fn what_found_no_monitor_is_asked_anew() {
    let (socket, other) = other(|mut other| {
        other.welcome(subject::SESSION);
        let mut tokens = std::collections::HashSet::new();
        for errno in [32, 0, 32, 11] {
            let asked = other.next();
            assert_eq!(asked.kind, kind::SPAWN);
            let spawn = Spawn::decode(&asked.body).unwrap();
            assert!(tokens.insert(spawn.token), "the same request");
            assert!(Batch::check(&spawn.batch, 1, asked.descriptors.len()).is_some());
            let mut body = Writer::new();
            body.u32(error::MONITOR).u32(errno).str("so it is");
            other.answer(kind::ERROR, asked.request, body.body());
        }
    });
    let mut service = Service::from_fd(socket).unwrap();
    let mut command = beget::Command::new("/bin/true");
    command.grant(beget::Grant::Base);
    let parcel = command.parcel(beget::ParcelOptions::default()).unwrap();
    let error = service.spawn(Wish::new(parcel)).unwrap_err();
    other.join().unwrap();
    assert_eq!((error.fault(), error.errno()), (Fault::Monitor, Some(11)));
}
