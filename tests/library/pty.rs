//! A terminal of one's own, and the limit on what is collected.

use std::io::{Read, Write};

use beget::{Command, Fault, Grant, Pty, Stdio, WindowSize};
use beget_tests::alone;

use crate::{below, end, inode, probe, report, terminal};

fn system(program: &str, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(words).grant(Grant::Base);
    command
}

/// All that is written to the terminal until nobody holds it.
fn shown(mut pty: Pty) -> String {
    let mut text = String::new();
    pty.read_to_string(&mut text).expect("a terminal of ours");
    text
}

#[test]
fn a_terminal_of_its_own_is_all_its_streams_and_controls_its_session() {
    let pty = Pty::open(WindowSize::new(31, 77)).expect("a terminal");
    let script = "stty size; tty < /dev/tty; [ -t 0 -a -t 1 -a -t 2 ] && echo three; echo by-name > $(tty)";
    let mut command = system("sh", &["-c", &format!("{script} 2>&1")]);
    command.grant(Grant::Spawn).pty(&pty).expect("a descriptor");
    let process = command.spawn().expect("spawn");
    drop(command);
    let text = shown(pty);
    assert!(end(&process).success(), "{text}");
    // `tty` knows no name for what was opened as `/dev/tty` but that one.
    assert_eq!(text, "31 77\r\n/dev/tty\r\nthree\r\nby-name\r\n");
}

#[test]
fn the_child_holds_the_slave_and_nothing_of_the_master() {
    let pty = Pty::open(WindowSize::default()).expect("a terminal");
    let master = inode(&std::os::fd::AsFd::as_fd(&pty).try_clone_to_owned().expect("a descriptor"));
    let (mut reading, writing) = std::io::pipe().expect("a pipe");
    let mut command = probe(&["report=3"]);
    command.slot("report", writing).pty(&pty).expect("a descriptor");
    let process = command.spawn().expect("spawn");
    drop(command);
    let mut bytes = Vec::new();
    reading.read_to_end(&mut bytes).expect("a pipe of ours");
    assert!(end(&process).success());
    let report = beget_tests::report(&bytes);
    let files = below(&report, "fd.");
    assert_eq!(files.iter().map(|(number, _)| *number).collect::<Vec<_>>(), ["0", "1", "2", "3"]);
    assert!(files.iter().all(|(_, file)| !file.ends_with(&format!(" {master}"))), "{files:?} and {master}");
    assert!(files[0].1 == files[1].1 && files[1].1 == files[2].1, "{files:?}");
}

#[test]
fn what_is_typed_arrives_and_keys_are_signals() {
    let mut pty = Pty::open(WindowSize::default()).expect("a terminal");
    let mut command = system("cat", &[]);
    command.pty(&pty).expect("a descriptor");
    let process = command.spawn().expect("spawn");
    drop(command);
    pty.write_all(b"typed\n").expect("it is read");
    let mut echoed = [0; 14];
    pty.read_exact(&mut echoed).expect("echo, and what cat says");
    assert_eq!(&echoed, b"typed\r\ntyped\r\n");
    pty.write_all(b"\x03").expect("it is a key");
    assert_eq!(end(&process).exit_code(), 128 + 2);
    assert_eq!(shown(pty), "^C");
}

#[test]
fn a_new_size_is_seen_inside() {
    let mut pty = Pty::open(WindowSize::default()).expect("a terminal");
    let script = "trap 'stty size; exit 0' WINCH; echo r; while :; do read line; done";
    let mut command = system("sh", &["-c", script]);
    command.grant(Grant::Spawn).pty(&pty).expect("a descriptor");
    let process = command.spawn().expect("spawn");
    drop(command);
    pty.read_exact(&mut [0; 3]).expect("it is ready");
    let size = WindowSize { width: 900, height: 300, ..WindowSize::new(50, 132) };
    pty.set_size(size).expect("a terminal of ours");
    assert_eq!(pty.size().expect("a terminal of ours"), size);
    assert_eq!(shown(pty), "50 132\r\n");
    assert!(end(&process).success());
}

#[test]
fn dropping_the_master_hangs_up() {
    let pty = Pty::open(WindowSize::default()).expect("a terminal");
    let mut command = system("sleep", &["300"]);
    command.pty(&pty).expect("a descriptor");
    let process = command.spawn().expect("spawn");
    drop(pty);
    assert_eq!(end(&process).exit_code(), 128 + 1);
}

