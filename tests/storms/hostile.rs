//! Clients that lie, flood, never read and never finish, beside an honest one: it is served meanwhile, and nothing of theirs is left.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use beget::{Command, Grant};
use beget_monitor::fields::Writer;
use beget_monitor::packet::{Came, Connection, GIVE, Packet, Scratch};
use beget_service::Service;
use beget_service::protocol::{VERSIONS, kind, right, subject};
use beget_tests::in_own_process;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::{Random, Running, adopt_orphans, descriptors_of, setting, until, wish};

fn connect(running: &Running) -> Option<Connection> {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .ok()?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(running.socket()).ok()?).ok()?;
    Some(Connection::new(socket))
}

fn hello(connection: &mut Connection) {
    let mut body = Writer::new();
    body.u32(VERSIONS[0]).u32(VERSIONS[1]);
    let _ = connection.send(kind::HELLO, 1, body.body(), &[]);
    let _ = connection.receive(&mut Scratch::default(), true);
}

/// A request to spawn as an honest client sends it.
fn honest_spawn(name: &str) -> Packet {
    let (ours, theirs) = Connection::pair().expect("sockets");
    let name = name.to_owned();
    let client = std::thread::spawn(move || {
        let mut service = Service::from_fd(theirs).expect("we say that it is one");
        let mut command = Command::new("/bin/true");
        command.grant(Grant::Base);
        let _ = service.spawn(wish(&mut command, &name));
    });
    let (mut ours, mut scratch) = (ours, Scratch::default());
    let packet = loop {
        match ours.receive(&mut scratch, true) {
            Ok(Came::Packet(packet)) if packet.kind == kind::HELLO => {
                let mut body = Writer::new();
                body.u32(VERSIONS[1]).u32(right::SPAWN).u32(subject::SESSION).u64(0).u64(1);
                ours.send(kind::WELCOME, packet.request, body.body(), &[]).expect("it listens");
            }
            Ok(Came::Packet(packet)) if packet.kind == kind::SPAWN => break packet,
            other => panic!("{other:?}"),
        }
    };
    drop(ours);
    client.join().expect("it ends when we are gone");
    packet
}

fn send(connection: &Connection, packet: &Packet, body: &[u8]) -> bool {
    let descriptors: Vec<BorrowedFd<'_>> = packet.descriptors.iter().map(AsFd::as_fd).collect();
    // Who never reads what it is answered finds no room.
    has_room(connection) && connection.send(packet.kind, packet.request, body, &descriptors).is_ok()
}

fn has_room(connection: &Connection) -> bool {
    let mut watched = [rustix::event::PollFd::new(connection, rustix::event::PollFlags::OUT)];
    matches!(rustix::event::poll(&mut watched, Some(&rustix::event::Timespec::default())), Ok(1..))
}

/// One thing that nobody should do.
fn attack(running: &Running, random: &mut Random, spawn: &Packet, held: &mut Vec<Connection>) {
    let Some(mut connection) = connect(running) else { return };
    let null = std::fs::File::open("/dev/null").expect("it is there");
    match random.below(10) {
        // No packet at all.
        0 => {
            let bytes: Vec<u8> = (0..random.below(2000) + 1).map(|_| random.below(256) as u8).collect();
            let _ = rustix::net::send(&connection, &bytes, rustix::net::SendFlags::NOSIGNAL);
        }
        // A kind that is none, or an answer, or a body that is none.
        1 => {
            hello(&mut connection);
            let body: Vec<u8> = (0..random.below(200)).map(|_| random.below(256) as u8).collect();
            let _ = connection.send(random.below(130) as u16, random.below(10), &body, &[]);
        }
        // A thousand descriptors, for a packet that never comes.
        2 => {
            // Served, or what it sends would be on its way for ever, which the kernel counts for all of this user's processes.
            hello(&mut connection);
            for _ in 0..4 {
                if has_room(&connection) {
                    let _ = connection.send(GIVE, 5, &[], &vec![null.as_fd(); 250]);
                }
            }
            held.push(connection);
        }
        // Questions without reading the answers.
        3 => {
            hello(&mut connection);
            for number in 2..2000 {
                if !has_room(&connection) || connection.send(kind::LIST, number, &[], &[]).is_err() {
                    break;
                }
            }
            held.push(connection);
        }
        // A plan, or whatever is before it, in which something lies.
        4..7 => {
            hello(&mut connection);
            let mut body = spawn.body.clone();
            for _ in 0..random.below(4) + 1 {
                let at = random.below(body.len() as u64) as usize;
                body[at] = random.below(256) as u8;
            }
            // Another token, or it would be answered as the first one was.
            body[..8].copy_from_slice(&random.below(u64::MAX).to_ne_bytes());
            send(&connection, spawn, &body);
            let _ = connection.receive(&mut Scratch::default(), false);
        }
        // The same again and again: it is done once.
        7 => {
            hello(&mut connection);
            for _ in 0..20 {
                send(&connection, spawn, &spawn.body);
            }
        }
        // Cut short.
        8 => {
            hello(&mut connection);
            let length = random.below(spawn.body.len() as u64) as usize;
            send(&connection, spawn, &spawn.body[..length]);
        }
        // Nothing, for as long as it is let.
        _ => held.push(connection),
    }
    if held.len() > 200 {
        held.clear();
    }
}

