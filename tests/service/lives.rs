//! Lives: a domain is made, looked at, waited for and ended, and is remembered.

use std::time::Duration;

use beget_service::Fault;
use beget_service::protocol::{Life, right};

use crate::{LONG, World, bytes, end, exists, pipe, rest, until};

#[test]
fn a_domain_lives_and_is_remembered() {
    let world = World::new("die");
    let mut session = world.session();
    let mut domain = session.spawn(world.wish(&["sleep"]).name("web")).expect("spawn");
    let record = domain.status().expect("it can be looked at");
    assert_eq!((record.life, record.name.as_str()), (Life::Running, "web"));
    assert!(exists(record.pid) && record.started > 0);
    // The kernel counts pages in lots, so the first few may not be there yet.
    until(|| domain.status().expect("it can be looked at").memory > 0);
    assert!(record.program.ends_with("/probe"), "{}", record.program);
    assert_eq!(session.list().expect("list").len(), 1);
    assert_eq!(domain.wait_timeout(Duration::ZERO).expect("no hang"), None);
    assert_eq!(domain.wait_timeout(Duration::from_millis(30)).expect("a time"), None);
    domain.signal(15).expect("signal");
    let record = end(&mut domain);
    assert_eq!((record.life, record.memory), (Life::Killed(15), 0));
    assert!(record.ended >= record.started && record.memory_peak > 0);
    assert!(session.list().expect("list").is_empty());
    assert_eq!(session.history(10).expect("history").first(), Some(&record));
    assert_eq!(domain.signal(9).map_err(|error| error.fault()), Err(Fault::Ended));
    // By its name, as long as it is remembered; and whatever it is asked.
    let mut again = session.open("web").expect("open");
    assert_eq!(end(&mut again), record);
    assert_eq!(again.kill(LONG).expect("nothing is left to kill"), record);
    world.stop();
}

#[test]
fn codes_and_signals_are_told_to_each_who_waits() {
    let world = World::new("die");
    let mut session = world.session();
    for (words, life) in [
        (["exit", "0"], Life::Exited(0)),
        (["exit", "77"], Life::Exited(77)),
        (["signal", "11"], Life::Killed(11)),
    ] {
        let mut domain = session.spawn(world.wish(&words)).expect("spawn");
        let mut others: Vec<_> = (0..5).map(|_| domain.attenuate(right::WAIT).expect("attenuate")).collect();
        let waits =
            std::thread::spawn(move || others.iter_mut().map(|one| end(one).life).collect::<Vec<_>>());
        assert_eq!(end(&mut domain).life, life);
        assert_eq!(waits.join().expect("they are told"), [life; 5]);
    }
    world.stop();
}

#[test]
fn a_kill_reaches_the_last_grandchild() {
    let world = World::new("die");
    let mut session = world.session();
    for by_itself in [false, true] {
        let (mut output, writing) = pipe();
        let mut domain = session.spawn(world.wide_wish(&["family"], writing)).expect("spawn");
        assert_eq!(bytes(&mut output, 3), b"xxx", "all three are there");
        if by_itself {
            domain.signal(9).expect("signal");
            assert_eq!(end(&mut domain).life, Life::Killed(9));
        } else {
            let record = domain.kill(Duration::ZERO).expect("kill");
            assert_eq!((record.life, record.report.as_str()), (Life::Killed(9), "it was killed on request"));
        }
        // Not a moment later: the end is told when nobody is there any more.
        let mut watched =
            libc::pollfd { fd: std::os::fd::AsRawFd::as_raw_fd(&output), events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure is read and written.
        assert_eq!(unsafe { libc::poll(&raw mut watched, 1, 0) }, 1, "somebody holds the output");
        assert_eq!(rest(output), b"");
    }
    world.stop();
}

#[test]
fn it_ends_when_its_time_or_its_holder_does() {
    let world = World::new("die");
    let mut session = world.session();
    let wish = world.wish(&["sleep"]).timeout(Duration::from_millis(50)).grace(LONG);
    let mut domain = session.spawn(wish).expect("spawn");
    let record = end(&mut domain);
    assert_eq!((record.life, record.report.as_str()), (Life::Killed(15), "its time of 50 ms was over"));
    let domain = session.spawn(world.wish(&["sleep"]).tied(true).name("tied")).expect("spawn");
    let mut watcher = session.open("tied").expect("open");
    drop(domain);
    assert_eq!(end(&mut watcher).report, "nobody held it any more");
    world.stop();
}

#[test]
fn many_are_made_in_one_request() {
    let world = World::new("die");
    let mut session = world.session();
    let wishes = |count: usize| (0..count).map(|_| world.wish(&["exit", "5"])).collect::<Vec<_>>();
    let mut made = session.batch(wishes(100), false).expect("batch");
    assert!(made.iter_mut().all(|one| end(one.as_mut().expect("born")).life == Life::Exited(5)));
    // Others that can create processes have nurseries of their own.
    let mut outputs = Vec::new();
    let wide: Vec<_> = (0..5)
        .map(|_| {
            let (output, writing) = pipe();
            outputs.push(output);
            world.wide_wish(&["family"], writing)
        })
        .collect();
    let mut made = session.batch(wide, false).expect("batch");
    for (domain, mut output) in made.iter_mut().zip(outputs) {
        assert_eq!(bytes(&mut output, 3), b"xxx");
        domain.as_mut().expect("born").kill(Duration::ZERO).expect("kill");
        assert_eq!(rest(output), b"");
    }
    world.stop();
}

#[test]
fn history_is_bounded() {
    let world = World::with("die", 5, "");
    let mut session = world.session();
    for index in 0..20 {
        let name = format!("d{index}");
        let mut domain = session.spawn(world.wish(&["exit", "0"]).name(&name)).expect("spawn");
        end(&mut domain);
    }
    until(|| session.history(100).expect("history").len() == 5);
    assert!(session.open("d0").is_err());
    assert!(session.open("d19").is_ok());
    world.stop();
}

#[test]
fn a_stop_ends_everything() {
    let mut world = World::new("die");
    let mut session = world.session();
    let mut numbers = Vec::new();
    let (mut output, writing) = pipe();
    let wide = session.spawn(world.wide_wish(&["family"], writing)).expect("spawn");
    assert_eq!(bytes(&mut output, 3), b"xxx");
    for _ in 0..20 {
        let mut domain = session.spawn(world.wish(&["sleep"])).expect("spawn");
        numbers.push(domain.status().expect("look").pid);
    }
    session.stop().expect("stop");
    assert!(numbers.iter().all(|number| !exists(*number)));
    assert_eq!(rest(output), b"");
    drop(wide);
    crate::wait(&mut world.service);
    crate::wait(&mut world.monitor);
}
