//! Every flag with a value missing, a wrong one or one too many, and flags that there are not.

use beget_tests::{Scratch, beget, text};

use super::{refused, run};

/// Every flag that takes a value, and values that it cannot have.
const VALUES: &[(&str, &[&str])] = &[
    ("read", &[]),
    ("write", &[]),
    ("exec", &[]),
    ("fd", &["x", ""]),
    ("env", &["NOT_SET_HERE", ""]),
    ("tcp-connect", &["", "x", "-1", "65536", "1.5", "80,443", "http"]),
    ("tcp-bind", &["", "x", "-1", "65536", "0x50"]),
    ("memory", &["", "x", "-1", "1.5G", "5X", "99999999999T", "18446744073709551616"]),
    ("cpus", &["", "x", "-1", "1.5", "4294967296"]),
    ("processes", &["", "x", "-1", "18446744073709551616"]),
    ("open-files", &["", "x", "-1", "1k"]),
    ("timeout", &["", "0", "0s", "x", "-1", "5y", "1e3", "1.2.3s", "99999999999999999999999d"]),
    ("output-limit", &["", "x", "-1", "1.5G", "5X", "99999999999T"]),
    ("log", &[]),
    ("unix", &[]),
    ("scratch", &[]),
    ("keep", &["x"]),
    ("tmpfs", &["/x=", "/x=-1", "/x=5X"]),
    ("tmp", &["", "x", "-1", "5X"]),
    ("file", &["", "x"]),
    ("symlink", &["", "x"]),
    ("dir", &[]),
    ("hostname", &[]),
    ("uid", &["", "x", "-1", "4294967296"]),
    ("gid", &["", "x", "-1", "4294967296"]),
    ("spec", &[""]),
    ("profile", &[""]),
    ("set", &["", "x", "=x", "1=x", "a b=x"]),
    ("grace", &["", "x", "-1", "5y", "1e3"]),
    ("cwd", &[]),
    ("loader", &["", "x", "Direct", "direct,kernel"]),
    ("degrade", &["", "x", "FILES", "files,calls"]),
    ("as-if", &["", "x", "landlock", "landlock=", "landlock=x", "landlock=-1", "seccomp=1", "cgroup=2"]),
];

const SWITCHES: &[&str] =
    &["base", "loopback", "root", "inet-dns", "net", "spawn", "only", "discreet", "suspend", "pty", "json"];

#[test]
fn the_tables_here_have_every_flag() {
    let help = text(&beget().args(["run", "--help"]).output().unwrap().stdout);
    let told: std::collections::BTreeSet<&str> =
        help.lines().filter_map(|line| line.strip_prefix("  --")?.split(' ').next()).collect();
    let tested = VALUES.iter().map(|(name, _)| *name).chain(SWITCHES.iter().copied()).collect();
    assert_eq!(told, tested);
}

#[test]
fn a_missing_or_wrong_value_is_named_with_its_flag() {
    let scratch = Scratch::new();
    for (name, wrong) in VALUES {
        let flag = format!("--{name}");
        let words = format!("flag {flag}: wants ");
        refused(run([flag.as_str()]), scratch.path(), 125, &words);
        refused(run(["--base", flag.as_str()]), scratch.path(), 125, &words);
        for value in *wrong {
            let words = format!("flag {}: ", format!("{flag} {value}").trim_end());
            refused(run([flag.as_str(), value, "--", "true"]), scratch.path(), 125, &words);
            refused(run([format!("{flag}={value}").as_str(), "--", "true"]), scratch.path(), 125, &words);
        }
    }
}

#[test]
fn a_value_where_none_is_wanted_is_refused() {
    let scratch = Scratch::new();
    for name in SWITCHES {
        let flag = format!("--{name}=yes");
        refused(run([flag.as_str(), "--", "true"]), scratch.path(), 125, &format!("--{name}"));
    }
}

#[test]
fn unknown_flags_are_refused_and_the_nearest_is_told() {
    let scratch = Scratch::new();
    let table: &[(&str, &str)] = &[
        ("--bas", "flag --bas: no such flag; did you mean --base?"),
        ("--raed", "flag --raed: no such flag; did you mean --read?"),
        ("--open-file", "did you mean --open-files?"),
        ("--Base", "did you mean --base?"),
        ("--tcp_connect", "did you mean --tcp-connect?"),
        ("--something-else", "flag --something-else: no such flag; see beget help"),
        ("-b", "flag -b: no such flag"),
        ("-", "program -: not found"),
        ("--=", "flag"),
        // Later versions have these; until they do, nobody shall think they were obeyed.
        ("--backtrace", "flag --backtrace: no such flag"),
    ];
    for (flag, words) in table {
        let code = if *flag == "-" { 127 } else { 125 };
        refused(run([flag, "--", "true"]), scratch.path(), code, words);
    }
    use std::os::unix::ffi::OsStrExt;
    let raw = std::ffi::OsStr::from_bytes(b"--\xff\xfe");
    refused(run([raw]), scratch.path(), 125, "flag --");
    let raw = std::ffi::OsStr::from_bytes(b"\xff\xfe");
    refused(run([std::ffi::OsStr::new("--cpus"), raw]), scratch.path(), 125, "flag --cpus");
}

#[test]
fn commands_that_there_are_not_are_refused() {
    let scratch = Scratch::new();
    for (words, said) in [
        (&["rum"][..], "command rum: no such command; there are run, show, "),
        (&[""], "command : no such command"),
        (&["--base"], "command --base: no such command"),
        (&["server"], "command server: no such command"),
        (&["run"], "program: none was given"),
        (&["run", "--"], "program: none was given"),
        (&["run", "--base"], "program: none was given"),
    ] {
        let mut command = beget();
        command.args(words);
        refused(command, scratch.path(), 125, said);
    }
}

#[test]
fn limits_that_cannot_be_are_named() {
    let scratch = Scratch::new();
    let table: &[(&[&str], &str)] = &[
        (&["--cpus", "0"], "limit --cpus 0: "),
        (&["--cpus", "100000"], "limit --cpus 100000: "),
        (&["--open-files", "18446744073709551615"], "limit --open-files 18446744073709551615: "),
        (&["--as-if", "cgroup=none", "--memory", "1G"], "limit --memory: needs a cgroup"),
        (&["--as-if", "cgroup=none", "--processes", "10"], "limit --processes: needs a cgroup"),
        (&["--processes", "0"], "limit --processes 0: "),
        (&["--memory", "0"], "limit --memory 0: no program has less than a page"),
        (&["--memory", "4095"], "limit --memory 4095: no program has less than a page"),
        (&["--grace", "1s"], "limit --grace: wants --timeout too"),
        (&["--as-if", "landlock=none"], "promise files: "),
        (&["--as-if", "landlock=0"], "promise files: "),
        (&["--as-if", "landlock=3", "--tcp-connect", "80"], "promise tcp-ports: "),
        (&["--as-if", "landlock=5", "--spawn"], "promise signals: "),
    ];
    for (flags, words) in table {
        refused(run([*flags, &["--base", "--", "true"]].concat()), scratch.path(), 125, words);
    }
}
