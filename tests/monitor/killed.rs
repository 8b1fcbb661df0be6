//! Whoever is killed, no end is lost: the service, the monitor, a nursery.

use std::os::fd::AsFd;

use beget_monitor::fields::Writer;
use beget_monitor::packet::Connection;
use beget_monitor::protocol::{LOST, VERSIONS, kind, place};
use beget_plan::message::change;

use beget_tests::tracer::driver;

use crate::births::nursery_plan;
use crate::{Births, Monitor, Service, await_end, exited, pipe};

/// A service that has given something to be kept tells its clients so; it may be killed then, and the next one be there before anything was heard.
#[test]
fn what_a_service_said_last_is_done_before_the_next_one_is_heard() {
    let monitor = Monitor::new("die", 1, "own");
    let signal = |signal| {
        // SAFETY: the monitor is our own child.
        assert_eq!(unsafe { libc::kill(monitor.process.id() as i32, signal) }, 0);
    };
    for round in 0..3 {
        let mut service = monitor.service();
        signal(libc::SIGSTOP);
        let file = std::fs::File::open("/dev/null").expect("it is there");
        for key in 0..200 {
            let mut body = Writer::new();
            body.u64(round * 1000 + key).bytes(b"note");
            service.say(kind::KEEP, body.body(), &[file.as_fd()]);
        }
        drop(service);
        let mut next = monitor.silent_service();
        let mut body = Writer::new();
        body.u32(VERSIONS[0]).u32(VERSIONS[1]);
        next.say(kind::HELLO, body.body(), &[]);
        signal(libc::SIGCONT);
        assert_eq!(next.hear().expect("it is heard").kind, kind::WELCOME);
        assert_eq!(next.roll().kept.len(), 200 * (round as usize + 1));
    }
}

#[test]
fn the_service_is_killed_and_another_one_knows_all() {
    for policy in ["die", "live"] {
        let monitor = Monitor::new(policy, 2, "own");
        let mut service = monitor.service();
        service.client(1);
        let (theirs, ours) = pipe();
        let (other, gate) = pipe();
        let given = [theirs.as_fd()];
        let living =
            service.born(&Births { labels: &[1], script: c"read line", given: &given, ..Births::default() });
        let given = [other.as_fd()];
        let ending = service.born(&Births {
            labels: &[2],
            script: c"read line; exit 8",
            given: &given,
            ..Births::default()
        });
        // Births that nobody hears the answer of.
        service.births(&Births {
            labels: &[3, 4],
            script: c"read line",
            given: &[theirs.as_fd()],
            ..Births::default()
        });
        drop((service, gate));
        let mut service = monitor.service();
        let mut roll = service.roll();
        roll.ended.extend(if roll.ended.is_empty() { Some(service.ended()) } else { None });
        assert_eq!(roll.ended, [exited(2, &ending[0], 8)]);
        // What a service had said that is gone is done before, or not at all.
        let mut labels: Vec<u64> = roll.living.iter().map(|(label, ..)| *label).collect();
        labels.retain(|label| *label != 2);
        assert!(labels == [1, 3, 4] || labels == [1], "{labels:?}");
        assert!(roll.living.contains(&(1, living[0].number, false, 0)));
        for (label, _, unborn, _) in &roll.living {
            if *unborn {
                let late = service.told(kind::BORN_LATE);
                assert_eq!(late.body[..8], label.to_ne_bytes());
            }
        }
        service.take(2);
        drop(ours);
        for _ in &labels {
            let end = service.ended();
            assert_eq!((end.how, end.status), (change::EXITED, 1));
            service.take(end.label);
        }
        service.is_empty();
    }
}

/// The one before hears nothing more.
#[test]
fn another_service_takes_its_place() {
    let monitor = Monitor::new("die", 1, "own");
    let mut service = monitor.service();
    service.client(1);
    let mut other = monitor.service();
    assert!(service.hear().is_none());
    let born = other.born(&Births { labels: &[1], script: c"exit 2", ..Births::default() });
    assert_eq!(other.ended(), exited(1, &born[0], 2));
}

#[test]
fn domains_die_with_their_monitor() {
    let mut monitor = Monitor::new("die", 2, "own");
    let mut service = monitor.service();
    service.client(1);
    let (reader, writer) = pipe();
    let (gate, _ours) = pipe();
    let given = [gate.as_fd(), writer.as_fd()];
    let script = c"(setsid sleep 1000 &); read line";
    service.born(&Births { labels: &[1, 2], script, given: &given, ..Births::default() });
    let first = Some(nursery_plan(false));
    let asked = Births {
        place: place::PLANNED,
        nursery: 5,
        labels: &[3],
        script,
        given: &given,
        first,
        ..Births::default()
    };
    service.born(&asked);
    drop(writer);
    monitor.kill();
    await_end(&reader);
}

