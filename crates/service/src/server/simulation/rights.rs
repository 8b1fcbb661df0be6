//! What a connection may do, and nothing else; and who speaks no sense.

use super::*;
use crate::protocol::{error, right};

#[test]
fn each_right_alone_can_do_that_and_nothing_else() {
    let mut world = World::new();
    let mut session = world.connect();
    let (_, capability) = world.spawn(&mut session, "web", wanted::CAPABILITY);
    let mut capability = capability.unwrap();
    let mut name = Writer::new();
    name.str("file");
    let signal = 0u32.to_ne_bytes().to_vec();
    let requests = [
        (kind::SPAWN, right::SPAWN, Vec::new()),
        (kind::LIST, 0, Vec::new()),
        (kind::OPEN, 0, name.body().to_vec()),
        (kind::STATE, 0, Vec::new()),
        (kind::STOP, 0, Vec::new()),
        (kind::HISTORY, 0, 5u32.to_ne_bytes().to_vec()),
        (kind::STATUS, right::LOOK, Vec::new()),
        (kind::HOLDINGS, right::LOOK, Vec::new()),
        (kind::WAIT, right::WAIT, number(0)),
        (kind::SIGNAL, right::SIGNAL, signal),
        (kind::SEND, right::SEND, name.body().to_vec()),
        (kind::ASKED, right::SEND, number(0)),
        (kind::KILL, right::SIGNAL, number(0)),
    ];
    for rights in [right::LOOK, right::WAIT, right::SEND, right::LOOK | right::WAIT, right::SIGNAL] {
        let mut answer = world.ask(&mut capability, kind::ATTENUATE, &rights.to_ne_bytes(), Vec::new());
        let mut weak = Client::new(answer.descriptors.pop().unwrap());
        for (kind, needed, body) in &requests {
            let given =
                if *kind == kind::SEND { vec![std::io::pipe().unwrap().0.into()] } else { Vec::new() };
            let answer = world.ask(&mut weak, *kind, body, given);
            let may = *needed != 0 && *needed & !rights == 0;
            assert_eq!(code(&answer) != error::NO_RIGHT, may, "{kind} with {rights}: {}", words(&answer));
        }
        // No more can be made of it.
        for more in [right::DOMAIN, rights | right::SPAWN, 0, 1 << 9] {
            let answer = world.ask(&mut weak, kind::ATTENUATE, &more.to_ne_bytes(), Vec::new());
            assert_eq!(code(&answer), error::NO_RIGHT, "{more}");
        }
    }
}

#[test]
fn a_spawner_only_spawns_where_its_domain_may() {
    let mut world = World::new();
    let mut session = world.connect();
    let (ours, theirs) = Connection::pair().unwrap();
    let mut spawner = Client::new(ours.into_socket());
    let mut domain = wanted("maker", wanted::CAPABILITY);
    domain.own = 1;
    let spawn = Spawn { spawner: true, batch: batch(2), ..spawn_of(vec![domain]) };
    let mut answer = world.ask(&mut session, kind::SPAWN, &spawn.encode(), vec![theirs]);
    let maker = spawned(&answer)[0].id;
    let mut capability = Client::new(answer.descriptors.pop().unwrap());
    for kind in [kind::LIST, kind::STATE, kind::STOP, kind::STATUS, kind::WAIT, kind::KILL, kind::OPEN] {
        assert_eq!(code(&world.ask(&mut spawner, kind, &[], Vec::new())), error::NO_RIGHT);
    }
    world.restart();
    let (product, held) = world.spawn(&mut spawner, "product", wanted::CAPABILITY);
    let mut held = held.unwrap();
    assert_eq!(world.monitor.living[&product].1, maker + 1, "in the nursery of its maker's confinement");
    assert_eq!(world.record(&mut held, kind::STATUS, &[]).parent, maker);
    let outside = Spawn { planned: true, batch: batch(2), ..spawn_of(vec![wanted("out", 0)]) };
    let answer = world.ask(&mut spawner, kind::SPAWN, &outside.encode(), Vec::new());
    assert_eq!(code(&answer), error::NO_RIGHT);
    // They end with their maker, whose right ends first; the product's end is told to its own holder.
    let record = world.record(&mut capability, kind::KILL, &number(100));
    assert_eq!(record.life, Life::Killed(15));
    assert!(world.monitor.living.is_empty() && world.monitor.nurseries.is_empty());
    let record = world.record(&mut held, kind::WAIT, &number(u64::MAX));
    assert_eq!(record.report, "its creator was ended");
    world.turns();
    assert!(spawner.receive().is_none() && spawner.closed);
}

