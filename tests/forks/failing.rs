//! Every call of a copy's birth, failed in turn: one error that names the step, no code of the caller's runs, and nothing is left.

use beget_sys::nr;
use beget_tests::tracer::{self, Call, Verdict, Who};
use beget_tests::{Need, skip};

use crate::rounds::{Report, Round, Rounds};

/// The calls of a newborn that are its plan's: from its maker's word to its own.
fn of_the_plan(calls: &[Call]) -> std::ops::Range<usize> {
    let at = |number: u32| calls.iter().position(|call| call.number == i64::from(number));
    let from = at(nr::READ).expect("it waits for its maker") + 1;
    let to = calls.iter().rposition(|call| call.number == i64::from(nr::SENDMSG)).expect("it tells");
    from..to
}

#[test]
fn every_operation_of_a_copy_can_fail_and_leaves_nothing() {
    let test = "failing::every_operation_of_a_copy_can_fail_and_leaves_nothing";
    for case in ["ambient", "confined"] {
        let (mut calls, mut failed) = (Vec::<Call>::new(), 0);
        let mut queue = vec![Round::plain()];
        let mut rounds = Rounds::new(|done: Option<(Round, Report, Vec<Call>)>| {
            if let Some((round, report, made)) = done {
                let newborn: Vec<Call> = made.into_iter().filter(|call| call.who == Who::Newborn).collect();
                match round.verdict {
                    None => {
                        assert_eq!(
                            (report.kind.as_str(), report.part.as_str()),
                            ("ended", "exit status: 7"),
                            "{report:?}"
                        );
                        assert_eq!(report.changes, "");
                        if calls.is_empty() {
                            // Sixty-two calls are one operation, whose two ends stand for all.
                            let ends = |call: &Call| {
                                let signals = call.number == i64::from(nr::RT_SIGACTION);
                                !call.only_looks_at_keyring()
                                    && (!signals || [1, 64].contains(&call.arguments[0]))
                            };
                            for index in of_the_plan(&newborn).rev().filter(|index| ends(&newborn[*index])) {
                                queue.push(Round::plain());
                                let fail = |errno| Round::at(Who::Newborn, index, Verdict::fail(errno));
                                queue.extend([libc::EPERM, libc::ENOMEM, libc::EINTR].map(fail));
                            }
                            calls = newborn;
                        }
                    }
                    Some(_) => {
                        let call = &calls[round.index];
                        let what = format!(
                            "{case}: errno {} at {:?} {call:?}: {report:?}",
                            round.errno(),
                            nr::name(call.number as u32)
                        );
                        assert_eq!(report.kind, "error", "{what}");
                        assert!(report.whose.ends_with(&format!("Some({})", round.errno())), "{what}");
                        assert!(
                            !report.part.is_empty() && report.sentence.starts_with(&report.part),
                            "{what}"
                        );
                        assert_eq!(report.changes, "", "{what}");
                        let mut rest: Vec<i64> =
                            newborn.iter().skip(round.index + 1).map(|call| call.number).collect();
                        // Told over the one or the other of two numbers, which are the same.
                        rest.dedup();
                        assert_eq!(
                            rest,
                            [nr::SENDMSG, nr::EXIT_GROUP].map(i64::from),
                            "{what}: it tells and ends"
                        );
                        failed += 1;
                    }
                }
            }
            queue.pop()
        });
        match tracer::trace(&format!("failing {case}"), &mut rounds) {
            None => return skip(test, Need::Machine("the right to trace one's own child")),
            Some(code) => assert_eq!(code, 0, "{case}: the driver ended well"),
        }
        assert!(rounds.finished());
        drop(rounds);
        assert!(failed > 60, "{case}: {failed} failures");
    }
}

