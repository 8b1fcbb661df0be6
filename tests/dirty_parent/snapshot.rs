//! All that can be seen of this process's own state, to be the same before and after a birth.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;

use libc::{c_ulong, syscall};

pub type Snapshot = BTreeMap<String, String>;

/// What changes by itself, or with what other processes do, or is asked for elsewhere.
const VOLATILE: [&str; 8] =
    ["Vm", "Rss", "Hugetlb", "voluntary_", "nonvoluntary_", "SigQ", "State", "ShdPnd"];

fn file(snapshot: &mut Snapshot, path: &str) {
    let text =
        std::fs::read(path).map_or_else(|error| error.to_string(), |text| text.escape_ascii().to_string());
    snapshot.insert(path.to_owned(), text);
}

/// The memory, as what is mapped and how; neighbours that the kernel merged count as one, and heaps may grow.
fn mappings() -> String {
    let maps = std::fs::read_to_string("/proc/self/maps").expect("/proc is there");
    let mut seen: BTreeMap<(String, String), u32> = BTreeMap::new();
    for line in maps.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let name = words.get(5..).unwrap_or_default().join(" ");
        *seen.entry((words[1].to_owned(), name)).or_default() += 1;
    }
    format!("{seen:?}")
}

/// Takes it.
pub fn take() -> Snapshot {
    let mut all = Snapshot::new();
    let listed: Vec<String> = std::fs::read_dir("/proc/self/fd")
        .expect("/proc is there")
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    for number in listed {
        // The descriptor that listed the folder is gone.
        let Ok(target) = std::fs::read_link(format!("/proc/self/fd/{number}")) else { continue };
        let info = std::fs::read_to_string(format!("/proc/self/fdinfo/{number}")).unwrap_or_default();
        // SAFETY: numbers only.
        let closing = unsafe { libc::fcntl(number.parse().expect("a number"), libc::F_GETFD) };
        // A timer's descriptor tells the time that is left.
        let info: Vec<&str> = info.lines().filter(|line| !line.starts_with("it_value")).collect();
        all.insert(format!("descriptor {number:>5}"), format!("{} {closing} {info:?}", target.display()));
    }
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc is there");
    for line in status.lines().filter(|line| !VOLATILE.iter().any(|word| line.starts_with(word))) {
        let (key, value) = line.split_once(':').unwrap_or((line, ""));
        all.insert(format!("status {key}"), value.trim().to_owned());
    }
    for path in [
        "/proc/thread-self/oom_score_adj",
        "/proc/thread-self/coredump_filter",
        "/proc/thread-self/comm",
        "/proc/self/cgroup",
        "/proc/self/environ",
        "/proc/self/timers",
        "/proc/self/limits",
    ] {
        file(&mut all, path);
    }
    for link in ["cwd", "root", "exe", "ns/mnt", "ns/pid_for_children", "ns/net", "ns/user"] {
        let target = std::fs::read_link(format!("/proc/thread-self/{link}"));
        all.insert(format!("link {link}"), format!("{target:?}"));
    }
    let mut variables: Vec<String> = std::env::vars_os()
        .map(|(name, value)| {
            format!("{}={}", name.as_bytes().escape_ascii(), value.as_bytes().escape_ascii())
        })
        .collect();
    variables.sort();
    all.insert("environment".to_owned(), variables.join("\n"));
    all.insert("children".to_owned(), format!("{:?}", beget_tests::children()));
    all.insert("mappings".to_owned(), mappings());
    signals(&mut all);
    attributes(&mut all);
    all
}

