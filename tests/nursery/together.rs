//! Births that are all or nothing.

use beget::{Batch, Nursery};
use beget_tests::{Scratch, descriptors, in_own_process};

use crate::{behind, children, end, pipe, probe, rest};

#[test]
fn all_good_ones_run() {
    let nursery = Nursery::shared().expect("a nursery");
    let scratch = Scratch::new();
    let mut commands: Vec<_> =
        (0..100).map(|index| probe(&["touch", &scratch.at(&index.to_string())])).collect();
    let mut batch = Batch::together();
    for command in &mut commands {
        batch.add(command, 1).expect("prepare");
    }
    for process in batch.spawn(&nursery).expect("births") {
        let process = process.expect("born");
        assert!(end(&process).success());
        assert_eq!(process.try_stopped().expect("it can be asked"), None, "the stop was ours, not its");
    }
    assert_eq!(std::fs::read_dir(scratch.path()).expect("ours").count(), 100);
}

/// Wherever the bad one is, and however it fails: nothing of the others was done, and nothing is left.
#[test]
fn one_bad_one_and_none_has_run() {
    in_own_process("together::one_bad_one_and_none_has_run", || {
        let nursery = Nursery::new().expect("a nursery");
        let parent = behind(&nursery);
        let scratch = Scratch::new();
        let text = scratch.executable("text", "no program\n");
        let before = std::fs::read_dir(scratch.path()).expect("ours").count();
        let held = descriptors();
        for (place, way) in
            [(0, "group"), (7, "group"), (29, "group"), (0, "text"), (29, "text"), (13, "text")]
        {
            let (reader, writer) = pipe();
            let mut commands: Vec<_> = (0..30)
                .map(|index| {
                    let mut command = probe(&["touch", &scratch.at(&index.to_string())]);
                    command.stdout(writer.try_clone().expect("a descriptor"));
                    command
                })
                .collect();
            drop(writer);
            match way {
                "group" => drop(commands[place].process_group(1).stdout(beget::Stdio::null()).status()),
                _ => {
                    commands[place] = beget::Command::new(&text);
                    commands[place].grant(beget::Grant::Ambient);
                }
            }
            let mut batch = Batch::together();
            for command in &mut commands {
                batch.add(command, 1).expect("prepare");
            }
            let all = batch.spawn(&nursery).expect("an answer for each");
            assert_eq!(all.len(), 30);
            for (index, one) in all.into_iter().enumerate() {
                let error = one.expect_err("none is made");
                if index == place {
                    let parts = ["process group 1", &format!("program {text}")];
                    assert!(parts.contains(&error.part()), "{way} {place}: {error}");
                } else {
                    assert_eq!(error.errno(), Some(libc::ECANCELED), "{way} {place}, {index}: {error}");
                }
            }
            drop(commands);
            assert_eq!(rest(reader), b"", "nobody is there");
            assert_eq!(children(parent), [], "not even a zombie");
            assert_eq!(
                std::fs::read_dir(scratch.path()).expect("ours").count(),
                before,
                "{way}: something has run"
            );
            assert_eq!(descriptors(), held);
        }
        assert!(probe(&["exit", "0"]).nursery(&nursery).status().expect("spawn").success(), "it goes on");
    });
}
