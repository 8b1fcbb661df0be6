//! Programs that are started once: copied on request or born ahead, replaced, killed, saved and loaded.

use std::process::{Child, Command, Stdio};

use beget_tests::{Need, has, skip, text};

use super::served::{Served, until};
use super::with_input;

impl Served {
    fn counted(&self, name: &str, what: &str) -> u64 {
        let shown: serde_json::Value =
            serde_json::from_str(&self.factory(&["show", "--json", name])).expect("JSON");
        shown["statistics"][what].as_u64().expect("a number")
    }
}

#[test]
fn products_are_copied_on_request_or_wait_and_the_template_is_replaced() {
    let served = Served::start(&[]);
    served.factory(&["create", "upper", "--base", "--ready", "main", "--", "tr", "a-z"]);
    let upper = |words: &[&str]| {
        let output = with_input(&served, &[&["run", "upper", "--"], words].concat(), "some words");
        (text(&output.stdout), output.status.code())
    };
    assert_eq!(upper(&["A-Z"]), ("SOME WORDS".to_owned(), Some(0)));
    assert_eq!(upper(&["B-ZA"]), ("TPNF XPSET".to_owned(), Some(0)));
    assert_eq!((served.counted("upper", "warm"), served.counted("upper", "cold")), (2, 0));
    served.factory(&["replace", "upper"]);
    assert_eq!(upper(&["A-Z"]).0, "SOME WORDS");
    assert_eq!((served.counted("upper", "replaced"), served.counted("upper", "templates")), (1, 2));
    served.factory(&["create", "pooled", "--base", "--ready", "main", "--pool", "3", "--", "tr", "a-z"]);
    until("three wait", || served.counted("pooled", "waiting") == 3);
    let output = with_input(&served, &["run", "pooled", "--", "A-Z"], "pooled");
    assert_eq!(text(&output.stdout), "POOLED");
    assert_eq!(served.counted("pooled", "hits"), 1);
    let shown = served.factory(&["show", "upper"]);
    assert!(shown.contains("shared-randomness"), "{shown}");
    let output = with_input(&served, &["run", "--unique", "upper", "--", "A-Z"], "");
    assert_eq!(output.status.code(), Some(125), "{}", text(&output.stderr));
    let said = served.no_factory(125, &["create", "x", "--base", "--pool", "3", "--", "true"]);
    assert!(said.contains("flag --pool: wants --ready"), "{said}");
    let said = served.no_factory(126, &["create", "x", "--base", "--ready", "symbol=none", "--", "true"]);
    assert!(said.contains("symbol=none"), "{said}");
    assert!(!served.names().contains(&"x".to_owned()));
}

/// The template and every product that waits are killed again and again while requests run: each is answered rightly, and the pool is full
/// again.
#[test]
fn a_template_that_is_killed_is_made_anew_and_no_request_is_answered_wrongly() {
    let served = Served::start(&[]);
    served.factory(&[
        "create",
        "cat",
        "--base",
        "--ready",
        "main",
        "--pool",
        "4",
        "--low-water",
        "4",
        "--",
        "cat",
        "-",
    ]);
    let keeper = super::keeper(&served, "cat");
    let template = || children_of_nursery(keeper);
    for round in 0..4 {
        let mut requests: Vec<(Child, String)> = Vec::new();
        for number in 0..6 {
            let input = format!("{round} {number}\n");
            let mut command = served.beget(&["factory", "run", "cat"]);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().expect("it can be started");
            use std::io::Write;
            child.stdin.take().expect("a pipe").write_all(input.as_bytes()).expect("it reads");
            requests.push((child, input));
            if number == 2
                && let Some(first) = template().first()
            {
                Served::kill(*first);
            }
        }
        for (child, input) in requests {
            let output = child.wait_with_output().expect("it ends");
            // One that was killed itself after it had begun is told as such.
            if output.status.code() == Some(137) {
                continue;
            }
            assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
            assert_eq!(text(&output.stdout), input, "{}", text(&output.stderr));
        }
    }
    until("the pool full again", || served.counted("cat", "waiting") == 4);
    served.factory(&["destroy", "cat"]);
    until("nothing left", || template().is_empty());
}

