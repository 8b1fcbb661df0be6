//! Many domains at once: nothing is held for one beyond its entry, and nothing is left of all.

use std::os::fd::AsFd;

use beget_monitor::protocol::{kind, place};
use beget_plan::message::change;

use crate::{Births, Monitor, await_end, pipe};

/// Open descriptors of a process.
fn held(process: u32) -> usize {
    std::fs::read_dir(format!("/proc/{process}/fd")).expect("it is ours").count()
}

/// Its resident size, in KiB.
fn resident(process: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it is ours");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has one");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

#[test]
fn a_thousand_domains_and_two_hundred_nurseries() {
    let monitor = Monitor::new("live", 2, "own");
    let number = monitor.process.id();
    let mut service = monitor.service();
    service.client(1);
    let (theirs, ours) = pipe();
    let (reader, writer) = pipe();
    let given = [theirs.as_fd(), writer.as_fd()];
    let (files, memory) = (held(number), resident(number));
    let labels: Vec<u64> = (1..=1000).collect();
    for lot in labels.chunks(100) {
        let asked = Births { labels: lot, script: c"read line", given: &given, ..Births::default() };
        assert!(service.born(&asked).iter().all(|born| born.errno == 0));
    }
    // Two hundred domains share one.
    let shared = 1000 / 200 + 2;
    assert!(held(number) <= files + shared, "a channel for each shared nursery, and nothing for a domain");
    for number in 2001..=2200 {
        let asked = Births {
            place: place::FRESH,
            nursery: number,
            labels: &[number],
            script: c"read line",
            given: &given,
            ..Births::default()
        };
        assert!(service.born(&asked).iter().all(|born| born.errno == 0));
    }
    drop(writer);
    assert!(held(number) <= files + shared + 200, "a channel for each nursery");
    assert!(resident(number) < memory + (8 << 10), "{memory} KiB before, {} now", resident(number));
    assert_eq!(service.roll().living.len(), 1200);
    drop(ours);
    let mut ends: Vec<u64> = (0..1200)
        .map(|_| {
            let end = service.ended();
            assert_eq!((end.how, end.status), (change::EXITED, 1));
            service.take(end.label);
            end.label
        })
        .collect();
    ends.sort_unstable();
    assert!(ends.into_iter().eq((1..=1000).chain(2001..=2200)), "each once");
    await_end(&reader);
    service.is_empty();
    service.number(kind::GONE, 1);
    for _ in 0..200 {
        service.told(kind::NURSERY_ENDED);
    }
    assert!(held(number) <= files + 2);
    assert!(monitor.sockets() <= 2);
}

/// A nursery that somebody stops holds up its own births and nobody else's; what is too much for it is refused.
#[test]
fn a_nursery_that_is_stopped_holds_up_nobody() {
    let monitor = Monitor::new("die", 1, "own");
    let mut service = monitor.service();
    service.client(1);
    let (gate, _ours) = pipe();
    let given = [gate.as_fd()];
    let asked = Births { place: place::FRESH, nursery: 5, labels: &[1], given: &given, ..Births::default() };
    let born = service.born(&Births { script: c"read line", ..asked });
    let status = std::fs::read_to_string(format!("/proc/{}/status", born[0].number)).expect("it lives");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has one");
    let parent: i32 = parent.trim().parse().expect("a number");
    let signal = |signal| {
        // SAFETY: the nursery of a child that lives.
        assert_eq!(unsafe { libc::kill(parent, signal) }, 0);
    };
    signal(libc::SIGSTOP);
    let long = std::ffi::CString::new(vec![b':'; 500 << 10]).expect("no NUL");
    let mut asked = 0;
    let refused = loop {
        asked += 1;
        let label = 100 + asked;
        let births = Births {
            place: place::EXISTING,
            nursery: 5,
            labels: &[label],
            script: &long,
            given: &given,
            ..Births::default()
        };
        let request = service.births(&births);
        // Whoever is in another nursery is born and ends meanwhile, and its answer comes after any refusal.
        let other = service.births(&Births { labels: &[10_000 + label], ..Births::default() });
        let mut answers = Vec::new();
        while answers.last().is_none_or(|packet: &beget_monitor::packet::Packet| packet.request != other) {
            let packet = service.hear().expect("it is there");
            if packet.request != 0 {
                answers.push(packet);
            }
        }
        if let Some(answer) = answers.into_iter().find(|packet| packet.request == request) {
            break crate::refusal(&answer);
        }
        assert!(asked < 100, "nothing is ever too much");
    };
    assert_eq!(refused.0, libc::EAGAIN, "{}", refused.1);
    signal(libc::SIGCONT);
    // Those that were taken are answered now: a script so long is no argument.
    for _ in 1..asked {
        let packet = service.hear().expect("it is there");
        if packet.request != 0 {
            assert_eq!(packet.kind, kind::BORN);
        }
    }
}
