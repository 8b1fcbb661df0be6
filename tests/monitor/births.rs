//! Births and ends, in every place where births can be.

use std::os::fd::AsFd;

use beget_monitor::fields::Writer;
use beget_monitor::protocol::{kind, place};
use beget_plan::message::change;
use beget_plan::nursery::{self, Sources};
use beget_plan::stub::role;
use beget_plan::{Draft, Op};

use crate::{Births, Ended, Monitor, await_end, births, exited, pipe};

/// The highest number that a domain can have.
const BIG: u64 = beget_monitor::protocol::NUMBERS_END - 1;

/// A plan for a nursery like the monitor's own.
pub(crate) fn nursery_plan(lasting: bool) -> Vec<u8> {
    let mut draft = Draft::new();
    draft.push(Op::DefaultSignals {});
    draft.push(Op::ProcessGroup { group: 0 });
    let sources = Sources { channel: 0, program: 1, second: lasting.then_some(2), files: None };
    let role = if lasting { role::LASTING } else { role::GUARDED };
    nursery::finish(role, sources, &mut draft, |draft, op, _| {
        draft.push(op);
    })
    .expect("our own limits");
    draft.encode(3)
}

#[test]
fn domains_are_born_and_their_ends_are_told() {
    for policy in ["die", "live"] {
        let monitor = Monitor::new(policy, 2, "own");
        let mut service = monitor.service();
        assert_eq!(service.client(1).kind, kind::CLIENT_IS);
        let born = service.born(&Births { labels: &[5, BIG], script: c"exit 7", ..Births::default() });
        let mut ends = [service.ended(), service.ended()];
        ends.sort_unstable();
        assert_eq!(ends, [exited(5, &born[0], 7), exited(BIG, &born[1], 7)]);
        assert_eq!(service.signal(5, 9), libc::ESRCH, "it has ended");
        // Nobody has taken them.
        let roll = service.roll();
        assert_eq!((roll.living.len(), &roll.ended[..]), (0, &ends[..]));
        service.take(5);
        let roll = service.roll();
        assert_eq!(&roll.ended[..], &ends[1..]);
        service.take(BIG);
        service.take(1234);
        service.is_empty();

        let (theirs, ours) = pipe();
        let asked =
            Births { labels: &[6], script: c"read line", given: &[theirs.as_fd()], ..Births::default() };
        let born = service.born(&asked);
        let roll = service.roll();
        assert_eq!(roll.living, [(6, born[0].number, false, 0)]);
        assert_eq!(service.signal(6, libc::SIGTERM), 0);
        let end =
            Ended { label: 6, process: born[0].number, how: change::KILLED, status: libc::SIGTERM as u32 };
        assert_eq!(service.ended(), end);
        drop(ours);
        service.take(6);
        service.is_empty();
    }
}

#[test]
fn what_fails_is_told_and_leaves_nothing() {
    let monitor = Monitor::new("live", 1, "own");
    let mut service = monitor.service();
    service.client(1);
    let (body, descriptors) = Births { labels: &[5, 6], ..Births::default() }.encode();
    // The program is a folder's descriptor: the exec fails.
    let folder = std::fs::File::open("/").expect("the root");
    let request = service.say(kind::BIRTHS, &body, &[folder.as_fd()]);
    let (fault, born) = births(&service.answer(request));
    drop(descriptors);
    assert_eq!((fault, born.len()), ((0, 0), 2));
    for born in born {
        assert_eq!((born.number, born.op, born.errno), (0, 7, libc::EACCES as u32));
    }
    service.is_empty();
    let refused = service.refused(&Births { client: 2, labels: &[5], ..Births::default() });
    assert_eq!(refused.0, libc::ENOENT, "{}", refused.1);
    assert_eq!(service.born(&Births { labels: &[5], script: c"exit 1", ..Births::default() })[0].errno, 0);
    let refused = service.refused(&Births { labels: &[5], ..Births::default() });
    assert_eq!(refused.0, libc::EEXIST, "{}", refused.1);
    assert_eq!(service.ended().status, 1);
    // An end that nobody takes is kept for ever, by a nursery that outlives this.
    service.take(5);
    service.is_empty();
}