/// It is started with a connection, and ends with whoever started it.
#[test]
fn it_ends_with_whoever_started_it() {
    let (connection, theirs) = Connection::pair().expect("a pair");
    let (alive, held) = pipe();
    let mut process = driver("part").stdin(theirs).stdout(alive).spawn().expect("a monitor");
    let mut service = Service::new(connection);
    service.hello();
    service.client(1);
    let (reader, writer) = pipe();
    let (gate, _ours) = pipe();
    let given = [gate.as_fd(), writer.as_fd()];
    service.born(&Births { labels: &[1], script: c"read line", given: &given, ..Births::default() });
    drop((writer, held));
    assert!(process.wait().expect("ours").success());
    await_end(&reader);
    assert!(service.hear().is_none());
}

#[test]
fn domains_live_on_and_the_next_monitor_has_them() {
    let mut monitor = Monitor::new("live", 2, "own");
    let mut service = monitor.service();
    service.client(1);
    let (theirs, ours) = pipe();
    let (other, gate) = pipe();
    let (reader, writer) = pipe();
    let script = c"read line; exit 4";
    let given = [theirs.as_fd(), writer.as_fd()];
    let living = service.born(&Births { labels: &[1], script, given: &given, ..Births::default() });
    let given = [other.as_fd(), writer.as_fd()];
    let ending = service.born(&Births { labels: &[2], script, given: &given, ..Births::default() });
    let given = [theirs.as_fd(), writer.as_fd()];
    let fresh =
        Births { place: place::FRESH, nursery: 50, labels: &[3], script, given: &given, ..Births::default() };
    let fresh = service.born(&fresh);
    let first = Some(nursery_plan(true));
    let planned = Births {
        place: place::PLANNED,
        nursery: 51,
        labels: &[4],
        script,
        given: &given,
        first,
        ..Births::default()
    };
    let planned = service.born(&planned);
    // An end that was told and is not taken, and one while no monitor is there.
    let told = service.born(&Births { labels: &[5], script: c"exit 5", ..Births::default() });
    assert_eq!(service.ended(), exited(5, &told[0], 5));
    monitor.kill();
    drop((service, gate));
    drop(writer);
    monitor.start_again();

    let mut service = monitor.service();
    let mut roll = service.roll();
    while roll.ended.len() < 2 {
        roll.ended.push(service.ended());
    }
    roll.ended.sort_unstable();
    roll.living.retain(|(label, ..)| *label != 2);
    assert_eq!(roll.ended, [exited(2, &ending[0], 4), exited(5, &told[0], 5)]);
    let all =
        [(1, living[0].number, false, 0), (3, fresh[0].number, false, 50), (4, planned[0].number, false, 51)];
    assert_eq!(roll.living, all);
    service.take(2);
    service.take(5);
    // It is as it was: signals reach them, and births their nurseries.
    assert_eq!(service.signal(1, libc::SIGKILL), 0);
    assert_eq!((service.ended().label, service.signal(1, 9)), (1, libc::ESRCH));
    service.client(1);
    for (label, nursery) in [(6, 50), (7, 51)] {
        let asked = Births {
            place: place::EXISTING,
            nursery,
            labels: &[label],
            script: c"exit 1",
            ..Births::default()
        };
        let born = service.born(&asked);
        assert_eq!(service.ended(), exited(label, &born[0], 1));
        service.take(label);
    }
    service.take(1);
    service.number(kind::END_NURSERY, 51);
    let end = service.ended();
    assert_eq!((end.label, end.how), (4, change::KILLED));
    assert_eq!(service.told(kind::NURSERY_ENDED).body, 51u64.to_ne_bytes());
    service.take(4);
    drop(ours);
    assert_eq!(service.ended(), exited(3, &fresh[0], 4));
    service.take(3);
    service.is_empty();
    await_end(&reader);
    // Nothing is left: of the old ones they end by themselves, of the new ones with the monitor.
    assert_eq!(service.ask(kind::STOP, &[], &[]).kind, kind::DONE);
    assert!(monitor.process.wait().expect("ours").success());
    assert_eq!(monitor.sockets(), 0);
}

