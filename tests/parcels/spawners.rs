//! The nursery for what a child creates: held to what the child is held to, it serves births, and nothing that is born in it has more.

use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use beget::{Command, Grant, Limit, ParcelOptions, Promise, Root, Stdio, Support};
use beget_plan::message::change;
use beget_plan::{Draft, Op};
use beget_tests::{Scratch, mark, marked, program};

use crate::{Cradle, Midwife, WELL, call, number, pipe, rest};

const SPAWNER: ParcelOptions = ParcelOptions { lasting: false, spawner: true, together: false };

/// Two sockets that keep packets apart.
fn sockets() -> (OwnedFd, OwnedFd) {
    let mut pair = [0; 2];
    // SAFETY: the kernel writes two numbers, of descriptors that are new and ours.
    unsafe {
        let kind = libc::SOCK_SEQPACKET | libc::SOCK_CLOEXEC;
        assert_eq!(libc::socketpair(libc::AF_UNIX, kind, 0, pair.as_mut_ptr()), 0);
        (OwnedFd::from_raw_fd(pair[0]), OwnedFd::from_raw_fd(pair[1]))
    }
}

/// A packet and its descriptors.
fn receive(socket: &OwnedFd) -> (Vec<u8>, Vec<OwnedFd>) {
    let (mut bytes, mut control) = (vec![0u8; 1 << 18], [0u64; 64]);
    let mut part = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    // SAFETY: zeroes are an empty message; both buffers outlive the call; the descriptors are new and ours.
    let (length, files) = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
        (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), size_of_val(&control));
        let length = libc::recvmsg(number(socket), &raw mut message, libc::MSG_CMSG_CLOEXEC);
        let item = libc::CMSG_FIRSTHDR(&raw const message);
        let count = if item.is_null() { 0 } else { ((*item).cmsg_len - libc::CMSG_LEN(0) as usize) / 4 };
        let file =
            |index| OwnedFd::from_raw_fd(libc::CMSG_DATA(item).cast::<i32>().add(index).read_unaligned());
        (length, (0..count).map(file).collect())
    };
    bytes.truncate(usize::try_from(length).expect("a packet"));
    (bytes, files)
}

/// A child that packs another one, as `words` say, and the nursery for that.
struct Family {
    outer: Option<Midwife>,
    midwife: Midwife,
    spawner: Midwife,
    plan: Vec<u8>,
    files: Vec<OwnedFd>,
    reading: OwnedFd,
}

fn family(words: &[&str], set: impl FnOnce(&mut Command)) -> Family {
    let (reading, writing) = pipe();
    let (ours, theirs) = sockets();
    let mut command = Command::new(program("packer"));
    command.args(words).slot("out", theirs).stdin(null()).stdout(writing).stderr(Stdio::inherit());
    set(&mut command);
    let parcel = command.parcel(SPAWNER).expect("packed");
    drop(command);
    let outer = Midwife::new();
    let (midwife, outer) = match &parcel.nursery {
        Some(plan) => (outer.nursery(plan, None).expect("a root"), Some(outer)),
        None => (outer, None),
    };
    let spawner = midwife.nursery(parcel.spawner.as_ref().expect("asked for"), None).expect("a spawner");
    midwife.deliver(&parcel).expect("born");
    drop(parcel);
    let (plan, files) = receive(&ours);
    assert_eq!(midwife.end().1, WELL);
    Family { outer, midwife, spawner, plan, files, reading }
}

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").expect("it is there").into()
}

