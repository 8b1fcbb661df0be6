//! `beget check`: what can be enforced, by having tried it.

use beget_tests::Scratch;
use serde_json::Value;

use crate::run_in;

#[test]
fn it_tells_what_keeps_each_promise() {
    let ran = run_in("/", &["check", "--json"]);
    let told: Value = serde_json::from_str(&ran.out).expect("it is JSON");
    assert_eq!(told["confined_child"], "works", "{}", ran.out);
    let promises = told["promises"].as_array().expect("a list");
    for promise in beget::Promise::ALL {
        assert!(promises.iter().any(|line| line["promise"] == promise.word()), "{promise}");
    }
    assert_eq!(promises.iter().filter(|line| line["promise"] == "root").count(), 1);
    let kept = promises.iter().all(|line| !line["by"].is_null());
    assert_eq!(ran.code, Some(if kept { 0 } else { 1 }));
    assert_eq!(told["kept"], kept);
}

#[test]
fn a_kernel_without_landlock_keeps_less() {
    let ran = run_in("/", &["check", "--as-if", "landlock=none"]);
    assert_eq!(ran.code, Some(1), "{}", ran.err);
    assert!(ran.out.contains("files             CANNOT BE KEPT"), "{}", ran.out);
    assert!(ran.out.contains("needs Landlock (Linux 5.13, enabled at boot)"), "{}", ran.out);
}

#[test]
fn of_a_spec_it_tells_what_the_spec_asks() {
    let scratch = Scratch::new();
    scratch.file("a.toml", "base = true\ntcp-connect = [443]\n");
    let check = |words: &[&str]| run_in(&scratch.at(""), &[&["check", "--spec", "a.toml"], words].concat());
    let whole = check(&[]);
    whole.shows("tcp-ports");
    assert!(!whole.out.contains("memory"), "{}", whole.out);
    let older = check(&["--as-if", "landlock=3"]);
    assert_eq!(older.code, Some(1), "{}", older.err);
    assert!(older.out.contains("CANNOT BE KEPT") && older.out.contains("needs Landlock ABI 4 (Linux 6.7)"));
    check(&["--as-if", "landlock=3", "--degrade", "tcp-ports"]).shows("NOT ENFORCED: given up");
    scratch.file("a.toml", "base = true\nread = [\"none\"]\n");
    check(&[]).refuses(
        "beget: spec a.toml:2:9: grant --read none: no such file or directory\n  2 | read = [\"none\"]\n    |         ^^^^^^\n",
    );
    scratch.file("a.toml", "bsae = true\n");
    check(&[]).refuses("beget: spec a.toml:1:1: unknown key \"bsae\"; did you mean \"base\"?\n  1 | bsae = true\n    | ^^^^\n");
}
