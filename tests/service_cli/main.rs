//! The service from the command line: a real one for each test, at a socket of its own, as root and as an ordinary user.

mod births;
mod capabilities;
mod lives;
mod manifests;
mod served;
mod traced;
mod units;
mod users;

use beget_tests::{mark, marked, text};
use served::{Served, until};

#[test]
fn a_domain_is_spawned_listed_waited_for_and_remembered() {
    let served = Served::start(&[]);
    let said = served.ok(&["spawn", "job", "--base", "--", "sh", "-c", "exit 3"]);
    assert_eq!(said, "job\n");
    served.fails(3, &["wait", "job"]);
    // Any number may wait, and late.
    served.fails(3, &["wait", "--no-hang", "job"]);
    let history = served.json(&["history"]);
    let record = &history[0];
    assert_eq!(
        (&record["name"], &record["state"], &record["exit_code"]),
        (&"job".into(), &"exited".into(), &3.into())
    );
    assert!(record["ended"].as_str().unwrap().ends_with('Z'), "{record}");
    assert_eq!(served.ok(&["ps"]), "no domain lives\n");
    // The name is free again.
    let spawned = served.json(&["spawn", "job", "--base", "--", "sleep", "1000"]);
    assert_eq!((&spawned["name"], &spawned["state"]), (&"job".into(), &"running".into()));
    assert!(
        spawned["pid"].as_u64().is_some_and(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists())
    );
    let list = served.ok(&["ps"]);
    assert!(list.contains("job") && list.contains("--base") && !list.contains('\x1b'), "{list}");
    served.fails(124, &["wait", "--no-hang", "job"]);
    served.fails(124, &["wait", "--timeout", "50ms", "job"]);
    served.ok(&["kill", "job"]);
    served.fails(137, &["wait", "job"]);
}

#[test]
fn names_are_ones_own_and_unique() {
    let served = Served::start(&[]);
    served.ok(&["spawn", "one", "--base", "--", "sleep", "1000"]);
    let said = served.fails(125, &["spawn", "one", "--base", "--", "sleep", "1000"]);
    assert!(said.starts_with("beget: ") && said.contains("one"), "{said}");
    let chosen = served.ok(&["spawn", "--base", "--", "sleep", "1000"]);
    assert!(served.names().contains(&chosen.trim().to_owned()), "{chosen}");
    for wrong in ["7", "a b", "a/b", "", &"x".repeat(65)] {
        let said = served.fails(125, &["spawn", wrong, "--base", "--", "true"]);
        assert_eq!(said.lines().count(), 1, "{said}");
    }
    for command in ["wait", "kill"] {
        let said = served.fails(125, &[command, "nobody"]);
        assert!(said.contains("domain nobody: "), "{said}");
    }
    // One that is not there keeps nobody from the others.
    assert!(served.fails(125, &["kill", "nobody", "one"]).contains("domain nobody: "));
    assert!(!served.names().contains(&"one".to_owned()));
}

#[test]
fn what_cannot_be_born_is_told_in_the_parts_own_words() {
    let served = Served::start(&[]);
    let said = served.fails(127, &["spawn", "x", "--base", "--", "no-such-program"]);
    assert!(said.contains("no-such-program"), "{said}");
    let said = served.fails(125, &["spawn", "x", "--base", "--read", "/not/there", "--", "true"]);
    assert!(said.contains("grant --read /not/there: no such file or directory"), "{said}");
    let script = served.scratch.file("text", "no program");
    served.fails(126, &["spawn", "x", "--base", "--", &script]);
    let said = served.fails(125, &["spawn", "x", "--base", "--cwd", "/not/there", "--", "true"]);
    assert!(said.contains("/not/there"), "{said}");
    assert_eq!(served.names(), Vec::<String>::new());
}

#[test]
fn everything_that_a_domain_left_ends_with_it() {
    let served = Served::start(&[]);
    let mark = mark();
    let one = "sh -c 'while :; do sleep 1000; done'";
    let script = format!("{one} {mark}one & {one} {mark}two");
    served.ok(&["spawn", "tree", "--base", "--spawn", "--", "sh", "-c", &script]);
    until("two processes", || marked(&mark).len() >= 2);
    let ended = served.json(&["kill", "tree"]);
    assert_eq!(ended[0]["state"], "killed");
    assert_eq!(marked(&mark), Vec::<u32>::new());
}

