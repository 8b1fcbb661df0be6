//! The storm: threads that spawn, and threads that do all that a program does meanwhile.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use beget::{Command, Grant, Stdio};

/// How many threads spawn.
pub const THREADS: usize = 64;
/// How often each.
pub const ROUNDS: usize = 50;

/// Signals taken so far.
pub static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn count(_: i32) {
    SIGNALS.fetch_add(1, Ordering::Relaxed);
}

/// Counts a signal, and lets it interrupt calls.
pub fn count_signals(signal: i32) {
    // SAFETY: the handler adds to a number; the action is zero but for it.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = count as extern "C" fn(i32) as libc::sighandler_t;
        assert_eq!(libc::sigaction(signal, &raw const action, std::ptr::null_mut()), 0);
    }
}

/// A command for this very program, as the child that reports.
pub fn reporter() -> Command {
    let mut command = Command::new(std::env::current_exe().expect("we run"));
    command.env("BEGET_TEST_DRIVER", "report");
    command
}

/// What a child says: its argument, its descriptors, and what lies in slot 3. With `-` for an argument, it waits for its input.
pub fn report() {
    let argument = std::env::args().nth(1).unwrap_or_default();
    if argument == "-" {
        let read = std::io::stdin().read(&mut [0]);
        assert!(matches!(read, Ok(0)), "{read:?}");
        return;
    }
    // SAFETY: asks for flags of numbers that may not be open.
    let open: Vec<i32> = (0..1024).filter(|fd| unsafe { libc::fcntl(*fd, libc::F_GETFD) } >= 0).collect();
    let mut token = [0u8; 64];
    // SAFETY: reads into a live buffer.
    let length = unsafe { libc::read(3, token.as_mut_ptr().cast(), token.len()) };
    let token = token.get(..length.max(0) as usize).unwrap_or_default();
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let line = format!("{argument} {open:?} {} {names}\n", String::from_utf8_lossy(token));
    std::io::stdout().write_all(line.as_bytes()).expect("standard output is a pipe");
}

/// One child with an argument, a descriptor and a name that no other has.
fn one(thread: usize, round: usize) {
    let token = format!("{thread}.{round}");
    let (reader, mut writer) = std::io::pipe().expect("a pipe can be made");
    writer.write_all(token.as_bytes()).expect("it has room");
    drop(writer);
    let mut command = reporter();
    command.arg(&token).slot(format!("token-{token}"), OwnedFd::from(reader)).stdout(Stdio::piped());
    if (thread + round).is_multiple_of(2) {
        command.grant(Grant::Ambient);
    }
    let child = command.spawn().unwrap_or_else(|error| panic!("{token}: {error}"));
    let output = child.wait_with_output().unwrap_or_else(|error| panic!("{token}: {error}"));
    let said = beget_tests::text(&output.stdout);
    assert!(output.status.success(), "{token}: {} {said}", output.status);
    assert_eq!(said, format!("{token} [1, 3] {token} token-{token}\n"));
}

/// Files opened without close-on-exec, at numbers that come and go.
fn litter(done: &AtomicBool) {
    let open = || {
        // SAFETY: a constant path; each descriptor is closed below, by this thread, which alone knows it.
        unsafe { libc::open(c"/dev/zero".as_ptr(), libc::O_RDONLY) }
    };
    while !done.load(Ordering::Relaxed) {
        let files: Vec<i32> = std::iter::repeat_with(open).take(10).collect();
        std::thread::yield_now();
        for file in files {
            // SAFETY: as above.
            unsafe { libc::close(file) };
        }
    }
}

/// Forks as an old library would.
fn fork(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        // SAFETY: the child ends at once, without touching anything; the parent waits for it alone.
        unsafe {
            let child = libc::fork();
            if child == 0 {
                libc::_exit(0);
            }
            let mut status = 0;
            while child > 0 && libc::waitpid(child, &raw mut status, 0) < 0 {}
            assert_eq!(status, 0);
        }
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
}

/// Signals for the whole process: any thread may take them.
fn signal(done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        // SAFETY: a signal to this very process, which counts it.
        unsafe { libc::kill(libc::getpid(), libc::SIGUSR1) };
        std::thread::yield_now();
    }
}

/// All at once.
pub fn storm() {
    count_signals(libc::SIGUSR1);
    // Whether somebody's status is taken by another is part of the question: there is a handler for that signal too.
    count_signals(libc::SIGCHLD);
    let before = beget_tests::descriptors();
    let done = AtomicBool::new(false);
    let done = &done;
    std::thread::scope(|scope| {
        let noise = [scope.spawn(|| litter(done)), scope.spawn(|| fork(done)), scope.spawn(|| signal(done))];
        let spawn = |thread| scope.spawn(move || (0..ROUNDS).for_each(|round| one(thread, round)));
        let spawning: Vec<_> = (0..THREADS).map(spawn).collect();
        let failed = spawning.into_iter().filter_map(|thread| thread.join().err()).count();
        done.store(true, Ordering::Relaxed);
        let noisy = noise.into_iter().filter_map(|thread| thread.join().err()).count();
        assert_eq!((failed, noisy), (0, 0), "threads that failed");
    });
    assert!(SIGNALS.load(Ordering::Relaxed) > 0, "the signals came");
    assert_eq!(beget_tests::descriptors(), before, "descriptors left open");
    assert_eq!(beget_tests::children().len(), 0, "children left");
    println!("{} children", THREADS * ROUNDS);
}
