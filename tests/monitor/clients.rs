//! Who is served: with his own credentials, and never when the monitor could do more for him than he can himself.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Stdio};

use beget_monitor::protocol::{kind, place};
use beget_tests::tracer::driver;
use beget_tests::{Need, is_root, skip};

use crate::{Births, Monitor, exited, pipe, refusal};

/// A client of its own: becomes what the words say, makes a connection, and hands its other end over.
pub(crate) fn drive<'a>(words: impl Iterator<Item = &'a str>) {
    for word in words.filter(|word| !word.is_empty()) {
        let (what, value) = word.split_once('=').unwrap_or((word, ""));
        let number: u32 = value.parse().unwrap_or(0);
        // SAFETY: calls that change this process, which has one thread.
        let done = unsafe {
            match what {
                "groups" => libc::setgroups(1, &number),
                "gid" => libc::setresgid(number, number, number),
                "uid" => libc::setresuid(number, number, number),
                "confined" => libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0),
                "namespace" => libc::unshare(libc::CLONE_NEWUSER),
                "mounts" => libc::unshare(libc::CLONE_NEWNS),
                "bare" => beget_sys::process::drop_capabilities().map_or(-1, |()| 0),
                _ => panic!("{word}"),
            }
        };
        assert_eq!(done, 0, "{word}");
    }
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let number = [ours.as_raw_fd()];
    beget_sys::message::send(0, b"x", &number, true).expect("somebody listens");
    // Until that end is closed.
    let mut byte = [0];
    let _ = std::io::Read::read(&mut &theirs, &mut byte);
    let _ = rustix::io::read(rustix::stdio::stdin(), &mut byte);
}

/// Such a client, and its connection.
struct Client {
    process: Child,
    _line: UnixStream,
    connection: OwnedFd,
}

impl Client {
    fn new(words: &str) -> Client {
        let (line, theirs) = UnixStream::pair().expect("a pair");
        let process = driver(&format!("client {words}"))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .expect("a client");
        let mut owned: Vec<OwnedFd> = Vec::new();
        let mut byte = [0];
        while owned.is_empty() {
            match beget_sys::message::receive_owned(line.as_fd(), &mut byte, &mut owned) {
                Ok(came) => assert!(came.bytes > 0, "the client failed"),
                Err(_) => std::thread::yield_now(),
            }
        }
        Client { process, _line: line, connection: owned.remove(0) }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn whoever_is_more_confined_is_refused() {
    let monitor = Monitor::new("die", 1, "own");
    let mut service = monitor.service();
    let mut confined = vec!["confined"];
    // SAFETY: asks and changes nothing: the child leaves at once.
    let namespaces = std::process::Command::new("unshare").args(["-U", "true"]).status();
    if namespaces.is_ok_and(|status| status.success()) {
        confined.push("namespace");
    } else {
        skip("clients::whoever_is_more_confined_is_refused: namespace", Need::Machine("user namespaces"));
    }
    if is_root() {
        confined.extend(["bare", "mounts"]);
    }
    for word in confined {
        let client = Client::new(word);
        let (errno, words) = refusal(&service.show(1, client.connection.as_fd()));
        assert_eq!(errno, libc::EPERM, "{word}: {words}");
        let refused = service.refused(&Births { labels: &[1], ..Births::default() });
        assert_eq!(refused.0, libc::ENOENT, "{word} is no client");
    }
    let client = Client::new("");
    let answer = service.show(1, client.connection.as_fd());
    assert_eq!(answer.kind, kind::CLIENT_IS);
    assert_eq!(answer.body[8..12], client.process.id().to_ne_bytes());
    // One that is gone cannot be told from whoever has its number.
    let mut client = client;
    client.process.kill().expect("ours");
    client.process.wait().expect("ours");
    let (errno, words) = refusal(&service.show(2, client.connection.as_fd()));
    assert!(errno == libc::ESRCH || errno == libc::EPERM, "{words}");
}

#[test]
fn another_user_is_refused_or_served_as_himself() {
    let test = "clients::another_user_is_refused_or_served_as_himself";
    if !is_root() {
        return skip(test, Need::Root);
    }
    let client = Client::new("groups=11 gid=8765 uid=4321");
    let monitor = Monitor::new("die", 1, "own");
    let (errno, words) = refusal(&monitor.service().show(1, client.connection.as_fd()));
    assert_eq!(errno, libc::EPERM, "{words}");
    for policy in ["die", "live"] {
        let monitor = Monitor::new(policy, 1, "others");
        let mut service = monitor.service();
        let answer = service.show(1, client.connection.as_fd());
        assert_eq!(answer.kind, kind::CLIENT_IS, "{}", beget_tests::text(&answer.body));
        assert_eq!(answer.body[..8], [4321u32.to_ne_bytes(), 8765u32.to_ne_bytes()].concat());
        service.client(2);
        let (reader, writer) = pipe();
        let given = [writer.as_fd(), writer.as_fd()];
        let script =
            c"exec 2>&1; echo $(id -u) $(id -g) $(id -G); grep -E 'Cap(Eff|Prm|Inh)' /proc/self/status";
        let born = service.born(&Births { labels: &[1], script, given: &given, ..Births::default() });
        assert_eq!(service.ended(), exited(1, &born[0], 0));
        let place = place::FRESH;
        let asked = Births { place, nursery: 5, labels: &[2], script, given: &given, ..Births::default() };
        let born = service.born(&asked);
        assert_eq!(service.ended(), exited(2, &born[0], 0));
        drop(writer);
        let mut told = String::new();
        std::io::Read::read_to_string(&mut &reader, &mut told).expect("a pipe");
        let lines: Vec<&str> = told.lines().collect();
        assert_eq!(lines.len(), 8, "{told}");
        for lines in lines.chunks(4) {
            assert_eq!(lines[0], "4321 8765 8765 11");
            assert!(lines[1..].iter().all(|line| line.ends_with("\t0000000000000000")), "{told}");
        }
        // Nobody bears in another's nursery.
        let asked =
            Births { client: 2, place: place::EXISTING, nursery: 5, labels: &[3], ..Births::default() };
        let (errno, words) = service.refused(&asked);
        assert_eq!(errno, libc::EPERM, "{words}");
        assert_eq!(service.ask(kind::STOP, &[], &[]).kind, kind::DONE);
        assert_eq!(monitor.sockets(), 0);
    }
}
