//! The profiles that are shipped, each with the real program at its real work, beside a secret that it does not get.

use std::path::{Path, PathBuf};

use beget_tests::{Need, Scratch, has, skip};

use crate::{Ran, run_in};

/// A project, and a secret beside it.
struct Project {
    scratch: Scratch,
}

impl Project {
    fn new() -> Project {
        let scratch = Scratch::new();
        std::fs::create_dir(scratch.at("project")).expect("an empty folder");
        scratch.file("secret", "secret");
        Project { scratch }
    }

    fn file(&self, name: &str, text: &str) -> String {
        self.scratch.file(&format!("project/{name}"), text)
    }

    fn run(&self, profile: &str, flags: &[&str], words: &[&str]) -> Ran {
        let start = ["run", "--profile", profile, "--set", "PROJECT=./project", "--timeout", "100s"];
        run_in(&self.scratch.at(""), &[&start[..], flags, &["--"], words].concat())
    }
}

fn lacks(test: &str, programs: &[&'static str]) -> bool {
    let missing = programs.iter().copied().find(|program| !has(program));
    missing.inspect(|program| skip(test, Need::Program(program))).is_some()
}

#[test]
fn they_are_listed_and_printed() {
    let list = run_in("/", &["profiles"]);
    for name in ["agent", "cargo", "git", "make", "node", "python", "python-parallel"] {
        let line = list.out.lines().find(|line| line.split(' ').next() == Some(name));
        let description = line.and_then(|line| line.split_once("  ")).map(|(_, text)| text.trim());
        assert!(description.is_some_and(|text| text.len() > 20), "{name}: {}", list.out);
        run_in("/", &["profiles", name]).shows("description = ");
    }
    assert_eq!(list.out.lines().count(), beget_spec::shipped::NAMES.len());
    run_in("/", &["profiles", "perl"]).refuses(&format!(
        "beget: profile perl: no such profile is shipped; there are {}\n",
        beget_spec::shipped::NAMES.join(", ")
    ));
    run_in("/", &["run", "--profile", "pyton", "--", "true"])
        .refuses("beget: profile pyton: no such profile is shipped; did you mean \"python\"?\n");
    let unset = run_in("/", &["run", "--profile", "python"]);
    assert!(unset.err.starts_with("beget: spec profile python:"), "{}", unset.err);
    assert!(
        unset.err.contains("variable PROJECT is not set; give it with --set PROJECT=VALUE"),
        "{}",
        unset.err
    );
}

#[test]
fn python_works_and_keeps_to_its_project() {
    if lacks("python_works_and_keeps_to_its_project", &["python3"]) {
        return;
    }
    let project = Project::new();
    project.file("helper.py", "answer = 42\n");
    project.file(
        "main.py",
        "
import ssl, threading, json, subprocess, helper
found = []
threads = [threading.Thread(target=lambda n=n: found.append(n)) for n in range(4)]
[t.start() for t in threads]; [t.join() for t in threads]
print(ssl.create_default_context().check_hostname, sorted(found), json.dumps(helper.answer))
for path in ['../secret', '/etc/shadow', 'out']:
    try: open(path, 'w' if path == 'out' else 'r'); print('opened', path)
    except PermissionError: print('refused', path)
try: subprocess.run(['true']); print('started')
except OSError: print('alone')
",
    );
    let said = "True [0, 1, 2, 3] 42\nrefused ../secret\nrefused /etc/shadow\nrefused out\nalone\n";
    project.run("python", &[], &["python3", "main.py"]).prints(said);
    let written = ["--write", "project"];
    let said = said.replace("refused out", "opened out");
    project.run("python", &written, &["python3", "main.py"]).prints(&said);
}

#[test]
fn python_has_processes_where_they_are_given() {
    let name = "python_has_processes_where_they_are_given";
    if lacks(name, &["python3"]) {
        return;
    }
    if !Path::new("/dev/shm").is_dir() {
        return skip(name, Need::Machine("/dev/shm"));
    }
    let project = Project::new();
    project.file(
        "main.py",
        "
import multiprocessing, subprocess
def square(n): return n * n
def secret(_):
    try: return open('../secret').read()
    except PermissionError: return 'refused'
if __name__ == '__main__':
    for method in ['fork', 'spawn']:
        with multiprocessing.get_context(method).Pool(2) as pool:
            print(pool.map(square, [2, 3]), pool.map(secret, [0]))
    print(subprocess.run(['echo', 'started'], capture_output=True, text=True).stdout.strip())
",
    );
    let said = "[4, 9] ['refused']\n[4, 9] ['refused']\nstarted\n";
    project.run("python-parallel", &[], &["python3", "main.py"]).prints(said);
}

#[test]
fn node_works_and_keeps_to_its_project() {
    if lacks("node_works_and_keeps_to_its_project", &["node"]) {
        return;
    }
    let project = Project::new();
    project.file("helper.js", "exports.answer = 42;\n");
    project.file(
        "main.js",
        "
const { Worker, isMainThread, parentPort, workerData } = require('worker_threads');
const fs = require('fs');
if (!isMainThread) { parentPort.postMessage(workerData * 2); } else {
  const one = n => new Promise((ok, no) => new Worker(__filename, { workerData: n }).on('message', ok).on('error', no));
  Promise.all([1, 2, 3].map(one)).then(all => {
    console.log(all.join(' '), require('./helper').answer, require('crypto').createHash('sha256').update('x').digest('hex').slice(0, 8));
    for (const path of ['../secret', '/etc/shadow']) {
      try { fs.readFileSync(path); console.log('read'); } catch (error) { console.log(error.code); }
    }
    try { fs.writeFileSync('out', ''); console.log('wrote'); } catch (error) { console.log(error.code); }
    const ran = require('child_process').spawnSync('true');
    console.log(ran.error ? 'alone' : 'started');
  });
}
",
    );
    project
        .run("node", &[], &["node", "main.js"])
        .prints("2 4 6 42 2d711642\nEACCES\nEACCES\nEACCES\nalone\n");
}

#[test]
fn git_works_on_a_repository() {
    if lacks("git_works_on_a_repository", &["git"]) {
        return;
    }
    let project = Project::new();
    let git = |words: &[&str]| {
        let flags = ["--env", "GIT_CONFIG_NOSYSTEM=1"];
        project.run("git", &flags, &[&["git"], words].concat())
    };
    git(&["init", "-q", "-b", "main"]).prints("");
    git(&["config", "user.name", "A"]).prints("");
    git(&["config", "user.email", "a@example.org"]).prints("");
    project.file("f", "one\n");
    git(&["add", "."]).prints("");
    git(&["commit", "-q", "-m", "first"]).prints("");
    project.file("f", "two\n");
    git(&["diff"]).shows("-one\n+two\n");
    git(&["commit", "-q", "-a", "-m", "second"]).prints("");
    git(&["log", "--format=%an %s"]).prints("A second\nA first\n");
    git(&["fsck", "--strict"]).prints("");
    git(&["clone", "-q", ".", "copy"]).prints("");
    git(&["-C", "copy", "show", "HEAD:f"]).prints("two\n");
    git(&["hash-object", "../secret"]).fails("Permission denied");
    // A hook that the repository brings does not run.
    let hook = project.file(".git/hooks/pre-commit", "#!/bin/sh\necho ran > hooked\n");
    std::fs::set_permissions(&hook, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .expect("our own file");
    git(&["commit", "-q", "--allow-empty", "-m", "third"]);
    assert!(!Path::new(&project.scratch.at("project/hooked")).exists());
}

#[test]
fn make_compiles_in_parallel() {
    if lacks("make_compiles_in_parallel", &["make", "gcc"]) {
        return;
    }
    let project = Project::new();
    let rules = "
CFLAGS = -O1
all: program
\t@./program
program: a.o b.o c.o
\t@$(CC) -o $@ $^
%.o: %.c
\t@$(CC) $(CFLAGS) -c -o $@ $<
steal:
\t@cat ../secret
";
    project.file("Makefile", rules);
    project.file("a.c", "#include <stdio.h>\nint b(void), c(void);\nint main(void) { printf(\"c %d\\n\", b() * c()); return 0; }\n");
    project.file("b.c", "int b(void) { return 6; }\n");
    project.file("c.c", "int c(void) { return 7; }\n");
    project.run("make", &[], &["make", "-s", "-j3"]).prints("c 42\n");
    project.run("make", &[], &["make", "-s", "steal"]).fails("../secret: Permission denied");
    let left: Vec<_> =
        std::fs::read_dir(project.scratch.at("project")).expect("it is there").flatten().collect();
    assert_eq!(left.len(), 8, "something temporary was left: {left:?}");
}

/// `CARGO_HOME` and `RUSTUP_HOME`, where this user can use them.
fn rust_homes() -> Option<(PathBuf, PathBuf)> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let place = |variable: &str, folder: &str| {
        std::env::var_os(variable).map(PathBuf::from).or_else(|| Some(home.as_ref()?.join(folder)))
    };
    let (cargo, rustup) = (place("CARGO_HOME", ".cargo")?, place("RUSTUP_HOME", ".rustup")?);
    let whole = cargo.join("bin/cargo").is_file()
        && cargo.join("registry").is_dir()
        && rustup.join("toolchains").is_dir();
    whole.then_some((cargo, rustup))
}

#[test]
fn cargo_builds_and_tests_offline() {
    let name = "cargo_builds_and_tests_offline";
    if lacks(name, &["gcc"]) {
        return;
    }
    let Some((cargo_home, rustup_home)) = rust_homes() else {
        return skip(name, Need::Machine("a toolchain of rustup's that this user can read"));
    };
    let project = Project::new();
    project.file(
        "Cargo.toml",
        "[package]\nname = \"answer\"\nversion = \"0.1.0\"\nedition = \"2021\"\n[workspace]\n",
    );
    project.file("build.rs", "fn main() { println!(\"cargo:rustc-env=ANSWER=42\"); }\n");
    std::fs::create_dir(project.scratch.at("project/src")).expect("an empty folder");
    project.file(
        "src/main.rs",
        "fn main() { println!(\"rust {} {:?}\", env!(\"ANSWER\"), std::fs::read(\"../secret\").unwrap_err().kind()); }\n\
         #[test]\nfn passes() { assert_eq!(env!(\"ANSWER\"), \"42\"); }\n",
    );
    let credentials = cargo_home.join("credentials.toml");
    let homes =
        [format!("CARGO_HOME={}", cargo_home.display()), format!("RUSTUP_HOME={}", rustup_home.display())];
    let cargo = |words: &[&str]| {
        let mut flags: Vec<&str> = homes.iter().flat_map(|home| ["--set", home.as_str()]).collect();
        // A toolchain that was chosen for this test is chosen for what it runs.
        let chosen = std::env::var("RUSTUP_TOOLCHAIN").map(|chosen| format!("RUSTUP_TOOLCHAIN={chosen}"));
        if let Ok(chosen) = &chosen {
            flags.extend(["--env", chosen]);
        }
        project.run("cargo", &flags, words)
    };
    cargo(&["cargo", "run", "--quiet"]).prints("rust 42 PermissionDenied\n");
    cargo(&["cargo", "test", "--quiet"]).shows("1 passed");
    let shown = credentials.to_str().expect("a path that is text");
    cargo(&["cat", shown]).fails(if credentials.exists() { "Permission denied" } else { "cat: " });
}

#[test]
fn an_agents_shell_does_a_days_work() {
    if lacks("an_agents_shell_does_a_days_work", &["bash", "git", "gcc", "python3"]) {
        return;
    }
    let project = Project::new();
    let script = "
set -e
export GIT_CONFIG_NOSYSTEM=1 GIT_AUTHOR_NAME=A GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=A GIT_COMMITTER_EMAIL=a@b
git init -q -b main . && echo 'int main(void){return 7;}' > seven.c && gcc -o seven seven.c
./seven || echo \"seven $?\"
git add seven.c && git commit -q -m made && git log --format=%s
python3 -c 'import sqlite3; print(sqlite3.connect(\":memory:\").execute(\"select 6*7\").fetchone()[0])' | tee answer
seq 3 | sort -r | xargs echo
(sleep 0 & wait) && mktemp -d >/dev/null && echo home $HOME
cat ../secret || echo kept
cat /etc/shadow || echo kept
ls ~root || true
(exec 3<>/dev/tcp/127.0.0.1/9) 2>/dev/null || echo 'no network'
kill -0 $PPID 2>/dev/null || echo 'no signal'
";
    let real = std::fs::canonicalize(project.scratch.at("project")).expect("it is there");
    let place = format!("PROJECT={}", real.display());
    let ran = run_in(
        &project.scratch.at(""),
        &["run", "--profile", "agent", "--set", &place, "--timeout", "100s", "--", "bash", "-c", script],
    );
    let said =
        format!("seven 7\nmade\n42\n3 2 1\nhome {}\nkept\nkept\nno network\nno signal\n", real.display());
    ran.prints(&said);
}
