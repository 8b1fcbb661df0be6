//! Shells and interpreters: programs that are given programs.

use std::path::PathBuf;

use beget::Grant;
use beget_factory::Ready;
use beget_factory::survey::Kind;
use beget_tests::Scratch;

use super::{Input, check, program};

#[test]
fn shells() {
    let pipeline = "for i in 3 1 2; do echo $i; done | sort | tr '\\n' ' '; exit 5\n";
    let trap = "trap 'echo ended' EXIT; trap 'echo caught' TERM; kill -TERM $$ 2>/dev/null; echo on\n";
    let all = |name| {
        program(name, &[Grant::Base, Grant::Spawn])
            .run(&["-c", "echo $0 $# $1", "zero", "one"])
            .run(&["-c", "cd /usr && pwd; umask; ulimit -n"])
            .run(&["-c", "echo err >&2; exit 9"])
            .run(&["-c", "kill -SEGV $$"])
            .variable("A", "1", &["-c", "echo $A; env | sort"])
            .given(&["-c", "read a; read b; echo $b $a"], "one\ntwo\n")
            .given(&["-c", "cat <<E\nhere $1\nE", "zero", "one"], "")
            .given(&["-c", trap], "")
            .reads(&["-s"], pipeline)
            .reads(&["-s"], "echo $((6*7)); echo a >&2\n")
            .reads(&["-s"], "sleep 0.01 & wait $!; echo $?; (exit 3); echo $?\n")
            .reads(&["-s"], "read line\nthe line\necho $line\ncat\nthe rest\n")
            .reads(&["-s"], "syntax (\n")
            .reads(&["-s"], "exec cat /etc/hostname-nowhere\n")
            .reads(&["-s"], "echo ${UNSET?it is unset}\n")
            .file(&["-s"], pipeline)
    };
    let bash = all("bash")
        .given(&["-c", "read -t 5 a; echo $a"], "now\n")
        .given(&["-c", "mapfile -t all; echo ${#all[@]} ${all[2]}"], "a\nb\nc\n")
        .reads(&["-s"], "set -m; sleep 0 & fg >/dev/null; echo $?\n")
        .reads(&["-s"], "cat <(echo one) 2>&1\n")
        .reads(&["-s"], "coproc cat; echo x >&${COPROC[1]}; read y <&${COPROC[0]}; echo $y\n");
    check([bash, all("dash"), all("sh")]);
    // Its own number is the template's, where it has taken it: that is told.
    let number =
        |name| program(name, &[Grant::Spawn]).reads(&["-s"], "kill -KILL $$\n").differs(Kind::CachedNumber);
    check([number("bash"), number("dash")]);
}

#[test]
fn interpreters() {
    let python = "import sys, os, json, decimal, hashlib\nprint(json.dumps(sys.argv))\nprint(decimal.Decimal(1) / 7)\n\
                  print(hashlib.sha256(b'x').hexdigest())\nsys.stderr.write('e')\nsys.exit(3)\n";
    let big = "import sys\nsys.stdout.buffer.write(bytes(range(256)) * 20000)\n";
    check([
        program("/usr/bin/python3", &[Grant::Base, Grant::Spawn])
            .reads(&["-"], python)
            .reads(&["-"], big)
            .reads(&["-"], "raise SystemError('no')\n")
            .reads(&["-"], "import os, signal\nos.kill(os.getpid(), signal.SIGABRT)\n")
            .reads(&["-"], "import subprocess\nprint(subprocess.run(['echo', 'x'], capture_output=True))\n")
            .reads(&["-"], "import threading\nt = threading.Thread(target=print, args=(1,)); t.start(); t.join()\n")
            .reads(&["-"], "import ctypes, sqlite3, zlib, ssl, time\nprint(zlib.crc32(b'x'), time.gmtime(0).tm_year)\n")
            .reads(&["-"], "import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 3\nprint(asyncio.run(f()))\n")
            .reads(&["-"], "import multiprocessing, os\nprint(os.fork() == 0 or os.wait()[1])\n")
            .reads(&["-"], "import sys, os\nprint(sys.executable, sys.prefix, os.getcwd(), sys.flags.isolated)\n")
            .reads(&["-"], "import locale, sys\nprint(locale.getlocale(), sys.stdout.encoding, sys.stdin.encoding)\n")
            .run(&["-c", "import sys; print(sys.argv)", "a"])
            .variable("PYTHONHASHSEED", "1", &["-c", "print(hash('a'))"])
            .run(&["-I", "-m", "json.tool", "/nowhere"]),
        program("perl", &[Grant::Base, Grant::Spawn])
            .reads(&["-"], "print join(',', map { $_ * 2 } 1..3), qq(\\n); exit 4;\n")
            .reads(&["-"], "use POSIX; use List::Util qw(sum); use Digest::MD5 qw(md5_hex); print sum(1,2), md5_hex('x');\n")
            .reads(&["-"], "die 'no'\n")
            .reads(&["-"], "print `echo x`; print <STDIN>;\n__END__\nthe rest\n")
            .reads(&["-"], "kill 'ABRT', $$;\n")
            .run(&["-e", "print @ARGV, $0", "a", "b"])
            .given(&["-ne", "print uc"], "text\n"),
        program("tclsh", &[Grant::Base]).reads(&[], "puts [expr 6*7]\n").reads(&[], "error no\n"),
        program("lua", &[]).reads(&["-"], "print(6*7)\n"),
        program("ruby", &[]).reads(&["-"], "puts 6*7\n"),
    ]);
}