/// The processes below a keeper that run the program, the oldest first.
fn children_of_nursery(keeper: i32) -> Vec<i32> {
    let parents = |number: i32| {
        let list = std::fs::read_to_string(format!("/proc/{number}/task/{number}/children"));
        let list = list.unwrap_or_default();
        list.split_whitespace().filter_map(|number| number.parse().ok()).collect::<Vec<i32>>()
    };
    let mut found = Vec::new();
    let mut next = vec![keeper];
    while let Some(number) = next.pop() {
        for child in parents(number) {
            let name = std::fs::read_to_string(format!("/proc/{child}/comm")).unwrap_or_default();
            if name.trim() == "cat" {
                found.push(child);
            }
            next.push(child);
        }
    }
    found.sort_unstable();
    found
}

#[test]
fn a_program_is_saved_and_goes_on_from_there_in_another_factory() {
    let served = Served::start(&[]);
    let image = served.scratch.at("image");
    served.factory(&["create", "upper", "--base", "--ready", "main", "--", "tr", "a-z", "A-Z"]);
    let digest = served.factory(&["save", "upper", "--output", &image]);
    assert!(digest.starts_with("sha256-image:"), "{digest}");
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::metadata(&image).expect("it was saved").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let said = served.no_factory(125, &["save", "upper", "--output", &image]);
    assert!(said.contains("file exists"), "{said}");
    served.factory(&["destroy", "upper"]);
    served.factory(&["load", "again", "--base", "--image", &image, "--pool", "2", "--", "tr", "a-z", "A-Z"]);
    for input in ["one", "two", "three"] {
        let output = with_input(&served, &["run", "again"], input);
        assert_eq!(text(&output.stdout), input.to_uppercase(), "{}", text(&output.stderr));
    }
    let shown = served.factory(&["show", "--json", "again"]);
    assert!(shown.contains(digest.trim()) && shown.contains("fixed-layout"), "{shown}");
    // Another program, a file that was changed, and a key that has not signed it.
    let said = served.no_factory(125, &["load", "x", "--base", "--image", &image, "--", "cat"]);
    assert!(said.contains("digest"), "{said}");
    let mut bytes = std::fs::read(&image).expect("it can be read");
    let middle = bytes.len() - 5000;
    bytes[middle] ^= 1;
    let changed = served.scratch.file("changed", &bytes);
    let said =
        served.no_factory(125, &["load", "x", "--base", "--image", &changed, "--", "tr", "a-z", "A-Z"]);
    assert!(said.contains("image: "), "{said}");
    let said = served.no_factory(125, &["load", "x", "--base", "--signed-by", "k", "--", "true"]);
    assert!(said.contains("flag --image: no file was named"), "{said}");
    served.factory(&["create", "cold", "--base", "--", "true"]);
    let none = served.scratch.at("none");
    let said = served.no_factory(125, &["save", "cold", "--output", &none]);
    assert!(said.contains("a cold factory has nothing to save"), "{said}");
    assert!(!std::path::Path::new(&none).exists());
    if !has("openssl") {
        return skip(
            "warm::a_program_is_saved_and_goes_on_from_there_in_another_factory",
            Need::Machine("openssl"),
        );
    }
    let (key, public) = (served.scratch.at("key.pem"), served.scratch.at("key.pub"));
    for words in [
        &["genpkey", "-algorithm", "ed25519", "-out", &key][..],
        &["pkey", "-in", &key, "-pubout", "-out", &public],
    ] {
        assert!(
            Command::new("openssl").args(words).stderr(Stdio::null()).status().expect("openssl").success()
        );
    }
    let program = ["--", "tr", "a-z", "A-Z"];
    let load = ["load", "signed", "--base", "--signed-by", &public, "--image"];
    let said = served.no_factory(125, &[&load[..], &[&image], &program].concat());
    assert!(said.contains("it is not signed"), "{said}");
    let signed = served.scratch.at("signed");
    served.factory(&["save", "again", "--output", &signed, "--sign-with", &key]);
    served.factory(&[&load[..], &[&signed], &program].concat());
    assert_eq!(text(&with_input(&served, &["run", "signed"], "signed").stdout), "SIGNED");
}

