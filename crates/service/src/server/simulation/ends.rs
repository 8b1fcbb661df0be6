//! Ends: waits, kills, timeouts, ties, and what is left when a service or a monitor is killed in between.

use super::*;
use crate::protocol::error;

#[test]
fn several_wait_each_is_told_once() {
    let mut world = World::new();
    let mut session = world.connect();
    let (id, capability) = world.spawn(&mut session, "web", wanted::CAPABILITY);
    let mut all = vec![capability.unwrap()];
    for _ in 0..9 {
        all.push(world.open(&mut session, "web"));
    }
    all.iter_mut().for_each(|client| client.ask(kind::WAIT, &number(u64::MAX), Vec::new()));
    world.turns();
    // One has waited long enough, one is gone, one asks for something else instead.
    all[1].ask(kind::WAIT, &number(1), Vec::new());
    assert_eq!(world.answer(&mut all[1]).kind, kind::NOT_YET);
    drop(all.remove(2));
    assert_eq!(world.record(&mut all[3], kind::STATUS, &[]).life, Life::Running);
    world.monitor.end(id, 2, 11);
    for place in [0, 2, 4, 5, 6, 7, 8] {
        let record = one_record(&world.answer(&mut all[place]));
        assert_eq!(record.life, Life::Killed(11), "{place}");
    }
    world.turns();
    assert!(all[3].receive().is_none() && all[1].receive().is_none());
}

#[test]
fn an_end_is_told_after_a_restart_once() {
    let mut world = World::new();
    let mut session = world.connect();
    let (id, capability) = world.spawn(&mut session, "web", wanted::CAPABILITY);
    let mut capability = capability.unwrap();
    capability.ask(kind::WAIT, &number(u64::MAX), Vec::new());
    world.turns();
    world.server = None;
    world.monitor.end(id, 1, 4);
    world.start();
    assert_eq!(one_record(&world.answer(&mut capability)).life, Life::Exited(4));
    world.restart();
    world.turns();
    assert!(capability.receive().is_none(), "told twice");
    assert_eq!(world.record(&mut capability, kind::WAIT, &number(0)).life, Life::Exited(4));
    assert_eq!(world.monitor.taken, [id]);
}

#[test]
fn a_kill_asks_first_and_then_makes() {
    let mut world = World::new();
    let mut session = world.connect();
    world.monitor.obedient = false;
    let (id, capability) = world.spawn(&mut session, "web", wanted::CAPABILITY);
    let mut killer = capability.unwrap();
    let mut other = world.open(&mut session, "web");
    killer.ask(kind::KILL, &number(300), Vec::new());
    world.until(|world| world.monitor.signals.contains(&(id, 15)));
    // Nothing is asked of it any more but how it is.
    let answer = world.ask(&mut other, kind::SIGNAL, &10u32.to_ne_bytes(), Vec::new());
    assert_eq!(code(&answer), error::ENDED);
    assert_eq!(world.record(&mut other, kind::STATUS, &[]).life, Life::Running);
    let record = one_record(&world.answer(&mut killer));
    assert_eq!((record.life, record.report.as_str()), (Life::Killed(9), "it was killed on request"));
    assert!(world.monitor.nurseries.is_empty());
    assert_eq!(world.record(&mut other, kind::KILL, &number(0)), record);
}

#[test]
fn a_kill_goes_on_after_a_restart() {
    for turns in 0..8 {
        let mut world = World::new();
        let mut session = world.connect();
        world.monitor.obedient = false;
        let (_, capability) = world.spawn(&mut session, "web", wanted::CAPABILITY);
        let mut killer = capability.unwrap();
        killer.ask(kind::KILL, &number(20), Vec::new());
        (0..turns).for_each(|_| world.turn());
        world.restart();
        let record = one_record(&world.answer(&mut killer));
        assert_eq!(record.life, Life::Killed(9));
        assert!(world.monitor.nurseries.is_empty() && world.monitor.living.is_empty());
    }
}

#[test]
fn a_time_is_over_also_after_a_restart() {
    for restart in [false, true] {
        let mut world = World::new();
        let mut session = world.connect();
        let mut domain = wanted("web", wanted::CAPABILITY);
        (domain.timeout, domain.grace) = (50, 5);
        let spawn = spawn_of(vec![domain]);
        let mut answer = world.ask(&mut session, kind::SPAWN, &spawn.encode(), Vec::new());
        let mut capability = Client::new(answer.descriptors.pop().unwrap());
        if restart {
            world.restart();
        }
        let record = world.record(&mut capability, kind::WAIT, &number(u64::MAX));
        assert_eq!((record.life, record.report.as_str()), (Life::Killed(15), "its time of 50 ms was over"));
    }
}

#[test]
fn a_tied_one_ends_with_its_last_holder() {
    let mut world = World::new();
    let mut session = world.connect();
    let (id, capability) = world.spawn(&mut session, "web", wanted::CAPABILITY | wanted::TIED);
    let mut capability = capability.unwrap();
    let mut watcher = world.open(&mut session, "web");
    let mut answer = world.ask(&mut capability, kind::ATTENUATE, &3u32.to_ne_bytes(), Vec::new());
    let copy = answer.descriptors.pop().unwrap();
    drop(capability);
    world.restart();
    world.turns();
    assert!(world.monitor.living.contains_key(&id), "a copy of it is held");
    drop(copy);
    let record = world.record(&mut watcher, kind::WAIT, &number(u64::MAX));
    assert_eq!(record.report, "nobody held it any more");
}

