//! Waiting: once, many times, from many tasks and runtimes at once, and not at all.

use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use beget::Fault;
use beget_tests::{Need, in_own_process, skip, text};

use crate::{end, on_both, probe, single, soon, threaded, until};

#[test]
fn a_status_is_what_the_program_ended_with() {
    on_both(|| async {
        assert_eq!(soon(probe(&["exit", "7"]).status()).await.unwrap().exit_code(), 7);
        assert_eq!(soon(probe(&["signal", "15"]).status()).await.unwrap().exit_code(), 128 + 15);
        let ended = soon(probe(&["exit", "0"]).status()).await.unwrap();
        assert!(ended.success() && ended.usage.is_some());
    });
}

#[test]
fn an_end_is_told_as_often_as_it_is_asked_for() {
    on_both(|| async {
        let mut process = probe(&["exit", "9"]).spawn().unwrap();
        let first = soon(process.wait()).await.unwrap();
        assert_eq!((first.exit_code(), soon(process.wait()).await.unwrap()), (9, first));
        assert_eq!((process.try_wait().unwrap(), end(&process).await), (Some(first), first));
        // Nobody is there any more to be signalled, nor anybody else in its place.
        process.signal(9).unwrap();
        assert_eq!(soon(process.kill()).await.unwrap(), first);
    });
}

#[test]
fn a_running_process_is_told_as_such_and_signalled() {
    on_both(|| async {
        let mut process = probe(&["sleep"]).spawn().unwrap();
        assert_eq!(process.try_wait().unwrap(), None);
        assert!(tokio::time::timeout(Duration::from_millis(20), process.wait()).await.is_err());
        process.signal(15).unwrap();
        assert_eq!(end(&process).await.exit_code(), 128 + 15);
        let mut process = probe(&["sleep"]).spawn().unwrap();
        assert_eq!(soon(process.kill()).await.unwrap().exit_code(), 128 + 9);
    });
}

#[test]
fn many_tasks_wait_for_one_process() {
    on_both(|| async {
        let process = Arc::new(probe(&["sleep"]).spawn().unwrap());
        let wait = |_| {
            let process = Arc::clone(&process);
            tokio::spawn(async move { end(&process).await.exit_code() })
        };
        let tasks: Vec<_> = (0..50).map(wait).collect();
        tokio::task::yield_now().await;
        process.signal(12).unwrap();
        for task in tasks {
            assert_eq!(task.await.unwrap(), 128 + 12);
        }
    });
}

