//! Many domains that live at once, of many clients: all are there, each can be reached, and at the end nothing is left.

use std::time::{Duration, Instant};

use beget::{Command, Grant};
use beget_service::{Domain, Service};
use beget_tests::in_own_process;

use crate::{Running, adopt_orphans, descriptors_of, setting, until, wish};

fn sleeper() -> Command {
    let mut command = Command::new("/bin/sleep");
    command.arg("100000").grant(Grant::Base);
    command
}

/// Spawns domains one after the other, and says how long each took.
fn spawn(service: &mut Service, name: &str, count: usize) -> (Vec<Domain>, Vec<Duration>) {
    let mut command = sleeper();
    let one = |index| {
        let begin = Instant::now();
        let domain =
            service.spawn(wish(&mut command, &format!("{name}-{index}"))).expect("there is room for it");
        (domain, begin.elapsed())
    };
    (0..count).map(one).unzip()
}

/// The 99th of a hundred, in microseconds.
fn p99(mut times: Vec<Duration>) -> u128 {
    times.sort();
    times[times.len() * 99 / 100].as_micros()
}

#[test]
fn many_domains_of_many_clients_live_at_once() {
    in_own_process("load::many_domains_of_many_clients_live_at_once", || {
        adopt_orphans();
        let count = setting("BEGET_LOAD", 300) as usize;
        let clients = if count >= 10_000 { 100 } else { 10 };
        let running = Running::start(&["--history", "20000"]);
        let mut session = running.session();
        let idle = session.state().expect("it answers");
        let (first, before) = spawn(&mut session, "idle", 100);
        let held = std::thread::scope(|scope| {
            let client = |number: usize| {
                let running = &running;
                move || spawn(&mut running.session(), &format!("client{number}"), (count - 100) / clients).0
            };
            let threads: Vec<_> = (0..clients).map(|number| scope.spawn(client(number))).collect();
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        let living = first.len() + held.len();
        assert_eq!(session.list().expect("it answers").len(), living);
        let (more, after) = spawn(&mut session, "loaded", 100);
        let state = session.state().expect("it answers");
        eprintln!(
            "{living} domains of {clients} clients: spawn p99 {} us idle, {} us loaded; monitor {} KiB ({} idle), service {} KiB ({} idle), \
             descriptors {} and {}",
            p99(before),
            p99(after),
            state.monitor_memory >> 10,
            idle.monitor_memory >> 10,
            state.service_memory >> 10,
            idle.service_memory >> 10,
            descriptors_of(state.monitor),
            descriptors_of(state.service),
        );
        for mut domain in first.into_iter().chain(held).chain(more) {
            let record = domain.kill(Duration::ZERO).expect("it is ours to end");
            assert!(record.has_ended(), "{record:?}");
        }
        assert_eq!(session.list().expect("it answers"), []);
        until("nothing is held for who is gone", || {
            session.state().is_ok_and(|state| state.connections == 1)
        });
        drop(session);
        running.stop();
    });
}