#[test]
fn a_batch_is_all_or_nothing_if_so_asked() {
    let monitor = Monitor::new("die", 1, "own");
    let mut service = monitor.service();
    service.client(1);
    let labels: Vec<u64> = (1..=100).collect();
    let (reader, writer) = pipe();
    let asked = Births { labels: &labels, script: c"exit 3", given: &[writer.as_fd()], ..Births::default() };
    assert!(service.born(&asked).iter().all(|born| born.errno == 0));
    drop(writer);
    await_end(&reader);
    let mut ends: Vec<u64> = (0..100).map(|_| service.ended().label).collect();
    ends.sort_unstable();
    assert_eq!(ends, labels);
}

/// A nursery of its own, which ends with everything in it.
#[test]
fn a_nursery_of_ones_own_ends_with_all_that_is_in_it() {
    for policy in ["die", "live"] {
        let monitor = Monitor::new(policy, 1, "own");
        let mut service = monitor.service();
        service.client(1);
        let script = c"(setsid sleep 1000 &) ; sleep 1000";
        for (number, planned) in [(70, false), (71, true)] {
            let (reader, writer) = pipe();
            let first = planned.then(|| nursery_plan(policy == "live"));
            let place = if planned { place::PLANNED } else { place::FRESH };
            let given = [writer.as_fd(), writer.as_fd(), writer.as_fd()];
            let asked = Births {
                place,
                nursery: number,
                labels: &[number + 100],
                script,
                given: &given,
                first,
                ..Births::default()
            };
            let born = service.born(&asked);
            // And one more into the same.
            let asked = Births { place: place::EXISTING, nursery: number, first: None, ..asked };
            let more = service.born(&Births { client: 0, labels: &[number + 200], ..asked });
            drop(writer);
            let roll = service.roll();
            let all = [
                (number + 100, born[0].number, false, number),
                (number + 200, more[0].number, false, number),
            ];
            assert_eq!(roll.living, all);
            service.number(kind::END_NURSERY, number);
            await_end(&reader);
            let mut ends = [service.ended(), service.ended()];
            ends.sort_unstable();
            assert!(ends.iter().all(|end| (end.how, end.status) == (change::KILLED, 9)), "{ends:?}");
            let gone = service.told(kind::NURSERY_ENDED);
            assert_eq!(gone.body, number.to_ne_bytes());
            // An end is remembered also where the nursery is gone that told it.
            let roll = service.roll();
            assert_eq!((&roll.living[..], &roll.ended[..]), (&[][..], &ends[..]));
            ends.iter().for_each(|end| service.take(end.label));
            service.is_empty();
            service.number(kind::END_NURSERY, number);
            assert_eq!(service.told(kind::NURSERY_ENDED).body, number.to_ne_bytes(), "at once");
        }
        assert!(monitor.sockets() <= 1, "but for the shared one");
    }
}

