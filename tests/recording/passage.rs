//! Output on its way: whole, in order, held back when nobody reads, and never in the way of an end.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Stdio;
use std::time::Duration;

use beget_tests::{Scratch, beget, finish, mark, marked, text};

use crate::{ran, run, told};

/// What the output passes by.
const WAYS: [&[&str]; 3] = [&["--pty"], &["--output-limit", "1G"], &["--log", "LOG"]];

/// These words with a log in `scratch` where one is named.
fn way(words: &[&str], scratch: &Scratch) -> Vec<String> {
    let place = |word: &&str| if *word == "LOG" { scratch.at("log") } else { (*word).to_owned() };
    words.iter().map(place).collect()
}

fn by(way: &[String], words: &[&str]) -> std::process::Command {
    let way: Vec<&str> = way.iter().map(String::as_str).collect();
    run(&[&way[..], words].concat())
}

/// Asks it to end.
fn end(child: &std::process::Child) {
    // SAFETY: sends a signal to a child of ours that nobody waited for.
    unsafe { libc::kill(child.id().cast_signed(), libc::SIGTERM) };
}

/// A hundred mebibytes of numbers that do not repeat.
#[test]
fn much_output_arrives_unharmed() {
    let scratch = Scratch::new();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let next = |_| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    let bytes: Vec<u8> = (0..100 << 20).map(next).collect();
    let file = scratch.file("bytes", &bytes);
    for words in WAYS {
        // A terminal would make two bytes of each line's end.
        let script = "if test -t 1; then stty -opost; fi; exec cat \"$0\"";
        let words = if words[0] == "--log" { &["--output-limit", "101M"] } else { words };
        let mut command =
            by(&way(words, &scratch), &["--spawn", "--read", &file, "--", "sh", "-c", script, &file]);
        let output = finish(&mut command);
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert!(output.stdout == bytes, "{words:?}: {} bytes", output.stdout.len());
    }
}

#[test]
fn streams_stay_apart_and_the_last_words_arrive() {
    let scratch = Scratch::new();
    let script = "seq 1 30000; echo error >&2; (sleep 300 &) ; echo last; exit 5";
    for words in &WAYS[1..] {
        let output = finish(&mut by(&way(words, &scratch), &["--spawn", "--", "sh", "-c", script]));
        let (code, out, errors) = told(&output);
        assert_eq!((code, out.lines().count(), errors.as_str()), (Some(5), 30_001, "error\n"));
        assert!(out.ends_with("30000\nlast\n"));
    }
    let (code, out, errors) = ran(&["--pty", "--spawn", "--", "sh", "-c", script]);
    assert_eq!((code, out.lines().count(), errors.as_str()), (Some(5), 30_002, ""));
    assert!(out.ends_with("30000\r\nerror\r\nlast\r\n"), "{:?}", &out[out.len() - 40..]);
}

/// A reader that waits makes the program wait; nothing piles up between, and nothing is lost.
#[test]
fn a_reader_that_waits_makes_the_program_wait() {
    let scratch = Scratch::new();
    for words in WAYS {
        let (mut reading, writing) = std::io::pipe().expect("a pipe");
        let counter = scratch.file("counter", "");
        // It writes how far it came, where nobody holds it back.
        let script = "import os, sys\n\
                      progress = open(sys.argv[1], 'w')\n\
                      for number in range(3000):\n    \
                          os.write(1, b'x' * 999 + b'\\n')\n    \
                          progress.seek(0); progress.write(str(number)); progress.flush()\n";
        let folder = scratch.path().to_str().expect("text");
        let program = ["--write", folder, "--", "python3", "-S", "-E", "-c", script, &counter];
        let mut command = by(&way(words, &scratch), &program);
        let mut child = command.stdout(writing).spawn().expect("beget can be started");
        drop(command);
        let written = || std::fs::read_to_string(&counter).expect("ours").parse().unwrap_or(0u64);
        let mut last = 0;
        loop {
            std::thread::sleep(Duration::from_millis(300));
            let now = written();
            if now > 0 && now == last {
                break;
            }
            last = now;
        }
        assert!(last < 600, "{last} kilobytes are on their way: {words:?}");
        let mut all = Vec::new();
        reading.read_to_end(&mut all).expect("a pipe of ours");
        let lines = if words[0] == "--pty" { 1001 } else { 1000 };
        assert_eq!(all.len(), 3000 * lines, "{words:?}");
        assert!(child.wait().expect("our own child").success());
    }
}

/// Nobody reads, and time is up: everything ends, whatever our standard output is.
#[test]
fn a_reader_that_does_not_read_keeps_nobody_from_ending() {
    let scratch = Scratch::new();
    let pipe = || {
        let (reading, writing) = std::io::pipe().expect("a pipe");
        (OwnedFd::from(reading), OwnedFd::from(writing))
    };
    let socket = || {
        let (a, b) = std::os::unix::net::UnixStream::pair().expect("a pair");
        (OwnedFd::from(a), OwnedFd::from(b))
    };
    let mut started = Vec::new();
    for words in WAYS {
        for (held, given) in [pipe(), socket()] {
            let mark = mark();
            let script = format!("exec yes {mark}");
            let program = ["--timeout", "3s", "--", "sh", "-c", &script];
            let mut command = by(&way(words, &scratch), &program);
            command.stdout(given).stderr(Stdio::piped());
            started.push((command.spawn().expect("beget can be started"), mark, held));
        }
    }
    for (child, mark, _held) in started {
        let output = child.wait_with_output().expect("our own child");
        let errors = text(&output.stderr);
        assert_eq!(output.status.code(), Some(137), "{errors}");
        assert!(errors.contains("beget: limit --timeout: the program was ended after "), "{errors}");
        assert!(errors.contains("beget: standard output: nobody read the last"), "{errors}");
        assert!(marked(&mark).is_empty());
    }
}

