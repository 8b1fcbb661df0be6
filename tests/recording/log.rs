//! Recordings: what they hold, compared to what was written, and what becomes of a file that cannot take them.

use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use beget_tests::{Scratch, finish, text};
use serde_json::Value;

use crate::{fed, ran, run, told};

/// A recording, read as the format says: the first line, and the time, kind and data of each other.
struct Cast {
    header: Value,
    events: Vec<(f64, String, String)>,
}

impl Cast {
    fn read(path: &str) -> Cast {
        let text = std::fs::read_to_string(path).expect("UTF-8");
        assert!(text.ends_with('\n'));
        let mut lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("a line of JSON"));
        let header = lines.next().expect("a first line");
        let event = |line: Value| {
            let [time, kind, data] = &line.as_array().expect("an event")[..] else { panic!("{line}") };
            let word = |value: &Value| value.as_str().expect("text").to_owned();
            (time.as_f64().expect("a time"), word(kind), word(data))
        };
        let events: Vec<_> = lines.map(event).collect();
        assert!(events.is_sorted_by(|a, b| a.0 <= b.0) && events.iter().all(|event| event.0 >= 0.0));
        assert_eq!(header["version"], 2);
        Cast { header, events }
    }

    fn output(&self) -> String {
        self.events.iter().filter(|event| event.1 == "o").map(|event| event.2.as_str()).collect()
    }
}

#[test]
fn a_recording_says_what_was_run_and_what_it_wrote() {
    let scratch = Scratch::new();
    let log = scratch.at("log");
    let script = "echo out; sleep 0.3; echo err >&2; sleep 0.1; printf 'a b\\r\\n\\033[1mé\"\\\\'";
    let words =
        ["--log", &log, "--spawn", "--env", "TERM=xterm", "--env", "SHELL=/bin/zsh", "--env", "SECRET=1"];
    let (code, out, errors) = ran(&[&words[..], &["--", "sh", "-c", script]].concat());
    assert_eq!((code, out.as_str(), errors.as_str()), (Some(0), "out\na b\r\n\u{1b}[1mé\"\\", "err\n"));
    let cast = Cast::read(&log);
    assert_eq!((&cast.header["width"], &cast.header["height"]), (&80.into(), &24.into()));
    assert_eq!(cast.header["env"], serde_json::json!({"TERM": "xterm", "SHELL": "/bin/zsh"}));
    let command = cast.header["command"].as_str().expect("text");
    assert_eq!(command, format!("sh -c '{}'", script.replace('\'', "'\\''")));
    assert!(cast.header["timestamp"].as_u64().expect("a time") > 1_700_000_000);
    // As a terminal would show it, in the order in which it came.
    assert_eq!(cast.output(), "out\r\nerr\r\na b\r\n\u{1b}[1mé\"\\");
}

#[test]
fn that_of_a_terminal_is_what_came_out_of_it_and_not_what_was_typed() {
    let scratch = Scratch::new();
    let log = scratch.at("log");
    let script = "stty size; read word; echo got ${#word}";
    let words = ["--log", &log, "--pty", "--spawn", "--", "sh", "-c", script];
    let output = fed(&words, b"swordfish\n");
    assert_eq!(told(&output), (Some(0), "24 80\r\ngot 9\r\n".into(), String::new()));
    assert_eq!(Cast::read(&log).output(), "24 80\r\ngot 9\r\n");
    assert!(!std::fs::read_to_string(&log).expect("ours").contains("swordfish\\r"));
}

#[test]
fn letters_cut_by_a_read_are_whole_and_others_are_marked() {
    let scratch = Scratch::new();
    let log = scratch.at("log");
    // The first half of a letter, a rest later; one that never ends; one byte that is none.
    let script = "printf '\\303'; sleep 0.2; printf '\\251 \\377 '; printf '\\342\\202' >&2; sleep 0.2; printf '\\360\\237'";
    let output = finish(&mut run(&["--log", &log, "--spawn", "--", "sh", "-c", script]));
    assert_eq!(output.stdout, b"\xc3\xa9 \xff \xf0\x9f", "what is passed on is not changed");
    assert_eq!(output.stderr, b"\xe2\x82");
    let shown = Cast::read(&log).output();
    assert_eq!(shown, "é \u{fffd} \u{fffd}\u{fffd}");
}

