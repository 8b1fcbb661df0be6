//! Spawns: names, tokens, places, and a kill between any two steps.

use super::*;
use crate::protocol::error;

#[test]
fn a_domain_is_made_listed_and_remembered() {
    let mut world = World::new();
    let mut session = world.connect();
    let (id, capability) = world.spawn(&mut session, "web", wanted::CAPABILITY | wanted::ALONE);
    let mut capability = capability.expect("it was asked for");
    assert_eq!(world.list(&mut session), ["web"]);
    assert_eq!(world.record(&mut capability, kind::STATUS, &[]).life, Life::Running);
    assert_eq!(world.ask(&mut capability, kind::WAIT, &number(0), Vec::new()).kind, kind::NOT_YET);
    capability.ask(kind::WAIT, &number(u64::MAX), Vec::new());
    world.turns();
    assert!(capability.receive().is_none());
    world.monitor.end(id, 1, 3);
    let record = one_record(&world.answer(&mut capability));
    assert_eq!((record.life, record.id), (Life::Exited(3), id));
    assert_eq!(world.monitor.taken, [id]);
    assert_eq!(world.list(&mut session), [""; 0]);
    let history = world.ask(&mut session, kind::HISTORY, &5u32.to_ne_bytes(), Vec::new());
    assert_eq!(one_record(&history), record);
    // It can still be opened, and tells the same.
    let mut again = world.open(&mut session, "web");
    assert_eq!(world.record(&mut again, kind::WAIT, &number(u64::MAX)), record);
}

#[test]
fn names_are_held_by_the_living() {
    let mut world = World::new();
    let mut session = world.connect();
    let (id, _) = world.spawn(&mut session, "web", wanted::ALONE);
    let again = spawn_of(vec![wanted("web", 0)]);
    let answer = world.ask(&mut session, kind::SPAWN, &again.encode(), Vec::new());
    assert_eq!(code(&answer), error::NAME_TAKEN);
    let twice = spawn_of(vec![wanted("two", 0), wanted("two", 0)]);
    let answer = world.ask(&mut session, kind::SPAWN, &twice.encode(), Vec::new());
    assert_eq!(code(&answer), error::NAME_TAKEN);
    let number = spawn_of(vec![wanted("123", 0)]);
    let answer = world.ask(&mut session, kind::SPAWN, &number.encode(), Vec::new());
    assert_eq!(code(&answer), error::NAME_TAKEN);
    // One that is given none has its program's, and its own number.
    let unnamed = spawn_of(vec![wanted("", 0)]);
    let answer = world.ask(&mut session, kind::SPAWN, &unnamed.encode(), Vec::new());
    let born = &spawned(&answer)[0];
    assert_eq!(born.name, format!("program-{}", born.id));
    world.monitor.end(id, 1, 0);
    world.turns();
    world.spawn(&mut session, "web", wanted::ALONE);
}

#[test]
fn each_has_a_nursery_that_can_have_descendants() {
    let mut world = World::new();
    let mut session = world.connect();
    let three = spawn_of(vec![wanted("a", wanted::ALONE), wanted("b", 0), wanted("c", wanted::ALONE)]);
    let answer = world.ask(&mut session, kind::SPAWN, &three.encode(), Vec::new());
    let ids: Vec<u64> = spawned(&answer).iter().map(|born| born.id).collect();
    let nursery = |id: u64| world.monitor.living[&id].1;
    assert_eq!(ids.iter().map(|id| nursery(*id)).collect::<Vec<_>>(), [0, ids[1], 0]);
}

#[test]
fn a_birth_that_fails_is_told_and_leaves_nothing() {
    let mut world = World::new();
    let mut session = world.connect();
    world.monitor.failing = Some((7, 13));
    let spawn = spawn_of(vec![wanted("web", wanted::CAPABILITY)]);
    let answer = world.ask(&mut session, kind::SPAWN, &spawn.encode(), Vec::new());
    let born = &spawned(&answer)[0];
    assert_eq!((born.op, born.errno, born.capability), (7, 13, false));
    assert_eq!(world.list(&mut session), [""; 0]);
    assert!(world.server().holds.is_empty());
    // Nor when it is asked again, which is not done again.
    world.monitor.failing = None;
    world.restart();
    session.number += 1;
    let answer = world.ask(&mut session, kind::SPAWN, &spawn.encode(), Vec::new());
    assert_eq!(spawned(&answer)[0].errno, 13);
    assert!(world.monitor.born.is_empty());
    world.turns();
    assert!(world.monitor.nurseries.is_empty());
}

/// How many steps a turn has, between any two of which it can be killed.
const STEPS: usize = 4;

/// As a turn, but the service is killed after so many of its steps.
fn part_of_a_turn(world: &mut World, steps: usize) {
    let server = world.server.as_mut().unwrap();
    if steps > 0 {
        server.flush_journal().unwrap();
    }
    if steps > 1 {
        server.flush_monitor();
    }
    if steps > 2 {
        server.flush_connections();
    }
    if steps > 3 {
        server.hear(Some(Duration::ZERO)).unwrap();
    }
}

#[test]
fn killed_at_every_step_of_a_spawn_it_is_done_once() {
    for turns in 0..12 {
        for steps in 0..STEPS {
            for slow in [false, true] {
                let mut world = World::new();
                world.monitor.slow = slow;
                let mut session = world.connect();
                world.turns();
                let spawn = spawn_of(vec![wanted("web", wanted::CAPABILITY)]);
                session.ask(kind::SPAWN, &spawn.encode(), Vec::new());
                for turn in 0..turns {
                    world.turn();
                    if slow && turn == 5 {
                        world.monitor.finish(false);
                    }
                }
                part_of_a_turn(&mut world, steps);
                let early = session.receive();
                world.restart();
                if slow {
                    world.monitor.finish(true);
                    world.monitor.slow = false;
                }
                let answer = match early {
                    Some(answer) => answer,
                    None => world.answer(&mut session),
                };
                let born = spawned(&answer);
                assert_eq!((born.len(), born[0].errno, answer.descriptors.len()), (1, 0, 1));
                assert_eq!(world.monitor.born, [born[0].id], "{turns} {steps}");
                let mut capability = Client::new(answer.descriptors.into_iter().next().unwrap());
                world.monitor.end(born[0].id, 1, 7);
                let record = world.record(&mut capability, kind::WAIT, &number(u64::MAX));
                assert_eq!(record.life, Life::Exited(7));
            }
        }
    }
}

#[test]
fn a_monitor_killed_within_a_birth_is_told() {
    let mut world = World::new();
    let mut session = world.connect();
    world.turns();
    world.monitor.slow = true;
    let spawn = spawn_of(vec![wanted("web", wanted::CAPABILITY)]);
    session.ask(kind::SPAWN, &spawn.encode(), Vec::new());
    world.turns();
    world.another_monitor(policy::DIE);
    let answer = world.answer(&mut session);
    assert_eq!(code(&answer), error::MONITOR);
    // And there is another to ask.
    world.spawn(&mut session, "web", 0);
}

#[test]
fn a_stranger_is_ended() {
    let mut world = World::new();
    world.monitor.living.insert(77_777, (5, 0));
    world.restart();
    world.until(|world| world.monitor.living.is_empty());
    world.until(|world| world.monitor.ended.is_empty());
}
