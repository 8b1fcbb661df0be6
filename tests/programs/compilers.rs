//! Compilers under confinement, and what they made: C, C++, static, musl, Go; and make.

use std::path::Path;

use beget_tests::Scratch;

use crate::{Ran, bare, lacks, run};

const HELLO: &str = "#include <stdio.h>\nint main(void) { printf(\"c %d\\n\", 6 * 7); return 0; }\n";

/// A folder with sources, and the grants that a compiler needs there.
struct Workshop {
    scratch: Scratch,
    place: String,
    temporary: String,
}

impl Workshop {
    fn new() -> Workshop {
        let scratch = Scratch::new();
        let place = scratch.at("");
        let temporary = format!("TMPDIR={place}");
        Workshop { scratch, place, temporary }
    }

    /// Runs a tool that writes here and starts others.
    fn tool(&self, more: &[&str], words: &[&str]) -> Ran {
        let flags = ["--spawn", "--write", &self.place, "--cwd", &self.place, "--env", &self.temporary];
        run(&[&flags[..], more].concat(), words)
    }

    fn made(&self, name: &str) -> String {
        let path = self.scratch.at(name);
        assert!(Path::new(&path).is_file(), "{path} was not made");
        path
    }
}

#[test]
fn gcc_compiles_and_the_result_runs() {
    if lacks("gcc_compiles_and_the_result_runs", &["gcc"]) {
        return;
    }
    let shop = Workshop::new();
    shop.scratch.file("hello.c", HELLO);
    shop.tool(&[], &["gcc", "-O1", "-Wall", "-o", "hello", "hello.c"]).prints("");
    run(&[], &[&shop.made("hello")]).prints("c 42\n");
    shop.tool(&[], &["gcc", "-static", "-o", "static", "hello.c"]).prints("");
    // A static program needs nothing at all beside itself.
    bare(&[], &[&shop.made("static")]).prints("c 42\n");
    let without_libraries = bare(&[], &[&shop.made("hello")]);
    without_libraries.fails("libc.so.6: cannot open shared object file");
}

#[test]
fn gcc_is_refused_what_it_was_not_granted() {
    if lacks("gcc_is_refused_what_it_was_not_granted", &["gcc"]) {
        return;
    }
    let shop = Workshop::new();
    shop.scratch.file("hello.c", HELLO);
    let compile = ["gcc", "-o", "hello", "hello.c"];
    let no_temporary = run(&["--spawn", "--write", &shop.place, "--cwd", &shop.place], &compile);
    no_temporary.fails("Cannot create temporary file in /tmp/: Permission denied");
    // (Without `--spawn` it fails too, but not before having tried again for 15 seconds.)
    // What was made may be written, but not executed from inside, unless that is granted too.
    shop.tool(&[], &compile).prints("");
    shop.tool(&[], &["sh", "-c", "./hello"]).fails("Permission denied");
    shop.tool(&["--exec", &shop.place], &["sh", "-c", "./hello"]).prints("c 42\n");
}

#[test]
fn cpp_threads_and_exceptions_work() {
    if lacks("cpp_threads_and_exceptions_work", &["g++"]) {
        return;
    }
    let shop = Workshop::new();
    let source = "
#include <cstdio>
#include <stdexcept>
#include <thread>
int main() {
    int n = 0;
    std::thread thread([&] { try { throw std::runtime_error(\"thrown\"); } catch (...) { n = 42; } });
    thread.join();
    std::printf(\"c++ %d\\n\", n);
}
";
    shop.scratch.file("hello.cc", source);
    shop.tool(&[], &["g++", "-pthread", "-o", "hello", "hello.cc"]).prints("");
    // Threads are not processes: no `--spawn`.
    run(&[], &[&shop.made("hello")]).prints("c++ 42\n");
}

#[test]
fn processes_are_not_threads() {
    if lacks("processes_are_not_threads", &["gcc"]) {
        return;
    }
    let shop = Workshop::new();
    let source = "
#include <errno.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
int main(void) {
    pid_t child = fork();
    if (child < 0) { printf(\"errno %d\\n\", errno); return 0; }
    if (child == 0) _exit(5);
    int status;
    waitpid(child, &status, 0);
    printf(\"status %d\\n\", WEXITSTATUS(status));
    return 0;
}
";
    shop.scratch.file("fork.c", source);
    shop.tool(&[], &["gcc", "-static", "-o", "fork", "fork.c"]).prints("");
    let program = shop.made("fork");
    bare(&["--spawn"], &[&program]).prints("status 5\n");
    bare(&[], &[&program]).prints("errno 1\n");
}

#[test]
fn musl_programs_run() {
    if lacks("musl_programs_run", &["musl-gcc"]) {
        return;
    }
    let shop = Workshop::new();
    shop.scratch.file("hello.c", HELLO);
    shop.tool(&[], &["musl-gcc", "-static", "-o", "static", "hello.c"]).prints("");
    bare(&[], &[&shop.made("static")]).prints("c 42\n");
    // The loader is granted with the program, and musl's loader is its library too.
    shop.tool(&[], &["musl-gcc", "-o", "dynamic", "hello.c"]).prints("");
    let dynamic = shop.made("dynamic");
    run(&[], &[&dynamic]).prints("c 42\n");
    bare(&[], &[&dynamic]).prints("c 42\n");
    // `--only`: the program itself still runs; executing another does not.
    bare(&["--only"], &[&dynamic]).prints("c 42\n");
    run(&["--only"], &["env", &dynamic]).fails("Permission denied");
}

#[test]
fn go_builds_and_the_result_runs() {
    if lacks("go_builds_and_the_result_runs", &["go"]) {
        return;
    }
    let shop = Workshop::new();
    let source = "package main
import (\"os\"; \"sync\")
func main() {
	var group sync.WaitGroup
	sums := make(chan int, 10)
	for i := 0; i < 10; i++ { group.Add(1); go func(i int) { defer group.Done(); sums <- i }(i) }
	group.Wait()
	sum := 0
	for i := 0; i < 10; i++ { sum += <-sums }
	_, err := os.ReadFile(os.Args[1])
	if err == nil && sum == 45 { os.Stdout.WriteString(\"go 45\\n\"); return }
	os.Stderr.WriteString(err.Error() + \"\\n\")
	os.Exit(3)
}
";
    let read = shop.scratch.file("hello.go", source);
    let home = format!("HOME={}", shop.place);
    let variables =
        ["--env", &home, "--env", "GO111MODULE=off", "--env", "GOFLAGS=", "--env", "GOTOOLCHAIN=local"];
    shop.tool(&variables, &["go", "build", "-o", "hello", "hello.go"]).prints("");
    let program = shop.made("hello");
    bare(&["--read", &read], &[&program, &read]).prints("go 45\n");
    bare(&[], &[&program, &read]).fails("permission denied");
}

#[test]
fn make_runs_jobs() {
    if lacks("make_runs_jobs", &["make", "gcc"]) {
        return;
    }
    let shop = Workshop::new();
    shop.scratch.file(
        "Makefile",
        "all: one two\n\t@cat one two\none two: hello\n\t@./hello > $@\nhello: hello.c\n\t@$(CC) -o $@ $<\n",
    );
    shop.scratch.file("hello.c", HELLO);
    shop.tool(&["--exec", &shop.place], &["make", "-s", "-j2"]).prints("c 42\nc 42\n");
    let place = ["--write", &shop.place, "--exec", &shop.place, "--cwd", &shop.place];
    run(&place, &["make", "-B"]).fails("Operation not permitted").tells("--spawn");
    shop.tool(&[], &["make", "-B"]).fails("Permission denied");
}
