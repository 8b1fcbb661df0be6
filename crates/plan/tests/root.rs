//! The operations of a private root: refused where the plan has not made what they change its own, without effect on the parent, and never
//! showing another file than the one that came with the plan.

mod support;

use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};

use beget_plan::encoding::Malformed;
use beget_plan::engine::{self, Failure, Place};
use beget_plan::op::{Span, mapping};
use beget_plan::{Draft, Engine, Op, Plan};
use beget_sys::landlock::fs;
use beget_sys::namespace::{attribute, kind};

const KINDS: u32 = kind::MOUNTS | kind::CGROUPS | kind::NAMES | kind::IPC | kind::NETWORK;
const PLAIN: u32 = attribute::NO_SET_USER | attribute::NO_DEVICES;

/// What the check says of these operations, followed by a program.
fn checked(data: &Draft, ops: &[Op]) -> Option<Malformed> {
    let mut draft = data.clone();
    for op in ops {
        draft.push(*op);
    }
    support::execute(&mut draft, 3, &[c"x"], &[]);
    let bytes = draft.encode(1);
    let refused = Plan::check(&bytes, Engine::Vfork).err();
    assert_eq!(refused, Plan::check(&bytes, Engine::Fresh).err(), "{ops:?}: for both engines alike");
    refused
}

/// The operations that change a root that is being filled, and what each of them needs.
fn in_new_root(data: &mut Draft) -> Vec<Op> {
    let [folder, name, target, path, filesystem] =
        [c".", c"name", c"target", c"/", c"tmpfs"].map(|text| data.string(text));
    let contents = data.bytes(b"contents");
    let options = data.strings([c"size", c"4096"]);
    vec![
        Op::MakeDirectory { folder, name, mode: 0o1777 },
        Op::MakeFile { folder, name, contents, mode: 0o444 },
        Op::MakeLink { folder, name, target },
        Op::Bind { source: 0, path, at: name, attributes: attribute::KNOWN },
        Op::Mount { filesystem, options, at: name, attributes: PLAIN },
        Op::Seal { at: name, attributes: attribute::READ_ONLY },
        Op::BecomeRoot { attributes: PLAIN },
    ]
}

#[test]
fn only_what_the_plan_made_its_own_is_changed() {
    let mut data = Draft::new();
    let name = data.bytes(b"host");
    let begin = [Op::Namespaces { kinds: KINDS }, Op::NewRoot { options: Span::default() }];
    let root = in_new_root(&mut data);
    for op in &root {
        assert_eq!(checked(&data, &[*op]), Some(Malformed::Range(0)), "{}: of nobody's", op.name());
        assert_eq!(checked(&data, &[begin[0], *op]), Some(Malformed::Range(1)), "{}: in no root", op.name());
        assert_eq!(checked(&data, &[begin[0], begin[1], *op]), None, "{}", op.name());
        let done = [begin[0], begin[1], root[6], *op];
        assert_eq!(checked(&data, &done), Some(Malformed::Range(3)), "{}: in a root that is done", op.name());
    }
    let without = |missing: u32| Op::Namespaces { kinds: KINDS & !missing };
    for (op, needs) in
        [(begin[1], kind::MOUNTS), (Op::HostName { name }, kind::NAMES), (Op::Loopback {}, kind::NETWORK)]
    {
        assert_eq!(checked(&data, &[op]), Some(Malformed::Range(0)), "{}", op.name());
        assert_eq!(checked(&data, &[without(needs), op]), Some(Malformed::Range(1)), "{}", op.name());
        assert_eq!(checked(&data, &[begin[0], op]), None, "{}", op.name());
    }
    // One root at a time, and each in mounts of its own.
    assert_eq!(checked(&data, &[begin[0], begin[1], begin[1]]), Some(Malformed::Range(2)));
    assert_eq!(checked(&data, &[begin[0], begin[1], root[6], begin[1]]), Some(Malformed::Range(3)));
}

