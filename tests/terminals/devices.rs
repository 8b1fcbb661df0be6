//! The terminal is granted, and what it could do to those outside is not.

use beget_tests::Scratch;

use crate::terminal::{Terminal, have, python};

#[test]
fn nothing_can_be_typed_from_inside() {
    if !have("nothing_can_be_typed_from_inside", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    // The numbers of TIOCSTI, TIOCLINUX and TIOCSCTTY; the kernel looks at their low 32 bits only.
    let attempt = "import ctypes, os\n\
                   libc = ctypes.CDLL(None, use_errno=True)\n\
                   call = lambda *words: libc.syscall(*map(ctypes.c_ulong, words[:3]), *words[3:])\n\
                   paste = ctypes.create_string_buffer(b'\\x03')\n\
                   for file in [0, os.open('/dev/tty', os.O_RDWR)]:\n    \
                       for number in [0x5412, 0x541c, 0x540e]:\n        \
                           for high in [0, 1 << 32]:\n            \
                               for byte in (b'echo typ' + b'ed-$((3*3))\\n'):\n                \
                                   letter = ctypes.create_string_buffer(bytes([byte]))\n                \
                                   argument = paste if number == 0x541c else letter if number == 0x5412 else None\n                \
                                   done = call(16, file, number | high, argument)\n                \
                                   assert (done, ctypes.get_errno()) == (-1, 1), (hex(number), done, ctypes.get_errno())\n\
                   print('re'+'fused')\n";
    let mut outer = Terminal::bash();
    outer.line(&python(&scratch, attempt));
    outer.expect("refused\r\n");
    outer.code(0);
    outer.line("echo $((4*4))-after");
    outer.expect("\n16-after\r\n");
    assert!(!outer.transcript().contains("typed-"), "{}", outer.transcript());
    outer.end();
}

#[test]
fn show_tells_of_the_terminal() {
    if !have("show_tells_of_the_terminal", &["bash"]) {
        return;
    }
    let mut outer = Terminal::bash();
    outer.line("\"$BEGET\" show --base -- true");
    outer.expect("in the terminal's foreground");
    outer.expect("/dev/tty");
    outer.expect("STAYS OPEN");
    outer.expect("terminal");
    outer.code(0);
    outer.line("\"$BEGET\" show --base -- true &");
    outer.expect("in the terminal's background");
    outer.expect("STAYS OPEN");
    outer.answer("wait");
    outer.line("\"$BEGET\" show --base -- true < /dev/null");
    outer.expect("a session of its own, without a terminal");
    outer.code(0);
    outer.end();
}

/// With standard input from elsewhere the program has a session of its own, which nothing stops from reading a terminal: so it
/// holds the terminal only to write.
#[test]
fn what_is_typed_is_not_read_through_an_output() {
    if !have("what_is_typed_is_not_read_through_an_output", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let attempt = "import os\n\
                   for file in [1, 2]:\n    \
                       try: os.read(file, 1); print('st'+'olen')\n    \
                       except OSError as error: print('err'+'or', error.errno)\n\
                   print('do'+'ne')\n";
    let command = python(&scratch, attempt);
    let mut outer = Terminal::bash();
    for from in [format!("{command} < /dev/null"), format!("echo data | {command}")] {
        outer.line(&from);
        // EBADF: open, and not for reading.
        outer.expect("error 9\r\nerror 9\r\ndone\r\n");
        outer.code(0);
    }
    outer.line("\"$BEGET\" show --base -- true < /dev/null");
    outer.expect("the terminal, only to write");
    outer.expect("STAYS OPEN");
    outer.expect("the terminal: what is drawn on it, and its settings");
    outer.code(0);
    assert!(!outer.transcript().contains("stolen"), "{}", outer.transcript());
    outer.end();
}

/// The kernel signals whole groups on a terminal's behalf: a program that starts no others joins none and puts none in front.
#[test]
fn no_other_job_is_joined_or_put_in_front() {
    if !have("no_other_job_is_joined_or_put_in_front", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let attempt = "import os\n\
                   outer = os.getpgid(os.getppid())\n\
                   for f in [lambda: os.setpgid(0, outer), lambda: os.tcsetpgrp(0, outer)]:\n    \
                       try: f(); print('jo'+'ined')\n    \
                       except OSError as error: print('err'+'or', error.errno)\n\
                   print('do'+'ne')\n";
    let mut outer = Terminal::bash();
    outer.line(&python(&scratch, attempt));
    outer.expect("error 1\r\nerror 1\r\ndone\r\n");
    outer.code(0);
    outer.end();
}

/// Output stopped by call is started by no key; a terminal taken for oneself is opened by nobody else.
#[test]
fn the_terminal_is_left_usable() {
    if !have("the_terminal_is_left_usable", &["bash", "python3"]) {
        return;
    }
    let scratch = Scratch::new();
    let attempt = "import fcntl, os, termios\n\
                   try: fcntl.ioctl(0, termios.TIOCEXCL)\n\
                   except OSError as error: print('err'+'or', error.errno, flush=True)\n\
                   os.set_blocking(1, False)\n\
                   termios.tcflow(0, termios.TCOOFF)\n";
    let mut outer = Terminal::bash();
    outer.line(&python(&scratch, attempt));
    outer.expect("error 1\r\n");
    outer.line("echo $((4*4))-after");
    outer.expect("\n16-after\r\n");
    outer.end();
}
