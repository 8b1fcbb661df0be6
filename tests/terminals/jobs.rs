//! A program as a job of the outer shell: stopped and continued with `beget`, each with its own modes.

use beget_tests::Scratch;

use crate::processes::{self, children_of, entry};
use crate::terminal::{CTRL_C, CTRL_Z, Terminal, have, python};

/// Sets the terminal raw, tells each key, stops itself at `z`, ends at `q` without mending the modes.
const RAW: &str = "import os, signal, sys, tty\n\
                   tty.setraw(0)\n\
                   print('raw', end='\\r\\n', flush=True)\n\
                   while True:\n    \
                       key = os.read(0, 1)\n    \
                       if key == b'q': sys.exit(5)\n    \
                       if key == b'z': os.kill(os.getpid(), signal.SIGTSTP)\n    \
                       print('key-%02x' % key[0], end='\\r\\n', flush=True)\n";

#[test]
fn ctrl_z_stops_both_and_fg_continues_both() {
    if !have("ctrl_z_stops_both_and_fg_continues_both", &["bash"]) {
        return;
    }
    for mut outer in [Terminal::bash(), Terminal::editing_bash(), Terminal::plain_shell()] {
        outer.line("\"$BEGET\" run --base -- sleep 300");
        for _ in 0..2 {
            let sleep = outer.foreground_is("sleep");
            let beget = outer.beget();
            outer.key(CTRL_Z);
            outer.expect("Stopped");
            let states = [sleep, beget.number].map(|one| entry(one).map(|one| one.state));
            assert_eq!(states, [Some('T'), Some('T')], "both are stopped");
            outer.line("fg");
        }
        let sleep = outer.foreground_is("sleep");
        assert_eq!(children_of(outer.beget().number).len(), 1);
        outer.until("running", |_| entry(sleep).is_some_and(|one| one.state != 'T'));
        outer.key(CTRL_C);
        outer.code(130);
        outer.end();
    }
}

#[test]
fn modes_follow_the_job() {
    if !have("modes_follow_the_job", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    for mut outer in [Terminal::bash(), Terminal::editing_bash(), Terminal::plain_shell()] {
        outer.line(&python(&scratch, RAW));
        outer.expect("raw\r\n");
        assert!(outer.is_raw());
        // No key of the terminal's now: ctrl-Z and ctrl-C are read.
        outer.key(CTRL_Z);
        outer.expect("key-1a");
        outer.key(CTRL_C);
        outer.expect("key-03");
        let program = outer.foreground();

        // It stops itself, and then somebody stops it who does not ask.
        for stop in ["itself", "SIGSTOP"] {
            if stop == "itself" {
                outer.key(b'z');
            } else {
                processes::signal(program, libc::SIGSTOP);
            }
            outer.expect("Stopped");
            outer.line("stty -a | tr ' ' '\\n' | grep -xF -e -icanon -e -echo -e -isig; echo modes=$?");
            outer.expect("\nmodes=1\r\n");
            outer.line("fg");
            outer.foreground_is("python3");
            outer.until("raw again", Terminal::is_raw);
            if stop == "itself" {
                outer.expect("key-7a");
            }
            outer.key(b'a');
            outer.expect("key-61");
        }
        outer.key(b'q');
        outer.code(5);
        outer.line("stty -a | tr ' ' '\\n' | grep -xF -e -icanon -e -echo -e -isig; echo modes=$?");
        outer.expect("\nmodes=1\r\n");
        outer.end();
    }
}

#[test]
fn a_stop_asked_of_beget_is_the_programs() {
    if !have("a_stop_asked_of_beget_is_the_programs", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" run --base -- sleep 300");
    let sleep = outer.foreground_is("sleep");
    let beget = outer.beget().number;
    processes::signal(beget, libc::SIGTSTP);
    outer.expect("Stopped");
    assert_eq!(entry(sleep).map(|one| one.state), Some('T'));
    outer.line("bg");
    outer.expect("outer> ");
    outer.until("running", |_| entry(sleep).is_some_and(|one| one.state != 'T'));
    assert_eq!(outer.foreground(), outer.leader(), "the shell keeps the terminal");
    outer.answer("kill %1; wait %1; echo waited=$?");
    outer.expect("\nwaited=143\r\n");
    outer.end();
}

#[test]
fn beget_stopped_alone_gives_the_terminal_to_the_program_again() {
    if !have("beget_stopped_alone_gives_the_terminal_to_the_program_again", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" run --base -- sleep 300");
    outer.foreground_is("sleep");
    let beget = outer.beget().number;
    processes::signal(beget, libc::SIGSTOP);
    outer.expect("Stopped");
    outer.line("fg");
    outer.foreground_is("sleep");
    outer.key(CTRL_C);
    outer.code(130);
    outer.end();
}

#[test]
fn a_session_leader_that_nobody_continues_does_not_stop() {
    let scratch = Scratch::new();
    if !have("a_session_leader_that_nobody_continues_does_not_stop", &["bash", "python3"]) {
        return;
    }
    let count = "import signal\n\
                 signal.signal(signal.SIGINT, signal.SIG_DFL)\n\
                 signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCONT])\n\
                 print('ready', flush=True)\n\
                 while True:\n    \
                     signal.sigwait([signal.SIGCONT])\n    \
                     print('continued', flush=True)\n";
    let path = scratch.file("count.py", count);
    let folder = scratch.path().to_str().expect("text");
    let beget = beget_tests::program("beget-under-test");
    let beget = beget.to_str().expect("text");
    let mut terminal =
        Terminal::with(&[beget, "run", "--base", "--read", folder, "--", "python3", "-S", "-E", &path]);
    terminal.expect("ready");
    for _ in 0..2 {
        terminal.foreground_is("python3");
        terminal.key(CTRL_Z);
        terminal.expect("continued");
    }
    terminal.foreground_is("python3");
    terminal.key(CTRL_C);
    let status = terminal.wait();
    assert_eq!(status.code(), Some(130), "{}", terminal.transcript());
    terminal.nothing_left();
}
