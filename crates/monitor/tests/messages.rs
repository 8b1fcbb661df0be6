//! Requests for births, and what nurseries say: what is meant is read, and foreign bytes are an answer.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use beget_monitor::births::{Manner, PUT_IN, Request, check};
use beget_monitor::channel::{News, Read, parse};
use beget_monitor::fields::Writer;
use beget_monitor::protocol::{NUMBERS_END, place};
use beget_plan::message::{Batch, Born, Header, Item, Living, flag, kind, label_words};
use beget_plan::{Draft, Op};
use beget_sys::Errno;
use proptest::prelude::*;

/// How many descriptors each plan has.
const TABLE: usize = 4;

fn plan() -> Vec<u8> {
    let mut draft = Draft::new();
    draft.push(Op::Place { source: 3, slot: 9, closing: 1 });
    let (arguments, environment) = (draft.strings([c"x"]), draft.strings([]));
    draft.push(Op::Execute { program: 9, arguments, environment, listening: 0 });
    draft.encode(TABLE)
}

/// A request for births of these labels and flags.
fn request(place: u32, nursery: u64, flags: u32, items: &[(u64, u32)]) -> Vec<u8> {
    let plan = plan();
    let begin = items.len() * Item::SIZE;
    let table: Vec<u8> = [0u32, 1, 1, 0].iter().flat_map(|index| index.to_ne_bytes()).collect();
    let mut body = Writer::new();
    body.u64(1).u32(place).u64(nursery).u32(flags).u32(items.len() as u32);
    for (label, flags) in items {
        let [label_low, label_high] = label_words(*label);
        let item = Item {
            plan: (begin + table.len()) as u32,
            length: plan.len() as u32,
            table: begin as u32,
            descriptors: TABLE as u32,
            cgroup: 1,
            flags: *flags,
            label_low,
            label_high,
            ..Item::EMPTY
        };
        body.raw(&item.encode());
    }
    body.raw(&table).raw(&plan);
    body.into_body()
}

fn files(count: usize) -> Vec<Rc<OwnedFd>> {
    (0..count).map(|_| Rc::new(OwnedFd::from(File::open("/dev/null").expect("a file")))).collect()
}

#[test]
fn births_are_written_anew_with_what_came() {
    let given = files(2);
    let body = request(place::SHARED, 0, flag::ATOMIC, &[(5, flag::KEPT), (6, flag::UNHELD)]);
    let request = check(&body, 2).expect("a request");
    assert_eq!((request.atomic, &request.labels[..], request.nursery), (true, &[5, 6][..], 0));
    for (kept, held) in [(true, false), (false, true)] {
        let encoded = request.domains(&given, Manner { kept, held });
        assert_eq!(encoded.descriptors.len(), 2, "each once");
        let batch = Batch::check(&encoded.body, 2, 2).expect("a batch");
        for (index, label) in [5, 6].into_iter().enumerate() {
            let birth = batch.birth(index).expect("it is there");
            let flags = if kept { flag::KEPT } else { 0 } | if held { 0 } else { flag::UNHELD };
            assert_eq!((birth.label, birth.flags, birth.plan), (label, flags, &plan()[..]));
            let places: Vec<_> = birth.descriptors().map(|index| &encoded.descriptors[index]).collect();
            assert!([0, 1, 1, 0].iter().zip(places).all(|(index, fd)| Rc::ptr_eq(&given[*index], fd)));
            let cgroup = birth.cgroup.expect("it has one") as usize;
            assert!(Rc::ptr_eq(&encoded.descriptors[cgroup], &given[1]));
        }
    }
    assert!(
        encoded_length(&request) < 2 * (Item::SIZE + TABLE * 4 + plan().len()),
        "a plan that two share is sent once"
    );
}

fn encoded_length(request: &Request<'_>) -> usize {
    request.domains(&files(2), Manner { kept: true, held: false }).body.len()
}

#[test]
fn a_nursery_has_what_the_monitor_puts_in() {
    let given = files(2);
    let body = request(place::PLANNED, 7, 0, &[(0, 0), (6, 0)]);
    let request = check(&body, 2).expect("a request");
    assert_eq!(request.labels, [6]);
    let put_in: [Rc<OwnedFd>; PUT_IN] = files(PUT_IN).try_into().expect("as many");
    let encoded = request.nursery(&given, put_in.clone()).expect("it makes one");
    let batch = Batch::check(&encoded.body, 1, encoded.descriptors.len()).expect("a batch");
    let birth = batch.birth(0).expect("it is there");
    assert_eq!((birth.label, birth.flags), (NUMBERS_END | 7, flag::UNHELD));
    let places: Vec<_> = birth.descriptors().map(|index| &encoded.descriptors[index]).collect();
    assert!(put_in.iter().chain([&given[0]]).zip(places).all(|(one, other)| Rc::ptr_eq(one, other)));
    let domains = request.domains(&given, Manner { kept: false, held: false });
    assert_eq!(Batch::check(&domains.body, 1, 2).and_then(|batch| batch.birth(0)).expect("one").label, 6);
}

