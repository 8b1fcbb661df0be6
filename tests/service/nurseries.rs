//! Several nurseries: births of several clients go on at the same time, and one that hangs holds up no other.

use std::sync::mpsc;

use crate::{LONG, World};

/// The process that a domain was born in.
fn parent(domain: u32) -> u32 {
    let status = std::fs::read_to_string(format!("/proc/{domain}/status")).expect("it lives");
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:")).expect("it has one");
    line.trim().parse().expect("a number")
}

fn signal(process: u32, signal: i32) {
    // SAFETY: signals the parent of a process of ours that lives.
    assert_eq!(unsafe { libc::kill(process as i32, signal) }, 0);
}

#[test]
fn a_birth_that_hangs_holds_up_no_other_clients() {
    const CLIENTS: usize = 4;
    let world = World::several("die", 1000, "", 2);
    let mut first = world.session().spawn(world.wish(&["sleep"])).expect("spawn");
    let nursery = parent(first.status().expect("look").pid);
    // Whatever is to be born there now waits.
    signal(nursery, libc::SIGSTOP);
    let (told, tells) = mpsc::channel();
    std::thread::scope(|scope| {
        let client = || {
            let (world, told) = (&world, told.clone());
            scope.spawn(move || {
                let mut domain = world.session().spawn(world.wish(&["sleep"])).expect("spawn");
                told.send(parent(domain.status().expect("look").pid)).expect("it listens");
            });
        };
        // It has no birth under way, so the first goes there, whichever that is, and hangs; the others go to another.
        client();
        for _ in 1..CLIENTS {
            client();
            let other = tells.recv_timeout(LONG);
            if other.is_err() {
                signal(nursery, libc::SIGCONT);
            }
            assert_ne!(other.expect("it is born meanwhile"), nursery);
        }
        assert_eq!(tells.try_recv(), Err(mpsc::TryRecvError::Empty), "it hangs still");
        signal(nursery, libc::SIGCONT);
        assert_eq!(tells.recv_timeout(LONG), Ok(nursery));
    });
    world.stop();
}

/// With one nursery for all: who asks a while after a birth began to hang is served in another.
#[test]
fn a_birth_that_hangs_holds_up_nobody_for_long() {
    let world = World::several("die", 1000, "", 1);
    let mut first = world.session().spawn(world.wish(&["sleep"])).expect("spawn");
    let nursery = parent(first.status().expect("look").pid);
    signal(nursery, libc::SIGSTOP);
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| world.session().spawn(world.wish(&["sleep"])).expect("spawn"));
        // How long a birth may take is the monitor's to say: asked again until one is served elsewhere.
        let (told, tells) = mpsc::channel();
        for attempt in 0.. {
            let (world, told) = (&world, told.clone());
            scope.spawn(move || {
                let mut domain = world.session().spawn(world.wish(&["sleep"])).expect("spawn");
                let _ = told.send(parent(domain.status().expect("look").pid));
            });
            match tells.recv_timeout(std::time::Duration::from_millis(200)) {
                Ok(other) => {
                    assert_ne!(other, nursery);
                    break;
                }
                Err(_) if attempt > 100 => {
                    signal(nursery, libc::SIGCONT);
                    panic!("nobody is served");
                }
                Err(_) => {}
            }
        }
        assert!(!hanging.is_finished(), "it hangs still");
        signal(nursery, libc::SIGCONT);
    });
    world.stop();
}

/// Those that are born and end while all others are full share one that is there.
#[test]
fn a_nursery_more_stays_as_long_as_the_others_are_full() {
    let world = World::several("die", 1000, "", 1);
    let mut session = world.session();
    let mut born = || session.spawn(world.wish(&["sleep"])).expect("spawn");
    let mut full: Vec<_> = (0..200).map(|_| born()).collect();
    let first = parent(full[0].status().expect("look").pid);
    let mut parents: Vec<u32> = (0..5)
        .map(|_| {
            let mut domain = born();
            let parent = parent(domain.status().expect("look").pid);
            domain.kill(std::time::Duration::ZERO).expect("kill");
            parent
        })
        .collect();
    assert_ne!(parents[0], first);
    parents.dedup();
    assert_eq!(parents.len(), 1, "each had a nursery of its own: {parents:?}");
    world.stop();
}
