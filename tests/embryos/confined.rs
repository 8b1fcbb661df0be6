//! An embryo confined by its holder: its program holds what was granted and nothing else.

use std::os::fd::AsFd;

use beget::{Construct, Embryo, Grant, Program, Promise};
use beget_tests::{Need, Scratch, skip, text};

use crate::{AT, embryo, end, pipe, rest, status};

/// Loads `cat` and starts it, confined to `grants`; gives what it wrote, and whether it ended well.
fn cat(mut embryo: Embryo, grants: &[Grant], file: &str) -> (String, bool) {
    let (reader, writer) = pipe();
    for slot in [1, 2] {
        embryo.grant(slot, writer.as_fd()).expect("grant");
    }
    embryo.load(&Program::open("/bin/cat").expect("an executable"), &["cat", file]).expect("load");
    let enforced = embryo.confine(grants).expect("this kernel can");
    assert!(enforced.iter().any(|line| line.promise == Promise::Files && line.by.is_some()));
    drop(writer);
    let process = embryo.start().expect("start");
    (text(&rest(reader)), end(&process).success())
}

#[test]
fn it_reads_what_was_granted_and_nothing_else() {
    if beget::Support::detect().landlock.is_none() {
        return skip("it_reads_what_was_granted", Need::Machine("Landlock"));
    }
    let scratch = Scratch::new();
    let (given, kept) = (scratch.file("given", "given\n"), scratch.file("kept", "kept\n"));
    let grants = [Grant::Base, Grant::Read(given.clone().into())];
    assert_eq!(cat(embryo(), &grants, &given), ("given\n".into(), true));
    let (said, well) = cat(embryo(), &grants, &kept);
    assert!(!well && said.contains("Permission denied"), "{said}");
}

/// Its rights are gone for ever; it can still be built.
#[test]
fn a_confined_one_can_be_built_on() {
    if beget::Support::detect().landlock.is_none() {
        return skip("a_confined_one_can_be_built_on", Need::Machine("Landlock"));
    }
    let mut embryo = embryo();
    embryo.confine(&[]).expect("this kernel can");
    let number = embryo.id();
    assert_eq!((&*status(number, "Seccomp"), &*status(number, "NoNewPrivs")), ("2", "1"));
    assert_eq!(status(number, "CapEff"), "0000000000000000");
    embryo.map(AT, 4096, beget::Protection::WRITE).expect("map");
    embryo.write(AT, b"written").expect("write");
    assert_eq!(embryo.read(AT, 7).expect("read"), b"written");
    let scratch = Scratch::new();
    let error = embryo.confine(&[Grant::Read(scratch.at("nothing").into())]).expect_err("it is not there");
    assert!(error.to_string().starts_with("grant --read "), "{error}");
}
