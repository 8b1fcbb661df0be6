//! Every system call of a birth, failed in turn with several errnos: one error that names the step, and nothing left behind.

#[path = "../traced_birth/cases.rs"]
mod cases;
mod driver;
mod rounds;
mod state;
mod words;

use beget_sys::nr;
use beget_tests::tracer::{self, Call, Verdict, Who};
use beget_tests::{Need, skip};
use rounds::{Report, Round, Rounds};

beget_tests::driver!(drive);

fn drive(name: &str) {
    match name.split_once(' ') {
        Some(("warm", case)) => driver::drive(case, true),
        Some(("cold", case)) => driver::drive(case, false),
        _ => {}
    }
}

const ERRNOS: [i32; 7] =
    [libc::EPERM, libc::ENOMEM, libc::EINVAL, libc::EINTR, libc::ENOSYS, libc::EMFILE, libc::EACCES];

/// Runs a driver through rounds; false when this machine lets nobody trace.
fn run(test: &str, name: &str, rounds: &mut Rounds<'_>) -> bool {
    match tracer::trace(name, rounds) {
        None => skip(test, Need::Machine("the right to trace one's own child")),
        Some(code) => assert_eq!(code, 0, "{name}: the driver ended well"),
    }
    rounds.finished()
}

/// A spawn that nothing is done to goes well and leaves all as it was.
fn assert_well(report: &Report, after: &str) {
    assert_eq!(report.kind, "ended", "after {after}: {report:?}");
    assert_eq!((report.part.as_str(), report.changes.as_str()), ("exit status: 0", ""), "after {after}");
}

#[test]
fn every_call_of_a_newborn_can_fail_and_leaves_nothing() {
    for case in cases::ALL {
        let mut failed = 0;
        let mut calls: Vec<Call> = Vec::new();
        let mut queue: Vec<Round> = vec![Round::plain()];
        let mut last = String::new();
        let mut rounds = Rounds::new(|done: Option<(Round, Report, Vec<Call>)>| {
            if let Some((round, report, made)) = done {
                let newborn = || made.iter().filter(|call| call.who == Who::Newborn);
                match round.verdict {
                    None if calls.is_empty() => {
                        assert_well(&report, "nothing");
                        calls = newborn().copied().collect();
                        // Sixty-two calls are one operation: in every case but the first, its two ends stand for all.
                        let ends =
                            |call: &Call| [1, 64].contains(&call.arguments[0]) || case == cases::ALL[0];
                        let tried = |call: &Call| {
                            (call.number != i64::from(nr::RT_SIGACTION) || ends(call))
                                && !call.only_looks_at_keyring()
                        };
                        for index in (0..calls.len()).filter(|index| tried(&calls[*index])) {
                            let fail = |errno| Round::at(Who::Newborn, index, Verdict::fail(errno));
                            queue.extend(ERRNOS.map(fail));
                            queue.push(Round::plain());
                        }
                        queue.reverse();
                    }
                    None => assert_well(&report, &last),
                    Some(_) => {
                        let errno = round.errno();
                        let call = &calls[round.index];
                        last = format!("{case}: errno {errno} at {call:?}");
                        assert_told(&report, call, errno, &last);
                        let rest: Vec<i64> =
                            newborn().skip(round.index + 1).map(|call| call.number).collect();
                        assert_eq!(rest, [i64::from(nr::EXIT_GROUP)], "{last}: it ends at once");
                        failed += 1;
                    }
                }
            }
            queue.pop()
        });
        if !run("every_call_of_a_newborn_can_fail", &format!("warm {case}"), &mut rounds) {
            return;
        }
        drop(rounds);
        assert!(failed >= ERRNOS.len() * 12, "{case}: {failed} failures were tried");
    }
}

