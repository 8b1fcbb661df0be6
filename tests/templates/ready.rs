//! Each ready point, in programs of every kind: a product writes what the program started anew writes, and ends so.

use super::*;
use crate::fixtures::{c, compiled};

/// A program that says what it was started with, and what it is told.
const ECHO: &str = r#"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
int steps;
__attribute__((constructor)) void before(void) { steps = 40; }
__attribute__((noinline)) void work_begins(int n) { steps += n; }
int main(int argc, char **argv) {
    work_begins(argc);
    char line[100];
    while (fgets(line, sizeof line, stdin)) printf("got %s", line);
    printf("%d %s %s %d\n", argc, argv[argc - 1], getenv("WHO"), steps);
    return 7;
}"#;

/// Every kind of program that the compilers here make.
pub(super) fn kinds() -> Vec<(&'static str, String)> {
    let mut kinds = Vec::new();
    if beget_tests::has("gcc") {
        kinds.push(("glibc, anywhere", c(ECHO, &["-pie", "-fPIE"])));
        kinds.push(("glibc, anywhere, bound lazily", c(ECHO, &["-pie", "-fPIE", "-Wl,-z,lazy"])));
        kinds.push(("glibc, at a fixed place", c(ECHO, &["-no-pie", "-fno-pie"])));
        kinds.push(("glibc, static", c(ECHO, &["-static"])));
        kinds.push(("glibc, static, anywhere", c(ECHO, &["-static-pie", "-fPIE"])));
    }
    if beget_tests::has("musl-gcc") {
        kinds.push(("musl", compiled("musl-gcc", ECHO, &[])));
        kinds.push(("musl, static", compiled("musl-gcc", ECHO, &["-static"])));
    }
    kinds
}

pub(super) fn echo(path: &str) -> Command {
    let mut command = base(path);
    command.arg("last").env("WHO", "me");
    command
}

#[test]
fn products_of_each_kind_and_ready_point_write_what_the_program_writes() {
    for (kind, path) in kinds() {
        let expected = cold(&mut echo(&path), "one\ntwo\n");
        assert_eq!(expected.code, Some(7), "{kind}: {expected:?}");
        for ready in [Ready::Entry, Ready::Main, Ready::Stdin, Ready::Symbol("work_begins".into())] {
            let made = made(&mut echo(&path), &ready, LONG);
            let made = made.unwrap_or_else(|error| panic!("{kind}, {ready}: {error}"));
            assert_eq!(made.point.ready, ready);
            for _ in 0..3 {
                assert_eq!(made.run("one\ntwo\n"), expected, "{kind}, {ready}");
            }
        }
    }
}

#[test]
fn interpreters_wait_for_their_programs() {
    let cases: [(&[&str], &str); 6] = [
        (&["/bin/cat"], "as it came"),
        (&["/bin/sh"], "echo $((6 * 7)); exit 3"),
        (&["/usr/bin/bash", "-s", "a", "b"], "echo $# $2; read line; echo $line\nnext\nexit 4"),
        (&["/usr/bin/python3", "-"], "import sys, json; print(json.dumps(sys.argv)); sys.exit(5)"),
        (&["/usr/bin/perl"], "print 6 * 7, \"\\n\"; exit 6;"),
        (&["/usr/bin/sed", "s/a/b/"], "aaa\nba\n"),
    ];
    for (words, input) in cases {
        if !std::path::Path::new(words[0]).exists() {
            continue;
        }
        let command = || {
            let mut command = base(words[0]);
            command.args(&words[1..]);
            command
        };
        let expected = cold(&mut command(), input);
        let made =
            made(&mut command(), &Ready::Stdin, LONG).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        for _ in 0..5 {
            assert_eq!(made.run(input), expected, "{words:?}");
        }
    }
}