#[test]
fn a_stream_that_is_set_afterwards_is_what_it_is_set_to() {
    let pty = Pty::open(WindowSize::default()).expect("a terminal");
    let mut command = system("sh", &["-c", "echo out; echo err >&2; [ -t 0 ] && [ -t 1 ] && ! [ -t 2 ]"]);
    command.pty(&pty).expect("a descriptor").stderr(Stdio::piped());
    let mut process = command.spawn().expect("spawn");
    drop(command);
    let mut errors = String::new();
    process.stderr.take().expect("piped").read_to_string(&mut errors).expect("a pipe of ours");
    assert_eq!((shown(pty).as_str(), errors.as_str()), ("out\r\n", "err\n"));
    assert!(end(&process).success());
}

#[test]
fn a_terminal_controls_a_session_of_its_own_or_none() {
    let pty = Pty::open(WindowSize::default()).expect("a terminal");
    let mut command = system("true", &[]);
    command.pty(&pty).expect("a descriptor").process_group(0);
    let error = command.spawn().expect_err("that is another's session");
    assert_eq!((error.part(), error.fault()), ("pseudo-terminal", Fault::Caller));
}

#[test]
fn it_is_no_hole_and_the_callers_is_one() {
    let pty = Pty::open(WindowSize::default()).expect("a terminal");
    let mut command = system("true", &[]);
    let own = command.pty(&pty).expect("a descriptor").describe().expect("it is described");
    assert!(own.session && own.slots.len() == 3 && own.slots.iter().all(|slot| slot.terminal && slot.own));
    assert!(own.stays_open().iter().all(|line| !line.contains("terminal")), "{:?}", own.stays_open());
    let (_master, slave) = terminal();
    let callers = command.stderr(slave).describe().expect("it is described");
    assert!(callers.slots[2].terminal && !callers.slots[2].own);
    assert!(callers.stays_open().iter().any(|line| line.contains("terminal")));
}

#[test]
fn another_loader_and_a_nursery_give_it_too() {
    for direct in [false, true] {
        let pty = Pty::open(WindowSize::new(5, 6)).expect("a terminal");
        let mut command = system("stty", &["size", "-F", "/dev/tty"]);
        command.own_tree(true).pty(&pty).expect("a descriptor");
        if direct {
            command.loader(beget::Loader::Direct);
        }
        let process = command.spawn().expect("spawn");
        drop(command);
        assert_eq!(shown(pty), "5 6\r\n");
        assert!(end(&process).success());
    }
}

#[test]
fn endless_output_is_collected_up_to_the_limit() {
    for own_tree in [false, true] {
        let mut command = system("sh", &["-c", "trap '' PIPE; (yes error >&2) & yes"]);
        command.grant(Grant::Spawn).own_tree(own_tree).output_limit(3_000_001);
        let output = command.output().expect("spawn");
        assert!(output.limited);
        assert_eq!(output.status.code(), None, "it was ended");
        assert_eq!(output.stdout.len() + output.stderr.len(), 3_000_001);
        assert!(output.stdout.starts_with(b"y\ny\n"));
    }
}

#[test]
fn output_that_fits_the_limit_is_all_there() {
    for (limit, limited) in [(10, false), (11, false), (9, true), (0, true), (u64::MAX, false)] {
        let mut command = system("sh", &["-c", "printf 01234; printf 56789 >&2"]);
        let output = command.output_limit(limit).output().expect("spawn");
        assert_eq!(output.limited, limited, "{limit}");
        assert_eq!(output.stdout.len() + output.stderr.len(), limit.min(10) as usize);
    }
    let silent = system("true", &[]).output_limit(0).output().expect("spawn");
    assert!(silent.status.success() && !silent.limited);
}

#[test]
fn no_descriptor_is_left_here() {
    alone("pty::no_descriptor_is_left_here", || {
        let before = beget_tests::descriptors();
        for _ in 0..3 {
            let pty = Pty::open(WindowSize::default()).expect("a terminal");
            let mut command = system("true", &[]);
            let mut process = command.pty(&pty).expect("a descriptor").spawn().expect("spawn");
            drop(command);
            assert_eq!(shown(pty), "");
            assert!(process.wait().expect("wait").success());
        }
        assert_eq!(beget_tests::descriptors(), before);
        assert!(!report(&mut probe(&[])).is_empty());
    });
}
