//! How a child ends, and who is told.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::Barrier;
use std::time::{Duration, Instant};

use beget::{Fault, Process};

use crate::{LONG, end, probe};

#[test]
fn exit_codes_are_the_programs_own() {
    for code in [0, 1, 77, 125, 127, 255] {
        let ended = probe(&["exit", &code.to_string()]).status().expect("spawn");
        assert_eq!((ended.status.code(), ended.exit_code()), (Some(code), code as u8));
    }
}

#[test]
fn a_signal_that_ends_it_is_told() {
    use std::os::unix::process::ExitStatusExt;
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGABRT, libc::SIGSEGV, libc::SIGPIPE, 34, 64] {
        let ended = probe(&["signal", &signal.to_string()]).status().expect("spawn");
        assert_eq!((ended.status.signal(), ended.status.code()), (Some(signal), None));
        assert_eq!(ended.exit_code(), 128 + signal as u8);
        assert!(!ended.status.core_dumped(), "core files are off");
    }
}

#[test]
fn eight_threads_wait_at_once_and_get_the_same_answer() {
    let process = probe(&["sleep"]).spawn().expect("spawn");
    let all_there = Barrier::new(9);
    let answers = std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..8)
            .map(|number| {
                let (process, all_there) = (&process, &all_there);
                scope.spawn(move || {
                    all_there.wait();
                    if number % 2 == 0 { process.wait_shared().expect("wait") } else { end(process) }
                })
            })
            .collect();
        all_there.wait();
        assert_eq!(process.try_wait().expect("wait"), None, "it sleeps");
        process.signal(libc::SIGTERM).expect("signal");
        waiters.into_iter().map(|waiter| waiter.join().expect("no panic")).collect::<Vec<_>>()
    });
    assert_eq!(answers[0].exit_code(), 128 + libc::SIGTERM as u8);
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert_eq!(process.try_wait().expect("wait"), Some(answers[0]), "and it is kept");
}

#[test]
fn a_wait_with_a_timeout_gives_up_and_can_be_repeated() {
    let process = probe(&["sleep"]).spawn().expect("spawn");
    assert_eq!(process.try_wait().expect("wait"), None);
    assert_eq!(process.wait_timeout(Duration::ZERO).expect("wait"), None);
    let (start, time) = (Instant::now(), Duration::from_millis(30));
    assert_eq!(process.wait_timeout(time).expect("wait"), None);
    assert!(start.elapsed() >= time);
    process.kill().expect("kill");
    assert_eq!(end(&process).exit_code(), 128 + 9);
    // An ended process cannot be hurt; nor can one that got its number.
    process.kill().expect("nothing happens");
    process.signal(libc::SIGTERM).expect("nothing happens");
    // The longest time there is, is no reason to fail.
    assert!(process.wait_timeout(Duration::MAX).expect("wait").is_some());
}

#[test]
fn a_longest_timeout_waits() {
    let process = probe(&["sleep"]).spawn().expect("spawn");
    std::thread::scope(|scope| {
        let waiter =
            scope.spawn(|| process.wait_timeout(Duration::MAX).expect("wait").map(|end| end.exit_code()));
        process.kill().expect("kill");
        assert_eq!(waiter.join().expect("no panic"), Some(137));
    });
}

#[test]
fn an_unknown_signal_is_refused() {
    let process = probe(&["sleep"]).kill_on_drop(true).spawn().expect("spawn");
    let error = process.signal(65).expect_err("there is none");
    assert_eq!(
        (error.part(), error.fault(), error.errno()),
        ("signal 65", Fault::Caller, Some(libc::EINVAL))
    );
    process.signal(0).expect("asks, and does nothing");
    assert_eq!(process.try_wait().expect("wait"), None);
}

/// Waits until the child has changed in that way, and leaves the change to be told again.
fn await_change(process: &Process, options: i32) {
    // SAFETY: the kernel writes one structure.
    let answer = unsafe {
        let mut information: libc::siginfo_t = std::mem::zeroed();
        let fd = process.as_fd().as_raw_fd() as libc::id_t;
        libc::waitid(libc::P_PIDFD, fd, &mut information, options | libc::WNOWAIT | libc::__WALL)
    };
    assert_eq!(answer, 0, "{}", std::io::Error::last_os_error());
}

#[test]
fn a_stop_is_told_once_and_is_no_end() {
    let process = probe(&["sleep"]).kill_on_drop(true).spawn().expect("spawn");
    assert_eq!(process.try_stopped().expect("wait"), None);
    process.signal(libc::SIGSTOP).expect("signal");
    await_change(&process, libc::WSTOPPED);
    assert_eq!(process.try_wait().expect("wait"), None);
    assert_eq!(process.try_stopped().expect("wait"), Some(libc::SIGSTOP));
    assert_eq!(process.try_stopped().expect("wait"), None);
    process.signal(libc::SIGCONT).expect("signal");
    process.signal(libc::SIGTERM).expect("signal");
    assert_eq!(end(&process).exit_code(), 128 + libc::SIGTERM as u8);
    assert_eq!(process.try_stopped().expect("wait"), None);
}