/// Programs that make threads have none yet at their entry.
#[test]
fn that_make_threads() {
    let proc = |name| {
        program(name, &[Grant::Base, Grant::Spawn]).at(&[Ready::Entry]).with(|command| {
            command.grant(Grant::Read("/proc".into()));
        })
    };
    check([
        proc("node")
            .run(&["-e", "console.log(6 * 7); process.exitCode = 3"])
            .given(&["-"], "setTimeout(() => console.log(1), 1)"),
        proc("java").run(&["-Xshare:auto", "--version"]),
        proc("go").run(&["version"]),
    ]);
}

/// A wrapper that stops itself where it is ready.
#[test]
fn where_they_stop_themselves() {
    let stopped = |name: &'static str, flag: &'static str, words: &'static str| {
        let name = program(name, &[Grant::Base, Grant::Spawn]).at(&[Ready::Stop]);
        name.with(move |command| {
            command.args([flag, words]);
        })
    };
    let mut all = vec![
        stopped("sh", "-c", "A=ready; kill -STOP $$; echo $A; cat; exit 3"),
        stopped("bash", "-c", "A=ready; kill -STOP $$; read -r line; echo $A $line; sleep 0 & wait; exit 3"),
        stopped("bash", "-c", "trap 'echo term' TERM; kill -STOP $$; exec cat"),
        stopped("perl", "-e", "kill 'STOP', $$; print <STDIN>; exit 3"),
        stopped(
            "/usr/bin/python3",
            "-c",
            "import os, sys; os.kill(os.getpid(), 19); print(sys.stdin.read()); sys.exit(3)",
        ),
    ];
    for one in &mut all {
        for input in ["one\n", "two\nthree\n"] {
            let input = Input::Pipe(input.into());
            one.runs.push(super::Run { input, ..super::Run::default() });
        }
    }
    // A cold start would stay where it stops: what it is to do is known.
    let mut differences = Vec::new();
    for one in all.iter().filter(|one| one.here) {
        let factory = super::seal((one.command)(), super::next_options(Ready::Stop));
        let factory = match factory {
            Ok(factory) => factory,
            Err(error) => {
                differences.push(format!("{}: {error}", one.name));
                continue;
            }
        };
        for run in &one.runs {
            let was = super::product(&factory, run).expect("a product");
            let Input::Pipe(input) = &run.input else { continue };
            let first = beget_tests::text(input).lines().next().unwrap_or_default().to_owned();
            if !beget_tests::text(&was.out).contains(&first) || !matches!(was.code, Some(0 | 3)) {
                differences.push(format!("{}: {was:?}", one.name));
            }
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
}

/// Programs that were built here: linked statically, by several compilers, and that look for their own file.
#[test]
fn built_here() {
    let scratch = Scratch::new();
    let source = scratch.file(
        "p.c",
        "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\n#include <unistd.h>\n#include <signal.h>\n\
         static void caught(int s) { (void)s; }\nextern char **environ;\n\
         int main(int c, char **v) {\n  char buffer[100000]; ssize_t n;\n  signal(SIGUSR1, caught);\n\
         for (int i = 1; i < c; i++) printf(\"%s \", v[i]);\n  printf(\"%s\\n\", getenv(\"A\") ? getenv(\"A\") : \"-\");\n\
         fflush(stdout);\n  while ((n = read(0, buffer, sizeof buffer)) > 0) if (write(1, buffer, n) != n) return 9;\n\
         raise(SIGUSR1);\n  if (c > 1 && !strcmp(v[1], \"abort\")) abort();\n\
         if (c > 1 && !strcmp(v[1], \"segv\")) *(volatile int *)8 = 1;\n  return c; }\n",
    );
    let kinds: [(&str, &[&str]); 6] = [
        ("gcc", &["-O2"]),
        ("gcc", &["-O2", "-no-pie"]),
        ("gcc", &["-static"]),
        ("gcc", &["-static-pie"]),
        ("musl-gcc", &["-O2"]),
        ("musl-gcc", &["-static"]),
    ];
    let mut all = Vec::new();
    for (index, (compiler, flags)) in kinds.iter().enumerate() {
        if !beget_tests::has(compiler) {
            continue;
        }
        let path = PathBuf::from(scratch.at(&format!("p{index}")));
        let built =
            std::process::Command::new(compiler).args(*flags).arg(&source).arg("-o").arg(&path).output();
        let built = built.expect("a compiler");
        assert!(built.status.success(), "{}", beget_tests::text(&built.stderr));
        let name: &'static str = Box::leak(path.to_str().expect("a name").to_owned().into_boxed_str());
        let one = program(name, &[])
            .reads(&[], "text")
            .differs(Kind::EarlyOutput)
            .given(&["one", "two"], "text")
            .variable("A", "value", &["one"])
            .given(&["abort"], "text")
            .given(&["segv"], "text");
        all.push(one);
    }
    check(all);
}