#[test]
fn what_is_not_for_clients_is_refused() {
    let refused = |place, nursery, flags, items: &[(u64, u32)]| {
        let body = request(place, nursery, flags, items);
        let refusal = check(&body, 2).expect_err("it means nothing");
        assert_eq!(refusal.errno, Errno::EINVAL, "{}", refusal.words);
    };
    for flags in [flag::PARENT, flag::STOPS, flag::ATOMIC, 64] {
        refused(place::SHARED, 0, 0, &[(5, flags)]);
    }
    refused(place::SHARED, 0, flag::PARENT, &[(5, 0)]);
    refused(place::SHARED, 0, 0, &[(0, 0)]);
    refused(place::SHARED, 0, 0, &[(5, 0), (5, 0)]);
    refused(place::SHARED, 0, 0, &[(NUMBERS_END, 0)]);
    refused(place::SHARED, 1, 0, &[(5, 0)]);
    refused(place::FRESH, 0, 0, &[(5, 0)]);
    refused(place::FRESH, NUMBERS_END, 0, &[(5, 0)]);
    refused(place::PLANNED, 1, 0, &[(5, 0)]);
    refused(place::EXISTING + 1, 1, 0, &[(5, 0)]);
    refused(place::SHARED, 0, 0, &[]);
    let body = request(place::SHARED, 0, 0, &[(5, 0)]);
    assert!(check(&body, 1).is_err(), "a descriptor that did not come");
    for length in 0..body.len() {
        assert!(check(&body[..length], 2).is_err(), "{length}");
    }
}

#[test]
fn what_a_nursery_says_is_read_as_it_comes() {
    let born = Born { number: 3, op: 0, errno: 0, pidfd: 0 };
    let living = Living { label_low: 1, label_high: 2, number: 4 };
    let say = |kind, words, body: &[u8]| {
        let header = Header { kind, length: body.len() as u32, descriptors: 0, words };
        [&header.encode()[..], body].concat()
    };
    let ended = [[7; 144].as_slice(), &9u64.to_ne_bytes()].concat();
    let all = [
        say(kind::BORN, [1, 0, 0, 0], &born.encode()),
        say(kind::CHANGED, [5, 1, 2, 0], &ended),
        say(kind::ROLL, [1, 1, 0, 0], &living.encode()),
    ]
    .concat();
    let (mut incoming, mut given) = (Vec::new(), VecDeque::new());
    let mut news = Vec::new();
    for byte in all {
        incoming.push(byte);
        match parse(&mut incoming, &mut given) {
            Read::News(one) => news.push(one),
            Read::Nothing => {}
            Read::Closed => panic!("it means something"),
        }
    }
    let [News::Born(births), News::Changed(9, 5, 1, 2, usage), News::Living(all, true)] = &news[..] else {
        panic!("{news:?}");
    };
    assert_eq!((births.len(), births[0].0, **usage), (1, born, [7; 144]));
    assert_eq!(all[..], [(1 | 2 << 32, 4)]);
    for wrong in [
        say(kind::BORN, [2, 0, 0, 0], &born.encode()),
        say(kind::BORN, [65, 0, 0, 0], &[0; 65 * Born::SIZE]),
        say(kind::BORN, [1, 0, 0, 0], &Born { pidfd: 1, ..born }.encode()),
        say(kind::CHANGED, [5, 1, 2, 0], &ended[1..]),
        say(kind::ROLL, [2, 0, 0, 0], &living.encode()),
        say(kind::BATCH, [0; 4], &[]),
        say(kind::HELLO, [0; 4], &[0; 24]),
        vec![0xff; 32],
    ] {
        let read = parse(&mut wrong.clone(), &mut VecDeque::new());
        assert!(matches!(read, Read::Closed), "{read:?}");
    }
}

proptest! {
    #[test]
    fn changed_requests_are_an_answer_not_a_panic(
        at in 0usize..400, byte: u8, planned: bool, cut in 0usize..400, more: bool,
    ) {
        let items: &[(u64, u32)] = if planned { &[(0, 0), (6, 0)] } else { &[(5, 0), (6, 0)] };
        let place = if planned { place::PLANNED } else { place::EXISTING };
        let mut body = request(place, 9, 0, items);
        let length = body.len();
        body[at % length] = byte;
        if more {
            body.truncate(length - cut % length);
        }
        if let Ok(request) = check(&body, 2) {
            let encoded = request.domains(&files(2), Manner { kept: true, held: false });
            let count = request.labels.len() as u32;
            prop_assert!(Batch::check(&encoded.body, count, encoded.descriptors.len()).is_some());
            prop_assert!(request.labels.iter().all(|label| *label != 0 && *label < NUMBERS_END));
        }
    }

    #[test]
    fn foreign_bytes_from_a_nursery_are_an_answer_not_a_panic(
        kind in 16u32..20, words: [u8; 4], length in 0u32..300, bytes in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let header = Header { kind, length, descriptors: 0, words: words.map(u32::from) };
        let mut incoming = [&header.encode()[..], &bytes].concat();
        let before = incoming.len();
        match parse(&mut incoming, &mut VecDeque::new()) {
            Read::News(_) => prop_assert!(incoming.len() < before),
            Read::Nothing | Read::Closed => prop_assert_eq!(incoming.len(), before),
        }
    }
}
