//! A crowd: many domains live at once, each held by capability, and nothing is left of them.

use std::time::Duration;

use beget_service::protocol::Life;

use crate::{World, until};

/// How many clients, and how many domains each: more than share one nursery.
const CLIENTS: usize = 10;
const EACH: usize = 120;

#[test]
fn many_live_at_once_and_leave_nothing() {
    let world = World::new("die");
    let mut session = world.session();
    let alone = children(session.state().expect("state").monitor);
    let all: Vec<_> = std::thread::scope(|scope| {
        let client = || {
            let mut session = world.session();
            let one = |_| session.spawn(world.wish(&["sleep"])).expect("spawn");
            (0..EACH).map(one).collect::<Vec<_>>()
        };
        let clients: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
        clients.into_iter().flat_map(|client| client.join().expect("it makes them")).collect()
    });
    let state = session.state().expect("state");
    assert_eq!(state.living as usize, CLIENTS * EACH);
    assert_eq!(session.list().expect("list").len(), CLIENTS * EACH);
    assert!(children(state.monitor) >= alone + 2, "no nursery has all of them");
    for mut domain in all {
        assert_eq!(domain.kill(Duration::ZERO).expect("kill").life, Life::Killed(9));
    }
    until(|| session.state().is_ok_and(|state| state.living == 0 && state.connections == 1));
    let held = |process: u32| std::fs::read_dir(format!("/proc/{process}/fd")).expect("ours").count();
    until(|| held(state.service) < 20 && held(state.monitor) < 25);
    until(|| children(state.monitor) <= alone + 1);
    world.stop();
}

/// How many children a process of one thread has.
fn children(process: u32) -> usize {
    let list = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    list.expect("it is ours").split_whitespace().count()
}
