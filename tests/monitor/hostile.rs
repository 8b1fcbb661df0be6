//! Whatever is said to a monitor: it is answered with a refusal, or not heard. It goes on, and nobody else is harmed.

use std::os::fd::AsFd;

use beget_monitor::fields::Writer;
use beget_monitor::protocol::{NUMBERS_END, VERSIONS, kind, place};
use beget_plan::message::{self, Header, Item, Living, change, label_words};

use crate::{Births, Ended, Monitor, await_end, births, exited, pipe, refusal};

#[test]
fn whoever_does_not_say_hello_is_not_heard() {
    let monitor = Monitor::new("die", 1, "own");
    let mut service = monitor.service();
    for (kind, body) in
        [(kind::STOP, vec![]), (kind::ROLL, vec![]), (kind::HELLO, vec![1; 7]), (999, vec![1])]
    {
        let mut other = monitor.silent_service();
        other.say(kind, &body, &[]);
        assert!(other.hear().is_none(), "{kind}");
    }
    let mut other = monitor.silent_service();
    let mut body = Writer::new();
    body.u32(VERSIONS[1] + 1).u32(VERSIONS[1] + 5);
    assert_eq!(refusal(&other.ask(kind::HELLO, body.body(), &[])).0, libc::EPROTO);
    assert!(other.hear().is_none());
    // Many who say nothing.
    let silent: Vec<_> = (0..100).map(|_| monitor.silent_service()).collect();
    service.client(1);
    let born = service.born(&Births { labels: &[1], script: c"exit 3", ..Births::default() });
    assert_eq!(service.ended(), exited(1, &born[0], 3));
    drop(silent);
}

#[test]
fn requests_that_are_none_are_refused() {
    let monitor = Monitor::new("live", 1, "own");
    let mut service = monitor.service();
    service.client(1);
    let null = std::fs::File::open("/dev/null").expect("a file");
    for kind in 2..130 {
        for body in [&[][..], &[1], &[0xff; 8], &[0xff; 13], &[0; 4000]] {
            let whole = body.is_empty() && matches!(kind, kind::ROLL | kind::STOP)
                || body.len() == 8
                    && matches!(kind, kind::GONE | kind::END_NURSERY | kind::TAKEN | kind::FORGET);
            if whole {
                continue;
            }
            let (errno, words) = refusal(&service.ask(kind, body, &[]));
            assert!(errno == libc::EINVAL, "{kind} {body:?}: {words}");
        }
        // What came with what takes nothing, and more than one is.
        let given = vec![null.as_fd(); if kind == kind::BIRTHS { 1 } else { 7 }];
        refusal(&service.ask(kind, &[0; 8], &given));
    }
    let born = service.born(&Births { labels: &[1], script: c"exit 3", ..Births::default() });
    assert_eq!(service.ended(), exited(1, &born[0], 3));
    // One that nobody takes is kept for ever, by a nursery that outlives this.
    service.take(1);
    service.is_empty();
}

