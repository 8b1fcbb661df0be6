//! All that a spawn could change in the process that makes it, as lines to be compared.

use std::collections::BTreeSet;

/// A process's state, one fact a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State(BTreeSet<String>);

impl State {
    /// That of this process.
    pub fn take() -> State {
        let mut lines = BTreeSet::new();
        let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
        // What grows and shrinks by itself is left out: memory in use, and how often the process was switched.
        let changing =
            ["Vm", "Rss", "Huge", "voluntary", "nonvoluntary", "State", "Cpus", "Mems", "FDSize", "SigQ"];
        for line in read("/proc/self/status").lines() {
            if !changing.iter().any(|name| line.starts_with(name)) {
                lines.insert(line.to_owned());
            }
        }
        lines.extend(read("/proc/self/limits").lines().map(str::to_owned));
        // The heap of this one thread and its stack may grow; any other mapping that comes or goes counts.
        for line in read("/proc/self/maps").lines() {
            if !line.ends_with("[heap]") && !line.ends_with("[stack]") {
                lines.insert(format!("mapping {line}"));
            }
        }
        lines.extend(beget_tests::descriptors().into_iter().map(|line| format!("descriptor {line}")));
        lines.extend(beget_tests::children().into_iter().map(|child| format!("child {child}")));
        for path in ["/proc/self/personality", "/proc/self/timerslack_ns", "/proc/self/oom_score_adj"] {
            lines.insert(format!("{path} {}", read(path).trim()));
        }
        for path in ["/proc/self/cwd", "/proc/self/root"] {
            lines.insert(format!("{path} {:?}", std::fs::read_link(path)));
        }
        lines.insert(format!("numbers {:?}", numbers()));
        State(lines)
    }

    /// What is here and not in `other`, and the other way round.
    pub fn difference(&self, other: &State) -> Vec<String> {
        let gone = self.0.difference(&other.0).map(|line| format!("- {line}"));
        gone.chain(other.0.difference(&self.0).map(|line| format!("+ {line}"))).collect()
    }
}

/// Whether there is a child of any kind, ended or not; it is left as it is.
fn any_child() -> i64 {
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: the kernel writes to this stack.
    i64::from(unsafe {
        let mut information: libc::siginfo_t = std::mem::zeroed();
        libc::waitid(libc::P_ALL, 0, &raw mut information, options)
    })
}

/// Session, group, keyring, flags of the memory and the process.
fn numbers() -> [i64; 9] {
    let prctl = |option: i32| {
        // SAFETY: asks for a number.
        i64::from(unsafe { libc::prctl(option, 0, 0, 0, 0) })
    };
    // SAFETY: these ask for numbers; a null path of no length gives the keyring's own number.
    let [session, group, keyring, children] = unsafe {
        [
            i64::from(libc::getsid(0)),
            i64::from(libc::getpgid(0)),
            libc::syscall(libc::SYS_keyctl, libc::KEYCTL_GET_KEYRING_ID, -3, 0),
            any_child(),
        ]
    };
    let flags =
        [libc::PR_GET_DUMPABLE, libc::PR_GET_NO_NEW_PRIVS, libc::PR_GET_SECCOMP, libc::PR_GET_THP_DISABLE];
    let [dumpable, privileges, filter, huge] = flags.map(prctl);
    // SAFETY: asks for a number.
    let securebits = i64::from(unsafe { libc::prctl(libc::PR_GET_SECUREBITS) });
    [session, group, keyring, children, dumpable, privileges, filter, huge, securebits]
}
