//! Descriptors, processes and memory that run out: what then fails says which, nothing of it is left, and the next is made as ever.

use beget::{Error, Stdio};
use beget_factory::{Factory, Options, Pool, Ready};
use beget_tests::{Need, children, descriptors, in_own_process, is_root, skip, text};

use crate::making::{cat, copied, eventually, try_cat, warm};

fn ways() -> [Options; 3] {
    let pool = Pool { low_water: 2, ..Pool::of(2) };
    [Options::default(), warm(Ready::Main), Options { pool, ..warm(Ready::Entry) }]
}

/// Does something while a limit of this process is lowered to that.
fn within<T>(resource: libc::__rlimit_resource_t, most: u64, what: impl FnOnce() -> T) -> T {
    let mut before = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: writes a structure of this stack's.
    assert_eq!(unsafe { libc::getrlimit(resource, &raw mut before) }, 0);
    let lowered = libc::rlimit { rlim_cur: most, ..before };
    // SAFETY: reads a structure of this stack's.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const lowered) }, 0);
    let done = what();
    // SAFETY: the same.
    assert_eq!(unsafe { libc::setrlimit(resource, &raw const before) }, 0);
    done
}

/// The lowest number that is free: with a limit of that nothing can be opened.
fn lowest() -> u64 {
    // SAFETY: a number, and the one that comes back is ours.
    unsafe {
        let free = libc::dup(0);
        libc::close(free);
        free as u64
    }
}

fn is_told(error: &Error, words: &str, when: &str) {
    let said = error.to_string();
    assert!(said.to_lowercase().contains(words), "{when}: {said}");
}

/// A request, given two pipes from outside. Whether it came to something.
fn asked(factory: &Factory, free: u64, when: &str) -> bool {
    let (input, mut feed) = std::io::pipe().expect("a pipe");
    let (output, theirs) = std::io::pipe().expect("a pipe");
    std::io::Write::write_all(&mut feed, b"text").expect("room");
    drop(feed);
    let mut request = factory.request();
    request.stdin(input).stdout(Stdio::from(theirs));
    let made = within(libc::RLIMIT_NOFILE, lowest() + free, || request.start());
    drop(request);
    let mut said = Vec::new();
    std::io::Read::read_to_end(&mut { output }, &mut said).expect("it ends");
    match made {
        Ok(mut product) => {
            assert!(product.wait().expect("its end").status.success(), "{when}");
            assert_eq!(text(&said), "text", "{when}");
            true
        }
        Err(error) => {
            is_told(&error, "too many open files", when);
            assert!(said.is_empty(), "{when}: it ran, and said {:?}", text(&said));
            false
        }
    }
}

#[test]
fn a_request_without_free_descriptors_says_so_and_leaves_nothing() {
    in_own_process("scarce::a_request_without_free_descriptors_says_so_and_leaves_nothing", || {
        for options in ways() {
            let factory = cat(options.clone());
            assert_eq!(copied(&factory, "text"), "text");
            let is_quiet = || factory.statistics().waiting == options.pool.size as u64;
            eventually("a full pool", is_quiet);
            let (before, mut came) = (descriptors().len(), 0);
            for free in 0..30 {
                let when = format!("{free} free, ready {:?}, pool {}", options.ready, options.pool.size);
                came += u32::from(asked(&factory, free, &when));
                eventually("a full pool", is_quiet);
                // What the factory measures beside its work opens files for a moment.
                eventually(&when, || descriptors().len() <= before);
            }
            // One that waits is told what it was given, and that needs nothing new.
            assert!(came > 0 && (came < 30 || options.pool.size > 0), "{came} of 30");
            assert_eq!(copied(&factory, "text"), "text");
            let done = factory.statistics();
            assert_eq!(done.failed, u64::from(30 - came), "{done:?}");
            assert_eq!(done.deaths, 0, "{done:?}");
        }
    });
}

#[test]
fn a_factory_without_free_descriptors_says_so_and_leaves_nothing() {
    in_own_process("scarce::a_factory_without_free_descriptors_says_so_and_leaves_nothing", || {
        drop(cat(Options::default()));
        for options in ways() {
            let (before, lowest) = (descriptors(), lowest());
            let mut came = 0;
            // A template's own numbers lie high.
            for free in (0..64).step_by(3).chain([1000, 1400, 1401]) {
                let when = format!("{free} free, ready {:?}, pool {}", options.ready, options.pool.size);
                match within(libc::RLIMIT_NOFILE, lowest + free, || try_cat(options.clone())) {
                    Ok(factory) => {
                        assert_eq!(copied(&factory, "text"), "text", "{when}");
                        came += 1;
                    }
                    Err(error) => is_told(&error, "open files", &when),
                }
                // The thread of a pool that came to nothing may hold its part for a moment.
                eventually(&when, || children().is_empty() && descriptors() == before);
                if came > 1 {
                    break;
                }
            }
            assert!(came > 0, "1401 are not enough");
        }
    });
}

/// Nothing that root may do counts for root.
#[test]
fn a_factory_without_a_process_left_says_so_and_leaves_nothing() {
    const TEST: &str = "scarce::a_factory_without_a_process_left_says_so_and_leaves_nothing";
    if is_root() {
        return skip(TEST, Need::OrdinaryUser);
    }
    in_own_process(TEST, || {
        for options in ways() {
            let error =
                within(libc::RLIMIT_NPROC, 1, || try_cat(options.clone())).expect_err("there is none");
            is_told(&error, "resource temporarily unavailable", "no process");
            assert!(children().is_empty());
            assert_eq!(copied(&cat(options), "text"), "text");
        }
    });
}

/// In a copy of this process: without memory a Rust program may end itself, and then everything of its factory is to go.
#[test]
fn without_memory_nothing_is_left() {
    in_own_process("scarce::without_memory_nothing_is_left", || {
        // SAFETY: numbers only.
        assert_eq!(unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }, 0);
        let size = std::fs::read_to_string("/proc/self/statm").expect("/proc is there");
        let pages: u64 = size.split(' ').next().and_then(|pages| pages.parse().ok()).expect("a number");
        for step in (0..24).chain([256, 4096]) {
            // SAFETY: this process has one thread beside the one that waits for the test, and the copy uses nothing of that.
            let copy = unsafe { libc::fork() };
            if copy == 0 {
                let made = within(libc::RLIMIT_AS, (pages << 12) + (step << 16), || {
                    let factory = try_cat(warm(Ready::Main))?;
                    let mut request = factory.request();
                    request.stdin(Stdio::null()).stdout(Stdio::null());
                    request.start()?.wait()
                });
                let well = match made {
                    Ok(end) => end.status.success(),
                    Err(error) => error.to_string().to_lowercase().contains("memory"),
                };
                // SAFETY: ends this copy.
                unsafe { libc::_exit(if well { 0 } else { 1 }) };
            }
            let mut status = -1;
            // SAFETY: writes a number of this stack's.
            assert_eq!(unsafe { libc::waitpid(copy, &raw mut status, 0) }, copy);
            let aborted = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT;
            assert!(status == 0 || aborted && step < 256, "{step}: {status}");
            eventually("nobody is left", || {
                // SAFETY: no pointer is given.
                while unsafe { libc::waitpid(-1, std::ptr::null_mut(), libc::WNOHANG) } > 0 {}
                children().is_empty()
            });
        }
    });
}
