//! A parent as dirty as can be: what its children hold is what was declared, and it is itself the same before and after.
//!
//! Each test dirties a process of its own, which the test's process starts. The child is the probe, which reports everything
//! that it finds in itself; the whole report is compared with what `Command::describe` or `beget show --json` declares.

mod dirt;
mod expected;
mod keyrings;
mod snapshot;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

use beget::{Command, Grant, Limit, Process, Stdio};
use beget_tests::{in_own_process, program};
use expected::{Birth, Declared};

const LONG: Duration = Duration::from_secs(60);

/// A pipe whose reading end does not wait.
fn pipe() -> (File, OwnedFd) {
    let (reading, writing) = std::io::pipe().expect("a pipe");
    // SAFETY: numbers only.
    unsafe { libc::fcntl(reading.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) };
    (OwnedFd::from(reading).into(), writing.into())
}

/// What is in a pipe now; the writer has ended, but others hold its end.
fn drain(mut reading: &File) -> Vec<u8> {
    let (mut all, mut chunk) = (Vec::new(), [0; 1 << 16]);
    while let Ok(length @ 1..) = reading.read(&mut chunk) {
        all.extend_from_slice(&chunk[..length]);
    }
    all
}

fn end(process: &mut Process) -> beget::Ended {
    process.wait_timeout(LONG).expect("a child can be waited for").expect("it ends")
}

fn text(path: &std::path::Path) -> &str {
    path.to_str().expect("a path of ours is text")
}

/// A probe that reports into its one slot.
fn reporting(writing: &OwnedFd) -> Command {
    let mut command = Command::new(program("probe"));
    command.arg("report=3").slot("report", writing.try_clone().expect("a descriptor"));
    command
}

#[test]
fn a_child_of_the_library_holds_what_was_declared() {
    in_own_process("a_child_of_the_library_holds_what_was_declared", || {
        dirt::dirty(0o077);
        library_child(Some(40));
    });
}

#[test]
fn a_child_of_the_library_holds_what_was_declared_under_low_hard_limits() {
    in_own_process("a_child_of_the_library_holds_what_was_declared_under_low_hard_limits", || {
        dirt::dirty(0);
        dirt::lower_hard_limits();
        library_child(None);
    });
}

fn library_child(open_files: Option<u64>) {
    let probe = program("probe");
    let (reading, writing) = pipe();
    let mut command = reporting(&writing);
    let null = File::open("/dev/null").expect("/dev/null");
    let null_copy = null.try_clone().expect("a descriptor");
    command
        .args(["one word", "", "two"])
        .env("GIVEN", "value")
        .env("PATH", "/usr/bin")
        .stderr(Stdio::from(null_copy));
    if let Some(count) = open_files {
        command.limit(Limit::OpenFiles(count));
    }
    let declared = Declared::by_library(&command.describe().expect("describe"), text(&probe));
    assert_limits(&declared, open_files);
    let mut process = command.spawn().expect("spawn");
    let birth = Birth { pid: process.id(), parent: std::process::id(), death_signal: 0 };
    let ended = end(&mut process);
    assert!(ended.status.success(), "{ended:?}");
    let report = beget_tests::report(&drain(&reading));
    let slots: BTreeMap<i32, &dyn AsRawFd> = BTreeMap::from([(2, &null as &dyn AsRawFd), (3, &writing)]);
    expected::assert_equal(&expected::report(&declared, &birth, &slots), &report);
    assert_eq!(declared.umask, "022");
    assert_eq!(
        declared.environment,
        ["GIVEN=value", "PATH=/usr/bin", "LISTEN_FDS=1", "LISTEN_FDNAMES=report"],
        "nothing but what was given is declared"
    );
    assert!(!format!("{report:?}").contains(dirt::SECRET));
}

/// The fresh defaults, worked out from the hard limits alone.
fn assert_limits(declared: &Declared, open_files: Option<u64>) {
    for (number, name) in beget_authority::limit::RESOURCES.iter().enumerate() {
        let mut now = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        // SAFETY: the kernel writes one structure.
        unsafe { libc::getrlimit(number as u32, &mut now) };
        let hard = now.rlim_max;
        let fresh = match *name {
            "core" | "nice" | "rtprio" => (0, 0),
            "stack" => (hard.min(8 << 20), hard),
            "nofile" => open_files.map_or((hard.min(1024), hard), |count| (count, count)),
            _ => (hard, hard),
        };
        assert_eq!(declared.limits[*name], fresh, "limit {name}");
    }
}

