//! Clients that make, wait for and end domains, while the service is killed again and again: each end is told exactly once, nothing is left.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use beget::{Command, ParcelOptions};
use beget_service::protocol::Life;
use beget_service::{Fault, Service, Wish};
use beget_tests::program;

use crate::{World, end, until};

/// How often each client does all of it.
const ROUNDS: usize = 40;

fn client(path: &str, number: usize) {
    let mut session = Service::connect(path).expect("it serves");
    for round in 0..ROUNDS {
        let code = ((number * ROUNDS + round) % 200) as u32;
        let mut command = Command::new(program("probe"));
        let stays = round % 3 == 0;
        if stays {
            command.arg("sleep");
        } else {
            command.args(["exit", &code.to_string()]);
        }
        if round % 4 == 1 {
            command.grant(beget::Grant::Ambient);
        }
        let name = format!("c{number}-{round}");
        let mut domain = loop {
            let parcel = command.parcel(ParcelOptions::default()).expect("packed");
            match session.spawn(Wish::new(parcel).name(&name)) {
                Ok(domain) => break domain,
                Err(error) => assert_eq!(error.fault(), Fault::Monitor, "{error}"),
            }
        };
        let record = if stays { domain.kill(Duration::ZERO) } else { Ok(end(&mut domain)) };
        let record = record.expect("its end is told");
        assert_eq!(record.name, name);
        assert_eq!(record.life, if stays { Life::Killed(9) } else { Life::Exited(code) });
        assert_eq!(domain.wait_timeout(Duration::ZERO).expect("it is remembered"), Some(record));
    }
}

#[test]
fn every_end_is_told_while_the_service_is_killed_again_and_again() {
    let mut world = World::new("die");
    let path = world.path();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..6)
            .map(|number| {
                scope.spawn({
                    let path = &path;
                    move || client(path, number)
                })
            })
            .collect();
        let (world, over) = (&mut world, &over);
        let killer = scope.spawn(move || {
            let mut pause = 7;
            while !over.load(Ordering::Relaxed) {
                // Not a wait for anything: a moment to be killed in.
                std::thread::sleep(Duration::from_millis(pause));
                pause = pause * 31 % 97;
                world.kill_service();
                world.start_service();
            }
        });
        let ended: Vec<_> = clients.into_iter().map(std::thread::ScopedJoinHandle::join).collect();
        over.store(true, Ordering::Relaxed);
        killer.join().expect("it only kills");
        assert!(ended.iter().all(Result::is_ok));
    });
    let mut session = world.session();
    until(|| session.state().is_ok_and(|state| state.living == 0 && state.connections == 1));
    let state = session.state().expect("state");
    assert_eq!(state.remembered, 240);
    let held = |process: u32| std::fs::read_dir(format!("/proc/{process}/fd")).expect("ours").count();
    assert!(held(state.service) < 20, "descriptors of the service");
    until(|| held(state.monitor) < 25);
    world.stop();
}
