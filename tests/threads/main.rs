//! Spawns from many threads at once, among threads that open files, fork and take signals: each child holds its own, and only that.
//!
//! Every test does its work in a process of its own, so that signals and forks are nobody else's.

mod busy;
mod keys;
mod storm;
mod tiny;

use beget_tests::tracer;
use beget_tests::{Need, skip};

beget_tests::driver!(drive);

/// How long one of these processes may take, in seconds, on however slow a machine.
const PATIENCE: u32 = 300;

fn drive(name: &str) {
    // SAFETY: a number is passed; the signal ends a process that hangs.
    unsafe { libc::alarm(PATIENCE) };
    match name {
        "storm" => storm::storm(),
        "report" => storm::report(),
        "busy" => busy::busy(),
        "small stack" => small_stack(),
        "signalled" => signalled(),
        "gone thread" => gone_thread(),
        _ => keys::keys(name.strip_prefix("keys ").unwrap_or_else(|| panic!("no such driver: {name}"))),
    }
}

/// Runs a driver and gives the lines it wrote.
fn alone(name: &str) -> Vec<String> {
    let output = tracer::driver(name).output().expect("this program can be started");
    let (said, complaint) = (beget_tests::text(&output.stdout), beget_tests::text(&output.stderr));
    assert!(output.status.success(), "{name}: {}\n{said}\n{complaint}", output.status);
    said.lines().map(str::to_owned).collect()
}

/// Says something past the test runner's capture.
fn tell(line: &str) {
    let line = format!("{line}\n");
    // SAFETY: writes a live buffer to standard error.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}

#[test]
fn children_of_64_threads_hold_their_own_and_nothing_else() {
    assert_eq!(alone("storm"), [format!("{} children", storm::THREADS * storm::ROUNDS)]);
}

/// A thread writes a program and closes it; a newborn of another thread has a copy of the descriptor until it closes all: for
/// that moment the program is "text file busy". The vfork engine cannot avoid it, and nothing else may come of it.
#[test]
fn a_program_just_written_runs_or_is_busy() {
    let lines = alone("busy");
    tell(&format!("written and spawned at once by {} threads: {}", busy::THREADS, lines.join("; ")));
    assert_eq!(lines.len(), 1, "{lines:?}");
}

#[test]
fn three_thousand_spawns_use_no_keys() {
    let (_folder, program) = tiny::program();
    match alone(&format!("keys {program}")).as_slice() {
        [line] if line == "no keys" => skip("three_thousand_spawns", Need::Machine("keyrings")),
        // The kernel takes dead keys away when it comes to it: there may be fewer, and a few of the last children's are no growth.
        [before, after] => {
            let keys = |line: &str| line.split('/').next().and_then(|number| number.parse::<i64>().ok());
            let (before, after) = (keys(before).expect("a number"), keys(after).expect("a number"));
            assert!(after <= before + 2, "{before} keys of this user after one spawn, {after} after all");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_thread_with_a_small_stack_can_spawn() {
    assert_eq!(alone("small stack"), ["20 children"]);
}

/// The newborn has a stack of its own: the thread's is not used for it.
fn small_stack() {
    let program = tiny::program();
    let spawn = move || {
        for _ in 0..20 {
            tiny::run(&mut tiny::command(&program.1));
        }
        println!("20 children");
    };
    let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(spawn).expect("a thread can be made");
    thread.join().expect("it had room enough");
}

#[test]
fn a_thread_that_is_signalled_all_the_time_can_spawn() {
    let lines = alone("signalled");
    assert_eq!(lines.len(), 1, "{lines:?}");
    assert!(lines[0].starts_with("300 children, signalled "), "{lines:?}");
}

/// Signals for the spawning thread itself, from another: they wait while a child is being born, and none is lost or doubled in
/// the child.
fn signalled() {
    use std::sync::atomic::{AtomicBool, Ordering};
    storm::count_signals(libc::SIGUSR1);
    let done = AtomicBool::new(false);
    // SAFETY: asks for this thread's own handle, which lives until the scope ends.
    let me = unsafe { libc::pthread_self() };
    let program = tiny::program();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                // SAFETY: that thread waits for this one.
                unsafe { libc::pthread_kill(me, libc::SIGUSR1) };
                std::thread::yield_now();
            }
        });
        for _ in 0..300 {
            tiny::run(&mut tiny::command(&program.1));
        }
        done.store(true, Ordering::Relaxed);
    });
    let count = storm::SIGNALS.load(Ordering::Relaxed);
    assert!(count > 0, "the signals came");
    println!("300 children, signalled {count} times");
}

#[test]
fn a_child_outlives_the_thread_that_made_it() {
    assert_eq!(alone("gone thread"), ["exit status: 0"]);
}

fn gone_thread() {
    let spawn = || {
        let mut command = storm::reporter();
        command.arg("-").stdin(beget::Stdio::piped()).spawn().expect("it can be spawned")
    };
    let mut child = std::thread::spawn(spawn).join().expect("the thread ends well");
    assert_eq!(child.try_wait().expect("it is our child"), None, "it waits for its input");
    println!("{}", child.wait().expect("it is our child").status);
}