#[test]
fn a_bare_child_holds_nothing() {
    in_own_process("a_bare_child_holds_nothing", || {
        dirt::dirty(0o077);
        let probe = program("probe");
        let (reading, writing) = pipe();
        // Only the report's slot, as standard output, so that not even a variable is there.
        let mut command = Command::new(&probe);
        command.stdout(Stdio::from(writing.try_clone().expect("a descriptor")));
        let declared = Declared::by_library(&command.describe().expect("describe"), text(&probe));
        assert_eq!(declared.environment, [""; 0]);
        let mut process = command.spawn().expect("spawn");
        let birth = Birth { pid: process.id(), parent: std::process::id(), death_signal: 0 };
        assert!(end(&mut process).status.success());
        let report = beget_tests::report(&drain(&reading));
        let slots: BTreeMap<i32, &dyn AsRawFd> = BTreeMap::from([(1, &writing as &dyn AsRawFd)]);
        expected::assert_equal(&expected::report(&declared, &birth, &slots), &report);
        assert_eq!(report.keys().filter(|key| key.starts_with("env.")).count(), 0);
    });
}

/// `beget` run by plain fork and exec, so that all the dirt reaches it, SIGCHLD ignored besides.
fn fork_and_exec(words: &[&str], streams: [i32; 3]) -> (i32, i32) {
    let words: Vec<CString> = words.iter().map(|word| CString::new(*word).expect("no NUL")).collect();
    let mut pointers: Vec<*const libc::c_char> = words.iter().map(|word| word.as_ptr()).collect();
    pointers.push(std::ptr::null());
    // SAFETY: between fork and exec the child makes system calls and nothing else; the array was built before.
    let child = unsafe {
        let child = libc::fork();
        if child == 0 {
            for (number, stream) in streams.iter().enumerate() {
                libc::dup2(*stream, number as i32);
            }
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            libc::execv(pointers[0], pointers.as_ptr());
            libc::_exit(124);
        }
        child
    };
    assert!(child > 0);
    let mut status = 0;
    // SAFETY: the kernel writes one int.
    assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
    (child, status)
}

/// That there is something to keep out: what every child of this process holds that is made the old way.
#[test]
fn a_child_of_plain_fork_and_exec_holds_the_dirt() {
    in_own_process("a_child_of_plain_fork_and_exec_holds_the_dirt", || {
        // SAFETY: asks for a number.
        let before = unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let terminal = dirt::dirty(0o077);
        let (reading, writing) = pipe();
        let probe = program("probe");
        let (_, status) = fork_and_exec(&[text(&probe)], [terminal, writing.as_raw_fd(), 2]);
        assert_eq!(status, 0);
        let report = beget_tests::report(&drain(&reading));
        let of = |prefix: &str| report.iter().filter(|(key, _)| key.starts_with(prefix)).count();
        assert!(of("fd.") > 100, "{report:?}");
        let get = |key: &str| report[key].as_str();
        let nice = (before + 3).min(19).to_string();
        assert_eq!([get("umask"), get("cwd"), get("terminal"), get("nice")], ["077", "ENOENT", "ok", &nice]);
        assert_eq!([get("personality"), get("timerslack"), get("seccomp")], ["40000", "123456", "0"]);
        assert_ne!([get("signals.blocked"), get("signals.ignored")], ["0000000000000000"; 2]);
        assert_eq!(get("limit.nofile").split(' ').next(), Some("333"));
        if beget_tests::is_root() {
            assert_eq!(get("groups.more"), "7 4242 60000");
            assert_ne!([get("capabilities.ambient"), get("capabilities.permitted")], ["0000000000000000"; 2]);
        }
    });
}

#[test]
fn a_child_of_the_command_line_holds_what_show_declares() {
    in_own_process("a_child_of_the_command_line_holds_what_show_declares", || {
        dirt::dirty(0);
        let (beget, probe) = (program("beget-under-test"), program("probe"));
        let null = File::options().read(true).write(true).open("/dev/null").expect("/dev/null");
        let (shown, show) = pipe();
        let (reading, writing) = pipe();
        let (told, tell) = pipe();
        let report_slot = format!("report={}", writing.as_raw_fd());
        // The grant is of a descriptor that the command was left by its parent.
        // SAFETY: numbers only.
        unsafe { libc::fcntl(writing.as_raw_fd(), libc::F_SETFD, 0) };
        let flags = ["--fd", &report_slot, "--env", "GIVEN=value", "--cwd", "/usr", "--"];
        let program_words = [text(&probe), "report=3", "a b"];
        let words = |command: &'static str, more: &'static [&'static str]| -> Vec<&str> {
            [&[text(&beget), command], more, &flags[..], &program_words[..]].concat()
        };
        let before = snapshot::take();
        let streams = [null.as_raw_fd(), show.as_raw_fd(), tell.as_raw_fd()];
        let (_, status) = fork_and_exec(&words("show", &["--json"]), streams);
        assert_eq!(status, 0, "{}", beget_tests::text(&drain(&told)));
        let json = serde_json::from_slice(&drain(&shown)).expect("show writes JSON");
        let declared = Declared::by_show(&json, text(&probe));
        assert_limits(&declared, None);

        let streams = [null.as_raw_fd(), show.as_raw_fd(), tell.as_raw_fd()];
        let (_, status) = fork_and_exec(&words("run", &[]), streams);
        assert_eq!(status, 0, "{}", beget_tests::text(&drain(&told)));
        let report = beget_tests::report(&drain(&reading));
        let pid = report["pid"].parse().expect("a number");
        // Its parent is the nursery, which ends it when `run` is gone.
        let parent = report["ppid"].parse().expect("a number");
        let birth = Birth { pid, parent, death_signal: 0 };
        let slots: BTreeMap<i32, &dyn AsRawFd> =
            BTreeMap::from([(0, &null as &dyn AsRawFd), (1, &show), (2, &tell), (3, &writing)]);
        expected::assert_equal(&expected::report(&declared, &birth, &slots), &report);
        assert_eq!(drain(&told), b"", "`run` is quiet");
        snapshot::assert_same(&before, &snapshot::take(), "`beget run`");
    });
}