#[test]
fn what_an_operation_of_a_root_refers_to_is_there() {
    let mut data = Draft::new();
    let root = in_new_root(&mut data);
    let odd = data.strings([c"size"]);
    let text = data.string(c"text");
    let (nowhere, beyond) = (u32::MAX, Span { at: 0, count: 1 << 20 });
    let none = Span::default();
    let wrong = [
        Op::MakeDirectory { folder: nowhere, name: text, mode: 0o755 },
        Op::MakeDirectory { folder: text, name: nowhere, mode: 0o755 },
        Op::MakeDirectory { folder: text, name: text, mode: 0o4755 },
        Op::MakeFile { folder: text, name: text, contents: beyond, mode: 0o444 },
        Op::MakeFile { folder: text, name: text, contents: none, mode: 0o4755 },
        Op::MakeFile { folder: text, name: text, contents: none, mode: 0o1755 },
        Op::MakeLink { folder: text, name: text, target: nowhere },
        Op::Bind { source: 1, path: text, at: text, attributes: 0 },
        Op::Bind { source: 0, path: nowhere, at: text, attributes: 0 },
        Op::Bind { source: 0, path: text, at: text, attributes: 0x10 },
        Op::Mount { filesystem: nowhere, options: none, at: text, attributes: 0 },
        Op::Mount { filesystem: text, options: odd, at: text, attributes: 0 },
        Op::Mount { filesystem: text, options: none, at: text, attributes: 1 << 20 },
        Op::Seal { at: text, attributes: 1 << 31 },
        Op::BecomeRoot { attributes: 0x10 },
    ];
    let begin = [Op::Namespaces { kinds: KINDS }, Op::NewRoot { options: none }];
    for op in wrong {
        assert_eq!(checked(&data, &[begin[0], begin[1], op]), Some(Malformed::Range(2)), "{op:?}");
    }
    for op in root {
        assert_eq!(checked(&data, &[begin[0], begin[1], op]), None, "{op:?}");
    }
    assert_eq!(checked(&data, &[begin[0], Op::NewRoot { options: odd }]), Some(Malformed::Range(1)));
    for kinds in [kind::USERS, kind::PROCESSES, 1 << 8, KINDS | 1] {
        assert_eq!(checked(&data, &[Op::Namespaces { kinds }]), Some(Malformed::Range(0)), "{kinds:x}");
    }
    let alone = [
        Op::MapUsers { source: 1, users: none, groups: none },
        Op::MapUsers { source: 0, users: beyond, groups: none },
        Op::MapUsers { source: 0, users: none, groups: beyond },
        Op::Open { path: nowhere, slot: 5, source: 0 },
        Op::Open { path: text, slot: -1, source: 0 },
        Op::Open { path: text, slot: 5, source: 1 },
        Op::EnterDirectory { path: nowhere },
        Op::Allow { slot: -1, path: text, rights: 0 },
        Op::Allow { slot: 5, path: nowhere, rights: 0 },
    ];
    for op in alone {
        assert_eq!(checked(&data, &[op]), Some(Malformed::Range(0)), "{op:?}");
    }
    assert_eq!(checked(&data, &[Op::Open { path: text, slot: 5, source: mapping::NO_FILE }]), None);
}

/// A root that is made in earnest, one operation after the other, with the descriptors that it takes.
struct Making {
    data: Draft,
    ops: Vec<Op>,
    files: Vec<OwnedFd>,
}

impl Making {
    fn new() -> Making {
        // SAFETY: ask for numbers.
        let (user, group) = unsafe { (libc::geteuid(), libc::getegid()) };
        let mut data = Draft::new();
        let users = data.bytes(format!("{user} {user} 1\n").as_bytes());
        let groups = data.bytes(format!("{group} {group} 1\n").as_bytes());
        let files = ["/proc", "/usr", "/"].map(|path| OwnedFd::from(File::open(path).expect("it is there")));
        let mut text = |text| data.string(text);
        let [here, usr, file, link, memory, own] =
            [c".", c"usr", c"file", c"link", c"memory", c"proc"].map(&mut text);
        let [usr_outside, file_inside, usr_inside, tmpfs, proc] =
            [c"/usr", c"/file", c"/usr", c"tmpfs", c"proc"].map(&mut text);
        let contents = data.bytes(b"contents");
        let name = data.bytes(b"named");
        let (mode, none) = (0o755, Span::default());
        let directory = |name| Op::MakeDirectory { folder: here, name, mode };
        let read_only = PLAIN | attribute::READ_ONLY;
        let ops = vec![
            Op::Raise { floor: 40 },
            Op::MapUsers { source: 0, users, groups },
            Op::Namespaces { kinds: KINDS },
            Op::HostName { name },
            Op::Loopback {},
            Op::NewRoot { options: none },
            directory(usr),
            Op::MakeFile { folder: here, name: file, contents, mode: 0o444 },
            Op::MakeLink { folder: here, name: link, target: file },
            Op::Bind { source: 1, path: usr_outside, at: usr, attributes: read_only },
            directory(memory),
            Op::Mount { filesystem: tmpfs, options: none, at: memory, attributes: PLAIN },
            directory(own),
            Op::Mount { filesystem: proc, options: none, at: own, attributes: read_only },
            Op::Seal { at: memory, attributes: attribute::READ_ONLY },
            Op::BecomeRoot { attributes: read_only },
            Op::Open { path: file_inside, slot: 9, source: mapping::NO_FILE },
            Op::EnterDirectory { path: usr_inside },
        ];
        Making { data, ops, files: files.into() }
    }

