//! Clients that mean no good: others are served, and nothing of theirs stays.

use std::os::fd::{AsFd, OwnedFd};

use beget_monitor::packet::Connection;
use beget_service::protocol::{Life, kind};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::{World, end, until};

/// A connection on which anything can be said.
fn connect(world: &World) -> OwnedFd {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("a socket");
    rustix::net::connect(&socket, &SocketAddrUnix::new(world.path()).expect("a path")).expect("it listens");
    socket
}

/// One domain is made and ends: others are served.
fn others_are_served(world: &World) {
    let mut session = world.session();
    let mut domain = session.spawn(world.wish(&["exit", "6"])).expect("spawn");
    assert_eq!(end(&mut domain).life, Life::Exited(6));
}

#[test]
fn garbage_half_packets_and_a_thousand_descriptors() {
    let world = World::new("die");
    for bytes in [&b"x"[..], &[0xff; 64], &[0; 4096], b"BGPK"] {
        let socket = connect(&world);
        rustix::net::send(&socket, bytes, rustix::net::SendFlags::NOSIGNAL).expect("sent");
        others_are_served(&world);
    }
    let file = std::fs::File::open("/dev/null").expect("it is there");
    for count in [1, 253, 254, 1000, 4000] {
        let connection = Connection::new(connect(&world));
        connection.send(kind::LIST, 1, &[], &vec![file.as_fd(); count]).expect("sent");
        others_are_served(&world);
    }
    let mut session = world.session();
    until(|| session.state().expect("state").connections == 1);
    let service = session.state().expect("state").service;
    assert!(std::fs::read_dir(format!("/proc/{service}/fd")).expect("ours").count() < 20);
    world.stop();
}

#[test]
fn a_flood_of_one_who_never_reads() {
    let world = World::new("die");
    let over = std::sync::atomic::AtomicBool::new(false);
    /// Whatever becomes of the test, the flood ends.
    struct Ends<'a>(&'a std::sync::atomic::AtomicBool);
    impl Drop for Ends<'_> {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _ends = Ends(&over);
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(std::sync::atomic::Ordering::Relaxed) {
                    let connection = Connection::new(connect(&world));
                    rustix::io::ioctl_fionbio(&connection, true).expect("ours");
                    let mut request = 0;
                    loop {
                        request += 1;
                        let mut packet =
                            beget_monitor::packet::Outgoing::new(kind::STATE, request, &[], Vec::new())
                                .expect("short");
                        match packet.send(&connection) {
                            Ok(true) if request < 5000 => {}
                            _ => break,
                        }
                    }
                }
            });
        }
        for _ in 0..50 {
            others_are_served(&world);
        }
    });
    world.stop();
}

#[test]
fn more_sessions_than_one_user_may_have() {
    let world = World::new("die");
    let mut session = world.session();
    let mut first = Vec::new();
    let refused = loop {
        match beget_service::Service::connect(world.path()) {
            Ok(session) => first.push(session),
            Err(error) => break error,
        }
        assert!(first.len() < 2000, "there is no end to it");
    };
    assert_eq!(refused.fault(), beget_service::Fault::Limit, "{refused}");
    assert_eq!(session.list().expect("who is there is served").len(), 0);
    drop(first);
    until(|| beget_service::Service::connect(world.path()).is_ok());
    world.stop();
}