#[test]
fn an_interpreter_is_told_its_job_and_each_product_is_unlike_the_others() {
    let test = "warm::an_interpreter_is_told_its_job_and_each_product_is_unlike_the_others";
    if !has("python3") {
        return skip(test, Need::Program("python3"));
    }
    let served = Served::start(&[]);
    served.factory(&["create", "py", "--base", "--python", "--preload", "json,random", "--", "python3"]);
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let script = "import random, sys; print(random.random(), sys.argv[1]); sys.exit(7)";
        let output = with_input(&served, &["run", "--unique", "py", "--", "-c", script, "word"], "");
        assert_eq!(output.status.code(), Some(7), "{}", text(&output.stderr));
        assert!(text(&output.stdout).ends_with(" word\n"));
        told.insert(text(&output.stdout));
    }
    assert_eq!(told.len(), 4, "{told:?}");
    for (words, part) in [
        (&["--preload", "json"][..], "flag --preload: wants --python or --perl"),
        (&["--python", "--perl"], "the program is one of them"),
        (&["--python", "--ready", "main"], "flag --ready: "),
        (&["--python", "--preload", ","], "wants the name of a module"),
    ] {
        let said = served.no_factory(125, &[&["create", "x", "--base"], words, &["--", "python3"]].concat());
        assert!(said.contains(part), "{said}");
    }
}

/// Many ask at once, more than fit before the keeper has looked.
#[test]
fn many_requestors_ask_at_once() {
    let served = Served::start(&[]);
    served.factory(&["create", "sh", "--base", "--ready", "entry", "--", "sh", "-c"]);
    let children: Vec<Child> = (0..40)
        .map(|number| {
            let script = format!("exit {number}");
            let mut command = served.beget(&["factory", "run", "sh", "--", &script]);
            command.stdout(Stdio::null()).stderr(Stdio::piped());
            command.spawn().expect("it can be started")
        })
        .collect();
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().expect("it ends");
        assert_eq!(output.status.code(), Some(number as i32), "{}", text(&output.stderr));
    }
    assert_eq!(served.counted("sh", "warm"), 40);
}

/// Saved with all that it has imported; loaded, it is told its jobs as before, and only by the adapter that it was saved with.
#[test]
fn an_interpreter_is_saved_with_what_it_has_loaded() {
    let test = "warm::an_interpreter_is_saved_with_what_it_has_loaded";
    if !has("python3") {
        return skip(test, Need::Program("python3"));
    }
    let served = Served::start(&[]);
    let image = served.scratch.at("image");
    served.factory(&["create", "py", "--base", "--python", "--preload", "json,random", "--", "python3"]);
    served.factory(&["save", "py", "--output", &image]);
    served.factory(&["destroy", "py"]);
    for (adapter, words) in [(&[][..], "the adapter for python"), (&["--perl"][..], "the adapter for python")]
    {
        let load = [&["load", "no", "--image", &image, "--base"][..], adapter, &["--", "python3"]].concat();
        let said = served.no_factory(125, &load);
        assert!(said.contains("factory: image: ") && said.contains(words), "{said}");
    }
    let load = ["load", "py", "--image", &image, "--base", "--python", "--pool", "2", "--", "python3"];
    served.factory(&load);
    let mut told = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let script =
            "import sys; loaded = 'json' in sys.modules; import random; print(loaded, random.random())";
        let output = with_input(&served, &["run", "--unique", "py", "--", "-c", script], "");
        assert!(text(&output.stdout).starts_with("True "), "{}", text(&output.stderr));
        told.insert(text(&output.stdout));
    }
    assert_eq!(told.len(), 4, "{told:?}");
    // One without an adapter is not spoken to by any.
    served.factory(&["create", "upper", "--base", "--ready", "stop", "--", "sh", "-c", "kill -STOP $$; cat"]);
    let plain = served.scratch.at("plain");
    served.factory(&["save", "upper", "--output", &plain]);
    let load =
        ["load", "no", "--image", &plain, "--base", "--python", "--", "sh", "-c", "kill -STOP $$; cat"];
    let said = served.no_factory(125, &load);
    assert!(said.contains("its program is told no jobs by an adapter for python"), "{said}");
}
