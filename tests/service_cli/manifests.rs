//! Manifests: domains that the service starts by itself.

use super::served::{Served, until};

#[test]
fn domains_are_started_in_order_and_again() {
    let mut served = Served::none();
    let folder = served.scratch.path().to_str().unwrap().to_owned();
    let manifest = served.scratch.file(
        "site.toml",
        format!(
            "[profile.ours]\nbase = true\nread = ['{folder}']\n\
             [domain.second]\nextends = ['ours']\nprogram = 'sh'\narguments = ['-c', 'echo second; exec sleep 1000']\n\
             needs = ['first']\nstdout = 'log'\n\
             [domain.first]\nextends = ['ours']\nprogram = 'sleep'\narguments = ['1000']\n\
             [domain.again]\nextends = ['ours']\nprogram = 'sh'\narguments = ['-c', 'echo again; exit 1']\n\
             restart = 'on-failure'\nbackoff = '1ms'\nrestarts = 2\nstdout = 'log'\n\
             [domain.once]\nextends = ['ours']\nprogram = 'true'\n"
        ),
    );
    std::fs::write(served.scratch.at("log"), "").unwrap();
    served.serve(&["--manifest", &manifest]);
    let path = served.scratch.at("log");
    let log = || std::fs::read_to_string(&path).unwrap();
    until("all started", || log().contains("second") && log().matches("again").count() == 3);
    until("two left", || served.names() == ["first", "second"]);
    let list = served.json(&["ps"]);
    let started = |at: usize| list[at]["started"].as_str().unwrap().to_owned();
    assert!(started(0) <= started(1), "{list}");
    // It is an ordinary client: what it started lives on when it is killed, and is not started twice.
    let supervisor = served.supervisor().id();
    let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap();
    let keeper = children
        .split_whitespace()
        .find(|number| {
            let words = std::fs::read(format!("/proc/{number}/cmdline")).unwrap_or_default();
            words.windows(13).any(|part| part == b"manifest-part")
        })
        .expect("it runs");
    let before: Vec<_> = list.as_array().unwrap().iter().map(|record| record["pid"].clone()).collect();
    Served::kill(keeper.parse().unwrap());
    let said = || std::fs::read_to_string(served.scratch.at("serve.log")).unwrap();
    until("it is started again", || said().contains("manifest: ended"));
    served.ok(&["kill", "first"]);
    until("one left", || served.names() == ["second"]);
    let list = served.json(&["ps"]);
    assert!(before.contains(&list[0]["pid"]), "{list}");
    assert_eq!(log().matches("second").count(), 1);
    // Nor is it forgotten how often one was started that fails.
    until("it gives up again", || said().matches("domain again: was started 3 times").count() == 2);
    assert_eq!(log().matches("again").count(), 3);
    served.ok(&["serve", "--stop"]);
}

#[test]
fn one_that_cannot_be_started_is_told_by_its_name() {
    let mut served = Served::none();
    let text = "[domain.a]\nprogram = 'no-such-program'\nbase = true\n\
                [domain.b]\nprogram = 'true'\nbase = true\nneeds = ['a']";
    let manifest = served.scratch.file("site.toml", text);
    served.serve(&["--manifest", &manifest]);
    let said = || std::fs::read_to_string(served.scratch.at("serve.log")).unwrap();
    until("both are told of", || {
        said().contains("domain a: program no-such-program: not found")
            && said().contains("manifest: domain b: not started, for a could not be")
    });
    served.ok(&["serve", "--stop"]);
}

#[test]
fn what_is_wrong_is_told_before_anything_is_started() {
    let served = Served::none();
    for (text, words) in [
        (
            "[domain.a]\nprogram = 'true'\nneeds = ['b']\n[domain.b]\nprogram = 'true'\nneeds = ['a']",
            "needs itself: a needs b needs a",
        ),
        ("[domain.a]\nprogram = 'true'\nneeds = ['c']", "which is not there"),
        ("[domain.a]\nprogram = 'true'\ncapability = { x = 'a:lok' }", "needs itself"),
        ("domain = 1", "wants a table"),
    ] {
        let manifest = served.scratch.file("wrong.toml", text);
        let said = served.fails(125, &["serve", "--manifest", &manifest]);
        assert!(said.contains(words) && said.contains("wrong.toml:"), "{said}");
    }
    assert!(!std::path::Path::new(&served.socket()).exists());
    served.fails(125, &["serve", "--manifest", "/not/there"]);
}
