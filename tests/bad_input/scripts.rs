//! First lines of scripts, good and bad: as the kernel reads them, and with the arguments that the kernel would give.

use std::process::Command;

use beget_tests::{Scratch, text};

use super::{ran, refused, run, succeeds};

#[test]
fn first_lines_that_cannot_be_followed_are_refused() {
    let scratch = Scratch::new();
    let folder = scratch.path();
    let itself = scratch.at("itself");
    scratch.file("not-executable", "#!/bin/sh\n");
    scratch.script("text", "no script\n");
    let (not_executable, inner) = (scratch.at("not-executable"), scratch.at("text"));
    let table: &[(&str, String, &str)] = &[
        ("missing", "#!/no/such/interpreter\n".into(), "its interpreter /no/such/interpreter: no such file"),
        ("folder", "#!/usr\n".into(), "its interpreter /usr: is a directory"),
        ("device", "#!/dev/null\n".into(), "its interpreter /dev/null: not a regular file"),
        ("nameless", "#!\n".into(), "its first line names no interpreter"),
        ("blank", "#!  \t \nx".into(), "its first line names no interpreter"),
        ("bare", "#!".into(), "its first line names no interpreter"),
        ("long", format!("#!/bin/sh {}\n", "x".repeat(300)), "its first line is longer than 255 bytes"),
        ("endless", format!("#!/{}", "x".repeat(10_000)), "its first line is longer than 255 bytes"),
        ("itself", format!("#!{itself}\n"), "its interpreters are nested too deep"),
        ("nul", "#!/bin/sh\0x\n".into(), "program ./nul: its "),
        ("nul-in-argument", "#!/bin/sh x\0y\n".into(), "its first line has a NUL byte"),
        ("refused", format!("#!{not_executable}\n"), "permission denied"),
        ("inner", format!("#!{inner}\n"), "neither an ELF executable nor a script"),
        ("relative", "#!no-such-relative-name\n".into(), "its interpreter no-such-relative-name"),
    ];
    for (name, contents, words) in table {
        scratch.script(name, contents);
        let program = format!("./{name}");
        for flags in [&["--"][..], &["--base", "--"]] {
            refused(run(flags.iter().copied().chain([program.as_str()])), folder, 126, words);
        }
        let words = format!("program {program}");
        refused(run(["--base", "--", &program]), folder, 126, &words);
    }
}

/// The real path stands where the kernel would put the name, also when the script was found through a link or the PATH.
#[test]
fn a_script_sees_its_real_path_and_its_arguments() {
    let scratch = Scratch::new();
    let folder = scratch.path();
    let real = std::fs::canonicalize(folder).unwrap().join("script").to_str().unwrap().to_owned();
    scratch.script("script", "#!/bin/sh\necho \"$0\" \"$#\" \"$@\"\n");
    std::os::unix::fs::symlink("script", scratch.at("link")).unwrap();
    let path = format!("PATH={}", folder.display());
    for words in [["--base", "--", "./script"], ["--base", "--", "./link"], ["--base", "--", "./././script"]]
    {
        let words = [&words[..], &["a b", "", "c"]].concat();
        assert_eq!(succeeds(folder, &words), format!("{real} 3 a b  c\n"));
    }
    assert_eq!(succeeds(folder, &["--base", "--env", &path, "--", "script"]), format!("{real} 0\n"));
    // All after the interpreter is one word, without the blanks around it.
    scratch.script("one-word", "#! /bin/echo   -a  -b \t\n");
    let real = std::fs::canonicalize(folder).unwrap().join("one-word");
    let expected = format!("-a  -b {} c\n", real.display());
    assert_eq!(succeeds(folder, &["--base", "--", "./one-word", "c"]), expected);
    scratch.script("at-the-limit", format!("#!/bin/sh -e{}\necho fine\n", " ".repeat(255 - 13)));
    assert_eq!(succeeds(folder, &["--base", "--", "./at-the-limit"]), "fine\n");
    scratch.script("without-newline", "#!/bin/cat");
    assert_eq!(succeeds(folder, &["--base", "--", "./without-newline"]), "#!/bin/cat");
}

