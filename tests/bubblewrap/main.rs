//! bubblewrap's own test script, said in Beget: what each of its cases shows is shown here, or the book says why it cannot be said
//! (`docs/src/bubblewrap.md`, which names the test for each).

mod files;
mod overlays;
mod processes;
mod words;

use std::process::Stdio;

use beget_tests::{Need, Scratch, beget, finish, skip, text};

/// Exit code, standard output, standard error.
type Ran = (Option<i32>, String, String);

fn ran(words: &[&str]) -> Ran {
    let output = finish(beget().args(words).stdin(Stdio::null()));
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// `beget run --base --root` with these flags.
fn rooted(flags: &[&str], program: &[&str]) -> Ran {
    ran(&[&["run", "--base", "--root"], flags, &["--"], program].concat())
}

/// The same, of a shell that may start processes.
fn in_shell(flags: &[&str], script: &str) -> Ran {
    rooted(&[flags, &["--spawn"]].concat(), &["sh", "-c", script])
}

fn fine(out: &str) -> Ran {
    (Some(0), out.to_owned(), String::new())
}

/// It is refused before anything runs, in one sentence that begins with these words.
fn refused(flags: &[&str], words: &str) {
    let (code, out, errors) = rooted(flags, &["echo", "should not have run"]);
    assert_eq!((code, out.as_str(), errors.lines().count()), (Some(125), "", 1), "{flags:?}: {errors}");
    assert!(errors.starts_with(&format!("beget: {words}")), "{flags:?}: {errors}");
}

/// Whether a private root can be had here; says that it cannot.
fn has_root(test: &str) -> bool {
    let (code, _, errors) = rooted(&[], &["true"]);
    let refused = errors.contains("user namespaces are refused");
    assert!(code == Some(0) || refused, "{errors}");
    if refused {
        skip(test, Need::Machine("user namespaces"));
    }
    !refused
}

/// The tree of `demos/bubblewrap-shell.sh`: the system's programs, some links and folders, and the users' names cut down to two.
#[test]
fn the_demonstration_shell() {
    if !has_root("the_demonstration_shell") {
        return;
    }
    let users = "/etc/passwd=somebody:x:7:7::/:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n";
    let mut words = vec!["run", "--root", "--net", "--spawn", "--exec", "/usr", "--read", "/etc/resolv.conf"];
    for link in ["/bin=usr/bin", "/lib=usr/lib", "/lib64=usr/lib64", "/sbin=usr/sbin", "/var/tmp=../tmp"] {
        words.extend(["--symlink", link]);
    }
    words.extend(["--dir", "/run/user/7", "--env", "XDG_RUNTIME_DIR=/run/user/7", "--env", "PS1=demo$ "]);
    words.extend(["--uid", "7", "--gid", "7", "--file", users, "--", "sh", "-c"]);
    words.push("cd / && ls && ls etc && id -un && echo x > var/tmp/file && cat tmp/file && ls -d $XDG_RUNTIME_DIR && echo \"$PS1\"");
    let told = "bin\ndev\netc\nlib\nlib64\nproc\nrun\nsbin\ntmp\nusr\nvar\npasswd\nresolv.conf\nsomebody\nx\n/run/user/7\ndemo$ \n";
    assert_eq!(ran(&words), fine(told));
}

/// Each test that the book names is here.
#[test]
fn the_book_names_tests_that_there_are() {
    let chapter = include_str!("../../docs/src/bubblewrap.md");
    let sources = [
        include_str!("main.rs"),
        include_str!("files.rs"),
        include_str!("overlays.rs"),
        include_str!("processes.rs"),
        include_str!("words.rs"),
    ]
    .concat();
    let tests: Vec<&str> = sources
        .split("#[test]\nfn ")
        .skip(1)
        .filter_map(|part| part.split('(').next())
        .filter(|name| *name != "the_book_names_tests_that_there_are")
        .collect();
    let named = |test: &&str| chapter.contains(&format!("| `{test}` |"));
    let missing: Vec<&str> = tests.iter().copied().filter(|test| !named(test)).collect();
    assert!(missing.is_empty(), "the book does not name {missing:?}");
    let table =
        chapter.split("## Its test script").nth(1).and_then(|rest| rest.split("And what cannot").next());
    let table = table.expect("the table of cases");
    for row in table.lines().filter(|line| line.starts_with("| ") && line.ends_with("` |")) {
        let name = row.trim_end_matches(" |").rsplit("| ").next().unwrap_or("").trim_matches('`');
        assert!(tests.contains(&name), "{name} is no test");
    }
}
