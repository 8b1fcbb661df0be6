//! What nurseries, embryos and batches give, awaited.

use std::fs::File;
use std::io::Read;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};

use beget::tokio::Process;
use beget::{Batch, Fault, Nursery, Program, Stdio};
use beget_tests::{children, in_own_process};
use tokio::io::AsyncReadExt;
use tokio::task::JoinSet;

use crate::{end, on_both, open_now, probe, single, soon, threaded, until_childless, until_open};

/// What batches and embryos want: the same command, for threads.
fn blocking(words: &[&str]) -> beget::Command {
    let mut command = beget::Command::new(beget_tests::program("probe"));
    command.args(words).grant(beget::Grant::Ambient);
    command
}

/// Three processes that hide, in a tree of their own, and where they write.
async fn family() -> (Process, tokio::net::unix::pipe::Receiver) {
    let mut process = probe(&["family"]).own_tree(true).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = process.stdout.take().unwrap();
    let mut all = [0; 3];
    soon(output.read_exact(&mut all)).await.unwrap();
    assert_eq!(&all, b"xxx", "all three are there");
    (process, output)
}

#[test]
fn batches_and_embryos_are_awaited() {
    in_own_process("nurseries::batches_and_embryos_are_awaited", || {
        on_both(|| async {
            let before = open_now();
            let nursery = Nursery::new().unwrap();
            let mut commands: Vec<_> = (0..100).map(|code| blocking(&["exit", &format!("{code}")])).collect();
            let mut batch = Batch::new();
            for command in &mut commands {
                batch.add(command, 1).unwrap();
            }
            for (code, process) in batch.spawn(&nursery).unwrap().into_iter().enumerate() {
                let process = Process::try_from(process.unwrap()).unwrap();
                assert_eq!(usize::from(end(&process).await.exit_code()), code);
            }
            let mut embryo = nursery.embryo().unwrap();
            let probe = beget_tests::program("probe");
            embryo.load(&Program::open(&probe).unwrap(), &["probe", "exit", "5"]).unwrap();
            let process = Process::try_from(embryo.start().unwrap()).unwrap();
            assert_eq!(end(&process).await.exit_code(), 5);
            drop(process);
            soon(beget::tokio::end(&nursery)).await.unwrap();
            assert!(nursery.has_ended() && children().is_empty());
            drop(nursery);
            drop(commands);
            until_open(&before).await;
        });
    });
}

/// Tasks of two runtimes and plain threads wait for children of one nursery, while others are born there: whoever reads what comes,
/// everybody is told.
#[test]
fn two_runtimes_and_threads_share_a_nursery() {
    in_own_process("nurseries::two_runtimes_and_threads_share_a_nursery", || {
        let nursery = Nursery::new().unwrap();
        std::thread::scope(|scope| {
            for make in [single, threaded] {
                let nursery = &nursery;
                scope.spawn(move || {
                    make().block_on(async {
                        let mut waits = JoinSet::new();
                        for number in 0..400u32 {
                            let code = number % 200;
                            let mut command = probe(&["exit", &code.to_string()]);
                            let process = command.nursery(nursery).spawn().unwrap();
                            waits.spawn(async move { (code, end(&process).await.exit_code()) });
                            tokio::task::yield_now().await;
                        }
                        while let Some(done) = waits.join_next().await {
                            let (code, ended) = done.unwrap();
                            assert_eq!(u32::from(ended), code);
                        }
                    });
                });
            }
            for thread in 0..2u8 {
                let nursery = &nursery;
                scope.spawn(move || {
                    let mut command = blocking(&["exit", &format!("{thread}")]);
                    for _ in 0..200 {
                        let mut process = command.nursery(nursery).spawn().unwrap();
                        assert_eq!(process.wait().unwrap().exit_code(), thread);
                    }
                });
            }
        });
        drop(nursery);
        assert_eq!(children(), [].into());
    });
}

/// A thread reads all that comes, as fast as it can, and the task hears of it all the same.
#[test]
fn a_task_is_told_by_whoever_reads() {
    let nursery = Nursery::new().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                assert!(!nursery.has_ended());
            }
        });
        let mut command = probe(&["await", "3"]);
        command.nursery(&nursery).stdin(Stdio::piped());
        let waited = std::panic::catch_unwind(AssertUnwindSafe(|| {
            single().block_on(async {
                for _ in 0..300 {
                    assert_eq!(soon(command.spawn().unwrap().wait()).await.unwrap().exit_code(), 3);
                }
            });
        }));
        done.store(true, Ordering::Relaxed);
        waited.unwrap();
    });
}