#[test]
fn a_child_with_ambient_authority_holds_only_given_descriptors_and_variables() {
    let name = "a_child_with_ambient_authority_holds_only_given_descriptors_and_variables";
    in_own_process(name, || {
        dirt::dirty(0o077);
        let (reading, writing) = pipe();
        let mut command = reporting(&writing);
        command.grant(Grant::Ambient).env("GIVEN", "value");
        let mut process = command.spawn().expect("spawn");
        assert!(end(&mut process).status.success());
        let report = beget_tests::report(&drain(&reading));
        let of = |prefix: &str| -> Vec<(&str, &str)> {
            let lines = report.iter().filter(|(key, _)| key.starts_with(prefix));
            lines.map(|(key, value)| (key.as_str(), value.as_str())).collect()
        };
        assert_eq!(of("fd."), [("fd.3", expected::seen(writing.as_raw_fd()).as_str())]);
        let own = format!("LISTEN_PID={}", process.id());
        assert_eq!(
            of("env."),
            [
                ("env.0", own.as_str()),
                ("env.1", "GIVEN=value"),
                ("env.2", "LISTEN_FDS=1"),
                ("env.3", "LISTEN_FDNAMES=report")
            ]
        );
        for set in ["blocked", "pending", "ignored", "handled"] {
            assert_eq!(report[&format!("signals.{set}")], "0000000000000000");
        }
        let get = |key: &str| report[key].as_str();
        assert_eq!(
            [get("umask"), get("cwd"), get("personality"), get("timerslack")],
            ["022", "/", "0", "50000"]
        );
        assert_eq!([get("limit.core"), get("timer.real"), get("terminal")], ["0 0", "off", "ENXIO"]);
        // The rest is its user's, and said to be.
        assert_eq!([get("no_new_privs"), get("seccomp")], ["0", "0"]);
        let own = snapshot::take();
        assert_eq!(get("keyring"), own["number session keyring"]);
        if beget_tests::is_root() {
            assert_eq!(get("groups.more"), "7 4242 60000");
        }
    });
}

/// Commands that have every operation a `vfork` child may run, between them.
fn commands_of_every_op(terminal: i32) -> Vec<(&'static str, Command)> {
    let quick = || {
        let mut command = Command::new(program("probe"));
        command.args(["exit", "0"]);
        command
    };
    let mut all = vec![("a plain spawn", quick())];
    let mut command = quick();
    command.process_group(0).limit(Limit::Processors(1)).limit(Limit::OpenFiles(50)).die_with_thread(true);
    command.current_dir("/usr").umask(0o077).signal_mask(beget::SignalSet::EMPTY.with(10));
    all.push(("groups, limits and death with its parent", command));
    let mut command = quick();
    command.tell_refusals(true).grant(Grant::Base).grant(Grant::Spawn);
    all.push(("a filter with a listener", command));
    let mut command = quick();
    command.controlling_terminal(new_terminal());
    all.push(("a controlling terminal", command));
    let mut command = quick();
    // SAFETY: a copy of a descriptor that stays open.
    let stdin = unsafe { OwnedFd::from_raw_fd(libc::fcntl(terminal, libc::F_DUPFD_CLOEXEC, 3)) };
    command.process_group(0).stdin(Stdio::from(stdin)).foreground(true);
    all.push(("the foreground", command));
    let mut command = quick();
    command.grant(Grant::Ambient);
    all.push(("ambient authority", command));
    all
}

