//! After start nobody can do one more operation, and what took orders is gone before the program's first instruction.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use beget::{Construct, Nursery, Program};
use beget_plan::message::{Header, kind};
use beget_plan::op::{Span, mapping};
use beget_plan::{Draft, Op};
use beget_tests::{Need, in_own_process, program, skip};

use crate::{AT, PAGE, code, embryo, end, maps, pipe, prepare, ranges, rest, seen, slots};

/// The sockets among this process's descriptors.
pub(crate) fn sockets() -> BTreeSet<i32> {
    let held = slots(std::process::id());
    held.into_iter().filter(|(_, target)| target.starts_with("socket:")).map(|(slot, _)| slot).collect()
}

/// The channel that was made since, held once more.
pub(crate) fn channel_since(before: &BTreeSet<i32>) -> OwnedFd {
    let new: Vec<i32> = sockets().difference(before).copied().collect();
    assert_eq!(new.len(), 1, "an embryo has one channel");
    // SAFETY: a number of ours; the duplicate is new.
    unsafe { OwnedFd::from_raw_fd(libc::fcntl(new[0], libc::F_DUPFD_CLOEXEC, 3)) }
}

/// Every operation that an embryo can be told to do, each as a message of its own.
fn every_operation() -> Vec<(Op, Draft)> {
    let mut all = Vec::new();
    let mut add = |make: &dyn Fn(&mut Draft) -> Op| {
        let mut draft = Draft::new();
        let op = make(&mut draft);
        draft.push(op);
        all.push((op, draft));
    };
    let how = mapping::READ | mapping::WRITE;
    add(&|_| Op::Map { at: AT + 9 * PAGE, length: PAGE, page: 0, how, source: mapping::NO_FILE });
    add(&|_| Op::Map { at: AT + 9 * PAGE, length: PAGE, page: 0, how, source: 0 });
    add(&|_| Op::Unmap { at: AT, length: PAGE });
    add(&|_| Op::Protect { at: AT, length: PAGE, how: 0 });
    add(&|draft| Op::Write { at: AT, bytes: draft.bytes(b"changed") });
    add(&|_| Op::Read { at: AT, length: 16 });
    add(&|draft| {
        let at = draft.bytes(&[AT.to_ne_bytes(), PAGE.to_ne_bytes()].concat()).at;
        Op::Populate { ranges: Span { at, count: 1 }, how: mapping::WRITE }
    });
    add(&|_| Op::Place { source: 0, slot: 5, closing: 0 });
    add(&|_| Op::Close { first: 0, last: u32::MAX });
    add(&|_| Op::ChangeDirectoryTo { source: 0 });
    add(&|_| Op::Limit { resource: libc::RLIMIT_CORE, soft: 0, hard: 0 });
    add(&|_| Op::Umask { mode: 0o777 });
    add(&|draft| Op::Name { name: draft.string(c"changed") });
    add(&|_| Op::SignalMask { mask: u64::MAX });
    add(&|_| Op::SetUser { user: 4321 });
    add(&|_| Op::NewSession {});
    add(&|_| Op::Dumpable { value: 0 });
    add(&|draft| {
        let words: Vec<u8> =
            [AT, AT + 2 * PAGE, 0, 0, 0, 0, 0, 0].into_iter().flat_map(u64::to_ne_bytes).collect();
        let Span { at, count } = draft.bytes(&words);
        Op::Enter { registers: Span { at, count: count / 8 }, stop: 1 }
    });
    add(&|draft| {
        let (arguments, environment) = (draft.strings([c"x"]), draft.strings([]));
        Op::Execute { program: 0, arguments, environment, listening: 0 }
    });
    all
}

#[test]
fn no_operation_reaches_a_started_program() {
    in_own_process("after_start::no_operation_reaches_a_started_program", || {
        let nursery = Nursery::new().expect("a nursery");
        let null = File::open("/dev/null").expect("/dev/null");
        for way in ["set by hand", "loaded", "executed"] {
            let before = sockets();
            let mut embryo = nursery.embryo().expect("an embryo");
            let channel = channel_since(&before);
            let ((input, mut ours), (theirs, output)) = (pipe(), pipe());
            embryo.grant(0, input.as_fd()).expect("grant");
            embryo.grant(1, output.as_fd()).expect("grant");
            drop((input, output));
            let image = Program::open(program("probe")).expect("an executable");
            let process = match way {
                "set by hand" => {
                    prepare(&mut embryo, &code::copy("/proc/self/fd/0", 1));
                    embryo.start()
                }
                "loaded" => embryo.load(&image, &["probe", "cat"]).and_then(|()| embryo.start()),
                _ => embryo.execute(File::open(program("probe")).expect("ours").as_fd(), &["probe", "cat"]),
            };
            let process = process.expect("start");
            ours.write_all(b"before, ").expect("it reads");
            let mut first = [0; 8];
            std::io::Read::read_exact(&mut &theirs, &mut first).expect("it runs");
            let whole = seen(process.id());
            for (op, draft) in every_operation() {
                let lent = match op {
                    Op::Place { .. } | Op::ChangeDirectoryTo { .. } | Op::Map { source: 0, .. } => {
                        vec![null.as_raw_fd()]
                    }
                    _ => vec![],
                };
                let body = draft.encode(lent.len());
                let (kind, descriptors) = (kind::PART, lent.len() as u32);
                let header = Header { kind, length: body.len() as u32, descriptors, words: [8, 0, 0, 0] };
                let sent = beget_sys::message::send(channel.as_raw_fd(), &header.encode(), &lent, false);
                assert_eq!(sent, Err(beget_sys::Errno::EPIPE), "{way}: {op:?}");
                let mut answer = [0; 64];
                let came = beget_sys::message::receive(channel.as_raw_fd(), &mut answer, &mut [], false);
                assert_eq!(came.map(|came| came.bytes), Ok(0), "{way}: {op:?}");
                assert_eq!(seen(process.id()), whole, "{way}: {op:?}");
            }
            ours.write_all(b"and after").expect("it reads");
            drop(ours);
            assert_eq!(rest(theirs), b"and after", "{way}");
            assert!(end(&process).success(), "{way}");
        }
    });
}

