//! What the tests of plans share: a plan that has every kind of operation, and a forked process with memory of its own.

#![allow(dead_code, reason = "each test program uses a part")]

use std::ffi::CStr;

use beget_plan::{Draft, Op};
use beget_sys::seccomp::Instruction;

/// A filter that allows everything.
pub(crate) const ALLOW: Instruction = Instruction { code: 0x06, jump_true: 0, jump_false: 0, k: 0x7fff_0000 };

/// A draft with operations of every shape that a `vfork` child may run; it places three descriptors.
pub(crate) fn everything() -> Draft {
    let mut draft = Draft::new();
    draft.push(Op::DefaultSignals {});
    draft.push(Op::NewSession {});
    draft.push(Op::ProcessGroup { group: 0 });
    draft.push(Op::Raise { floor: 10 });
    for source in 0..3 {
        draft.push(Op::Place { source, slot: 3 + source as i32, closing: source & 1 });
    }
    draft.push(Op::Close { first: 6, last: u32::MAX });
    draft.push(Op::Foreground { slot: 0 });
    draft.push(Op::ControllingTerminal { slot: 3 });
    draft.push(Op::ChangeDirectory { slot: 4 });
    draft.push(Op::Umask { mode: 0o22 });
    draft.push(Op::Personality { value: 0 });
    draft.push(Op::TimerSlack { nanoseconds: 50_000 });
    draft.push(Op::Limit { resource: 7, soft: 1 << 33, hard: u64::MAX });
    let mask = draft.bytes(&[0xff; 16]);
    draft.push(Op::Processors { mask });
    draft.push(Op::DieWithParent { signal: 9, parent: 77 });
    let name = draft.string(c"a name");
    draft.push(Op::JoinKeyring { name, serial: -5 });
    let groups = draft.numbers(&[1, 2, 3]);
    draft.push(Op::Groups { groups });
    draft.push(Op::DropCapabilities {});
    draft.push(Op::NoNewPrivileges {});
    draft.push(Op::Landlock { slot: 5 });
    let instructions = draft.filter(&[ALLOW; 3]);
    draft.push(Op::Filter { instructions });
    draft.push(Op::FilterWithListener { asking: instructions, refusing: instructions, socket: 5 });
    draft.push(Op::SignalMask { mask: 1 << 63 });
    execute(&mut draft, 3, &[c"program", c"", c"argument"], &[c"A=1"]);
    draft
}

/// Ends a draft with a program.
pub(crate) fn execute(draft: &mut Draft, program: i32, arguments: &[&CStr], environment: &[&CStr]) {
    let arguments = draft.strings(arguments.iter().copied());
    let environment = draft.strings(environment.iter().copied());
    draft.push(Op::Execute { program, arguments, environment, listening: 1 });
}

/// Runs `work` in a forked process, which must neither allocate nor panic, and gives its exit status.
pub(crate) fn forked(work: impl FnOnce() -> i32) -> i32 {
    let mut status = 0;
    // SAFETY: the child runs `work` alone, which touches nothing that another thread may have locked, and ends.
    unsafe {
        let child = libc::fork();
        assert!(child >= 0, "a process can be made");
        if child == 0 {
            libc::alarm(60);
            libc::_exit(work());
        }
        assert_eq!(libc::waitpid(child, &raw mut status, 0), child);
    }
    status
}

/// Whether this test runs as root. The kernel gives the calls of [`Op::SetUser`] to nobody else.
pub(crate) fn is_root() -> bool {
    // SAFETY: asks for a number.
    unsafe { libc::geteuid() == 0 }
}

/// Says past the test runner's capture that something was not tried, and why.
pub(crate) fn skip(test: &str, why: &str) {
    let line = format!("skipped: {test}: {why}\n");
    // SAFETY: writes a live buffer to standard error.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}

/// All that the kernel tells of this thread and its process that an operation could have changed.
pub(crate) fn state() -> Vec<String> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let changing =
        ["Vm", "Rss", "Huge", "voluntary", "nonvoluntary", "State", "Threads", "SigQ", "FDSize", "Tracer"];
    let status = read("/proc/thread-self/status");
    let kept = |line: &&str| !changing.iter().any(|name| line.starts_with(name));
    let mut lines: Vec<String> = status.lines().filter(kept).map(str::to_owned).collect();
    for path in ["limits", "personality", "sessionid", "cgroup"] {
        lines.push(read(&format!("/proc/thread-self/{path}")));
    }
    lines.push(read("/proc/self/timerslack_ns"));
    for link in
        ["cwd", "root", "ns/user", "ns/mnt", "ns/pid_for_children", "ns/net", "ns/ipc", "ns/uts", "ns/cgroup"]
    {
        lines.push(format!("{:?}", std::fs::read_link(format!("/proc/thread-self/{link}"))));
    }
    lines
        .extend(["/proc/thread-self/mountinfo", "/proc/sys/kernel/hostname", "/proc/self/uid_map"].map(read));
    // SAFETY: these ask for numbers.
    let numbers = unsafe {
        [
            i64::from(libc::getsid(0)),
            i64::from(libc::getpgid(0)),
            i64::from(libc::prctl(libc::PR_GET_DUMPABLE)),
            i64::from(libc::prctl(libc::PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)),
            libc::syscall(libc::SYS_keyctl, libc::KEYCTL_GET_KEYRING_ID, -3, 0),
        ]
    };
    lines.push(format!("{numbers:?}"));
    let mut dispositions = Vec::new();
    for signal in 1..=64 {
        // SAFETY: asks for an action; nothing is changed.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            libc::sigaction(signal, std::ptr::null(), &raw mut action);
            dispositions.push((action.sa_sigaction, action.sa_flags));
        }
    }
    lines.push(format!("{dispositions:?}"));
    lines
}
