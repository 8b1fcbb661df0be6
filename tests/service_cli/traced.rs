//! What a client of the library says to the service, as the kernel sees it: a domain with twenty settings and five capabilities is one message out
//! and one in.

use std::collections::BTreeMap;

use beget::{Command, Grant, Limit, ParcelOptions, Stdio};
use beget_service::{Service, Wish};
use beget_sys::nr;
use beget_tests::tracer::{self, Call, Verdict, Watch, Who, say};
use beget_tests::{Need, skip};

use super::served::Served;

beget_tests::driver!(drive);

/// Spawns the one domain, and says when the asking begins and ends.
fn drive(socket: &str) {
    let mut service = Service::connect(socket).expect("it serves");
    let file = || std::fs::File::open("/dev/null").expect("it is there");
    let mut command = Command::new("/bin/sleep");
    // Twenty settings.
    command
        .arg0("sleeper")
        .arg("1000")
        .env("A", "1")
        .env("B", "2")
        .env("C", "3")
        .current_dir("/usr")
        .umask(0o077);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).only(false).session(true);
    command.limit(Limit::OpenFiles(100)).limit(Limit::Processors(1)).channel(true);
    for name in ["D", "E", "F", "G", "H", "I"] {
        command.env(name, name);
    }
    // Five capabilities.
    command.grant(Grant::Base).grant(Grant::Read("/usr".into())).grant(Grant::TcpConnect(443));
    command.slot("one", file()).slot("two", file());
    let parcel = command.parcel(ParcelOptions::default()).expect("it can be packed");
    say("begin");
    let made = service.spawn(Wish::new(parcel).name("traced"));
    say("end");
    let mut domain = made.expect("it can be made");
    say(&format!("{:?}", domain.status().expect("it can be seen").life));
}

#[derive(Default)]
struct Seen {
    asking: bool,
    calls: BTreeMap<i64, usize>,
    life: String,
}

impl Watch for Seen {
    fn call(&mut self, call: &Call) -> Verdict {
        if self.asking && call.who == Who::Driver {
            *self.calls.entry(call.number).or_default() += 1;
        }
        Verdict::Go
    }

    fn said(&mut self, words: &str) -> i64 {
        match words {
            "begin" => self.asking = true,
            "end" => self.asking = false,
            life => life.clone_into(&mut self.life),
        }
        0
    }
}

#[test]
fn a_domain_is_one_message_out_and_one_in() {
    let served = Served::start(&[]);
    let mut seen = Seen::default();
    if tracer::trace(&served.socket(), &mut seen).is_none() {
        return skip("a_domain_is_one_message_out_and_one_in", Need::Machine("to trace"));
    }
    assert_eq!(seen.life, "Running");
    let count = |number: u32| seen.calls.get(&i64::from(number)).copied().unwrap_or(0);
    assert_eq!((count(nr::SENDMSG), count(nr::RECVMSG)), (1, 1), "{:?}", seen.calls);
    // Nothing is said in any other way, and nothing is opened by name.
    for number in [
        libc::SYS_sendto,
        libc::SYS_recvfrom,
        libc::SYS_connect,
        libc::SYS_socket,
        libc::SYS_openat,
        libc::SYS_open,
    ] {
        assert_eq!(seen.calls.get(&number), None, "{:?}", seen.calls);
    }
    assert_eq!(served.names(), ["traced"]);
}
