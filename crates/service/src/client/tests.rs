//! A client against a service that says what is written here.

use std::os::fd::OwnedFd;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use beget_monitor::fields::Writer;
use beget_monitor::packet::{Came, Connection, Packet, Scratch};

use super::{Domain, Fault, Service};
use crate::protocol::{Life, Record, error, kind, right, subject};

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
