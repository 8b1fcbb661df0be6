//! Grants of what is not there, and descriptors, variables and names that cannot be.

use std::os::unix::fs::symlink;

use beget_tests::{Need, Scratch, is_root, skip};

use super::{refused, run, succeeds};

#[test]
fn a_path_that_cannot_be_opened_is_named() {
    let scratch = Scratch::new();
    scratch.file("file", "");
    symlink("loop", scratch.at("loop")).unwrap();
    symlink("nothing", scratch.at("dangling")).unwrap();
    let long = "x".repeat(300);
    let deep = format!("/{}", "x/".repeat(2500));
    let table: &[(&str, &str)] = &[
        ("", "no such file or directory"),
        ("/no/such/path", "no such file or directory"),
        ("no-such-path", "no such file or directory"),
        ("dangling", "no such file or directory"),
        ("dangling/below", "no such file or directory"),
        ("loop", "too many levels of symbolic links"),
        ("loop/below", "too many levels of symbolic links"),
        ("file/below", "not a directory"),
        ("file/", "not a directory"),
        (&long, "file name too long"),
        (&deep, "file name too long"),
    ];
    for (path, words) in table {
        for flag in ["--read", "--write", "--exec"] {
            let asked = format!("grant {flag} {path}: {words}");
            refused(run(["--base", flag, path, "--", "true"]), scratch.path(), 125, &asked);
        }
        let asked = format!("working directory {path}: {words}");
        refused(run(["--base", "--cwd", path, "--", "true"]), scratch.path(), 125, &asked);
        let slot = format!("name={path}");
        let asked = format!("grant --fd {slot}: ");
        refused(run(["--base", "--fd", &slot, "--", "true"]), scratch.path(), 125, &asked);
    }
    refused(
        run(["--base", "--cwd", "file", "--", "true"]),
        scratch.path(),
        125,
        "working directory file: not a directory",
    );
    // One wrong grant among good ones is enough, and the first is told of.
    let words = ["--base", "--read", ".", "--write", "first", "--read", "second", "--", "true"];
    refused(run(words), scratch.path(), 125, "grant --write first: ");
}

/// Paths are those of the caller, also relative ones.
#[test]
fn relative_paths_are_the_callers() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.at("folder")).unwrap();
    scratch.file("folder/file", "contents");
    scratch.file("beside", "not granted");
    let at = |name: &str| scratch.at(name);
    for grant in ["folder", "./folder/", "folder/../folder", "folder/file"] {
        let words = ["--base", "--read", grant, "--", "cat", &at("folder/file")];
        assert_eq!(succeeds(scratch.path(), &words), "contents");
        let output = super::ran(scratch.path(), &["--base", "--read", grant, "--", "cat", &at("beside")]);
        assert_eq!(output.status.code(), Some(1));
    }
    assert_eq!(
        succeeds(scratch.path(), &["--base", "--cwd", "folder", "--read", "folder", "--", "cat", "file"]),
        "contents"
    );
}

#[test]
fn what_means_the_asking_process_is_refused() {
    let scratch = Scratch::new();
    for path in ["/proc/self", "/proc/self/environ", "/proc/thread-self", "/proc/self/task", "/dev/fd"] {
        let asked = format!("grant --read {path}: ");
        refused(run(["--base", "--read", path, "--", "true"]), scratch.path(), 125, &asked);
    }
}

#[test]
fn a_place_that_this_user_may_not_reach_is_refused() {
    const NAME: &str = "a_place_that_this_user_may_not_reach_is_refused";
    if is_root() {
        return skip(NAME, Need::OrdinaryUser);
    }
    let scratch = Scratch::new();
    refused(
        run(["--base", "--fd", "shadow=/etc/shadow", "--", "true"]),
        scratch.path(),
        125,
        "grant --fd shadow=/etc/shadow: permission denied",
    );
}

