//! Whole programs put together by hand, one operation after the other and all in one message.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsFd;

use beget::{Answer, Construct, Part, Protection, Registers, SignalSet};

use crate::{AT, PAGE, code, embryo, end, pipe, prepare, rest, status};

/// The smallest program there is, put together in two ways: what one operation at a time does, one message does too.
#[test]
fn a_program_made_by_hand_runs() {
    let (reader, writer) = pipe();
    let mut alone = embryo();
    alone.grant(5, writer.as_fd()).expect("grant");
    prepare(&mut alone, &code::say(5, "one at a time", 41));
    let process = alone.start().expect("start");
    drop(writer);
    assert_eq!(rest(reader), b"one at a time");
    assert_eq!(end(&process).exit_code(), 41);

    let (reader, writer) = pipe();
    let mut together = embryo();
    let text = code::say(9, "in one message", 42);
    let mut part = Part::new();
    part.map(AT, PAGE, Protection::WRITE).write(AT, &text).read(AT, 2).protect(AT, PAGE, Protection::EXECUTE);
    part.map(AT + PAGE, PAGE, Protection::WRITE).grant(9, writer.as_fd()).umask(0).set_name(c"together");
    let answers = together.apply(&part).expect("the part");
    let done = Answer::Done;
    let expected = [
        Answer::Address(AT),
        done.clone(),
        Answer::Bytes(text[..2].to_vec()),
        done.clone(),
        Answer::Address(AT + PAGE),
        done.clone(),
        done.clone(),
        done,
    ];
    assert_eq!(answers, expected);
    together.set_registers(Registers { instruction: AT, stack: AT + 2 * PAGE, ..Registers::default() });
    let process = together.start().expect("start");
    drop(writer);
    assert_eq!(rest(reader), b"in one message");
    assert_eq!(end(&process).exit_code(), 42);
}

#[test]
fn registers_are_as_they_were_set() {
    let (reader, writer) = pipe();
    let mut embryo = embryo();
    embryo.grant(1, writer.as_fd()).expect("grant");
    prepare(&mut embryo, &code::tell_registers(1));
    let [rbx, rbp, r12, r13, r14, r15] = [1u64, 2, 3, 4, 5, 6].map(|number| number << 60 | number);
    let (instruction, stack) = (AT, AT + 2 * PAGE - 64);
    embryo.set_registers(Registers { instruction, stack, rbx, rbp, r12, r13, r14, r15 });
    let process = embryo.start().expect("start");
    drop(writer);
    let told: Vec<u64> = rest(reader).as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)).collect();
    assert_eq!(told, [rbx, rbp, r12, r13, r14, r15, stack]);
    assert!(end(&process).success());
}

#[test]
fn the_signal_mask_is_the_programs_from_its_first_instruction() {
    for (mask, told) in
        [(SignalSet::EMPTY, "0000000000000000"), (SignalSet::EMPTY.with(10), "0000000000000200")]
    {
        let mut embryo = embryo();
        prepare(&mut embryo, &code::stay());
        embryo.signal_mask(mask);
        let process = embryo.start().expect("start");
        assert_eq!(status(process.id(), "SigBlk"), told);
        process.kill().expect("kill");
        assert_eq!(end(&process).exit_code(), 128 + 9);
    }
}

#[test]
fn a_part_without_operations_does_nothing() {
    let mut embryo = embryo();
    embryo.umask(0o22).expect("it has come to itself");
    let before = crate::seen(embryo.id());
    assert_eq!(embryo.apply(&Part::new()).expect("nothing"), []);
    assert_eq!(crate::seen(embryo.id()), before);
}

/// It waits as long as its holder likes, and takes as many operations as come.
#[test]
fn thousands_of_operations_leave_no_trace_of_themselves() {
    let null = File::open("/dev/null").expect("/dev/null");
    let mut embryo = embryo();
    embryo.grant(3, null.as_fd()).expect("grant");
    let before = crate::seen(embryo.id());
    for _ in 0..2000 {
        embryo.grant(3, null.as_fd()).expect("grant");
        let at = embryo.map(0, 4 * PAGE, Protection::WRITE).expect("map");
        embryo.write(at, b"something").expect("write");
        embryo.unmap(at, 4 * PAGE).expect("unmap");
    }
    assert_eq!(crate::seen(embryo.id()), before);
}

#[test]
fn many_are_built_at_once() {
    std::thread::scope(|scope| {
        for thread in 0..8u8 {
            scope.spawn(move || {
                for round in 0..10 {
                    let (reader, mut writer) = pipe();
                    let (theirs, answer) = pipe();
                    let mut embryo = embryo();
                    embryo.grant(0, reader.as_fd()).expect("grant");
                    embryo.grant(1, answer.as_fd()).expect("grant");
                    let text = format!("{thread} {round}");
                    prepare(&mut embryo, &code::say(1, &text, u32::from(thread)));
                    drop(answer);
                    let process = embryo.start().expect("start");
                    assert_eq!(rest(theirs), text.as_bytes());
                    assert_eq!(end(&process).exit_code(), thread);
                    drop(reader);
                    assert!(writer.write_all(b"x").is_err(), "nobody holds the other end");
                }
            });
        }
    });
}