#[test]
fn a_tree_is_killed_as_a_whole() {
    in_own_process("nurseries::a_tree_is_killed_as_a_whole", || {
        on_both(|| async {
            let (process, mut output) = family().await;
            soon(process.kill_tree()).await.unwrap();
            assert_eq!(children(), [].into(), "all is done when it is done");
            assert_eq!(end(&process).await.exit_code(), 128 + 9);
            assert_eq!(soon(output.read(&mut [0; 8])).await.unwrap(), 0);
            soon(process.kill_tree()).await.expect("again, and nothing happens");
            let alone = probe(&["sleep"]).kill_on_drop(true).spawn().unwrap();
            assert_eq!(alone.kill_tree().await.unwrap_err().fault(), Fault::Caller);
            drop(alone);
            until_childless().await;
        });
    });
}

/// A drop ends a tree, in whatever state it is, and so does one of a future that was to end it.
#[test]
fn a_tree_ends_with_its_process() {
    in_own_process("nurseries::a_tree_ends_with_its_process", || {
        on_both(|| async {
            let before = open_now();
            for round in 0..9 {
                let (process, mut output) = family().await;
                match round % 3 {
                    0 => {}
                    1 => {
                        process.start_kill().unwrap();
                        assert_eq!(end(&process).await.exit_code(), 128 + 9);
                    }
                    _ => drop(tokio::time::timeout(std::time::Duration::ZERO, process.kill_tree()).await),
                }
                drop(process);
                assert_eq!(soon(output.read(&mut [0; 8])).await.unwrap(), 0, "somebody is left");
            }
            until_childless().await;
            until_open(&before).await;
        });
    });
}

#[test]
fn the_last_handle_of_a_nursery_ends_it() {
    in_own_process("nurseries::the_last_handle_of_a_nursery_ends_it", || {
        on_both(|| async {
            let nursery = Nursery::new().unwrap();
            let processes = [(); 2].map(|()| probe(&["sleep"]).nursery(&nursery).spawn().unwrap());
            drop(nursery);
            let [first, last] = processes;
            drop(first);
            assert_eq!(last.try_wait().unwrap(), None);
            drop(last);
            until_childless().await;
        });
    });
}

/// A nursery that is killed tells nothing any more; what it left ends, and everybody who waits is answered.
#[test]
fn a_killed_nursery_answers_whoever_waits() {
    in_own_process("nurseries::a_killed_nursery_answers_whoever_waits", || {
        on_both(|| async {
            let nursery = Nursery::new().unwrap();
            let mut waits = JoinSet::new();
            for _ in 0..20 {
                let process = probe(&["sleep"]).nursery(&nursery).spawn().unwrap();
                waits.spawn(async move { soon(process.wait_shared()).await });
            }
            tokio::task::yield_now().await;
            let guard = nursery.id();
            let below = std::fs::read_to_string(format!("/proc/{guard}/task/{guard}/children")).unwrap();
            let number: i32 = below.trim().parse().expect("a guard keeps one nursery");
            // SAFETY: the nursery's own process, which its guard has not reaped.
            assert_eq!(unsafe { libc::kill(number, libc::SIGKILL) }, 0);
            while let Some(done) = waits.join_next().await {
                match done.unwrap() {
                    Ok(ended) => assert_eq!(ended.exit_code(), 128 + 9),
                    // Before Linux 6.15 nobody keeps a note.
                    Err(error) => assert_eq!(error.fault(), Fault::StatusTaken, "{error}"),
                }
            }
        });
    });
}

/// What a blocking command gave goes on where a task is: its pipes too.
#[test]
fn a_blocking_process_becomes_an_awaited_one() {
    on_both(|| async {
        let mut process = blocking(&["cat"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let input = process.stdin.take().unwrap();
        let mut process = Process::try_from(process).unwrap();
        drop(input);
        assert!(soon(process.wait()).await.unwrap().success());
        let output = process.stdout.take().unwrap().into_blocking_fd().unwrap();
        let mut all = Vec::new();
        File::from(output).read_to_end(&mut all).unwrap();
        assert_eq!(all, b"");
    });
}