/// Nobody reads, and one signal asks for the end: it is passed on, and heeded by us too.
#[test]
fn one_signal_ends_what_nobody_reads() {
    let scratch = Scratch::new();
    for words in WAYS {
        let (mut held, writing) = std::io::pipe().expect("a pipe");
        let mark = mark();
        let program = ["--", "sh", "-c", &format!("exec yes {mark}")];
        let mut command = by(&way(words, &scratch), &program);
        command.stdout(writing).stderr(Stdio::piped());
        let child = command.spawn().expect("beget can be started");
        drop(command);
        held.read_exact(&mut [0; 2]).expect("it writes");
        end(&child);
        let output = child.wait_with_output().expect("our own child");
        assert_eq!(output.status.code(), Some(143), "{words:?}: {}", text(&output.stderr));
        assert!(marked(&mark).is_empty());
    }
}

/// A terminal that nobody reads takes no message of ours; then signals act on us as on everybody.
#[test]
fn a_message_that_nobody_reads_keeps_nobody_from_ending() {
    use std::os::unix::process::ExitStatusExt;
    let (held, given) = std::io::pipe().expect("a pipe");
    // SAFETY: asks for the room in a pipe, in bytes.
    let room = unsafe { libc::fcntl(given.as_raw_fd(), libc::F_GETPIPE_SZ) };
    let all = vec![b'x'; room.try_into().expect("a number of bytes")];
    given.try_clone().expect("a pipe").write_all(&all).expect("there is room");
    let mut command = by(&[], &["--timeout", "10ms", "--", "sleep", "77"]);
    command.stdout(Stdio::null()).stderr(given);
    let mut child = command.spawn().expect("beget can be started");
    // It has ended its child and is in a `write`.
    let call = format!("/proc/{}/syscall", child.id());
    while !std::fs::read_to_string(&call).expect("we may look").starts_with("1 0x2 ") {
        std::thread::yield_now();
    }
    end(&child);
    assert_eq!(child.wait().expect("our own child").signal(), Some(15));
    drop(held);
}

/// A reader that leaves ends the program, as it would without us.
#[test]
fn a_reader_that_leaves_ends_the_program() {
    let scratch = Scratch::new();
    for (words, code) in WAYS.into_iter().zip([129, 141, 141]) {
        let (mut reading, writing) = std::io::pipe().expect("a pipe");
        let mut command = by(&way(words, &scratch), &["--", "yes"]);
        command.stdout(writing).stderr(Stdio::piped());
        let child = command.spawn().expect("beget can be started");
        drop(command);
        reading.read_exact(&mut [0; 2]).expect("it writes");
        drop(reading);
        let output = child.wait_with_output().expect("our own child");
        assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(code), ""), "{words:?}");
    }
}

#[test]
fn a_stream_that_takes_nothing_is_told_of() {
    let scratch = Scratch::new();
    for words in WAYS {
        let mut command = by(&way(words, &scratch), &["--", "yes"]);
        let full = OpenOptions::new().write(true).open("/dev/full").expect("/dev/full");
        let output = command
            .stdout(full)
            .stderr(Stdio::piped())
            .spawn()
            .expect("started")
            .wait_with_output()
            .expect("ours");
        assert_eq!(text(&output.stderr), "beget: standard output: no space left on device\n", "{words:?}");
        assert!(!output.status.success());
    }
}

/// Our streams are shared with whoever started us: their flags are as they were, while the program runs too.
#[test]
fn the_flags_of_our_streams_are_not_touched() {
    use std::os::fd::AsRawFd;
    for words in [&["--pty"][..], &["--output-limit", "1G"]] {
        let (input, mut feed) = std::io::pipe().expect("a pipe");
        let (mut reading, output) = std::io::pipe().expect("a pipe");
        // SAFETY: asks for the flags of descriptors that are open here.
        let flags = |file: i32| unsafe { libc::fcntl(file, libc::F_GETFL) };
        let before = [flags(input.as_raw_fd()), flags(output.as_raw_fd())];
        let mut command = beget();
        command.args(["run", "--base"]).args(words).args(["--", "sh", "-c", "echo ready; read line"]);
        command.stdin(input.try_clone().expect("ours")).stdout(output.try_clone().expect("ours"));
        let mut child = command.spawn().expect("beget can be started");
        drop(command);
        reading.read_exact(&mut [0; 6]).expect("it writes");
        assert_eq!([flags(input.as_raw_fd()), flags(output.as_raw_fd())], before);
        feed.write_all(b"line\n").expect("it reads");
        assert!(child.wait().expect("our own child").success());
        assert_eq!([flags(input.as_raw_fd()), flags(output.as_raw_fd())], before);
    }
}
