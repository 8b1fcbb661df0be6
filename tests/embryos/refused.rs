//! Slots, limits, parts and starts that cannot be: each is told, and the embryo is as it was.

use std::fs::File;
use std::os::fd::AsFd;

use beget::{Bounds, Construct, Fault, Part, Protection, Resource};
use beget_tests::{Need, Scratch, is_root, skip};

use crate::failing::{fails, runs};
use crate::{AT, PAGE, code, embryo, end, prepare, ranges, seen, slots};

#[test]
fn slots_that_cannot_be() {
    let null = File::open("/dev/null").expect("/dev/null");
    let fd = null.as_fd();
    for slot in [1024, 1 << 20, i32::MAX - 1, i32::MAX, -1, i32::MIN] {
        fails(Part::new().grant(slot, fd), &format!("grant slot {slot}"), libc::EBADF);
    }
    // Nor does one that could be done stay open anywhere.
    let mut embryo = embryo();
    embryo.grant(4, fd).expect("grant");
    let mut part = Part::new();
    part.grant(2, fd).grant(5000, fd);
    let error = embryo.apply(&part).expect_err("there is no such slot");
    assert_eq!(error.errno(), Some(libc::EBADF), "{error}");
    let held: Vec<i32> = slots(embryo.id())
        .into_iter()
        .filter(|(_, file)| file == "/dev/null")
        .map(|(slot, _)| slot)
        .collect();
    assert!(held == [4] || held == [2, 4], "{held:?}");
    // What was tried does not stand in the way of what comes.
    embryo.grant(6, fd).expect("grant");
    runs(embryo);
}

#[test]
fn surroundings_that_cannot_be() {
    let scratch = Scratch::new();
    let file = File::open(scratch.file("file", "")).expect("it was written");
    fails(Part::new().chdir(file.as_fd()), "working directory", libc::ENOTDIR);
    let more = |number, soft, hard| Resource { number, bounds: Bounds { soft, hard } };
    fails(Part::new().set_limit(more(libc::RLIMIT_CORE, 2, 1)), "resource limit core", libc::EINVAL);
    fails(Part::new().set_limit(more(99, 1, 1)), "resource limit of no name", libc::EINVAL);
    let test = "failing::surroundings_that_cannot_be";
    if is_root() {
        return skip(test, Need::OrdinaryUser);
    }
    fails(Part::new().set_limit(more(libc::RLIMIT_CORE, 1, 1)), "resource limit core", libc::EPERM);
    if let Ok(root) = File::open("/root") {
        fails(Part::new().chdir(root.as_fd()), "working directory", libc::EACCES);
    }
}

/// Limits that leave no number or no memory for what comes next: it can be told that, and it lives.
#[test]
fn limits_that_leave_no_room_are_told() {
    let null = File::open("/dev/null").expect("/dev/null");
    let mut embryo = embryo();
    let only = |soft| Bounds { soft, hard: 1024 };
    embryo.set_limit(Resource { number: libc::RLIMIT_NOFILE, bounds: only(1) }).expect("limit");
    let before = seen(embryo.id());
    let error = embryo.grant(0, null.as_fd()).expect_err("no number is free");
    assert!([Some(libc::EMFILE), Some(libc::EBADF)].contains(&error.errno()), "{error}");
    assert_eq!(seen(embryo.id()), before);
    embryo.set_limit(Resource { number: libc::RLIMIT_NOFILE, bounds: only(64) }).expect("limit");
    embryo.grant(0, null.as_fd()).expect("grant");
    runs(embryo);
}

/// More than one message takes.
#[test]
fn parts_too_large_are_refused() {
    let mut embryo = embryo();
    embryo.map(AT, 64 << 20, Protection::WRITE).expect("map");
    embryo.umask(0o22).expect("it has done with that");
    let before = seen(embryo.id());
    let large = vec![1; 17 << 20];
    let null = File::open("/dev/null").expect("/dev/null");
    let mut many = Part::new();
    for _ in 0..5000 {
        many.grant(3, null.as_fd());
    }
    for part in [Part::new().write(AT, &large), Part::new().read(AT, 17 << 20), &mut many] {
        let error = embryo.apply(part).expect_err("too much");
        assert_eq!(error.fault(), Fault::Caller, "{error}");
        assert_eq!(seen(embryo.id()), before);
    }
    embryo.unmap(AT, 64 << 20).expect("unmap");
    runs(embryo);
}

#[test]
fn there_must_be_something_to_start() {
    let embryo = embryo();
    let number = embryo.id();
    let error = embryo.start().expect_err("it is empty");
    assert_eq!((error.to_string(), error.fault()), ("embryo: nothing was loaded".into(), Fault::Caller));
    // SAFETY: asks, and sends nothing.
    assert_eq!(unsafe { libc::kill(number as i32, 0) }, -1, "it was consumed");
}

#[test]
fn a_stack_that_is_not_there_is_no_start() {
    let mut embryo = embryo();
    prepare(&mut embryo, &code::stay());
    let stack = AT + (1 << 40);
    embryo.set_registers(beget::Registers { instruction: AT, stack, ..beget::Registers::default() });
    let error = embryo.start().expect_err("there is no stack");
    assert_eq!((error.part(), error.errno(), error.fault()), ("start", Some(libc::EFAULT), Fault::Caller));
    // Nor is there one where the stub is now.
    let mut embryo = crate::embryo();
    prepare(&mut embryo, &code::stay());
    let stack = ranges(embryo.id(), |line| line.ends_with(' ')).last().expect("its workplace").end;
    embryo.set_registers(beget::Registers { instruction: AT, stack, ..beget::Registers::default() });
    let error = embryo.start().expect_err("there will be no stack");
    assert_eq!((error.part(), error.errno(), error.fault()), ("start", Some(libc::EFAULT), Fault::Caller));
}

/// An instruction where nothing is: the program's own fault, and its end.
#[test]
fn a_program_that_is_not_there_ends_by_a_signal() {
    let mut embryo = embryo();
    prepare(&mut embryo, &code::stay());
    let (instruction, stack) = (AT + (1 << 40), AT + 2 * PAGE);
    embryo.set_registers(beget::Registers { instruction, stack, ..beget::Registers::default() });
    let process = embryo.start().expect("start");
    assert_eq!(end(&process).exit_code(), 128 + libc::SIGSEGV as u8);
}