impl Family {
    /// What its child's child wrote, which ends well.
    fn said(self) -> String {
        let given: Vec<BorrowedFd<'_>> = self.files.iter().map(AsFd::as_fd).collect();
        let child = self.spawner.bear(&self.plan, &given, Cradle::default()).expect("born");
        assert_eq!(self.spawner.end(), (child, WELL));
        drop(given);
        drop((self.files, self.spawner, self.midwife, self.outer));
        rest(self.reading)
    }
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// A plan that takes no right away: the first descriptor is the program, the second lies in this slot.
fn by_hand(words: &[&str], slot: i32) -> Vec<u8> {
    let mut draft = Draft::new();
    draft.push(Op::Raise { floor: 20 });
    draft.push(Op::Place { source: 0, slot: 10, closing: 1 });
    draft.push(Op::Place { source: 1, slot, closing: 0 });
    draft.push(Op::SignalMask { mask: 0 });
    let words: Vec<_> = words.iter().map(|word| std::ffi::CString::new(*word).expect("no NUL")).collect();
    let arguments = draft.strings(words.iter().map(|word| word.as_c_str()));
    let environment = draft.strings([]);
    draft.push(Op::Execute { program: 10, arguments, environment, listening: 0 });
    draft.encode(2)
}

#[test]
fn a_child_of_a_confined_child_is_born_in_it() {
    let probe = program("probe");
    let said = family(&["--", text(&probe), "fork"], |command| {
        command.grant(Grant::Execute(probe.clone()));
    })
    .said();
    assert_eq!(said, "EPERM\n", "it was not given to create processes itself");
    let said = family(&["spawn", "--", text(&probe), "fork"], |command| {
        command.grant(Grant::Execute(probe.clone()));
    })
    .said();
    assert_eq!(said, "ok\n", "what was given to it is its own to do");
}

#[test]
fn an_ordinary_program_runs_there() {
    let words = [
        "base",
        "spawn",
        "--",
        "sh",
        "-c",
        "echo $((6*7)); ls / | grep -c . > /dev/null && echo well; sleep 0 & wait",
    ];
    let said = family(&words, |command| {
        command.grant(Grant::Base);
    })
    .said();
    assert_eq!(said.lines().next(), Some("42"));
}

#[test]
fn it_can_pass_on_no_more_than_it_holds() {
    let (scratch, probe) = (Scratch::new(), program("probe"));
    let (mine, other) = (scratch.file("mine", ""), scratch.file("other", ""));
    let said = family(
        &[&format!("read={mine}"), "--", text(&probe), "try", "read", &mine, "read", &other],
        |command| {
            command.grants([Grant::Execute(probe.clone()), Grant::Read(mine.clone().into())]);
        },
    );
    assert_eq!(said.said(), format!("read {mine} ok\nread {other} EACCES\n"));
    // A plan that takes no right away: what holds the nursery holds whatever runs it.
    let family = family(&["--", text(&probe)], |command| {
        command.grants([Grant::Execute(probe.clone()), Grant::Read(mine.clone().into())]);
        command.limit(Limit::OpenFiles(300));
    });
    let (reading, writing) = pipe();
    let file = std::fs::File::open(&probe).expect("ours");
    for (words, expected) in [
        (
            vec!["probe", "try", "read", &mine, "read", &other],
            format!("read {mine} ok\nread {other} EACCES\n"),
        ),
        (vec!["probe", "socket", "2", "1", "0"], "EAFNOSUPPORT\n".to_owned()),
        (vec!["probe", "fork"], "ok\n".to_owned()),
    ] {
        let reading_on = reading.try_clone().expect("a descriptor");
        let plan = by_hand(&words, 1);
        let child =
            family.spawner.bear(&plan, &[file.as_fd(), writing.as_fd()], Cradle::default()).expect("born");
        assert_eq!(family.spawner.end(), (child, WELL));
        let mut bytes = [0; 4096];
        let count =
            std::io::Read::read(&mut std::fs::File::from(reading_on), &mut bytes).expect("a pipe of ours");
        assert_eq!(String::from_utf8_lossy(&bytes[..count]), expected);
    }
    // Its limits are limits of theirs; a raise is refused as to anybody.
    let mut draft = Draft::new();
    draft.push(Op::Limit { resource: 7, soft: 400, hard: 400 });
    let (arguments, environment) = (draft.strings([c"none"]), draft.strings([]));
    draft.push(Op::Execute { program: 10, arguments, environment, listening: 0 });
    let plan = draft.encode(0);
    let refused = family.spawner.bear(&plan, &[], Cradle::default());
    assert_eq!(refused, Err((0, libc::EPERM)));
}

#[test]
fn in_a_private_root_it_is_in_that() {
    let probe = program("probe");
    let mut look = Command::new(&probe);
    if look.root(Root::new()).describe().is_err() {
        return beget_tests::skip(
            "spawners::in_a_private_root_it_is_in_that",
            beget_tests::Need::Machine("user namespaces"),
        );
    }
    let scratch = Scratch::new();
    let other = scratch.file("other", "");
    let said = family(&["--", text(&probe), "try", "read", &other, "read", text(&probe)], |command| {
        command.grant(Grant::Execute(probe.clone())).root(Root::new());
    });
    assert_eq!(said.said(), format!("read {other} ENOENT\nread {} ok\n", probe.display()));
}

#[test]
fn a_lasting_one_is_taken_over_under_its_confinement() {
    let (scratch, probe) = (Scratch::new(), program("probe"));
    let (theirs, ours) = pipe();
    let mut command = Command::new(&probe);
    let parcel =
        command.parcel(ParcelOptions { lasting: true, spawner: true, together: false }).expect("packed");
    drop(command);
    let outer = Midwife::new();
    let spawner =
        outer.nursery(parcel.spawner.as_ref().expect("asked for"), Some(&scratch)).expect("a spawner");
    let program = std::fs::File::open(&probe).expect("ours");
    let cradle = Cradle { label: 5, ..Cradle::default() };
    let plan = by_hand(&["probe", "await", "7"], 0);
    let number = spawner.bear(&plan, &[program.as_fd(), theirs.as_fd()], cradle).expect("born");
    drop((parcel, spawner, theirs));
    let next = call(&scratch);
    drop(ours);
    assert_eq!(next.end(), (number, (change::EXITED, 7)));
}

/// Whatever the kernel leaves to the filter, the nursery's own calls are not among what that refuses; nor are they for one that may do
/// everything.
#[test]
fn it_serves_whatever_its_filter_has_to_refuse() {
    let probe = program("probe");
    let program = std::fs::File::open(&probe).expect("ours");
    for landlock in 0..=9 {
        let mut command = Command::new(&probe);
        match landlock {
            9 => command.grant(Grant::Ambient),
            landlock => command
                .support(Support::detect().with_landlock_at_most(Some(landlock).filter(|abi| *abi > 0))),
        };
        Promise::ALL.iter().for_each(|promise| _ = command.degrade(*promise));
        let parcel = command.parcel(SPAWNER).expect("packed");
        let midwife = Midwife::new();
        let spawner = midwife.nursery(parcel.spawner.as_ref().expect("asked for"), None).expect("a spawner");
        let (reading, writing) = pipe();
        let plan = by_hand(&["probe", "fork"], 1);
        let child =
            spawner.bear(&plan, &[program.as_fd(), writing.as_fd()], Cradle::default()).expect("born");
        assert_eq!(spawner.end(), (child, WELL));
        drop(writing);
        assert_eq!(rest(reading), "ok\n", "{landlock}");
    }
}

/// Without `/proc` it cannot list orphans; the nursery that it is born in ends them.
#[test]
fn orphans_end_with_the_nursery_that_it_is_born_in() {
    let (probe, mark) = (program("probe"), mark());
    let parcel = Command::new(&probe).parcel(SPAWNER).expect("packed");
    let midwife = Midwife::new();
    let spawner = midwife.nursery(parcel.spawner.as_ref().expect("asked for"), None).expect("a spawner");
    let program = std::fs::File::open(&probe).expect("ours");
    let (reading, writing) = pipe();
    let plan = by_hand(&["probe", "family", &mark], 1);
    spawner.bear(&plan, &[program.as_fd(), writing.as_fd()], Cradle::default()).expect("born");
    drop(writing);
    let mut pipe = std::fs::File::from(reading);
    std::io::Read::read_exact(&mut pipe, &mut [0; 3]).expect("all three are there");
    assert_eq!(marked(&mark).len(), 3);
    drop((spawner, midwife));
    // Each of them holds the pipe.
    assert_eq!(std::io::Read::read(&mut pipe, &mut [0]).expect("a pipe of ours"), 0);
}
