//! Children that do not read, send garbage, close their end or end: their holder is told, waits for nothing, and keeps nothing.

use beget::{Command, Stdio};
use beget_tests::{descriptors, in_own_process, program};

use crate::{LONG, client, end, holding, lines};

#[test]
fn one_that_never_reads_is_told_of_and_nothing_is_lost() {
    // It reads when standard input tells it to: the client is executed only then.
    let mut process = Command::new("sh");
    let client = program("channel-client");
    process.args(["-c", "read line; exec \"$0\" plain"]).arg(&client);
    process.grants([beget::Grant::Base, beget::Grant::Execute(client)]).channel(true);
    let mut process = process.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("spawn");
    let mut sent = 0;
    let error = loop {
        match process.send(&format!("number {sent}"), holding("what it holds")) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 100_000, "the kernel keeps no more");
    };
    assert!(sent > 0);
    assert_eq!(error.errno(), Some(libc::EAGAIN), "{error}");
    assert_eq!(error.to_string(), "channel: the other side does not read: as much waits there as can");
    drop(process.stdin.take());
    assert_eq!(lines(&mut process)(), "number 0: what it holds");
    assert!(end(&process).status.success());
}

#[test]
fn garbage_is_skipped_and_its_descriptors_are_closed() {
    in_own_process("hostile::garbage_is_skipped_and_its_descriptors_are_closed", || {
        let mut process = client(&["garbage"]).spawn().expect("spawn");
        let before = descriptors();
        // A flood is given up for a while, so more than one look may be needed.
        let name = (0..1000).find_map(|_| process.asked(LONG).expect("it is open"));
        assert_eq!(name.as_deref(), Some("done"));
        assert_eq!(descriptors(), before);
        assert!(process.wait().expect("ours").status.success());
        let error = process.asked(LONG).expect_err("it has ended");
        assert_eq!(error.errno(), Some(libc::EPIPE), "{error}");
    });
}

#[test]
fn a_closed_end_is_told_at_once() {
    let mut process = client(&["shut"]).spawn().expect("spawn");
    assert_eq!(lines(&mut process)(), "shut");
    for error in [process.send("A", holding("")), process.asked(LONG).map(drop)] {
        let error = error.expect_err("it has closed it");
        assert_eq!(error.to_string(), "channel: the other side has closed it");
    }
    assert!(process.wait().expect("ours").status.success());
}

#[test]
fn names_that_are_none_are_refused() {
    let mut process = client(&["ask"]).spawn().expect("spawn");
    for name in ["", "two\nlines", "nul\0", &"x".repeat(256)] {
        let error = process.send(name, holding("")).expect_err("it is none");
        assert_eq!(error.part(), "channel", "{error}");
    }
    let (questions, mut line) = (process.asked(std::time::Duration::ZERO), lines(&mut process));
    assert_eq!(questions.expect("it is open"), None);
    // A handle that is dropped leaves the child running, which is told that nothing more comes.
    drop(process);
    assert_eq!(line(), "end");
}

#[test]
fn its_end_leads_to_nobody_else() {
    let scratch = beget_tests::Scratch::new();
    let path = scratch.at("socket");
    // Anybody may connect to it, by its name.
    let other = std::os::unix::net::UnixListener::bind(&path).expect("a socket");
    other.set_nonblocking(true).expect("ours");
    let mut process = client(&["reach", &path]).spawn().expect("spawn");
    let answers = lines(&mut process)();
    let sent = answers.trim_end_matches(']').rsplit(' ').next().map(str::to_owned);
    assert!(answers.starts_with("[-1, -1, -1, "), "{answers}");
    let arrived = process.asked(std::time::Duration::ZERO).unwrap_or_default();
    assert_eq!((arrived.as_deref() == Some("past")), sent.as_deref() == Some("4"), "{answers}");
    assert!(end(&process).status.success());
    assert!(other.accept().is_err());
}
