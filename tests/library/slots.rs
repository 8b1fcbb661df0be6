//! Descriptors by name and by number.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use beget::{Command, Fault, Stdio};
use beget_tests::{Scratch, in_own_process};

use crate::{below, end, probe, said};

/// The reading end of a pipe that holds `text` and nothing more.
fn holding(text: &str) -> OwnedFd {
    let (reading, mut writing) = std::io::pipe().expect("a pipe");
    writing.write_all(text.as_bytes()).expect("it holds more");
    reading.into()
}

#[test]
fn named_slots_follow_the_listen_convention() {
    let (mut reading, writing) = std::io::pipe().expect("a pipe");
    let mut command = probe(&["report=3"]);
    command
        .slot("report", writing)
        .slot("second one", holding(""))
        .fd(5, holding(""))
        .slot("third", holding(""));
    command.env("ZZ", "last");
    let process = command.spawn().expect("spawn");
    drop(command);
    let mut bytes = Vec::new();
    reading.read_to_end(&mut bytes).expect("a pipe of ours");
    assert!(end(&process).status.success());
    let report = beget_tests::report(&bytes);
    let numbers: Vec<&str> = below(&report, "fd.").iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, ["3", "4", "5", "6"]);
    let mut variables: Vec<&str> = below(&report, "env.").iter().map(|(_, value)| *value).collect();
    variables.sort_unstable();
    let own = format!("LISTEN_PID={}", process.id());
    assert_eq!(
        variables,
        ["LISTEN_FDNAMES=report:second one:unknown:third", "LISTEN_FDS=4", own.as_str(), "ZZ=last"]
    );
}

#[test]
fn a_slot_holds_what_was_put_there() {
    let mut command = probe(&["fd", "5", "3", "40", "4"]);
    command
        .slot("a", holding("a"))
        .fd(40, holding("forty "))
        .slot("b", holding("b "))
        .fd(5, holding("five "));
    assert_eq!(said(&mut command), "five aforty b ");
}

#[test]
fn one_file_may_lie_in_several_slots() {
    let scratch = Scratch::new();
    let file = File::open(scratch.file("file", "contents")).expect("our own");
    let copy = || file.try_clone().expect("a descriptor");
    let mut command = probe(&["fd", "3", "7"]);
    // They share their offset, as copies do: the second read finds the end.
    command.slot("one", copy()).fd(7, copy()).stdin(copy());
    assert_eq!(said(&mut command), "contents");
}

#[test]
fn a_variable_of_the_convention_is_there_once() {
    let mut command = probe(&[]);
    command
        .slot("name", holding(""))
        .env("LISTEN_FDS", "9")
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDNAMES", "x");
    // Refusing would be as good; two answers to one question are not.
    let Ok(output) = command.output() else { return };
    let report = beget_tests::report(&output.stdout);
    let of = |name: &str| below(&report, "env.").iter().filter(|(_, value)| value.starts_with(name)).count();
    assert_eq!([of("LISTEN_FDS="), of("LISTEN_PID="), of("LISTEN_FDNAMES=")], [1, 1, 1], "{report:?}");
    let value = |name: &str| below(&report, "env.").iter().any(|(_, value)| *value == name);
    assert!(value("LISTEN_FDS=1") && value("LISTEN_FDNAMES=name") && !value("LISTEN_PID=1"), "{report:?}");
}

/// A descriptor at exactly this number, which must be free.
fn at(number: i32, file: OwnedFd) -> OwnedFd {
    // SAFETY: numbers only.
    assert_eq!(unsafe { libc::fcntl(number, libc::F_GETFD) }, -1, "{number} is free");
    // SAFETY: the number was free, so the descriptor made there is nobody else's.
    unsafe {
        assert_eq!(libc::dup3(file.as_raw_fd(), number, libc::O_CLOEXEC), number);
        OwnedFd::from_raw_fd(number)
    }
}

/// Puts a pipe from number `source` into slot `target` for each pair, and looks from inside what lies in each slot.
fn placed(pairs: &[(i32, i32)]) {
    let mut words = vec!["fd".to_owned()];
    let mut expected = String::new();
    let mut command = Command::new(beget_tests::program("probe"));
    for (source, target) in pairs {
        let text = format!("from {source} to {target}\n");
        command.fd(*target, at(*source, holding(&text)));
        words.push(target.to_string());
        expected += &text;
    }
    command.args(&words);
    assert_eq!(said(&mut command), expected, "{pairs:?}");
}

#[test]
fn numbers_may_collide_with_each_others_sources() {
    in_own_process("slots::numbers_may_collide_with_each_others_sources", || {
        placed(&[(100, 101), (101, 100)]);
        placed(&[(100, 101), (101, 102), (102, 103), (103, 100)]);
        placed(&[(103, 100), (102, 103), (101, 102), (100, 101)]);
        // In its place already.
        placed(&[(100, 100), (101, 101)]);
        placed(&[(100, 100), (101, 102), (102, 101)]);
        // Where the plan's own helpers would go, and where it moves them to.
        placed(&[(103, 3), (104, 4), (105, 5), (106, 6)]);
        placed(&[(50, 51), (51, 52), (52, 53), (53, 54), (54, 3), (55, 50), (56, 4)]);
        placed(&[(60, 59), (59, 60), (61, 61)]);
        for rotation in 1..6 {
            let pairs: Vec<(i32, i32)> = (0..6).map(|i| (70 + i, 70 + (i + rotation) % 6)).collect();
            placed(&pairs);
        }
    });
}

#[test]
fn a_stream_may_come_from_a_number_that_is_a_slot() {
    in_own_process("slots::a_stream_may_come_from_a_number_that_is_a_slot", || {
        let mut command = probe(&["fd", "0", "100", "101"]);
        command.stdin(Stdio::from(at(100, holding("input "))));
        command.fd(100, at(101, holding("hundred "))).fd(101, at(102, holding("and one")));
        assert_eq!(said(&mut command), "input hundred and one");
    });
}

#[test]
fn slots_that_cannot_be_are_refused() {
    let taken = |command: &mut Command| command.spawn().expect_err("it cannot be");
    for command in [
        probe(&[]).slot("twice", holding("")).slot("twice", holding("")),
        probe(&[]).slot("", holding("")),
        probe(&[]).slot("a:b", holding("")),
        probe(&[]).slot("a\nb", holding("")),
        probe(&[]).slot("n".repeat(256), holding("")),
        probe(&[]).stdout(Stdio::null()).fd(1, holding("")),
        probe(&[]).fd(-1, holding("")),
        probe(&[]).fd(i32::MAX, holding("")),
        probe(&[]).fd(1 << 30, holding("")),
    ] {
        let error = taken(command);
        assert_eq!((error.fault(), error.exit_code()), (Fault::Caller, 125), "{error}");
        assert!(error.part().starts_with("slot "), "{error}");
    }
}
