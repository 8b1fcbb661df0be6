//! Beget inside Beget: the inner child holds what both give it, and no more.

use beget_tests::{Need, Scratch, has, mark, marked, program, skip, text};

use super::ran;

fn nested(outer: &[&str], inner: &[&str]) -> (Option<i32>, String, String) {
    let beget = program("beget-under-test").to_str().expect("the path is text").to_owned();
    let outer =
        [&["run", "--base", "--exec", &beget, "--timeout", "20"], outer, &["--", &beget, "run"]].concat();
    ran(&[&outer, inner].concat())
}

#[test]
fn it_works_where_processes_are_granted() {
    assert_eq!(nested(&["--spawn"], &["--base", "--", "/bin/true"]), (Some(0), String::new(), String::new()));
    let said = nested(&["--spawn"], &["--base", "--", "sh", "-c", "echo inside"]);
    assert_eq!(said, (Some(0), "inside\n".into(), String::new()));
    assert_eq!(nested(&["--spawn"], &["--base", "--", "sh", "-c", "exit 7"]).0, Some(7));
}

#[test]
fn without_processes_it_fails_with_its_reason() {
    let (code, out, errors) = nested(&[], &["--base", "--", "/bin/true"]);
    assert_eq!((code, out.as_str()), (Some(125), ""));
    let inner = "beget: process: operation not permitted\n";
    let outer = "beget: the program was refused a process; --spawn would allow it\n";
    assert_eq!(errors, format!("{inner}{outer}"));
}

#[test]
fn the_inner_one_cannot_give_what_the_outer_did_not() {
    let scratch = Scratch::new();
    let (given, kept) = (scratch.file("given", "given\n"), scratch.file("kept", "kept\n"));
    let read = |inner: &[&str], file: &str| {
        nested(&["--spawn", "--read", &given], &[&["--base"], inner, &["--", "cat", file]].concat())
    };
    assert_eq!(read(&["--read", &given], &given), (Some(0), "given\n".into(), String::new()));
    assert_eq!(read(&[], &given).0, Some(1), "the outer one gave it, the inner one did not");
    assert_eq!(read(&["--read", &kept], &kept).0, Some(1), "the inner one gave what it had not");
}

/// The kernel has one listener for a line of filters. The inner one does without, and says so when its program fails.
#[test]
fn without_a_second_listener_it_says_so() {
    if !has("perl") {
        return skip("without_a_second_listener_it_says_so", Need::Program("perl"));
    }
    let script = "defined fork and die; exit 3";
    let (code, _, errors) = nested(&["--spawn"], &["--base", "--", "perl", "-e", script]);
    assert_eq!(code, Some(3));
    assert_eq!(errors.lines().count(), 1, "{errors:?}");
    assert!(errors.starts_with("beget: "), "{errors:?}");
}

/// Also where the outer one gave it no `/proc` to look for what its program left behind: it ends them or does not begin.
#[test]
fn the_inner_one_leaves_nothing_behind_or_refuses_to_start() {
    let mark = mark();
    let script = format!("sh -c 'sleep 15; : {mark}' >&- 2>&- & exit 4");
    let beget = program("beget-under-test");
    let look = Scratch::new();
    let path = beget.to_str().unwrap();
    // Something of the outer one's that looks after the inner one has ended, before the outer one ends all.
    let outer = format!("{path} run --base --spawn -- sh -c \"$0\"; code=$?; echo $code; read x");
    let mut command = beget_tests::beget();
    command.args([
        "run",
        "--base",
        "--exec",
        path,
        "--spawn",
        "--timeout",
        "25",
        "--",
        "sh",
        "-c",
        &outer,
        &script,
    ]);
    let (reader, writer) = std::io::pipe().unwrap();
    let mut child =
        command.stdin(reader).stdout(std::process::Stdio::piped()).current_dir(look.path()).spawn().unwrap();
    let mut line = String::new();
    let mut output = std::io::BufReader::new(child.stdout.take().unwrap());
    let started = std::time::Instant::now();
    std::io::BufRead::read_line(&mut output, &mut line).unwrap();
    // The outer shell and the outer Beget have the mark in their own arguments; the sleeper's shell begins with it.
    let sleeping = |number: &u32| {
        let words = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
        text(&words).starts_with("sh\0-c\0sleep 15")
    };
    let left: Vec<u32> = marked(&mark).into_iter().filter(sleeping).collect();
    let waited = started.elapsed();
    drop(writer);
    child.wait().unwrap();
    assert_eq!(left, Vec::<u32>::new(), "left behind");
    assert!(line == "4\n" || line == "125\n", "{line}");
    assert!(waited < std::time::Duration::from_secs(14), "it waited for what it should have ended");
}