/// One that holds nothing but another nursery lasts as long as that.
#[test]
fn a_nursery_in_a_nursery_lives_on() {
    let mut monitor = Monitor::new("live", 1, "own");
    let mut service = monitor.service();
    service.client(1);
    let (theirs, ours) = pipe();
    let (reader, writer) = pipe();
    let given = [theirs.as_fd(), writer.as_fd()];
    let asked = Births {
        place: place::PLANNED,
        nursery: 51,
        labels: &[4],
        script: c"read line; exit 4",
        given: &given,
        first: Some(nursery_plan(true)),
        ..Births::default()
    };
    let born = service.born(&asked);
    drop(writer);
    for _ in 0..3 {
        monitor.kill();
        monitor.start_again();
        service = monitor.service();
        assert_eq!(service.roll().living, [(4, born[0].number, false, 51)]);
    }
    drop(ours);
    assert_eq!(service.ended(), exited(4, &born[0], 4));
    service.take(4);
    await_end(&reader);
    service.number(kind::END_NURSERY, 51);
    assert_eq!(service.told(kind::NURSERY_ENDED).body, 51u64.to_ne_bytes());
    // And the one around it is not needed any more.
    while monitor.sockets() > 0 {
        service.is_empty();
    }
}

/// The monitor is killed again and again while births and ends go on: each end is told, and none is invented.
#[test]
fn a_monitor_that_is_killed_again_and_again_loses_no_end() {
    let mut monitor = Monitor::new("live", 2, "own");
    let mut alive = std::collections::BTreeMap::new();
    let mut ended = std::collections::BTreeMap::new();
    let mut next = 1;
    for _ in 0..12 {
        let mut service = monitor.service();
        let roll = service.roll();
        let living: Vec<u64> = roll.living.iter().map(|(label, ..)| *label).collect();
        for end in roll.ended {
            ended.entry(end.label).or_insert(end);
            service.take(end.label);
        }
        for label in alive.keys() {
            assert!(living.contains(label) != ended.contains_key(label), "{label} is neither, or both");
        }
        service.client(1);
        for _ in 0..20 {
            let labels: Vec<u64> = (next..next + 3).collect();
            next += 3;
            for (label, born) in labels.iter().zip(service.born(&Births {
                labels: &labels,
                script: c"exit 9",
                ..Births::default()
            })) {
                assert_eq!(born.errno, 0);
                alive.insert(*label, born.number);
            }
            // Some of the ends that have been told are taken, and others not.
            let told: Vec<_> = service.unasked.drain(..).collect();
            for packet in told.iter().filter(|packet| packet.kind == kind::ENDED).step_by(2) {
                let end = crate::ended(packet);
                ended.entry(end.label).or_insert(end);
                service.take(end.label);
            }
        }
        // What was said last is perhaps not heard any more.
        monitor.kill();
        monitor.start_again();
    }
    let mut service = monitor.service();
    let roll = service.roll();
    let mut last = roll.ended;
    let mut left: std::collections::BTreeSet<u64> = roll.living.iter().map(|(label, ..)| *label).collect();
    while !left.is_empty() {
        let end = service.ended();
        left.remove(&end.label);
        last.push(end);
    }
    for end in last {
        ended.entry(end.label).or_insert(end);
        service.take(end.label);
    }
    service.is_empty();
    for (label, process) in &alive {
        let end = ended.get(label).expect("every end is told");
        assert_eq!((end.how, end.status, end.process), (change::EXITED, 9, *process));
    }
    assert_eq!(ended.len(), alive.len());
}

/// Nobody knows how its domains ended, and that is what is said.
#[test]
fn a_nursery_is_killed() {
    for policy in ["die", "live"] {
        let monitor = Monitor::new(policy, 1, "own");
        let mut service = monitor.service();
        service.client(1);
        let (reader, writer) = pipe();
        let (gate, _ours) = pipe();
        let given = [gate.as_fd(), writer.as_fd()];
        let asked =
            Births { place: place::FRESH, nursery: 9, labels: &[1, 2], given: &given, ..Births::default() };
        let born = service.born(&Births { script: c"read line", ..asked });
        drop(writer);
        let status = std::fs::read_to_string(format!("/proc/{}/status", born[0].number)).expect("it lives");
        let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has one");
        let parent: i32 = parent.trim().parse().expect("a number");
        // SAFETY: the nursery of a child that lives.
        assert_eq!(unsafe { libc::kill(parent, libc::SIGKILL) }, 0);
        let mut ends = [service.ended(), service.ended()];
        ends.sort_unstable();
        assert_eq!(ends.map(|end| (end.label, end.how)), [(1, LOST), (2, LOST)]);
        assert_eq!(service.told(kind::NURSERY_ENDED).body, 9u64.to_ne_bytes());
        await_end(&reader);
        service.take(1);
        service.take(2);
        service.is_empty();
    }
}
