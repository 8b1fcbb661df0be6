//! Arguments and environment of a product: as if the program was started with them, or refused by name.

use super::*;
use crate::fixtures::{c, compiled};

/// Prints everything that a program can know of how it was started, by each way that there is.
const SAY: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/prctl.h>
extern char **environ;
int main(int argc, char **argv, char **envp) {
    unsigned long sum = 0;
    for (int i = 1; i < argc; i++) for (char *c = argv[i]; *c; c++) sum = sum * 31 + *c;
    int count = 0;
    for (char **e = environ; *e; e++) count++;
    char *who = getenv("WHO");
    setenv("NEW", "set", 1);
    printf("%d %s %lu %s\n", argc, argc > 1 ? argv[argc - 1] : "none", sum, argv[argc] ? "more" : "end");
    printf("%s %d %s %d\n", who ? who : "nobody", count, getenv("NEW"), envp[count] == 0);
    printf("%s %s\n", program_invocation_name, program_invocation_short_name);
    printf("%s %lu\n", (char *) getauxval(AT_EXECFN), getauxval(AT_PAGESZ));
    return argc;
}"#;

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn variables(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
    pairs.iter().map(|(name, value)| (name.into(), value.into())).collect()
}

/// Compiled in each way, and whether its arguments can be told anew at `main`.
fn kinds(source: &str) -> Vec<(&'static str, String, bool)> {
    let mut kinds = Vec::new();
    if beget_tests::has("gcc") {
        kinds.push(("glibc, anywhere", c(source, &["-pie", "-fPIE"]), true));
        kinds.push(("glibc, at a fixed place", c(source, &["-no-pie", "-fno-pie"]), true));
        kinds.push(("glibc, stripped", c(source, &["-s"]), true));
        kinds.push(("glibc, static", c(source, &["-static"]), true));
        kinds.push(("glibc, static, stripped", c(source, &["-static", "-s"]), false));
        kinds.push(("glibc, static, anywhere", c(source, &["-static-pie", "-fPIE"]), true));
    }
    if beget_tests::has("musl-gcc") {
        kinds.push(("musl", compiled("musl-gcc", source, &[]), true));
        kinds.push(("musl, static", compiled("musl-gcc", source, &["-static"]), true));
    }
    kinds
}

#[test]
fn a_product_has_arguments_and_environment_of_its_own() {
    let long = "x".repeat(100_000);
    let many: Vec<String> = (0..10_000).map(|number| format!("argument {number}")).collect();
    let mut lists: Vec<Vec<OsString>> = vec![
        words(&["PROGRAM"]),
        words(&["PROGRAM", "one", "", "three"]),
        words(&["PROGRAM", &long]),
        words(&["PROGRAM", "as many"]),
    ];
    lists.push(words(&["PROGRAM"]).into_iter().chain(many.iter().map(OsString::from)).collect());
    let environments =
        [None, Some(variables(&[])), Some(variables(&[("WHO", "another"), ("B", ""), ("C", "c=d")]))];
    for (kind, path, everywhere) in kinds(SAY) {
        for ready in [Ready::Entry, Ready::Main] {
            // The same word has no `main` without a loader and symbols, and says so.
            let mut command = base(&path);
            command.arg("templates").env("WHO", "me");
            let made = match made(&mut command, &ready, LONG) {
                Ok(made) => made,
                Err(error) => {
                    let stripped = kind.contains("stripped") && ready == Ready::Main;
                    assert!(stripped && error.to_string().contains("`main`"), "{kind}, {ready}: {error}");
                    continue;
                }
            };
            for list in &lists {
                let list: Vec<OsString> = list
                    .iter()
                    .map(|word| if word == "PROGRAM" { path.clone().into() } else { word.clone() })
                    .collect();
                // With many it takes long, and nothing else is seen by it.
                let tried = if list.len() > 100 { 1 } else { environments.len() };
                for environment in &environments[..tried] {
                    let mut command = base(&path);
                    command.args(&list[1..]);
                    match environment {
                        None => {
                            command.env("WHO", "me");
                        }
                        Some(pairs) => {
                            command.env_clear();
                            for (name, value) in pairs {
                                command.env(name, value);
                            }
                        }
                    }
                    let ran = made.run_with("", Some(&list), environment.as_deref());
                    let expected = cold(&mut command, "");
                    match ran {
                        Ok(ran) => assert_eq!(ran, expected, "{kind}, {ready}, {:.100?}", list),
                        Err(error) => {
                            assert!(
                                !everywhere && ready == Ready::Main && list.len() != 2,
                                "{kind}: {error}"
                            );
                            assert!(error.to_string().contains("arguments: not possible"), "{kind}: {error}");
                        }
                    }
                }
            }
        }
    }
}

/// What a request for these is told.
fn told(made: &Made, arguments: Option<&[OsString]>, environment: Option<&[(OsString, OsString)]>) -> String {
    made.run_with("", arguments, environment).expect_err("it cannot be").to_string()
}