/// The program never leaves its first instruction, so what is seen in the end is what was there before it.
#[test]
fn the_stub_is_gone_before_the_first_instruction() {
    let mut embryo = embryo();
    prepare(&mut embryo, &code::stay());
    let before = maps(embryo.id());
    let process = embryo.start().expect("start");
    // The channel goes first, which is what start waits for, and then the stub.
    let until = std::time::Instant::now() + crate::LONG;
    let mut now = maps(process.id());
    while now.len() == before.len() && std::time::Instant::now() < until {
        now = maps(process.id());
    }
    let own = |line: &&String| line.ends_with(']') || line.starts_with("10000");
    assert_eq!(now, before.iter().filter(own).cloned().collect::<Vec<_>>(), "exactly the stub is gone");
    assert_eq!(slots(process.id()).len(), 0, "no descriptor is left");
    process.kill().expect("kill");
    assert_eq!(end(&process).exit_code(), 128 + 9);
}

/// The same, told by the program itself.
#[test]
fn a_program_sees_only_itself() {
    let (reader, writer) = pipe();
    let mut embryo = embryo();
    embryo.grant(6, writer.as_fd()).expect("grant");
    prepare(&mut embryo, &code::copy("/proc/self/maps", 6));
    let process = embryo.start().expect("start");
    drop(writer);
    let told = beget_tests::text(&rest(reader));
    assert!(end(&process).success());
    let names: Vec<&str> = told.lines().map(|line| line.split_whitespace().nth(5).unwrap_or("own")).collect();
    assert_eq!(names.iter().filter(|name| **name == "own").count(), 2, "{told}");
    assert!(names.iter().all(|name| *name == "own" || name.starts_with('[')), "{told}");
}

/// One instruction after the other: when the program counter first lies in the program, the stub is gone and so is the channel.
#[test]
fn step_by_step_the_stub_leaves_first() {
    let test = "after_start::step_by_step_the_stub_leaves_first";
    let mut embryo = embryo();
    prepare(&mut embryo, &code::say(1, "", 3));
    let number = embryo.id() as i32;
    // SAFETY: traces a process of ours; numbers, and a buffer of the size that the request wants.
    let seized = unsafe { libc::ptrace(libc::PTRACE_SEIZE, number, 0, libc::PTRACE_O_EXITKILL) == 0 };
    if !seized {
        return skip(test, Need::Machine("the right to trace a process of one's own"));
    }
    let stopped = || {
        let mut status = 0;
        // SAFETY: the status is on this stack; the tracee is ours.
        assert_eq!(unsafe { libc::waitpid(number, &mut status, libc::__WALL) }, number);
        libc::WIFSTOPPED(status)
    };
    // SAFETY: as above.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_INTERRUPT, number, 0, 0) }, 0);
    assert!(stopped());
    let starting = std::thread::spawn(move || embryo.start().expect("start"));
    let mut steps = 0;
    loop {
        // SAFETY: as above.
        let instruction = unsafe {
            let mut registers: libc::user_regs_struct = std::mem::zeroed();
            assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, number, 0, &raw mut registers), 0);
            registers.rip
        };
        if (AT..AT + PAGE).contains(&instruction) {
            assert_eq!(instruction, AT, "it begins at its beginning");
            break;
        }
        // SAFETY: as above.
        assert_eq!(unsafe { libc::ptrace(libc::PTRACE_SINGLESTEP, number, 0, 0) }, 0);
        assert!(stopped(), "it ended on the way");
        steps += 1;
    }
    assert!(steps > 100, "it was traced on its way: {steps} steps");
    let left = ranges(number as u32, |line| !line.ends_with(']'));
    assert_eq!(left, [AT..AT + PAGE, AT + PAGE..AT + 2 * PAGE]);
    assert_eq!(slots(number as u32).len(), 0);
    // SAFETY: as above.
    assert_eq!(unsafe { libc::ptrace(libc::PTRACE_DETACH, number, 0, 0) }, 0);
    let process = starting.join().expect("no panic");
    assert_eq!(end(&process).exit_code(), 3);
}