#[test]
fn births_that_lie_are_refused() {
    let monitor = Monitor::new("live", 1, "own");
    let mut service = monitor.service();
    service.client(1);
    let (whole, descriptors) = Births { labels: &[5, 6], script: c"exit 3", ..Births::default() }.encode();
    let given: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
    let mut alive = 0;
    for at in (0..whole.len() - 3).step_by(4) {
        for lie in [u32::MAX, 1 << 31, whole.len() as u32, 3, 0] {
            let mut body = whole.clone();
            body[at..at + 4].copy_from_slice(&lie.to_ne_bytes());
            let request = service.say(kind::BIRTHS, &body, &given);
            let answer = service.answer(request);
            if answer.kind == kind::BORN {
                // Some lies are none: another label, another text.
                alive += births(&answer).1.iter().filter(|born| born.errno == 0).count();
            }
            while alive > 0 {
                let end = service.ended();
                service.take(end.label);
                alive -= 1;
            }
        }
    }
    for length in 0..whole.len() {
        let request = service.say(kind::BIRTHS, &whole[..length], &given);
        refusal(&service.answer(request));
    }
    service.is_empty();
    // A flag that is not for clients, in the first item.
    let mut body = whole.clone();
    const ITEMS: usize = 28;
    for flags in [2u32, 4, 64] {
        let item = Item { flags, ..Item::decode(&whole, ITEMS).expect("it is whole") };
        body[ITEMS..ITEMS + Item::SIZE].copy_from_slice(&item.encode());
        let request = service.say(kind::BIRTHS, &body, &given);
        assert_eq!(refusal(&service.answer(request)).0, libc::EINVAL, "{flags}");
    }
    for asked in [
        Births { place: 4, ..Births::default() },
        Births { labels: &[], ..Births::default() },
        Births { labels: &[0], ..Births::default() },
        Births { labels: &[1, 1], ..Births::default() },
        Births { labels: &[NUMBERS_END], ..Births::default() },
        Births { labels: &[u64::MAX], ..Births::default() },
        Births { labels: &[1], place: place::FRESH, nursery: NUMBERS_END, ..Births::default() },
        Births { labels: &[1], nursery: 7, ..Births::default() },
        Births { labels: &[1], place: place::FRESH, ..Births::default() },
        Births { labels: &[1], place: place::PLANNED, nursery: 7, ..Births::default() },
    ] {
        let (errno, words) = service.refused(&asked);
        assert_eq!(errno, libc::EINVAL, "{words}");
    }
    let asked = Births { labels: &[1], place: place::EXISTING, nursery: 7, ..Births::default() };
    assert_eq!(service.refused(&asked).0, libc::ESRCH);
}

/// A program that is no nursery where one was to be: what it says is believed of nobody, and it is gone with all that was to be in it.
#[test]
fn a_nursery_that_is_none() {
    let scripts: [&std::ffi::CStr; 5] = [
        c"exit 0",
        c"exec cat /dev/zero >&0",
        c"head -c 1000 /dev/urandom >&0; exec sleep 1000",
        c"printf 'BGTM' >&0; exec sleep 1000",
        c"exec sleep 1000",
    ];
    let monitor = Monitor::new("die", 1, "own");
    let mut service = monitor.service();
    service.client(1);
    let (gate, ours) = pipe();
    let other =
        Births { labels: &[77], script: c"read line; exit 5", given: &[gate.as_fd()], ..Births::default() };
    let born = service.born(&other);
    for (index, script) in scripts.into_iter().enumerate() {
        let number = 10 + index as u64;
        // It is a shell that has the channel as its descriptor 0.
        let first = Some(false_nursery(script));
        let asked =
            Births { place: place::PLANNED, nursery: number, labels: &[number], first, ..Births::default() };
        let (body, descriptors) = asked.encode();
        let given: Vec<_> = descriptors.iter().map(|fd| fd.as_fd()).collect();
        let request = service.say(kind::BIRTHS, &body, &given);
        service.number(kind::END_NURSERY, number);
        let (_, born) = births(&service.answer(request));
        assert!(born.iter().all(|born| born.number == 0 && born.errno != 0), "{script:?}: {born:?}");
        assert_eq!(service.told(kind::NURSERY_ENDED).body, number.to_ne_bytes());
    }
    let roll = service.roll();
    assert_eq!((roll.living, roll.ended), (vec![(77, born[0].number, false, 0)], vec![]));
    drop(ours);
    assert_eq!(service.ended(), exited(77, &born[0], 5));
}

/// A plan for a shell where a nursery was to be. The shell's file is that of the domains'.
fn false_nursery(script: &std::ffi::CStr) -> Vec<u8> {
    use beget_plan::{Draft, Op};
    let mut draft = Draft::new();
    draft.push(Op::NewSession {});
    draft.push(Op::Raise { floor: 20 });
    draft.push(Op::Place { source: 0, slot: 0, closing: 0 });
    draft.push(Op::Place { source: 3, slot: 10, closing: 1 });
    draft.push(Op::Close { first: 1, last: 9 });
    draft.push(Op::SignalMask { mask: 0 });
    let (arguments, environment) = (draft.strings([c"sh", c"-c", script]), draft.strings([]));
    draft.push(Op::Execute { program: 10, arguments, environment, listening: 0 });
    draft.encode(4)
}

