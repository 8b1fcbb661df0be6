//! What is dropped before its time: futures lose nothing, processes leave nothing, whatever becomes of the runtime.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::Duration;

use beget::Stdio;
use beget_tests::{Need, children, in_own_process, is_root, mark, marked, skip};
use tokio::io::AsyncReadExt;
use tokio::runtime::Runtime;

use crate::{
    allow_descriptors, end, on_both, open_now, probe, single, soon, threaded, until, until_childless,
    until_open,
};

/// Numbers that look random, the same at every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Polls a future some times, with the runtime going on in between, and drops it. What it gave, if it was done.
async fn polled<T>(times: u64, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..times {
        let now = std::future::poll_fn(|context| std::task::Poll::Ready(future.as_mut().poll(context))).await;
        if let std::task::Poll::Ready(done) = now {
            return Some(done);
        }
        tokio::time::sleep(Duration::from_micros(200)).await;
    }
    None
}

/// Whether a process of this number is there and is no zombie.
fn runs(number: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
    !status.is_empty() && !status.contains(") Z ")
}

fn drop_at_random(runtime: &Runtime, seed: u64) {
    runtime.block_on(async {
        let mut dice = Dice(seed);
        let before = open_now();
        for round in 0..400 {
            let code = dice.below(256).to_string();
            let words: &[&str] = if dice.below(3) == 0 { &["sleep"] } else { &["exit", &code] };
            let mut command = probe(words);
            // One that sleeps has to be ended by somebody.
            command.kill_on_drop(words.len() == 1 || dice.below(2) == 0);
            let times = dice.below(6);
            match dice.below(4) {
                0 => drop(polled(times, command.status()).await),
                1 => drop(polled(times, command.output()).await),
                2 => {
                    let task = tokio::spawn(command.output());
                    tokio::time::sleep(Duration::from_micros(times * 300)).await;
                    task.abort();
                }
                _ => {
                    let mut process = command.spawn().unwrap();
                    for _ in 0..times {
                        drop(polled(1, process.wait()).await);
                    }
                    drop(polled(1, process.kill()).await);
                    // No future that was dropped took the status with it.
                    let ended = end(&process).await;
                    let expected = [128 + 9, code.parse().unwrap()];
                    assert!(expected.contains(&ended.exit_code()), "{round}: {ended:?}");
                }
            }
        }
        until_childless().await;
        until_open(&before).await;
    });
}

#[test]
fn futures_dropped_at_random_leave_nothing() {
    in_own_process("dropped::futures_dropped_at_random_leave_nothing", || {
        for seed in 1..4 {
            drop_at_random(&single(), seed);
            drop_at_random(&threaded(), seed + 10);
        }
    });
}

