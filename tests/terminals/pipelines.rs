//! `beget run` as a part of a pipeline: what it does with the terminal when it has only one end of it.

use beget_tests::Scratch;

use crate::processes::entry;
use crate::terminal::{CTRL_C, CTRL_Z, Terminal, have, python};

#[test]
fn without_a_terminal_at_its_input_a_program_has_a_session_of_its_own() {
    if !have("without_a_terminal_at_its_input_a_program_has_a_session_of_its_own", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let look = "import os, sys\n\
                word = sys.stdin.read().strip()\n\
                try: os.open('/dev/tty', os.O_RDWR); tty = 'open'\n\
                except OSError as error: tty = error.strerror\n\
                print('%s %s %s.' % (word, os.getsid(0) == os.getpid(), tty))\n";
    let mut outer = Terminal::bash();
    outer.line(&format!("echo word | {}", python(&scratch, look)));
    outer.expect("word True ");
    let tty = outer.expect(".");
    assert!(["Permission denied", "No such device or address"].contains(&tty.as_str()), "{tty}");
    outer.code(0);
    // Its keys are for the shell's job, of which only `beget` is one; it hands them on to all of the program's group.
    outer.line("echo word | \"$BEGET\" run --base --spawn -- sh -c 'cat; sleep 300; exit 1'");
    outer.expect("\nword\r\n");
    let sleep = outer.program_starts("sleep");
    outer.key(CTRL_Z);
    outer.expect("Stopped");
    outer.until("stopped", |_| entry(sleep).is_some_and(|one| one.state == 'T'));
    outer.line("fg");
    outer.until("running", |_| entry(sleep).is_some_and(|one| one.state != 'T'));
    outer.key(CTRL_C);
    outer.code(130);
    outer.end();
}

#[test]
fn output_into_a_pipe_leaves_the_input_a_terminal() {
    if !have("output_into_a_pipe_leaves_the_input_a_terminal", &["bash"]) {
        return;
    }
    for mut outer in [Terminal::bash(), Terminal::editing_bash(), Terminal::plain_shell()] {
        outer.line("\"$BEGET\" run --base -- sh -c 'read line; echo \"got-$line\"' | cat");
        // It asks for the terminal when it reads, and gets it without a stop that anybody sees. Some shells put the whole job
        // in the foreground once more when they start its last member; who reads already goes on reading.
        outer.answer("it");
        outer.expect("\ngot-it\r\n");
        outer.code(0);
        assert!(!outer.transcript().contains("Stopped"), "{}", outer.transcript());
        outer.end();
    }
}

#[test]
fn a_pager_behind_it_may_use_the_terminal() {
    if !have("a_pager_behind_it_may_use_the_terminal", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line(
        "\"$BEGET\" run --base -- sh -c 'echo page; exec sleep 300' | \
         sh -c 'read page; echo \"show-$page\"; read key < /dev/tty; echo \"key-$key\"; \
         read key < /dev/tty; echo \"key-$key\"; read page'",
    );
    outer.expect("\nshow-page\r\n");
    outer.answer("down");
    outer.expect("\nkey-down\r\n");
    assert!(!outer.transcript().contains("Stopped"), "{}", outer.transcript());
    // Stopped as one job, and interrupted as one.
    outer.key(CTRL_Z);
    outer.expect("Stopped");
    outer.line("fg");
    let shell = outer.leader();
    outer.until("the job in the foreground", |terminal| terminal.foreground() != shell);
    let job = outer.foreground();
    outer.answer("up");
    outer.expect("\nkey-up\r\n");
    assert_eq!(outer.foreground(), job, "the pager keeps the terminal");
    outer.key(CTRL_C);
    outer.code(130);
    outer.end();
}
