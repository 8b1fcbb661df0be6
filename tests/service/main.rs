//! The process service with its monitor, each a process of its own, and real domains: what clients are told is what happened, whoever is
//! killed meanwhile.

mod anew;
mod crowd;
mod groups;
mod hostile;
mod killed;
mod lives;
mod nurseries;
mod scarce;
mod spawners;
mod storm;
mod together;
mod users;

use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use beget::{Command, Grant, ParcelOptions};
use beget_service::protocol::Record;
use beget_service::{Domain, Service, Wish};
use beget_tests::tracer::driver;
use beget_tests::{Scratch, program};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

beget_tests::driver!(drive);

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);

/// What this test program does instead of its tests when one of them starts it: a part of the service.
fn drive(words: &str) {
    let mut words = words.split(' ');
    let part = words.next().unwrap_or_default();
    if part == scarce::FULL {
        return scarce::full_disk();
    }
    if part == "client" {
        return users::client(words.next().expect("a path"));
    }
    let listener = beget_sys::descriptor::take_up(0).expect("it was given");
    let folder = PathBuf::from(words.next().expect("a folder"));
    let word = words.next().unwrap_or_default();
    let other_users = words.next() == Some("others");
    let nurseries = words.next().map_or(1, |count| count.parse().expect("a number"));
    match part {
        "monitor" => {
            let live = word == "live";
            let policy = if live { beget_monitor::Policy::Live } else { beget_monitor::Policy::Die };
            let options = beget_monitor::Options {
                listener: Some(listener),
                folder: live.then(|| folder.join("nurseries")),
                policy,
                other_users,
                nurseries,
                ..beget_monitor::Options::default()
            };
            beget_monitor::serve(options).expect("it serves");
        }
        "service" => {
            let options = beget_service::Options {
                listener,
                monitor: folder.join("monitor"),
                state: folder.join("state"),
                history: word.parse().expect("a number"),
                idle_exit: false,
                other_users,
                alive: None,
                keeper: None,
            };
            beget_service::serve(options).expect("it serves");
        }
        _ => panic!("no such driver"),
    }
}

/// Both parts, and the sockets that outlive them.
struct World {
    folder: Scratch,
    policy: &'static str,
    history: usize,
    others: &'static str,
    nurseries: usize,
    sockets: [OwnedFd; 2],
    monitor: Child,
    service: Child,
}

fn listen(path: String) -> OwnedFd {
    let socket =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .expect("a socket");
    rustix::net::bind(&socket, &SocketAddrUnix::new(path).expect("a short path")).expect("a free name");
    rustix::net::listen(&socket, 1000).expect("it is bound");
    socket
}

impl World {
    fn new(policy: &'static str) -> World {
        World::with(policy, 1000, "")
    }

    fn with(policy: &'static str, history: usize, others: &'static str) -> World {
        World::several(policy, history, others, 1)
    }

    /// One whose clients' domains are born in so many nurseries.
    fn several(policy: &'static str, history: usize, others: &'static str, nurseries: usize) -> World {
        World::within(Scratch::new(), policy, history, others, nurseries)
    }

    /// The same in a folder that something may be in already.
    fn within(
        folder: Scratch,
        policy: &'static str,
        history: usize,
        others: &'static str,
        nurseries: usize,
    ) -> World {
        for name in ["state", "nurseries"] {
            std::fs::create_dir_all(folder.at(name)).expect("a folder");
        }
        let sockets = ["service", "monitor"].map(|name| listen(folder.at(name)));
        if others == "others" {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(folder.at("service"), PermissionsExt::from_mode(0o666)).expect("ours");
            std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).expect("ours");
        }
        let words = format!("monitor {} {policy} {others} {nurseries}", folder.path().display());
        let monitor = part(&words, &sockets[1]);
        let service = part(&format!("service {} {history} {others}", folder.path().display()), &sockets[0]);
        World { folder, policy, history, others, nurseries, sockets, monitor, service }
    }

    fn kill_service(&mut self) {
        self.service.kill().expect("it is ours");
        self.service.wait().expect("it is ours");
    }

    fn start_service(&mut self) {
        let World { folder, history, others, .. } = self;
        let words = format!("service {} {history} {others}", folder.path().display());
        self.service = part(&words, &self.sockets[0]);
    }

    fn kill_monitor(&mut self) {
        self.monitor.kill().expect("it is ours");
        self.monitor.wait().expect("it is ours");
    }

    fn start_monitor(&mut self) {
        let World { folder, policy, others, nurseries, .. } = self;
        let words = format!("monitor {} {policy} {others} {nurseries}", folder.path().display());
        self.monitor = part(&words, &self.sockets[1]);
    }

    fn path(&self) -> String {
        self.folder.at("service")
    }

    fn session(&self) -> Service {
        Service::connect(self.path()).expect("it serves")
    }

    fn options(&self) -> ParcelOptions {
        ParcelOptions { lasting: self.policy == "live", ..ParcelOptions::default() }
    }

    /// A probe that cannot create processes.
    fn wish(&self, words: &[&str]) -> Wish {
        let mut command = Command::new(program("probe"));
        command.args(words);
        Wish::new(command.parcel(self.options()).expect("packed"))
    }

    /// One that can, and writes to `output`.
    fn wide_wish(&self, words: &[&str], output: OwnedFd) -> Wish {
        let mut command = Command::new(program("probe"));
        command.args(words).grant(Grant::Ambient).stdout(output);
        Wish::new(command.parcel(self.options()).expect("packed"))
    }

    /// Everything is ended by the service itself, and both parts with it.
    fn stop(mut self) {
        self.session().stop().expect("it stops");
        wait(&mut self.service);
        wait(&mut self.monitor);
    }
}

fn part(words: &str, socket: &OwnedFd) -> Child {
    let socket = socket.try_clone().expect("a number");
    driver(words).stdin(Stdio::from(socket)).spawn().expect("a part")
}

fn wait(child: &mut Child) {
    until(|| child.try_wait().expect("it is ours").is_some());
}

impl Drop for World {
    fn drop(&mut self) {
        for part in [&mut self.service, &mut self.monitor] {
            let _ = part.kill();
            let _ = part.wait();
        }
    }
}

/// Waits until something is so.
fn until(mut so: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !so() {
        assert!(Instant::now() < until, "it never came to be so");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn exists(number: u32) -> bool {
    std::path::Path::new(&format!("/proc/{number}")).exists()
}

/// So many bytes, once they are there.
fn bytes(file: &mut File, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    file.read_exact(&mut bytes).expect("somebody writes");
    bytes
}

/// All that is left to read, when nobody writes any more.
fn rest(mut file: File) -> Vec<u8> {
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).expect("ours");
    bytes
}

fn pipe() -> (File, OwnedFd) {
    let (reading, writing) = std::io::pipe().expect("a pipe");
    (File::from(OwnedFd::from(reading)), writing.into())
}

/// The end of a domain, which must come.
fn end(domain: &mut Domain) -> Record {
    domain.wait_timeout(LONG).expect("it can be waited for").expect("it ends")
}