#[test]
fn what_polls_for_its_input_is_ready_too() {
    let source = r#"
    #define _GNU_SOURCE
    #include <poll.h>
    #include <signal.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/select.h>
    #include <sys/uio.h>
    #include <unistd.h>
    int main(int argc, char **argv) {
        struct pollfd all[2] = {{ -1, POLLIN, 0 }, { 0, POLLIN, 0 }};
        struct timespec soon = { 30, 0 };
        struct timeval later = { 30, 0 };
        fd_set set; FD_ZERO(&set); FD_SET(0, &set);
        sigset_t none; sigemptyset(&none); sigaddset(&none, SIGUSR1);
        char text[100] = "";
        struct iovec vector = { text, 99 };
        int n = 1;
        switch (argv[1][0]) {
            case 'p': n = poll(all, 2, -1); break;
            case 't': n = poll(all, 2, 30000); break;
            case 'm': n = ppoll(all, 2, &soon, &none); break;
            case 's': n = select(1, &set, 0, 0, &later); break;
            case 'q': n = pselect(1, &set, 0, 0, 0, &none); break;
        }
        readv(0, &vector, 1);
        sigset_t now; sigprocmask(0, 0, &now);
        printf("%d %s %d\n", n, text, sigismember(&now, SIGUSR1));
    }"#;
    if !beget_tests::has("gcc") {
        return;
    }
    let path = c(source, &[]);
    for how in ["poll", "timed", "masked", "select", "q", "readv"] {
        let command = || {
            let mut command = base(&path);
            command.arg(how);
            command
        };
        let expected = cold(&mut command(), "text");
        assert_eq!(expected.out, "1 text 0\n", "{how}");
        let made = made(&mut command(), &Ready::Stdin, LONG).unwrap_or_else(|error| panic!("{how}: {error}"));
        for _ in 0..3 {
            assert_eq!(made.run("text"), expected, "{how}");
        }
    }
}

#[test]
fn an_epoll_set_with_standard_input_is_refused_by_name() {
    let source = "import select, sys
poll = select.epoll()
poll.register(0, select.EPOLLIN)
poll.poll()
";
    let mut command = base("/usr/bin/python3");
    let error = refused(command.arg("-c").arg(source), &Ready::Stdin, LONG);
    assert!(error.contains("epoll"), "{error}");
}

#[test]
fn a_program_that_stops_itself_is_ready_after_it() {
    let shell = "x=before; kill -STOP $$; echo $x; read y; echo $y; exit 9";
    let perl = "$x = 6; kill STOP => $$; print $x * 7, <STDIN>; exit 9";
    let python =
        "import os, signal; x = 6; os.kill(os.getpid(), signal.SIGSTOP); print(x * 7, input()); exit(9)";
    for (program, source, expected) in [
        ("/bin/sh", shell, "before\nline\n"),
        ("/usr/bin/perl", perl, "42line"),
        ("/usr/bin/python3", python, "42 line\n"),
    ] {
        let flag = if program.ends_with("perl") { "-e" } else { "-c" };
        let mut command = base(program);
        let made = made(command.arg(flag).arg(source), &Ready::Stop, LONG);
        let made = made.unwrap_or_else(|error| panic!("{program}: {error}"));
        for _ in 0..5 {
            let ran = made.run("line");
            assert_eq!((ran.out.as_str(), ran.code), (expected, Some(9)), "{program}: {ran:?}");
        }
    }
}

#[test]
fn an_exec_before_it_is_followed() {
    for (words, ready, expected) in [
        (["/bin/sh", "-c", "exec cat -"], Ready::Stdin, "text"),
        (["/bin/sh", "-c", "exec env A=B cat"], Ready::Stdin, "text"),
        (["/bin/sh", "-c", "exec sh -c 'kill -STOP $$; exec cat'"], Ready::Stop, "text"),
    ] {
        let mut command = base(words[0]);
        command.args(&words[1..]);
        let made = made(&mut command, &ready, LONG).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        for _ in 0..3 {
            assert_eq!(made.run("text").out, expected, "{words:?}");
        }
    }
}

#[test]
fn what_runs_before_it_may_fork_and_get_signals() {
    let source = "import os, signal, sys
seen = []
signal.signal(signal.SIGUSR1, lambda *_: seen.append('usr1'))
signal.signal(signal.SIGCHLD, lambda *_: seen.append('child'))
signal.signal(signal.SIGCONT, lambda *_: seen.append('cont'))
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGCONT)
if os.fork() == 0:
    os.kill(os.getppid(), signal.SIGTSTP)
    os._exit(0)
os.wait()
os.kill(os.getpid(), signal.SIGTTIN)
print(sys.stdin.read(), seen)
";
    let mut command = base("/usr/bin/python3");
    command.grant(Grant::Spawn);
    let made = made(command.arg("-c").arg(source), &Ready::Stdin, LONG).expect("a template");
    for _ in 0..3 {
        let ran = made.run("text");
        assert_eq!(ran.code, Some(0), "{ran:?}");
        for part in ["text", "usr1", "child", "cont"] {
            assert!(ran.out.contains(part), "{ran:?}");
        }
    }
}

