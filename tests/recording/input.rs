//! What is typed at a terminal of the program's own when nobody sits there: standard input, and its end.

use crate::{fed, ran, told};

#[test]
fn without_a_terminal_outside_there_is_one_inside() {
    let script = "test -t 0 && test -t 1 && test -t 2 && tty < /dev/tty && stty size";
    let words = ["--pty", "--spawn", "--", "sh", "-c", script];
    assert_eq!(ran(&words), (Some(0), "/dev/tty\r\n24 80\r\n".into(), String::new()));
}

#[test]
fn the_end_of_input_is_typed_once() {
    for (input, count) in [(&b""[..], 0), (b"one\n", 4), (b"one\ntwo", 7), (b"\n", 1), (b"unended", 7)] {
        let output = fed(&["--pty", "--", "wc", "-c"], input);
        assert_eq!(told(&output), (Some(0), format!("{count}\r\n"), String::new()), "{input:?}");
    }
}

#[test]
fn what_is_fed_is_not_shown_and_arrives_whole() {
    // More than any buffer on the way.
    let lines: String = (0..60_000).map(|number| format!("line {number}\n")).collect();
    let output = fed(&["--pty", "--spawn", "--", "sh", "-c", "stty -opost; exec cat"], lines.as_bytes());
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stdout == lines.as_bytes(), "{} bytes of {}", output.stdout.len(), lines.len());
}

#[test]
fn keys_in_the_input_do_what_keys_do() {
    let output = fed(&["--pty", "--", "sleep", "300"], b"\x03");
    assert_eq!(told(&output), (Some(130), String::new(), String::new()));
}

/// Input that nobody reads keeps nobody from ending.
#[test]
fn a_program_that_reads_nothing_ends_all_the_same() {
    let endless = vec![b'x'; 4 << 20];
    let output = fed(&["--pty", "--spawn", "--", "sh", "-c", "sleep 0.2; echo done"], &endless);
    assert_eq!(told(&output), (Some(0), "done\r\n".into(), String::new()));
    // And not from being ended.
    let output = fed(&["--pty", "--timeout", "300ms", "--", "sleep", "300"], &endless);
    assert_eq!(output.status.code(), Some(137));
}

/// One that lets go of its terminal and takes it up again by its name.
#[test]
fn a_terminal_that_was_let_go_can_be_opened_again() {
    let script = "name=$(tty); echo before; exec 0<&- 1>&- 2>&-; sleep 0.3; echo after > $name; sleep 0.2";
    let (code, out, errors) = ran(&["--pty", "--spawn", "--", "sh", "-c", script]);
    assert_eq!((code, out.as_str()), (Some(0), "before\r\nafter\r\n"), "{errors}");
}

/// By the links of `/proc`, so by the system's own word.
#[test]
fn the_program_holds_the_slave_and_nothing_else() {
    let list = "import os\nnames = sorted(int(name) for name in os.listdir('/proc/self/fd'))\n\
                for name in names:\n    \
                    try: print(name, os.readlink('/proc/self/fd/%d' % name))\n    \
                    except OSError: pass\n";
    let (code, out, errors) = ran(&["--pty", "--read", "/proc", "--", "python3", "-S", "-E", "-c", list]);
    let lines: Vec<&str> = out.lines().collect();
    assert_eq!((code, lines.len()), (Some(0), 3), "{out}{errors}");
    let terminal = lines[0].strip_prefix("0 ").expect("standard input");
    assert!(terminal.starts_with("/dev/pts/"), "{out}");
    assert_eq!(lines[1..], [format!("1 {terminal}"), format!("2 {terminal}")]);
}

/// A terminal is made from a device, and that was not granted.
#[test]
fn inside_another_it_says_what_it_lacks() {
    let beget = beget_tests::program("beget-under-test").display().to_string();
    let inner = [beget.as_str(), "run", "--base", "--pty", "--", "true"];
    let (code, out, errors) =
        ran(&[&["--exec", &beget, "--spawn", "--read", "/proc", "--"], &inner[..]].concat());
    let said = "beget: pseudo-terminal /dev/ptmx: permission denied\n";
    assert_eq!((code, out.as_str(), errors.as_str()), (Some(125), "", said));
}
