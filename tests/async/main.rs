//! The `tokio` feature: what tasks start, await and drop, on both kinds of runtime, leaves nothing and loses nothing.

mod crowds;
mod dropped;
mod factories;
mod nurseries;
mod streams;
mod waits;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use beget::tokio::{Command, Process};
use beget::{Ended, Grant};
use beget_tests::{children, descriptors, program};
use tokio::runtime::{Builder, Runtime};

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);

/// A command for the probe, which may do whatever the user may.
fn probe(words: &[&str]) -> Command {
    let mut command = Command::new(program("probe"));
    command.args(words).grant(Grant::Ambient);
    command
}

/// One that runs tasks only while somebody blocks on it.
fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// One with two threads of its own.
fn threaded() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime")
}

/// Runs a future on each kind of runtime.
fn on_both<F: Future<Output = ()>>(mut body: impl FnMut() -> F) {
    single().block_on(body());
    threaded().block_on(body());
}

/// The end of a process, which comes.
async fn end(process: &Process) -> Ended {
    soon(process.wait_shared()).await.expect("a child can be waited for")
}

/// What a future gives, which it does before long.
async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LONG, future).await.expect("it does not take so long")
}

/// Waits until something is true, with the runtime running on.
async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < LONG, "{what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// Waits until this process has no child any more, not even a zombie.
async fn until_childless() {
    until("a child is left", || children().is_empty()).await;
}

/// What this process has open, once a nursery was made: the stub that all share stays.
fn open_now() -> BTreeSet<String> {
    drop(beget::Nursery::new().expect("a nursery"));
    descriptors()
}

/// Waits until nothing is open but what was.
async fn until_open(before: &BTreeSet<String>) {
    let began = Instant::now();
    while descriptors() != *before {
        assert!(began.elapsed() < LONG, "before {before:?}, now {:?}", descriptors());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// The threads of this process.
fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").expect("/proc is there").count()
}

/// Allows this process as many descriptors as it may have, and says how many that is.
fn allow_descriptors() -> usize {
    // SAFETY: the kernel reads and writes one structure on this stack.
    unsafe {
        let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
        assert_eq!(libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit), 0);
        limit.rlim_cur = limit.rlim_max;
        assert_eq!(libc::setrlimit(libc::RLIMIT_NOFILE, &limit), 0);
        usize::try_from(limit.rlim_max).unwrap_or(usize::MAX)
    }
}
