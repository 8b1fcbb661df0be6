//! The service's commands with what they cannot take: each says what is wrong, in one line, and does nothing.

use beget_tests::{Scratch, beget, finish, text};

/// Words after the command's own, and a part of what is said.
const CASES: &[(&str, &[&str], &str)] = &[
    ("spawn", &[], "program: none was given"),
    ("spawn", &["name"], "program: none was given"),
    ("spawn", &["--no-such", "--", "true"], "no such flag"),
    ("spawn", &["--pty", "name", "--", "true"], "flag --pty: no such flag of spawn; run has it"),
    ("spawn", &["--grace", "1s", "name", "--", "true"], "wants --timeout"),
    ("spawn", &["--capability", "x", "name", "--", "true"], "SLOT=NAME"),
    ("spawn", &["--capability", "=x", "name", "--", "true"], "SLOT=NAME"),
    ("spawn", &["--capability", "x=y:fly", "name", "--", "true"], "is no right"),
    ("spawn", &["--stdin", "", "name", "--", "true"], "wants a file"),
    (
        "spawn",
        &["--stdio", "--stdin", "a", "--stdout", "b", "--stderr", "c", "n", "--", "true"],
        "flag --stdio",
    ),
    ("spawn", &["--socket", "", "name", "--", "true"], "wants a path"),
    ("spawn", &["--socket", "fd:", "name", "--", "true"], "slot"),
    ("spawn", &["--socket", "fd:x", "name", "--", "true"], "slot x"),
    ("ps", &["name"], "argument name: one too many"),
    ("ps", &["--json=x"], "takes no value"),
    ("ps", &["--socket", "/not/there"], "no service listens there"),
    ("wait", &[], "domain: no name was given"),
    ("wait", &["--timeout", "x", "name"], "is no duration"),
    ("wait", &["--timeout"], "wants DURATION"),
    ("wait", &["--no-hag", "name"], "did you mean --no-hang?"),
    ("kill", &[], "domain: no name was given"),
    ("kill", &["--signal", "TURM", "name"], "is no signal"),
    ("kill", &["--signal", "0", "name"], "is no signal"),
    ("kill", &["--grace", "-1s", "name"], "is no duration"),
    ("send", &["a", "b"], "argument b: one too many"),
    ("send", &["name"], "nothing was said to be sent"),
    ("send", &["--fd", "x", "name"], "NAME=N"),
    ("send", &["--fd", "x=/not/there", "name"], "no such file or directory"),
    ("send", &["--fd", "x=999", "name"], "bad file descriptor"),
    ("history", &["--limit", "x"], "no whole number"),
    ("serve", &["x"], "one too many"),
    ("serve", &["--on-monitor-death", "maybe"], "die or live"),
    ("serve", &["--nurseries", "0"], "from 1 to 256"),
    ("serve", &["--history", "-1"], "no whole number"),
    ("serve", &["--stop", "--status"], "flag --stop"),
    ("serve", &["--json"], "wants --status or --stop"),
    ("serve", &["--stop"], "no service listens there"),
    ("serve", &["--status"], "no service listens there"),
    ("serve", &["--manifest", "/not/there"], "no such file or directory"),
    ("top", &["--json"], "no such flag of top"),
    ("show", &["--socket", "/not/there", "name"], "no service listens there"),
    ("factory", &[], "factory: no command was given"),
    ("factory", &["fly"], "command factory fly: no such command"),
    ("factory", &["create", "name"], "program: none was given"),
    ("factory", &["create", "--ready", "now", "name", "--", "true"], "flag --ready now: "),
    ("factory", &["create", "--ready"], "wants POINT"),
    ("factory", &["create", "--pool", "-1", "name", "--", "true"], "no whole number"),
    ("factory", &["create", "--low-water", "x", "name", "--", "true"], "no whole number"),
    ("factory", &["create", "--renew", "0", "name", "--", "true"], "wants more than none"),
    (
        "factory",
        &["create", "--pty", "name", "--", "true"],
        "flag --pty: no such flag of factory create; run has it",
    ),
    ("factory", &["create", "--inspectable=x", "name", "--", "true"], "takes no value"),
    ("factory", &["run"], "factory: no name was given"),
    ("factory", &["run", "--unique=x", "name"], "takes no value"),
    ("factory", &["run", "--grace", "1s", "name"], "wants --timeout"),
    ("factory", &["run", "name"], "no service listens there"),
    ("factory", &["list", "name"], "argument name: one too many"),
    ("factory", &["list"], "no service listens there"),
    ("factory", &["show"], "factory: no name was given"),
    ("factory", &["show", "name"], "no service listens there"),
    ("factory", &["replace", "a", "b"], "argument b: one too many"),
    ("factory", &["save", "name"], "flag --output: no file was named"),
    ("factory", &["save", "--output", "", "name"], "wants a file"),
    ("factory", &["create", "--preload", ",", "name", "--", "true"], "wants the name of a module"),
    ("factory", &["load", "--image", "", "name", "--", "true"], "wants a file"),
    ("factory", &["load", "name", "--", "true"], "flag --image: no file was named"),
    ("factory", &["load", "--image", "x", "name"], "program: none was given"),
    (
        "factory",
        &["load", "--ready", "main", "--image", "x", "name", "--", "true"],
        "flag --ready: no such flag of factory load; factory create has it",
    ),
    ("factory", &["destroy"], "factory: no name was given"),
];

#[test]
fn what_a_command_cannot_take_is_told_in_a_line() {
    let scratch = Scratch::new();
    for (command, words, part) in CASES {
        let mut beget = beget();
        beget.env("BEGET_SOCKET", scratch.at("none")).arg(command).args(*words);
        let output = finish(beget.stdin(std::process::Stdio::null()));
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(125), "{command} {words:?}: {said}");
        assert!(said.contains(part), "{command} {words:?}: {said}");
        assert!(said.lines().count() <= 2 && said.starts_with("beget: "), "{command} {words:?}: {said}");
        assert!(output.stdout.is_empty());
    }
    // Nothing was started for it.
    assert!(!std::path::Path::new(&scratch.at("none")).exists());
}

#[test]
fn a_socket_that_is_none_of_ours_is_told_as_such() {
    let scratch = Scratch::new();
    let path = scratch.at("stream");
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let output = finish(beget().args(["ps", "--socket", &path]).stdin(std::process::Stdio::null()));
    assert!(text(&output.stderr).contains("no service of Beget"), "{}", text(&output.stderr));
    let long = "x".repeat(200);
    let output = finish(beget().args(["ps", "--socket", &long]).stdin(std::process::Stdio::null()));
    assert!(text(&output.stderr).contains("too long"), "{}", text(&output.stderr));
}
