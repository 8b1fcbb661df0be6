//! `--pty`: the program has a terminal of its own, and the person's is only what its keys come from and its output goes to.

use beget_tests::Scratch;

use crate::processes::{self, below, entry};
use crate::terminal::{CTRL_C, CTRL_D, CTRL_Z, Terminal, have};

/// Its prompt is written so that the line that asks for it does not hold it.
const BASH: &str = "\"$BEGET\" run --pty --base --spawn --env TERM=dumb --env PS1='in\\076 ' -- bash --norc --noprofile --noediting -i";

/// The words that run a Python script in a terminal of its own.
fn python(scratch: &Scratch, source: &str) -> String {
    crate::terminal::python(scratch, source).replace(" run ", " run --pty ")
}

/// The process below `beget` that was started as `name`, when it is there.
fn inside(outer: &mut Terminal, name: &str) -> i32 {
    outer.program_starts(name)
}

#[test]
fn a_shell_in_it_has_its_own_jobs() {
    if !have("a_shell_in_it_has_its_own_jobs", &["bash"]) {
        return;
    }
    for mut outer in [Terminal::bash(), Terminal::editing_bash(), Terminal::plain_shell()] {
        outer.line(BASH);
        let greeting = outer.expect("in> ");
        for complaint in ["no job control", "cannot set terminal", "ioctl"] {
            assert!(!greeting.contains(complaint), "{greeting}");
        }
        assert!(outer.is_raw());
        assert_eq!(outer.foreground(), outer.beget().number, "the person's terminal is not lent");
        outer.answer("echo $((6*7))");
        assert_eq!(outer.expect("\r\n42\r\n"), "echo $((6*7))", "what is typed is shown once");
        outer.expect("in> ");
        outer.answer("sleep 301");
        let sleep = inside(&mut outer, "sleep");
        outer.until("asleep", |_| entry(sleep).is_some_and(|one| one.state == 'S'));
        // The job inside stops, and only that.
        outer.key(CTRL_Z);
        outer.expect("Stopped");
        outer.expect("in> ");
        outer.answer("fg");
        outer.until("running", |_| entry(sleep).is_some_and(|one| one.state == 'S'));
        outer.key(CTRL_C);
        outer.expect("in> ");
        outer.answer("echo inner=$?");
        outer.expect("\ninner=130\r\n");
        outer.expect("in> ");
        outer.answer("exit 7");
        outer.code(7);
        outer.end();
    }
}

