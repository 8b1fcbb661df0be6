//! Any bytes given to `Plan::check` and `Plan::check_part`: an answer, never a panic, and what it accepts can be read to its end.
//!
//! Accepted plans are read and not run: an operation acts on the process that runs it.

#![no_main]

use beget_plan::encoding::{HEADER, RECORD};
use beget_plan::op::Span;
use beget_plan::op::mapping::NO_FILE;
use beget_plan::{Engine, Op, Plan};
use libfuzzer_sys::fuzz_target;

fn within(data: &[u8], span: Span, size: usize) -> &[u8] {
    &data[span.at as usize..][..span.count as usize * size]
}

fn string(data: &[u8], at: u32) {
    assert!(data[at as usize..].contains(&0), "a string ends");
}

fn table(data: &[u8], span: Span) {
    for number in within(data, span, 4).chunks_exact(4) {
        string(data, u32::from_ne_bytes(number.try_into().expect("four bytes")));
    }
}

fuzz_target!(|bytes: &[u8]| {
    for engine in [Engine::Vfork, Engine::Fresh] {
        let Ok(plan) = Plan::check_part(bytes, engine) else {
            assert!(Plan::check(bytes, engine).is_err(), "a plan is a part of one too");
            continue;
        };
        assert_eq!(Plan::check(bytes, engine).is_ok(), plan.ends(), "a whole one is one that ends");
        let mut answer = 0;
        let data = &bytes[HEADER + plan.count() * RECORD..];
        for index in 0..plan.count() {
            let op = plan.op(index).expect("it was checked");
            assert!(op.runs_in(engine));
            let ends = matches!(op, Op::Execute { .. } | Op::Enter { .. } | Op::Resume { .. });
            assert_eq!(ends, plan.ends() && index + 1 == plan.count());
            match op {
                Op::Place { source, .. } => assert!((source as usize) < plan.descriptors()),
                Op::Processors { mask } => {
                    within(data, mask, 1);
                }
                Op::Groups { groups } => {
                    within(data, groups, 4);
                }
                Op::JoinKeyring { name, .. } | Op::MakeKeyring { name } | Op::Name { name } => {
                    string(data, name)
                }
                Op::ChangeDirectoryTo { source } => assert!((source as usize) < plan.descriptors()),
                Op::Map { source, .. } => {
                    assert!(source == NO_FILE || (source as usize) < plan.descriptors());
                    answer += 8;
                }
                Op::Write { bytes, .. } => {
                    within(data, bytes, 1);
                }
                Op::Populate { ranges, .. } => {
                    within(data, ranges, 16);
                }
                Op::Read { length, .. } => answer += length as usize,
                Op::MemoryMap { fields, executable } => {
                    within(data, fields, 8);
                    assert!(executable == NO_FILE || (executable as usize) < plan.descriptors());
                }
                Op::Enter { registers, .. } => {
                    within(data, registers, 8);
                    assert_eq!(registers.count, 8);
                }
                Op::Filter { instructions } => {
                    within(data, instructions, 8);
                    assert!(plan.scratch() >= instructions.count as usize);
                }
                Op::FilterWithListener { asking, refusing, .. } => {
                    within(data, asking, 8);
                    within(data, refusing, 8);
                }
                Op::Execute { arguments, environment, .. } => {
                    table(data, arguments);
                    table(data, environment);
                    assert!(plan.scratch() >= (arguments.count + environment.count) as usize + 3);
                }
                _ => {}
            }
        }
        assert_eq!(plan.answer_bytes(), answer);
    }
});
