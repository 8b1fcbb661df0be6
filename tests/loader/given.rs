//! What a program is given: arguments of every length and number, variables, scripts that name their interpreter.

use beget::{Grant, Loader};
use beget_tests::Scratch;

use crate::fixtures::c;
use crate::{case, lacks};

/// Tells how many arguments and variables there are, and of what lengths, and a sum over all of their bytes.
const TELLS: &str = r#"
#include <stdio.h>
#include <string.h>
extern char **environ;
static unsigned long sum(char **all, unsigned long *count, unsigned long *bytes) {
    unsigned long sum = 5381;
    for (*count = *bytes = 0; all[*count]; ++*count) {
        for (char *at = all[*count]; *at; at++) sum = sum * 33 + (unsigned char)*at;
        sum = sum * 33;
        *bytes += strlen(all[*count]);
    }
    return sum;
}
int main(int count, char **arguments) {
    unsigned long found, bytes, of_arguments, of_variables;
    of_arguments = sum(arguments, &found, &bytes);
    if (found != (unsigned long)count) return 1;
    printf("%d %lu %lx ", count, bytes, of_arguments);
    of_variables = sum(environ, &found, &bytes);
    printf("%lu %lu %lx\n", found, bytes, of_variables);
}
"#;

#[test]
fn arguments_of_every_length() {
    if lacks("arguments_of_every_length", &["gcc"]) {
        return;
    }
    for flags in [&["-pie"][..], &["-static"]] {
        let tells = c(TELLS, flags);
        // A MiB of them, in many and in few pieces; empty ones; bytes that are no text are in the sum of lengths.
        let (many, few) = (vec!["x".repeat(99); 10_000], vec!["y".repeat(130_000); 8]);
        let (longest, empty) = (vec!["z".repeat((128 << 10) - 1)], vec![String::new(); 3]);
        for arguments in [many, few, longest, empty, vec!["ä\n\t'\"\\".into(), "-".into()], Vec::new()] {
            let words = [std::slice::from_ref(&tells), &arguments[..]].concat();
            let ran = case(&words).agrees();
            assert!(ran.code == 0 && ran.out.starts_with(&format!("{} ", words.len())), "{ran:?}");
        }
    }
}

/// How `true` ends with arguments of 100,000 bytes and one more; `None` when that is too much.
fn with_arguments(loader: Loader, count: usize, more: usize) -> Option<i32> {
    let mut command = beget::Command::new("true");
    command.grant(Grant::Base).loader(loader).args(vec!["x".repeat(100_000); count]).arg("y".repeat(more));
    match command.status() {
        Ok(ended) => ended.status.code(),
        Err(error) => {
            assert!(error.to_string().ends_with("argument list too long"), "{error}");
            None
        }
    }
}

/// The longest last argument that fits.
fn longest(loader: Loader, count: usize) -> usize {
    let (mut fits, mut not) = (0, 128 << 10);
    while not - fits > 1 {
        let middle = usize::midpoint(fits, not);
        let place = if with_arguments(loader, count, middle) == Some(0) { &mut fits } else { &mut not };
        *place = middle;
    }
    fits
}

#[test]
fn too_much_is_too_much_for_both() {
    let both = |count| {
        let [kernel, direct] = [Loader::Kernel, Loader::Direct].map(|loader| longest(loader, count));
        // The program's name counts too, which is `/dev/fd/N` for the one.
        assert!(kernel.abs_diff(direct) < 16, "{count}: {kernel} and {direct}");
        kernel
    };
    beget_tests::alone("given::too_much_is_too_much_for_both", || {
        assert_eq!(both(0), (128 << 10) - 1, "one has 128 KiB with its end");
        let usual = both(20);
        assert!(usual > 80_000, "{usual}: a quarter of 8 MiB is for them");
        // What counts is the stack of the child, not that of its creator.
        for stack in [64 << 20, 1 << 20] {
            let bounds = libc::rlimit { rlim_cur: stack, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: a live structure.
            if unsafe { libc::setrlimit(libc::RLIMIT_STACK, &raw const bounds) } == 0 {
                assert_eq!(both(20), usual, "{stack}");
            }
        }
        crate::limit(libc::RLIMIT_STACK, 1 << 20).expect("lower than it was");
        assert!(both(2) < 65_000, "a quarter of 1 MiB");
    });
}

#[test]
fn a_thousand_variables() {
    if lacks("a_thousand_variables", &["gcc"]) {
        return;
    }
    for flags in [&["-pie"][..], &["-static"]] {
        // In the order in which Beget hands them on.
        let value = |number: usize| "v".repeat(number % 90);
        let with = |case| {
            (0..1000)
                .fold(case, |case: crate::Case, number| case.env(&format!("Z{number:04}"), &value(number)))
        };
        let ran = with(case(&[c(TELLS, flags)])).agrees();
        assert!(ran.code == 0 && ran.out.contains(" 1001 "), "{ran:?}");
    }
    let empty = case(&["env"]).env("EMPTY", "").agrees();
    assert!(empty.out.contains("EMPTY=\n"), "{empty:?}");
}

#[test]
fn scripts_name_their_interpreters() {
    let scratch = Scratch::new();
    let place = scratch.at("");
    let body = "echo \"$0 $# $*\"; exit 5";
    for (name, first) in [
        ("sh", "#!/bin/sh"),
        ("option", "#!/bin/sh -f"),
        ("env", "#!/usr/bin/env sh"),
        ("spaces", "#!  /bin/sh  "),
    ] {
        let script = scratch.executable(name, format!("{first}\n{body}\n"));
        let ran = case(&[script.as_str(), "one", "*"]).flags(&["--read", &place]).agrees();
        assert!(ran.code == 5 && ran.out.starts_with(&format!("{script} 2 one ")), "{name}: {ran:?}");
    }
    let inner = scratch.executable("inner", "#!/bin/sh\necho inner $*\n");
    let outer = scratch.executable("outer", format!("#!{inner} with\n"));
    case(&[&outer, "more"]).flags(&["--read", &place]).prints(&format!("inner with {outer} more\n"));
    if crate::lacks("scripts_name_their_interpreters", &["python3"]) {
        return;
    }
    let python = scratch.executable("py", "#!/usr/bin/env python3\nimport sys; print(sys.argv, __file__)\n");
    case(&[&python]).flags(&["--read", &place]).prints(&format!("['{python}'] {python}\n"));
}
