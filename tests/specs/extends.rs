//! Profiles that begin with others: in order, each once, and never in a circle.

use beget_tests::Scratch;

use crate::run_in;

#[test]
fn lists_are_appended_and_the_rest_is_replaced() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.at("lib")).expect("an empty folder");
    for name in ["lib/one", "two", "three"] {
        scratch.file(name, format!("{name}\n"));
    }
    scratch.file(
        "lib/base.toml",
        "base = true\nread = [\"one\"]\nenv = { A = \"base\", B = \"base\" }\narguments = [\"base\"]\n",
    );
    let spec = "
extends = [\"lib/base.toml\", \"tool\"]
read = [\"two\"]
env = { B = \"own\" }
arguments = [\"own\"]
[profile.tool]
program = \"sh\"
arguments = [\"-c\", \"cat lib/one two; echo $A $B $C $0 $1\"]
env = { A = \"tool\", C = \"tool\" }
cwd = \".\"
spawn = true
[profile.alone]
extends = [\"lib/base.toml\"]
spawn = false
";
    scratch.file("a.toml", spec);
    // A program of its own takes away the arguments that came before it.
    run_in(&scratch.at(""), &["run", "--spec", "a.toml"]).prints("lib/one\ntwo\ntool own tool own\n");
    // A profile does not begin with what stands above it.
    let alone = ["run", "--spec", "a.toml", "--profile", "alone", "--", "sh", "-c"];
    let run = |script: &str| run_in(&scratch.at(""), &[&alone[..], &[script]].concat());
    run("echo $A $B $C").prints("base base\n");
    run("(true)").fails("fork");
}

#[test]
fn what_was_given_can_be_taken_back() {
    let scratch = Scratch::new();
    let spec = "base = true\nspawn = true\nonly = true\n[profile.less]\nextends = [\"a.toml\"]\nspawn = false\nonly = false\n";
    scratch.file("a.toml", spec);
    let run = |more: &[&str], script: &str| {
        run_in(&scratch.at(""), &[&["run", "--spec", "a.toml"], more, &["--", "sh", "-c", script]].concat())
    };
    run(&[], "(echo spawned)").prints("spawned\n");
    run(&[], "exec ls").fails("denied");
    run(&["--profile", "less"], "(true)").fails("fork");
    run(&["--profile", "less"], "exec echo executed").prints("executed\n");
}

#[test]
fn of_descriptors_of_one_name_the_last_is_given() {
    let scratch = Scratch::new();
    for name in ["one", "two", "three"] {
        scratch.file(name, format!("{name}\n"));
    }
    let spec = "
extends = [\"first\"]
fd = { x = \"two\" }
base = true
spawn = true
program = \"sh\"
arguments = [\"-c\", \"cat <&3; cat <&4; echo $LISTEN_FDNAMES\"]
[profile.first]
fd = { x = \"one\", y = \"three\" }
";
    scratch.file("a.toml", spec);
    run_in(&scratch.at(""), &["run", "--spec", "a.toml"]).prints("three\ntwo\ny:x\n");
    run_in(&scratch.at(""), &["run", "--spec", "a.toml", "--fd", "x=one"])
        .refuses("beget: slot x: the name is there already\n");
}

#[test]
fn each_profile_takes_effect_once() {
    let scratch = Scratch::new();
    let spec = "
extends = [\"left\", \"right\"]
[profile.common]
base = true
program = \"echo\"
arguments = [\"common\"]
[profile.left]
extends = [\"common\"]
arguments = [\"left\"]
[profile.right]
extends = [\"common\", \"left\"]
arguments = [\"right\"]
";
    scratch.file("a.toml", spec);
    run_in(&scratch.at(""), &["run", "--spec", "a.toml"]).prints("common left right\n");
}

#[test]
fn a_file_may_be_one_shipped_and_more() {
    let scratch = Scratch::new();
    scratch.file("secret", "secret");
    std::fs::create_dir(scratch.at("p")).expect("an empty folder");
    scratch.file("p/f", "read\n");
    scratch.file("a.toml", "extends = [\"agent\"]\narguments = [\"-c\", \"cat f; cat ../secret; exit 5\"]\n");
    let ran =
        run_in(&scratch.at(""), &["run", "--spec", "a.toml", "--set", "PROJECT=./p", "--env", "HOME=/"]);
    if beget_tests::has("bash") {
        ran.fails("secret: Permission denied");
        assert_eq!((ran.code, ran.out.as_str()), (Some(5), "read\n"));
    }
}

#[test]
fn circles_are_shown() {
    let scratch = Scratch::new();
    scratch.file("a.toml", "extends = [\"sub/b.toml#x\"]\n");
    std::fs::create_dir(scratch.at("sub")).expect("an empty folder");
    scratch.file("sub/b.toml", "[profile.x]\nextends = [\"y\"]\n[profile.y]\nextends = [\"../a.toml\"]\n");
    let run =
        |words: &[&str]| run_in(&scratch.at(""), &[&["run", "--spec"], words, &["--", "true"]].concat());
    run(&["a.toml"]).refuses(
        "beget: spec sub/b.toml:4:12: extends itself: a.toml, which extends sub/b.toml#x, which extends sub/b.toml#y, which \
         extends a.toml\n  4 | extends = [\"../a.toml\"]\n    |            ^^^^^^^^^^^\n",
    );
    scratch.file("own.toml", "extends = [\"own.toml\"]\n");
    run(&["own.toml"]).refuses(
        "beget: spec own.toml:1:12: extends itself: own.toml, which extends own.toml\n  1 | extends = [\"own.toml\"]\n    |            \
         ^^^^^^^^^^\n",
    );
    // A link is the file that it leads to.
    std::os::unix::fs::symlink("own.toml", scratch.at("link.toml")).expect("the folder can be written");
    let linked = run(&["link.toml"]);
    assert!(linked.err.contains("extends itself: "), "{}", linked.err);
}

#[test]
fn a_chain_has_an_end() {
    let scratch = Scratch::new();
    let chain = |length: usize| {
        let mut spec = String::from("extends = [\"p1\"]\n");
        for number in 1..length {
            spec += &format!("[profile.p{number}]\nextends = [\"p{}\"]\n", number + 1);
        }
        spec + &format!("[profile.p{length}]\nbase = true\n")
    };
    scratch.file("long.toml", chain(15));
    run_in(&scratch.at(""), &["run", "--spec", "long.toml", "--", "echo", "ran"]).prints("ran\n");
    scratch.file("longer.toml", chain(16));
    let ran = run_in(&scratch.at(""), &["run", "--spec", "longer.toml", "--", "true"]);
    assert_eq!(ran.code, Some(125));
    assert!(
        ran.err.contains(": extends deeper than 16: longer.toml, which extends longer.toml#p1, "),
        "{}",
        ran.err
    );
}

#[test]
fn what_is_missing_is_told_where_it_is_asked_for() {
    let scratch = Scratch::new();
    scratch.file("a.toml", "extends = [\"b.toml\"]\n");
    scratch.file("b.toml", "extends = [\"c.toml\"]\n");
    let run =
        |words: &[&str]| run_in(&scratch.at(""), &[&["run", "--spec"], words, &["--", "true"]].concat());
    run(&["a.toml"]).refuses(
        "beget: spec b.toml:1:12: c.toml: no such file or directory; asked for by a.toml, which extends b.toml\n  1 | extends = \
         [\"c.toml\"]\n    |            ^^^^^^^^\n",
    );
    scratch.file("c.toml", "[profile.build]\n[profile.test]\n");
    scratch.file("b.toml", "extends = [\"c.toml#biuld\"]\n");
    run(&["b.toml"]).refuses(
        "beget: spec b.toml:1:12: no profile \"biuld\" in c.toml; did you mean \"build\"?\n  1 | extends = [\"c.toml#biuld\"]\n    |  \
         \u{20}         ^^^^^^^^^^^^^^\n",
    );
    scratch.file("b.toml", "extends = [\"pyhton\"]\n");
    run(&["b.toml"]).refuses(
        "beget: spec b.toml:1:12: no profile \"pyhton\"; did you mean \"python\"?\n  1 | extends = [\"pyhton\"]\n    |            ^^^^^^^^\n",
    );
    run(&["c.toml"])
        .refuses("beget: spec c.toml: has only named profiles; choose one with --profile: build, test\n");
    run(&["c.toml", "--profile", "tset"])
        .refuses("beget: spec c.toml: no profile \"tset\"; did you mean \"test\"?\n");
    run(&["b.toml", "--profile", "x"]).refuses("beget: spec b.toml: no profile \"x\"; it has none\n");
    // What is wrong in a file that is extended is told there.
    scratch.file("b.toml", "extends = [\"d.toml\"]\n");
    scratch.file("d.toml", "base = true\nraed = []\n");
    run(&["b.toml"]).refuses(
        "beget: spec d.toml:2:1: unknown key \"raed\"; did you mean \"read\"?\n  2 | raed = []\n    | ^^^^\n",
    );
}
