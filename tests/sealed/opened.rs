//! What was sealed is what was there then, whatever its names come to mean.

use beget::{Command, Grant, Loader, Variation};
use beget_tests::{Scratch, program};

use super::*;

#[test]
fn a_program_that_is_replaced_is_still_the_one_that_was_sealed() {
    for loader in [Loader::Kernel, Loader::Direct] {
        let scratch = Scratch::new();
        let path = scratch.at("program");
        std::fs::copy(program("probe"), &path).expect("a copy");
        let mut command = Command::new(&path);
        command.args(["say", "sealed"]).grant(Grant::Base).loader(loader);
        let sealed = sealed(command);
        std::fs::rename(&path, scratch.at("moved")).expect("our own");
        scratch.script("program", "#!/bin/sh\necho another\n");
        assert_eq!(spawned(&sealed, &mut Variation::new()), fine("sealed\n"));
        std::fs::remove_file(scratch.at("moved")).expect("our own");
        assert_eq!(spawned(&sealed, &mut Variation::new()), fine("sealed\n"));
    }
}

#[test]
fn an_interpreter_that_is_replaced_is_still_the_one_that_was_sealed() {
    let scratch = Scratch::new();
    let shell = scratch.at("shell");
    std::fs::copy("/bin/sh", &shell).expect("a copy");
    let script = scratch.script("script", format!("#!{shell}\necho script\n"));
    let mut command = Command::new(&script);
    command.grant(Grant::Base);
    let sealed = sealed(command);
    std::fs::remove_file(&shell).expect("our own");
    std::fs::copy(program("probe"), &shell).expect("a copy");
    assert_eq!(spawned(&sealed, &mut Variation::new()), fine("script\n"));
}

#[test]
fn a_granted_folder_that_is_swapped_is_still_the_one_that_was_sealed() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.at("folder")).expect("our own");
    scratch.file("folder/file", "sealed");
    let (path, moved) = (scratch.at("folder/file"), scratch.at("moved/file"));
    let mut command = probe(&["try", "read", &path, "read", &moved, "stat", "."]);
    command.grant(Grant::Read(scratch.at("folder").into())).current_dir(scratch.at("folder"));
    let sealed = sealed(command);
    let said = fine(&format!("read {path} ok\nread {moved} ENOENT\nstat . ok\n"));
    assert_eq!(spawned(&sealed, &mut Variation::new()), said);
    std::fs::rename(scratch.at("folder"), scratch.at("moved")).expect("our own");
    std::fs::create_dir(scratch.at("folder")).expect("our own");
    scratch.file("folder/file", "another");
    let said = fine(&format!("read {path} EACCES\nread {moved} ok\nstat . ok\n"));
    // With the ruleset that is there, and with one that is built from what is open.
    assert_eq!(spawned(&sealed, &mut Variation::new()), said);
    let given = std::fs::File::open("/dev").expect("it is there");
    assert_eq!(spawned(&sealed, Variation::new().fd(5, given)), said);
}