#[test]
fn garbage_is_answered_and_closed_others_are_served() {
    let mut world = World::new();
    let mut good = world.connect();
    world.spawn(&mut good, "web", wanted::ALONE);
    let mut cases: Vec<(u16, Vec<u8>)> = vec![
        (99, Vec::new()),
        (kind::SPAWN, vec![1; 10]),
        (kind::OPEN, vec![255; 8]),
        (kind::STATE, vec![1]),
        (kind::HELLO, Vec::new()),
    ];
    let right = spawn_of(vec![wanted("x", 0)]);
    let flags = Spawn { domains: vec![wanted("x", 1 << 7)], ..right.clone() };
    let tied = Spawn { domains: vec![wanted("x", wanted::TIED)], ..right.clone() };
    let lies = Spawn { batch: batch(0), ..right.clone() };
    let none = Spawn { domains: Vec::new(), ..right.clone() };
    let own = Spawn { domains: vec![Wanted { own: 1000, ..wanted("x", 0) }], ..right.clone() };
    let channel = Spawn { domains: vec![wanted("x", wanted::CHANNEL)], ..right };
    cases.extend([flags, tied, lies, none, own, channel].map(|spawn| (kind::SPAWN, spawn.encode())));
    for (kind, body) in cases {
        let mut bad = world.connect();
        bad.ask(kind, &body, Vec::new());
        let answer = world.answer(&mut bad);
        assert!(
            [error::MALFORMED, error::VERSION].contains(&code(&answer)),
            "{kind} {body:?}: {}",
            words(&answer)
        );
        world.until(|_| bad.receive().is_none() && bad.closed);
        assert_eq!(world.list(&mut good), ["web"]);
    }
    assert_eq!(world.server().connections.len(), 1);
    assert!(world.monitor.kept.len() == 1, "what is closed is not kept");
}

#[test]
fn a_channel_that_is_none_is_refused() {
    let mut world = World::new();
    let mut session = world.connect();
    let mut domain = wanted("x", wanted::CHANNEL);
    domain.own = 1;
    let spawn = spawn_of(vec![domain]);
    let answer =
        world.ask(&mut session, kind::SPAWN, &spawn.encode(), vec![std::io::pipe().unwrap().0.into()]);
    assert_eq!(code(&answer), error::MALFORMED);
    let mut session = world.connect();
    let mut domain = wanted("x", 0);
    (domain.own, domain.groups) = (1, vec!["g".to_owned()]);
    let spawn = spawn_of(vec![domain]);
    let answer =
        world.ask(&mut session, kind::SPAWN, &spawn.encode(), vec![std::io::pipe().unwrap().0.into()]);
    assert_eq!(code(&answer), error::MALFORMED, "a folder that is none of cgroups");
}

#[test]
fn whoever_never_reads_is_the_only_one_to_wait() {
    let mut world = World::new();
    let mut good = world.connect();
    world.spawn(&mut good, "web", wanted::ALONE);
    let lazy = world.connect();
    let mut sent = 0;
    let mut list = Writer::new();
    list.raw(&[]);
    world.until(|_| {
        // Until its requests fill their own socket, for nobody takes them any more.
        let mut packet =
            beget_monitor::packet::Outgoing::new(kind::LIST, sent + 1, list.body(), Vec::new()).unwrap();
        let full = !packet.send(&lazy.connection).unwrap();
        sent += 1;
        full
    });
    assert_eq!(world.list(&mut good), ["web"]);
    world.turns();
    let before = world.server().connections.len();
    drop(lazy);
    world.until(|world| world.server().connections.len() < before);
}

#[test]
fn a_client_that_may_not_be_served_is_told() {
    let mut world = World::new();
    world.monitor.refusing = true;
    let mut client = world.connect();
    client.ask(kind::LIST, &[], Vec::new());
    let answer = world.answer(&mut client);
    assert_eq!(code(&answer), error::CLIENT);
    world.until(|_| client.receive().is_none() && client.closed);
}