#[test]
fn hostile_clients_keep_nobody_from_being_served() {
    in_own_process("hostile::hostile_clients_keep_nobody_from_being_served", || {
        adopt_orphans();
        let running = Running::start(&[]);
        let before = {
            let state = running.session().state().expect("it answers");
            (descriptors_of(state.monitor), descriptors_of(state.service), state)
        };
        let stop = AtomicBool::new(false);
        let seconds = setting("BEGET_STORM", 5);
        std::thread::scope(|scope| {
            for number in 0..2 {
                let (running, stop) = (&running, &stop);
                scope.spawn(move || {
                    let mut random = Random::new(number);
                    let spawn = honest_spawn(&format!("replayed{number}"));
                    let mut held = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        attack(running, &mut random, &spawn, &mut held);
                    }
                });
            }
            let mut honest = running.session();
            let end = std::time::Instant::now() + Duration::from_secs(seconds);
            let mut count = 0;
            while std::time::Instant::now() < end {
                let mut command = Command::new("/bin/true");
                command.grant(Grant::Base);
                let domain = honest.spawn(wish(&mut command, &format!("honest-{count}")));
                let ended = domain.and_then(|mut domain| domain.wait()).unwrap_or_else(|error| {
                    stop.store(true, Ordering::Relaxed);
                    panic!("{error}")
                });
                assert!(ended.has_ended());
                count += 1;
            }
            stop.store(true, Ordering::Relaxed);
            assert!(count > 0);
        });
        let mut session = running.session();
        until("what they held is let go of", || {
            session.state().is_ok_and(|state| state.connections == 1 && state.living == 0)
        });
        let state = session.state().expect("it answers");
        assert_eq!((state.service, state.monitor), (before.2.service, before.2.monitor), "one of them fell");
        until("no descriptor is left", || {
            descriptors_of(state.monitor) <= before.0 + 2 && descriptors_of(state.service) <= before.1 + 2
        });
        drop(session);
        running.stop();
    });
}

#[test]
fn half_packets_without_an_end_take_nothing_of_others() {
    in_own_process("hostile::half_packets_without_an_end_take_nothing_of_others", || {
        adopt_orphans();
        let running = Running::start(&[]);
        let service = running.session().state().expect("it answers").service;
        let null = std::fs::File::open("/dev/null").expect("it is there");
        let many = vec![null.as_fd(); 253];
        let mut held = Vec::new();
        // A hundred thousand descriptors in all, for packets that never come.
        for _ in 0..100 {
            let mut connection = connect(&running).expect("it listens");
            hello(&mut connection);
            for _ in 0..4 {
                // Who is given up is told so, and finds the connection closed.
                until("there is room", || has_room(&connection));
                if connection.send(GIVE, 5, &[], &many).is_err() {
                    break;
                }
            }
            held.push(connection);
        }
        let mut session = running.session();
        for number in 0..20 {
            let mut command = Command::new("/bin/true");
            command.grant(Grant::Base);
            let mut domain =
                session.spawn(wish(&mut command, &format!("honest-{number}"))).expect("a capability");
            assert!(domain.wait().expect("it ends").has_ended());
        }
        let most = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!((descriptors_of(service) as u64) < most / 4, "{} of {most}", descriptors_of(service));
        // Those that were let be are not waited for without an end.
        until("nothing is held for packets that do not come", || descriptors_of(service) < 400);
        until("who sent them is parted from", || session.state().is_ok_and(|state| state.connections == 1));
        drop(held);
        drop(session);
        running.stop();
    });
}