#[test]
fn programs_that_draw_and_ask_work_in_it() {
    if !have("programs_that_draw_and_ask_work_in_it", &["bash", "python3", "less", "vi"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" run --pty --base --env TERM=dumb -- python3 -S -q -i");
    outer.expect(">>> ");
    let python = inside(&mut outer, "python3");
    outer.until("asleep", |_| entry(python).is_some_and(|one| one.state == 'S'));
    outer.key(CTRL_C);
    outer.expect("KeyboardInterrupt");
    outer.expect(">>> ");
    outer.answer("21*21");
    outer.expect("\n441\r\n");
    outer.expect(">>> ");
    outer.key(CTRL_D);
    outer.code(0);

    let ask = "import getpass, os\n\
               word = getpass.getpass('Word: ')\n\
               print('got', len(word), os.ttyname(0) == os.ttyname(1), os.getpgrp() == os.tcgetpgrp(0))\n";
    outer.line(&self::python(&scratch, ask));
    outer.expect("Word: ");
    outer.answer("swordfish");
    outer.expect("got 9 True True\r\n");
    outer.code(0);
    assert!(!outer.transcript().contains("swordfish"));

    let text = scratch.file("text", "one\ntwo\nthree\n");
    let folder = scratch.path().display();
    for (program, leave) in [("less", "q"), ("vi -n -i NONE -u NONE", ":q!\r")] {
        outer.line(&format!(
            "\"$BEGET\" run --pty --base --read {folder} --env TERM=xterm -- {program} {text}"
        ));
        outer.expect("three");
        outer.until("asleep", |outer| {
            below(outer.beget().number)
                .iter()
                .any(|one| one.name.starts_with(&program[..2]) && one.state == 'S')
        });
        leave.bytes().for_each(|key| outer.key(key));
        outer.code(0);
        assert!(outer.is_cooked());
    }
    outer.end();
}

#[test]
fn the_window_is_followed() {
    if !have("the_window_is_followed", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let watch = "import os, signal\n\
                 signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGWINCH])\n\
                 print('size %dx%d' % tuple(os.get_terminal_size(0)), flush=True)\n\
                 signal.sigwait([signal.SIGWINCH])\n\
                 print('size %dx%d' % tuple(os.get_terminal_size(0)), flush=True)\n";
    let log = scratch.at("log");
    // With a pipe behind, the size is still that of the window.
    for pipe in ["", " | cat"] {
        let mut outer = Terminal::bash();
        let command = python(&scratch, watch).replace("--base", &format!("--base --log {log}"));
        outer.line(&(command + pipe));
        outer.expect("size 1000x24\r\n");
        outer.resize(33, 144);
        // What `cat` writes when the modes are back has one more at its end.
        outer.expect("size 144x33\r");
        outer.code(0);
        outer.end();
        let recorded = std::fs::read_to_string(&log).expect("it is there");
        let lines: Vec<serde_json::Value> =
            recorded.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
        assert_eq!((&lines[0]["width"], &lines[0]["height"]), (&1000.into(), &24.into()));
        let events: Vec<_> = lines[1..].iter().map(|line| (line[1].as_str(), line[2].as_str())).collect();
        let expected = [("o", "size 1000x24\r\n"), ("r", "144x33"), ("o", "size 144x33\r\n")];
        assert_eq!(events, expected.map(|(kind, data)| (Some(kind), Some(data))));
    }
}

/// Sets its terminal raw and waits.
const RAW: &str = "import os, signal, tty\n\
                   tty.setraw(0)\n\
                   print('raw=%d.' % os.getpid(), flush=True)\n\
                   while True: signal.pause()\n";

#[test]
fn however_it_ends_the_persons_terminal_is_as_it_was() {
    if !have("however_it_ends_the_persons_terminal_is_as_it_was", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    for mut outer in [Terminal::bash(), Terminal::plain_shell()] {
        for (number, code) in [(libc::SIGKILL, 137), (libc::SIGTERM, 143), (libc::SIGHUP, 129)] {
            outer.line(&python(&scratch, RAW));
            outer.expect("raw=");
            let program: i32 = outer.expect(".").parse().expect("a number");
            assert!(outer.is_raw());
            let beget = outer.beget().number;
            processes::signal(if number == libc::SIGKILL { program } else { beget }, number);
            outer.code(code);
            assert!(outer.is_cooked());
        }
        outer.line(&python(&scratch, RAW).replace("--base", "--base --timeout 1s"));
        outer.expect("\nbeget: limit --timeout");
        outer.code(137);
        assert!(outer.is_cooked());
        outer.line("\"$BEGET\" run --pty --base -- /no/such/program");
        outer.expect("\r\nbeget: program ");
        outer.code(127);
        assert!(outer.is_cooked());
        outer.line("\"$BEGET\" run --pty --base --output-limit 999 -- yes");
        outer
            .expect("\r\nbeget: limit --output-limit 999: the program was ended after writing 999 bytes\r\n");
        outer.code(137);
        assert!(outer.is_cooked());
        outer.end();
    }
}

/// No shell mends anything here, and each reads on after the program.
#[test]
fn a_script_reads_on_after_a_program_with_a_terminal_of_its_own() {
    if !have("a_script_reads_on_after_a_program_with_a_terminal_of_its_own", &["python3"]) {
        return;
    }
    let raw = |then: &str| format!("python3 -S -E -c \"import os, tty; tty.setraw(0); {then}\"");
    let ends = [("true".to_owned(), 0), (raw("os._exit(4)"), 4), (raw("os.kill(os.getpid(), 9)"), 137)];
    let mut script = String::new();
    for (program, _) in &ends {
        script += &format!(
            "\"$BEGET\" run --pty --base -- {program}; echo code=$?.; read line; echo \"got-$line\"\n"
        );
    }
    let scratch = Scratch::new();
    let mut terminal = Terminal::with(&["/bin/sh", &scratch.file("script.sh", script)]);
    for (program, code) in ends {
        terminal.expect("code=");
        assert_eq!(terminal.expect("."), code.to_string(), "{program}: {}", terminal.transcript());
        assert!(terminal.is_cooked(), "{program}");
        terminal.answer("it");
        terminal.expect("got-it");
    }
    assert!(terminal.wait().success());
    terminal.nothing_left();
}

#[test]
fn a_stop_asked_of_beget_is_a_stop_of_both() {
    if !have("a_stop_asked_of_beget_is_a_stop_of_both", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let keys = "import os, signal, tty\n\
                tty.setraw(0)\n\
                print('raw=%d.' % os.getpid(), end='\\r\\n', flush=True)\n\
                while True:\n    \
                    key = os.read(0, 1)\n    \
                    if key == b'q': break\n    \
                    if key == b's': os.kill(os.getpid(), signal.SIGSTOP)\n    \
                    print('key-%02x' % key[0], end='\\r\\n', flush=True)\n";
    for mut outer in [Terminal::bash(), Terminal::editing_bash(), Terminal::plain_shell()] {
        outer.line(&python(&scratch, keys));
        outer.expect("raw=");
        let program: i32 = outer.expect(".").parse().expect("a number");
        let beget = outer.beget().number;
        for who in ["beget", "the program"] {
            outer.key(CTRL_Z);
            outer.expect("key-1a");
            if who == "beget" {
                processes::signal(beget, libc::SIGTSTP);
            } else {
                outer.key(b's');
            }
            outer.expect("Stopped");
            let stopped = |number| entry(number).is_some_and(|one| one.state == 'T');
            outer.until("stopped, both", |_| stopped(program) && stopped(beget));
            outer.line("stty -a | tr ' ' '\\n' | grep -xF -e -icanon -e -echo -e -isig; echo modes=$?");
            outer.expect("\nmodes=1\r\n");
            outer.resize(if who == "beget" { 41 } else { 42 }, 1000);
            outer.line("fg");
            outer.until("raw again", Terminal::is_raw);
            outer.key(b'a');
            outer.expect("key-61");
        }
        outer.key(b'q');
        outer.code(0);
        outer.end();
    }
}

/// Stopped without being asked and put in the background by the shell, where it must not read, and in front again.
#[test]
fn it_follows_the_shell_to_the_background_and_back() {
    if !have("it_follows_the_shell_to_the_background_and_back", &["bash"]) {
        return;
    }
    for mut outer in [Terminal::bash(), Terminal::editing_bash()] {
        outer.line("\"$BEGET\" run --pty --base -- sh -c 'echo beg\"\"un; read line; echo got=$line'");
        outer.expect("begun");
        processes::signal(outer.beget().number, libc::SIGSTOP);
        outer.expect("Stopped");
        outer.line("bg; stty sane");
        outer.line("echo typed-$((3*3))");
        outer.expect("\ntyped-9\r\n");
        outer.line("fg");
        outer.until("raw", Terminal::is_raw);
        outer.answer("this");
        outer.expect("got=this\r\n");
        outer.code(0);
        outer.line("stty -a | tr ' ' '\\n' | grep -xF -e -icanon -e -echo -e -isig; echo modes=$?");
        outer.expect("\nmodes=1\r\n");
        outer.end();
    }
}

/// Nothing inside would see the keys any more.
#[test]
fn keys_reach_a_program_that_let_go_of_its_terminal() {
    if !have("keys_reach_a_program_that_let_go_of_its_terminal", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" run --pty --base -- sh -c 'echo beg\"\"un; exec 0<&- 1>&- 2>&-; exec sleep 300'");
    outer.expect("begun");
    outer.until("cooked again", Terminal::is_cooked);
    outer.key(CTRL_C);
    outer.code(130);
    // And one whose reader left, and that does not mind.
    let script = "trap \\\"\\\" HUP; echo beg\\\"\\\"un; sleep 0.3; echo more; exec sleep 300";
    outer.line(&format!("\"$BEGET\" run --pty --base --spawn -- sh -c \"{script}\" | head -n 1"));
    outer.expect("begun");
    outer.until("cooked again", Terminal::is_cooked);
    outer.key(CTRL_C);
    outer.expect("outer> ");
    outer.answer("exit 0");
    outer.wait();
    outer.nothing_left();
}

/// Without `--pty` a program whose output is recorded is a job like any other.
#[test]
fn a_recorded_program_is_a_job_of_the_persons_terminal() {
    if !have("a_recorded_program_is_a_job_of_the_persons_terminal", &["bash"]) {
        return;
    }
    let scratch = Scratch::new();
    let mut outer = Terminal::bash();
    let script = "echo bef\"\"ore; kill -STOP $$; read line; echo got-$line; exec sleep 300";
    outer.line(&format!("\"$BEGET\" run --log {} --base -- sh -c '{script}'", scratch.at("log")));
    outer.expect("before\r\n");
    outer.expect("Stopped");
    outer.line("fg");
    outer.foreground_is("sh");
    outer.answer("this");
    outer.expect("got-this\r\n");
    outer.foreground_is("sleep");
    outer.key(CTRL_C);
    outer.code(130);
    outer.end();
    let recorded = std::fs::read_to_string(scratch.at("log")).expect("it is there");
    assert!(recorded.contains("got-this\\r\\n") && !recorded.contains("\"this"), "{recorded}");
}

#[test]
fn in_the_background_it_leaves_the_persons_terminal_alone() {
    if !have("in_the_background_it_leaves_the_persons_terminal_alone", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" run --pty --base -- sh -c 'echo beg''un; read line; echo got=$line' &");
    outer.expect("begun");
    assert!(outer.is_cooked());
    outer.answer("echo typed-$((3*3))");
    outer.expect("\ntyped-9\r\n");
    outer.line("fg");
    outer.until("raw", Terminal::is_raw);
    outer.answer("this");
    outer.expect("got=this\r\n");
    outer.code(0);
    outer.end();
}

#[test]
fn the_persons_terminal_is_out_of_reach() {
    if !have("the_persons_terminal_is_out_of_reach", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    // The numbers of TIOCSTI, TIOCLINUX and TIOCSCTTY; the kernel looks at their low 32 bits only.
    let attempt = "import ctypes, fcntl, os, sys, termios, tty\n\
                   persons = sys.stdin.readline().strip()\n\
                   assert os.ttyname(0) != persons and os.stat(persons)\n\
                   assert os.readlink('/proc/self/fd/0') == os.ttyname(0)\n\
                   own = os.open('/dev/tty', os.O_RDWR)\n\
                   assert os.tcgetpgrp(own) == os.getpgrp() == os.getsid(0) == os.getpid()\n\
                   assert os.fstat(os.open(os.ttyname(0), os.O_RDWR)).st_rdev == os.fstat(0).st_rdev\n\
                   for name in [persons, '/dev/ptmx', '/dev/pts/ptmx']:\n    \
                       for flags in [os.O_RDONLY, os.O_WRONLY, os.O_RDWR]:\n        \
                           try: os.open(name, flags | os.O_NOCTTY); print('opened', name)\n        \
                           except OSError as error: assert error.errno in (13, 2), error\n\
                   libc = ctypes.CDLL(None, use_errno=True)\n\
                   call = lambda *words: libc.syscall(*map(ctypes.c_ulong, words[:3]), *words[3:])\n\
                   for file in [0, own]:\n    \
                       for number in [0x5412, 0x541c, 0x540e]:\n        \
                           for high in [0, 1 << 32]:\n            \
                               argument = ctypes.create_string_buffer(b'\\x03')\n            \
                               done = call(16, file, number | high, argument)\n            \
                               assert (done, ctypes.get_errno()) == (-1, 1), (hex(number), done)\n\
                   tty.setraw(own)\n\
                   termios.tcflow(own, termios.TCOOFF)\n\
                   termios.tcflow(own, termios.TCOON)\n\
                   termios.tcsetwinsize(own, (3, 4))\n\
                   print('re'+'fused', end='\\r\\n', flush=True)\n\
                   os.read(own, 1)\n";
    let mut outer = Terminal::bash();
    outer.line("stty size; tty");
    let size = outer.expect("/dev/");
    outer.line(&python(&scratch, attempt));
    outer.until("raw", Terminal::is_raw);
    let persons = std::fs::read_link(format!("/proc/{}/fd/0", outer.leader())).expect("the shell is ours");
    outer.answer(persons.to_str().expect("a name"));
    outer.expect("refused\r\n");
    outer.key(b'x');
    outer.code(0);
    outer.line("stty size; tty");
    let after = outer.expect("/dev/");
    assert_eq!(size.contains("24 1000"), after.contains("24 1000"), "{size} {after}");
    outer.end();
}

#[test]
fn show_tells_of_a_terminal_of_its_own() {
    if !have("show_tells_of_a_terminal_of_its_own", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" show --pty --base -- true");
    outer.expect("a session of its own, with a terminal of its own");
    outer.expect("STAYS OPEN");
    let open = outer.expect("outer> ");
    assert!(open.contains("what is drawn on it, for the program's output is shown there"), "{open}");
    assert!(!open.contains("settings") && !open.contains("typed"), "{open}");
    outer.answer("\"$BEGET\" show --pty --base -- true < /dev/null 2>/dev/null | cat");
    outer.expect("a session of its own, with a terminal of its own");
    outer.expect("STAYS OPEN");
    let open = outer.expect("outer> ");
    assert!(!open.contains("terminal"), "{open}");
    outer.answer("exit 0");
    outer.wait();
}

#[test]
fn all_of_it_ends_with_the_persons_terminal() {
    if !have("all_of_it_ends_with_the_persons_terminal", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line(BASH);
    outer.expect("in> ");
    outer.answer("sleep 300 & sleep 301");
    inside(&mut outer, "sleep");
    let begets = below(outer.beget().number);
    let watched: Vec<_> = begets.into_iter().map(processes::Watched::new).collect();
    outer.hang_up();
    let limit = crate::terminal::deadline();
    watched.iter().for_each(|one| one.wait(limit));
}
