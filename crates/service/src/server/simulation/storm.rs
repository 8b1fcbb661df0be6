//! Births, ends, kills and restarts in any order: each end is told exactly once to each who waits, and nothing is left.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;
use crate::protocol::error;

#[derive(Clone, Debug)]
enum Step {
    Spawn,
    End(usize),
    Kill(usize),
    Restart,
    RestartWithin,
    Monitor,
    Turn,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => Just(Step::Spawn),
        3 => (0usize..8).prop_map(Step::End),
        2 => (0usize..8).prop_map(Step::Kill),
        2 => Just(Step::Restart),
        2 => Just(Step::RestartWithin),
        1 => Just(Step::Monitor),
        8 => Just(Step::Turn),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Somebody who asked for a domain, and waits for its end.
struct Holder {
    session: Client,
    capability: Option<Client>,
    id: u64,
    ends: Vec<Life>,
}

impl Holder {
    fn listen(&mut self) {
        if self.capability.is_none()
            && let Some(mut answer) = self.session.receive()
        {
            if code(&answer) == error::MONITOR {
                // It was killed before it could; nothing was made.
                let body = self.session.asked.1.clone();
                return self.session.ask(kind::SPAWN, &body, Vec::new());
            }
            let born = spawned(&answer);
            assert_eq!(born[0].errno, 0);
            self.id = born[0].id;
            let mut capability = Client::new(answer.descriptors.pop().unwrap());
            capability.ask(kind::WAIT, &number(u64::MAX), Vec::new());
            self.capability = Some(capability);
        }
        if let Some(capability) = &mut self.capability {
            assert!(!capability.closed, "a capability was lost");
            if let Some(answer) = capability.receive() {
                self.ends.push(one_record(&answer).life);
            }
        }
    }
}

fn run(steps: Vec<Step>) {
    let mut world = World::new();
    world.monitor.obedient = false;
    let mut holders: Vec<Holder> = Vec::new();
    let mut meant: HashMap<u64, Life> = HashMap::new();
    for step in steps {
        match step {
            Step::Spawn => {
                let mut session = world.connect();
                let flags = if holders.len().is_multiple_of(2) {
                    wanted::CAPABILITY
                } else {
                    wanted::CAPABILITY | wanted::ALONE
                };
                let spawn = spawn_of(vec![wanted("", flags)]);
                // A session that the monitor has not met is closed with the service: whoever it is asks anew.
                world.turns();
                session.ask(kind::SPAWN, &spawn.encode(), Vec::new());
                holders.push(Holder { session, capability: None, id: 0, ends: Vec::new() });
            }
            Step::End(place) => {
                let label = world.monitor.living.keys().nth(place).copied();
                if let Some(label) = label {
                    meant.insert(label, Life::Exited(label as u32 & 0x7f));
                    world.monitor.end(label, 1, label as u32 & 0x7f);
                }
            }
            Step::Kill(place) => {
                if let Some(id) = holders.get(place).map(|holder| holder.id).filter(|id| *id != 0) {
                    let mut session = world.connect();
                    let mut killer = world.open(&mut session, &id.to_string());
                    killer.ask(kind::KILL, &number(0), Vec::new());
                }
            }
            Step::Restart => world.restart(),
            Step::RestartWithin => {
                let server = world.server.as_mut().unwrap();
                server.flush_journal().unwrap();
                server.flush_monitor();
                world.restart();
            }
            Step::Monitor => {
                world.another_monitor(policy::LIVE);
                world.monitor.obedient = false;
                let epoch = world.monitor.epoch;
                world.until(|world| world.server().register.monitor.is_some_and(|(known, _)| known == epoch));
                // Whoever kills both at once takes what is kept along.
                world.turns();
            }
            Step::Turn => world.turn(),
        }
        holders.iter_mut().for_each(Holder::listen);
    }
    world.until(|world| {
        holders.iter_mut().for_each(Holder::listen);
        let label = world.monitor.living.keys().next().copied();
        if let Some(label) = label {
            meant.insert(label, Life::Exited(1));
            world.monitor.end(label, 1, 1);
        }
        holders.iter().all(|holder| !holder.ends.is_empty())
    });
    world.turns();
    world.restart();
    world.turns();
    holders.iter_mut().for_each(Holder::listen);
    for holder in &holders {
        let expected = meant.get(&holder.id).copied().unwrap_or(Life::Killed(9));
        assert_eq!(holder.ends, [expected], "{}", holder.id);
    }
    drop(holders);
    world.until(|world| world.server().connections.is_empty());
    world.until(|world| world.monitor.kept.is_empty());
    assert!(world.server().holds.is_empty() && world.server().clients.is_empty());
    assert!(world.monitor.ended.is_empty() && world.monitor.nurseries.is_empty());
    let mut taken = world.monitor.taken.clone();
    taken.sort_unstable();
    let mut born = world.monitor.born.clone();
    born.sort_unstable();
    assert_eq!(taken, born);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, max_shrink_iters: 30, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_end_is_told_once(steps in steps()) {
        run(steps);
    }
}
