//! How a child of a nursery ends, and who is told.

use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use beget::{Fault, Nursery};
use beget_tests::{Need, in_own_process, skip};

use crate::{LONG, behind, born, children, end, exists, kill, pidfd, probe, wait_for};

#[test]
fn exit_codes_and_signals_are_its_own() {
    for code in [0, 1, 77, 125, 127, 255] {
        let ended = born(&["exit", &code.to_string()]).status().expect("spawn");
        assert_eq!((ended.status.code(), ended.exit_code()), (Some(code), code as u8));
    }
    for signal in [libc::SIGTERM, libc::SIGKILL, libc::SIGABRT, libc::SIGSEGV, 34, 64] {
        let ended = born(&["signal", &signal.to_string()]).status().expect("spawn");
        assert_eq!((ended.status.signal(), ended.exit_code()), (Some(signal), 128 + signal as u8));
        assert!(!ended.status.core_dumped(), "core files are off");
    }
}

#[test]
fn its_parent_is_the_nursery() {
    let nursery = Nursery::new().expect("a nursery");
    let parent = behind(&nursery);
    let told = crate::report(probe(&[]).nursery(&nursery));
    assert_eq!(told["ppid"], parent.to_string());
    // No descriptor of the nursery's is there, and no limit of it.
    assert_eq!(told.keys().filter(|key| key.starts_with("fd.")).count(), 2, "{told:?}");
    assert_eq!((told["limit.nofile"].split(' ').next(), &*told["subreaper"]), (Some("1024"), "0"));
    let plain = crate::report(&mut probe(&[]));
    let mut differs: Vec<_> =
        plain.iter().filter(|(key, value)| told.get(*key) != Some(value)).map(|(key, _)| &**key).collect();
    differs.retain(|key| !key.starts_with("fd."));
    assert_eq!(differs, ["pgid", "pid", "ppid", "sid"], "all else is as without a nursery");
}

#[test]
fn waits_try_and_end() {
    let process = born(&["sleep"]).spawn().expect("spawn");
    assert_eq!(process.try_wait().expect("wait"), None);
    assert_eq!(process.wait_timeout(Duration::from_millis(20)).expect("wait"), None);
    process.signal(libc::SIGTERM).expect("signal");
    let ended = end(&process);
    assert_eq!(ended.exit_code(), 128 + libc::SIGTERM as u8);
    assert_eq!(process.try_wait().expect("wait"), Some(ended));
    assert_eq!(process.wait_shared().expect("wait"), ended);
    // Whoever was told of an end finds not even a zombie.
    assert!(!exists(process.id()));
    process.kill().expect("nothing happens");
}

#[test]
fn eight_threads_wait_at_once_and_get_the_same_answer() {
    let process = born(&["sleep"]).spawn().expect("spawn");
    let all_there = Barrier::new(9);
    std::thread::scope(|scope| {
        let wait = || {
            all_there.wait();
            process.wait_shared().expect("wait")
        };
        let waiting: Vec<_> = (0..8).map(|_| scope.spawn(wait)).collect();
        all_there.wait();
        process.signal(libc::SIGINT).expect("signal");
        let answers: Vec<_> = waiting.into_iter().map(|thread| thread.join().expect("no panic")).collect();
        assert!(
            answers.iter().all(|answer| *answer == answers[0] && answer.exit_code() == 130),
            "{answers:?}"
        );
    });
}

#[test]
fn the_handle_can_be_polled() {
    let process = born(&["exit", "3"]).spawn().expect("spawn");
    assert!(wait_for(&std::os::fd::AsRawFd::as_raw_fd(&process.as_fd())));
    assert_eq!(end(&process).exit_code(), 3);
}

#[test]
fn dropping_kills_when_asked_for_and_not_otherwise() {
    let killed = born(&["sleep"]).kill_on_drop(true).spawn().expect("spawn");
    let number = killed.id();
    drop(killed);
    assert!(!exists(number), "not even a zombie is left");

    let nursery = Nursery::new().expect("a nursery");
    let parent = behind(&nursery);
    let process = probe(&["sleep"]).nursery(&nursery).spawn().expect("spawn");
    let number = process.id();
    drop(process);
    assert!(exists(number) && children(parent) == [number]);
    nursery.end();
    assert!(!exists(number) && !exists(parent));
}

/// Nobody waits for these; they do not pile up.
#[test]
fn what_nobody_waits_for_leaves_no_zombies() {
    let nursery = Nursery::new().expect("a nursery");
    let parent = behind(&nursery);
    for _ in 0..50 {
        drop(probe(&["exit", "0"]).nursery(&nursery).spawn().expect("spawn"));
    }
    let until = Instant::now() + LONG;
    while !children(parent).is_empty() {
        assert!(Instant::now() < until, "{:?}", children(parent));
    }
}

#[test]
fn what_it_used_is_told() {
    let process = born(&["spin"]).kill_on_drop(true).spawn().expect("spawn");
    let ticks = || {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", process.id())).expect("it runs");
        let words: Vec<&str> = text.rsplit_once(')').expect("it has a name").1.split_whitespace().collect();
        words[11].parse::<u64>().expect("a number") + words[12].parse::<u64>().expect("a number")
    };
    let start = Instant::now();
    while ticks() < 6 {
        assert!(start.elapsed() < LONG, "it never ran");
        std::thread::yield_now();
    }
    // SAFETY: asks a number.
    let per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) } as u32;
    process.kill().expect("kill");
    let usage = end(&process).usage.expect("it is told with the end");
    assert!(usage.user_time + usage.system_time >= Duration::from_secs(5) / per_second, "{usage:?}");
    assert!(usage.minor_faults > 0, "{usage:?}");
}

