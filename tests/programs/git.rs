//! git: a repository's daily life, with its children.

use beget_tests::Scratch;

use crate::{Ran, lacks, run};

struct Repository {
    scratch: Scratch,
    home: String,
}

impl Repository {
    fn new() -> Repository {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.at("home")).expect("an empty folder");
        std::fs::create_dir(scratch.at("repo")).expect("an empty folder");
        scratch.file(
            "home/.gitconfig",
            "[user]\n\tname = A\n\temail = a@example.org\n[init]\n\tdefaultBranch = main\n",
        );
        let home = format!("HOME={}", scratch.at("home"));
        Repository { scratch, home }
    }

    fn git(&self, grants: &[&str], words: &[&str]) -> Ran {
        let repo = self.scratch.at("repo");
        // The machine's own settings, where it has any, would be a grant too.
        let no_system = "GIT_CONFIG_NOSYSTEM=1";
        let flags = [grants, &["--env", &self.home, "--env", no_system, "--cwd", &repo]].concat();
        run(&flags, &[&["git"], words].concat())
    }

    fn writing(&self, words: &[&str]) -> Ran {
        self.git(&["--spawn", "--write", &self.scratch.at("")], words)
    }
}

#[test]
fn works_on_a_repository() {
    if lacks("works_on_a_repository", &["git"]) {
        return;
    }
    let repository = Repository::new();
    let scratch = &repository.scratch;
    repository.writing(&["init", "-q"]).prints("");
    scratch.file("repo/f", "hi\n");
    repository.writing(&["add", "."]).prints("");
    repository.writing(&["commit", "-q", "-m", "one"]).prints("");
    scratch.file("repo/f", "hi\nho\n");
    repository.writing(&["diff"]).shows("\n hi\n+ho\n");
    repository.writing(&["commit", "-q", "-a", "-m", "two"]).prints("");
    repository.writing(&["gc", "-q"]).prints("");
    repository.writing(&["fsck"]).prints("");
    repository.writing(&["clone", "-q", ".", "../copy"]).prints("");
    // Not a copy of files: two processes that speak git's protocol over pipes.
    let url = format!("file://{}", scratch.at("repo"));
    repository.writing(&["clone", "-q", &url, "../spoken"]).prints("");
    for copy in ["../copy", "../spoken"] {
        repository.writing(&["-C", copy, "log", "--format=%an %s"]).prints("A two\nA one\n");
        repository.writing(&["-C", copy, "status", "--porcelain"]).prints("");
    }
    let cloned = std::fs::read_to_string(scratch.at("spoken/f")).expect("git wrote it");
    assert_eq!(cloned, "hi\nho\n");
}

#[test]
fn does_no_more_than_it_was_granted() {
    if lacks("does_no_more_than_it_was_granted", &["git"]) {
        return;
    }
    let repository = Repository::new();
    let all = repository.scratch.at("");
    repository.writing(&["init", "-q"]).prints("");
    repository.writing(&["commit", "-q", "--allow-empty", "-m", "one"]).prints("");

    let reading = ["--read", &all];
    repository.git(&reading, &["log", "--format=%s"]).prints("one\n");
    let commit = ["commit", "-q", "--allow-empty", "-m", "two"];
    repository.git(&reading, &commit).fails("Permission denied");
    repository.git(&reading, &["log", "--format=%s"]).prints("one\n");
    repository.git(&[], &["log"]).fails("Permission denied");

    let clone = ["clone", "-q", ".", "../copy"];
    repository.git(&["--write", &all], &clone).fails("Operation not permitted").tells("--spawn");
    let far = ["clone", "-q", "git://127.0.0.1:1/x", "../far"];
    repository.writing(&far).fails("unable to connect").tells("--tcp-connect");
}

#[test]
fn settings_of_the_machine_are_a_grant() {
    if lacks("settings_of_the_machine_are_a_grant", &["git"]) {
        return;
    }
    let scratch = Scratch::new();
    let settings = scratch.file("gitconfig", "[color]\n\tui = sometimes\n");
    let variables = [format!("GIT_CONFIG_SYSTEM={settings}"), format!("HOME={}", scratch.at(""))];
    let variables = ["--env", &variables[0], "--env", &variables[1]];
    let asked = ["git", "config", "color.ui"];
    run(&[&variables[..], &["--read", &settings]].concat(), &asked).prints("sometimes\n");
    run(&variables, &asked).fails("Permission denied");
}
