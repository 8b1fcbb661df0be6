//! A program in the terminal's background: it runs, stops when it wants to read, and comes to the front when the shell says so.

use beget_tests::Scratch;

use crate::processes::{self, Watched, entry};
use crate::terminal::{CTRL_C, CTRL_D, CTRL_Z, Terminal, deadline, have, python};

#[test]
fn a_program_in_the_background_ends_by_itself() {
    if !have("a_program_in_the_background_ends_by_itself", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" run --base --spawn -- sh -c 'echo told-$((1+1)); exit 6' &");
    outer.expect("told-2");
    outer.answer("");
    outer.line("wait $!; echo waited=$?");
    outer.expect("\nwaited=6\r\n");
    outer.line("");
    assert!(outer.is_cooked());
    outer.end();
}

#[test]
fn reading_from_the_background_stops_the_job() {
    if !have("reading_from_the_background_stops_the_job", &["bash"]) {
        return;
    }
    for mut outer in [Terminal::bash(), Terminal::editing_bash()] {
        outer.line("set -b; \"$BEGET\" run --base -- cat &");
        outer.expect("Stopped");
        outer.answer("jobs -l");
        outer.expect("Stopped (tty input)");
        outer.expect("outer> ");
        assert_eq!(outer.foreground(), outer.leader());
        outer.answer("fg");
        outer.foreground_is("cat");
        // The modes are those that the shell gives its jobs, not those of its own line editor.
        assert!(outer.is_cooked());
        outer.answer("one line");
        outer.expect("one line\r\none line\r\n");
        outer.key(CTRL_D);
        outer.code(0);
        outer.end();
    }
}

#[test]
fn a_stopped_job_goes_on_in_the_background_and_returns() {
    if !have("a_stopped_job_goes_on_in_the_background_and_returns", &["bash"]) {
        return;
    }
    let mut outer = Terminal::editing_bash();
    outer.line("set -b; \"$BEGET\" run --base -- sh -c 'read line; echo \"got-$line\"; exit 4'");
    outer.foreground_is("sh");
    outer.key(CTRL_Z);
    outer.expect("Stopped");
    outer.line("bg");
    outer.expect("Stopped");
    outer.answer("jobs -l");
    outer.expect("Stopped (tty input)");
    outer.line("fg");
    outer.foreground_is("sh");
    assert!(outer.is_cooked());
    outer.answer("it");
    outer.expect("\ngot-it\r\n");
    outer.code(4);
    outer.end();
}

/// Waits for a signal, then reads: a shell sends nothing to a running job that it puts in the foreground.
const LATE: &str = "import os, signal, sys\n\
                    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])\n\
                    print('pid=%d.' % os.getpid(), flush=True)\n\
                    signal.sigwait([signal.SIGUSR1])\n\
                    print('got-' + sys.stdin.readline().strip(), flush=True)\n\
                    signal.pause()\n";

#[test]
fn a_running_job_brought_to_the_front_gets_the_terminal_when_it_reads() {
    if !have("a_running_job_brought_to_the_front_gets_the_terminal_when_it_reads", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut outer = Terminal::bash();
    outer.line(&format!("{} &", python(&scratch, LATE)));
    outer.expect("pid=");
    let program = outer.expect(".").parse().expect("a number");
    outer.answer("fg");
    let shell = outer.leader();
    outer.until("a job in the foreground", |terminal| terminal.foreground() != shell);
    processes::signal(program, libc::SIGUSR1);
    outer.until("the program in the foreground", |terminal| terminal.foreground() == program);
    outer.answer("it");
    outer.expect("\ngot-it\r\n");
    assert!(!outer.transcript().contains("Stopped"), "{}", outer.transcript());
    outer.foreground_sleeps();
    outer.key(CTRL_C);
    outer.code(130);
    outer.end();
}

#[test]
fn keys_reach_a_running_job_brought_to_the_front() {
    if !have("keys_reach_a_running_job_brought_to_the_front", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" run --base --spawn -- sh -c 'echo sta\"\"rted; sleep 300; exit 1' &");
    outer.expect("started");
    outer.program_starts("sleep");
    let shell = outer.leader();
    for key in [CTRL_Z, CTRL_C] {
        outer.answer("fg");
        outer.until("a job in the foreground", |terminal| terminal.foreground() != shell);
        outer.key(key);
        if key == CTRL_Z {
            outer.expect("Stopped");
            outer.line("bg");
            outer.expect("outer> ");
        }
    }
    outer.code(130);
    outer.end();
}

#[test]
fn a_job_that_lost_its_shell_does_not_ask_for_ever() {
    if !have("a_job_that_lost_its_shell_does_not_ask_for_ever", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut outer = Terminal::bash();
    // The shell between ends at once; nobody could continue what it leaves.
    outer.line(&format!("bash -c 'set -m; {} &'", python(&scratch, LATE)));
    outer.expect("pid=");
    let program = outer.expect(".").parse().expect("a number");
    let beget = outer.beget();
    let alone = |terminal: &Terminal| {
        let parent = entry(beget.number).and_then(|one| entry(one.parent));
        parent.is_none_or(|parent| parent.session != terminal.leader())
    };
    outer.until("without its shell", alone);
    let watched = [&entry(program).expect("it waits for us"), &beget].map(|one| Watched::new(one.clone()));
    processes::signal(program, libc::SIGUSR1);
    let limit = deadline();
    watched.iter().for_each(|one| one.wait(limit));
    outer.answer("");
    outer.code(0);
    outer.end();
}