/// The first process of a private root makes it before its exec: each of its calls fails in turn, and nothing is made, mounted or left.
#[test]
fn every_call_that_makes_a_private_root_can_fail_and_leaves_nothing() {
    let test = "every_call_that_makes_a_private_root_can_fail";
    let mounts = || std::fs::read_to_string("/proc/self/mountinfo").expect("/proc is there");
    let (before, mut calls, mut failed) = (mounts(), Vec::<Call>::new(), 0);
    let mut queue = vec![Round::anew()];
    let mut refused = false;
    let mut rounds = Rounds::new(|done: Option<(Round, Report, Vec<Call>)>| {
        if let Some((round, report, made)) = done {
            match round.verdict {
                None if calls.is_empty() && report.sentence.contains("user namespaces") => refused = true,
                None if calls.is_empty() => {
                    assert_well(&report, "nothing");
                    calls = made.into_iter().filter(|call| call.who == Who::Newborn).collect();
                    let first = calls.iter().map(|call| call.process).min();
                    // Sixty-two calls are one operation, whose two ends stand for all.
                    let tried = |call: &Call| {
                        let signals = call.number == i64::from(nr::RT_SIGACTION);
                        Some(call.process) == first && (!signals || [1, 64].contains(&call.arguments[0]))
                    };
                    for index in (0..calls.len()).rev().filter(|index| tried(&calls[*index])) {
                        queue.push(Round::anew());
                        let fail = Round::at(Who::Newborn, index, Verdict::fail(libc::EIO));
                        queue.push(Round { anew: true, ..fail });
                    }
                }
                None => assert_well(&report, "a root that was not made"),
                Some(_) => {
                    let call = &calls[round.index];
                    let what = format!("{:?} {call:?}: {report:?}", nr::name(call.number as u32));
                    assert_eq!(report.changes, "", "{what}");
                    let named = ["root", "nursery", "no_new_privs", "capabilities", "promise root"];
                    let named = named.iter().any(|part| report.part.starts_with(part));
                    // What is not closed is closed by the exec, or in the way of what comes before it.
                    let goes_on = call.number == i64::from(nr::CLOSE);
                    let told = report.kind == "error" && named && report.whose.ends_with("Some(5)");
                    assert!(told || goes_on && (named || report.kind == "ended"), "{what}");
                    failed += 1;
                }
            }
        }
        queue.pop()
    });
    let ran = run(test, "warm root", &mut rounds);
    drop(rounds);
    if refused {
        return skip(test, Need::Machine("user namespaces"));
    }
    if ran {
        assert!(failed > 80, "{failed} failures were tried");
        assert_eq!(mounts(), before);
    }
}

/// The error names the call's step, whose fault it is and the errno, in one line.
fn assert_told(report: &Report, call: &Call, errno: i32, what: &str) {
    let (parts, fault) = words::of(call);
    assert_eq!(report.kind, "error", "{what}: {report:?}");
    assert_eq!(report.changes, "", "{what}: something is left or changed");
    let program = format!("program {}", std::env::current_exe().expect("we run").display());
    let known = match call.number as u32 {
        nr::GETPID => {
            ["foreground of the terminal", "seccomp filter", &program].contains(&report.part.as_str())
        }
        nr::EXECVEAT => report.part == program,
        _ => parts.contains(&report.part),
    };
    assert!(known, "{what}: told as {:?}", report.part);
    assert!(report.whose.ends_with(&format!("Some({errno})")), "{what}: {}", report.whose);
    assert!(report.whose.starts_with(fault), "{what}: whose fault: {}", report.whose);
    let sentence = report.sentence.strip_prefix(&format!("{}: ", report.part));
    assert!(sentence.is_some_and(|words| !words.is_empty()), "{what}: {}", report.sentence);
}

/// Killed from outside in the middle of its operations, it is a child that was killed; nothing is left.
#[test]
fn a_newborn_killed_at_any_of_its_calls_is_told_as_killed() {
    for case in ["ambient", "listener", "slots"] {
        let mut calls = 0;
        let mut queue = vec![Round::plain()];
        let mut rounds = Rounds::new(|done: Option<(Round, Report, Vec<Call>)>| {
            if let Some((round, report, made)) = done {
                match round.verdict {
                    None if calls == 0 => {
                        calls = made.iter().filter(|call| call.who == Who::Newborn).count();
                        for index in (0..calls).rev() {
                            queue.push(Round::plain());
                            queue.push(Round::at(Who::Newborn, index, Verdict::Kill));
                        }
                    }
                    None => assert_well(&report, "a kill"),
                    Some(_) => {
                        let at = format!("{case}: killed at call {}", round.index);
                        assert_eq!(report.kind, "ended", "{at}: {report:?}");
                        assert_eq!(report.part, "signal: 9 (SIGKILL)", "{at}");
                        assert_eq!(report.changes, "", "{at}");
                    }
                }
            }
            queue.pop()
        });
        if !run("a_newborn_killed_at_any_of_its_calls", &format!("warm {case}"), &mut rounds) {
            return;
        }
        drop(rounds);
        assert!(calls > 70, "{calls} calls");
    }
}

