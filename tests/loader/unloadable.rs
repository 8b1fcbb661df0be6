//! Files that cannot be loaded whatever is in them: no regular ones, unreadable ones, one that shrinks meanwhile.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write;
use std::panic::{catch_unwind, resume_unwind};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use beget::Program;
use beget_tests::{Scratch, finish, marked};

use crate::broken::{FREE, SOURCE, whole};
use crate::fixtures::c;
use crate::{Ran, case, lacks};

#[test]
fn loaders_that_are_none() {
    if lacks("loaders_that_are_none", &["gcc"]) {
        return;
    }
    let scratch = Scratch::new();
    let fifo = scratch.at("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().is_ok_and(|status| status.success()));
    let text_file = scratch.script("text", "no program at all");
    let itself = c(SOURCE, &[&FREE[..], &["-pie", "-Wl,--dynamic-linker=/bin/sh"]].concat());
    for loader in ["/no/such/loader", "/", "/dev/null", "/dev/zero", &fifo, &text_file, "/bin/sh", &itself] {
        let option = format!("-Wl,--dynamic-linker={loader}");
        let program = c(SOURCE, &[&FREE[..], &["-pie", &option]].concat());
        let ran = case(&[&program]).by("direct");
        let told = ran.err.starts_with(&format!("beget: program {program}: its loader {loader}: "));
        assert!(ran.code == 126 && told && ran.err.lines().count() == 1, "{ran:?}");
        let error = Program::open(&program).expect_err("it has no loader").to_string();
        assert!(error.starts_with(&format!("program {program}: its loader {loader}: ")), "{error}");
    }
    // Nor does it wait for whatever is there instead of a program.
    for path in ["/dev/zero", "/", "/no/such/program", "/dev/tty", &fifo] {
        let error = Program::open(path).expect_err("it is no program").to_string();
        assert!(error.starts_with(&format!("program {path}: ")), "{error}");
    }
}

#[test]
fn what_may_not_be_read_is_told() {
    if lacks("what_may_not_be_read_is_told", &["gcc"]) {
        return;
    }
    if beget_tests::is_root() {
        return beget_tests::skip("what_may_not_be_read_is_told", beget_tests::Need::OrdinaryUser);
    }
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new();
    let path = scratch.executable("secret", whole("-static"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o111)).expect("our own file");
    assert_eq!(case(&[&path]).by("kernel").code, 42);
    let ran = case(&[&path]).by("direct");
    assert_eq!(
        (ran.code, ran.err.as_str()),
        (126, format!("beget: program {path}: permission denied\n").as_str())
    );
    let error = Program::open(&path).expect_err("it may not be read").to_string();
    assert_eq!(error, format!("program {path}: permission denied"));
}

/// While it is loaded, over and over, somebody cuts the file short and writes it anew: it is refused, or it dies, or it runs.
#[test]
fn a_file_that_shrinks_meanwhile() {
    if lacks("a_file_that_shrinks_meanwhile", &["gcc"]) {
        return;
    }
    let scratch = Scratch::new();
    let whole = whole("-static");
    let path = scratch.executable("shrinking", &whole);
    let done = AtomicBool::new(false);
    let write = || {
        while !done.load(Ordering::Relaxed) {
            // Not a new file: the same one, cut and written anew; whole for longer than it is not.
            for length in [0, 4096, whole.len()] {
                let file = OpenOptions::new().write(true).truncate(true).open(&path);
                let _ = file.map(|mut file| file.write_all(&whole[..length]));
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    };
    let results = std::thread::scope(|scope| {
        scope.spawn(write);
        let results = catch_unwind(|| run_often(&path));
        done.store(true, Ordering::Relaxed);
        results
    });
    let results = results.unwrap_or_else(|panic| resume_unwind(panic));
    assert!(results.len() > 1, "{results:?}");
    assert_eq!(marked(&path), Vec::<u32>::new());
}

/// How it ended, how often.
fn run_often(path: &str) -> BTreeMap<i32, u32> {
    let mut results = BTreeMap::new();
    for _ in 0..150 {
        let mut command = beget_tests::beget();
        command.args(["run", "--timeout", "20s", "--loader", "direct", "--", path]).stdin(Stdio::null());
        let ran = Ran::of(&finish(&mut command));
        let refused = ran.code == 126 && ran.err.starts_with("beget: program ");
        // A signal where a page is gone, and what a half makes of a program.
        let known =
            [0, 1, 42, 128 + libc::SIGBUS, 128 + libc::SIGSEGV, 128 + libc::SIGILL].contains(&ran.code);
        assert!(refused || known, "{ran:?}");
        *results.entry(ran.code).or_insert(0) += 1;
    }
    results
}
