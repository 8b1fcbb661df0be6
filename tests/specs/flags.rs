//! Flags and keys say the same, and flags add to and replace what the file says.

use beget_tests::{Scratch, beget, finish, text};

use crate::run_in;

/// What only a command line has; `keep` stands in an entry of `scratch`.
const NO_KEY: [&str; 7] = ["spec", "profile", "set", "as-if", "json", "help", "keep"];
/// What only a file has.
const NO_FLAG: [&str; 7] =
    ["description", "extends", "profile", "program", "arguments", "env-pass", "limits"];

#[test]
fn every_flag_has_its_key_and_every_key_its_flag() {
    let help = text(&finish(beget().args(["run", "--help"])).stdout);
    let names =
        |line: &str| Some(line.trim_start().strip_prefix("--")?.split([' ', '\n']).next()?.to_owned());
    let flags: Vec<String> = help.lines().filter_map(names).collect();
    assert!(flags.len() > 20, "{help}");
    let keys = beget_spec::keys();
    let last = |key: &String| key.rsplit('.').next().expect("a name").to_owned();
    let known: Vec<String> = keys.iter().map(last).collect();
    for flag in flags.iter().filter(|flag| !NO_KEY.contains(&flag.as_str())) {
        assert!(known.contains(flag), "--{flag} has no key in a spec");
    }
    for key in known.iter().filter(|key| !NO_FLAG.contains(&key.as_str())) {
        assert!(flags.contains(key), "{key} has no flag");
    }
}

/// The book's chapter has a table of keys.
#[test]
fn every_key_is_in_the_book() {
    let chapter = include_str!("../../docs/src/specs.md");
    for key in beget_spec::keys() {
        let name = key.rsplit('.').next().expect("a name");
        assert!(
            chapter.lines().any(|line| line.starts_with("| `") && line.contains(&format!("`{name}`"))),
            "{key}"
        );
    }
}