/// A call of the spawning process itself that may fail. Left out is what no program can do without: memory for the allocator,
/// giving memory and descriptors back, and taking back the signal mask that the kernel gave out a moment before.
fn can_fail(call: &Call, cold: bool, masks: &mut usize) -> bool {
    const GUARDED: u64 = (32 << 10) + (32 << 10) + 4096;
    match call.number as u32 {
        nr::BRK
        | nr::MUNMAP
        | nr::MREMAP
        | nr::MADVISE
        | nr::CLOSE
        | nr::WRITE
        | nr::FUTEX
        | nr::GETPID
        | nr::GETEUID => false,
        // The standard library's own check that a descriptor it closes is open.
        nr::FCNTL => call.arguments[1] != libc::F_GETFD as u64,
        nr::MMAP => cold && call.arguments[1] == GUARDED,
        nr::MPROTECT => cold && call.arguments[2] == 0,
        nr::RT_SIGPROCMASK => {
            *masks += 1;
            cold && *masks == 1
        }
        _ => true,
    }
}

/// What a spawn does without when the kernel says no: a look at what the exec will tell again, words for `show`, and what is
/// protected twice.
const TOLERATED: &[u32] = &[
    nr::FACCESSAT2,
    nr::FACCESSAT,
    nr::READLINKAT,
    nr::READLINK,
    nr::KEYCTL,
    nr::CAPGET,
    nr::PRLIMIT64,
    nr::IOCTL,
];

