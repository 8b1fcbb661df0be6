//! git and compilers, themselves loaded, with the children that they execute; and what the compilers made.

use beget_tests::{Scratch, program};

use crate::fixtures::compiled;
use crate::{case, lacks};

#[test]
fn git_tells_of_a_repository() {
    if lacks("git_tells_of_a_repository", &["git"]) {
        return;
    }
    let scratch = Scratch::new();
    let home = scratch.at("");
    let git = |words: &[&str]| {
        case(&[&["git"], words].concat())
            .flags(&["--spawn", "--write", &home])
            .env("HOME", &home)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .folder(&home)
    };
    scratch
        .file(".gitconfig", "[user]\n\tname = A\n\temail = a@example.org\n[init]\n\tdefaultBranch = main\n");
    scratch.file("file", "one\n");
    // What changes something is done once, by a git that was loaded directly.
    for words in [&["init", "-q"][..], &["add", "file"], &["commit", "-q", "-m", "one"]] {
        let ran = git(words).by("direct");
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""), "{words:?}");
    }
    scratch.file("file", "two\n");
    git(&["log", "--format=%an %s"]).prints("A one\n");
    git(&["status", "--porcelain"]).prints(" M file\n?? .gitconfig\n");
    assert!(git(&["diff"]).agrees().out.contains("-one\n+two\n"));
    assert_eq!(git(&["show", "nothing"]).agrees().code, 128);
}

#[test]
fn gcc_compiles_and_links() {
    if lacks("gcc_compiles_and_links", &["gcc"]) {
        return;
    }
    let scratch = Scratch::new();
    let place = scratch.at("");
    scratch.file("hello.c", "#include <stdio.h>\nint main(void) { printf(\"c %d\\n\", 6 * 7); return 0; }\n");
    let compile = case(&["gcc", "-Wall", "-o", "hello", "hello.c"])
        .flags(&["--spawn", "--write", &place])
        .env("TMPDIR", &place)
        .folder(&place);
    let ran = compile.by("direct");
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (0, "", ""));
    case(&[scratch.at("hello")]).prints("c 42\n");
    let wrong = case(&["gcc", "missing.c"])
        .flags(&["--spawn", "--write", &place])
        .env("TMPDIR", &place)
        .folder(&place)
        .agrees();
    assert_eq!(wrong.code, 1);
}

#[test]
fn cpp_throws_between_threads() {
    if lacks("cpp_throws_between_threads", &["g++"]) {
        return;
    }
    let source = r#"
#include <future>
#include <iostream>
#include <locale>
#include <map>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>
struct Global { Global() { std::cout << "made\n"; } ~Global() { std::cout << "unmade\n"; } } global;
thread_local std::string name = "thread";
int main(int count, char **) {
    std::map<std::string, int> sums;
    std::vector<std::future<int>> all;
    for (int i = 0; i < 8; i++)
        all.push_back(std::async(std::launch::async, [i] {
            name += std::to_string(i);
            if (i == 5) throw std::runtime_error(name);
            return i;
        }));
    for (auto &one : all) try { sums["ok"] += one.get(); } catch (const std::exception &thrown) { std::cout << thrown.what() << "\n"; }
    std::cout << sums["ok"] << name << std::endl;
    if (count > 1) throw 7;
}
"#;
    for flags in [&["-pthread"][..], &["-pthread", "-static-pie"], &["-pthread", "-no-pie"]] {
        let program = compiled("g++", source, flags);
        case(&[&program]).prints("made\nthread5\n23thread\nunmade\n");
        let thrown = case(&[&program, "more"]).agrees();
        assert!(thrown.code == 134 && thrown.err.contains("terminate called"), "{thrown:?}");
    }
}

#[test]
fn go_with_its_own_threads() {
    if lacks("go_with_its_own_threads", &["go"]) {
        return;
    }
    let scratch = Scratch::new();
    let source = "package main
import (\"fmt\"; \"os\"; \"sync\"; \"runtime\")
func main() {
	var group sync.WaitGroup
	sums := make(chan int, 100)
	for i := 0; i < 100; i++ { group.Add(1); go func(i int) { defer group.Done(); runtime.Gosched(); sums <- i }(i) }
	group.Wait()
	sum := 0
	for i := 0; i < 100; i++ { sum += <-sums }
	runtime.GC()
	fmt.Println(sum, os.Args[1:], os.Getenv(\"VARIABLE\"))
	defer func() { fmt.Println(recover() != nil); os.Exit(3) }()
	var nothing *int
	fmt.Println(*nothing)
}
";
    let file = scratch.file("main.go", source);
    let made = scratch.at("made");
    let mut build = std::process::Command::new("go");
    build.args(["build", "-o", &made, &file]).env_clear().env("PATH", beget::DEFAULT_PATH);
    build
        .env("HOME", scratch.at(""))
        .env("GO111MODULE", "off")
        .env("GOFLAGS", "")
        .env("GOTOOLCHAIN", "local");
    let built = beget_tests::finish(&mut build);
    assert!(built.status.success(), "{}", beget_tests::text(&built.stderr));
    let ran = case(&[&made, "a", "b"]).env("VARIABLE", "value").agrees();
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (3, "4950 [a b] value\ntrue\n", ""));
}

#[test]
fn rust_programs() {
    let beget = program("beget-under-test");
    let beget = beget.to_str().expect("a path that is text");
    let ran = case(&[beget, "version"]).agrees();
    assert!(ran.code == 0 && ran.out.starts_with("beget "), "{ran:?}");
    assert_eq!(case(&[beget, "nonsense"]).agrees().code, 125);
    let probe = program("probe");
    let probe = probe.to_str().expect("a path that is text");
    case(&[probe, "say", "words"]).prints("words\n");
    assert_eq!(case(&[probe, "exit", "7"]).agrees().code, 7);
    assert_eq!(case(&[probe, "signal", "15"]).agrees().code, 143);
}