/// Processor time of a running process so far, in ticks.
fn ticks(process: &Process) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("it runs");
    let words: Vec<&str> = text.rsplit(')').next().expect("there is a name").split_whitespace().collect();
    words[11].parse::<u64>().expect("a number") + words[12].parse::<u64>().expect("a number")
}

#[test]
fn what_it_used_is_told() {
    let process = probe(&["spin"]).kill_on_drop(true).spawn().expect("spawn");
    let start = Instant::now();
    while ticks(&process) < 6 {
        assert!(start.elapsed() < LONG, "it never ran");
        std::thread::yield_now();
    }
    // SAFETY: asks a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u32;
    process.kill().expect("kill");
    let usage = end(&process).usage.expect("nobody else took it");
    let used = usage.user_time + usage.system_time;
    assert!(used >= Duration::from_secs(5) / per_second && used < LONG, "{usage:?}");
    assert!(usage.memory_peak > 4096 && usage.memory_peak < 1 << 30, "{usage:?}");
    assert!(usage.minor_faults > 0, "{usage:?}");
}

/// The kernel counts what a child shares with its creator until its exec as the child's own, so a number below the creator's
/// size says nothing. One above it does.
#[test]
fn memory_beyond_its_parents_is_told() {
    beget_tests::in_own_process("ends::memory_beyond_its_parents_is_told", || {
        let (held, slack) = (96u64 << 20, 32 << 20);
        let usage = probe(&["hold", "96"]).status().expect("spawn").usage.expect("nobody else took it");
        assert!((held..held + slack).contains(&usage.memory_peak), "{usage:?}");
    });
}

/// Whether the process behind a pidfd has ended.
fn has_ended(pidfd: &OwnedFd) -> bool {
    let mut watched = libc::pollfd { fd: pidfd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure is read and written.
    unsafe { libc::poll(&mut watched, 1, 0) == 1 }
}

/// Whether there is such a process, a zombie too.
fn exists(number: u32) -> bool {
    // SAFETY: signal 0 asks and sends nothing.
    unsafe { libc::kill(number as i32, 0) == 0 }
}

#[test]
fn dropping_kills_when_asked_for() {
    let process = probe(&["sleep"]).kill_on_drop(true).spawn().expect("spawn");
    let (number, pidfd) = (process.id(), process.as_fd().try_clone_to_owned().expect("a descriptor"));
    assert!(!has_ended(&pidfd) && exists(number));
    drop(process);
    assert!(has_ended(&pidfd));
    assert!(!exists(number), "not even a zombie is left");
}

#[test]
fn dropping_leaves_it_running_otherwise() {
    let mut command = probe(&["sleep"]);
    let process = command.spawn().expect("spawn");
    let (number, pidfd) = (process.id(), process.as_fd().try_clone_to_owned().expect("a descriptor"));
    drop(process);
    assert!(!has_ended(&pidfd) && exists(number));
    // SAFETY: signals our own child and waits for it; nobody else has its status.
    unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), libc::SIGKILL, 0, 0);
        let mut information: libc::siginfo_t = std::mem::zeroed();
        let fd = pidfd.as_raw_fd() as libc::id_t;
        assert_eq!(libc::waitid(libc::P_PIDFD, fd, &mut information, libc::WEXITED), 0);
    }
}

#[test]
fn a_killed_child_that_was_waited_for_is_dropped_in_peace() {
    let process = probe(&["exit", "3"]).kill_on_drop(true).spawn().expect("spawn");
    assert_eq!(end(&process).exit_code(), 3);
    drop(process);
}

#[test]
fn the_handle_can_be_polled() {
    let process = probe(&["sleep"]).spawn().expect("spawn");
    let pidfd = process.as_fd().try_clone_to_owned().expect("a descriptor");
    assert!(!has_ended(&pidfd));
    process.kill().expect("kill");
    let mut watched = libc::pollfd { fd: process.as_fd().as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure is read and written.
    assert_eq!(unsafe { libc::poll(&mut watched, 1, LONG.as_millis() as i32) }, 1);
    assert_eq!(process.try_wait().expect("wait").map(|end| end.exit_code()), Some(137));
}

#[test]
fn it_dies_with_the_thread_that_made_it_when_asked_to() {
    let born_in_a_thread = |die: bool| {
        let born = std::thread::spawn(move || probe(&["sleep"]).die_with_thread(die).spawn().expect("spawn"));
        born.join().expect("no panic")
    };
    assert_eq!(end(&born_in_a_thread(true)).exit_code(), 128 + 9);
    let other = born_in_a_thread(false);
    assert_eq!(other.try_wait().expect("wait"), None);
    other.signal(libc::SIGTERM).expect("signal");
    assert_eq!(end(&other).exit_code(), 128 + libc::SIGTERM as u8, "it had to be told");
}
