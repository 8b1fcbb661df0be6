//! What a spec comes to: shown, used from the library, and large.

use std::fmt::Write;

use beget_spec::{Spec, Variables};
use beget_tests::{Scratch, text};

use crate::run_in;

#[test]
fn show_tells_what_a_spec_gives_and_what_enforces_it() {
    let scratch = Scratch::new();
    scratch.file("a.toml", "base = true\nread = [\"${P}\"]\nprogram = \"cat\"\n[profile.net]\nextends = [\"a.toml\"]\ntcp-connect = [443]\n");
    let show = |words: &[&str]| {
        run_in(&scratch.at(""), &[&["show", "--spec", "a.toml", "--set", "P=."], words].concat())
    };
    let plain = show(&[]);
    plain.shows("/usr/bin/cat").shows("Landlock rules on files").shows("NETWORK  none");
    let real = std::fs::canonicalize(scratch.path()).expect("it is there");
    plain.shows(real.to_str().expect("a path that is text"));
    show(&["--profile", "net"]).shows("--tcp-connect 443").shows("Landlock rules on ports");
}

#[test]
fn ten_thousand_grants_are_read_and_held() {
    let scratch = Scratch::new();
    let mut spec = String::from("base = true\nread = [\n");
    for number in 0..10_000 {
        let _ = writeln!(spec, "  \"d/{number}\",");
    }
    spec += "]\n";
    std::fs::create_dir(scratch.at("d")).expect("an empty folder");
    for number in 0..10_000 {
        scratch.file(&format!("d/{number}"), "");
    }
    scratch.file("d/last", "");
    scratch.file("a.toml", &spec);
    let read =
        Spec::read(scratch.path().join("a.toml").as_path(), None, &Variables::new()).expect("it is right");
    assert_eq!(read.grants.len(), 10_001);
    let script = "cat d/0 d/9999 && echo read; cat d/last";
    let ran = run_in(
        &scratch.at(""),
        &["run", "--spec", "a.toml", "--cwd", ".", "--spawn", "--", "sh", "-c", script],
    );
    assert_eq!(ran.out, "read\n", "{}", ran.err);
    ran.fails("last: Permission denied");
}

#[test]
fn the_library_makes_a_command_of_it() {
    let scratch = Scratch::new();
    let file = scratch.file("f", "in it\n");
    let spec = "base = true\nread = [\"${FILE}\"]\nprogram = \"cat\"\narguments = [\"${FILE}\"]\n[limits]\ntimeout = \"5m\"\n";
    let path = scratch.file("a.toml", spec);
    let mut variables = Variables::new();
    variables.set("FILE", file).expect("a name");
    let spec = Spec::read(path.as_ref(), None, &variables).expect("it is right");
    assert_eq!(spec.timeout, Some(std::time::Duration::from_secs(300)));
    let mut command = spec.command().expect("it has a program");
    let output = command.output().expect("it runs");
    assert_eq!(text(&output.stdout), "in it\n");
    assert_eq!(variables.unused().count(), 0);
    let empty = Spec::default().command().expect_err("it names no program");
    assert_eq!(empty.to_string(), "program: no name was given");
}

/// What a file of the largest size may hold is read in the time that such a file takes, not in its square.
#[test]
fn a_file_of_many_profiles_is_read() {
    let scratch = Scratch::new();
    let mut spec = String::from("base = true\nextends = [\n");
    for number in 0..40_000 {
        let _ = writeln!(spec, "\"p{number}\",");
    }
    spec += "]\n";
    for number in 0..40_000 {
        let _ = writeln!(
            spec,
            "[profile.p{number}]\nenv = {{ N = \"{number}\" }}\nfd = {{ f{number} = \"/dev/null\" }}"
        );
    }
    assert!(spec.len() < beget_spec::LARGEST);
    let path = scratch.file("a.toml", &spec);
    let read = Spec::read(path.as_ref(), None, &Variables::new()).expect("it is right");
    assert_eq!(read.descriptors.len(), 40_000);
    assert_eq!(read.environment.last().map(|(_, value)| value.clone()), Some(Some("39999".into())));
}
