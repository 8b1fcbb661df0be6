//! However it ends, the outer shell has the terminal and its modes again.

use beget_tests::{Need, Scratch, skip};

use crate::processes::{self, below};
use crate::terminal::{Terminal, have, python};

/// Sets the terminal raw and waits; what follows the `raw` is its own number.
const RAW: &str = "import os, signal, tty\n\
                   tty.setraw(0)\n\
                   print('raw=%d.' % os.getpid(), flush=True)\n\
                   while True: signal.pause()\n";

#[test]
fn a_program_killed_while_raw_leaves_no_mess() {
    if !have("a_program_killed_while_raw_leaves_no_mess", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    for mut outer in [Terminal::bash(), Terminal::plain_shell()] {
        for (number, code) in [(libc::SIGKILL, 137), (libc::SIGTERM, 143), (libc::SIGHUP, 129)] {
            outer.line(&python(&scratch, RAW));
            outer.expect("raw=");
            let program: i32 = outer.expect(".").parse().expect("a number");
            assert!(outer.is_raw());
            assert_eq!(outer.foreground(), program);
            // The first is the program's; the others are sent to beget, which passes them on.
            let beget = outer.beget().number;
            let below = below(beget).iter().map(|one| one.number).collect::<Vec<_>>();
            assert!(below.len() == 2 && below[0] == program, "the program, and the nursery: {below:?}");
            processes::signal(if number == libc::SIGKILL { program } else { beget }, number);
            outer.code(code);
            assert!(outer.is_cooked());
        }
        outer.end();
    }
}

#[test]
fn a_program_whose_time_is_up_leaves_no_mess() {
    if !have("a_program_whose_time_is_up_leaves_no_mess", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut outer = Terminal::bash();
    outer.line(&python(&scratch, RAW).replace("--base", "--base --timeout 1s"));
    outer.expect("beget: limit --timeout");
    outer.code(137);
    assert!(outer.is_cooked());
    outer.end();
}

/// No shell mends anything here: a plain script has no jobs, and reads the terminal after each command.
#[test]
fn a_script_reads_on_after_every_end() {
    if !have("a_script_reads_on_after_every_end", &["python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let raw = |then: &str| format!("python3 -S -E -c \"import os, tty; tty.setraw(0); {then}\"");
    let (leaves, dies) = (raw("os._exit(4)"), raw("os.kill(os.getpid(), 9)"));
    let foreign = scratch.script("foreign", foreign_image());
    let many = "true $(seq 250000)";
    let mut ends = vec![("true", 0), (&leaves, 4), (&dies, 137), ("/no/such/program", 127), (&foreign, 126)];
    let mut script = String::new();
    if can_have_a_larger_stack() {
        // Refused by the last operation, long after the one that made the program's group the foreground one: the child has the
        // usual 8 MiB of stack, and so room for fewer arguments than the script.
        ends.push((many, 125));
        script += "ulimit -S -s 65536\n";
    } else {
        skip("a_script_reads_on_after_every_end, too many arguments", Need::Machine("a larger stack"));
    }
    for (program, _) in &ends {
        script +=
            &format!("\"$BEGET\" run --base -- {program}; echo code=$?.; read line; echo \"got-$line\"\n");
    }
    let path = scratch.file("script.sh", script);
    let mut terminal = Terminal::with(&["/bin/sh", &path]);
    let shell = terminal.leader();
    for (program, code) in ends {
        terminal.expect("code=");
        assert_eq!(terminal.expect("."), code.to_string(), "{program}: {}", terminal.transcript());
        assert!(terminal.is_cooked(), "{program}");
        assert_eq!(terminal.foreground(), shell, "{program}");
        terminal.answer("it");
        terminal.expect("got-it");
    }
    assert!(terminal.wait().success());
    terminal.nothing_left();
}

fn can_have_a_larger_stack() -> bool {
    let mut bounds = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the kernel writes a structure that lives here.
    assert_eq!(unsafe { libc::getrlimit(libc::RLIMIT_STACK, &raw mut bounds) }, 0);
    bounds.rlim_max >= 64 << 20
}

/// An ELF for no kind of machine.
fn foreign_image() -> Vec<u8> {
    let mut image = b"\x7fELF\x02\x01\x01".to_vec();
    image.resize(4096, 0);
    image
}

#[test]
fn what_cannot_be_started_leaves_the_terminal_alone() {
    if !have("what_cannot_be_started_leaves_the_terminal_alone", &["bash"]) {
        return;
    }
    let scratch = Scratch::new();
    let foreign = scratch.script("foreign", foreign_image());
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" run --base -- /no/such/program");
    outer.expect("\nbeget: program ");
    outer.code(127);
    outer.line(&format!("\"$BEGET\" run --base -- {foreign}"));
    outer.expect("\nbeget: program ");
    outer.code(126);
    assert!(outer.is_cooked());
    outer.end();
}