#[test]
fn descriptors_that_cannot_be_given_are_named() {
    let scratch = Scratch::new();
    scratch.file("file", "");
    let long = "n".repeat(256);
    let too_long = format!("{long}=0");
    let table: &[(&[&str], &str)] = &[
        (&["name=9"], "grant --fd name=9: bad file descriptor"),
        (&["name=-1"], "grant --fd name=-1: bad file descriptor"),
        (&["name=1023"], "grant --fd name=1023: bad file descriptor"),
        (&["name=2147483647"], "grant --fd name=2147483647: bad file descriptor"),
        (&["name=2147483648"], "flag --fd name=2147483648: bad file descriptor"),
        (&["name=4294967296"], "flag --fd name=4294967296: bad file descriptor"),
        (&["name=18446744073709551616"], "flag --fd name=18446744073709551616: bad file descriptor"),
        (&["name=-99999999999999999999"], "bad file descriptor"),
        (&["name="], "grant --fd name=: no such file or directory"),
        (&["name=+0"], "grant --fd name=+0: no such file or directory"),
        (&["name=:rw"], "grant --fd name=:rw: no such file or directory"),
        (&["name=/:rw"], "grant --fd name=/:rw: is a directory"),
        (&["name"], "flag --fd name: wants NAME=N or NAME=PATH"),
        (&[""], "flag --fd: wants NAME=N or NAME=PATH"),
        (&["=0"], "slot : a name has 1 to 255 bytes"),
        (&[&too_long], "a name has 1 to 255 bytes"),
        (&["a:b=0"], "slot a:b: a name has no colon"),
        (&["tab\there=0"], "a name has no colon and no control character"),
        (&["same=0", "same=1"], "slot same: the name is there already"),
        (&["a=0", "b=file", "a=file"], "slot a: the name is there already"),
    ];
    for (slots, words) in table {
        let mut asked = vec!["--base"];
        asked.extend(slots.iter().flat_map(|slot| ["--fd", slot]));
        asked.extend(["--", "true"]);
        refused(run(asked), scratch.path(), 125, words);
    }
}

#[test]
fn variables_that_cannot_be_are_named() {
    let scratch = Scratch::new();
    let table: &[(&str, &str)] = &[
        ("NOT_SET_HERE", "flag --env NOT_SET_HERE: not set here"),
        ("", "flag --env: not set here"),
        ("=", "a name is not empty"),
        ("=value", "a name is not empty"),
    ];
    for (variable, words) in table {
        refused(run(["--base", "--env", variable, "--", "true"]), scratch.path(), 125, words);
    }
    assert_eq!(
        succeeds(scratch.path(), &["--base", "--env", "A=b=c", "--env", "E=", "--", "env"]),
        "A=b=c\nE=\nPATH=/usr/local/bin:/usr/bin:/bin\n"
    );
}

/// Names come from anywhere. One with a line's end in it, or with a terminal's commands, must not write lines or commands of its
/// own.
#[test]
fn names_with_control_characters_stay_in_one_line() {
    let scratch = Scratch::new();
    let folder = scratch.path();
    for name in ["a\nbeget: b", "a\x1b[2Jb", "a\rb"] {
        let table: &[(&[&str], i32)] = &[
            (&["--read", name, "--", "true"], 125),
            (&["--cwd", name, "--", "true"], 125),
            (&["--env", name, "--", "true"], 125),
            (&["--degrade", name, "--", "true"], 125),
            (&["--fd", name, "--", "true"], 125),
            (&["--", name], 127),
        ];
        for (words, code) in table {
            refused(run(*words), folder, *code, "beget: ");
            let said = super::ran(folder, words).stderr;
            let control = said[..said.len() - 1].iter().any(u8::is_ascii_control);
            assert!(!control, "{words:?}: {:?}", beget_tests::text(&said));
        }
        let flag = format!("--{name}");
        refused(run([flag.as_str(), "--", "true"]), folder, 125, "beget: ");
    }
}
