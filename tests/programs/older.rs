//! Ordinary programs on kernels with an older Landlock, where the filter stands in for what Landlock does not cover yet.

use beget::Support;
use beget_tests::{Need, Scratch, skip};

use crate::{Ran, lacks, run};

/// A kernel whose Landlock is of ABI `abi`, and a folder where programs may write.
struct Older {
    abi: u32,
    scratch: Scratch,
}

impl Older {
    /// One for each ABI below this kernel's own.
    fn each(test: &str) -> Vec<Older> {
        let own = Support::detect().landlock.unwrap_or(0);
        if own < 2 {
            skip(test, Need::Machine("Landlock ABI 2, for something to be older than"));
        }
        (1..own).map(|abi| Older { abi, scratch: Scratch::new() }).collect()
    }

    fn run(&self, more: &[&str], program: &[&str]) -> Ran {
        let (abi, place) = (format!("landlock={}", self.abi), self.scratch.at(""));
        let temporary = format!("TMPDIR={place}");
        let flags = ["--as-if", &abi, "--write", &place, "--cwd", &place, "--env", &temporary];
        run(&[&flags[..], more].concat(), program)
    }

    /// Signals are not kept from others there, once there may be children to signal.
    fn spawning(&self, program: &[&str]) -> Ran {
        let grants: &[&str] = if self.abi < 6 { &["--spawn", "--degrade", "signals"] } else { &["--spawn"] };
        let home = format!("HOME={}", self.scratch.at(""));
        self.run(&[grants, &["--env", &home, "--env", "GIT_CONFIG_NOSYSTEM=1"]].concat(), program)
    }
}

#[test]
fn python_and_node_run() {
    let name = "older::python_and_node_run";
    if lacks(name, &["python3", "node"]) {
        return;
    }
    let code = "
import asyncio, fcntl, mmap, os, signal, subprocess, threading
got = []
signal.signal(signal.SIGUSR1, lambda *_: got.append(1))
main = threading.main_thread().ident
thread = threading.Thread(target=lambda: signal.pthread_kill(main, signal.SIGUSR1))
thread.start(); thread.join()
os.kill(os.getpid(), signal.SIGUSR1); signal.raise_signal(signal.SIGUSR1)
asyncio.run(asyncio.sleep(0))
file = open('a', 'w+b'); file.write(b'x' * 5000); file.flush(); file.truncate(4096)
fcntl.flock(file, fcntl.LOCK_EX); fcntl.lockf(file, fcntl.LOCK_UN)
mapped = mmap.mmap(file.fileno(), 0); mapped[0] = 65; mapped.flush()
os.rename('a', 'b'); print(len(got) > 1, open('b', 'rb').read(2), os.stat('b').st_size)
open('b', 'w').close(); print(os.stat('b').st_size, os.isatty(0))
";
    for older in Older::each(name) {
        older.run(&[], &["python3", "-c", code]).prints("True b'Ax' 4096\n0 False\n");
        let worker = "new (require('worker_threads').Worker)('process.stdout.write(`w`)', { eval: true }).on('exit', () => {
            require('fs').writeFileSync('n', 'node'); process.stdout.write(require('fs').readFileSync('n')); })";
        older.run(&[], &["node", "-e", worker]).prints("wnode");
        let child = "console.log(require('child_process').execSync('echo child').toString().trim())";
        older.spawning(&["node", "-e", child]).prints("child\n");
        let killed = "import subprocess as s; p = s.Popen(['sleep', '60']); p.kill(); print(p.wait())";
        older.spawning(&["python3", "-c", killed]).prints("-9\n");
        older.run(&[], &["python3", "-c", "open('/etc/shadow')"]).fails("[Errno 13] Permission denied");
    }
}

#[test]
fn git_gcc_and_the_shell_run() {
    let name = "older::git_gcc_and_the_shell_run";
    if lacks(name, &["git", "gcc", "tar", "gzip", "sqlite3"]) {
        return;
    }
    let script = "set -e
git init -q repo; cd repo; git config user.name A; git config user.email a@example.org
echo one > f; git add f; git commit -q -m one; echo two >> f; git commit -q -a -m two
git gc -q; git clone -q . ../copy; git clone -q file://$PWD ../spoken; cd ..; cat spoken/f
echo 'int main(void) { return 0; }' > h.c; gcc -g -o h h.c; test -s h
tar -czf r.tgz repo; mkdir out; tar -xzf r.tgz -C out; cmp out/repo/f repo/f
mv out/repo/f out/moved; cat out/moved | sort -r | head -n 1; sed -i s/one/1/ out/moved; : > out/moved; wc -c < out/moved
sqlite3 -batch db 'pragma journal_mode = truncate; create table t(x); insert into t values (42); select * from t; vacuum'
";
    for older in Older::each(name) {
        older.spawning(&["bash", "-c", script]).prints("one\ntwo\ntwo\n0\ntruncate\n42\n");
    }
}

#[test]
fn what_an_older_kernel_cannot_grant() {
    let name = "older::what_an_older_kernel_cannot_grant";
    if lacks(name, &["python3"]) {
        return;
    }
    for older in Older::each(name) {
        let python = |code| older.run(&[], &["python3", "-c", code]);
        older.scratch.file("f", "text");
        std::fs::create_dir(older.scratch.at("d")).expect("an empty folder");
        // From one folder to another: a right since ABI 2. `mv` copies instead.
        let moved = python("import os; os.rename('f', 'd/f')");
        if older.abi < 2 {
            moved.fails("[Errno 18] Invalid cross-device link");
            older.run(&[], &["mv", "f", "d/f"]).prints("");
        } else {
            moved.prints("");
        }
        assert_eq!(std::fs::read_to_string(older.scratch.at("d/f")).expect("moved"), "text");
        // By name and not by descriptor: a right since ABI 3.
        let cut = python("import os; os.truncate('d/f', 2)");
        if older.abi < 3 {
            cut.fails("[Errno 13] Permission denied");
        } else {
            cut.prints("");
            assert_eq!(std::fs::read_to_string(older.scratch.at("d/f")).expect("cut"), "te");
        }
    }
}