/// Killed from outside in the middle of its operations it is a child that was killed.
#[test]
fn a_copy_killed_at_any_of_its_calls_is_told_as_killed() {
    let test = "failing::a_copy_killed_at_any_of_its_calls_is_told_as_killed";
    let (mut calls, mut killed) = (0, 0);
    let mut queue = vec![Round::plain()];
    let mut rounds = Rounds::new(|done: Option<(Round, Report, Vec<Call>)>| {
        if let Some((round, report, made)) = done {
            assert_eq!((report.kind.as_str(), report.changes.as_str()), ("ended", ""), "{report:?}");
            match round.verdict {
                None if calls == 0 => {
                    calls = made.iter().filter(|call| call.who == Who::Newborn).count();
                    queue.extend((0..calls).map(|index| Round::at(Who::Newborn, index, Verdict::Kill)));
                }
                None => {}
                Some(_) => {
                    // How often it waits for its maker differs, and so may how many calls it makes: past its last nobody is killed.
                    let made_fewer =
                        made.iter().filter(|call| call.who == Who::Newborn).count() <= round.index;
                    assert!(
                        report.part == "signal: 9 (SIGKILL)" || made_fewer,
                        "at call {}: {report:?}",
                        round.index
                    );
                    killed += 1;
                }
            }
        }
        queue.pop()
    });
    match tracer::trace("failing ambient", &mut rounds) {
        None => return skip(test, Need::Machine("the right to trace one's own child")),
        Some(code) => assert_eq!(code, 0, "the driver ended well"),
    }
    drop(rounds);
    assert!(killed == calls && calls > 70, "{killed} of {calls}");
}

/// What no program can do without, or gives back; and what a copy does without.
fn is_tried(call: &Call) -> bool {
    let left_out = [
        nr::BRK,
        nr::MUNMAP,
        nr::MREMAP,
        nr::MADVISE,
        nr::CLOSE,
        nr::WRITE,
        nr::FUTEX,
        nr::GETPID,
        nr::GETEUID,
        nr::MMAP,
        nr::MPROTECT,
        nr::RT_SIGPROCMASK,
        nr::FSTAT,
        nr::RSEQ,
        nr::SET_ROBUST_LIST,
    ];
    // The standard library's own check that a descriptor is open.
    let own_check = call.number == i64::from(nr::FCNTL) && call.arguments[1] == libc::F_GETFD as u64;
    !own_check && !left_out.map(i64::from).contains(&call.number)
}

#[test]
fn every_call_of_the_process_that_is_copied_can_fail_and_leaves_nothing() {
    let test = "failing::every_call_of_the_process_that_is_copied_can_fail_and_leaves_nothing";
    let (mut calls, mut told) = (Vec::<Call>::new(), 0);
    let mut queue = vec![Round::anew()];
    let mut rounds = Rounds::new(|done: Option<(Round, Report, Vec<Call>)>| {
        if let Some((round, report, made)) = done {
            match round.verdict {
                None if calls.is_empty() => {
                    calls = made.into_iter().filter(|call| call.who == Who::Driver).collect();
                    for index in (0..calls.len()).rev().filter(|index| is_tried(&calls[*index])) {
                        let fail = |errno| Round::at(Who::Driver, index, Verdict::fail(errno));
                        queue.extend([libc::EMFILE, libc::EIO].map(fail));
                    }
                }
                None => {}
                Some(_) => {
                    let call = &calls[round.index];
                    let what = format!(
                        "errno {} at {:?} {call:?}: {report:?}",
                        round.errno(),
                        nr::name(call.number as u32)
                    );
                    assert_eq!(report.changes, "", "{what}");
                    assert_ne!(
                        report.part, "exit status: 127",
                        "{what}: a copy that is not whole is nobody's"
                    );
                    told += usize::from(report.kind == "error");
                }
            }
        }
        queue.pop()
    });
    match tracer::trace("failing confined", &mut rounds) {
        None => return skip(test, Need::Machine("the right to trace one's own child")),
        Some(code) => assert_eq!(code, 0, "the driver ended well"),
    }
    drop(rounds);
    assert!(told > 40, "{told} failures were told");
}
