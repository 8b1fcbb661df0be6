//! A service in a folder of its own, and what is asked of it.

use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use beget_tests::{Scratch, beget, finish, text};
use serde_json::Value;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Waits until the condition holds.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < limit, "not {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A service, which ends with this.
#[derive(Debug)]
pub struct Served {
    pub scratch: Scratch,
    supervisor: Option<Child>,
}

impl Served {
    /// A folder with no service yet.
    pub fn none() -> Served {
        Served { scratch: Scratch::new(), supervisor: None }
    }

    /// One that serves.
    pub fn start(flags: &[&str]) -> Served {
        let mut served = Served::none();
        served.serve(flags);
        served
    }

    /// Starts the service, or another one after that.
    pub fn serve(&mut self, flags: &[&str]) {
        let mut command = self.beget(&["serve"]);
        command.args(flags).stdin(Stdio::null()).stdout(Stdio::null());
        command.stderr(std::fs::File::create(self.scratch.at("serve.log")).unwrap());
        self.supervisor = Some(command.spawn().unwrap());
        until("serving", || self.run(&["serve", "--status"]).status.success());
    }

    pub fn supervisor(&mut self) -> &mut Child {
        self.supervisor.as_mut().expect("it was started")
    }

    pub fn socket(&self) -> String {
        self.scratch.at("s")
    }

    /// `beget` with these words, which speaks to this service.
    pub fn beget(&self, words: &[&str]) -> Command {
        let mut command = beget();
        command.env("BEGET_SOCKET", self.socket()).args(words).stdin(Stdio::null());
        command
    }

    /// Runs it.
    pub fn run(&self, words: &[&str]) -> Output {
        finish(&mut self.beget(words))
    }

    /// Runs it; it must end with 0 and say nothing on standard error.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        let output = self.run(words);
        let log = std::fs::read_to_string(self.scratch.at("serve.log")).unwrap_or_default();
        let (said, wrong) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success() && wrong.is_empty(), "{words:?}: {wrong}{said}service: {log}");
        said
    }

    /// Runs it with `--json` and reads that.
    #[track_caller]
    pub fn json(&self, words: &[&str]) -> Value {
        let (command, rest) = words.split_first().unwrap();
        let said = self.ok(&[&[*command, "--json"], rest].concat());
        serde_json::from_str(&said).unwrap()
    }

    /// Runs it; it must fail with this code. What it said.
    #[track_caller]
    pub fn fails(&self, code: i32, words: &[&str]) -> String {
        let output = self.run(words);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{words:?}: {said}");
        said
    }

    /// The number of a part's process: `service` or `monitor`.
    pub fn part(&self, name: &str) -> i32 {
        self.json(&["serve", "--status"])[name].as_i64().map_or(0, |number| number as i32)
    }

    /// Kills it, as nobody can refuse.
    pub fn kill(number: i32) {
        assert!(number > 1);
        // SAFETY: sends a signal to a process of ours.
        assert_eq!(unsafe { libc::kill(number, libc::SIGKILL) }, 0);
    }

    /// The names of those that live.
    pub fn names(&self) -> Vec<String> {
        let list = self.json(&["ps"]);
        list.as_array().unwrap().iter().map(|record| record["name"].as_str().unwrap().to_owned()).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.beget(&["serve", "--stop"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        if let Some(mut supervisor) = self.supervisor.take() {
            let limit = Instant::now() + PATIENCE;
            while supervisor.try_wait().is_ok_and(|status| status.is_none()) && Instant::now() < limit {
                std::thread::sleep(Duration::from_millis(5));
            }
            let _ = supervisor.kill();
            let _ = supervisor.wait();
        }
    }
}