#[test]
fn lines_that_end_as_on_other_systems_are_read_as_the_kernel_reads_them() {
    let scratch = Scratch::new();
    scratch.executable("crlf", "#!/bin/sh\r\necho read\n");
    let kernels = Command::new(scratch.at("crlf")).output();
    let ours = ran(scratch.path(), &["--base", "--", "./crlf"]);
    match kernels {
        Ok(kernels) => assert_eq!(text(&ours.stdout), text(&kernels.stdout)),
        Err(_) => assert_eq!(ours.status.code(), Some(126), "{}", text(&ours.stderr)),
    }
}

/// Interpreters that are scripts themselves: up to five as the kernel, with the same arguments as the kernel gives.
#[test]
fn nested_interpreters_get_the_kernels_arguments() {
    let scratch = Scratch::new();
    let folder = std::fs::canonicalize(scratch.path()).unwrap();
    scratch.executable("s0", "#!/bin/sh\nfor word; do echo \"[$word]\"; done; exit 7\n");
    for depth in 1..=6 {
        let inner = folder.join(format!("s{}", depth - 1));
        scratch.executable(&format!("s{depth}"), format!("#!{} argument {depth}\n", inner.display()));
    }
    let grant = folder.to_str().unwrap();
    for depth in 0..=6 {
        let program = folder.join(format!("s{depth}"));
        let program = program.to_str().unwrap();
        let ours = ran(&folder, &["--base", "--read", grant, "--", program, "x", "y z"]);
        let kernels = Command::new(program).args(["x", "y z"]).output();
        match kernels {
            Ok(kernels) => {
                assert_eq!(text(&ours.stdout), text(&kernels.stdout), "{depth} deep");
                assert_eq!(ours.status.code(), Some(7), "{depth} deep");
            }
            Err(_) => refused(run(["--base", "--", program]), &folder, 126, "nested too deep"),
        }
        assert!(depth != 4 || ours.status.code() == Some(7), "five deep, as every kernel goes");
    }
}

#[test]
fn env_finds_what_it_is_asked_for() {
    let scratch = Scratch::new();
    let folder = scratch.path();
    scratch.script("sh", "#!/usr/bin/env sh\necho \"$0\" \"$@\"\n");
    scratch.script("split", "#!/usr/bin/env -S NAME=value sh -e\necho \"$NAME\" \"$@\"\n");
    scratch.script("missing", "#!/usr/bin/env no-such-program\n");
    let real = std::fs::canonicalize(folder).unwrap().join("sh");
    assert_eq!(succeeds(folder, &["--base", "--", "./sh", "a"]), format!("{} a\n", real.display()));
    assert_eq!(succeeds(folder, &["--base", "--", "./split", "a"]), "value a\n");
    // That one is found, by `env` itself, not to be there.
    let output = ran(folder, &["--base", "--", "./missing"]);
    assert_eq!(output.status.code(), Some(127));
    assert!(text(&output.stderr).contains("no-such-program"), "{}", text(&output.stderr));
    // One that asks for itself for ever is ended by the kernel, at the latest by its own bound on nesting.
    scratch.executable("itself", "#!/usr/bin/env itself\n");
    let path = format!("PATH={}", folder.display());
    let output = ran(folder, &["--base", "--timeout", "1", "--env", &path, "--", "./itself"]);
    assert!(matches!(output.status.code(), Some(126 | 137)), "{}: {}", output.status, text(&output.stderr));
    // What `env` runs is granted though its folder is not.
    let own = scratch.path().join("own");
    std::fs::create_dir(&own).unwrap();
    scratch.executable("own/mine", "#!/bin/sh\necho mine\n");
    scratch.script("mine", "#!/usr/bin/env mine\n");
    let path = format!("PATH={}", own.display());
    assert_eq!(succeeds(folder, &["--base", "--env", &path, "--", "./mine"]), "mine\n");
}
