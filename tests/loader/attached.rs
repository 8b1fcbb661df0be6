//! A suspended program is a debugger's, a tracer's or a profiler's for the asking, whoever loaded it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use beget_tests::{Need, Scratch, finish, skip, text};

use crate::lacks;
use crate::suspended::{PRINTED, Suspended, each};

#[test]
fn a_debugger_attaches() {
    if lacks("a_debugger_attaches", &["gdb"]) {
        return;
    }
    let scratch = Scratch::new();
    // What it stopped of is told by some versions when it goes on, once or twice.
    let steps = "set pagination off\nbreak main\ncommands\nbt\nend\ncontinue\ncontinue\ncontinue\n";
    let steps = scratch.file("steps", steps);
    each("a_debugger_attaches", |loader, program| {
        let suspended = Suspended::start(loader, &[], program);
        let mut gdb = Command::new("gdb");
        gdb.args(["-nx", "-batch", "-p", &suspended.number.to_string(), "-x", &steps]).stdin(Stdio::null());
        // The symbols come from /proc/PID/exe, which is not the program for one that an ordinary user loads directly.
        if loader == "direct" {
            gdb.arg(program);
        }
        let ran = finish(&mut gdb);
        let (said, told) = (text(&ran.stdout), text(&ran.stderr));
        let stopped = said.contains("Breakpoint 1, main (count=2") && said.contains("#0  main (count=2");
        assert!(stopped, "{loader}: {said}\n{told}");
        // A debugger that lets go leaves it as it found it, stopped, like any other process.
        // SAFETY: our own child, which Beget has not waited for while it is not told.
        unsafe { libc::kill(suspended.number, libc::SIGCONT) };
        let (code, out, _) = suspended.ends();
        assert_eq!((code, out.as_str()), (7, PRINTED), "{loader}: {said}\n{told}");
    });
}

#[test]
fn a_tracer_attaches() {
    if lacks("a_tracer_attaches", &["strace"]) {
        return;
    }
    let scratch = Scratch::new();
    each("a_tracer_attaches", |loader, program| {
        let log = scratch.at("log");
        let _ = std::fs::remove_file(&log);
        let suspended = Suspended::start(loader, &[], program);
        let number = suspended.number.to_string();
        let mut strace = Command::new("strace")
            .args(["-f", "-o", &log, "-p", &number])
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut line = String::new();
        BufReader::new(strace.stderr.take().expect("a pipe")).read_line(&mut line).expect("it tells");
        assert!(line.contains("attached"), "{line}");
        // Beget, which sees the tracer, may have let it go on already, to its end.
        // SAFETY: our own child, which Beget has not waited for while it is not told.
        unsafe { libc::kill(suspended.number, libc::SIGCONT) };
        let ended = suspended.ends();
        strace.wait().expect("our own child");
        assert_eq!((ended.0, ended.1.as_str()), (7, PRINTED), "{loader}");
        let log = std::fs::read_to_string(&log).expect("strace wrote it");
        assert!(
            log.contains("write(1, \"early\\nran 4 word\\n\"") && log.contains("+++ exited with 7 +++"),
            "{loader}: {log}"
        );
    });
    // And from the beginning, over Beget itself.
    each("a_tracer_attaches", |loader, program| {
        let log = scratch.at("whole");
        let beget = beget_tests::program("beget-under-test");
        let mut strace = Command::new("strace");
        strace
            .args(["-f", "-o", &log])
            .arg(beget)
            .args(["run", "--base", "--loader", loader, "--", program, "word"]);
        let ran = finish(strace.env_clear().env("PATH", beget::DEFAULT_PATH).stdin(Stdio::null()));
        assert_eq!(
            (ran.status.code(), text(&ran.stdout).as_str()),
            (Some(7), PRINTED),
            "{loader}: {}",
            text(&ran.stderr)
        );
        let log = std::fs::read_to_string(&log).expect("strace wrote it");
        assert!(log.contains("write(1, \"early\\nran 4 word\\n\""), "{loader}");
    });
}

#[test]
fn a_profiler_attaches() {
    let test = "a_profiler_attaches";
    let counts = |more: &[&str]| {
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ",", "-e", "task-clock"]).args(more).stdin(Stdio::null());
        perf.stdout(Stdio::null()).stderr(Stdio::piped());
        perf
    };
    if !counts(&["true"]).status().is_ok_and(|status| status.success()) {
        return skip(test, Need::Machine("a perf that may count"));
    }
    each(test, |loader, program| {
        let suspended = Suspended::start(loader, &[], program);
        let number = suspended.number.to_string();
        let perf = counts(&["-p", &number]).spawn().expect("it starts");
        // It opens its counters before it waits for the end.
        let counting = || {
            std::fs::read_dir(format!("/proc/{}/fd", perf.id())).is_ok_and(|all| {
                all.flatten().any(|one| {
                    std::fs::read_link(one.path())
                        .is_ok_and(|target| target.ends_with("anon_inode:[perf_event]"))
                })
            })
        };
        let until = Instant::now() + Duration::from_secs(15);
        while !counting() {
            assert!(Instant::now() < until, "perf counts nothing");
            std::thread::sleep(Duration::from_millis(5));
        }
        suspended.signal(suspended.number, libc::SIGCONT);
        suspended.ends_well();
        let counted = perf.wait_with_output().expect("our own child");
        assert!(text(&counted.stderr).contains(",task-clock"), "{loader}: {}", text(&counted.stderr));
    });
}
