//! The filter, run by an interpreter of classic BPF written from its documentation, and held against the table.

use beget_sys::nr;
use beget_sys::seccomp::{ARCHITECTURE, Instruction, LONGEST, code, verdict};
use proptest::prelude::*;

use super::{Policy, build, table};
use crate::filter::compile::{Condition, Rule, Test, Value};

const OWN: u32 = 4242;
const ENOSYS: u32 = verdict::ERRNO | 38;

/// What the kernel would answer, and in how many steps.
fn run(filter: &[Instruction], arch: u32, number: u32, arguments: [u64; 6]) -> (u32, usize) {
    let mut data = vec![number, arch, 0, 0];
    for argument in arguments {
        data.extend([argument as u32, (argument >> 32) as u32]);
    }
    let (mut at, mut accumulator, mut steps) = (0, 0u32, 0);
    loop {
        let Instruction { code, jump_true, jump_false, k } = filter[at];
        let k = if code & 0x8000 != 0 { k.wrapping_mul(OWN) } else { k };
        steps += 1;
        at += 1;
        let mut jump = |holds: bool| at += usize::from(if holds { jump_true } else { jump_false });
        match code & 0x7fff {
            code::LOAD => accumulator = data[k as usize / 4],
            code::AND => accumulator &= k,
            code::JUMP => at += k as usize,
            code::JUMP_EQUAL => jump(accumulator == k),
            code::JUMP_AT_LEAST => jump(accumulator >= k),
            code::JUMP_BITS => jump(accumulator & k != 0),
            code::RETURN => return (k, steps),
            other => panic!("instruction {other:#x}"),
        }
    }
}

fn holds(condition: &Condition, arguments: [u64; 6]) -> bool {
    let low = arguments[condition.argument as usize] as u32 & condition.mask;
    let equal = |value: &Value| match value {
        Value::Constant(k) => low == *k,
        Value::OwnNumber(times) => low == (*times as u32).wrapping_mul(OWN),
    };
    match &condition.test {
        Test::OneOf(values) => values.iter().any(equal),
        Test::NoneOf(values) => !values.iter().any(equal),
        Test::AnyBit(bits) => low & bits != 0,
    }
}

/// What the table says, read naively.
fn meant(rules: &[(u32, Rule)], number: u32, arguments: [u64; 6]) -> u32 {
    if number >= nr::END {
        return ENOSYS;
    }
    match rules.iter().find(|(known, _)| *known == number) {
        None => verdict::ALLOW,
        Some((_, Rule::Verdict(verdict))) => *verdict,
        Some((_, Rule::Clauses(clauses))) => clauses
            .iter()
            .find(|(conditions, _)| conditions.iter().all(|condition| holds(condition, arguments)))
            .map_or(verdict::ALLOW, |(_, verdict)| *verdict),
    }
}

fn policies() -> impl Strategy<Value = Policy> {
    let flags = (
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
    );
    (
        flags,
        (
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
            any::<bool>(),
        ),
        proptest::option::of(proptest::option::of(3u32..50)),
        0u32..9,
    )
        .prop_map(
            |(
                (spawn, tcp, bind, udp, net, unix, own_numbers, own_group, listener),
                (keep_processors, keep_modes, creates, given_sockets, own_session, copies, discreet),
                only,
                landlock,
            )| Policy {
                spawn,
                only,
                tcp,
                bind,
                udp,
                net,
                unix,
                own_numbers,
                keep_processors,
                landlock,
                own_group,
                keep_modes,
                creates,
                given_sockets,
                own_session,
                listener,
                discreet,
                copies,
            },
        )
}

fn arguments() -> impl Strategy<Value = [u64; 6]> {
    let interesting =
        [0, 1, 2, 6, 8, 10, 15, 16, 17, 31, 62, OWN as u64, (OWN as u64).wrapping_neg(), 0x1000, 0o1000];
    let flags = [0x10f00, 0x1200011, 0x8000, 0x2000_0000, 0x5412, 0x5401, 0x4008_6602, 0x7fff_ffff_0000_0002];
    let known: Vec<u64> = interesting.into_iter().chain(flags).collect();
    proptest::array::uniform6(prop_oneof![proptest::sample::select(known), any::<u64>()])
}

proptest! {
    #[test]
    fn the_program_says_what_the_table_says(policy in policies(), number in 0u32..600, arguments in arguments()) {
        let filter = build(&policy);
        prop_assert!(filter.len() < LONGEST);
        let (answer, _) = run(&filter, ARCHITECTURE, number, arguments);
        prop_assert_eq!(answer, meant(&table::rules(&policy), number, arguments));
    }

    #[test]
    fn foreign_machines_and_numbers_are_unknown(policy in policies(), number in any::<u32>(), arch in any::<u32>()) {
        let filter = build(&policy);
        prop_assert_eq!(run(&filter, arch ^ ARCHITECTURE ^ 1, 1, [0; 6]).0 == ENOSYS, arch != 1);
        prop_assert_eq!(run(&filter, ARCHITECTURE, number | 0x4000_0000, [0; 6]).0, ENOSYS);
    }
}

proptest! {
    #[test]
    fn without_a_listener_the_same_is_refused(policy in policies(), number in 0u32..600, arguments in arguments()) {
        let asking = build(&Policy { listener: true, ..policy });
        let refusing = build(&Policy { listener: false, ..policy });
        let derived = super::without_listener(&asking);
        let answer = |filter: &[Instruction]| run(filter, ARCHITECTURE, number, arguments).0;
        prop_assert_eq!(answer(&derived), answer(&refusing));
    }
}

#[test]
fn no_call_has_two_rules() {
    let policy = Policy {
        spawn: false,
        only: Some(Some(3)),
        tcp: true,
        bind: false,
        udp: false,
        net: false,
        unix: false,
        own_numbers: false,
        keep_processors: true,
        landlock: 0,
        own_group: false,
        keep_modes: true,
        creates: true,
        given_sockets: true,
        own_session: false,
        listener: false,
        discreet: true,
        copies: false,
    };
    let rules = table::rules(&policy);
    for pair in rules.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{:?} twice", nr::name(pair[0].0));
    }
}
