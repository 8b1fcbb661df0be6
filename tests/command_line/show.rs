//! `show` says what `run` does.

use beget_tests::{Scratch, beget, finish, text};
use serde_json::Value;

use super::ran;

const SECTIONS: [&str; 8] = [
    "PROGRAM",
    "DESCRIPTORS",
    "ENVIRONMENT",
    "FILES",
    "NETWORK",
    "RESOURCE LIMITS",
    "ENFORCED BY",
    "STAYS OPEN",
];

/// The names of the sections in the order they come in.
fn sections(told: &str) -> Vec<&str> {
    let title = |line: &&str| !line.is_empty() && !line.starts_with(' ');
    let name = |line: &'_ str| SECTIONS.iter().copied().find(|name| line.starts_with(name));
    told.lines().filter(title).map(|line| name(line).unwrap_or("?")).collect()
}

fn json(flags: &[&str]) -> Value {
    let words = [&["show", "--json"], flags].concat();
    let (code, told, errors) = ran(&words);
    assert_eq!((code, errors.as_str()), (Some(0), ""), "{flags:?}");
    serde_json::from_str(&told).expect("it is JSON")
}

fn strings(list: &Value) -> Vec<&str> {
    list.as_array().expect("a list").iter().map(|one| one.as_str().expect("a string")).collect()
}

#[test]
fn the_table_has_its_sections_in_order() {
    for flags in [&[][..], &["--base"], &["--base", "--spawn", "--net", "--fd", "x=/dev/null", "--", "sh"]] {
        let (code, told, errors) = ran(&[&["show"], flags].concat());
        assert_eq!((code, errors.as_str()), (Some(0), ""));
        assert_eq!(sections(&told), SECTIONS, "{told}");
        assert!(!told.contains('\x1b'), "colours, and this is no terminal");
        assert!(told.lines().all(|line| line == line.trim_end()), "blanks at a line's end");
    }
}

#[test]
fn json_has_every_field_with_its_kind() {
    let told =
        json(&["--base", "--timeout", "90s", "--tcp-connect", "443", "--fd", "x=/dev/null", "--", "sh", "a"]);
    let text = ["program", "directory", "umask"];
    let lists = [
        "arguments",
        "environment",
        "descriptors",
        "files",
        "network",
        "enforced",
        "stays_open",
        "operations",
    ];
    let truths = ["interpreted", "set_uid", "session", "foreground", "spawn"];
    assert!(text.iter().all(|name| told[name].is_string()), "{told}");
    assert!(lists.iter().all(|name| told[name].is_array()), "{told}");
    assert!(truths.iter().all(|name| told[name].is_boolean()), "{told}");
    assert_eq!(told["timeout"], 90.0);
    assert_eq!(strings(&told["arguments"]), ["a"]);
    assert_eq!(strings(&told["network"]), ["--tcp-connect 443"]);
    assert_eq!(told["limits"].as_object().unwrap().len(), 16);
    for promise in told["enforced"].as_array().unwrap() {
        assert!(promise["promise"].is_string() && promise["what"].is_string() && promise["by"].is_string());
    }
    assert_eq!(strings(&told["operations"]).last(), Some(&"Execute"));
    let told = json(&["--base", "--loader", "direct", "--", "sh"]);
    let operations = strings(&told["operations"]);
    assert!(operations.contains(&"Map") && operations.last() == Some(&"Enter"), "{operations:?}");
}

#[test]
fn nothing_is_started() {
    let scratch = Scratch::new();
    let script = scratch.script("script", format!("#!/bin/sh\n: > {}\n", scratch.at("ran")));
    let words = ["--base", "--write", scratch.path().to_str().unwrap(), "--", &script];
    assert_eq!(json(&words)["interpreted"], true);
    assert!(!std::fs::exists(scratch.at("ran")).unwrap(), "it was started");
    assert_eq!(ran(&[&["run"][..], &words].concat()).0, Some(0));
    assert!(std::fs::exists(scratch.at("ran")).unwrap(), "it could not have been seen");
}

#[test]
fn errors_are_those_of_run() {
    for (words, code) in [
        (&["--", "no-such-program"][..], 127),
        (&["--", "/"], 126),
        (&["--read", "/no/such/path", "--", "true"], 125),
        (&["--cwd", "/no/such/path"], 125),
        (&["--as-if", "cgroup=none", "--memory", "1G"], 125),
        (&["--no-such-flag"], 125),
        (&["--env", "=x"], 125),
    ] {
        let shown = ran(&[&["show"], words].concat());
        assert_eq!(shown.0, Some(code), "{words:?}");
        assert_eq!((shown.1.as_str(), shown.2.lines().count()), ("", 1), "{words:?}");
        if words.contains(&"--") {
            assert_eq!(shown, ran(&[&["run"], words].concat()));
        }
    }
}

