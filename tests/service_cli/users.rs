//! Two users of one machine: each is served as itself or not at all, and sees nothing of the other's.

use std::process::{Command, Output, Stdio};

use beget_tests::{Need, finish, has, is_root, program, skip, text};

use super::served::Served;

/// Runs `beget` as another user, who has no rights of root's.
fn as_nobody(served: &Served, words: &[&str]) -> Output {
    finish(
        Command::new("setpriv")
            .args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all", "--"])
            .arg(program("beget-under-test"))
            .args(words)
            .env_clear()
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .env("BEGET_SOCKET", served.socket())
            .current_dir("/")
            .stdin(Stdio::null()),
    )
}

fn possible(test: &str) -> bool {
    if !is_root() {
        skip(test, Need::Root);
        return false;
    }
    if !has("setpriv") {
        skip(test, Need::Program("setpriv"));
        return false;
    }
    true
}

#[test]
fn another_user_is_not_served_unless_that_was_said() {
    if !possible("another_user_is_not_served_unless_that_was_said") {
        return;
    }
    let served = Served::start(&[]);
    let output = as_nobody(&served, &["ps"]);
    assert_eq!(output.status.code(), Some(125));
    assert!(text(&output.stderr).contains("permission denied"), "{}", text(&output.stderr));
    // Also when the socket's mode is not what keeps it out.
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(served.socket(), open).unwrap();
    let output = as_nobody(&served, &["ps"]);
    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stdout));
}

#[test]
fn users_neither_see_nor_touch_what_is_anothers() {
    if !possible("users_neither_see_nor_touch_what_is_anothers") {
        return;
    }
    let served = Served::start(&["--other-users"]);
    served.ok(&["spawn", "ours", "--base", "--", "sleep", "1000"]);
    let output = as_nobody(&served, &["spawn", "theirs", "--json", "--base", "--", "sleep", "1000"]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let record: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(record["user"], 65534);
    // It runs as that user, with nothing of root's.
    let status = std::fs::read_to_string(format!("/proc/{}/status", record["pid"])).unwrap();
    assert!(status.contains("Uid:\t65534\t65534\t65534\t65534"), "{status}");
    assert!(
        status.contains("CapPrm:\t0000000000000000") && status.contains("CapEff:\t0000000000000000"),
        "{status}"
    );
    assert!(status.contains("Groups:\t \n") || status.contains("Groups:\t\n"), "{status}");
    assert_eq!(served.names(), ["ours"]);
    let theirs = as_nobody(&served, &["ps", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&theirs.stdout).unwrap();
    assert_eq!(list.as_array().unwrap().len(), 1);
    for words in [
        &["kill", "ours"][..],
        &["wait", "--no-hang", "ours"],
        &["show", "--socket", &served.socket(), "ours"],
    ] {
        let output = as_nobody(&served, words);
        assert_eq!(output.status.code(), Some(125), "{words:?}");
        assert!(text(&output.stderr).contains("domain ours"), "{}", text(&output.stderr));
    }
    // A name is each user's own.
    assert!(as_nobody(&served, &["spawn", "ours", "--base", "--", "sleep", "1000"]).status.success());
    assert!(as_nobody(&served, &["kill", "ours", "theirs"]).status.success());
    assert_eq!(served.names(), ["ours"]);
    // Nor is a service theirs to end.
    assert_eq!(as_nobody(&served, &["serve", "--stop"]).status.code(), Some(125));
    assert_eq!(served.names(), ["ours"]);
    let history = as_nobody(&served, &["history", "--json"]);
    let list: serde_json::Value = serde_json::from_slice(&history.stdout).unwrap();
    assert!(list.as_array().unwrap().iter().all(|record| record["user"] == 65534), "{list}");
}

/// A factory of one user's: kept and made by processes with that user's rights alone, and no other user's to ask or to see.
#[test]
fn a_factory_is_its_users_own() {
    if !possible("a_factory_is_its_users_own") {
        return;
    }
    let served = Served::start(&["--other-users"]);
    let create =
        ["factory", "create", "copies", "--base", "--read", "/proc", "--ready", "entry", "--pool", "2"];
    let create = [&create[..], &["--json", "--", "cat", "/proc/self/status"]].concat();
    let ours: serde_json::Value = serde_json::from_str(&served.ok(&create)).unwrap();
    let output = as_nobody(&served, &create);
    assert!(output.status.success(), "{}", text(&output.stderr));
    let theirs: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // A name is each user's own, and so is what it names.
    assert_ne!(ours["pid"], theirs["pid"]);
    let is_nobodys = |status: &str| {
        let line =
            |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default().trim();
        assert_eq!(line("Uid:"), "65534\t65534\t65534\t65534", "{status}");
        assert_eq!((line("Gid:"), line("Groups:")), ("65534\t65534\t65534\t65534", ""), "{status}");
        for set in ["CapInh:", "CapPrm:", "CapEff:", "CapAmb:"] {
            assert_eq!(line(set), "0000000000000000", "{status}");
        }
    };
    is_nobodys(&std::fs::read_to_string(format!("/proc/{}/status", theirs["pid"])).unwrap());
    for _ in 0..4 {
        let output = as_nobody(&served, &["factory", "run", "copies"]);
        assert!(output.status.success(), "{}", text(&output.stderr));
        is_nobodys(&text(&output.stdout));
        let own = served.ok(&["factory", "run", "copies"]);
        assert!(own.contains("Uid:\t0\t0\t0\t0"), "{own}");
    }
    let keepers = |list: &[u8]| {
        let list: serde_json::Value = serde_json::from_slice(list).unwrap();
        list.as_array().unwrap().iter().map(|one| one["pid"].clone()).collect::<Vec<_>>()
    };
    let list = ["factory", "list", "--json"];
    assert_eq!(keepers(&as_nobody(&served, &list).stdout), [theirs["pid"].clone()]);
    assert_eq!(keepers(served.ok(&list).as_bytes()), [ours["pid"].clone()]);
    // By a name that only the other has, there is none.
    served.ok(&["factory", "create", "root-only", "--base", "--", "id"]);
    for words in [
        &["factory", "run", "root-only"][..],
        &["factory", "show", "root-only"],
        &["factory", "destroy", "root-only"],
    ] {
        let output = as_nobody(&served, words);
        assert_eq!(output.status.code(), Some(125), "{words:?}");
        assert!(
            text(&output.stderr).contains("factory root-only: no factory has this name"),
            "{}",
            text(&output.stderr)
        );
    }
    // Each destroys its own.
    assert!(as_nobody(&served, &["factory", "destroy", "copies"]).status.success());
    assert!(served.ok(&["factory", "run", "copies"]).contains("Uid:\t0\t0\t0\t0"));
}