#[test]
fn a_channel_gives_and_tells_what_is_asked_for() {
    let mut world = World::new();
    let mut session = world.connect();
    let (ours, theirs) = Connection::pair().unwrap();
    let domains_end = ours.into_socket();
    let mut domain = wanted("web", wanted::CHANNEL | wanted::CAPABILITY);
    domain.own = 1;
    let spawn = spawn_of(vec![domain]);
    let mut answer = world.ask(&mut session, kind::SPAWN, &spawn.encode(), vec![theirs]);
    let mut capability = Client::new(answer.descriptors.pop().unwrap());
    assert_eq!(world.ask(&mut capability, kind::ASKED, &number(0), Vec::new()).kind, kind::NOT_YET);
    beget_channel::send(&domains_end, "log", None, false).unwrap();
    beget_channel::send(&domains_end, "data", None, false).unwrap();
    beget_channel::send(&domains_end, "log", None, false).unwrap();
    world.turns();
    world.restart();
    let name = |answer: &Packet| Reader::new(&answer.body).str().map(str::to_owned);
    for expected in ["log", "data"] {
        let answer = world.ask(&mut capability, kind::ASKED, &number(u64::MAX), Vec::new());
        assert_eq!(name(&answer).as_deref(), Some(expected));
    }
    assert_eq!(world.record(&mut capability, kind::STATUS, &[]).asks, ["log", "data"]);
    let mut body = Writer::new();
    body.str("log");
    let answer = world.ask(&mut capability, kind::SEND, body.body(), vec![std::io::pipe().unwrap().0.into()]);
    assert_eq!(answer.kind, kind::DONE, "{}", words(&answer));
    let given = beget_channel::receive(&domains_end, false).unwrap();
    assert!(matches!(given, Some(beget_channel::Packet::Capability(name, _)) if name == "log"));
    assert_eq!(world.record(&mut capability, kind::STATUS, &[]).asks, ["data"]);
    // It does not read.
    let full = loop {
        let answer =
            world.ask(&mut capability, kind::SEND, body.body(), vec![std::io::pipe().unwrap().0.into()]);
        if answer.kind != kind::DONE {
            break answer;
        }
    };
    assert_eq!(code(&full), error::FULL);
    capability.ask(kind::ASKED, &number(u64::MAX), Vec::new());
    world.turns();
    drop(domains_end);
    assert_eq!(code(&world.answer(&mut capability)), error::ENDED);
}

#[test]
fn nobody_is_a_keeper_whose_birth_the_service_did_not_write() {
    let mut world = World::new();
    let mut session = world.connect();
    let spawn = spawn_of(vec![wanted("false", wanted::CAPABILITY | wanted::KEEPER)]);
    let mut liar = world.connect();
    let answer = world.ask(&mut liar, kind::SPAWN, &spawn.encode(), Vec::new());
    assert_eq!(code(&answer), error::MALFORMED, "{}", words(&answer));
    let asked = |name: &str| {
        let mut body = Writer::new();
        body.raw(&[7; 16]).str(name);
        body.into_body()
    };
    for given in [Vec::new(), vec![std::io::pipe().unwrap().0.into()]] {
        let mut wrong = world.connect();
        let answer = world.ask(&mut wrong, kind::KEEPER, &asked("true"), given);
        assert_eq!(code(&answer), error::MALFORMED, "{}", words(&answer));
    }
    let (_ours, theirs) = Connection::pair().unwrap();
    let mut answer = world.ask(&mut session, kind::KEEPER, &asked("true"), vec![theirs]);
    assert_eq!(spawned(&answer)[0].errno, 0);
    let mut capability = Client::new(answer.descriptors.pop().unwrap());
    let (_, ordinary) = world.spawn(&mut session, "web", wanted::CAPABILITY);
    for restarted in [false, true] {
        if restarted {
            world.restart();
        }
        assert!(world.record(&mut capability, kind::STATUS, &[]).keeper);
    }
    assert!(!world.record(&mut ordinary.unwrap(), kind::STATUS, &[]).keeper);
    // Only a session asks for one.
    let (_ours, theirs) = Connection::pair().unwrap();
    let answer = world.ask(&mut capability, kind::KEEPER, &asked("other"), vec![theirs]);
    assert_eq!(code(&answer), error::NO_RIGHT, "{}", words(&answer));
}
