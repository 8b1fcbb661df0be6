//! `beget top`, as a person uses it: what is shown, what keys do, and that the terminal is as it was afterwards.

use std::process::Stdio;

use beget_tests::{Scratch, beget, finish, text};

use crate::terminal::{CTRL_C, CTRL_Z, Terminal, have};

/// A service with domains, which ends with this.
struct Served(Scratch);

impl Served {
    fn start(names: &[&str]) -> Served {
        let served = Served(Scratch::new());
        for name in names {
            let output = finish(
                beget()
                    .args(["spawn", "--socket", &served.socket(), name, "--base", "--", "sleep", "1000"])
                    .stdin(Stdio::null()),
            );
            assert!(output.status.success(), "{}", text(&output.stderr));
        }
        served
    }

    fn socket(&self) -> String {
        self.0.at("s")
    }

    fn lives(&self, name: &str) -> bool {
        let output = finish(beget().args(["ps", "--json", "--socket", &self.socket()]).stdin(Stdio::null()));
        text(&output.stdout).contains(&format!("\"name\": \"{name}\""))
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = beget().args(["serve", "--stop", "--socket", &self.socket()]).stdin(Stdio::null()).status();
    }
}

const ENTER: &str = "\x1b[?1049h";
const LEAVE: &str = "\x1b[?1049l";

/// The modes of the terminal, as `stty` has them.
fn modes(terminal: &mut Terminal) -> String {
    terminal.line("stty -g; echo do''ne");
    terminal.expect("stty -g");
    terminal.expect("\n");
    terminal.expect("done")
}

#[test]
fn keys_move_filter_and_end_and_the_terminal_is_given_back() {
    if !have("keys_move_filter_and_end_and_the_terminal_is_given_back", &["stty", "bash"]) {
        return;
    }
    let served = Served::start(&["alpha", "beta", "gamma"]);
    let mut terminal = Terminal::bash();
    let before = modes(&mut terminal);
    terminal.line(&format!("\"$BEGET\" top --socket {}", served.socket()));
    terminal.expect(ENTER);
    terminal.expect("3 domains");
    terminal.expect("\x1b[7malpha");
    terminal.key(b'j');
    terminal.expect("\x1b[7mbeta");
    terminal.key(b'?');
    terminal.expect("any key goes back");
    terminal.key(b'x');
    terminal.key(b'K');
    terminal.expect("end beta and all that it left?");
    terminal.key(b'n');
    terminal.expect("nothing was ended");
    assert!(served.lives("beta"));
    terminal.key(b'K');
    terminal.expect("end beta");
    terminal.key(b'y');
    terminal.expect("beta has ended");
    assert!(!served.lives("beta") && served.lives("alpha") && served.lives("gamma"));
    terminal.key(b'/');
    terminal.answer("gam");
    terminal.expect("\x1b[7mgamma");
    terminal.key(b'q');
    terminal.expect(LEAVE);
    assert_eq!(modes(&mut terminal), before);
}

#[test]
fn every_way_out_gives_the_terminal_back() {
    if !have("every_way_out_gives_the_terminal_back", &["stty", "bash"]) {
        return;
    }
    let served = Served::start(&["alpha"]);
    let mut terminal = Terminal::bash();
    let before = modes(&mut terminal);
    let start = format!("\"$BEGET\" top --socket {}", served.socket());
    // A key that interrupts; one that stops, and goes on; a signal from outside.
    terminal.line(&start);
    terminal.expect("alpha");
    terminal.key(CTRL_C);
    terminal.expect(LEAVE);
    assert_eq!(modes(&mut terminal), before);
    terminal.line(&start);
    terminal.expect("alpha");
    terminal.key(CTRL_Z);
    terminal.expect(LEAVE);
    assert_eq!(modes(&mut terminal), before);
    terminal.line("fg");
    terminal.expect(ENTER);
    terminal.expect("alpha");
    let top = terminal.foreground();
    // SAFETY: sends a signal to a process of this test's session.
    assert_eq!(unsafe { libc::kill(top, libc::SIGTERM) }, 0);
    terminal.expect(LEAVE);
    assert_eq!(modes(&mut terminal), before);
}

#[test]
fn a_narrow_terminal_is_enough_and_may_change() {
    if !have("a_narrow_terminal_is_enough_and_may_change", &["stty", "bash"]) {
        return;
    }
    let served = Served::start(&["a-name-that-is-rather-long-for-a-narrow-terminal"]);
    let mut terminal = Terminal::bash();
    terminal.line("stty cols 40 rows 10");
    terminal.line(&format!("\"$BEGET\" top --socket {}", served.socket()));
    terminal.expect("a-name-that-is-…");
    assert!(!terminal.transcript().contains("/usr/bin/sleep"));
    terminal.resize(20, 100);
    terminal.expect("sleep");
    terminal.key(b'q');
    terminal.expect(LEAVE);
}

#[test]
fn without_a_terminal_it_says_so() {
    let served = Served::start(&["alpha"]);
    let output = finish(beget().args(["top", "--socket", &served.socket()]).stdin(Stdio::null()));
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("must be a terminal"), "{}", text(&output.stderr));
}
