//! Domains that are made all together or not at all: wherever one fails, no other has run, and nothing of them is left.

use std::fs::Permissions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;

use beget::{Command, Fault as Failed, Grant, ParcelOptions};
use beget_service::protocol::Life;
use beget_service::{Fault, Wish};
use beget_tests::{Scratch, program};

use crate::{World, end, pipe, rest};

/// How many are made together.
const COUNT: usize = 30;

/// One that makes a file, if it ever runs, and cannot create processes.
fn touch(path: &str, scratch: &Scratch, index: usize, output: &OwnedFd, options: ParcelOptions) -> Wish {
    let mut command = Command::new(path);
    command.args(["touch", &scratch.at(&format!("made-{index}"))]);
    command.grant(Grant::Write(scratch.path().into())).stdout(output.try_clone().expect("a number"));
    Wish::new(command.parcel(options).expect("packed")).name(format!("one-{index}"))
}

fn made(scratch: &Scratch) -> usize {
    let all = std::fs::read_dir(scratch.path()).expect("ours").flatten();
    all.filter(|entry| entry.file_name().to_string_lossy().starts_with("made-")).count()
}

#[test]
fn all_good_ones_run() {
    let world = World::new("die");
    let (scratch, (output, writing)) = (Scratch::new(), pipe());
    let probe = program("probe").to_string_lossy().into_owned();
    let options = ParcelOptions { together: true, ..world.options() };
    let wishes = (0..COUNT).map(|index| touch(&probe, &scratch, index, &writing, options)).collect();
    let all = world.session().batch(wishes, true).expect("an answer");
    for domain in all {
        assert_eq!(end(&mut domain.expect("born")).life, Life::Exited(0));
    }
    drop(writing);
    assert_eq!((rest(output), made(&scratch)), (Vec::new(), COUNT));
    world.stop();
}

#[test]
fn one_bad_one_and_none_has_run() {
    for policy in ["die", "live"] {
        let world = World::new(policy);
        let mut session = world.session();
        let options = ParcelOptions { together: true, ..world.options() };
        let probe = program("probe").to_string_lossy().into_owned();
        for bad in [0, 13, COUNT - 1] {
            let (scratch, (output, writing)) = (Scratch::new(), pipe());
            let bytes = std::fs::read(&probe).expect("ours");
            let copy = scratch.executable("copy", bytes);
            let one = |index| {
                let path = if index == bad { &copy } else { &probe };
                touch(path, &scratch, index, &writing, options)
            };
            let wishes = (0..COUNT).map(one).collect();
            // It can be executed when it is packed, and not when it is to be born.
            std::fs::set_permissions(&copy, Permissions::from_mode(0o644)).expect("ours");
            let all = session.batch(wishes, true).expect("an answer for each");
            drop(writing);
            assert_eq!(all.len(), COUNT);
            for (index, one) in all.into_iter().enumerate() {
                let error = one.expect_err("none is made");
                if index == bad {
                    assert_eq!(error.part(), format!("program {copy}"));
                    assert_eq!(error.fault(), Fault::Birth(Failed::NotRunnable));
                } else {
                    assert_eq!(error.errno(), Some(libc::ECANCELED), "{bad}, {index}: {error}");
                }
            }
            assert_eq!(rest(output), b"", "nobody is there");
            assert_eq!(made(&scratch), 0, "something has run");
            assert!(session.list().expect("list").is_empty());
            let error = session.open("one-1").expect_err("it never was");
            assert_eq!(error.fault(), Fault::NoSuch);
        }
        world.stop();
    }
}

#[test]
fn one_alone_is_all_whatever_it_may_create() {
    let world = World::new("die");
    let options = ParcelOptions { together: true, ..world.options() };
    let mut command = Command::new(program("probe"));
    command.args(["exit", "3"]).grant(Grant::Ambient);
    let mut all = || {
        let wish = Wish::new(command.parcel(options).expect("packed"));
        world.session().batch(vec![wish], true).expect("an answer")
    };
    assert_eq!(end(all()[0].as_mut().expect("born")).life, Life::Exited(3));
    world.stop();
}

#[test]
fn a_parcel_is_for_one_way_or_the_other() {
    let world = World::new("die");
    let (scratch, (output, writing)) = (Scratch::new(), pipe());
    let probe = program("probe").to_string_lossy().into_owned();
    for together in [false, true] {
        let options = ParcelOptions { together, ..world.options() };
        let wishes = (0..2).map(|index| touch(&probe, &scratch, index, &writing, options)).collect();
        let error = world.session().batch(wishes, !together).expect_err("it would never run, or too soon");
        assert_eq!((error.part(), error.fault()), ("domain one-0", Fault::Caller), "{error}");
    }
    drop(writing);
    assert_eq!((rest(output), made(&scratch)), (Vec::new(), 0));
    world.stop();
}
