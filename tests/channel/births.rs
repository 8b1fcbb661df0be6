//! Children with a channel, however they are born.

use std::os::fd::OwnedFd;

use beget::{Batch, Command, Fault, Grant, Loader, Nursery, Process, Root, Stdio};
use beget_tests::{Need, Scratch, program, skip};

use crate::{LONG, answer, client, end, holding, lines};

/// What it is sent while it runs, it can use; a file that it could not have opened.
fn receives(mut process: Process) {
    let mut line = lines(&mut process);
    assert_eq!(answer(&process, 1), ["log"]);
    assert_eq!(line(), "log: loglog");
    drop(process.take_channel());
    assert_eq!(line(), "end");
    assert!(end(&process).status.success());
}

#[test]
fn in_every_way() {
    let mut command = client(&["ask", "log"]);
    receives(command.spawn().expect("spawn"));
    // What was prepared is used again, with another channel.
    receives(command.spawn().expect("spawn"));
    receives(command.own_tree(true).spawn().expect("in a nursery"));
    receives(client(&["ask", "log"]).loader(Loader::Direct).spawn().expect("without an exec"));
}

#[test]
fn in_a_private_root_where_no_directory_comes() {
    let mut command = client(&["ask", "log"]);
    match command.root(Root::new()).spawn() {
        Ok(process) => {
            let folder = std::fs::File::open("/").expect("it can be read");
            let error = process.send("folder", &folder).expect_err("it leads out");
            assert_eq!(error.fault(), Fault::Caller, "{error}");
            receives(process);
        }
        Err(error) if error.fault() == Fault::Unkept => {
            skip("births::in_a_private_root_where_no_directory_comes", Need::Machine("user namespaces"));
        }
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn each_of_a_batch_has_one_of_its_own() {
    let mut command = client(&["ask", "log"]);
    for mut batch in [Batch::new(), Batch::together()] {
        batch.add(&mut command, 3).expect("it can be");
        let all = batch.spawn(&Nursery::shared().expect("a nursery")).expect("born");
        all.into_iter().for_each(|process| receives(process.expect("born")));
    }
}

#[test]
fn one_process_is_sent_to_another_by_the_capability_that_its_birth_gave() {
    let mut c = client(&["watch"]).spawn().expect("spawn");
    let mut line = lines(&mut c);
    let mut a =
        Command::new(program("probe")).args(["await", "0"]).stdin(Stdio::piped()).spawn().expect("spawn");
    c.send("A", &a).expect("C reads");
    assert_eq!(line(), "watching");
    assert!(a.try_wait().expect("ours").is_none());
    drop(a.stdin.take());
    assert_eq!(line(), "A has ended");
    assert!(end(&a).status.success() && end(&c).status.success());
}

#[test]
fn a_file_that_it_could_not_open_can_be_read_when_it_is_sent() {
    let scratch = Scratch::new();
    let path = scratch.file("file", "before");
    let client = program("channel-client");
    let mut command = Command::new("sh");
    // The shell executes the client in its own process, whose slots they are still.
    command.args(["-c", "cat \"$0\" || exec \"$1\" ask file", &path]).arg(&client).channel(true);
    command.grants([Grant::Base, Grant::Execute(client), Grant::Spawn]);
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("spawn");
    assert_eq!(process.asked(LONG).expect("it has a channel").as_deref(), Some("file"));
    process.send("file", std::fs::File::open(&path).expect("ours")).expect("it reads");
    assert_eq!(lines(&mut process)(), "file: before");
}

#[test]
fn its_slot_comes_after_the_others_and_is_declared() {
    let mut command = client(&["ask", "log"]);
    command.slot("first", holding("")).fd(4, holding(""));
    let description = command.describe().expect("it can be");
    let slot = description.slots.iter().find(|slot| slot.name == "beget").expect("it is there");
    assert_eq!((slot.number, slot.terminal, slot.reaches_sockets), (5, false, false));
    assert!(description.channel && description.stays_open().iter().any(|line| line.contains("channel")));
    receives(command.spawn().expect("spawn"));
    assert!(!command.channel(false).describe().expect("it can be").channel);
    // Nobody gets another's.
    let error = command.channel(true).slot("beget", holding("")).spawn().expect_err("the name is taken");
    assert_eq!(error.part(), "slot beget");
}

#[test]
fn without_one_there_is_nothing_to_send_over() {
    let mut command = Command::new(program("probe"));
    let mut process = command.args(["await", "0"]).stdin(Stdio::piped()).spawn().expect("spawn");
    assert!(process.channel().is_none() && process.take_channel().is_none());
    for error in [process.send("A", holding("")), process.asked(LONG).map(drop)] {
        assert_eq!(error.expect_err("there is none").part(), "channel");
    }
    assert!(process.wait().expect("ours").status.success());
}

/// The other end may be given to somebody else, who holds the child then.
#[test]
fn its_holder_can_be_another() {
    let mut process = client(&["ask", "log"]).spawn().expect("spawn");
    let mut line = lines(&mut process);
    let holder = beget_channel::Holder::from(process.take_channel().expect("it has one"));
    assert!(process.send("A", holding("")).is_err());
    assert_eq!(holder.asked(LONG), Ok(Some("log".to_owned())));
    holder.send("log", holding("from another")).expect("it reads");
    assert_eq!(line(), "log: from another");
    let end_of_it: OwnedFd = holder.into();
    drop(end_of_it);
    assert_eq!(line(), "end");
    assert!(end(&process).status.success());
}
