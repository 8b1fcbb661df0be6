//! Programs that cannot be copied where they are ready, refused by name and by what stands in the way.

use beget::{Command, Grant};
use beget_factory::{Options, Ready};
use beget_tests::{Scratch, has};

use super::seal;

/// Why there is no factory of this program at this point.
#[track_caller]
fn refusal(words: &[&str], ready: Ready, more: impl Fn(&mut Command)) -> String {
    let mut command = Command::new(words[0]);
    command.args(&words[1..]).grants([Grant::Base, Grant::Spawn]).env("PATH", beget::DEFAULT_PATH);
    more(&mut command);
    let options = Options { ready: Some(ready), ..Options::default() };
    seal(command, options).expect_err("it cannot be copied").to_string()
}

#[test]
fn one_with_threads() {
    let words = "import threading, time\nthreading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n\
                 import sys\nsys.stdin.read()\n";
    if has("python3") {
        let error = refusal(&["/usr/bin/python3", "-c", words], Ready::Stdin, |_| {});
        assert!(error.contains("threads: "), "{error}");
    }
    if has("node") {
        let error = refusal(&["node", "-e", "process.kill(process.pid, 'SIGSTOP')"], Ready::Stop, |_| {});
        assert!(error.contains("threads: "), "{error}");
    }
    if has("java") {
        let scratch = Scratch::new();
        let words = "class P { public static void main(String[] a) throws Exception { System.in.read(); } }";
        let file = scratch.file("P.java", words);
        let read = Grant::Read(scratch.path().into());
        let error = refusal(&["java", &file], Ready::Stdin, |command| {
            command.grant(read.clone());
        });
        // One that this machine does not let start at all says so too.
        assert!(error.contains("threads: ") || error.contains("it said: "), "{error}");
    }
}

#[test]
fn one_that_does_not_get_ready() {
    let error = refusal(&["true"], Ready::Stdin, |_| {});
    assert!(error.contains("ended with 0 before it was ready"), "{error}");
    let error = refusal(&["sh", "-c", "echo why >&2; exit 3"], Ready::Stdin, |_| {});
    assert!(error.contains("ended with 3") && error.contains("it said: why"), "{error}");
    let error = refusal(&["true"], Ready::Symbol("no_such_function".to_owned()), |_| {});
    assert!(error.contains("no_such_function"), "{error}");
}

#[test]
fn one_with_a_child() {
    let error = refusal(&["bash", "-c", "sleep 60 & read a"], Ready::Stdin, |_| {});
    assert!(error.contains("children: "), "{error}");
}