/// Without a nursery a child's peak counts its creator's memory until the exec; here it does not.
#[test]
fn a_small_child_of_a_large_process_is_small() {
    in_own_process("ends::a_small_child_of_a_large_process_is_small", || {
        let large = std::hint::black_box(vec![1u8; 256 << 20]);
        let without = probe(&["exit", "0"]).status().expect("spawn").usage.expect("ours").memory_peak;
        let peak = born(&["exit", "0"]).status().expect("spawn").usage.expect("told").memory_peak;
        assert!(without > 256 << 20 && peak < 32 << 20 && peak > 4096, "{without} {peak}");
        let held = born(&["hold", "96"]).status().expect("spawn").usage.expect("told").memory_peak;
        assert!((96 << 20..128 << 20).contains(&held), "{held}");
        drop(large);
    });
}

/// A thousand statuses, of children that its end ended, are more than its socket holds.
#[test]
fn statuses_after_its_end_are_there() {
    let nursery = Nursery::new().expect("a nursery");
    let mut command = probe(&["sleep"]);
    let mut batch = beget::Batch::new();
    batch.add(&mut command, 1000).expect("prepare");
    let all: Vec<_> =
        batch.spawn(&nursery).expect("births").into_iter().map(|one| one.expect("born")).collect();
    let quick = probe(&["exit", "9"]).nursery(&nursery).spawn().expect("spawn");
    assert!(wait_for(&std::os::fd::AsRawFd::as_raw_fd(&quick.as_fd())));
    nursery.end();
    assert!(nursery.has_ended());
    assert_eq!(end(&quick).exit_code(), 9);
    let mut taken = 0;
    for process in &all {
        match process.wait_timeout(LONG) {
            Ok(ended) => assert_eq!(ended.expect("it ended").exit_code(), 128 + 9),
            Err(error) => {
                assert_eq!(error.fault(), Fault::StatusTaken, "{error}");
                taken += 1;
            }
        }
    }
    if taken > 0 {
        let test = "ends::statuses_after_its_end_are_there";
        skip(test, Need::Machine("a kernel that keeps the exit status (Linux 6.15)"));
    }
    let error = probe(&["exit", "0"]).nursery(&nursery).spawn().expect_err("it has ended");
    assert_eq!(error.to_string(), "nursery: it has ended, and what was born in it with it");
    assert_eq!(nursery.embryo().expect_err("it has ended").to_string(), error.to_string());
    nursery.end();
}

/// Whether the kernel tells the status of a process that was reaped (Linux 6.15).
fn keeps_statuses() -> bool {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").expect("/proc is there");
    let numbers: Vec<u32> = release.split(['.', '-']).map_while(|word| word.parse().ok()).collect();
    numbers >= vec![6, 15]
}

/// Killed by somebody: its guard ends what was born in it, and the kernel's note is told where there is one.
#[test]
fn statuses_after_it_was_killed_are_there_or_told_as_lost() {
    in_own_process("ends::statuses_after_it_was_killed_are_there_or_told_as_lost", || {
        for guard_too in [false, true] {
            for _ in 0..20 {
                let nursery = Nursery::new().expect("a nursery");
                let parent = behind(&nursery);
                let held = pidfd(parent);
                let process = probe(&["sleep"]).nursery(&nursery).spawn().expect("spawn");
                kill(if guard_too { nursery.id() } else { parent }, libc::SIGKILL);
                match process.wait_timeout(LONG) {
                    Ok(ended) => assert_eq!(ended.expect("it ends").exit_code(), 128 + 9),
                    Err(error) => {
                        assert_eq!(error.fault(), Fault::StatusTaken, "{error}");
                        assert!(!keeps_statuses(), "the kernel has a note of it");
                        skip(
                            "ends::statuses_after_it_was_killed_are_there_or_told_as_lost",
                            Need::Machine("a kernel that keeps the exit status (Linux 6.15)"),
                        );
                    }
                }
                drop((process, nursery));
                assert_eq!(beget_tests::children().len(), 0, "no zombie of a guard is left");
                assert!(wait_for(&held), "the nursery lives on without its guard");
            }
        }
    });
}

/// The shared one is made anew when somebody killed it.
#[test]
fn the_shared_one_is_made_anew() {
    in_own_process("ends::the_shared_one_is_made_anew", || {
        let first = Nursery::shared().expect("a nursery").id();
        assert_eq!(Nursery::shared().expect("a nursery").id(), first);
        let parent = behind(&Nursery::shared().expect("a nursery"));
        for victim in [parent, 0] {
            let now = Nursery::shared().expect("a nursery");
            let victim = if victim == 0 { now.id() } else { victim };
            kill(victim, libc::SIGKILL);
            let until = Instant::now() + LONG;
            while !now.has_ended() {
                assert!(Instant::now() < until);
            }
            assert_ne!(Nursery::shared().expect("a nursery").id(), now.id());
            assert!(born(&["exit", "0"]).status().expect("spawn").success());
        }
    });
}
