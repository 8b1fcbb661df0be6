//! Making products: cold, as copies that are made on request, and from a pool.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use beget::{Command, Grant, Process, Stdio};
use beget_factory::adapter::Perl;
use beget_factory::{Factory, Options, Pool, Ready};

/// More than anything here takes; a wait as long as this has failed.
const LONG: Duration = Duration::from_secs(60);

pub(crate) fn cat(options: Options) -> Factory {
    try_cat(options).expect("a factory")
}

pub(crate) fn try_cat(options: Options) -> beget_factory::Result<Factory> {
    let mut command = Command::new("/bin/cat");
    command.grant(Grant::Base);
    let mut builder = Factory::builder(command);
    builder.options(options);
    builder.seal()
}

pub(crate) fn warm(ready: Ready) -> Options {
    Options { ready: Some(ready), ..Options::default() }
}

/// Has a product copy this text, and gives what it wrote.
pub(crate) fn copied(factory: &Factory, text: &str) -> String {
    let (input, mut feed) = std::io::pipe().expect("a pipe");
    std::io::Write::write_all(&mut feed, text.as_bytes()).expect("room");
    drop(feed);
    let mut request = factory.request();
    request.stdin(input).stdout(Stdio::piped());
    let process = request.start().expect("a product");
    drop(request);
    let output = process.wait_with_output().expect("its end");
    assert!(output.status.success(), "{:?}", output.status);
    beget_tests::text(&output.stdout)
}

pub(crate) fn kill(number: u32) {
    signal(number, libc::SIGKILL);
}

pub(crate) fn signal(number: u32, signal: i32) {
    // SAFETY: sends a signal to a process of this test's.
    unsafe { libc::kill(number as i32, signal) };
}

pub(crate) fn lives(number: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{number}/status")).unwrap_or_default();
    // One that has ended and that nobody has reaped yet does not.
    !status.is_empty() && !status.contains("\nState:\tZ")
}

pub(crate) fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let until = Instant::now() + LONG;
    while !is() {
        assert!(Instant::now() < until, "{what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// All processes of a factory that has a template, but for its nursery.
fn born(factory: &Factory) -> Vec<u32> {
    let template = factory.template_number().expect("a template");
    let status = std::fs::read_to_string(format!("/proc/{template}/status")).expect("it lives");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("a parent").trim();
    let list = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    list.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

#[test]
fn each_way_gives_the_same() {
    let ways = [
        Options::default(),
        warm(Ready::Entry),
        warm(Ready::Main),
        warm(Ready::Stdin),
        Options { pool: Pool::of(4), ..warm(Ready::Entry) },
        Options { pool: Pool::of(4), opaque: false, frozen: false, ..warm(Ready::Main) },
    ];
    for options in ways {
        let factory = cat(options.clone());
        for number in 0..30 {
            let text = format!("text {number} of {:?}", options.ready);
            assert_eq!(copied(&factory, &text), text);
        }
        let done = factory.statistics();
        assert_eq!(done.hits + done.warm + done.cold, 30, "{done:?}");
        assert_eq!(done.failed, 0);
        assert_eq!(options.ready.is_none(), done.cold == 30, "{done:?}");
        assert!(options.pool.size == 0 || done.hits > 0, "{done:?}");
    }
}

#[test]
fn many_ask_at_once() {
    let factory = cat(Options { pool: Pool::of(8), ..warm(Ready::Entry) });
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let factory = &factory;
            scope.spawn(move || {
                for number in 0..25 {
                    let text = format!("{thread} {number}");
                    assert_eq!(copied(factory, &text), text);
                }
            });
        }
    });
    let done = factory.statistics();
    assert_eq!((done.hits + done.warm, done.cold, done.failed), (200, 0, 0), "{done:?}");
}