    /// Which operation failed, and why: the last, which executes what is not there, unless another did. None where no such process can be made.
    fn run(&self, ops: &[Op]) -> Option<(usize, i32)> {
        let mut draft = self.data.clone();
        for op in ops {
            draft.push(*op);
        }
        support::execute(&mut draft, 1_000_000, &[c"x"], &[]);
        let bytes = draft.encode(self.files.len());
        let plan = Plan::check(&bytes, Engine::Vfork).expect("it is a plan");
        let files: Vec<_> = self.files.iter().map(AsFd::as_fd).collect();
        let place = Place { namespaces: kind::USERS | kind::PROCESSES, ..Place::default() };
        match engine::spawn(&plan, &files, place) {
            Err(Failure::Op(fault)) => Some((fault.op as usize, fault.errno.0)),
            Err(Failure::Birth(errno)) => {
                support::skip("the operations of a root", &format!("no user namespace here: {errno}"));
                None
            }
            Ok(_) => panic!("there is no program"),
        }
    }
}

#[test]
fn what_makes_a_root_does_not_reach_the_parent() {
    let making = Making::new();
    for length in 1..=making.ops.len() {
        let before = support::state();
        let Some((failed, errno)) = making.run(&making.ops[..length]) else { return };
        assert_eq!(failed, length, "{:?}: errno {errno}", making.ops[failed.min(length - 1)]);
        assert_eq!(before, support::state(), "{:?} changed its parent", making.ops[length - 1]);
    }
}

#[test]
fn a_rule_for_what_is_inside_goes_into_a_ruleset_of_outside() {
    let mut making = Making::new();
    let handled: [u64; 1] = [fs::READ_FILE | fs::READ_DIR];
    // SAFETY: the kernel reads eight bytes on this stack.
    let ruleset = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, handled.as_ptr(), 8, 0) };
    if ruleset < 0 {
        return support::skip("a_rule_for_what_is_inside", "no Landlock here");
    }
    // SAFETY: the kernel gave us this number a moment ago.
    making.files.push(unsafe { OwnedFd::from_raw_fd(ruleset as i32) });
    let inside = making.data.string(c"/memory");
    let rights = handled[0];
    let rule = [Op::Place { source: 3, slot: 10, closing: 1 }, Op::Allow { slot: 10, path: inside, rights }];
    let ops = [&making.ops[..], &rule].concat();
    let Some((failed, errno)) = making.run(&ops) else { return };
    assert_eq!(failed, ops.len(), "errno {errno}");
    // Before it has a root of its own there is nothing of that name.
    let ops = [&making.ops[..1], &rule].concat();
    assert_eq!(making.run(&ops), Some((2, libc::ENOENT)));
}

