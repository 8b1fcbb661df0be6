//! The terminal goes away: everything on it ends.

use beget_tests::Scratch;

use crate::terminal::{CTRL_Z, Terminal, have, python};

#[test]
fn a_shell_inside_and_its_jobs_end_with_the_terminal() {
    if !have("a_shell_inside_and_its_jobs_end_with_the_terminal", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer
        .line("\"$BEGET\" run --base --spawn --env PS1='in\\076 ' -- bash --norc --noprofile --noediting -i");
    outer.expect("in> ");
    outer.answer("sleep 300 & sleep 301");
    outer.foreground_is("sleep");
    outer.hang_up();
}

#[test]
fn a_stopped_job_ends_with_the_terminal() {
    if !have("a_stopped_job_ends_with_the_terminal", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" run --base -- sleep 300");
    outer.foreground_is("sleep");
    outer.key(CTRL_Z);
    outer.expect("Stopped");
    outer.hang_up();
}

#[test]
fn a_program_of_a_session_leader_ends_with_the_terminal() {
    let beget = beget_tests::program("beget-under-test");
    let words = [beget.to_str().expect("text"), "run", "--base", "--", "sleep", "300"];
    let mut terminal = Terminal::with(&words);
    terminal.foreground_is("sleep");
    terminal.hang_up();
}

#[test]
fn a_program_that_minds_no_hangup_sees_the_end_of_its_input() {
    if !have("a_program_that_minds_no_hangup_sees_the_end_of_its_input", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let stay = "import os, signal\n\
                signal.signal(signal.SIGHUP, signal.SIG_IGN)\n\
                print('re'+'ady', flush=True)\n\
                try:\n    \
                    while os.read(0, 1): pass\n\
                except OSError: pass\n";
    let mut outer = Terminal::bash();
    outer.line(&python(&scratch, stay));
    outer.expect("ready");
    outer.hang_up();
}
