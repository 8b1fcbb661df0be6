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
            proptest::option::of(any::<u64>()),
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

/// Two filters in one process: the stricter verdict counts, and of two errnos that of the one put on later. The older one was put on by
/// another process, whose number it has.
fn both(newer: &[Instruction], older: &[Instruction], number: u32, arguments: [u64; 6]) -> u32 {
    const ERRNO_BITS: u32 = 0xffff;
    let mut theirs = older.to_vec();
    for one in theirs.iter_mut().filter(|one| one.code & 0x8000 != 0) {
        *one = Instruction { code: one.code & 0x7fff, k: one.k.wrapping_mul(TEMPLATE), ..*one };
    }
    let newer = run(newer, ARCHITECTURE, number, arguments).0;
    let older = run(&theirs, ARCHITECTURE, number, arguments).0;
    if older & !ERRNO_BITS < newer & !ERRNO_BITS { older } else { newer }
}

const TEMPLATE: u32 = 77;

const KEY: u64 = 0x1122_3344_5566_7788;

proptest! {
    #[test]
    fn a_copy_is_held_as_a_child_of_its_own_would_be(
        policy in policies(),
        number in prop_oneof![0u32..600, Just(nr::CLONE)],
        arguments in arguments(),
        which in 0usize..6,
    ) {
        let policy = Policy { copies: None, listener: false, ..policy };
        let (alone, template) = (build(&policy), build(&policy.of_template(KEY)));
        let beside = super::for_copy(&policy).unwrap_or_else(build_nothing);
        for number_of in [None, Some(OWN), Some(TEMPLATE)] {
            let mut arguments = arguments;
            arguments[which] = number_of.map_or(arguments[which], u64::from);
            let (verdict, _) = run(&alone, ARCHITECTURE, number, arguments);
            let held = both(&beside, &template, number, arguments);
            // It is refused all that would be refused to that; of what would not, what names itself by its number, and what sockets do.
            let narrower = number_of == Some(OWN) || arguments.contains(&OWN.into()) || !policy.given_sockets;
            prop_assert!(held == verdict || verdict == verdict::ALLOW && narrower, "{verdict:x} {held:x}");
        }
    }

    #[test]
    fn only_the_key_opens_a_templates_filter(policy in policies(), flags in any::<u32>(), low in any::<u32>(), high in any::<u32>()) {
        const PARENT: u32 = 0x8000;
        const NAMESPACES: u32 = 0x7e02_0000;
        let filter = build(&Policy { listener: false, ..policy }.of_template(KEY));
        let clone = |flags: u32, low: u32, high: u32| {
            let arguments = [flags.into(), 0, 0, 0, low.into(), high.into()];
            run(&filter, ARCHITECTURE, nr::CLONE, arguments).0 == verdict::ALLOW
        };
        let (right_low, right_high) = (KEY as u32, (KEY >> 32) as u32);
        prop_assert_eq!(clone(flags | PARENT, right_low, right_high), flags & NAMESPACES == 0);
        prop_assert!(!clone(flags | PARENT, low, right_high) || low == right_low);
        prop_assert!(!clone(flags | PARENT, right_low, high) || high == right_high);
    }
}

fn build_nothing() -> Vec<Instruction> {
    crate::filter::compile::compile(&[])
}

#[test]
fn where_landlock_keeps_signals_back_a_copy_needs_no_filter_of_its_own() {
    let policy = Policy { copies: None, ..a_policy() };
    assert!(super::for_copy(&Policy { landlock: 6, ..policy }).is_none());
    assert!(super::for_copy(&Policy { landlock: 5, ..policy }).is_some());
}

#[test]
fn no_call_has_two_rules() {
    let rules = table::rules(&a_policy());
    for pair in rules.windows(2) {
        assert!(pair[0].0 < pair[1].0, "{:?} twice", nr::name(pair[0].0));
    }
}

fn a_policy() -> Policy {
    Policy {
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
        copies: None,
    }
}