#[test]
fn a_template_that_is_killed_is_made_anew_and_no_request_fails() {
    let factory = cat(warm(Ready::Main));
    for round in 0..5u64 {
        assert_eq!(copied(&factory, "before"), "before");
        kill(factory.template_number().expect("a template"));
        assert_eq!(copied(&factory, "after"), "after");
        eventually("another template", || factory.statistics().templates >= round + 2);
    }
    let done = factory.statistics();
    assert_eq!((done.deaths, done.failed), (5, 0), "{done:?}");
}

#[test]
fn products_that_wait_may_be_killed() {
    let factory = cat(Options { pool: Pool { low_water: 4, ..Pool::of(4) }, ..warm(Ready::Entry) });
    for _ in 0..5 {
        eventually("a full pool", || factory.statistics().waiting == 4);
        let template = factory.template_number().expect("a template");
        for product in born(&factory).into_iter().filter(|number| *number != template) {
            kill(product);
        }
        for _ in 0..6 {
            assert_eq!(copied(&factory, "text"), "text");
        }
    }
    assert_eq!(factory.statistics().failed, 0);
    eventually("a full pool", || factory.statistics().waiting == 4);
}

#[test]
fn the_brand_is_true_of_its_own_products_alone() {
    let (factory, other) = (cat(warm(Ready::Entry)), cat(warm(Ready::Entry)));
    let start = |factory: &Factory| -> Process {
        let mut request = factory.request();
        request.stdin(Stdio::piped()).stdout(Stdio::null());
        request.start().expect("a product")
    };
    let (own, anothers) = (start(&factory), start(&other));
    assert!(factory.is_product(own.as_fd()).expect("a pidfd"));
    assert!(factory.verifier().is_product(own.as_fd()).expect("a pidfd"));
    assert!(!factory.is_product(anothers.as_fd()).expect("a pidfd"));
    let mut stranger = Command::new("/bin/cat");
    stranger.grant(Grant::Base).stdin(Stdio::piped()).stdout(Stdio::null());
    let stranger = stranger.spawn().expect("a process");
    assert!(!factory.is_product(stranger.as_fd()).expect("a pidfd"));
    let _ = stranger.kill();
}

/// Whoever is told of a product by the product itself, and asks at once, is answered as whoever asks later.
#[test]
fn the_brand_is_there_when_a_product_says_its_first_word() {
    for options in [Options::default(), warm(Ready::Entry)] {
        let mut command = Command::new("/bin/sh");
        command.grant(Grant::Base).args(["-c", "echo $$; read line"]);
        let mut builder = Factory::builder(command);
        builder.options(options);
        let factory = builder.seal().expect("a factory");
        let verifier = factory.verifier();
        for _ in 0..100 {
            let (words, theirs) = std::io::pipe().expect("a pipe");
            let (input, feed) = std::io::pipe().expect("a pipe");
            let said = std::thread::scope(|scope| {
                let asked = scope.spawn(|| {
                    let mut line = String::new();
                    std::io::BufRead::read_line(&mut std::io::BufReader::new(words), &mut line)
                        .expect("it says its number");
                    let number = rustix::process::Pid::from_raw(line.trim().parse().expect("a number"));
                    let number = number.expect("a process");
                    let pidfd = rustix::process::pidfd_open(number, rustix::process::PidfdFlags::empty())
                        .expect("it lives");
                    verifier.is_product(pidfd.as_fd()).expect("a pidfd")
                });
                let mut request = factory.request();
                request.stdin(input).stdout(theirs);
                let mut process = request.start().expect("a product");
                drop(request);
                let said = asked.join().expect("an answer");
                drop(feed);
                process.wait().expect("its end");
                said
            });
            assert!(said);
        }
    }
}

