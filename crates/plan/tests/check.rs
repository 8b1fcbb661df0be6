//! The check takes nothing on trust: any bytes are an answer, never a panic, and what it accepts refers only inside itself.

mod support;

use beget_plan::encoding::{HEADER, Malformed, RECORD};
use beget_plan::op::Span;
use beget_plan::{Draft, Engine, Op, Plan};
use proptest::prelude::*;

/// Looks at an accepted plan with other eyes: from the bytes and the documented layout alone.
fn verify(bytes: &[u8], engine: Engine) -> Result<(), String> {
    let Ok(plan) = Plan::check(bytes, engine) else { return Ok(()) };
    let count = plan.count();
    let data = bytes.get(HEADER + count * RECORD..).ok_or("the operations reach past the end")?;
    let mut pointers = 0u64;
    let mut filter = 0u64;
    let within = |span: Span, size: u64| {
        let end = u64::from(span.at) + u64::from(span.count) * size;
        if end <= data.len() as u64 {
            Ok(())
        } else {
            Err(format!("{span:?} of {size} reaches past the data"))
        }
    };
    let string = |at: u32| {
        let rest = data.get(at as usize..).ok_or("a string begins past the data")?;
        if rest.contains(&0) { Ok(()) } else { Err("a string does not end") }
    };
    let table = |span: Span| -> Result<(), String> {
        within(span, 4)?;
        for index in 0..span.count as usize {
            let at = span.at as usize + index * 4;
            let number = data[at..at + 4].try_into().map(u32::from_ne_bytes).map_err(|_| "four bytes")?;
            string(number)?;
        }
        Ok(())
    };
    for index in 0..count {
        let op = plan.op(index).ok_or("an operation that means nothing")?;
        let ends = matches!(op, Op::Execute { .. });
        if ends != (index + 1 == count) {
            return Err("the program is not the end".into());
        }
        if !op.runs_in(engine) {
            return Err(format!("{op:?} is not for this engine"));
        }
        match op {
            Op::Place { source, slot, closing }
                if source as usize >= plan.descriptors() || slot < 0 || closing > 1 =>
            {
                return Err(format!("{op:?}"));
            }
            Op::JoinCgroup { slot } if slot < 0 => return Err(format!("{op:?}")),
            Op::Close { first, last } if first > last => return Err(format!("{op:?}")),
            Op::Processors { mask } => within(mask, 1)?,
            Op::Groups { groups } => within(groups, 4)?,
            Op::JoinKeyring { name, .. } | Op::MakeKeyring { name } => string(name)?,
            Op::Filter { instructions } => {
                within(instructions, 8)?;
                filter = filter.max(instructions.count.into());
            }
            Op::FilterWithListener { asking, refusing, .. } => {
                within(asking, 8)?;
                within(refusing, 8)?;
                filter = filter.max(asking.count.max(refusing.count).into());
            }
            Op::Execute { arguments, environment, .. } => {
                table(arguments)?;
                table(environment)?;
                pointers = u64::from(arguments.count) + u64::from(environment.count) + 3;
            }
            _ => {}
        }
    }
    if (plan.scratch() as u64) < filter + pointers {
        return Err(format!("scratch of {} for {filter} and {pointers}", plan.scratch()));
    }
    Ok(())
}

fn assert_verified(bytes: &[u8]) {
    for engine in [Engine::Vfork, Engine::Fresh] {
        if let Err(why) = verify(bytes, engine) {
            panic!("accepted for {engine:?}: {why}");
        }
    }
}

#[test]
fn a_whole_plan_is_what_was_drafted() {
    let draft = support::everything();
    let bytes = draft.encode(3);
    let plan = Plan::check(&bytes, Engine::Vfork).expect("it is a plan");
    let ops: Vec<Op> = (0..plan.count()).map(|index| plan.op(index).expect("it was checked")).collect();
    assert_eq!(ops, draft.ops());
    assert_eq!((plan.op(plan.count()), plan.descriptors()), (None, 3));
    assert_verified(&bytes);
}

#[test]
fn cut_at_any_length_it_is_refused() {
    let bytes = support::everything().encode(3);
    for length in 0..bytes.len() {
        assert_eq!(Plan::check(&bytes[..length], Engine::Vfork).err(), Some(Malformed::Header), "{length}");
        // The same with a header that tells the truth about the length.
        let mut cut = bytes[..length].to_vec();
        if let Some(place) = cut.get_mut(8..12) {
            place.copy_from_slice(&(length as u32).to_ne_bytes());
        }
        assert_verified(&cut);
    }
}

