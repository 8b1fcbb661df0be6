//! Two users on one machine cannot see or touch each other's.

use std::os::unix::process::CommandExt;

use beget_service::{Fault, Service};
use beget_tests::tracer::driver;
use beget_tests::{Need, is_root, skip};

use crate::World;

const NOBODY: u32 = 65_534;

/// Another user's client: says on standard output what it sees, and makes a domain of its own.
pub(crate) fn client(path: &str) {
    let mut session = match Service::connect(path) {
        Ok(session) => session,
        Err(error) => return println!("refused {:?}", error.fault()),
    };
    let list = session.list().expect("list").len() + session.history(100).expect("history").len();
    let open =
        |session: &mut Service, name: &str| session.open(name).map(drop).map_err(|error| error.fault());
    let (name, number) = (open(&mut session, "secret"), open(&mut session, "1"));
    let stop = session.stop().map_err(|error| error.fault());
    let mut command = beget::Command::new(beget_tests::program("probe"));
    command.args(["sleep"]);
    let parcel = command.parcel(beget::ParcelOptions::default()).expect("packed");
    let mut domain = session.spawn(beget_service::Wish::new(parcel).name("secret")).expect("it is served");
    let record = domain.status().expect("look");
    let status = std::fs::read_to_string(format!("/proc/{}/status", record.pid)).expect("ours");
    let user = status.lines().find(|line| line.starts_with("Uid:")).expect("it has one").to_owned();
    println!("{list} {name:?} {number:?} {stop:?} {} {user}", record.user);
}

#[test]
fn each_has_only_what_is_his() {
    if !is_root() {
        return skip("each_has_only_what_is_his", Need::Root);
    }
    let world = World::with("die", 100, "others");
    let mut session = world.session();
    let domain = session.spawn(world.wish(&["sleep"]).name("secret")).expect("spawn");
    let mut other = driver(&format!("client {}", world.path()));
    let output = other.uid(NOBODY).gid(NOBODY).output().expect("it runs");
    let text = beget_tests::text(&output.stdout);
    let none = format!("{:?}", Err::<(), _>(Fault::NoSuch));
    let stop = format!("{:?}", Err::<(), _>(Fault::NoRight));
    let expected = format!("0 {none} {none} {stop} {NOBODY} Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n");
    assert_eq!(text, expected, "{}", beget_tests::text(&output.stderr));
    // And the other way round.
    let names: Vec<u32> = session.list().expect("list").iter().map(|record| record.user).collect();
    assert_eq!(names, [0]);
    drop(domain);
    world.stop();
}

#[test]
fn another_user_is_refused_where_only_one_is_served() {
    if !is_root() {
        return skip("another_user_is_refused_where_only_one_is_served", Need::Root);
    }
    use std::os::unix::fs::PermissionsExt;
    let world = World::new("die");
    std::fs::set_permissions(world.path(), PermissionsExt::from_mode(0o666)).expect("ours");
    let mut other = driver(&format!("client {}", world.path()));
    let output = other.uid(NOBODY).gid(NOBODY).output().expect("it runs");
    assert_eq!(beget_tests::text(&output.stdout), "refused Client\n");
    world.stop();
}