fn signals(all: &mut Snapshot) {
    for number in 1..=64 {
        let mut action = [0u64; 4];
        // SAFETY: the kernel writes one `struct sigaction` of 32 bytes.
        unsafe { syscall(libc::SYS_rt_sigaction, number, 0usize, &raw mut action, 8usize) };
        all.insert(format!("signal {number:>2}"), format!("{action:x?}"));
    }
    let (mut mask, mut pending, mut stack) = (0u64, 0u64, [0u64; 3]);
    // SAFETY: the kernel writes eight bytes, eight bytes and one `stack_t` of 24 bytes.
    unsafe {
        syscall(libc::SYS_rt_sigprocmask, libc::SIG_BLOCK, 0usize, &raw mut mask, 8usize);
        syscall(libc::SYS_rt_sigpending, &raw mut pending, 8usize);
        syscall(libc::SYS_sigaltstack, 0usize, &raw mut stack);
    }
    // A child that ends says so to its parent, whose other thread takes the signal a moment later.
    pending &= !(1 << (libc::SIGCHLD - 1));
    all.insert("signals".to_owned(), format!("blocked {mask:x} pending {pending:x} stack {stack:x?}"));
}

fn attributes(all: &mut Snapshot) {
    let zero: c_ulong = 0;
    for (key, option) in [
        ("no_new_privs", libc::PR_GET_NO_NEW_PRIVS),
        ("seccomp", libc::PR_GET_SECCOMP),
        ("securebits", libc::PR_GET_SECUREBITS),
        ("dumpable", libc::PR_GET_DUMPABLE),
        ("keepcaps", libc::PR_GET_KEEPCAPS),
        ("timerslack", libc::PR_GET_TIMERSLACK),
        ("thp_disabled", libc::PR_GET_THP_DISABLE),
    ] {
        // SAFETY: options that take no argument and give a number.
        let answer = unsafe { syscall(libc::SYS_prctl, option, zero, zero, zero, zero) };
        all.insert(format!("attribute {key}"), answer.to_string());
    }
    for (key, option) in [("pdeathsig", libc::PR_GET_PDEATHSIG), ("subreaper", libc::PR_GET_CHILD_SUBREAPER)]
    {
        let mut value = 0i32;
        // SAFETY: the kernel writes one int.
        unsafe { syscall(libc::SYS_prctl, option, &raw mut value, zero, zero, zero) };
        all.insert(format!("attribute {key}"), value.to_string());
    }
    // SAFETY: numbers only; the calls that set something set what is there already, or ask.
    let numbers = unsafe {
        [
            ("personality", syscall(libc::SYS_personality, 0xffff_ffffu32)),
            ("group", syscall(libc::SYS_getpgid, 0)),
            ("session", syscall(libc::SYS_getsid, 0)),
            ("parent", syscall(libc::SYS_getppid)),
            ("priority", syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0)),
            ("io priority", syscall(libc::SYS_ioprio_get, 1, 0)),
            ("policy", syscall(libc::SYS_sched_getscheduler, 0)),
            ("session keyring", syscall(libc::SYS_keyctl, 0, -3, 0)),
            ("process keyring", syscall(libc::SYS_keyctl, 0, -2, 0)),
            ("thread keyring", syscall(libc::SYS_keyctl, 0, -1, 0)),
        ]
    };
    for (key, number) in numbers {
        all.insert(format!("number {key}"), number.to_string());
    }
    for timer in 0..3 {
        let mut value = [0i64; 4];
        // SAFETY: the kernel writes two pairs of seconds and microseconds.
        unsafe { syscall(libc::SYS_getitimer, timer, &raw mut value) };
        // The time that is left goes down; that it is running, and its interval, do not change.
        all.insert(format!("timer {timer}"), format!("{} {:?}", value[2..] != [0, 0], &value[..2]));
    }
}

/// Fails with the lines that differ.
#[track_caller]
pub fn assert_same(before: &Snapshot, after: &Snapshot, what: &str) {
    let keys: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let differing: Vec<String> = keys
        .into_iter()
        .filter(|key| before.get(*key) != after.get(*key))
        .map(|key| format!("{key}:\n  before {:?}\n  after  {:?}", before.get(key), after.get(key)))
        .collect();
    assert!(differing.is_empty(), "{what} changed its parent:\n{}", differing.join("\n"));
}
