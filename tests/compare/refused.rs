//! Command lines that are wrong, and outputs that cannot be written.

use beget_tests::{Scratch, beget, finish, text};

fn refused(words: &[&str]) -> (Option<i32>, String) {
    let output = finish(beget().arg("compare").args(words));
    assert!(output.stdout.is_empty(), "{words:?}: {}", text(&output.stdout));
    (output.status.code(), text(&output.stderr))
}

#[test]
fn a_wrong_command_line_is_told_and_nothing_is_compared() {
    for (words, told) in [
        (&["--only"][..], "flag --only: wants WAY"),
        (&["--only", "spoon"], "flag --only spoon: no such way; there are fork, "),
        (&["--only", ""], "flag --only : no such way"),
        (&["--json"], "flag --json: wants FILE|-"),
        (&["--json", ""], "flag --json : wants a file"),
        (&["--html", ""], "flag --html : wants a file"),
        (&["--quick=1"], "flag --quick: takes no value"),
        (&["--pin", "0"], "flag --pin: no such flag of compare"),
        (&["--read", "/"], "flag --read: no such flag of compare"),
        (&["fork"], "argument fork: one too many"),
    ] {
        let (code, error) = refused(words);
        assert_eq!(code, Some(2), "{words:?}: {error}");
        let told = told.replace(" : ", ": ");
        assert!(error.replace(" : ", ": ").contains(&told), "{words:?}: {error}");
    }
}

#[test]
fn the_names_are_listed() {
    let output = finish(beget().args(["compare", "--list"]));
    let lines = text(&output.stdout);
    for (name, title) in [
        ("fork", "fork+exec, done right"),
        ("fork-forgotten", "fork+exec, close forgotten"),
        ("posix_spawn", "posix_spawn"),
        ("pooled", "beget: pooled product"),
        ("bwrap", "bwrap --unshare-all"),
    ] {
        let is_its =
            |line: &str| line.split_once(' ').is_some_and(|(one, rest)| (one, rest.trim()) == (name, title));
        assert!(lines.lines().any(is_its), "{name}: {lines}");
    }
}

/// It is found before anything is compared, and what is there already stays as it was until there is something else.
#[test]
fn an_output_that_cannot_be_written_is_told() {
    let scratch = Scratch::new();
    let (nowhere, page, kept) =
        (scratch.at("no/such/folder"), scratch.at("page.html"), scratch.file("kept", "kept"));
    for (flag, other) in [("--json", ["--html", &page]), ("--html", ["--json", &kept])] {
        let (code, error) = refused(&[&["--quick", "--only", "vfork", flag, &nowhere][..], &other].concat());
        assert_eq!((code, error), (Some(1), format!("beget: {nowhere}: no such file or directory\n")));
    }
    assert!(!std::fs::exists(&page).unwrap());
    assert_eq!(std::fs::read_to_string(&kept).unwrap(), "kept");
}

/// What was found is told all the same, and the exit code says that not all was done.
#[test]
fn an_output_that_is_full_loses_nothing() {
    let output = finish(beget().args(["compare", "--quick", "--only", "vfork", "--json", "/dev/full"]));
    let error = text(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("/dev/full: no space left on device"), "{error}");
    assert!(text(&output.stdout).contains("vfork+exec"));
}

/// The parts that it starts are no commands for people: without what they are told, they end.
#[test]
fn its_parts_do_nothing_by_themselves() {
    for (words, code) in [
        (&["compare-child"][..], 4),
        (&["compare-child", "look", "x", "0", "0", "/"], 4),
        (&["compare-parent"], 1),
        (&["compare-parent", "spoon", "look", "/"], 1),
    ] {
        let output = finish(beget().args(words).stdin(std::process::Stdio::null()));
        assert_eq!(output.status.code(), Some(code), "{words:?}: {}", text(&output.stderr));
    }
}
