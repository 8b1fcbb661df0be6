//! Many births in one message, each for itself.

use std::os::fd::AsFd;
use std::process::Stdio;

use beget::{Batch, Fault, Nursery};
use beget_tests::{Scratch, descriptors, in_own_process, tracer};

use crate::{behind, bytes, children, end, pipe, probe, rest};

#[test]
fn a_thousand_births_are_independent() {
    in_own_process("batches::a_thousand_births_are_independent", || {
        let nursery = Nursery::new().expect("a nursery");
        let parent = behind(&nursery);
        let (reader, writer) = pipe();
        let (before, mut command) = (descriptors(), probe(&["say", "x"]));
        command.stdout(writer);
        let mut batch = Batch::new();
        batch.add(&mut command, 1000).expect("prepare");
        assert_eq!((batch.len(), batch.is_empty()), (1000, false));
        let all = batch.spawn(&nursery).expect("births");
        assert_eq!(all.len(), 1000);
        let mut numbers = std::collections::BTreeSet::new();
        drop(command);
        let said = std::thread::spawn(move || rest(reader));
        for process in all {
            let process = process.expect("born");
            let ended = end(&process);
            assert!(ended.success() && ended.usage.is_some(), "{ended:?}");
            numbers.insert(process.id());
        }
        assert_eq!(numbers.len(), 1000, "no two are one");
        assert_eq!(said.join().expect("no panic"), b"x\n".repeat(1000));
        assert_eq!(children(parent), []);
        assert_eq!(
            descriptors().len(),
            before.len() - 2,
            "the pipe's ends are gone, and nothing else is left"
        );
    });
}

/// One that cannot be made is told at its place, in its words, and the others run.
#[test]
fn a_bad_one_among_them_is_told_at_its_place() {
    let nursery = Nursery::shared().expect("a nursery");
    let scratch = Scratch::new();
    let text = scratch.executable("text", "no program\n");
    let (mut first, mut bad, mut middle, mut worse, mut last) = (
        probe(&["exit", "1"]),
        probe(&["exit", "2"]),
        probe(&["exit", "3"]),
        beget::Command::new(&text),
        probe(&["exit", "5"]),
    );
    bad.process_group(1);
    worse.grant(beget::Grant::Ambient);
    let mut batch = Batch::new();
    for (command, count) in
        [(&mut first, 70), (&mut bad, 1), (&mut middle, 60), (&mut worse, 2), (&mut last, 3)]
    {
        batch.add(command, count).expect("prepare");
    }
    let all = batch.spawn(&nursery).expect("births");
    let told: Vec<String> = all
        .iter()
        .map(|one| match one {
            Ok(process) => end(process).exit_code().to_string(),
            Err(error) => error.to_string(),
        })
        .collect();
    let mut expected = vec!["1".to_owned(); 70];
    expected.push("process group 1: operation not permitted".to_owned());
    expected.extend(vec!["3".to_owned(); 60]);
    expected.extend(vec![format!("program {text}: executable format error"); 2]);
    expected.extend(vec!["5".to_owned(); 3]);
    let same = |(index, (told, expected)): (usize, (&String, &String))| {
        assert!(
            told == expected
                || told.starts_with(&format!("program {text}: ")) && expected.starts_with("program"),
            "{index}: {told}"
        );
    };
    told.iter().zip(&expected).enumerate().for_each(same);
    assert_eq!(told.len(), expected.len());
}

#[test]
fn each_has_streams_of_its_own() {
    let mut command = probe(&["cat"]);
    command.stdin(beget::Stdio::piped()).stdout(beget::Stdio::piped());
    let mut batch = Batch::new();
    batch.add(&mut command, 40).expect("prepare");
    let all = batch.spawn(&Nursery::shared().expect("a nursery")).expect("births");
    for (index, process) in all.into_iter().enumerate() {
        let mut process = process.expect("born");
        let mut input = process.stdin.take().expect("piped");
        std::io::Write::write_all(&mut input, index.to_string().as_bytes()).expect("it reads");
        drop(input);
        assert_eq!(rest(process.stdout.take().expect("piped")), index.to_string().as_bytes());
        assert!(end(&process).success());
    }
}

