//! What a factory does about whoever is killed or stopped: its nursery, the guard of that, its template, products that wait, and whoever
//! asks.

use std::time::{Duration, Instant};

use beget::{Command, Grant, Process, Stdio};
use beget_factory::{Factory, Options, Pool, Ready};
use beget_tests::in_own_process;

use crate::making::{cat, copied, eventually, kill, lives, signal, warm};

/// So long may a stopped process keep a factory waiting here.
const ANSWER: Duration = Duration::from_secs(1);
/// More than any request takes, even if everything that it meets is stopped.
const BOUND: Duration = Duration::from_secs(40);

fn pooled() -> Options {
    Options { pool: Pool { low_water: 4, ..Pool::of(4) }, answer: ANSWER, ..warm(Ready::Entry) }
}

pub(crate) fn parent(process: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).expect("it lives");
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"));
    parent.and_then(|number| number.trim().parse().ok()).expect("a number")
}

fn children(process: u32) -> Vec<u32> {
    let list = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"));
    list.unwrap_or_default().split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect()
}

fn waiting(factory: &Factory) -> Vec<u32> {
    let template = factory.template_number().expect("a template");
    children(parent(template)).into_iter().filter(|number| *number != template).collect()
}

fn running(factory: &Factory) -> Process {
    let mut request = factory.request();
    request.stdin(Stdio::piped()).stdout(Stdio::piped());
    request.start().expect("a product")
}

fn is_full(factory: &Factory) {
    eventually("a full pool", || factory.statistics().waiting == factory.options().pool.size as u64);
}

/// A request that is answered, and rightly, within the bound.
fn answered(factory: &Factory, text: &str) {
    let begun = Instant::now();
    assert_eq!(copied(factory, text), text);
    assert!(begun.elapsed() < BOUND, "{:?}", begun.elapsed());
}

#[test]
fn a_nursery_that_is_killed_is_made_anew_with_all_that_was_in_it() {
    for options in [Options::default(), warm(Ready::Main), pooled()] {
        let factory = cat(options.clone());
        for guard in [false, true] {
            let product = running(&factory);
            let nursery = parent(product.id());
            let both = [nursery, parent(nursery)];
            let (template, number) = (factory.template_number(), product.id());
            kill(both[usize::from(guard)]);
            // What was born there ends, and says so or why it cannot.
            match product.wait_shared() {
                Ok(end) => assert!(!end.status.success(), "{end:?}"),
                Err(error) => assert!(error.to_string().contains("nursery"), "{error}"),
            }
            eventually("all that was in it ends, and then it", || {
                !lives(number)
                    && template.is_none_or(|template| !lives(template))
                    && !both.map(lives).contains(&true)
            });
            answered(&factory, "after");
            if options.pool.size > 0 {
                is_full(&factory);
            }
        }
        assert_eq!(factory.statistics().failed, 0, "{:?}", factory.statistics());
    }
}

#[test]
fn a_template_that_is_stopped_is_ended_and_made_anew() {
    for options in [Options { answer: ANSWER, ..warm(Ready::Main) }, pooled()] {
        let factory = cat(options.clone());
        let template = factory.template_number().expect("a template");
        signal(template, libc::SIGSTOP);
        for number in 0..=options.pool.size {
            answered(&factory, &format!("text {number}"));
        }
        eventually("it is gone", || !lives(template));
        // After a pause, for this one had made nothing.
        eventually("another", || {
            answered(&factory, "text");
            factory.template_number().is_some_and(|number| number != template)
        });
        if options.pool.size > 0 {
            is_full(&factory);
        }
        let done = factory.statistics();
        assert_eq!((done.failed, done.deaths), (0, 1), "{done:?}");
    }
}

#[test]
fn a_nursery_that_is_stopped_is_told_to_go_on() {
    for options in [Options { answer: ANSWER, ..Options::default() }, pooled()] {
        let factory = cat(options);
        let mut product = running(&factory);
        let nursery = parent(product.id());
        signal(nursery, libc::SIGSTOP);
        signal(parent(nursery), libc::SIGSTOP);
        for number in 0..6 {
            answered(&factory, &format!("text {number}"));
        }
        signal(nursery, libc::SIGSTOP);
        // Its end is told, too.
        assert!(product.wait().expect("its end").status.success());
        assert_eq!(factory.statistics().failed, 0);
        signal(nursery, libc::SIGSTOP);
        drop((product, factory));
        eventually("nobody is left", || !lives(nursery));
    }
}

#[test]
fn a_product_that_waits_and_is_stopped_is_ended_and_another_taken() {
    let factory = cat(pooled());
    // The product that is learned from does not wait, and what waits is told of what was learned.
    let learned = || factory.facts().template.is_some_and(|template| template.prefault.is_some());
    eventually("what products write to is learned", learned);
    is_full(&factory);
    let stopped = waiting(&factory);
    for number in &stopped {
        signal(*number, libc::SIGSTOP);
    }
    for number in 0..6 {
        answered(&factory, &format!("text {number}"));
    }
    eventually("those are gone", || stopped.iter().all(|number| !lives(*number)));
    is_full(&factory);
    let done = factory.statistics();
    assert_eq!((done.failed, done.hits + done.warm), (0, 6), "{done:?}");
}

