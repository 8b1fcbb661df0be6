//! Signals sent to `beget run`.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use beget_tests::{Need, beget, has, mark, marked, skip};

/// Starts it and returns when the program says that it is ready; what it writes later can be read.
fn start(command: &mut Command) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (child, output)
}

fn send(child: &Child, signal: i32) {
    // SAFETY: our own child, which has not been waited for.
    assert_eq!(unsafe { libc::kill(child.id() as i32, signal) }, 0);
}

/// Says which signal it got, and ends with its number; by itself after 25 seconds, with another code.
const HANDLER: &str = "$| = 1; my $n = 0; for my $s (qw(HUP INT QUIT USR1 USR2 ALRM TERM)) { \
     $SIG{$s} = sub { print \"$s\\n\"; $n = 77; exit $n } } print \"ready\\n\"; \
     for (1 .. 250) { select undef, undef, undef, 0.1 } exit 1";

#[test]
fn signals_are_passed_on() {
    if !has("perl") {
        return skip("signals_are_passed_on", Need::Program("perl"));
    }
    for (signal, name) in [
        (libc::SIGHUP, "HUP"),
        (libc::SIGINT, "INT"),
        (libc::SIGQUIT, "QUIT"),
        (libc::SIGUSR1, "USR1"),
        (libc::SIGUSR2, "USR2"),
        (libc::SIGALRM, "ALRM"),
        (libc::SIGTERM, "TERM"),
    ] {
        let (mut child, mut output) = start(beget().args(["run", "--base", "--", "perl", "-e", HANDLER]));
        send(&child, signal);
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, format!("{name}\n"));
        assert_eq!(child.wait().unwrap().code(), Some(77));
    }
}

#[test]
fn a_program_that_does_not_handle_them_dies_of_them() {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT, libc::SIGUSR1, libc::SIGTERM] {
        let script = "echo ready; exec sleep 25";
        let (mut child, _output) = start(beget().args(["run", "--base", "--", "sh", "-c", script]));
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(128 + signal));
    }
}

/// As `nohup` starts it: the signal stays ignored here, and is not passed on.
#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    if !has("perl") {
        return skip("a_signal_that_was_ignored_stays_ignored", Need::Program("perl"));
    }
    let mut command = beget();
    command.args(["run", "--base", "--", "perl", "-e", HANDLER]);
    // SAFETY: one system call that a forked child may make.
    unsafe {
        command.pre_exec(|| {
            libc::signal(libc::SIGHUP, libc::SIG_IGN);
            Ok(())
        })
    };
    let (mut child, mut output) = start(&mut command);
    send(&child, libc::SIGHUP);
    send(&child, libc::SIGUSR1);
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "USR1\n");
    assert_eq!(child.wait().unwrap().code(), Some(77));
}

/// However odd the caller's own signals are, the status is not lost and the program has its own.
#[test]
fn a_dirty_caller_does_not_lose_the_status() {
    let mut command = beget();
    command.args(["run", "--base", "--", "sh", "-c", "kill -USR1 $$; exit 3"]).stdin(Stdio::null());
    // SAFETY: system calls that a forked child may make.
    unsafe {
        command.pre_exec(|| {
            let mut all = std::mem::zeroed();
            libc::sigfillset(&raw mut all);
            libc::sigprocmask(libc::SIG_BLOCK, &raw const all, std::ptr::null_mut());
            for signal in [libc::SIGCHLD, libc::SIGUSR1, libc::SIGPIPE] {
                libc::signal(signal, libc::SIG_IGN);
            }
            Ok(())
        })
    };
    assert_eq!(command.status().unwrap().code(), Some(128 + libc::SIGUSR1));
}

/// The signal goes to the program alone; that it ends, ends everything.
#[test]
fn a_signal_that_ends_the_program_ends_everything() {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGHUP] {
        let mark = mark();
        let script = format!("sh -c 'trap \"\" TERM INT HUP; echo ready; sleep 25; : {mark}' & wait");
        let (mut child, _output) =
            start(beget().args(["run", "--base", "--spawn", "--", "sh", "-c", &script]));
        assert!(!marked(&mark).is_empty());
        send(&child, signal);
        assert_eq!(child.wait().unwrap().code(), Some(128 + signal));
        assert_eq!(marked(&mark), Vec::<u32>::new());
    }
}

/// Nobody is left to pass anything on; the program itself dies with it all the same.
#[test]
fn the_program_dies_with_a_killed_beget() {
    let mark = mark();
    let script = format!("echo ready; read x; : {mark}");
    let mut command = beget();
    command.args(["run", "--base", "--", "sh", "-c", &script]);
    // An input that nothing comes from: the program waits in it, and the end of this test ends it.
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child = command.stdin(reader).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(!marked(&mark).is_empty());
    send(&child, libc::SIGKILL);
    child.wait().unwrap();
    for _ in 0..1000 {
        if marked(&mark).is_empty() {
            return drop(writer);
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    panic!("it still runs");
}