#[test]
fn programs_that_never_come_to_it_are_errors_that_say_why() {
    let sh = |script: &str| {
        let mut command = base("/bin/sh");
        command.arg("-c").arg(script);
        command
    };
    let short = Duration::from_millis(300);
    for (script, ready, patience, words) in [
        ("exit 3", Ready::Stdin, LONG, "ended with 3 before it was ready"),
        ("exit 0", Ready::Stop, LONG, "ended with 0 before it was ready"),
        ("kill -SEGV $$", Ready::Stdin, LONG, "was ended by signal 11 before it was ready"),
        ("kill -KILL $$", Ready::Stop, LONG, "was ended by signal 9 before it was ready"),
        ("while :; do :; done", Ready::Stdin, short, "is not ready after 300ms"),
        ("exec sleep 1000", Ready::Stop, short, "in the call clock_nanosleep"),
        (
            "exit 5",
            Ready::Symbol("there_is_none".into()),
            LONG,
            "no program or library has a function of that name",
        ),
        // Told long before the patience is over.
        ("read line; kill -STOP $$", Ready::Stop, LONG, "waits for its standard input"),
        (
            "read line",
            Ready::Symbol("there_is_none".into()),
            LONG,
            "no program or library has a function of that name",
        ),
    ] {
        let error = refused(&mut sh(script), &ready, patience);
        assert!(error.starts_with("template") && error.contains(words), "{script}: {error}");
    }
}

/// The breakpoint is in a child's memory too, and in every thread's.
#[test]
fn whoever_else_comes_to_the_place_first_is_told_of() {
    const FIRST: &str = r#"
#include <pthread.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
__attribute__((noinline)) void here(void) { __asm__ volatile(""); }
static void *thread(void *none) { here(); return none; }
int main(int argc, char **argv) {
    pthread_t other;
    if (!strcmp(argv[argc - 1], "thread")) return pthread_create(&other, 0, thread, 0) || pthread_join(other, 0);
    if (fork() == 0) { here(); _exit(0); }
    wait(0);
    here();
    return 0;
}"#;
    if !beget_tests::has("gcc") {
        return beget_tests::skip(
            "whoever_else_comes_to_the_place_first_is_told_of",
            beget_tests::Need::Program("gcc"),
        );
    }
    let path = c(FIRST, &["-pthread"]);
    for (word, words) in [
        ("child", "had a child that came to the same place"),
        ("thread", "a breakpoint where another of its threads came first"),
    ] {
        let mut command = base(&path);
        let error = refused(command.arg(word).grant(Grant::Spawn), &Ready::Symbol("here".into()), LONG);
        assert!(error.contains(words), "{word}: {error}");
    }
}

/// What it has put in the place of its standard input may well have something for it.
#[test]
fn a_program_that_reads_from_its_own_child_gets_ready() {
    let mut command = base("/bin/bash");
    command.grant(Grant::Spawn);
    command.arg("-c").arg("exec < <(sleep 3; echo line); read line; kill -STOP $$; echo $line");
    let made = made(&mut command, &Ready::Stop, LONG).expect("a template");
    assert_eq!(made.run("").out, "line\n");
}

#[test]
fn a_program_that_beget_loads_itself_is_as_ready() {
    for ready in [Ready::Entry, Ready::Main, Ready::Stdin] {
        let mut command = base("/bin/cat");
        command.loader(beget::Loader::Direct);
        let made = made(&mut command, &ready, LONG).unwrap_or_else(|error| panic!("{ready}: {error}"));
        for _ in 0..3 {
            assert_eq!(made.run("text").out, "text", "{ready}");
        }
    }
}

#[test]
fn a_program_in_a_root_of_its_own_is_found_by_its_main() {
    let mut command = base("/bin/cat");
    command.root(beget::Root::new());
    if let Err(error) = command.spawn() {
        assert!(error.to_string().contains("user namespaces are refused"), "{error}");
        let test = "a_program_in_a_root_of_its_own_is_found_by_its_main";
        return beget_tests::skip(test, beget_tests::Need::Machine("user namespaces"));
    }
    for ready in [Ready::Main, Ready::Symbol("__libc_start_main".into()), Ready::Stdin] {
        let made =
            made_anywhere(&mut command, &ready, LONG).unwrap_or_else(|error| panic!("{ready}: {error}"));
        assert_eq!(made.run("text").out, "text", "{ready}");
    }
}
