//! What a variation may not have is refused by name, and nothing is left of the spawn.

use std::os::fd::OwnedFd;

use beget::{Command, Error, Fault, Grant, Limit, Stdio, Variation};
use beget_tests::{children, descriptors, in_own_process};

use super::*;

fn null() -> OwnedFd {
    std::fs::File::open("/dev/null").expect("/dev/null").into()
}

fn refused(sealed: &Sealed, variation: &mut Variation) -> Error {
    let (held, born) = (descriptors(), children());
    let error = sealed.spawn(variation.stdout(Stdio::piped()), None).expect_err("it is refused");
    assert_eq!((descriptors(), children()), (held, born), "{error}");
    error
}

#[test]
fn each_is_told_by_its_name() {
    in_own_process("refused::each_is_told_by_its_name", || {
        let mut command = probe(&[]);
        command.limit(Limit::OpenFiles(64)).limit(Limit::Processors(1)).slot("sealed", null()).fd(7, null());
        let sealed = sealed(command);
        let told = |variation: &mut Variation, expected: &str| {
            let error = refused(&sealed, variation);
            assert_eq!((error.to_string().as_str(), error.fault()), (expected, Fault::Caller));
        };
        told(
            Variation::new().limit(Limit::OpenFiles(65)),
            "limit --open-files 65: wider than what was sealed, --open-files 64",
        );
        told(
            Variation::new().limit(Limit::OpenFiles(32)).limit(Limit::Processors(2)),
            "limit --cpus 2: wider than what was sealed, --cpus 1",
        );
        told(Variation::new().fd(7, null()), "slot 7: 7 is there already, and was sealed");
        told(Variation::new().fd(3, null()), "slot 3: sealed is there already, and was sealed");
        told(Variation::new().fd(-4, null()), "slot -4: a slot's number is not negative");
        told(Variation::new().slot("sealed", null()), "slot sealed: the name is there already");
        told(Variation::new().slot("a:b", null()), "slot a:b: a name has no colon and no control character");
        told(
            Variation::new().env("LD_PRELOAD", "/tmp/x.so"),
            "variable LD_PRELOAD: it changes which code is loaded, and that was sealed",
        );
        told(Variation::new().env("A=B", "C"), "variable A=B: a name is not empty and has no equals sign");
        told(Variation::new().arg("a").arg("b\0c"), "argument 2: it has a NUL byte");
        told(Variation::new().env("A", "b\0c"), "variable A: it has a NUL byte");
        told(
            Variation::new().current_dir_fd(null()),
            "working directory a directory given open: not a directory",
        );
        assert_eq!(refused(&sealed, Variation::new().arg("x".repeat(200_000))).errno(), Some(libc::E2BIG));
    });
}

#[test]
fn what_cannot_be_narrowed_says_so() {
    let error = Variation::new().narrow(&[Grant::Ambient]).expect_err("it narrows nothing").to_string();
    assert_eq!(error, "narrower grants: ambient authority narrows nothing");
    let error = Variation::new().narrow(&[Grant::Read("/no/such".into())]).expect_err("not there");
    assert_eq!(error.to_string(), "grant --read /no/such: no such file or directory");
    let mut command = Command::new("/bin/true");
    command.grant(Grant::Ambient);
    let sealed = sealed(command);
    let mut variation = Variation::new();
    variation.narrow(&[Grant::Base]).expect("it can be opened");
    let error = refused(&sealed, &mut variation).to_string();
    let words = "a program with ambient authority is held to no grants, and so not to fewer";
    assert_eq!(error, format!("narrower grants: {words}"));
}

#[test]
fn what_is_wrong_with_the_command_is_told_when_it_is_sealed() {
    in_own_process("refused::what_is_wrong_with_the_command_is_told_when_it_is_sealed", || {
        let clean = descriptors();
        let error = Command::new("no-such-program").seal().expect_err("it is not there");
        assert_eq!((error.part(), error.fault()), ("program no-such-program", Fault::NotFound));
        let mut command = probe(&[]);
        command.grant(Grant::Read("/no/such".into()));
        assert_eq!(command.seal().expect_err("not there").part(), "grant --read /no/such");
        let mut command = probe(&[]);
        command.slot("a", null()).slot("a", null());
        assert_eq!(command.seal().expect_err("twice").part(), "slot a");
        assert_eq!(descriptors(), clean);
    });
}