/// A wait that is dropped at each of its points: before it was polled, while it waits, and after it was woken.
#[test]
fn a_dropped_wait_is_begun_anew() {
    on_both(|| async {
        let mut process = probe(&["await", "77"]).stdin(Stdio::piped()).spawn().unwrap();
        let input = process.stdin.take();
        drop(process.wait_shared());
        for _ in 0..100 {
            assert!(polled(1, process.wait_shared()).await.is_none());
        }
        {
            let mut woken = pin!(process.wait_shared());
            assert!(woken.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(input);
            until("it ends", || !runs(process.id())).await;
        }
        assert_eq!(end(&process).await.exit_code(), 77);
    });
}

#[test]
fn one_that_is_to_be_killed_is_killed_and_reaped() {
    in_own_process("dropped::one_that_is_to_be_killed_is_killed_and_reaped", || {
        on_both(|| async {
            let mut command = probe(&["sleep"]);
            let processes: Vec<_> = (0..50).map(|_| command.kill_on_drop(true).spawn().unwrap()).collect();
            assert_eq!(children().len(), 50);
            drop(processes);
            until_childless().await;
        });
    });
}

#[test]
fn one_that_is_not_to_be_killed_runs_on_and_is_reaped() {
    in_own_process("dropped::one_that_is_not_to_be_killed_runs_on_and_is_reaped", || {
        on_both(|| async {
            let before = open_now();
            let mut process = probe(&["await", "0"]).stdin(Stdio::piped()).spawn().unwrap();
            let (number, input) = (process.id(), process.stdin.take());
            drop(process);
            for _ in 0..20 {
                tokio::time::sleep(Duration::from_millis(1)).await;
                assert!(runs(number));
            }
            drop(input);
            until_childless().await;
            until_open(&before).await;
        });
    });
}

/// The tasks that were to reap never ran: the end of the runtime reaps.
#[test]
fn a_runtime_that_is_shut_down_leaves_no_zombie_of_the_killed() {
    in_own_process("dropped::a_runtime_that_is_shut_down_leaves_no_zombie_of_the_killed", || {
        for make in [single, threaded] {
            let runtime = make();
            runtime.block_on(async {
                let mut command = probe(&["sleep"]);
                command.kill_on_drop(true);
                for _ in 0..50 {
                    drop(command.spawn().unwrap());
                }
                // Some are held by tasks that wait.
                for _ in 0..50 {
                    let process = command.spawn().unwrap();
                    tokio::spawn(async move { process.wait_shared().await });
                }
            });
            drop(runtime);
            assert_eq!(children(), [].into());
        }
    });
}

#[test]
fn a_process_that_outlives_its_runtime_is_killed_and_reaped_by_its_drop() {
    in_own_process("dropped::a_process_that_outlives_its_runtime_is_killed_and_reaped_by_its_drop", || {
        for make in [single, threaded] {
            let runtime = make();
            let process = runtime.block_on(async { probe(&["sleep"]).kill_on_drop(true).spawn().unwrap() });
            let tree = runtime.block_on(async { probe(&["sleep"]).own_tree(true).spawn().unwrap() });
            drop(runtime);
            assert!(runs(process.id()) && runs(tree.id()));
            drop((process, tree));
            assert_eq!(children(), [].into());
        }
    });
}

/// Threads that spawn and drop while the runtime is shut down under them: whoever was told to kill has killed and reaped.
#[test]
fn a_shutdown_in_the_middle_leaves_nothing_of_the_killed() {
    in_own_process("dropped::a_shutdown_in_the_middle_leaves_nothing_of_the_killed", || {
        allow_descriptors();
        for round in 0..20u64 {
            let runtime = threaded();
            for number in 0..8 {
                runtime.spawn(async move {
                    let mut dice = Dice(round * 8 + number);
                    let mut command = probe(&["sleep"]);
                    command.kill_on_drop(true);
                    loop {
                        let Ok(process) = command.spawn() else { return };
                        drop(polled(dice.below(3), process.wait_shared()).await);
                        tokio::task::yield_now().await;
                    }
                });
            }
            std::thread::sleep(Duration::from_millis(5 + round));
            drop(runtime);
            assert_eq!(children(), [].into(), "{round}");
        }
    });
}

/// What a killed child leaves in its cgroup ends too, whoever its parent is: the task that learns of the end sees to that.
#[test]
fn what_a_limited_child_leaves_ends_with_it() {
    on_both(|| async {
        let nursery = beget::Nursery::new().unwrap();
        for (born_there, dropped) in [(false, false), (false, true), (true, false), (true, true)] {
            let mark = mark();
            let mut command = beget::tokio::Command::new("/bin/sh");
            // Both the shell and what it leaves have the mark; the latter alone holds the output.
            let script = format!("sh -c 'echo; sleep 100; : {mark}' & exec >&-; sleep 100; : {mark}");
            command.args(["-c", &script]).grant(beget::Grant::Ambient).stdout(Stdio::piped());
            command.limit(beget::Limit::Processes(10)).kill_on_drop(dropped);
            if born_there {
                command.nursery(&nursery);
            }
            let mut process = match command.spawn() {
                Ok(process) => process,
                Err(error) if error.part().starts_with("limit") => {
                    // Root makes them where it pleases, if the system lets anybody.
                    let machine = Need::Machine("a cgroup to make groups in");
                    let need = if is_root() { machine } else { Need::Root };
                    return skip("what_a_limited_child_leaves_ends_with_it", need);
                }
                Err(error) => panic!("{error}"),
            };
            let mut output = process.stdout.take().unwrap();
            soon(output.read_exact(&mut [0])).await.unwrap();
            if dropped {
                drop(process);
            } else {
                assert!(soon(process.kill()).await.unwrap().tree.is_some());
                assert_eq!(marked(&mark), Vec::<u32>::new(), "all is done when it is told");
            }
            until("somebody is left", || marked(&mark).is_empty()).await;
        }
    });
}