/// Descriptors that are a child's own go with it, in as many messages as it takes.
#[test]
fn more_descriptors_than_a_message_carries() {
    let mut command = probe(&["exit", "4"]);
    command.stdin(beget::Stdio::piped());
    for slot in 10..60 {
        command.fd(slot, std::fs::File::open("/dev/null").expect("/dev/null"));
    }
    let mut batch = Batch::new();
    batch.add(&mut command, 120).expect("prepare");
    let all = batch.spawn(&Nursery::shared().expect("a nursery")).expect("births");
    assert!(all.into_iter().all(|process| end(&process.expect("born")).exit_code() == 4));
}

#[test]
fn what_cannot_be_in_one_is_told() {
    let (mut user, mut loaded, mut stopped, mut tree) = (probe(&[]), probe(&[]), probe(&[]), probe(&[]));
    user.uid(1);
    loaded.loader(beget::Loader::Direct);
    stopped.suspended(true);
    tree.own_tree(true);
    for command in [&mut user, &mut loaded, &mut stopped, &mut tree] {
        assert_eq!(Batch::new().add(command, 1).expect_err("it cannot").fault(), Fault::Caller);
    }
    let nursery = Nursery::shared().expect("a nursery");
    assert_eq!(Batch::new().spawn(&nursery).expect("nothing").len(), 0);
    assert_eq!(Batch::together().spawn(&nursery).expect("nothing").len(), 0);
}

/// A creator that makes batches for ever, until it is killed.
pub(crate) fn drive() {
    let nursery = Nursery::new().expect("a nursery");
    let (mut quick, mut slow) = (probe(&["exit", "0"]), probe(&["family"]));
    let error = std::io::stderr();
    for command in [&mut quick, &mut slow] {
        command.stdout(error.as_fd().try_clone_to_owned().expect("a descriptor"));
    }
    // A child keeps what it has to itself: nobody waits for anything here.
    println!();
    loop {
        for together in [false, true] {
            let mut batch = if together { Batch::together() } else { Batch::new() };
            batch.add(&mut quick, 30).and_then(|()| batch.add(&mut slow, 2)).expect("prepare");
            for process in batch.spawn(&nursery).expect("births") {
                let _ = process.expect("born").kill();
            }
        }
    }
}

#[test]
fn its_sender_killed_in_the_middle_leaves_nothing() {
    let mut random = crate::storm::Random::new();
    for _ in 0..60 {
        let (reader, writer) = pipe();
        let mut sender =
            tracer::driver("batches").stdout(Stdio::piped()).stderr(writer).spawn().expect("it starts");
        bytes(&sender.stdout.take().expect("piped"), 1);
        std::thread::sleep(std::time::Duration::from_micros(random.below(60_000)));
        sender.kill().expect("ours");
        sender.wait().expect("ours");
        // What the family wrote may still be there; that it ends is what matters.
        assert!(rest(reader).iter().all(|byte| *byte == b'x'), "nobody holds it, and nobody complained");
    }
}

/// Statuses that nobody takes stay with the kernel; when they are asked for, all are there.
#[test]
fn a_creator_that_does_not_read_loses_nothing() {
    in_own_process("batches::a_creator_that_does_not_read_loses_nothing", || {
        let nursery = Nursery::new().expect("a nursery");
        let parent = behind(&nursery);
        let (input, hold) = pipe();
        let mut command = probe(&["cat"]);
        command.stdin(input);
        let mut batch = Batch::new();
        batch.add(&mut command, 1500).expect("prepare");
        let all: Vec<_> =
            batch.spawn(&nursery).expect("births").into_iter().map(|one| one.expect("born")).collect();
        drop(command);
        // All end at once.
        drop(hold);
        for process in &all {
            assert!(crate::wait_for(&std::os::fd::AsRawFd::as_raw_fd(&process.as_fd())));
        }
        // More than the socket holds: the rest are zombies of the nursery.
        assert!(!children(parent).is_empty(), "the socket took all");
        for process in all.iter().rev() {
            let ended = end(process);
            assert!(ended.success() && ended.usage.is_some(), "{ended:?}");
        }
        assert_eq!(children(parent), []);
        // And it goes on.
        assert!(probe(&["exit", "0"]).nursery(&nursery).status().expect("spawn").success());
    });
}
