//! Help, errors, what belongs to the program, its environment, and what is told of its end.

use std::process::Stdio;

use super::*;

#[test]
fn help_works() {
    let (code, out, errors) = ran(&["run", "--help"]);
    assert_eq!((code, errors.as_str()), (Some(0), ""));
    assert!(out.starts_with("beget run "), "{out}");
}

#[test]
fn errors_name_their_part() {
    let (code, out, errors) =
        ran(&["run", "--base", "--read", "/source-enoent", "--", "echo", "should not have run"]);
    assert_eq!((code, out.as_str()), (Some(125), ""));
    assert_eq!(errors, "beget: grant --read /source-enoent: no such file or directory\n");
}

#[test]
fn two_dashes_end_the_flags() {
    let scratch = Scratch::new();
    assert_eq!(ran(&["run", "--base", "--", "sh", "-c", "echo hello"]), fine("hello\n"));
    let name = "--inadvisable-executable-name--";
    scratch.executable(name, "#!/bin/sh\necho hello\n");
    let (path, folder) = (format!("PATH={}", scratch.at("")), scratch.at(""));
    assert_eq!(ran(&["run", "--base", "--exec", &folder, "--env", &path, "--", name]), fine("hello\n"));
    let (code, out, errors) =
        ran(&["run", "--base", "--", "--write", "/dev", "sh", "-c", "echo should not have run"]);
    assert_eq!((code, out.as_str()), (Some(127), ""));
    assert!(errors.starts_with("beget: program --write: not found"), "{errors}");
}

/// Nothing is passed, so there is nothing to unset.
#[test]
fn the_environment_is_what_was_given() {
    let told = |flags: &[&str]| {
        let words = [&["run", "--base"], flags, &["--", "sh", "-c", "echo \"$FOO$BAR\""]].concat();
        let output = finish(beget().args(words).env("FOO", "wrong").env("BAR", "baz").stdin(Stdio::null()));
        text(&output.stdout)
    };
    assert_eq!(told(&["--env", "FOO=bar", "--env", "BAR"]), "barbaz\n");
    assert_eq!(told(&["--env", "BAR"]), "baz\n");
    assert_eq!(told(&[]), "\n");
    let output =
        finish(beget().args(["run", "--base", "--", "env"]).env("FOO", "wrong").stdin(Stdio::null()));
    assert_eq!(text(&output.stdout), "PATH=/usr/local/bin:/usr/bin:/bin\n");
}

#[test]
fn flags_come_from_a_descriptor() {
    let scratch = Scratch::new();
    let mut command = std::process::Command::new("bash");
    let beget = beget_tests::program("beget-under-test");
    for (name, text) in [("first", "base = true\nspawn = true\n"), ("second", "env = { FOO = \"bar\" }\n")] {
        scratch.file(name, text);
    }
    scratch.file("both", format!("extends = [\"{}\", \"{}\"]\n", scratch.at("first"), scratch.at("second")));
    let script = format!(
        "exec {} run --spec /dev/fd/9 -- sh -c 'echo $FOO; ls /usr | wc -l' 9< both",
        beget.display()
    );
    let output = finish(command.args(["-c", &script]).current_dir(scratch.path()).stdin(Stdio::null()));
    assert!(text(&output.stdout).starts_with("bar\n") && output.status.success(), "{}", text(&output.stderr));
}

/// Without a word: the last is taken.
#[test]
fn of_two_directories_the_last_is_taken() {
    assert_eq!(ran(&["run", "--base", "--cwd", "/", "--cwd", "/usr", "--", "pwd"]), fine("/usr\n"));
}

#[test]
fn the_end_is_told_for_programs() {
    let (code, _, errors) = ran(&["run", "--base", "--json", "--", "sh", "-c", "exit 42"]);
    let result: serde_json::Value = serde_json::from_str(errors.trim()).expect("one line of JSON");
    assert_eq!((code, result["exit_code"].as_i64()), (Some(42), Some(42)));
}

/// A process number, to look at it from outside while it is still to run.
#[test]
fn a_program_that_waits_is_told_by_its_number() {
    let mut child = beget()
        .args(["run", "--base", "--suspend", "--", "sh", "-c", "exit 42"])
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("beget can be started");
    let mut line = String::new();
    let mut errors = std::io::BufReader::new(child.stderr.take().expect("it is piped"));
    std::io::BufRead::read_line(&mut errors, &mut line).expect("it is text");
    let number =
        line.strip_prefix("beget: suspended: process ").and_then(|rest| rest.split(';').next()).expect(&line);
    assert!(std::fs::read_link(format!("/proc/{number}/ns/mnt")).is_ok(), "{number}");
    assert!(std::process::Command::new("/bin/kill").args(["-CONT", number]).status().unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(42));
}

#[test]
fn a_failed_birth_has_no_result() {
    let (code, _, errors) = ran(&["run", "--base", "--json", "--cwd", "/no/such/place", "--", "true"]);
    assert_eq!((code, errors.lines().count()), (Some(125), 1), "{errors}");
    assert!(errors.starts_with("beget: ") && !errors.contains("exit_code"), "{errors}");
}

#[test]
fn a_failed_exec_has_no_result() {
    let (code, _, errors) = ran(&["run", "--base", "--json", "--", "/"]);
    assert_eq!((code, errors.as_str()), (Some(126), "beget: program /: is a directory\n"));
}

#[test]
fn sizes_that_are_none_are_refused() {
    if !has_root("sizes_that_are_none_are_refused") {
        return;
    }
    // To the kernel it would be no limit at all.
    refused(&["--tmpfs", "/tmp/a=0"], "root: /tmp/a: wants room for more than 0 bytes");
    refused(&["--tmp", "0"], "root: /tmp: wants room for more than 0 bytes");
    for size in ["123bogus", "", "-12345678", " -12345678", "18446744073709551616"] {
        let value = format!("/tmp/a={size}");
        refused(&["--tmpfs", &value], &format!("flag --tmpfs {value}: "));
    }
}