#[test]
fn what_a_killed_monitor_takes_along_is_told() {
    for (policy, restart) in [(policy::DIE, false), (policy::DIE, true), (policy::LIVE, false)] {
        let mut world = World::new();
        world.another_monitor(policy);
        let mut session = world.connect();
        let (id, capability) = world.spawn(&mut session, "web", wanted::CAPABILITY);
        let mut capability = capability.unwrap();
        capability.ask(kind::WAIT, &number(u64::MAX), Vec::new());
        world.turns();
        if restart {
            world.server = None;
        }
        world.another_monitor(policy);
        if restart {
            // Whatever the old one kept is closed with it.
            world.start();
            session = world.connect();
            capability = world.open(&mut session, "web");
            capability.ask(kind::WAIT, &number(u64::MAX), Vec::new());
        }
        if policy == policy::LIVE {
            world.until(|world| world.server().link.is_ready());
            world.turns();
            world.monitor.end(id, 1, 6);
        }
        let record = one_record(&world.answer(&mut capability));
        match policy {
            policy::DIE => {
                assert_eq!(record.life, Life::Killed(9));
                assert_eq!(record.report, "the monitor was killed, and it with it");
            }
            _ => assert_eq!(record.life, Life::Exited(6)),
        }
        // The new one keeps what there is.
        world.restart();
        assert_eq!(world.record(&mut capability, kind::WAIT, &number(0)), record);
    }
}

#[test]
fn one_that_no_monitor_has_is_lost() {
    let mut world = World::new();
    let mut session = world.connect();
    let (_, capability) = world.spawn(&mut session, "web", wanted::CAPABILITY);
    let mut capability = capability.unwrap();
    world.server = None;
    world.monitor.living.clear();
    world.start();
    assert_eq!(world.record(&mut capability, kind::WAIT, &number(u64::MAX)).life, Life::Lost);
}

#[test]
fn history_is_bounded_but_for_what_is_held() {
    let mut world = World::new();
    world.history = 3;
    world.restart();
    let mut session = world.connect();
    let (held, capability) = world.spawn(&mut session, "held", wanted::CAPABILITY | wanted::ALONE);
    let mut capability = capability.unwrap();
    world.monitor.end(held, 1, 9);
    for index in 0..10 {
        let (id, _) = world.spawn(&mut session, &format!("d{index}"), wanted::ALONE);
        world.monitor.end(id, 1, index);
        world.turns();
    }
    let history = |world: &mut World, session: &mut Client| {
        let answer = world.ask(session, kind::HISTORY, &100u32.to_ne_bytes(), Vec::new());
        records(&answer).into_iter().map(|record| record.name).collect::<Vec<_>>()
    };
    assert_eq!(history(&mut world, &mut session), ["d9", "d8", "d7", "held"]);
    assert_eq!(world.record(&mut capability, kind::WAIT, &number(0)).life, Life::Exited(9));
    world.restart();
    assert_eq!(history(&mut world, &mut session), ["d9", "d8", "d7", "held"]);
    drop(capability);
    world.turns();
    let (id, _) = world.spawn(&mut session, "last", wanted::ALONE);
    world.monitor.end(id, 1, 0);
    world.turns();
    assert_eq!(history(&mut world, &mut session), ["last", "d9", "d8"]);
    assert!(world.server().holds.is_empty() && world.server().register.get(held).is_none());
}

#[test]
fn a_stop_ends_everything() {
    let mut world = World::new();
    let mut session = world.connect();
    world.spawn(&mut session, "a", wanted::ALONE);
    world.spawn(&mut session, "b", 0);
    session.ask(kind::STOP, &[], Vec::new());
    world.until(|world| world.server().over.is_some());
    assert!(world.monitor.stopped && world.monitor.nurseries.is_empty());
    world.server.as_mut().unwrap().flush().unwrap();
    assert_eq!(session.receive().map(|answer| answer.kind), Some(kind::DONE));
}

#[test]
fn one_that_was_made_to_end_was_killed_whoever_could_tell_is_gone() {
    for (asked, life) in [(true, Life::Killed(9)), (false, Life::Lost)] {
        let mut world = World::new();
        let mut session = world.connect();
        let (_, capability) = world.spawn(&mut session, "web", wanted::CAPABILITY);
        let mut holder = capability.unwrap();
        let kind = if asked { kind::KILL } else { kind::WAIT };
        holder.ask(kind, &number(if asked { 0 } else { u64::MAX }), Vec::new());
        // The service has said so, and the monitor is killed before anybody hears how it ended.
        let server = world.server.as_mut().unwrap();
        while server.register.living().any(|id| server.register.get(id).unwrap().killing.is_none() == asked) {
            server.hear(Some(Duration::ZERO)).unwrap();
            server.flush().unwrap();
        }
        world.another_monitor(policy::LIVE);
        world.monitor.living.clear();
        world.monitor.nurseries.clear();
        assert_eq!(one_record(&world.answer(&mut holder)).life, life);
    }
}

#[test]
fn one_that_is_never_born_does_not_keep_the_service_from_ending() {
    let mut world = World::new();
    let mut session = world.connect();
    (world.monitor.slow, world.monitor.obedient) = (true, false);
    let spawn = spawn_of(vec![wanted("stuck", 0)]);
    session.ask(kind::SPAWN, &spawn.encode(), Vec::new());
    world.until(|world| !world.monitor.births.is_empty());
    let mut other = world.connect();
    assert_eq!(world.ask(&mut other, kind::STOP, &[], Vec::new()).kind, kind::DONE);
    assert!(world.monitor.stopped);
}
