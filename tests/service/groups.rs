//! Cgroups of domains: held as long as the domain lives, whoever is killed, and gone with it.

use std::fs::File;
use std::path::PathBuf;
use std::time::Duration;

use beget::{Command, Grant, Limit};
use beget_service::Wish;
use beget_service::protocol::Life;
use beget_tests::program;
use rustix::fs::FlockOperation;

use crate::World;

/// The folders of the cgroups that a process is in and that this process made.
fn groups(number: u32) -> Vec<PathBuf> {
    let list = std::fs::read_to_string(format!("/proc/{number}/cgroup")).expect("it lives");
    let wanted = format!("beget-{}-", std::process::id());
    let names: Vec<String> = list
        .lines()
        .filter_map(|line| line.rsplit_once('/'))
        .filter(|(_, name)| name.starts_with(&wanted))
        .map(|(_, name)| name.to_owned())
        .collect();
    let mut found = Vec::new();
    let mut folders = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if names.iter().any(|name| entry.file_name() == name.as_str()) {
                    found.push(entry.path());
                }
                folders.push(entry.path());
            }
        }
    }
    found
}

/// Whether somebody holds what keeps others from taking it for a group that was left behind.
fn is_held(group: &PathBuf) -> bool {
    let group = File::open(group).expect("it is there");
    rustix::fs::flock(&group, FlockOperation::NonBlockingLockExclusive).is_err()
}

#[test]
fn they_are_held_and_removed_whoever_is_killed() {
    let mut first = Command::new(program("probe"));
    first.args(["exit", "0"]).grant(Grant::Ambient).limit(Limit::Processes(10));
    if first.status().is_err() {
        // Root makes them where it pleases, if the system lets anybody.
        let machine = beget_tests::Need::Machine("a cgroup of its own");
        let need = if beget_tests::is_root() { machine } else { beget_tests::Need::Root };
        return beget_tests::skip("groups::they_are_held_and_removed_whoever_is_killed", need);
    }
    for policy in ["die", "live"] {
        let mut world = World::new(policy);
        let mut command = Command::new(program("probe"));
        command.arg("sleep").grant(Grant::Ambient).limit(Limit::Processes(10));
        let wish = Wish::new(command.parcel(world.options()).expect("packed"));
        let mut domain = world.session().spawn(wish).expect("spawn");
        let groups = groups(domain.status().expect("look").pid);
        assert!(!groups.is_empty());
        world.kill_service();
        assert!(groups.iter().all(is_held), "by the monitor");
        world.start_service();
        domain.status().expect("it is served again");
        if policy == "live" {
            world.kill_monitor();
            assert!(groups.iter().all(is_held), "by the service");
            world.start_monitor();
        }
        assert_eq!(domain.kill(Duration::ZERO).expect("kill").life, Life::Killed(9));
        assert!(groups.iter().all(|group| !group.exists()), "gone before its end is told");
        world.stop();
    }
}
