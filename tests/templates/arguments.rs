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
        kinds.push(("glibc, static", c(source, &["-static"]), false));
        kinds.push(("glibc, static, stripped", c(source, &["-static", "-s"]), false));
        kinds.push(("glibc, static, anywhere", c(source, &["-static-pie", "-fPIE"]), false));
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
    let many: Vec<String> = (0..20_000).map(|number| format!("argument {number}")).collect();
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
                for environment in &environments {
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