/// The far end of a new pseudo-terminal, whose near end stays open for ever.
fn new_terminal() -> OwnedFd {
    // SAFETY: numbers only; each call's answer is looked at, and the last one's descriptor is new and ours.
    unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(master >= 0 && libc::unlockpt(master) == 0);
        let slave = libc::ioctl(master, libc::TIOCGPTPEER, libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(slave >= 0);
        OwnedFd::from_raw_fd(slave)
    }
}

#[test]
fn a_parent_is_the_same_before_and_after_every_op() {
    in_own_process("a_parent_is_the_same_before_and_after_every_op", || {
        let terminal = dirt::dirty(0o077);
        // The first birth maps the stacks that are kept for the next.
        let mut warm = commands_of_every_op(terminal);
        let mut ops = BTreeSet::new();
        for (what, command) in &mut warm {
            ops.extend(command.describe().unwrap_or_else(|error| panic!("{what}: {error}")).operations);
            let mut process = command.spawn().unwrap_or_else(|error| panic!("{what}: {error}"));
            end(&mut process);
            to_the_foreground(terminal);
        }
        for (what, command) in &mut warm {
            let before = snapshot::take();
            let mut process = command.spawn().expect("spawn");
            assert!(end(&mut process).status.success(), "{what}");
            drop(process);
            to_the_foreground(terminal);
            snapshot::assert_same(&before, &snapshot::take(), what);
        }
        let mut every = BTreeSet::from([
            "DefaultSignals",
            "NewSession",
            "ProcessGroup",
            "Raise",
            "Place",
            "Close",
            "Foreground",
            "ControllingTerminal",
            "ChangeDirectory",
            "Umask",
            "Personality",
            "TimerSlack",
            "Limit",
            "Processors",
            "DieWithParent",
            "JoinKeyring",
            "DropCapabilities",
            "NoNewPrivileges",
            "Landlock",
            "Filter",
            "FilterWithListener",
            "SignalMask",
            "Execute",
        ]);
        if beget_tests::is_root() {
            every.insert("Groups");
        }
        if !ops.contains("JoinKeyring") {
            beget_tests::skip(
                "JoinKeyring before and after",
                beget_tests::Need::Machine("keyrings with quota left"),
            );
            every.remove("JoinKeyring");
        }
        let ops: BTreeSet<&str> = ops.iter().map(String::as_str).collect();
        assert_eq!(ops, every, "every operation that may run in such a child was run");
    });
}

/// A child took the foreground and ended: what a shell does then. SIGTTOU is blocked here.
fn to_the_foreground(terminal: i32) {
    // SAFETY: numbers only.
    unsafe { libc::tcsetpgrp(terminal, libc::getpgrp()) };
}

#[test]
fn a_parent_is_the_same_after_births_that_fail() {
    in_own_process("a_parent_is_the_same_after_births_that_fail", || {
        let terminal = dirt::dirty(0o077);
        let quick = || {
            let mut command = Command::new(program("probe"));
            command.args(["exit", "0"]);
            command
        };
        let mut failing: Vec<(&str, i32, Command)> = Vec::new();
        failing.push(("program /nonexistent/program", libc::ENOENT, Command::new("/nonexistent/program")));
        let mut command = quick();
        command.grant(Grant::Read("/nonexistent/file".into()));
        failing.push(("grant --read /nonexistent/file", libc::ENOENT, command));
        let mut command = quick();
        command.process_group(1);
        failing.push(("process group 1", libc::EPERM, command));
        let mut command = quick();
        command.controlling_terminal(File::open("/dev/null").expect("/dev/null"));
        failing.push(("controlling terminal", libc::ENOTTY, command));
        let mut command = quick();
        command.process_group(0).stdin(Stdio::null()).foreground(true);
        failing.push(("foreground of the terminal", libc::ENOTTY, command));
        // The last operation fails, after all others were done: the kernel takes no argument as long as this one.
        let mut command = quick();
        command.arg("x".repeat(200_000)).tell_refusals(true).stdout(Stdio::piped());
        command.die_with_thread(true).limit(Limit::Processors(1));
        let exec = format!("program {}", text(&program("probe")));
        failing.push((&exec, libc::E2BIG, command));
        for compared in [false, true] {
            for (part, errno, command) in &mut failing {
                let before = snapshot::take();
                let error = command.spawn().expect_err("it cannot be");
                assert_eq!((error.part(), error.errno()), (*part, Some(*errno)), "{error}");
                to_the_foreground(terminal);
                // What was prepared is kept by the command; without it everything must be as it was.
                command.arg("again");
                let after = snapshot::take();
                if compared {
                    snapshot::assert_same(&before, &after, &format!("a failed birth ({part})"));
                }
            }
        }
    });
}