#[test]
fn what_cannot_be_told_anew_is_refused_by_name() {
    let (some, other) = (words(&["cat", "-"]), variables(&[("A", "B")]));
    let stdin = made(&mut base("/bin/cat"), &Ready::Stdin, LONG).expect("a template");
    let error = told(&stdin, Some(&some), None);
    assert!(error.starts_with("factory: arguments: not possible at this ready point (stdin)"), "{error}");
    let error = told(&stdin, None, Some(&other));
    assert!(error.starts_with("factory: environment: not possible at this ready point (stdin)"), "{error}");
    assert_eq!(stdin.run("as ever").out, "as ever");

    let entry = made(&mut base("/bin/cat"), &Ready::Entry, LONG).expect("a template");
    let error = told(&entry, Some(&words(&["cat", "a\0b"])), None);
    assert!(error.contains("argument 1: it has a NUL byte"), "{error}");
    let error = told(&entry, None, Some(&variables(&[("A=B", "")])));
    assert!(error.contains("environment A=B: a variable has no such name"), "{error}");
    let error = told(&entry, Some(&[OsString::from("x".repeat(200_000))]), None);
    assert!(error.contains("is too long"), "{error}");
    let many: Vec<OsString> = (0..100).map(|_| OsString::from("x".repeat(100_000))).collect();
    let error = told(&entry, Some(&many), None);
    assert!(error.contains("may take"), "{error}");
    assert_eq!(entry.run("as ever").out, "as ever");
}

#[test]
fn an_environment_that_was_changed_before_is_not_told_anew() {
    if !beget_tests::has("gcc") {
        return;
    }
    let library = c(
        "#include <stdlib.h>\n__attribute__((constructor)) void early(void) { setenv(\"EARLY\", \"1\", 1); }",
        &["-shared", "-fPIC"],
    );
    let mut command = base("/bin/cat");
    command.env("LD_PRELOAD", &library).grant(Grant::Read(library.clone().into()));
    let made = made(&mut command, &Ready::Entry, LONG).expect("a template");
    let error = told(&made, None, Some(&variables(&[("A", "B")])));
    assert!(error.contains("environment: not possible") && error.contains("made it its own"), "{error}");
    assert_eq!(made.run("as ever").out, "as ever");
}

#[test]
fn a_program_that_has_kept_its_arguments_gets_as_many_others() {
    let source = "#include <stdio.h>
        static char **kept; static int count;
        __attribute__((constructor)) void early(int n, char **all, char **variables) { count = n; kept = all; }
        int main(int n, char **all) { for (int i = 1; i < count; i++) puts(kept[i]); return n; }";
    if !beget_tests::has("gcc") {
        return;
    }
    let mut command = base(&c(source, &[]));
    let made = made(command.arg("a").arg("b"), &Ready::Main, LONG).expect("a template");
    let ran = made.run_with("", Some(&words(&["x", "c", "d"])), None).expect("a product");
    assert_eq!((ran.out.as_str(), ran.code), ("c\nd\n", Some(3)));
    let error = told(&made, Some(&words(&["x", "c"])), None);
    assert!(error.contains("has kept how many it has"), "{error}");
}

#[test]
fn tools_of_the_system_take_them_at_their_entry() {
    for (template, list, expected) in [
        (["/bin/echo", "old"], &["/bin/echo", "new", "words"][..], "new words\n"),
        (
            ["/usr/bin/python3", "-V"],
            &[
                "python3",
                "-c",
                "import os, sys; print(sys.argv, os.environ['ONLY'], 'PATH' in os.environ)",
                "a",
            ],
            "['-c', 'a'] this False\n",
        ),
        (["/usr/bin/perl", "-v"], &["perl", "-e", "print join(',', @ARGV, %ENV)", "a", "b"], "a,b,ONLY,this"),
        (["/usr/bin/env", "-u"], &["env"], "ONLY=this\n"),
    ] {
        if !std::path::Path::new(template[0]).exists() {
            continue;
        }
        let made = made(base(template[0]).arg(template[1]), &Ready::Entry, LONG).expect("a template");
        for _ in 0..3 {
            let only = variables(&[("ONLY", "this")]);
            let ran = made.run_with("", Some(&words(list)), Some(&only)).expect("a product");
            assert_eq!((ran.out.as_str(), ran.code), (expected, Some(0)), "{template:?}");
        }
    }
}

#[test]
fn each_product_has_random_bytes_of_its_own_at_its_entry() {
    let source = "#include <stdio.h>\n#include <sys/auxv.h>
        int main(void) { unsigned char *r = (void *) getauxval(AT_RANDOM); for (int i = 0; i < 16; i++) printf(\"%02x\", r[i]); }";
    if !beget_tests::has("gcc") {
        return;
    }
    let made = made(&mut base(&c(source, &["-static"])), &Ready::Entry, LONG).expect("a template");
    let mut seen = std::collections::BTreeSet::new();
    for number in 0..50 {
        let list = words(&["x"]);
        let ran = made.run_with("", (number % 2 == 0).then_some(&list[..]), None).expect("a product");
        assert_eq!(ran.out.len(), 32);
        assert!(seen.insert(ran.out), "twice the same");
    }
}