#[test]
fn a_spec_and_its_flags_make_the_same_child() {
    let scratch = Scratch::new();
    for folder in ["r", "w", "x"] {
        std::fs::create_dir(scratch.at(folder)).expect("an empty folder");
    }
    scratch.file("f", "");
    let spec = "
base = true
read = [\"r\"]
write = [\"w\"]
exec = [\"x\"]
env = { B = \"2\", A = \"1\" }
env-pass = [\"PATH\"]
fd = { one = \"f\", two = { path = \"f\", write = true } }
tcp-connect = [443, 80]
tcp-bind = [8080]
inet-dns = true
spawn = true
cwd = \"r\"
only = true
discreet = true
loader = \"direct\"
suspend = true
degrade = [\"memory\", \"processes\"]
program = \"true\"
arguments = [\"a\", \"b c\"]
[limits]
memory = \"512M\"
cpus = 1
processes = 400
open-files = 77
timeout = \"90s\"
grace = \"2s\"
output-limit = \"5M\"
";
    scratch.file("a.toml", spec);
    let by_file = run_in(&scratch.at(""), &["show", "--json", "--spec", "a.toml"]);
    let flags = "--base --read r --write w --exec x --env A=1 --env B=2 --env PATH --fd one=f --fd two=f:rw --tcp-connect 443 \
                 --tcp-connect 80 --tcp-bind 8080 --inet-dns --spawn --cwd r --only --discreet --loader direct --suspend --degrade memory \
                 --degrade processes --memory 512M --cpus 1 --processes 400 --open-files 77 --timeout 90s --grace 2s --output-limit 5M -- true a";
    let mut words: Vec<&str> = vec!["show", "--json"];
    words.extend(flags.split_ascii_whitespace());
    words.push("b c");
    let by_flags = run_in(&scratch.at(""), &words);
    assert_eq!(by_file.code, Some(0), "{}", by_file.err);
    by_flags.prints(&by_file.out);
    // The whole network is a grant beside which ports are not listed; a suspended program of another spec.
    scratch.file("b.toml", "base = true\nnet = true\n");
    let by_file = run_in(&scratch.at(""), &["show", "--json", "--spec", "b.toml"]);
    run_in(&scratch.at(""), &["show", "--json", "--base", "--net"]).prints(&by_file.out);
}

#[test]
fn a_root_and_its_flags_make_the_same_child() {
    let scratch = Scratch::new();
    for folder in ["r", "w", "x", "s", "k"] {
        std::fs::create_dir(scratch.at(folder)).expect("an empty folder");
    }
    scratch.file("f", "");
    let _socket = std::os::unix::net::UnixListener::bind(scratch.at("u")).expect("a socket");
    let spec = "
base = true
read = [{ path = \"r\", at = \"/data\" }]
write = [\"w\", { path = \"f\", at = \"/out\" }]
exec = [{ path = \"x\", at = \"/opt\" }]
unix = [\"u\"]
loopback = true
program = \"true\"
[root]
scratch = [{ path = \"s\", at = \"/s\", keep = \"k\" }]
tmpfs = [\"/a\", { at = \"/b\", size = \"3M\" }]
tmp = \"5M\"
file = { \"/etc/motd\" = \"hello\" }
symlink = { \"/l\" = \"a\" }
dir = [\"/d\"]
hostname = \"box\"
uid = 7
gid = 8
";
    scratch.file("a.toml", spec);
    let by_file = run_in(&scratch.at(""), &["show", "--json", "--spec", "a.toml"]);
    let flags = "show --json --base --read r:/data --write w --write f:/out --exec x:/opt --unix u --loopback --root --scratch s:/s --keep k \
                 --tmpfs /a --tmpfs /b=3M --tmp 5M --file /etc/motd=hello --symlink /l=a --dir /d --hostname box --uid 7 --gid 8 -- true";
    let words: Vec<&str> = flags.split_ascii_whitespace().collect();
    assert_eq!(by_file.code, Some(0), "{}", by_file.err);
    run_in(&scratch.at(""), &words).prints(&by_file.out);
    // A base without a root, and the other way round.
    scratch.file("b.toml", "extends = [\"a.toml\"]\nroot = false\n");
    let without = run_in(&scratch.at(""), &["show", "--spec", "b.toml"]);
    assert_eq!(without.code, Some(125), "what lies in a root needs one: {}", without.out);
}

#[test]
fn a_root_is_what_its_spec_says() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.at("n")).expect("an empty folder");
    scratch.file("n/note", "note\n");
    let script = "id -u; uname -n; cat /etc/motd /data/note; test -d /work -a -d /big; readlink /l; echo changed > /s/note; cat /s/note";
    let spec = format!(
        "base = true\nspawn = true\nprogram = \"sh\"\narguments = [\"-c\", \"{script}\"]\nread = [{{ path = \"n\", at = \"/data\" }}]\n[root]\n\
         hostname = \"box\"\nuid = 7\nfile = {{ \"/etc/motd\" = \"welcome to ${{NAME}}\\n\" }}\nsymlink = {{ \"/l\" = \"target\" }}\ndir = [\"/work\"]\n\
         tmpfs = [{{ at = \"/big\", size = \"1M\" }}]\nscratch = [{{ path = \"n\", at = \"/s\" }}]\n"
    );
    scratch.file("a.toml", &spec);
    let ran = run_in(&scratch.at(""), &["run", "--spec", "a.toml", "--set", "NAME=here"]);
    if ran.err.contains("promise root: ") {
        return beget_tests::skip(
            "a_root_is_what_its_spec_says",
            beget_tests::Need::Machine("user namespaces"),
        );
    }
    ran.prints("7\nbox\nwelcome to here\nnote\ntarget\nchanged\n");
    assert_eq!(std::fs::read_to_string(scratch.at("n/note")).expect("it is there"), "note\n");
}

#[test]
fn flags_add_to_a_spec_and_replace_it_wherever_they_stand() {
    let scratch = Scratch::new();
    scratch.file("one", "1\n");
    scratch.file("two", "2\n");
    let spec = "base = true\nread = [\"one\"]\nenv = { A = \"1\", B = \"1\" }\nprogram = \"cat\"\narguments = [\"one\"]\ncwd = \".\"\n";
    scratch.file("a.toml", spec);
    let there = scratch.at("");
    let run = |words: &[&str]| run_in(&there, &[&["run"], words].concat());
    run(&["--spec", "a.toml"]).prints("1\n");
    // A program of its own has arguments of its own.
    run(&["--spec", "a.toml", "--", "cat", "two"]).fails("two: Permission denied");
    run(&["--spec", "a.toml", "--read", "two", "--", "cat", "one", "two"]).prints("1\n2\n");
    run(&["--read", "two", "--spec", "a.toml", "--", "cat", "one", "two"]).prints("1\n2\n");
    run(&["--env", "B=2", "--spec", "a.toml", "--", "sh", "-c", "echo $A$B"]).prints("12\n");
}

#[test]
fn a_spec_gives_nothing_that_it_does_not_say() {
    let scratch = Scratch::new();
    scratch.file("a.toml", "base = true\nenv = { A = \"1\" }\n");
    scratch.file("secret", "secret");
    let there = scratch.at("");
    let run = |words: &[&str]| run_in(&there, &[&["run", "--spec", "a.toml", "--"], words].concat());
    run(&["env"]).prints("A=1\nPATH=/usr/local/bin:/usr/bin:/bin\n");
    run(&["cat", &scratch.at("secret")]).fails("Permission denied");
    run(&["sh", "-c", "(true)"]).fails("fork");
}

#[test]
fn variables_come_from_the_command_line_alone() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.at("in")).expect("an empty folder");
    scratch.file("in/f", "in\n");
    let spec = "base = true\nspawn = true\nread = [\"${P}\"]\ncwd = \"${P}\"\nenv = { P = \"${P}\", Q = \"$${P} $P\" }\nprogram = \"sh\"\n\
                arguments = [\"-c\", \"cat f; echo $P $Q\"]\n";
    scratch.file("a.toml", spec);
    let there = scratch.at("");
    let words = ["run", "--spec", "a.toml"];
    let unset = finish(beget().current_dir(&there).env("P", "in").args(words));
    assert_eq!(unset.status.code(), Some(125));
    assert!(text(&unset.stderr).contains("variable P is not set"), "{}", text(&unset.stderr));
    let real = std::fs::canonicalize(&there).expect("it is there").join("in");
    let absolute = format!("in\n{} ${{P}} $P\n", real.display());
    run_in(&there, &[&words[..], &["--set", "P=./in"]].concat()).prints(&absolute);
    // What somebody typed starts where they stand, whatever folder the file is in.
    std::fs::create_dir(scratch.at("away")).expect("an empty folder");
    std::fs::rename(scratch.at("a.toml"), scratch.at("away/a.toml")).expect("the folder can be written");
    run_in(&there, &["run", "--spec", "away/a.toml", "--set", "P=./in"]).prints(&absolute);
}

#[test]
fn variables_that_make_no_sense_are_refused() {
    let scratch = Scratch::new();
    scratch.file("a.toml", "base = true\n");
    let there = scratch.at("");
    let refused = |words: &[&str], message: &str| {
        run_in(&there, &[&["run"], words, &["--", "true"]].concat()).refuses(&format!("beget: {message}\n"));
    };
    refused(&["--spec", "a.toml", "--set", "P=x"], "flag --set P: there is no ${P} in what was read");
    refused(&["--set", "P=x"], "flag --set P: wants --spec or --profile, in which ${P} stands");
    refused(&["--set", "P"], "flag --set P: wants NAME=VALUE");
    refused(
        &["--set", "1=x"],
        "flag --set 1=x: \"1\" is no name for a variable; it has letters, digits and _",
    );
}

#[test]
fn a_variable_to_pass_must_be_there() {
    let scratch = Scratch::new();
    scratch.file("a.toml", "base = true\nenv-pass = [\"NOT_SET_HERE\"]\n");
    run_in(&scratch.at(""), &["run", "--spec", "a.toml", "--", "true"])
        .refuses(
            "beget: spec a.toml:2:13: flag --env NOT_SET_HERE: not set here, so there is nothing to pass\n  2 | env-pass = \
             [\"NOT_SET_HERE\"]\n    |             ^^^^^^^^^^^^^^\n",
        );
}

#[test]
fn relative_paths_start_at_the_files_folder() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.at("in")).expect("an empty folder");
    scratch.file("in/f", "in\n");
    scratch.file("f", "out\n");
    scratch.script("in/tool", "#!/bin/sh\ncat f <&3\n");
    let spec =
        "base = true\nread = [\"f\"]\ncwd = \".\"\nprogram = \"./tool\"\nfd = { f = \"f\" }\nspawn = true\n";
    scratch.file("in/a.toml", spec);
    run_in(&scratch.at(""), &["run", "--spec", "in/a.toml"]).prints("in\n");
    run_in("/", &["run", "--spec", &scratch.at("in/a.toml")]).prints("in\n");
}