#[test]
fn every_byte_changed_is_an_answer() {
    let bytes = support::everything().encode(3);
    let mut refused = 0;
    for at in 0..bytes.len() {
        let bits = (0..8).map(|bit| bytes[at] ^ 1 << bit);
        for value in bits.chain([0, 0x7f, 0xff, bytes[at].wrapping_sub(1)]) {
            let mut changed = bytes.clone();
            changed[at] = value;
            refused += usize::from(Plan::check(&changed, Engine::Vfork).is_err());
            assert_verified(&changed);
        }
    }
    assert!(refused > bytes.len(), "{refused} changes were refused");
}

#[test]
fn what_would_change_the_parent_is_refused_for_vfork_alone() {
    for op in [Op::SetUser { user: 1 }, Op::SetGroup { group: 1 }, Op::Dumpable { value: 0 }] {
        let mut draft = Draft::new();
        draft.push(Op::Umask { mode: 0 });
        draft.push(op);
        support::execute(&mut draft, 3, &[c"x"], &[]);
        let bytes = draft.encode(0);
        assert_eq!(Plan::check(&bytes, Engine::Vfork).err(), Some(Malformed::Engine(1)), "{}", op.name());
        assert!(Plan::check(&bytes, Engine::Fresh).is_ok(), "{}", op.name());
    }
}

fn span() -> impl Strategy<Value = Span> {
    let number = || prop_oneof![0u32..200, any::<u32>()];
    (number(), number()).prop_map(|(at, count)| Span { at, count })
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        (0u32..6, any::<i32>(), 0u32..3).prop_map(|(source, slot, closing)| Op::Place {
            source,
            slot,
            closing
        }),
        any::<u32>().prop_map(|floor| Op::Raise { floor }),
        any::<(u32, u32)>().prop_map(|(first, last)| Op::Close { first, last }),
        any::<u64>().prop_map(|nanoseconds| Op::TimerSlack { nanoseconds }),
        any::<(u32, u64, u64)>().prop_map(|(resource, soft, hard)| Op::Limit { resource, soft, hard }),
        any::<(i32, i32)>().prop_map(|(signal, parent)| Op::DieWithParent { signal, parent }),
        (any::<u32>(), any::<i32>()).prop_map(|(name, serial)| Op::JoinKeyring { name, serial }),
        any::<i32>().prop_map(|slot| Op::JoinCgroup { slot }),
        span().prop_map(|mask| Op::Processors { mask }),
        span().prop_map(|groups| Op::Groups { groups }),
        span().prop_map(|instructions| Op::Filter { instructions }),
        (span(), span(), any::<i32>()).prop_map(|(asking, refusing, socket)| Op::FilterWithListener {
            asking,
            refusing,
            socket
        }),
        any::<u64>().prop_map(|mask| Op::SignalMask { mask }),
        (any::<i32>(), span(), span(), 0u32..3).prop_map(|(program, arguments, environment, listening)| {
            Op::Execute { program, arguments, environment, listening }
        }),
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        assert_verified(&bytes);
    }

    /// Any operations with any data: what comes back is what went in, or a refusal.
    #[test]
    fn any_operations_go_round(ops in proptest::collection::vec(op(), 0..8), data in proptest::collection::vec(any::<u8>(), 0..300)) {
        let mut draft = Draft::new();
        draft.bytes(&data);
        for op in &ops {
            draft.push(*op);
        }
        let bytes = draft.encode(4);
        assert_verified(&bytes);
        if let Ok(plan) = Plan::check(&bytes, Engine::Fresh) {
            let back: Vec<Op> = (0..plan.count()).filter_map(|index| plan.op(index)).collect();
            prop_assert_eq!(back, ops);
        }
    }

    /// A few bytes of a plan changed at once.
    #[test]
    fn a_plan_damaged_anywhere_is_an_answer(places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)) {
        let mut bytes = support::everything().encode(3);
        for (place, value) in places {
            let at = place.index(bytes.len());
            bytes[at] = value;
        }
        assert_verified(&bytes);
    }
}