#[test]
fn another_runtime_may_wait_while_the_first_one_runs() {
    let first = threaded();
    let process = first.block_on(async { probe(&["sleep"]).spawn().unwrap() });
    let other = single();
    other.block_on(async {
        let mut wait = pin!(process.wait_shared());
        assert!(wait.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        process.start_kill().unwrap();
        assert_eq!(soon(wait).await.unwrap().exit_code(), 128 + 9);
    });
}

#[test]
fn a_runtime_that_is_gone_is_an_error_and_the_process_can_still_be_asked() {
    let runtime = single();
    let process = runtime.block_on(async { probe(&["sleep"]).spawn().unwrap() });
    drop(runtime);
    let error = single().block_on(soon(process.wait_shared())).unwrap_err();
    assert_eq!(error.part(), "wait", "{error}");
    assert_eq!(process.try_wait().unwrap(), None);
    process.start_kill().unwrap();
    while process.try_wait().unwrap().is_none() {
        std::thread::yield_now();
    }
    // It is known now, and no runtime is needed for that.
    assert_eq!(single().block_on(process.wait_shared()).unwrap().exit_code(), 128 + 9);
}

#[test]
fn outside_any_runtime_nothing_is_started() {
    in_own_process("waits::outside_any_runtime_nothing_is_started", || {
        let error = probe(&["sleep"]).spawn().unwrap_err();
        assert_eq!((error.part(), error.fault()), ("tokio", Fault::Caller), "{error}");
        let without_events = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let panic = std::panic::catch_unwind(|| without_events.block_on(async { probe(&["sleep"]).spawn() }));
        assert!(panic.is_err());
        assert_eq!(beget_tests::children(), [].into());
    });
}

#[test]
fn a_spawn_that_fails_says_why_and_leaves_nothing() {
    in_own_process("waits::a_spawn_that_fails_says_why_and_leaves_nothing", || {
        on_both(|| async {
            let before = beget_tests::descriptors();
            let error = beget::tokio::Command::new("/does/not/exist").status().await.unwrap_err();
            assert_eq!(error.exit_code(), 127, "{error}");
            assert_eq!((beget_tests::descriptors(), beget_tests::children()), (before, [].into()));
        });
    });
}

/// A process that traces another, and lets go of it when it is told to.
struct Tracer {
    number: i32,
    go: std::io::PipeWriter,
}

impl Tracer {
    /// `None` where this user may trace nobody.
    fn seize(traced: i32) -> Option<Tracer> {
        let (mut is_attached, attached) = std::io::pipe().unwrap();
        let (going, go) = std::io::pipe().unwrap();
        // SAFETY: the child makes system calls alone, by numbers and buffers of its own, and ends by one.
        let number = unsafe {
            let number = libc::fork();
            if number == 0 {
                let mut byte = [u8::from(libc::ptrace(libc::PTRACE_SEIZE, traced, 0, 0) == 0)];
                libc::write(attached.as_raw_fd(), byte.as_ptr().cast(), 1);
                libc::read(going.as_raw_fd(), byte.as_mut_ptr().cast(), 1);
                // Takes the end as its tracer; whoever is its parent is told only then.
                libc::waitpid(traced, std::ptr::null_mut(), libc::__WALL);
                libc::_exit(0);
            }
            number
        };
        let tracer = Tracer { number, go };
        let mut byte = [0];
        is_attached.read_exact(&mut byte).unwrap();
        (byte == [1]).then_some(tracer)
    }

    fn let_go(&mut self) {
        self.go.write_all(b".").unwrap();
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        // SAFETY: our own child, which nobody else reaps.
        unsafe {
            libc::kill(self.number, libc::SIGKILL);
            libc::waitpid(self.number, std::ptr::null_mut(), 0);
        }
    }
}

/// A debugger keeps the end of a process that it traces: nobody is told before it lets go, and then everybody is.
#[test]
fn a_traced_process_ends_for_its_waiters_when_its_tracer_lets_go() {
    for nursery in [false, true] {
        single().block_on(async {
            let mut command = probe(&["sleep"]);
            if nursery {
                command.nursery(&beget::Nursery::shared().unwrap());
            }
            let process = command.spawn().unwrap();
            let number = process.id() as i32;
            let Some(mut tracer) = Tracer::seize(number) else {
                let test = "a_traced_process_ends_for_its_waiters_when_its_tracer_lets_go";
                return skip(test, Need::Machine("to trace a process of one's own"));
            };
            process.start_kill().unwrap();
            until("it ends", || {
                let status = std::fs::read_to_string(format!("/proc/{number}/stat")).unwrap_or_default();
                status.contains(") Z ")
            })
            .await;
            assert!(tokio::time::timeout(Duration::from_millis(50), process.wait_shared()).await.is_err());
            assert_eq!(process.try_wait().unwrap(), None);
            let waiting = tokio::spawn(async move { end(&process).await });
            tokio::task::yield_now().await;
            tracer.let_go();
            let ended = waiting.await.unwrap();
            assert_eq!(ended.exit_code(), 128 + 9);
        });
    }
}

/// Somebody else in this process waits for any child, again and again: the kernel's note answers, or an error that says so.
#[test]
fn a_status_that_somebody_took_is_noted_or_told_as_taken() {
    in_own_process("waits::a_status_that_somebody_took_is_noted_or_told_as_taken", || {
        on_both(|| async {
            let mut process = probe(&["await", "11"]).stdin(beget::Stdio::piped()).spawn().unwrap();
            let (number, input) = (process.id() as i32, process.stdin.take());
            let wait = async { soon(process.wait_shared()).await };
            let taker = std::thread::spawn(move || {
                drop(input);
                // SAFETY: the kernel is asked to forget the status.
                assert_eq!(unsafe { libc::waitpid(-1, std::ptr::null_mut(), 0) }, number);
            });
            taker.join().unwrap();
            match wait.await {
                Ok(ended) => assert_eq!((ended.exit_code(), ended.usage), (11, None)),
                Err(error) => assert_eq!(error.fault(), Fault::StatusTaken, "{error}"),
            }
        });
    });
}

#[test]
fn words_of_a_spawn_are_those_of_the_blocking_one() {
    single().block_on(async {
        let mut command = beget::tokio::Command::from(beget::Command::new("/bin/echo"));
        command.arg("given twice").grant(beget::Grant::Base);
        assert!(!command.describe().unwrap().files.is_empty());
        let outputs = [command.output(), command.output()];
        for output in outputs {
            assert_eq!(text(&soon(output).await.unwrap().stdout), "given twice\n");
        }
    });
}
