//! What runs out: numbers of descriptors, and room for the journal. Who is served stays so, what cannot be done is refused, nothing is lost.

use std::fs::File;
use std::io::Write;
use std::time::Duration;

use beget_service::protocol::Life;
use beget_service::{Fault, Service};
use beget_tests::tracer::driver;
use beget_tests::{Need, is_root, skip};
use rustix::process::{Pid, Resource, Rlimit};

use crate::{World, end, until};

/// How many files a process may have open from now on.
fn allow_files(process: u32, most: Option<u64>) {
    let process = Pid::from_raw(process as i32);
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let limit = Rlimit { current: most.or(limit.current), maximum: limit.maximum };
    rustix::process::prlimit(process, Resource::Nofile, limit).expect("it is ours");
}

#[test]
fn without_numbers_who_is_served_stays_so_and_others_wait() {
    const CLIENTS: usize = 30;
    let world = World::new("die");
    let mut session = world.session();
    let mut domain = session.spawn(world.wish(&["sleep"]).name("stays")).expect("spawn");
    let service = world.service.id();
    let held = std::fs::read_dir(format!("/proc/{service}/fd")).expect("ours").count() as u64;
    allow_files(service, Some(held + 4));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| scope.spawn(|| Service::connect(world.path()).map(|mut session| session.list())))
            .collect();
        // Whoever wants what brings a descriptor is told so, or has it.
        for _ in 0..50 {
            let list = session.list().expect("it is served");
            assert!(list.iter().any(|record| record.name == "stays"));
            assert_eq!(domain.status().expect("so is this one").life, Life::Running);
            match session.spawn(world.wish(&["exit", "5"])) {
                Ok(mut domain) => assert_eq!(end(&mut domain).life, Life::Exited(5)),
                Err(error) => assert!(matches!(error.fault(), Fault::Kernel | Fault::Limit), "{error}"),
            }
        }
        allow_files(service, None);
        for client in clients {
            let list = client.join().expect("it has an answer").expect("its turn comes");
            assert!(list.expect("it is served").iter().any(|record| record.name == "stays"));
        }
    });
    assert_eq!(domain.kill(Duration::ZERO).expect("kill").life, Life::Killed(9));
    drop(domain);
    until(|| session.state().is_ok_and(|state| state.living == 0 && state.connections == 1));
    world.stop();
}

/// What this program is told to do there.
pub(crate) const FULL: &str = "full";
const NO_MOUNT: &str = "nothing can be mounted here";

/// A file system of this process's own below a folder; `false` where there can be none.
fn mount_small(folder: &str) -> bool {
    let folder = std::ffi::CString::new(folder).expect("no NUL");
    // SAFETY: constants and a path that outlive the calls; this process has the mounts for itself from the first call on.
    unsafe {
        let private = libc::MS_REC | libc::MS_PRIVATE;
        libc::unshare(libc::CLONE_NEWNS) == 0
            && libc::mount(c"none".as_ptr(), c"/".as_ptr(), std::ptr::null(), private, std::ptr::null()) == 0
            && libc::mount(
                c"tmpfs".as_ptr(),
                folder.as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                c"size=2m,mode=700".as_ptr().cast(),
            ) == 0
    }
}

#[test]
fn with_a_full_disk_births_are_refused_and_ends_are_told() {
    const NAME: &str = "scarce::with_a_full_disk_births_are_refused_and_ends_are_told";
    if !is_root() {
        return skip(NAME, Need::Root);
    }
    let output = beget_tests::finish(&mut driver(FULL));
    let said = beget_tests::text(&output.stderr);
    if said.contains(NO_MOUNT) {
        return skip(NAME, Need::Machine("a file system of its own"));
    }
    assert!(output.status.success(), "{said}");
}

/// The same in a process of its own, whose mounts are nobody else's.
pub(crate) fn full_disk() {
    let folder = beget_tests::Scratch::new();
    let state = folder.at("state");
    std::fs::create_dir(&state).expect("ours");
    if !mount_small(&state) {
        panic!("{NO_MOUNT}");
    }
    let mut world = World::within(folder, "die", 1000, "", 1);
    let mut session = world.session();
    let mut all: Vec<_> = (0..20)
        .map(|number| {
            session.spawn(world.wish(&["sleep"]).name(format!("d{number}"))).expect("there is room")
        })
        .collect();
    let mut fill = File::create(format!("{state}/fill")).expect("there is room");
    for size in [64 << 10, 4096, 1] {
        while fill.write_all(&vec![0; size]).is_ok() {}
    }
    // What is promised already is enough for some.
    let refused = (0..10_000).find_map(|_| session.spawn(world.wish(&["exit", "5"])).err());
    let refused = refused.expect("there is no room for so many");
    assert_eq!((refused.fault(), refused.errno()), (Fault::Kernel, Some(libc::ENOSPC)), "{refused}");
    assert!(refused.to_string().contains("its journal has no room"), "{refused}");
    let service = session.state().expect("it serves").service;
    for mut domain in all.drain(..10) {
        domain.signal(10).expect("signal");
        assert_eq!(end(&mut domain).life, Life::Killed(10));
    }
    // It has not been started again, for nobody here does that; what it says it has written down, as the next one shows.
    assert_eq!(session.state().expect("it serves").service, service);
    world.kill_service();
    world.start_service();
    let mut names: Vec<_> = session.list().expect("list").into_iter().map(|record| record.name).collect();
    names.sort_unstable();
    assert_eq!(names, (10..20).map(|number| format!("d{number}")).collect::<Vec<_>>());
    let mut ended = session.open("d3").expect("it is remembered");
    assert_eq!(end(&mut ended).life, Life::Killed(10));
    std::fs::remove_file(format!("{state}/fill")).expect("ours");
    drop(fill);
    let mut next = session.spawn(world.wish(&["exit", "5"])).expect("there is room again");
    assert_eq!(end(&mut next).life, Life::Exited(5));
    let state = std::ffi::CString::new(state).expect("no NUL");
    // SAFETY: a path that outlives the call. What is open there stays.
    assert_eq!(unsafe { libc::umount2(state.as_ptr(), libc::MNT_DETACH) }, 0);
    world.stop();
}