#[test]
fn with_the_last_who_holds_it_everything_ends_but_what_somebody_holds() {
    let factory = cat(Options { pool: Pool::of(4), ..warm(Ready::Entry) });
    eventually("a full pool", || factory.statistics().waiting == 4);
    let mut request = factory.request();
    request.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut product = request.start().expect("a product");
    let number = product.id();
    let born = born(&factory);
    assert!(born.len() >= 5, "{born:?}");
    let lives = |number: &u32| lives(*number);
    drop((request, factory));
    eventually("nobody left", || born.iter().filter(|one| **one != number).all(|one| !lives(one)));
    std::io::Write::write_all(product.stdin.as_mut().expect("a pipe"), b"still here").expect("it reads");
    let output = product.wait_with_output().expect("its end");
    assert_eq!(output.stdout, b"still here");
}

#[test]
fn a_request_for_what_it_cannot_be_given_is_refused_and_leaves_nothing() {
    let factory = cat(warm(Ready::Stdin));
    let mut request = factory.request();
    request.arg("late");
    let error = request.start().expect_err("cat has read its arguments");
    assert!(error.to_string().contains("argument"), "{error}");
    let mut request = factory.request();
    request.unique(true);
    let error = request.start().expect_err("it shares");
    assert!(error.to_string().contains("shared-randomness"), "{error}");
    assert_eq!(factory.statistics().failed, 2);
    assert_eq!(born(&factory), Vec::from_iter(factory.template_number()));
}

#[test]
fn it_tells_how_it_makes_its_products() {
    let factory = cat(Options { pool: Pool::of(2), ..warm(Ready::Entry) });
    let template = || factory.facts().template.expect("it serves");
    eventually("what products write to is learned", || template().prefault.is_some_and(|bytes| bytes > 0));
    assert_eq!(copied(&factory, "text"), "text");
    let (facts, told) = (factory.facts(), template());
    assert_eq!((facts.ready.clone(), facts.pool, facts.opaque), (Some(Ready::Entry), 2, true));
    assert_eq!(Some(told.number), factory.template_number());
    assert!(told.made >= 2 && told.since <= std::time::SystemTime::now(), "{told:?}");
    let text = facts.to_string();
    assert!(
        text.contains("warm: copies from entry") && text.contains("differs from a fresh start"),
        "{text}"
    );
    let cold = cat(Options::default()).facts();
    assert_eq!((cold.template, cold.opaque), (None, false), "what was executed is open to its user");
}

/// The bytes that each product of this factory has before it is asked for, once that is learned.
fn learned(factory: &Factory) -> u64 {
    let mut bytes = None;
    eventually("it is learned what products write to", || {
        bytes = factory.facts().template.and_then(|template| template.prefault);
        bytes.is_some()
    });
    bytes.unwrap_or_default()
}

#[test]
fn a_rehearsal_shows_what_products_write_to() {
    let shell = |rehearsal: &str| {
        let mut command = Command::new("/bin/sh");
        command.grant(Grant::Base);
        let mut builder = Factory::builder(command);
        let rehearsal = rehearsal.as_bytes().to_vec();
        builder.options(Options { pool: Pool::of(2), rehearsal, ..warm(Ready::Stdin) });
        builder.seal().expect("a factory")
    };
    let loops = "f() { x=$(($x + 1)); }; for i in 1 2 3; do f $i; case $x in 3) echo $x;; esac; done\n";
    let (without, with) = (shell(""), shell(loops));
    let bytes = [learned(&without), learned(&with)];
    assert!(bytes[0] > 0 && bytes[1] > bytes[0], "{bytes:?}");
    // Nothing of it is in a product.
    assert_eq!(copied(&with, "f || echo ${x-none}\n"), "none\n");
}

#[test]
fn a_runtime_rehearses_a_job() {
    let mut command = Command::new("/usr/bin/perl");
    command.grant(Grant::Base);
    let mut builder = Factory::builder(command);
    builder.options(Options { pool: Pool::of(2), ..Options::default() }).adapter(Perl::new());
    let factory = builder.seal().expect("a factory");
    assert!(learned(&factory) > 0);
    assert_eq!(copied(&factory, "print 1 + 1;"), "2");
}
