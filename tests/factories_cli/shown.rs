//! What a factory says of itself, and what is believed of it.

use super::served::Served;

#[test]
fn what_products_reach_is_told() {
    let served = Served::start(&[]);
    let file = served.scratch.file("data", "to be read");
    served.factory(&["create", "show", "--base", "--read", &file, "--tcp-connect", "443", "--", "true"]);
    served.factory(&["run", "show"]);
    let shown = served.json_of(&["show", "show"]);
    assert_eq!((&shown["sealed"], &shown["confined"]), (&true.into(), &false.into()));
    let holes = shown["holes"].as_array().expect("a list");
    let port = holes.iter().find(|hole| hole["identity"] == "tcp-connect:443:use").expect("the port is one");
    assert!(port["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{port}");
    assert!(shown["digest"].as_str().is_some_and(|digest| digest.starts_with("sha256-whole:")), "{shown}");
    assert!(shown["held"].as_array().is_some_and(|lines| !lines.is_empty()), "{shown}");
    let scope = shown["out_of_scope"].to_string();
    assert!(scope.contains("covert and timing channels"), "{scope}");
    assert_eq!(shown["statistics"]["cold"], 1, "{shown}");
    let table = served.factory(&["show", "show"]);
    for part in
        ["FACTORY\n", "HOLES", "CONSTITUENTS", "HELD BY", "OUT OF SCOPE", "STATISTICS", "tcp-connect:443:use"]
    {
        assert!(table.contains(part), "{part}: {table}");
    }
}

/// Nobody passes a program of his own off as a keeper: the service says whose birth it wrote, and a keeper cannot be looked into.
#[test]
fn a_keeper_is_the_services_own() {
    let served = Served::start(&[]);
    served.ok(&["spawn", "false", "--base", "--", "sleep", "1000"]);
    assert_eq!(served.json(&["ps"])[0]["factory"], false);
    served.factory(&["create", "true", "--base", "--", "true"]);
    let keeper = super::keeper(&served, "true");
    let own = std::fs::read_to_string(format!("/proc/{keeper}/status")).expect("it lives");
    let users = own.lines().find_map(|line| line.strip_prefix("Uid:")).expect("a user");
    // SAFETY: asks a number.
    let user = unsafe { libc::geteuid() }.to_string();
    assert!(users.split_whitespace().all(|number| number == user), "{users}");
    // Closed to others of its user: what it has open is not theirs to see.
    use std::os::unix::fs::MetadataExt;
    let owner = std::fs::metadata(format!("/proc/{keeper}/environ")).expect("it lives").uid();
    assert_eq!(owner, 0);
}

/// A program that was given a right to a factory has products made, and nothing else.
#[test]
fn a_capability_is_used_from_the_slot_it_was_given_in() {
    let served = Served::start(&[]);
    served.factory(&["create", "made", "--base", "--", "sh", "-c", "echo made; exit 4"]);
    let beget = beget_tests::program("beget-under-test");
    let beget = beget.to_str().expect("a path");
    for (right, words, code, said) in [
        ("request", &["run"][..], 4, "made\n"),
        ("request", &["show"], 125, ""),
        ("verify", &["run"], 125, ""),
        ("request,verify", &["replace"], 125, ""),
    ] {
        let capability = format!("it=made:{right}");
        let mut all =
            vec!["spawn", "--base", "--exec", beget, "--stdio", "--tied", "--capability", &capability];
        all.extend(["--", beget, "factory"]);
        all.extend(words);
        all.extend(["--socket", "fd:it"]);
        let output = served.run(&all);
        let (out, err) = (beget_tests::text(&output.stdout), beget_tests::text(&output.stderr));
        assert_eq!((output.status.code(), out.as_str()), (Some(code), said), "{right} {words:?}: {err}");
        assert!(code == 4 || err.contains("the capability is no right to that"), "{err}");
    }
    let said = served.fails(125, &["spawn", "--base", "--capability", "it=made:build", "--", "true"]);
    assert!(said.contains("is no right"), "{said}");
}

impl Served {
    #[track_caller]
    fn json_of(&self, words: &[&str]) -> serde_json::Value {
        let (verb, rest) = words.split_first().expect("a verb");
        let said = self.factory(&[&[*verb, "--json"], rest].concat());
        serde_json::from_str(&said).expect("JSON")
    }
}
