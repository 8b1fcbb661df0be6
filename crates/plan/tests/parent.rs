//! Why an operation is legal for a `vfork` child: after it, its parent is what it was; and why others are not.

mod support;

use std::os::fd::AsFd;

use beget_plan::engine::{self, Failure};
use beget_plan::{Draft, Engine, Op, Plan};

/// Runs some operations in a `vfork` child, which then fails to execute; gives which operation failed.
fn try_ops(ops: &[Op], draft: &mut Draft) -> (u32, i32) {
    try_with(std::fs::File::open("/").expect("the root can be opened"), ops, draft)
}

/// The same with this file as the plan's descriptor.
fn try_with(file: std::fs::File, ops: &[Op], draft: &mut Draft) -> (u32, i32) {
    for op in ops {
        draft.push(*op);
    }
    support::execute(draft, 1_000_000, &[c"x"], &[]);
    let bytes = draft.encode(1);
    let plan = Plan::check(&bytes, Engine::Vfork).expect("legal for this engine");
    match engine::spawn(&plan, &[file.as_fd()], engine::Place::default()) {
        Err(Failure::Op(fault)) => (fault.op, fault.errno.0),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_a_vfork_child_may_do_does_not_reach_its_parent() {
    let mut data = Draft::new();
    let mask = data.bytes(&[1, 0, 0, 0, 0, 0, 0, 0]);
    let groups = data.numbers(&[]);
    let name = data.string(c"beget:test");
    let instructions = data.filter(&[support::ALLOW]);
    let place = [Op::Raise { floor: 40 }, Op::Place { source: 0, slot: 9, closing: 1 }];
    let in_root = [place[0], place[1], Op::ChangeDirectory { slot: 9 }];
    // SAFETY: asks for a number.
    let parent = unsafe { libc::getpid() };
    let all: &[&[Op]] = &[
        &[Op::DefaultSignals {}],
        &[Op::NewSession {}],
        &[Op::ProcessGroup { group: 0 }],
        &place,
        &[Op::Close { first: 0, last: 900_000 }],
        &in_root,
        &[Op::Umask { mode: 0o777 }],
        &[Op::Personality { value: 0x0040_0000 }],
        &[Op::TimerSlack { nanoseconds: 1_234_567 }],
        &[Op::Limit { resource: 4, soft: 0, hard: 0 }],
        &[Op::Processors { mask }],
        &[Op::DieWithParent { signal: 9, parent }],
        &[Op::DropCapabilities {}],
        &[Op::NoNewPrivileges {}, Op::Filter { instructions }],
        &[Op::SignalMask { mask: 0x0f0f }],
        &[Op::JoinKeyring { name, serial: 0 }],
        &[Op::Groups { groups }],
        &[Op::ChangeDirectoryTo { source: 0 }],
        &[Op::Name { name }],
        &[Op::StopAtExec {}],
    ];
    // Something to be changed: an ignored signal, which no default is.
    // SAFETY: this signal means nothing to the test runner.
    unsafe { libc::signal(libc::SIGUSR2, libc::SIG_IGN) };
    for ops in all {
        let before = support::state();
        let (failed, errno) = try_ops(ops, &mut data.clone());
        let last = ops[ops.len() - 1];
        let privileged = matches!(last, Op::Groups { .. } | Op::Processors { .. } | Op::JoinKeyring { .. });
        if failed as usize != ops.len() {
            assert!(privileged, "{last:?}: errno {errno} at {failed}");
            support::skip("what_a_vfork_child_may_do", &format!("errno {errno} at {}", last.name()));
        }
        assert_eq!(before, support::state(), "{last:?} changed its parent");
    }
}

/// The child is in another group, and its parent is where it was.
#[test]
fn a_vfork_child_joins_a_group_alone() {
    let mounts = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];
    let mount = mounts
        .into_iter()
        .find(|mount| std::fs::exists(format!("{mount}/cgroup.controllers")).is_ok_and(|is| is));
    let group = format!("{}/beget-plan-test-{}", mount.unwrap_or(mounts[0]), std::process::id());
    if std::fs::create_dir(&group).is_err() {
        return support::skip("a_vfork_child_joins_a_group_alone", "no group can be made here");
    }
    let entry =
        std::fs::File::options().write(true).open(format!("{group}/cgroup.procs")).expect("it is ours");
    let own = || std::fs::read_to_string("/proc/thread-self/cgroup").expect("it can be read");
    let before = own();
    let place = Op::Place { source: 0, slot: 9, closing: 1 };
    // It fails at the exec after it joined, and is in the group no more when it has ended.
    let ops = [Op::Raise { floor: 40 }, place, Op::JoinCgroup { slot: 9 }];
    assert_eq!(try_with(entry, &ops, &mut Draft::new()).0 as usize, ops.len());
    let refused = std::fs::File::open("/dev/null").expect("it is there");
    assert_eq!(
        try_with(refused, &ops, &mut Draft::new()),
        (2, libc::EBADF),
        "what cannot be written is not joined"
    );
    assert_eq!(before, own());
    assert!((0..1000).any(|_| {
        std::thread::sleep(std::time::Duration::from_millis(1));
        std::fs::remove_dir(&group).is_ok()
    }));
}

/// The same memory is the same memory: a newborn that shares it and makes itself undumpable makes its parent so.
#[test]
fn what_it_may_not_do_would() {
    let status = support::forked(|| {
        // SAFETY: the child that shares this new process's memory makes one call and ends; the parent waits for it.
        unsafe {
            libc::prctl(libc::PR_SET_DUMPABLE, 1);
            let child: i64;
            core::arch::asm!(
                "syscall", "test rax, rax", "jnz 2f",
                "mov eax, 157", "mov edi, 4", "xor esi, esi", "syscall",
                "mov eax, 231", "xor edi, edi", "syscall",
                "2:",
                inlateout("rax") libc::SYS_vfork => child,
                out("rdi") _, out("rsi") _, out("rcx") _, out("r11") _,
                options(nostack),
            );
            libc::waitpid(child as i32, std::ptr::null_mut(), 0);
            libc::prctl(libc::PR_GET_DUMPABLE)
        }
    });
    assert_eq!(status, 0, "the parent was dumpable, and is not any more");
}

/// The refusal is not only the check's: a plan that was checked for another engine does not get through this one's door.
#[test]
fn a_plan_for_another_engine_is_not_born() {
    let mut draft = Draft::new();
    draft.push(Op::Dumpable { value: 0 });
    support::execute(&mut draft, 1_000_000, &[c"x"], &[]);
    let file = std::fs::File::open("/").expect("the root can be opened");
    let bytes = draft.encode(1);
    assert!(Plan::check(&bytes, Engine::Vfork).is_err());
    let plan = Plan::check(&bytes, Engine::Fresh).expect("legal for a process with memory of its own");
    let refused = engine::spawn(&plan, &[file.as_fd()], engine::Place::default())
        .expect_err("it would change its creator");
    assert_eq!(refused, Failure::Birth(beget_sys::Errno::EINVAL));
}
