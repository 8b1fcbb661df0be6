//! Interactive programs inside: shells, interpreters, passwords, windows that change their size.

use beget_tests::Scratch;

use crate::terminal::{CTRL_BACKSLASH, CTRL_C, CTRL_D, CTRL_Z, Terminal, have, python};

/// Its prompt is written so that the line that asks for it does not hold it.
const BASH: &str =
    "\"$BEGET\" run --base --spawn --env TERM=dumb --env PS1='in\\076 ' -- bash --norc --noprofile";

#[test]
fn a_shell_inside_has_its_own_jobs() {
    if !have("a_shell_inside_has_its_own_jobs", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line(&format!("{BASH} --noediting -i"));
    let greeting = outer.expect("in> ");
    for complaint in ["no job control", "cannot set terminal", "ioctl"] {
        assert!(!greeting.contains(complaint), "{greeting}");
    }
    outer.answer("echo $((6*7))");
    let echo = outer.expect("\r\n42\r\n");
    assert_eq!(echo, "echo $((6*7))", "what is typed is shown");

    outer.expect("in> ");
    outer.answer("sleep 300 &");
    outer.expect("[1] ");
    outer.expect("in> ");
    outer.answer("jobs");
    outer.expect("Running");
    outer.expect("in> ");
    outer.answer("kill %1; wait; sleep 301");
    outer.expect("Terminated");
    outer.foreground_is("sleep");
    // The job inside stops, and only that: its shell is there to say so.
    outer.key(CTRL_Z);
    outer.expect("Stopped");
    outer.expect("in> ");
    outer.foreground_is("bash");
    assert_ne!(outer.foreground(), outer.leader(), "the shell inside has the terminal");
    outer.answer("fg");
    outer.foreground_is("sleep");
    outer.key(CTRL_C);
    outer.expect("in> ");
    outer.answer("echo inner=$?");
    outer.expect("\ninner=130\r\n");
    outer.expect("in> ");
    outer.answer("exit 7");
    outer.code(7);
    outer.end();
}

#[test]
fn a_shell_that_edits_its_line_works_inside_another() {
    if !have("a_shell_that_edits_its_line_works_inside_another", &["bash"]) {
        return;
    }
    let mut outer = Terminal::editing_bash();
    outer.line(&format!("{BASH} -i"));
    outer.expect("in> ");
    // Backspace is a key of the line editor's.
    outer.answer("echo $((2*212))\x08\x08\x081))");
    outer.expect("\r\n422\r\n");
    outer.expect("in> ");
    outer.key(CTRL_D);
    outer.code(0);
    outer.end();
}

#[test]
fn ctrl_c_interrupts_python_and_python_goes_on() {
    if !have("ctrl_c_interrupts_python_and_python_goes_on", &["bash", "python3"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" run --base --env TERM=dumb -- python3 -S -q -i");
    outer.expect(">>> ");
    outer.answer("6*7");
    outer.expect("\n42\r\n");
    outer.expect(">>> ");
    outer.foreground_sleeps();
    outer.key(CTRL_C);
    outer.expect("KeyboardInterrupt");
    outer.expect(">>> ");
    outer.answer("import time; print('now'.upper()); time.sleep(300)");
    outer.expect("NOW");
    outer.foreground_sleeps();
    outer.key(CTRL_C);
    outer.expect("KeyboardInterrupt");
    outer.expect(">>> ");
    outer.answer("21*21");
    outer.expect("\n441\r\n");
    outer.expect(">>> ");
    outer.answer("raise SystemExit(3)");
    outer.code(3);
    outer.end();
}

#[test]
fn keys_end_a_program_that_does_not_mind_them() {
    if !have("keys_end_a_program_that_does_not_mind_them", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    for (key, code) in [(CTRL_C, 130), (CTRL_BACKSLASH, 131)] {
        outer.line("\"$BEGET\" run --base -- sleep 300");
        outer.foreground_is("sleep");
        outer.key(key);
        outer.code(code);
    }
    outer.end();
}

#[test]
fn a_password_is_asked_for_without_echo() {
    if !have("a_password_is_asked_for_without_echo", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let ask = "import getpass, sys\n\
               sys.stdin.close(); sys.stdout.close(); sys.stderr.close()\n\
               word = getpass.getpass('Word: ')\n\
               open('/dev/tty', 'w').write('got %d\\n' % len(word))\n";
    let mut outer = Terminal::bash();
    outer.line(&python(&scratch, ask));
    outer.expect("Word: ");
    outer.until("without echo", |terminal| !terminal.echoes());
    outer.answer("swordfish");
    outer.expect("got 9\r\n");
    outer.code(0);
    assert!(outer.is_cooked(), "echo is back");
    assert!(!outer.transcript().contains("swordfish"));
    outer.end();
}

#[test]
fn a_window_that_changes_its_size_is_told_of() {
    if !have("a_window_that_changes_its_size_is_told_of", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let watch = "import os, signal\n\
                 signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])\n\
                 print('size %dx%d' % tuple(os.get_terminal_size(0)), flush=True)\n\
                 signal.sigwait([signal.SIGWINCH])\n\
                 print('size %dx%d' % tuple(os.get_terminal_size(0)), flush=True)\n";
    // In the terminal's foreground, and, with a pipe behind, in its background beside one who is in front.
    for pipe in ["", " | cat"] {
        let mut outer = Terminal::bash();
        outer.line(&(python(&scratch, watch) + pipe));
        outer.expect("size 1000x24\r\n");
        outer.resize(33, 144);
        outer.expect("size 144x33\r\n");
        outer.code(0);
        outer.end();
    }
}
