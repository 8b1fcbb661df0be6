//! Rust: cargo builds a crate offline, with its build script, and the result runs; and this project's own programs.

use std::path::PathBuf;
use std::process::Command;

use beget_tests::{Need, Scratch, program, skip};

use crate::{Ran, bare, lacks, run};

/// The toolchain's own folder: not a version manager's shim, which would look for it again.
fn toolchain() -> Option<PathBuf> {
    let from_cargo = std::env::var_os("CARGO")
        .and_then(|cargo| PathBuf::from(cargo).parent()?.parent().map(PathBuf::from));
    let from_rustc = || {
        let output = Command::new("rustc").args(["--print", "sysroot"]).output().ok()?;
        output.status.success().then(|| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
    };
    let whole =
        |folder: &PathBuf| ["cargo", "rustc"].iter().all(|tool| folder.join("bin").join(tool).is_file());
    from_cargo.filter(whole).or_else(|| from_rustc().filter(whole))
}

/// A crate with a build script, and the grants that building it needs.
struct Crate {
    scratch: Scratch,
    toolchain: String,
}

impl Crate {
    fn cargo(&self, grants: &[&str], words: &[&str]) -> Ran {
        let variable = |name: &str, value: &str| format!("{name}={value}");
        let variables = [
            variable("PATH", &format!("{}/bin:/usr/local/bin:/usr/bin:/bin", self.toolchain)),
            variable("CARGO_HOME", &self.scratch.at("home")),
            variable("TMPDIR", &self.scratch.at("tmp")),
        ];
        let crate_folder = self.scratch.at("crate");
        let mut flags = vec!["--exec", self.toolchain.as_str(), "--cwd", &crate_folder];
        flags.extend(variables.iter().flat_map(|variable| ["--env", variable.as_str()]));
        flags.extend(grants);
        run(&flags, &[&["cargo"], words].concat())
    }
}

#[test]
fn cargo_builds_offline_and_the_result_runs() {
    let name = "cargo_builds_offline_and_the_result_runs";
    if lacks(name, &["gcc"]) {
        return;
    }
    let Some(toolchain) = toolchain() else {
        return skip(name, Need::Machine("a Rust toolchain that this user can read"));
    };
    let scratch = Scratch::new();
    for folder in ["home", "tmp", "crate", "crate/src"] {
        std::fs::create_dir(scratch.at(folder)).expect("an empty folder");
    }
    scratch.file(
        "crate/Cargo.toml",
        "[package]\nname = \"answer\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    scratch.file("crate/build.rs", "fn main() { println!(\"cargo:rustc-env=ANSWER=42\"); }\n");
    scratch.file(
        "crate/src/main.rs",
        "fn main() {
    let thread = std::thread::spawn(|| env!(\"ANSWER\").to_owned());
    println!(\"rust {}\", thread.join().unwrap());
    if let Some(path) = std::env::args().nth(1) { println!(\"{:?}\", std::fs::read(path).unwrap_err().kind()); }
}
#[test]
fn passes() { assert_eq!(env!(\"ANSWER\"), \"42\"); }
",
    );
    let krate = Crate { scratch, toolchain: toolchain.to_str().expect("a path that is text").to_owned() };
    let all = krate.scratch.at("");

    let build = ["build", "--offline", "--quiet"];
    krate.cargo(&["--write", &all], &build).fails("Operation not permitted").tells("--spawn");
    krate.cargo(&["--read", &all, "--spawn"], &build).fails("Permission denied");
    // A build script is a program that was just made: executing it is a grant of its own.
    krate.cargo(&["--write", &all, "--spawn"], &build).fails("build-script-build");
    let grants = ["--write", &all, "--exec", &all, "--spawn"];
    krate.cargo(&grants, &build).prints("");
    krate.cargo(&grants, &["test", "--offline", "--quiet"]).shows("1 passed");
    let made = krate.scratch.at("crate/target/debug/answer");
    let secret = krate.scratch.file("secret", "secret");
    run(&[], &[&made, &secret]).prints("rust 42\nPermissionDenied\n");
}

#[test]
fn a_static_rust_program_runs_on_its_own() {
    let beget = program("beget-under-test");
    let beget = beget.to_str().expect("a path that is text");
    bare(&[], &[beget, "version"]).shows("beget ");
    // Beget in Beget: the inner child holds no more than the outer one, whatever the inner flags say.
    let scratch = Scratch::new();
    let file = scratch.file("file", "secret");
    let inner = |grants: &[&str]| run(grants, &[beget, "run", "--base", "--read", &file, "--", "cat", &file]);
    inner(&["--spawn", "--read", &file]).prints("secret");
    inner(&["--spawn"]).fails("Permission denied");
}
