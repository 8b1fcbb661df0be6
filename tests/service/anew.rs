//! Births while the monitor is killed again and again: whoever asks is not told of it, but gets its domain from the next monitor.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use beget::{Command, ParcelOptions};
use beget_service::protocol::{Life, Record};
use beget_service::{Service, Wish};
use beget_tests::program;

use crate::{World, end, until};

/// How many requests each client makes.
const ROUNDS: usize = 40;

/// What must have become of a domain that ends with a code: nobody but the monitor may have been in its way.
fn check(record: &Record, code: u32, policy: &str) {
    if policy == "die" && record.life != Life::Exited(code) {
        assert_eq!(record.life, Life::Killed(9), "{record:?}");
        assert_eq!(record.report, "the monitor was killed, and it with it");
    } else {
        assert_eq!(record.life, Life::Exited(code), "{record:?}");
    }
}

fn client(path: &str, policy: &str, number: usize) {
    let mut session = Service::connect(path).expect("it serves");
    let options =
        |together| ParcelOptions { lasting: policy == "live", together, ..ParcelOptions::default() };
    for round in 0..ROUNDS {
        let code = ((number * ROUNDS + round) % 200) as u32;
        let mut command = Command::new(program("probe"));
        command.args(["exit", &code.to_string()]);
        if round % 4 == 0 {
            // Many at once, all or none.
            let wish = |_| Wish::new(command.parcel(options(true)).expect("packed"));
            let wishes = (0..10).map(wish).collect();
            let all = session.batch(wishes, true).expect("the next monitor makes them");
            for domain in all {
                check(&end(&mut domain.expect("born")), code, policy);
            }
            continue;
        }
        if round % 4 == 1 {
            // In a nursery of its own.
            command.grant(beget::Grant::Ambient);
        }
        let wish = Wish::new(command.parcel(options(false)).expect("packed"));
        let wish = wish.name(format!("c{number}-{round}"));
        let mut domain = session.spawn(wish).expect("the next monitor makes it");
        check(&end(&mut domain), code, policy);
    }
}

fn monitor_is_killed(policy: &'static str) {
    let mut world = World::new(policy);
    let path = world.path();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let path = path.as_str();
        let clients: Vec<_> =
            (0..4).map(|number| scope.spawn(move || client(path, policy, number))).collect();
        let (world, over) = (&mut world, &over);
        let killer = scope.spawn(move || {
            let mut pause = 41;
            while !over.load(Ordering::Relaxed) {
                // Not a wait for anything: a moment to be killed in.
                std::thread::sleep(Duration::from_millis(30 + pause));
                pause = pause * 31 % 97;
                world.kill_monitor();
                world.start_monitor();
            }
        });
        let ended: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        killer.join().expect("it only kills");
        assert!(ended.iter().all(Result::is_ok));
    });
    let mut session = world.session();
    until(|| session.state().is_ok_and(|state| state.living == 0 && state.connections == 1));
    world.stop();
}

#[test]
fn births_go_on_with_the_next_monitor_where_domains_die() {
    monitor_is_killed("die");
}

#[test]
fn births_go_on_with_the_next_monitor_where_domains_live() {
    monitor_is_killed("live");
}
