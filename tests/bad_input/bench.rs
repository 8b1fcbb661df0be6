//! The commands that measure: what is wrong is told before anything is measured.

use beget_tests::{Scratch, beget};

use super::refused;

fn bench(words: &[&str]) -> std::process::Command {
    let mut command = beget();
    command.arg("bench").args(words);
    command
}

#[test]
fn what_is_wrong_on_the_command_line_is_named() {
    let scratch = Scratch::new();
    for (words, said) in [
        (&["--only"][..], "flag --only: wants SUBJECT"),
        (&["--only", "floor"], "flag --only floor: no such subject; there are floors, "),
        (&["--only", ""], "no such subject"),
        (&["--json"], "flag --json: wants FILE|-"),
        (&["--json", ""], "flag --json: wants a file"),
        (&["--html", ""], "wants a file"),
        (&["--against", ""], "wants a file"),
        (&["--pin", "x"], "flag --pin x: "),
        (&["--pin", "-1"], "flag --pin -1: "),
        (&["--slow", "x"], "flag --slow x: wants NAME=DURATION"),
        (&["--slow", "x=y"], "y is no duration"),
        (&["--quick=yes"], "flag --quick: takes no value"),
        (&["--list=yes"], "--list"),
        (&["--write=yes"], "--write"),
        (&["--write", "--only", "floors"], "flag --write: wants a whole run"),
        (&["--write", "--slow", "x=1s"], "flag --write: wants a whole run"),
        (&["--base"], "flag --base: no such flag of bench; run has it"),
        (&["--jsn", "x"], "did you mean --json?"),
        (&["floors"], "argument floors: one too many"),
    ] {
        refused(bench(words), scratch.path(), 2, said);
    }
}

#[test]
fn an_earlier_run_that_is_none_is_named() {
    let scratch = Scratch::new();
    scratch.file("none.json", "{}");
    scratch.file("broken.json", "{");
    scratch.file("other.json", "{\"form\": 1, \"machine\": [], \"tables\": 7, \"goals\": []}");
    for (file, words) in [
        ("nowhere.json", "flag --against nowhere.json: no such file or directory"),
        ("none.json", "no results of beget bench"),
        ("broken.json", "flag --against broken.json: EOF"),
        ("other.json", "tables: not as beget bench writes it"),
    ] {
        refused(bench(&["--only", "floors", "--against", file]), scratch.path(), 1, words);
    }
}

#[test]
fn results_are_written_only_into_a_repository() {
    let scratch = Scratch::new();
    refused(bench(&["--write"]), scratch.path(), 1, "is in no repository of Beget");
}
