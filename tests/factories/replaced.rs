//! Templates are replaced when what they were made of changes on disk, after so many products, and when they are asked to: no request fails,
//! and none waits for another.

use std::path::Path;
use std::process::Stdio as StdStdio;
use std::sync::atomic::{AtomicBool, Ordering};

use beget::{Command, Grant, Stdio};
use beget_factory::{Factory, Options, Pool, Ready};
use beget_tests::{Need, Scratch, has, skip, text};

use crate::making::{cat, copied, eventually, warm};

/// Compiles a C program, or what others call in it.
fn compile(scratch: &Scratch, name: &str, source: &str, more: &[&str]) {
    let (source, draft) = (scratch.file(&format!("{name}.c"), source), scratch.at(&format!("{name}.draft")));
    let mut compiler = std::process::Command::new("cc");
    compiler.args(["-o", &draft, &source]).args(more).stderr(StdStdio::inherit());
    assert!(compiler.status().is_ok_and(|status| status.success()), "{name} cannot be compiled");
    std::fs::rename(draft, scratch.at(name)).expect("it is ours");
}

/// Another of this name from now on, at once.
fn library(scratch: &Scratch, version: &str) {
    let source = format!("const char *version(void) {{ return \"{version}\"; }}");
    compile(scratch, "libversion.so", &source, &["-shared", "-fPIC"]);
}

fn program(scratch: &Scratch, says: &str) {
    let source = format!(
        "#include <stdio.h>\nconst char *version(void);\nint main(void) {{ printf(\"{says} %s\", version()); return 0; }}"
    );
    let folder = scratch.path().to_str().expect("a path").to_owned();
    let (search, place) = (format!("-Wl,-rpath,{folder}"), format!("-L{folder}"));
    compile(scratch, "program", &source, &[&place, "-lversion", &search]);
}

fn factory(path: &Path, options: Options) -> Factory {
    let mut command = Command::new(path.join("program"));
    command.grant(Grant::Base).grant(Grant::Execute(path.to_owned()));
    let mut builder = Factory::builder(command);
    builder.options(options);
    builder.seal().expect("a factory")
}

fn says(factory: &Factory) -> String {
    let mut request = factory.request();
    request.stdout(Stdio::piped());
    let output = request.start().expect("a product").wait_with_output().expect("its end");
    assert!(output.status.success(), "{output:?}");
    text(&output.stdout)
}

#[test]
fn a_library_that_is_replaced_makes_another_template_and_no_request_fails() {
    const TEST: &str = "replaced::a_library_that_is_replaced_makes_another_template_and_no_request_fails";
    if !has("cc") {
        return skip(TEST, Need::Program("cc"));
    }
    for pool in [Pool::default(), Pool::of(4)] {
        let scratch = Scratch::new();
        library(&scratch, "old");
        program(&scratch, "it says");
        let factory = factory(scratch.path(), Options { pool, ..warm(Ready::Main) });
        assert_eq!(says(&factory), "it says old");
        let is_new = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let (mut said, mut asked) = (Vec::new(), 0_u64);
                while !is_new.load(Ordering::Relaxed) {
                    said.push(says(&factory));
                    asked += 1;
                }
                said.dedup();
                (said, asked)
            });
            library(&scratch, "new");
            eventually("products of the new one", || says(&factory) == "it says new");
            is_new.store(true, Ordering::Relaxed);
            let (said, _) = asking.join().expect("all were answered");
            assert!(said.len() <= 2 && said.iter().all(|one| one.starts_with("it says ")), "{said:?}");
        });
        let done = factory.statistics();
        assert_eq!((done.failed, done.deaths, done.replaced, done.templates), (0, 0, 1, 2), "{done:?}");
    }
}

/// What was sealed is that file, whatever has its name later.
#[test]
fn a_program_that_is_replaced_stays_what_was_sealed() {
    const TEST: &str = "replaced::a_program_that_is_replaced_stays_what_was_sealed";
    if !has("cc") {
        return skip(TEST, Need::Program("cc"));
    }
    let scratch = Scratch::new();
    library(&scratch, "old");
    program(&scratch, "first");
    let factory = factory(scratch.path(), warm(Ready::Main));
    assert_eq!(says(&factory), "first old");
    program(&scratch, "second");
    eventually("another template", || {
        assert_eq!(says(&factory), "first old");
        factory.statistics().replaced >= 1
    });
    // It is not made again and again: there is nothing newer of what it was made of.
    let templates = factory.statistics().templates;
    library(&scratch, "new");
    eventually("the new library", || says(&factory) == "first new");
    let done = factory.statistics();
    assert!(done.templates <= templates + 1 && done.failed == 0, "{done:?}");
}

#[test]
fn a_template_makes_so_many_products_and_no_more() {
    for pool in [Pool::default(), Pool::of(4)] {
        let factory = cat(Options { renew: Some(10), pool, ..warm(Ready::Entry) });
        for number in 0..60 {
            let text = format!("text {number}");
            assert_eq!(copied(&factory, &text), text);
        }
        if pool.size > 0 {
            // Whoever keeps the pool looks when it has nothing else to do.
            eventually("another template", || factory.statistics().replaced > 0);
        }
        let done = factory.statistics();
        assert_eq!((done.failed, done.cold, done.deaths), (0, 0, 0), "{done:?}");
        assert!(pool.size > 0 || done.replaced >= 5, "{done:?}");
    }
}

#[test]
fn one_is_replaced_while_many_ask() {
    for pool in [Pool::default(), Pool::of(4)] {
        let factory = cat(Options { pool, ..warm(Ready::Main) });
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let (factory, stop) = (&factory, &stop);
                scope.spawn(move || {
                    for number in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            break;
                        }
                        let text = format!("{thread} {number}");
                        assert_eq!(copied(factory, &text), text);
                    }
                });
            }
            for _ in 0..5 {
                let before = factory.template_number();
                factory.replace().expect("another");
                assert_ne!(factory.template_number(), before);
            }
            stop.store(true, Ordering::Relaxed);
        });
        let done = factory.statistics();
        assert_eq!((done.failed, done.cold, done.deaths, done.replaced), (0, 0, 0, 5), "{done:?}");
    }
}
