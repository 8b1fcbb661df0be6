//! Factories from the command line: built, asked, shown and ended, each by a real service, as root and as an ordinary user.

mod kills;
#[path = "../service_cli/served.rs"]
#[allow(dead_code, unused_imports, reason = "what the tests of the service use besides")]
mod served;
mod shown;
mod warm;

use std::io::Write;
use std::process::{Output, Stdio};

use beget_tests::text;
use served::{Served, until};

/// Runs `beget factory` with these words and this input.
fn with_input(served: &Served, words: &[&str], input: &str) -> Output {
    let mut command = served.beget(&[&["factory"], words].concat());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it can be started");
    // Whoever did not take it all is told of by its exit code.
    let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
    child.wait_with_output().expect("it ends")
}

/// The process that keeps a factory.
fn keeper(served: &Served, name: &str) -> i32 {
    let list: serde_json::Value = serde_json::from_str(&served.factory(&["list", "--json"])).expect("JSON");
    let list = list.as_array().expect("a list");
    let record = list.iter().find(|record| record["name"] == name).expect("it is there");
    record["pid"].as_i64().expect("a number") as i32
}

impl Served {
    #[track_caller]
    fn factory(&self, words: &[&str]) -> String {
        self.ok(&[&["factory"], words].concat())
    }

    #[track_caller]
    fn no_factory(&self, code: i32, words: &[&str]) -> String {
        self.fails(code, &[&["factory"], words].concat())
    }
}

#[test]
fn a_factory_is_built_asked_listed_and_ended() {
    let served = Served::start(&[]);
    assert_eq!(served.factory(&["list"]), "no factory lives\n");
    assert_eq!(served.factory(&["create", "upper", "--base", "--", "tr", "a-z", "A-Z"]), "upper\n");
    for input in ["one", "two"] {
        let output = with_input(&served, &["run", "upper"], input);
        assert_eq!((text(&output.stdout), output.status.code()), (input.to_uppercase(), Some(0)));
    }
    let list = served.factory(&["list"]);
    assert!(list.starts_with("NAME") && list.contains("\nupper "), "{list}");
    let record = &served.json(&["ps"])[0];
    assert_eq!((&record["name"], &record["factory"]), (&"upper".into(), &true.into()));
    let said = served.no_factory(125, &["create", "upper", "--base", "--", "true"]);
    assert!(said.contains("factory upper: ") && said.contains("lives already"), "{said}");
    served.factory(&["destroy", "upper"]);
    assert_eq!(served.factory(&["list"]), "no factory lives\n");
    let said = served.no_factory(125, &["run", "upper"]);
    assert!(said.contains("factory upper: "), "{said}");
    // The name is free again.
    served.factory(&["create", "upper", "--base", "--", "true"]);
}

#[test]
fn a_product_is_given_what_is_its_own() {
    let served = Served::start(&[]);
    served.factory(&["create", "sh", "--base", "--env", "A=1", "--env", "B=2", "--", "sh", "-c"]);
    let script = "echo $0 $A $B; pwd; exit 9";
    let output =
        with_input(&served, &["run", "sh", "--env", "B=3", "--cwd", "/usr", "--", script, "name"], "");
    assert_eq!(text(&output.stdout), "name 1 3\n/usr\n", "{}", text(&output.stderr));
    assert_eq!(output.status.code(), Some(9));
    // What one is given no other has.
    let output = with_input(&served, &["run", "sh", "--", "echo $0 $B"], "");
    assert_eq!(text(&output.stdout), "sh 2\n");
    let file = served.scratch.file("given", "what is given");
    let given = format!("slot={file}");
    let output =
        with_input(&served, &["run", "--fd", &given, "sh", "--", "read x <&3; echo $x $LISTEN_FDNAMES"], "");
    assert_eq!(text(&output.stdout), "what is given slot\n", "{}", text(&output.stderr));
    let output = with_input(&served, &["run", "sh", "--open-files", "20", "--", "ulimit -n"], "");
    assert_eq!(text(&output.stdout), "20\n", "{}", text(&output.stderr));
    let output = with_input(&served, &["run", "sh", "--open-files", "100000", "--", "ulimit -n"], "");
    assert_eq!(output.status.code(), Some(125), "a wider limit than the factory's");
}

#[test]
fn a_product_ends_as_its_program_does() {
    let served = Served::start(&[]);
    served.factory(&["create", "sh", "--base", "--", "sh", "-c"]);
    for (script, code) in [("exit 0", 0), ("exit 77", 77), ("kill -TERM $$", 143), ("kill -KILL $$", 137)] {
        let output = with_input(&served, &["run", "--json", "sh", "--", script], "");
        assert_eq!(output.status.code(), Some(code), "{script}: {}", text(&output.stderr));
        let result: serde_json::Value = serde_json::from_slice(&output.stderr).expect("JSON");
        let told = if code > 128 { &result["signal"] } else { &result["exit_code"] };
        assert_eq!(told, &(code % 128 + if code == 128 { 128 } else { 0 }), "{result}");
    }
    let output = with_input(&served, &["run", "--timeout", "100ms", "sh", "--", "while :; do :; done"], "");
    assert_eq!(output.status.code(), Some(137));
    assert!(
        text(&output.stderr).contains("limit --timeout: the product was ended"),
        "{}",
        text(&output.stderr)
    );
    let script = "trap 'exit 5' TERM; while :; do :; done";
    let words = ["run", "--timeout", "300ms", "--grace", "20s", "sh", "--", script];
    let output = with_input(&served, &words, "");
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
}