#[test]
fn a_nursery_that_cannot_be_born_says_why() {
    let monitor = Monitor::new("die", 1, "own");
    let mut service = monitor.service();
    service.client(1);
    let mut draft = Draft::new();
    draft.push(Op::Umask { mode: 0 });
    draft.push(Op::ChangeDirectory { slot: 1_000_000 });
    let (arguments, environment) = (draft.strings([c"x"]), draft.strings([]));
    draft.push(Op::Execute { program: 9, arguments, environment, listening: 0 });
    let first = draft.encode(3);
    for labels in [&[8u64, 9][..], &[]] {
        let first = Some(first.clone());
        let asked = Births { place: place::PLANNED, nursery: 80, labels, first, ..Births::default() };
        let request = service.births(&asked);
        let (fault, born) = births(&service.answer(request));
        assert_eq!((fault, born.len()), ((1, libc::EBADF as u32), labels.len()));
        assert!(born.iter().all(|born| born.number == 0 && born.errno == libc::ECANCELED as u32));
        assert_eq!(service.told(kind::NURSERY_ENDED).body, 80u64.to_ne_bytes());
        service.is_empty();
    }
    // One alone that can, and is used later.
    let first = Some(nursery_plan(false));
    let asked = Births { place: place::PLANNED, nursery: 81, first, ..Births::default() };
    assert_eq!(service.born(&asked), []);
    let asked =
        Births { place: place::EXISTING, nursery: 81, labels: &[4], script: c"exit 6", ..Births::default() };
    let born = service.born(&asked);
    assert_eq!(service.ended(), exited(4, &born[0], 6));
    let refused = service.refused(&Births { place: place::FRESH, nursery: 81, ..asked });
    assert_eq!(refused.0, libc::EEXIST);
}

#[test]
fn it_stops_when_everything_has_ended() {
    for policy in ["die", "live"] {
        let mut monitor = Monitor::new(policy, 2, "own");
        let mut service = monitor.service();
        service.client(1);
        let (reader, writer) = pipe();
        let (gate, _ours) = pipe();
        let given = [gate.as_fd(), writer.as_fd()];
        service.born(&Births {
            labels: &[1, 2, 3],
            script: c"read line",
            given: &given,
            ..Births::default()
        });
        let first = Some(nursery_plan(policy == "live"));
        let asked = Births {
            place: place::PLANNED,
            nursery: 5,
            labels: &[4],
            script: c"trap '' TERM; read line",
            given: &given,
            first,
            ..Births::default()
        };
        service.born(&asked);
        drop(writer);
        let answer = service.ask(kind::STOP, &[], &[]);
        assert_eq!((answer.kind, answer.body), (kind::DONE, 0u32.to_ne_bytes().to_vec()));
        await_end(&reader);
        assert!(monitor.process.wait().expect("ours").success());
        let ends = service.unasked.iter().filter(|packet| packet.kind == kind::ENDED).count();
        assert_eq!((ends, monitor.sockets()), (4, 0));
    }
}

#[test]
fn what_is_kept_is_there_for_the_next_service() {
    let monitor = Monitor::new("die", 1, "own");
    let mut service = monitor.service();
    let keep = |service: &mut crate::Service, key: u64, note: &[u8], fd: std::os::fd::BorrowedFd<'_>| {
        let mut body = Writer::new();
        body.u64(key).bytes(note);
        service.say(kind::KEEP, body.body(), &[fd]);
    };
    let (reader, writer) = pipe();
    for key in 0..600 {
        keep(&mut service, key, &key.to_ne_bytes(), writer.as_fd());
    }
    keep(&mut service, 7, b"another", writer.as_fd());
    service.number(kind::FORGET, 8);
    service.number(kind::FORGET, 100_000);
    keep(&mut service, 9000, &[0; 1025], writer.as_fd());
    let refused = service.told(kind::NOT_KEPT);
    assert_eq!(refused.body, [&9000u64.to_ne_bytes()[..], &(libc::E2BIG as u32).to_ne_bytes()].concat());
    drop(service);
    let mut service = monitor.service();
    let mut kept = service.roll().kept;
    kept.sort_unstable_by_key(|(key, ..)| *key);
    assert_eq!(kept.len(), 599);
    for (key, note, fd) in &kept {
        let expected = if *key == 7 { b"another".to_vec() } else { key.to_ne_bytes().to_vec() };
        assert_eq!(*note, expected, "{key}");
        rustix::io::write(fd, b"x").expect("it is the pipe");
    }
    drop(kept);
    for key in 0..600 {
        service.number(kind::FORGET, key);
    }
    drop(writer);
    let mut bytes = vec![0; 599];
    std::io::Read::read_exact(&mut &reader, &mut bytes).expect("all");
    await_end(&reader);
}