/// The same flags, once shown and once run, with a shell inside that tells what it has.
#[test]
fn what_is_shown_is_what_is_there() {
    let scratch = Scratch::new();
    let granted = scratch.file("granted", "");
    let hidden = scratch.file("hidden", "");
    let flags = [
        "--base",
        "--env",
        "A=1",
        "--env",
        "B=x=y",
        "--fd",
        "first=/dev/null",
        "--fd",
        "second=/dev/zero",
        "--cwd",
        "/usr",
        "--open-files",
        "40",
        "--read",
        &granted,
    ];
    let told = json(&[&flags[..], &["--", "sh"]].concat());
    let inside = |script: &str| {
        let words = [&["run"], &flags[..], &["--", "sh", "-c", script]].concat();
        let (code, out, errors) = ran(&words);
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{script}");
        out
    };

    let slots = told["descriptors"].as_array().unwrap();
    let numbers: Vec<String> = slots.iter().map(|slot| format!("{}\n", slot["number"])).collect();
    let seen = inside("n=0; while [ $n -lt 40 ]; do [ -e /proc/self/fd/$n ] && echo $n; n=$((n+1)); done; :");
    assert_eq!(seen, numbers.concat());
    let names: Vec<&str> = slots.iter().map(|slot| slot["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["stdin", "stdout", "stderr", "first", "second"]);

    let mut expected: Vec<String> = strings(&told["environment"]).into_iter().map(str::to_owned).collect();
    let words = [&["run"], &flags[..], &["--", "env"]].concat();
    let mut seen: Vec<String> = ran(&words).1.lines().map(str::to_owned).collect();
    // Its own number cannot be told before it is born.
    seen.retain(|variable| !variable.starts_with("LISTEN_PID="));
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);

    assert_eq!(inside("pwd"), format!("{}\n", told["directory"].as_str().unwrap()));
    assert_eq!(inside("umask"), format!("0{}\n", told["umask"].as_str().unwrap()));
    assert_eq!(inside("ulimit -Sn; ulimit -Hn"), "40\n40\n");
    assert_eq!(
        (&told["limits"]["nofile"]["soft"], &told["limits"]["nofile"]["hard"]),
        (&40.into(), &40.into())
    );
    assert_eq!(inside("ulimit -Sc; ulimit -Hc"), "0\n0\n");

    let files = told["files"].as_array().unwrap();
    let paths: Vec<&str> = files.iter().map(|file| file["path"].as_str().unwrap()).collect();
    assert!(paths.contains(&"/usr") && paths.iter().any(|path| path.ends_with("/granted")), "{paths:?}");
    for file in files {
        let path = file["path"].as_str().unwrap();
        let script = if std::path::Path::new(path).is_dir() { "ls" } else { "head -c 0" };
        assert!(file["rights"].as_str().unwrap().contains("read"));
        let (code, _, errors) =
            ran(&[&["run"], &flags[..], &["--", "sh", "-c", &format!("exec {script} '{path}'")]].concat());
        assert_eq!((code, errors.as_str()), (Some(0), ""), "{path}");
    }
    assert_eq!(ran(&[&["run"], &flags[..], &["--", "head", "-c", "0", &hidden]].concat()).0, Some(1));
    assert!(!paths.iter().any(|path| path.ends_with("/hidden")));
}

#[test]
fn what_is_given_up_and_what_stays_open_is_shown() {
    let told = ran(&["show", "--base", "--as-if", "landlock=5", "--spawn", "--degrade", "signals"]).1;
    assert!(told.contains("NOT ENFORCED"), "{told}");
    let told = json(&["--base", "--as-if", "landlock=5", "--spawn", "--degrade", "signals"]);
    let signals = |one: &&Value| one["promise"] == "signals";
    assert!(told["enforced"].as_array().unwrap().iter().find(signals).unwrap()["by"].is_null());
    assert_eq!(told["landlock"], 5);
    let open = |flags: &[&str]| strings(&json(flags)["stays_open"]).join("\n");
    assert!(open(&[]).contains("metadata"));
    assert!(open(&["--inet-dns"]).contains("UDP"));
    assert!(!open(&[]).contains("UDP"));
    assert!(open(&["--net"]).contains("the whole network"));
}

/// `show | head` ends quietly.
#[test]
fn a_reader_that_leaves_is_no_failure() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = beget();
    let child =
        command.args(["show", "--base"]).stdout(writer).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(command);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    assert!(finish(beget().arg("show")).status.success());
}
