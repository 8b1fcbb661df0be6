//! Another user and groups: what the child has, and that its creator stays who it is.

use std::collections::BTreeMap;

use beget::{Command, Fault, Grant, Loader};
use beget_tests::{Need, in_own_process, is_root, program, skip};

use crate::{born, probe, report};

/// What a change of user in a child that shares memory would have changed here.
fn own() -> Vec<String> {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc is there");
    let keys = ["Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp:", "SigBlk", "SigIgn"];
    let mut own: Vec<String> = status
        .lines()
        .filter(|line| keys.iter().any(|key| line.starts_with(key)))
        .map(str::to_owned)
        .collect();
    // SAFETY: asks a number.
    own.push(format!("dumpable {}", unsafe { libc::prctl(libc::PR_GET_DUMPABLE, 0, 0, 0, 0) }));
    own.push(format!(
        "{:?}",
        std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self/fd").expect("ours"))
    ));
    own
}

fn ids(told: &BTreeMap<String, String>) -> [&str; 3] {
    [&told["users"], &told["groups"], &told["groups.more"]].map(String::as_str)
}

#[test]
fn the_child_has_them_and_its_creator_has_not() {
    let test = "credentials::the_child_has_them_and_its_creator_has_not";
    if !is_root() {
        return skip(test, Need::Root);
    }
    in_own_process(test, || {
        let before = own();
        for loader in [Loader::Kernel, Loader::Direct] {
            let mut ambient = probe(&[]);
            let told = report(ambient.uid(4321).gid(8765).groups(&[11, 12]).loader(loader));
            assert_eq!(ids(&told), ["4321 4321 4321", "8765 8765 8765", "11 12"], "{loader:?}");
            assert_eq!(&*told["capabilities.permitted"], "0000000000000000", "{loader:?}");
            assert_eq!(&*told["capabilities.effective"], "0000000000000000", "{loader:?}");
            let told = report(probe(&[]).uid(4321).loader(loader));
            assert_eq!(
                ids(&told),
                ["4321 4321 4321", "0 0 0", ""],
                "{loader:?}: no group of the creator's user"
            );
            let told = report(probe(&[]).gid(8765).loader(loader));
            assert_eq!(ids(&told), ["0 0 0", "8765 8765 8765", ""], "{loader:?}");
            assert_eq!(own(), before, "{loader:?}");

            let mut confined = Command::new(program("probe"));
            confined.grants([Grant::Base, Grant::Read(program("probe"))]).uid(4321).gid(8765).loader(loader);
            let told = report(&mut confined);
            assert_eq!(ids(&told), ["4321 4321 4321", "8765 8765 8765", ""], "{loader:?}");
            let held = ["no_new_privs", "seccomp", "securebits"].map(|key| &*told[key]);
            assert_eq!(held, ["1", "2", "0"], "{loader:?}");
            assert_eq!(own(), before, "{loader:?}");
            // Once more, with the keyring that the first made.
            assert_eq!(report(&mut confined)["users"], "4321 4321 4321");
        }
        // In trees and nurseries of one's own, and one after the other.
        let told = report(probe(&[]).uid(1).own_tree(true));
        assert_eq!(told["users"], "1 1 1");
        let told = report(born(&[]).uid(2));
        assert_eq!(told["users"], "2 2 2");
        assert_eq!(report(&mut born(&[]))["users"], "0 0 0");
        assert_eq!(own(), before);
    });
}

/// A tree of another user's ends as any.
#[test]
fn a_tree_of_another_user_ends() {
    let test = "credentials::a_tree_of_another_user_ends";
    if !is_root() {
        return skip(test, Need::Root);
    }
    let mut command = probe(&["family"]);
    command.uid(4321).own_tree(true).stdout(beget::Stdio::piped());
    let mut process = command.spawn().expect("spawn");
    let output = process.stdout.take().expect("piped");
    assert_eq!(crate::bytes(&output, 3), b"xxx");
    process.kill_tree().expect("it has a tree");
    assert_eq!(crate::rest(output), b"");
}

#[test]
fn who_may_not_is_told() {
    let test = "credentials::who_may_not_is_told";
    if is_root() {
        return skip(test, Need::OrdinaryUser);
    }
    let before = own();
    for loader in [Loader::Kernel, Loader::Direct] {
        let refused = [
            (probe(&[]).uid(0).loader(loader).spawn(), "supplementary groups"),
            (probe(&[]).gid(0).loader(loader).spawn(), "supplementary groups"),
            (probe(&[]).groups(&[0]).loader(loader).spawn(), "supplementary groups"),
        ];
        for (result, part) in refused {
            let error = result.expect_err("it takes a right");
            assert_eq!(
                (error.part(), error.errno(), error.fault()),
                (part, Some(libc::EPERM), Fault::Caller),
                "{error}"
            );
        }
    }
    assert_eq!(own(), before);
}

#[test]
fn what_cannot_be_combined_is_told() {
    let nursery = beget::Nursery::bare().expect("a nursery");
    let mut command = probe(&[]);
    let error = command.uid(1).own_child(true).nursery(&nursery).spawn().expect_err("not both");
    assert_eq!((error.part(), error.fault()), ("own child", Fault::Caller), "{error}");
    let folder = std::fs::File::open("/").expect("the root");
    let error = probe(&[]).uid(1).cgroup(folder).spawn().expect_err("not both");
    assert_eq!((error.part(), error.fault()), ("cgroup", Fault::Caller), "{error}");
}