/// Nobody asks for one, and still it is noticed.
#[test]
fn a_product_that_is_killed_while_it_waits_is_replaced() {
    let factory = cat(pooled());
    is_full(&factory);
    for number in waiting(&factory) {
        kill(number);
        eventually("as many wait as before", || {
            let all = waiting(&factory);
            !all.contains(&number) && all.iter().filter(|one| lives(**one)).count() >= 4
        });
    }
    is_full(&factory);
    answered(&factory, "text");
    let done = factory.statistics();
    assert_eq!((done.failed, done.hits, done.deaths), (0, 1, 0), "{done:?}");
}

/// This process, which asks, is killed: a process of its own, whose orphans become ours.
#[test]
fn with_whoever_asks_everything_ends() {
    const TEST: &str = "killed::with_whoever_asks_everything_ends";
    in_own_process(TEST, || {
        // SAFETY: numbers only.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
        for _ in 0..3 {
            let (output, told) = std::io::pipe().expect("a pipe");
            // SAFETY: this process has one thread beside the one that waits for the test, and the copy uses nothing of that.
            let asker = unsafe { libc::fork() };
            if asker == 0 {
                let factory = cat(pooled());
                is_full(&factory);
                let products = [running(&factory), running(&factory)];
                let words = format!("{} ", parent(products[0].id()));
                std::io::Write::write_all(&mut { told }, words.as_bytes()).expect("it is read");
                loop {
                    answered(&factory, "text");
                }
            }
            drop(told);
            let mut words = [0; 16];
            let count = std::io::Read::read(&mut { output }, &mut words).expect("it tells");
            let nursery: u32 = beget_tests::text(&words[..count]).trim().parse().expect("a number");
            std::thread::sleep(Duration::from_millis(u64::from(nursery % 50)));
            kill(asker as u32);
            eventually("nobody is left", || {
                // SAFETY: no pointer is given.
                while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
                beget_tests::children().is_empty()
            });
            assert!(!lives(nursery));
        }
    });
}

/// `fork` copies the factory's memory and its channels, and none of its threads.
#[test]
fn a_copy_of_the_process_is_refused_and_takes_nothing() {
    in_own_process("killed::a_copy_of_the_process_is_refused_and_takes_nothing", || {
        for options in [Options::default(), warm(Ready::Main), pooled()] {
            let factory = cat(options.clone());
            if options.pool.size > 0 {
                is_full(&factory);
            }
            for dropped in [false, true] {
                // SAFETY: the copy uses locks that no other thread holds, and ends without this process's own clean-up.
                let copy = unsafe { libc::fork() };
                if copy == 0 {
                    let error = factory.request().start().map(|process| process.id()).expect_err("a copy");
                    let replaced = factory.replace().is_err();
                    let clear = error.to_string().contains("copy") && replaced;
                    if dropped {
                        drop(factory);
                    }
                    // SAFETY: ends this copy.
                    unsafe { libc::_exit(if clear { 0 } else { 1 }) };
                }
                let mut status = -1;
                // SAFETY: writes a number of this stack's.
                assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
                assert_eq!(status, 0);
                for number in 0..8 {
                    answered(&factory, &format!("text {number}"));
                }
            }
            let done = factory.statistics();
            assert_eq!((done.failed, done.deaths), (0, 0), "{done:?}");
        }
    });
}

/// In any order, and while requests are under way.
#[test]
fn many_factories_are_dropped_in_any_order() {
    in_own_process("killed::many_factories_are_dropped_in_any_order", || {
        let mut factories: Vec<Factory> = (0..20)
            .map(|number| {
                let mut command = Command::new("/bin/true");
                command.grant(Grant::Execute("/bin".into())).grant(Grant::Execute("/usr/lib".into()));
                command.grant(Grant::Read("/etc".into()));
                let pool = Pool::of(number % 3);
                let mut builder = Factory::builder(command);
                builder.options(Options { pool, ..warm(Ready::Entry) });
                builder.seal().expect("a factory")
            })
            .collect();
        let mut at = 7;
        while !factories.is_empty() {
            at = (at * 31 + 17) % factories.len();
            let factory = factories.swap_remove(at);
            let clone = factory.clone();
            let asking = std::thread::spawn(move || {
                for _ in 0..3 {
                    let end = clone.request().start().expect("a product").wait().expect("its end");
                    assert!(end.status.success(), "{end:?}");
                }
            });
            drop(factory);
            asking.join().expect("all were answered");
        }
        eventually("nobody is left", || beget_tests::children().is_empty());
    });
}
