//! The cgroups of a parcel's tree change hands: whoever has the child ends and removes them.

use std::io::{BufRead, BufReader};
use std::os::fd::OwnedFd;

use beget::{Command, Grant, Limit, ParcelOptions, Stdio};
use beget_authority::cgroup::Group;
use beget_tests::{descriptors, in_own_process, is_root};

use crate::{Midwife, WELL, pipe, rest};

/// A shell that leaves a child behind, in a limited tree; none where trees cannot be limited.
fn command(test: &str, writing: OwnedFd) -> Option<Command> {
    let mut command = Command::new("sh");
    command.args(["-c", "sleep 100 & echo $!"]).stdout(writing).stderr(Stdio::null());
    command.grants([Grant::Base, Grant::Spawn]).limit(Limit::Processes(20));
    match command.describe() {
        Ok(_) => Some(command),
        Err(error) => {
            assert!(error.to_string().contains("processes"), "{error}");
            let need =
                if is_root() { beget_tests::Need::Machine("cgroups") } else { beget_tests::Need::Root };
            beget_tests::skip(test, need);
            None
        }
    }
}

fn owner() -> u32 {
    // SAFETY: asks a number.
    unsafe { libc::geteuid() }
}

#[test]
fn a_tree_is_ended_by_whoever_took_it_over() {
    let (reading, writing) = pipe();
    let Some(mut command) = command("groups::a_tree_is_ended_by_whoever_took_it_over", writing) else {
        return;
    };
    let parcel = command.parcel(ParcelOptions::default()).expect("packed");
    drop(command);
    let places: Vec<(OwnedFd, String)> = parcel
        .groups()
        .map(|place| (place.folder.try_clone_to_owned().expect("a descriptor"), place.name.to_owned()))
        .collect();
    assert!(!places.is_empty());
    let copy = |places: &[(OwnedFd, String)]| -> Vec<(OwnedFd, String)> {
        places
            .iter()
            .map(|(folder, name)| (folder.try_clone().expect("a descriptor"), name.clone()))
            .collect()
    };
    let midwife = Midwife::new();
    midwife.deliver(&parcel).expect("born");
    let group = Group::take_over(copy(&places), owner()).expect("it is ours");
    // What it does to another's, or to what is none, is nothing.
    assert!(Group::take_over(copy(&places), owner() + 1).is_err());
    let folder = |path: &str| OwnedFd::from(std::fs::File::open(path).expect("it is there"));
    assert!(Group::take_over([(folder("/tmp"), places[0].1.clone())], owner()).is_err());
    for name in ["..", ".", "", "beget-1", "beget-1-2/..", "other-1-2", "beget-1-2-3"] {
        let one = [(places[0].0.try_clone().expect("a descriptor"), name.to_owned())];
        assert!(Group::take_over(one, owner()).is_err(), "{name}");
    }
    parcel.delivered();
    assert_eq!(midwife.end().1, WELL);
    let mut line = String::new();
    let mut reading = BufReader::new(std::fs::File::from(reading));
    reading.read_line(&mut line).expect("text");
    let left: i32 = line.trim().parse().expect("a number");
    assert!(std::path::Path::new(&format!("/proc/{left}")).exists());
    let used = group.end();
    // It held the pipe too, and has ended.
    assert_eq!(reading.read_line(&mut line).expect("text"), 0);
    assert!(used.processes_peak.is_none_or(|peak| peak >= 2), "{used:?}");
    assert!(Group::take_over(places, owner()).is_err(), "it is removed");
}

#[test]
fn one_that_is_not_delivered_takes_them_back() {
    in_own_process("groups::one_that_is_not_delivered_takes_them_back", || {
        let (reading, writing) = pipe();
        let Some(mut command) = command("groups::one_that_is_not_delivered_takes_them_back", writing) else {
            return;
        };
        let parcel = command.parcel(ParcelOptions::default()).expect("packed");
        let place = parcel.groups().next().expect("it has one");
        let (folder, name) =
            (place.folder.try_clone_to_owned().expect("a descriptor"), place.name.to_owned());
        let before = descriptors();
        drop(parcel);
        assert!(descriptors().len() < before.len());
        assert!(Group::take_over([(folder, name)], owner()).is_err(), "it is removed");
        drop(command);
        assert_eq!(rest(reading), "");
    });
}

/// What a child creates through others counts as its own.
#[test]
fn its_spawner_is_in_them() {
    let (_reading, writing) = pipe();
    let Some(mut command) = command("groups::its_spawner_is_in_them", writing) else { return };
    let parcel = command.parcel(ParcelOptions { spawner: true, ..ParcelOptions::default() }).expect("packed");
    let place = parcel.groups().next().expect("it has one");
    let (folder, name) = (place.folder.try_clone_to_owned().expect("a descriptor"), place.name.to_owned());
    let midwife = Midwife::new();
    let spawner = midwife.nursery(parcel.spawner.as_ref().expect("asked for"), None).expect("a spawner");
    parcel.delivered();
    let used = Group::take_over([(folder, name)], owner()).expect("it is ours").end();
    assert!(used.processes_peak.is_none_or(|peak| peak >= 1), "{used:?}");
    // It was ended with the group.
    assert_eq!(midwife.end().1.0, beget_plan::message::change::KILLED);
    drop(spawner);
}