#[test]
fn every_call_of_the_spawning_process_can_fail_and_leaves_nothing() {
    let errnos = [libc::EPERM, libc::ENOMEM, libc::EMFILE, libc::ENOSYS, libc::EIO];
    let mut wrong: Vec<String> = Vec::new();
    for case in ["ambient group", "confined", "spawning", "listener", "slots", "limits"] {
        let mut calls: Vec<Call> = Vec::new();
        let mut queue: Vec<Round> = vec![Round::anew()];
        let mut refused = 0;
        let mut rounds = Rounds::new(|done: Option<(Round, Report, Vec<Call>)>| {
            if let Some((round, report, made)) = done {
                match round.verdict {
                    None if calls.is_empty() => {
                        assert_well(&report, "nothing");
                        calls = made.into_iter().filter(|call| call.who == Who::Driver).collect();
                        let mut masks = 0;
                        for (index, call) in calls.iter().enumerate() {
                            if can_fail(call, false, &mut masks) {
                                let fail = |errno| Round {
                                    anew: true,
                                    ..Round::at(Who::Driver, index, Verdict::fail(errno))
                                };
                                queue.extend(errnos.map(fail));
                                queue.push(Round::anew());
                            }
                        }
                        queue.reverse();
                    }
                    None => assert_well(&report, "a failure of the caller's own call"),
                    Some(_) => {
                        let call = &calls[round.index];
                        let what = format!(
                            "{case}: errno {} at {:?} {call:?}",
                            round.errno(),
                            nr::name(call.number as u32)
                        );
                        wrong.extend(
                            refusal_at_fault(&report, call, round.errno())
                                .map(|why| format!("{what}: {why}: {report:?}")),
                        );
                        refused += usize::from(report.kind == "error");
                    }
                }
            }
            queue.pop()
        });
        if !run("every_call_of_the_spawning_process", &format!("warm {case}"), &mut rounds) {
            return;
        }
        drop(rounds);
        assert!(refused > 20, "{case}: {refused} failures were told");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What is wrong with the outcome of a failed call: it must say which part failed, or the call is one that is done without; and
/// nothing may be left.
fn refusal_at_fault(report: &Report, call: &Call, errno: i32) -> Option<&'static str> {
    let number = call.number as u32;
    let told = report.whose.ends_with(&format!("Some({errno})"))
        && report.sentence.starts_with(&format!("{}: ", report.part));
    let instead = number == nr::CLONE3 && errno == libc::ENOSYS;
    match report.kind.as_str() {
        _ if !report.changes.is_empty() => Some("something is left or changed"),
        "error" if told => None,
        "error" => Some("the error does not say what failed"),
        "ended" if instead || TOLERATED.contains(&number) => None,
        _ => Some("it went unnoticed"),
    }
}

/// The first spawn of a process maps its workplace: nothing of it stays when that fails half way.
#[test]
fn a_workplace_that_cannot_be_mapped_leaves_nothing() {
    let mut found = 0;
    for wanted in [nr::MMAP, nr::MPROTECT, nr::RT_SIGPROCMASK] {
        let mut round = Some(Round::anew());
        let mut index = None;
        let mut rounds = Rounds::new(|done: Option<(Round, Report, Vec<Call>)>| {
            if let Some((_, _, made)) = done {
                let own = made.iter().filter(|call| call.who == Who::Driver);
                let mut masks = 0;
                index = own.enumerate().find_map(|(index, call)| {
                    let fails = can_fail(call, true, &mut masks);
                    (call.number == i64::from(wanted) && fails).then_some(index)
                });
            }
            round.take()
        });
        if !run("a_workplace_that_cannot_be_mapped", "cold ambient", &mut rounds) {
            return;
        }
        drop(rounds);
        let index = index.expect("the first spawn maps its workplace");
        let fail = Round::at(Who::Driver, index, Verdict::fail(libc::ENOMEM));
        let mut round = Some(Round { anew: true, ..fail });
        let mut rounds = Rounds::new(|done: Option<(Round, Report, Vec<Call>)>| {
            if let Some((_, report, _)) = done {
                assert_eq!((report.kind.as_str(), report.part.as_str()), ("error", "process"), "{report:?}");
                assert!(report.whose.ends_with(&format!("Some({})", libc::ENOMEM)), "{report:?}");
                assert_eq!(report.changes, "", "{wanted}: {report:?}");
                found += 1;
            }
            round.take()
        });
        run("a_workplace_that_cannot_be_mapped", "cold ambient", &mut rounds);
    }
    assert_eq!(found, 3);
}

/// One answer given in the kernel's place; what came of it, and which calls the newborn made from there on.
fn instead(test: &str, case: &str, choose: fn(&Call) -> Option<Verdict>) -> Option<(Report, Vec<u32>)> {
    let mut queue = vec![Round { choose: Some(choose), ..Round::plain() }];
    let mut outcome = None;
    let mut rounds = Rounds::new(|done: Option<(Round, Report, Vec<Call>)>| {
        if let Some((_, report, made)) = done {
            let newborn = made.iter().filter(|call| call.who == Who::Newborn);
            let rest = newborn.skip_while(|call| choose(call).is_none()).map(|call| call.number as u32);
            outcome = Some((report, rest.collect()));
        }
        queue.pop()
    });
    run(test, &format!("warm {case}"), &mut rounds);
    drop(rounds);
    outcome
}

/// The kernel takes one listener only: inside another Beget, the filter that asks nobody goes on instead.
#[test]
fn a_second_listener_is_done_without() {
    let busy = |call: &Call| {
        (call.number == i64::from(nr::SECCOMP) && call.arguments[1] != 0)
            .then_some(Verdict::fail(libc::EBUSY))
    };
    let Some((report, rest)) = instead("a_second_listener", "listener", busy) else { return };
    assert_well(&report, "EBUSY");
    let rest: Vec<u32> = rest.into_iter().filter(|number| *number != nr::GETPID).collect();
    assert_eq!(rest[..2], [nr::SECCOMP, nr::SECCOMP], "{rest:?}");
    assert!(!rest.contains(&nr::SENDMSG), "nothing is sent: {rest:?}");
    assert_eq!(rest.last(), Some(&nr::EXECVEAT));
}

/// A keyring of our name that is neither the one we made nor empty for good is somebody else's: a nameless one is joined.
#[test]
fn a_keyring_of_another_is_not_kept() {
    let other = |call: &Call| {
        let joins = call.number == i64::from(nr::KEYCTL) && call.who == Who::Newborn;
        (joins && call.arguments[1] != 0).then_some(Verdict::Answer(0x7ead_beef))
    };
    let Some((report, rest)) = instead("a_keyring_of_another", "confined", other) else { return };
    assert_well(&report, "another's keyring");
    // Joined, looked at, and left for another.
    assert_eq!(rest[..4], [nr::KEYCTL, nr::KEYCTL, nr::GETEUID, nr::KEYCTL]);
}

/// Arguments too long are the caller's fault, not the program's.
#[test]
fn too_many_arguments_are_the_caller_s_fault() {
    let long = |call: &Call| {
        (call.number == i64::from(nr::EXECVEAT) && call.who == Who::Newborn)
            .then_some(Verdict::fail(libc::E2BIG))
    };
    let Some((report, _)) = instead("too_many_arguments", "confined", long) else { return };
    assert_eq!(report.kind, "error");
    assert_eq!(report.whose, format!("Caller Some({})", libc::E2BIG));
    assert_eq!(report.changes, "");
}