/// A service that does not read is not served, and what it missed is there for the next one.
#[test]
fn a_service_that_does_not_read_loses_nothing() {
    let monitor = Monitor::new("die", 1, "own");
    let service = monitor.service();
    let mut sent = 0u64;
    let (body, descriptors) = Births { client: 9, labels: &[1], ..Births::default() }.encode();
    let given: Vec<i32> = descriptors.iter().map(std::os::fd::AsRawFd::as_raw_fd).collect();
    // As much as fits: nobody hears what is answered.
    let mut silent = 0;
    while silent < 50 {
        let mut outgoing =
            beget_monitor::packet::Outgoing::new(kind::BIRTHS, 7, &body, Vec::new()).expect("short");
        match outgoing.send(&service.connection) {
            Ok(true) => {
                sent += 1;
                silent = 0;
            }
            _ => {
                silent += 1;
                std::thread::sleep(std::time::Duration::from_millis(2));
            }
        }
    }
    assert!(sent > 0 && !given.is_empty());
    let mut service = monitor.service();
    service.client(1);
    let (reader, writer) = pipe();
    let born = service.born(&Births {
        labels: &[1],
        script: c"exit 3",
        given: &[writer.as_fd()],
        ..Births::default()
    });
    assert_eq!(service.ended(), exited(1, &born[0], 3));
    drop(writer);
    await_end(&reader);
}

/// Another user's nursery, which says that it has a domain, and how another one ended.
fn liar(listener: &std::os::unix::net::UnixListener) -> std::os::unix::net::UnixStream {
    use std::io::{Read, Write};
    let (mut channel, _) = listener.accept().expect("it is called");
    let mut asked = [0; message::HEADER];
    channel.read_exact(&mut asked).expect("what it has is asked");
    let [label_low, label_high] = label_words(2);
    let number = std::process::id();
    let end = Header {
        kind: message::kind::CHANGED,
        words: [number, change::EXITED, 99, 0],
        length: 152,
        ..Header::default()
    };
    let usage = [&[0; 144][..], &1u64.to_ne_bytes()].concat();
    let living = Living { label_low, label_high, number }.encode();
    let roll = Header {
        kind: message::kind::ROLL,
        words: [1, 0, 0, 0],
        length: living.len() as u32,
        ..Header::default()
    };
    channel.write_all(&[&end.encode()[..], &usage, &roll.encode(), &living].concat()).expect("it listens");
    channel
}

#[test]
fn a_strangers_nursery_says_nothing_of_others() {
    let mut monitor = Monitor::new("live", 1, "own");
    let mut service = monitor.service();
    service.client(1);
    let (first, gate) = pipe();
    let born = service.born(&Births {
        labels: &[1, 2],
        script: c"read line; exit 7",
        given: &[first.as_fd()],
        ..Births::default()
    });
    drop((first, service));
    monitor.kill();
    // Several, so that some are heard before the right one, and some after, in whatever order they are called.
    let bind = |number: u32| {
        let path = monitor.folder.at(&format!("nurseries/n-0-3039-3039-cbf29ce484222325-{number:x}-1"));
        std::os::unix::net::UnixListener::bind(path).expect("a free name")
    };
    let strangers: Vec<_> = (0..6).map(bind).collect();
    let liars: Vec<_> =
        strangers.into_iter().map(|listener| std::thread::spawn(move || liar(&listener))).collect();
    monitor.start_again();
    let mut service = monitor.service();
    // SAFETY: no pointer is given.
    let user = unsafe { libc::geteuid() };
    let roll = service.roll_of(&[(1, user, 0), (2, user, 0)]);
    assert_eq!(roll.ended, []);
    let mut living: Vec<_> = roll.living.iter().map(|(label, process, ..)| (*label, *process)).collect();
    living.sort_unstable();
    assert_eq!(living, [(1, born[0].number), (2, born[1].number)]);
    assert_eq!(service.signal(2, libc::SIGKILL), 0);
    assert_eq!(
        service.ended(),
        Ended { label: 2, process: born[1].number, how: change::KILLED, status: libc::SIGKILL as u32 }
    );
    drop(gate);
    assert_eq!(service.ended(), exited(1, &born[0], 7));
    [1, 2].into_iter().for_each(|label| service.take(label));
    for liar in liars {
        drop(liar.join().expect("it was called"));
    }
    service.is_empty();
}