#[test]
fn a_signal_goes_to_the_product() {
    let served = Served::start(&[]);
    served.factory(&["create", "sh", "--base", "--", "sh", "-c"]);
    let log = served.scratch.at("log");
    let script = "trap 'echo heard; exit 6' USR1; echo ready; while :; do :; done";
    let mut command = served.beget(&["factory", "run", "sh", "--", script]);
    command.stdout(std::fs::File::create(&log).expect("a file"));
    let mut child = command.spawn().expect("it can be started");
    let said = || std::fs::read_to_string(&log).unwrap_or_default();
    until("ready", || said().contains("ready"));
    // SAFETY: sends a signal to a child of ours that is not reaped.
    assert_eq!(unsafe { libc::kill(child.id() as i32, libc::SIGUSR1) }, 0);
    assert_eq!(child.wait().expect("it ends").code(), Some(6));
    assert_eq!(said(), "ready\nheard\n");
}

#[test]
fn what_cannot_be_built_is_told_in_its_own_words_and_leaves_nothing() {
    let served = Served::start(&[]);
    let said = served.no_factory(127, &["create", "x", "--base", "--", "no-such-program"]);
    assert!(said.contains("program no-such-program: "), "{said}");
    let script = served.scratch.file("text", "no program");
    served.no_factory(126, &["create", "x", "--base", "--", &script]);
    let said = served.no_factory(125, &["create", "x", "--base", "--read", "/not/there", "--", "true"]);
    assert!(said.contains("grant --read /not/there: no such file or directory"), "{said}");
    let said = served.no_factory(125, &["create", "x", "--base", "--timeout", "1s", "--", "true"]);
    assert!(said.contains("flag --timeout: no such flag of factory create"), "{said}");
    for wrong in ["7", "a b", ""] {
        served.no_factory(125, &["create", wrong, "--base", "--", "true"]);
    }
    assert_eq!(served.names(), Vec::<String>::new());
    // A domain is no factory.
    served.ok(&["spawn", "job", "--base", "--", "sleep", "1000"]);
    for verb in ["run", "show", "destroy", "replace"] {
        let said = served.no_factory(125, &[verb, "job"]);
        assert!(said.contains("factory job: this domain keeps no factory"), "{said}");
    }
    assert_eq!(served.names(), ["job"]);
    for (words, part) in [
        (&["fly"][..], "no such command; there are create, run, list"),
        (&[], "factory: no command was given"),
        (&["run"], "factory: no name was given; usage: beget factory run"),
        (&["create", "x"], "program: none was given; usage: beget factory create"),
        (&["create", "x", "--ready", "now", "--", "true"], "flag --ready now: "),
        (&["create", "x", "--pool", "-1", "--", "true"], "flag --pool -1: "),
        (&["create", "x", "--renew", "0", "--", "true"], "flag --renew 0: wants more than none"),
        (&["run", "--grace", "1s", "x"], "limit --grace: wants --timeout too"),
        (&["run", "--socket", "fd:none"], "slot none: nothing of this name"),
    ] {
        let said = served.no_factory(125, words);
        assert!(said.contains(part) && said.lines().count() == 1, "{words:?}: {said}");
    }
}

/// Paths are seen from where the builder was, and variables are the builder's; what changes afterwards changes nothing.
#[test]
fn a_factory_is_built_with_what_its_builder_has() {
    let served = Served::start(&[]);
    served.scratch.file("data", "of the builder");
    let mut command = served.beget(&["factory", "create", "cat", "--base", "--read", "data", "--cwd", "."]);
    command.args([
        "--env",
        "GIVEN",
        "--fd",
        "slot=0",
        "--",
        "sh",
        "-c",
        "read x < data; echo $x; echo $GIVEN; read x <&3; echo $x",
    ]);
    let input = served.scratch.file("input", "by number");
    command.current_dir(served.scratch.path()).env("GIVEN", "a variable");
    command.stdin(std::fs::File::open(&input).expect("a file"));
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = with_input(&served, &["run", "cat"], "");
    assert_eq!(text(&output.stdout), "of the builder\na variable\nby number\n", "{}", text(&output.stderr));
    let mut command = served.beget(&["factory", "create", "none", "--base", "--env", "GIVEN", "--", "true"]);
    let output = command.output().expect("it can be started");
    assert!(text(&output.stderr).contains("flag --env GIVEN: not set here"), "{}", text(&output.stderr));
}

/// A file says what is built, with a variable that is passed and a path from its own folder.
#[test]
fn a_spec_is_read_where_it_lies() {
    let served = Served::start(&[]);
    served.scratch.file("data", "of the file");
    let spec = "program = \"sh\"\narguments = [\"-c\", \"read x < data; echo $x $GIVEN\"]\nbase = true\nread = [\"data\"]\ncwd = \".\"\nenv-pass = [\"GIVEN\"]\n";
    let spec = served.scratch.file("spec.toml", spec);
    let mut command = served.beget(&[
        "factory",
        "create",
        "--spec",
        &spec,
        "cat",
        "--",
        "sh",
        "-c",
        "read x < data; echo $x $GIVEN",
    ]);
    command.env("GIVEN", "passed");
    let output = command.output().expect("it can be started");
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = with_input(&served, &["run", "cat"], "");
    assert_eq!(text(&output.stdout), "of the file passed\n", "{}", text(&output.stderr));
}
