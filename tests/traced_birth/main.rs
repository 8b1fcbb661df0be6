//! The child's system calls, traced from its birth to its exec, are the plan's operations, in order, and nothing else.

mod cases;
mod expected;

use beget_sys::nr;
use beget_tests::tracer::{self, Call, Verdict, Watch, Who, say};
use beget_tests::{Need, skip};
use expected::{Calls, Made};

beget_tests::driver!(drive);

/// Spawns one command and tells what it was described to do.
fn drive(name: &str) {
    let Some(case) = name.strip_prefix("case ") else { return };
    let case = match case.strip_prefix("without clone3 ") {
        Some(case) => {
            forbid_clone3();
            case
        }
        None => case,
    };
    let (mut command, _held) = cases::command(case);
    let operations = command.describe().expect("the command can be described").operations;
    say(&operations.join(" "));
    let outcome = command.spawn().and_then(|mut child| child.wait());
    say(&match outcome {
        Ok(ended) => format!("{}", ended.status),
        Err(error) => format!("error: {error}"),
    });
}

/// What a container's filter does: `clone3` is `ENOSYS`, everything else goes on.
fn forbid_clone3() {
    let instruction = |code: u32, jf, k| libc::sock_filter { code: code as u16, jt: 0, jf, k };
    let mut program = [
        instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 1, libc::SYS_clone3 as u32),
        instruction(libc::BPF_RET, 0, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32),
        instruction(libc::BPF_RET, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the kernel copies a filter that lives on this stack.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter), 0);
    }
}

/// What was seen.
#[derive(Default)]
struct Seen {
    operations: Vec<String>,
    outcome: String,
    births: Vec<(i64, Vec<u64>, String)>,
    child: Calls,
    forbid_clone3: bool,
}

impl Watch for Seen {
    fn call(&mut self, call: &Call) -> Verdict {
        let is = |number: u32| call.number == i64::from(number);
        match call.who {
            Who::Newborn => self.child.push(Made::of(call)),
            Who::Driver if is(nr::CLONE3) || is(nr::CLONE) => {
                let arguments = match is(nr::CLONE3) {
                    true => tracer::read_memory(call.process, call.arguments[0], call.arguments[1] as usize)
                        .as_chunks()
                        .0
                        .iter()
                        .map(|word| u64::from_ne_bytes(*word))
                        .collect(),
                    false => call.arguments.to_vec(),
                };
                self.births.push((call.number, arguments, status_line(call.process, "SigBlk")));
                if self.forbid_clone3 && is(nr::CLONE3) {
                    return Verdict::fail(libc::ENOSYS);
                }
            }
            Who::Driver => {}
        }
        Verdict::Go
    }

    fn answered(&mut self, call: &Call, answer: i64) {
        if call.who == Who::Newborn {
            self.child.last_mut().expect("a call is made before it is answered").answer = answer;
        }
    }

    fn said(&mut self, words: &str) -> i64 {
        if self.operations.is_empty() {
            self.operations = words.split(' ').map(str::to_owned).collect();
        } else {
            words.clone_into(&mut self.outcome);
        }
        0
    }
}

fn status_line(process: i32, name: &str) -> String {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("a tracee has a status");
    let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("the kernel tells it");
    line.trim_start_matches([':', '\t']).to_owned()
}

fn watch(test: &str, driver: &str, forbid_clone3: bool) -> Option<Seen> {
    let mut seen = Seen { forbid_clone3, ..Seen::default() };
    match tracer::trace(driver, &mut seen) {
        None => {
            skip(test, Need::Machine("the right to trace one's own child"));
            None
        }
        Some(code) => {
            assert_eq!(code, 0, "the driver ended well");
            Some(seen)
        }
    }
}

#[test]
fn a_newborn_makes_the_plan_s_calls_and_no_others() {
    for case in cases::ALL {
        let Some(seen) = watch("a_newborn_makes_the_plan_s_calls", &format!("case {case}"), false) else {
            return;
        };
        assert_eq!(seen.outcome, "exit status: 0", "{case}");
        if let Err(why) = expected::compare(&seen.operations, &seen.child) {
            panic!("{case}: {why}\noperations: {:?}\ncalls: {:#?}", seen.operations, seen.child);
        }
    }
}

#[test]
fn a_birth_is_one_clone3_with_every_signal_blocked() {
    const FLAGS: i32 = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    const CLEAR_SIGHAND: u64 = 1 << 32;
    let Some(seen) = watch("a_birth_is_one_clone3", "case confined", false) else { return };
    let [(number, arguments, blocked)] = seen.births.as_slice() else {
        panic!("one birth: {:?}", seen.births);
    };
    assert_eq!(*number, i64::from(nr::CLONE3));
    assert_eq!(arguments[0], FLAGS as u64 | CLEAR_SIGHAND, "the flags");
    assert_eq!(arguments[4], 0, "a birth that fails must not wake a host's SIGCHLD handler");
    assert!(arguments[5] != 0 && arguments[6] >= 16 << 10, "a stack of its own: {arguments:x?}");
    // All but SIGKILL (9) and SIGSTOP (19), which nobody can block.
    assert_eq!(blocked, "fffffffffffbfeff");
}

/// Answered by the tracer, and again by a real filter as containers have it.
#[test]
fn without_clone3_a_birth_is_a_clone() {
    const FLAGS: i32 = libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD;
    for (driver, forbid) in [("case confined", true), ("case without clone3 confined", false)] {
        let Some(seen) = watch("without_clone3_a_birth_is_a_clone", driver, forbid) else { return };
        assert_eq!(seen.outcome, "exit status: 0", "{driver}");
        let numbers: Vec<i64> = seen.births.iter().map(|birth| birth.0).collect();
        assert_eq!(numbers, [i64::from(nr::CLONE3), i64::from(nr::CLONE)], "{driver}");
        assert_eq!(seen.births[1].1[0], FLAGS as u64, "{driver}: the flags");
        assert_eq!(seen.births[1].2, "fffffffffffbfeff", "{driver}: every signal is blocked");
        if let Err(why) = expected::compare(&seen.operations, &seen.child) {
            panic!("{driver}: {why}");
        }
    }
}

/// The comparison itself: a call left out, doubled, exchanged or added, of a real birth, is seen wherever it is.
#[test]
fn a_birth_with_another_call_would_be_seen() {
    let Some(seen) = watch("a_birth_with_another_call", "case slots", false) else { return };
    assert_eq!(expected::compare(&seen.operations, &seen.child), Ok(()));
    // The newborn's own number and moves out of the way are made as needed: to leave one out is seen by what follows, or not.
    let needed = |call: &Made| ![nr::GETPID, nr::FCNTL].contains(&call.number);
    for index in 0..seen.child.len() {
        let mut changed = seen.child.clone();
        changed.insert(index, Made { number: nr::OPENAT, arguments: [0; 6], answer: 0 });
        assert!(expected::compare(&seen.operations, &changed).is_err(), "a call added at {index}");
        changed = seen.child.clone();
        changed[index].number = nr::OPENAT;
        assert!(expected::compare(&seen.operations, &changed).is_err(), "a call exchanged at {index}");
        let last = changed.remove(index);
        if needed(&last) && needed(&seen.child[index]) {
            assert!(expected::compare(&seen.operations, &changed).is_err(), "a call left out at {index}");
        }
    }
}
