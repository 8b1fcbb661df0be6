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
