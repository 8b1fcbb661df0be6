//! The service under load and under fire: many clients and many domains, hostile clients beside honest ones, and SIGKILL for everybody at
//! any moment.
//!
//! The same for factories, in a process and kept by the service.
//!
//! `BEGET_STORM` is how many seconds a storm lasts, `BEGET_LOAD` how many domains live at once.

mod factories;
mod hostile;
mod kept;
mod kills;
mod load;

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use beget_service::Service;
use beget_tests::{Scratch, beget, children, text};

/// Numbers by chance, from a seed that is told when something fails.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(more: u64) -> Random {
        let time = std::time::UNIX_EPOCH.elapsed().map_or(1, |time| time.as_nanos() as u64);
        Random((time ^ u64::from(std::process::id()) << 32 ^ more << 17) | 1)
    }

    pub(crate) fn below(&mut self, most: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % most
    }
}

/// A number that the environment may set.
pub(crate) fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(otherwise)
}

/// Waits for something to be so.
pub(crate) fn until(what: &str, mut so: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !so() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Each word was noted once, if what came of the request that it was given to is right; else once or never; and no other was.
pub(crate) fn check_noted<C: Debug>(noted: &str, asked: &HashMap<String, C>, is_right: impl Fn(&C) -> bool) {
    let noted = std::fs::read_to_string(noted).expect("it is there");
    let mut times: HashMap<&str, usize> = HashMap::new();
    for word in noted.lines() {
        assert!(word == "word-last" || asked.contains_key(word), "{word:?} was not given to anybody");
        *times.entry(word).or_default() += 1;
    }
    for (word, came) in asked {
        let times = times.get(word.as_str()).copied().unwrap_or_default();
        assert!(times <= 1, "{word} ran {times} times: {came:?}");
        assert!(times == 1 || !is_right(came), "{word} did not run");
    }
}

/// Whatever loses its parent becomes this process's child, so that nothing that is left can hide.
pub(crate) fn adopt_orphans() {
    // SAFETY: numbers only.
    assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
}

/// A service of its own.
pub(crate) struct Running {
    supervisor: Child,
    scratch: Scratch,
}

impl Running {
    pub(crate) fn start(words: &[&str]) -> Running {
        let scratch = Scratch::new();
        let socket = scratch.at("s");
        let mut command = beget();
        command.args(["serve", "--socket", &socket]).args(words).stdin(Stdio::null());
        let supervisor = command.spawn().expect("beget can be started");
        let running = Running { supervisor, scratch };
        until("the service listens", || Service::connect(running.socket()).is_ok());
        running
    }

    pub(crate) fn socket(&self) -> std::path::PathBuf {
        self.scratch.path().join("s")
    }

    pub(crate) fn session(&self) -> Service {
        Service::connect(self.socket()).expect("it serves its own user")
    }

    /// A `beget` command that speaks to this service.
    pub(crate) fn beget(&self, words: &[&str]) -> std::process::Command {
        let mut command = beget();
        command.arg(words[0]).args(["--socket", &self.scratch.at("s")]).args(&words[1..]);
        command
    }

    /// The processes that the supervisor started: its parts.
    pub(crate) fn parts(&self) -> BTreeSet<u32> {
        children_of(self.supervisor.id())
    }

    /// Ends it, and looks whether anything is left.
    pub(crate) fn stop(mut self) {
        let output = self.beget(&["serve", "--stop"]).output().expect("beget can be started");
        assert!(output.status.success(), "{}", text(&output.stderr));
        assert!(self.supervisor.wait().expect("our own child").success());
        until("nothing is left", || {
            reap_orphans();
            children().is_empty()
        });
        assert!(!self.socket().exists(), "the socket is left");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // After a failed test: what is below it ends with it, or is adopted and ended here.
        let _ = self.supervisor.kill();
        let _ = self.supervisor.wait();
        for child in children() {
            // SAFETY: numbers only; children of this process that nobody has reaped.
            unsafe { libc::kill(child as i32, libc::SIGKILL) };
        }
        reap_orphans();
    }
}

pub(crate) fn reap_orphans() {
    // SAFETY: no pointer is given.
    while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
}

/// The numbers of a process's children.
pub(crate) fn children_of(process: u32) -> BTreeSet<u32> {
    let list = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    list.unwrap_or_default().split_whitespace().filter_map(|number| number.parse().ok()).collect()
}

/// How many descriptors a process has.
pub(crate) fn descriptors_of(process: u32) -> usize {
    std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("fd")).map_or(0, Iterator::count)
}

/// A domain that is wanted.
pub(crate) fn wish(command: &mut beget::Command, name: &str) -> beget_service::Wish {
    let parcel = command.parcel(beget::ParcelOptions::default()).expect("it can be packed");
    beget_service::Wish::new(parcel).name(name)
}