#[test]
fn the_file_is_its_owners_and_holds_one_recording() {
    let scratch = Scratch::new();
    let log = scratch.at("log");
    assert_eq!(ran(&["--log", &log, "--", "sh", "-c", "echo a long first one"]).0, Some(0));
    assert_eq!(std::fs::metadata(&log).expect("it is there").permissions().mode() & 0o777, 0o600);
    assert_eq!(ran(&["--log", &log, "--", "echo", "second"]).0, Some(0));
    assert_eq!(Cast::read(&log).output(), "second\r\n");
    // The program does not hold it.
    let script = format!("ls -l /proc/self/fd; cat {log}; echo more >> {log}");
    let (code, out, _) = ran(&["--log", &log, "--spawn", "--read", "/proc", "--", "sh", "-c", &script]);
    assert!(code != Some(0) && !out.contains(&log) && !out.contains("version"), "{out}");
}

#[test]
fn what_is_no_file_is_refused_before_anything_starts() {
    let scratch = Scratch::new();
    let fifo = scratch.at("fifo");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status().expect("mkfifo");
    assert!(made.success());
    let folder = scratch.path().to_str().expect("text").to_owned();
    let (none, link) = (scratch.at("none/log"), scratch.at("link"));
    let kept = scratch.file("kept", "kept");
    std::os::unix::fs::symlink(&kept, &link).expect("our own folder");
    for (path, why) in [
        (folder.as_str(), "is a directory"),
        (&none, "no such file or directory"),
        (&fifo, "no such device or address"),
        ("/dev/null", "not a regular file"),
        (&link, "a symbolic link"),
    ] {
        let (code, out, errors) = ran(&["--log", path, "--", "echo", "started"]);
        assert_eq!((code, out.as_str(), errors), (Some(125), "", format!("beget: log {path}: {why}\n")));
    }
    assert_eq!(std::fs::read_to_string(kept).expect("ours"), "kept");
}

/// A file that grows no more: that is told, what was recorded stays readable, and the program goes on.
#[test]
fn a_recording_that_cannot_go_on_is_told_of_and_ends_nothing() {
    let scratch = Scratch::new();
    let log = scratch.at("log");
    let beget = beget_tests::program("beget-under-test");
    // In blocks of 512 bytes; room for one event of the largest size, and for what Beget itself puts into memory.
    let script = format!(
        "ulimit -f 400; exec {} run --base --log {log} -- sh -c 'i=0; while [ $i -lt 99999 ]; do echo line $i; i=$((i+1)); done; exit 4'",
        beget.display()
    );
    let mut shell = std::process::Command::new("/bin/sh");
    shell.args(["-c", &script]).env_clear().env("PATH", beget::DEFAULT_PATH).stdin(Stdio::null());
    let output = finish(&mut shell);
    let errors = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).lines().count()), (Some(4), 99999), "{errors}");
    assert_eq!(errors, format!("beget: log {log}: file too large; the recording ends there\n"));
    let cast = Cast::read(&log);
    assert!(cast.output().starts_with("line 0\r\n") && !cast.events.is_empty());
}

#[test]
fn the_end_of_a_program_that_is_killed_is_recorded() {
    let scratch = Scratch::new();
    let log = scratch.at("log");
    let words = ["--log", &log, "--timeout", "300ms", "--pty", "--", "sh", "-c", "echo last; exec sleep 300"];
    assert_eq!(ran(&words).0, Some(137));
    assert_eq!(Cast::read(&log).output(), "last\r\n");
    let words = ["--log", &log, "--output-limit", "5000", "--", "yes"];
    let (code, out, _) = ran(&words);
    assert_eq!((code, out.len()), (Some(137), 5000));
    assert_eq!(Cast::read(&log).output().replace("\r\n", "\n"), out);
    // Of one whose guard is killed, all but what was on its way.
    let mut child = run(&["--log", &log, "--pty", "--", "sh", "-c", "echo there; exec sleep 300"])
        .stdout(Stdio::null())
        .spawn()
        .expect("beget can be started");
    let until = std::time::Instant::now() + std::time::Duration::from_secs(10);
    // The first line has the word too.
    while std::fs::read_to_string(&log).expect("ours").matches("there").count() < 2 {
        assert!(std::time::Instant::now() < until, "it is not recorded");
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().expect("our own child");
    child.wait().expect("our own child");
    assert_eq!(Cast::read(&log).output(), "there\r\n");
}

/// Exit codes, kills and signals are what they are without a recording.
#[test]
fn the_program_is_none_the_wiser() {
    let scratch = Scratch::new();
    let log = scratch.at("log");
    for (script, code) in [("exit 9", 9), ("kill -9 $$", 137), ("kill -TERM $$", 143)] {
        assert_eq!(ran(&["--log", &log, "--", "sh", "-c", script]).0, Some(code));
    }
    // The signals that we ignore are not the program's to ignore.
    let (_, out, _) = ran(&["--log", &log, "--read", "/proc", "--", "grep", "SigIgn", "/proc/self/status"]);
    assert_eq!(out, "SigIgn:\t0000000000000000\n");
}
