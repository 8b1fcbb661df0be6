//! Whoever is killed: no domain is lost, no status is forgotten.

use std::time::Duration;

use beget_service::Domain;
use beget_service::protocol::Life;

use crate::{World, bytes, end, exists, pipe, rest, until};

#[test]
fn a_service_that_is_killed_is_not_missed() {
    let mut world = World::new("die");
    let mut session = world.session();
    let mut stays = session.spawn(world.wish(&["sleep"]).name("stays")).expect("spawn");
    let (mut output, writing) = pipe();
    let mut wide = session.spawn(world.wide_wish(&["family"], writing).name("wide")).expect("spawn");
    assert_eq!(bytes(&mut output, 3), b"xxx");
    let number = stays.status().expect("look").pid;
    for _ in 0..5 {
        let mut ends = session.spawn(world.wish(&["sleep"])).expect("spawn");
        let dying = ends.status().expect("look").pid;
        let waits = std::thread::spawn(move || end(&mut ends).life);
        world.kill_service();
        // While nobody serves.
        // SAFETY: signals a process that we had made.
        assert_eq!(unsafe { libc::kill(dying as i32, 10) }, 0);
        until(|| !exists(dying));
        world.start_service();
        assert_eq!(waits.join().expect("it is told"), Life::Killed(10));
        let record = stays.status().expect("its capability lives on");
        assert_eq!((record.pid, record.life), (number, Life::Running));
        assert!(record.memory > 0);
        let mut names: Vec<String> =
            session.list().expect("list").into_iter().map(|record| record.name).collect();
        names.sort_unstable();
        assert_eq!(names, ["stays", "wide"]);
    }
    assert_eq!(wide.kill(Duration::ZERO).expect("kill").life, Life::Killed(9));
    assert_eq!(rest(output), b"");
    stays.signal(12).expect("signal");
    assert_eq!(end(&mut stays).life, Life::Killed(12));
    world.stop();
}

/// Each way to have a domain, when the monitor is killed.
fn domains(world: &World) -> (Vec<Domain>, std::fs::File) {
    let mut session = world.session();
    let alone = session.spawn(world.wish(&["sleep"]).name("alone")).expect("spawn");
    let (mut output, writing) = pipe();
    let wide = session.spawn(world.wide_wish(&["family"], writing).name("wide")).expect("spawn");
    assert_eq!(bytes(&mut output, 3), b"xxx");
    (vec![alone, wide], output)
}

#[test]
fn domains_die_with_the_monitor_where_that_was_chosen() {
    let mut world = World::new("die");
    let (mut domains, output) = domains(&world);
    world.kill_monitor();
    assert_eq!(rest(output), b"", "all of them end");
    world.start_monitor();
    for domain in &mut domains {
        let record = end(domain);
        assert_eq!(record.life, Life::Killed(9));
        assert_eq!(record.report, "the monitor was killed, and it with it");
        assert!(!exists(record.pid));
    }
    let mut session = world.session();
    let mut next = session.spawn(world.wish(&["exit", "3"])).expect("another serves");
    assert_eq!(end(&mut next).life, Life::Exited(3));
    world.stop();
}

#[test]
fn domains_live_on_where_that_was_chosen() {
    let mut world = World::new("live");
    let (mut domains, output) = domains(&world);
    let mut session = world.session();
    let mut dying = session.spawn(world.wish(&["sleep"])).expect("spawn");
    let number = dying.status().expect("look").pid;
    world.kill_monitor();
    // SAFETY: signals a process that we had made.
    assert_eq!(unsafe { libc::kill(number as i32, 10) }, 0);
    until(|| !exists(number));
    world.start_monitor();
    assert_eq!(end(&mut dying).life, Life::Killed(10), "its nursery kept that");
    for domain in &mut domains {
        assert_eq!(domain.status().expect("look").life, Life::Running);
    }
    let records: Vec<_> =
        domains.iter_mut().map(|domain| domain.kill(Duration::ZERO).expect("kill").life).collect();
    assert_eq!(records, [Life::Killed(9); 2]);
    assert_eq!(rest(output), b"");
    world.stop();
}

#[test]
fn both_are_killed_and_all_is_found_again_by_name() {
    let mut world = World::new("live");
    let (domains, output) = domains(&world);
    let mut session = world.session();
    world.kill_service();
    world.kill_monitor();
    world.start_monitor();
    world.start_service();
    // The session is made again by itself.
    assert_eq!(session.list().expect("list").len(), 2);
    drop(domains);
    let mut alone = session.open("alone").expect("open");
    alone.signal(10).expect("signal");
    assert_eq!(end(&mut alone).life, Life::Killed(10));
    let mut wide = session.open("wide").expect("open");
    assert_eq!(wide.kill(Duration::ZERO).expect("kill").life, Life::Killed(9));
    assert_eq!(rest(output), b"");
    world.stop();
}

#[test]
fn a_time_runs_on_while_nobody_serves() {
    let mut world = World::new("die");
    let mut session = world.session();
    let wish = world.wish(&["sleep"]).timeout(Duration::from_millis(200)).grace(crate::LONG);
    let mut domain = session.spawn(wish).expect("spawn");
    world.kill_service();
    world.start_service();
    let record = end(&mut domain);
    assert_eq!((record.life, record.report.as_str()), (Life::Killed(15), "its time of 200 ms was over"));
    world.stop();
}