/// The file of that name must be the one that came with the plan: another is not shown, and not opened.
#[test]
fn another_file_of_that_name_is_stale() {
    let mut making = Making::new();
    let at = making.ops.iter().position(|op| matches!(op, Op::Bind { .. })).expect("it shows one");
    let Op::Bind { path, at: place, attributes, .. } = making.ops[at] else { unreachable!() };
    let mut ops = making.ops[..at].to_vec();
    ops.push(Op::Bind { source: 2, path, at: place, attributes });
    let Some(fault) = making.run(&ops) else { return };
    assert_eq!(fault, (at, libc::ESTALE));
    // A link where the file was is another file, wherever it leads; and none leads on the way.
    let link = std::env::temp_dir().join(format!("beget-plan-{}", std::process::id()));
    std::os::unix::fs::symlink("/usr", &link).expect("a folder of ours");
    let name = std::ffi::CString::new(link.to_str().expect("text")).expect("no NUL");
    let path = making.data.string(&name);
    ops[at] = Op::Bind { source: 1, path, at: place, attributes };
    assert_eq!(making.run(&ops), Some((at, libc::ESTALE)));
    let below = std::ffi::CString::new([name.as_bytes(), b"/bin"].concat()).expect("no NUL");
    let path = making.data.string(&below);
    ops[at] = Op::Bind { source: 1, path, at: place, attributes };
    assert_eq!(making.run(&ops), Some((at, libc::ELOOP)));
    std::fs::remove_file(link).expect("ours");
    let path = making.data.string(c"/usr");
    let ops = [&making.ops[..], &[Op::Open { path, slot: 11, source: 2 }]].concat();
    assert_eq!(making.run(&ops), Some((making.ops.len(), libc::ESTALE)));
    // In whatever slot, also the one whose number is the lowest free.
    for slot in 3..16 {
        let ops = [&making.ops[..], &[Op::Open { path, slot, source: 1 }]].concat();
        let end = making.run(&ops).map(|fault| fault.0);
        assert_eq!(end, Some(ops.len()), "the very file, in its new place, at {slot}");
    }
}

/// Names of the new root lead nowhere else: not by steps back, and not by links that were put there.
#[test]
fn no_name_leads_out_of_the_new_root() {
    let mut making = Making::new();
    let begin = making.ops.iter().position(|op| matches!(op, Op::MakeFile { .. })).expect("it makes one");
    let [here, out, up, name, etc] =
        [c".", c"out", c"../../..", c"made", c"/etc"].map(|text| making.data.string(text));
    let before = making.ops[..begin].to_vec();
    let contents = making.data.bytes(b"x");
    let made = |folder| Op::MakeFile { folder, name, contents, mode: 0o444 };
    // Up from the root is the root: there it is made, and there only.
    let ops = [&before[..], &[made(up), made(here)]].concat();
    let Some(fault) = making.run(&ops) else { return };
    assert_eq!(fault, (begin + 1, libc::EEXIST));
    // A link to a folder of outside leads to the one inside, which is not there.
    let ops = [&before[..], &[Op::MakeLink { folder: here, name: out, target: etc }, made(out)]].concat();
    assert_eq!(making.run(&ops), Some((begin + 1, libc::ENOENT)));
    assert!(!std::path::Path::new("/etc/made").exists() && !std::path::Path::new("/made").exists());
    assert!(making.files.iter().all(|file| file.as_raw_fd() > 2));
}

/// While files are moved elsewhere the kernel is not always sure where a step back leads, and is asked again.
#[test]
fn files_that_move_elsewhere_stand_in_no_names_way() {
    use std::sync::atomic::{AtomicBool, Ordering};

    let mut making = Making::new();
    let begin = making.ops.iter().position(|op| matches!(op, Op::MakeFile { .. })).expect("it makes one");
    let [up, name] = [c"../../..", c"made"].map(|text| making.data.string(text));
    let contents = making.data.bytes(b"x");
    let made = Op::MakeFile { folder: up, name, contents, mode: 0o444 };
    let ops = [&making.ops[..begin], &[made, made]].concat();
    let (folder, over) =
        (std::env::temp_dir().join(format!("beget-moves-{}", std::process::id())), AtomicBool::new(false));
    std::fs::create_dir(&folder).expect("a folder of ours");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let [one, other] = ["one", "other"].map(|name| folder.join(name));
            std::fs::write(&one, "").expect("ours");
            while !over.load(Ordering::Relaxed) {
                std::fs::rename(&one, &other).and_then(|()| std::fs::rename(&other, &one)).expect("ours");
            }
        });
        let faults: Vec<_> = (0..100).map(|_| making.run(&ops)).collect();
        over.store(true, Ordering::Relaxed);
        // None where there are no namespaces to be had.
        let right = |fault: &Option<_>| fault.is_none_or(|fault| fault == (begin + 1, libc::EEXIST));
        assert!(faults.iter().all(right), "{faults:?}");
    });
    std::fs::remove_dir_all(folder).expect("ours");
}
