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
    let names = text(&output.stdout);
    for name in
        ["fork", "fork-forgotten", "vfork", "posix_spawn", "std", "confined", "embryo", "pooled", "bwrap"]
    {
        assert!(names.lines().any(|line| line == name), "{name}: {names}");
    }
}

/// What was found is told all the same, and the exit code says that not all was done.
#[test]
fn an_output_that_cannot_be_written_is_told() {
    let scratch = Scratch::new();
    let nowhere = scratch.at("no/such/folder");
    for flag in ["--json", "--html"] {
        let words = ["compare", "--quick", "--only", "vfork", flag, &nowhere];
        let output = finish(beget().args(words));
        let error = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{error}");
        assert!(error.contains(&format!("{nowhere}: no such file or directory")), "{error}");
        assert!(text(&output.stdout).contains("vfork+exec"));
    }
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