#[test]
fn a_signal_and_a_time_of_grace_are_heard() {
    let served = Served::start(&[]);
    let log = served.scratch.at("log");
    let script = "trap 'echo usr; ' USR1; trap 'echo term; exit 7' TERM; echo ready; while :; do :; done";
    served.ok(&["spawn", "ears", "--base", "--stdout", &log, "--", "sh", "-c", script]);
    let heard = |word: &str| std::fs::read_to_string(&log).unwrap_or_default().contains(word);
    until("ready", || heard("ready"));
    let signalled = served.json(&["kill", "--signal", "USR1", "ears"]);
    assert_eq!((&signalled[0]["name"], &signalled[0]["state"]), (&"ears".into(), &"running".into()));
    until("a signal heard", || heard("usr"));
    let ended = served.json(&["kill", "--grace", "20s", "ears"]);
    assert_eq!(ended[0]["exit_code"], 7, "{ended}");
    assert!(heard("term"));
}

#[test]
fn a_domain_has_its_time() {
    let served = Served::start(&[]);
    served.ok(&["spawn", "late", "--base", "--timeout", "200ms", "--", "sleep", "1000"]);
    served.fails(137, &["wait", "late"]);
    let record = &served.json(&["history"])[0];
    assert_ne!(record["report"], "", "{record}");
}

#[test]
fn what_it_holds_is_shown_with_what_enforces_it() {
    let served = Served::start(&[]);
    let folder = served.scratch.path().to_str().unwrap();
    served.ok(&["spawn", "web", "--base", "--read", folder, "--", "sleep", "1000"]);
    let shown = served.json(&["show", "web"]);
    assert_eq!((&shown["name"], &shown["state"]), (&"web".into(), &"running".into()));
    let enforced = shown["holds"]["enforced"].as_array().unwrap();
    assert!(enforced.iter().any(|line| line["promise"] == "files" && line["by"].is_string()), "{shown}");
    let table = served.ok(&["show", "web"]);
    assert!(
        table.starts_with("DOMAIN\n") && table.contains(folder) && table.contains("ENFORCED BY"),
        "{table}"
    );
    // After `--` it is a program.
    assert!(served.fails(127, &["show", "--", "web"]).contains("program web"));
    // A word alone may have been meant either way.
    assert!(served.fails(127, &["show", "no-such-one"]).contains("nor has a domain this name"));
}

#[test]
fn two_do_not_serve_at_one_socket() {
    let mut served = Served::start(&[]);
    let said = served.fails(125, &["serve"]);
    assert!(said.contains("one runs already"), "{said}");
    // One that was killed leaves its socket, and the next takes its place.
    let parts = [served.part("service"), served.part("monitor")];
    served.supervisor().kill().unwrap();
    served.supervisor().wait().unwrap();
    let gone = |number: &i32| !std::path::Path::new(&format!("/proc/{number}")).exists();
    until("parts gone", || parts.iter().all(gone));
    assert!(std::path::Path::new(&served.socket()).exists());
    served.serve(&[]);
    served.ok(&["ps"]);
    assert_eq!(served.json(&["serve", "--stop"])["living"], 0);
    assert!(served.supervisor().wait().unwrap().success());
    assert!(!std::path::Path::new(&served.socket()).exists());
    assert!(served.fails(125, &["ps"]).contains("no service listens there"));
}

#[test]
fn a_spawn_starts_a_service_and_says_so_once() {
    let served = Served::none();
    let first = served.run(&["spawn", "one", "--base", "--", "sleep", "1000"]);
    assert!(first.status.success(), "{}", text(&first.stderr));
    assert!(text(&first.stderr).contains("no service ran; one was started"), "{}", text(&first.stderr));
    assert_eq!(text(&first.stdout), "one\n");
    served.ok(&["spawn", "two", "--base", "--", "sleep", "1000"]);
    assert_eq!(served.names(), ["one", "two"]);
    let service = served.part("service");
    served.ok(&["kill", "one", "two"]);
    // Nothing is left to keep.
    until("gone", || !std::path::Path::new(&format!("/proc/{service}")).exists());
    until("not listening", || served.run(&["ps"]).status.code() == Some(125));
    // What has ended is remembered by the next.
    let again = served.run(&["spawn", "three", "--base", "--", "true"]);
    assert!(again.status.success(), "{}", text(&again.stderr));
    let history = served.json(&["history"]);
    assert!(history.as_array().unwrap().iter().any(|record| record["name"] == "one"), "{history}");
}
