//! Both ends, in one process: what each does with what it must not get.

use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use proptest::prelude::*;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use crate::inside::number;
use crate::{Error, Holder, LONGEST_NAME, MOST_SKIPPED, Packet, check_name, receive, send};

const NOW: Duration = Duration::ZERO;

/// One packet as nobody should send it.
fn raw(socket: impl AsFd, bytes: &[u8], files: usize) {
    let (reading, _writing) = std::io::pipe().expect("a pipe");
    let all = vec![reading.as_fd(); files];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(8))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if files > 0 {
        assert!(control.push(SendAncillaryMessage::ScmRights(&all)));
    }
    sendmsg(socket, &[std::io::IoSlice::new(bytes)], &mut control, SendFlags::DONTWAIT).expect("it has room");
}

#[test]
fn a_capability_arrives_with_its_name() {
    let (holder, theirs) = Holder::pair().expect("a pair");
    let (mut reading, writing) = std::io::pipe().expect("a pipe");
    holder.send("log é", &writing).expect("sent");
    drop(writing);
    let Ok(Some(Packet::Capability(name, file))) = receive(&theirs, false) else { panic!("it came") };
    assert_eq!(name, "log é");
    std::fs::File::from(file).write_all(b"through").expect("a pipe of ours");
    let mut text = String::new();
    // To its end: no copy of the descriptor is left anywhere.
    reading.read_to_string(&mut text).expect("a pipe of ours");
    assert_eq!(text, "through");
}

#[test]
fn what_is_no_question_is_skipped_and_closed() {
    let (holder, theirs) = Holder::pair().expect("a pair");
    raw(&theirs, b"with a descriptor", 1);
    raw(&theirs, b"with many", 8);
    raw(&theirs, b"", 0);
    raw(&theirs, b"", 1);
    raw(&theirs, b"\xff\xfe", 0);
    raw(&theirs, b"two\nlines", 0);
    raw(&theirs, b"nul\0", 0);
    raw(&theirs, &[b'x'; LONGEST_NAME + 1], 0);
    raw(&theirs, &[b'x'; LONGEST_NAME], 0);
    assert_eq!(holder.asked(NOW), Ok(Some("x".repeat(LONGEST_NAME))));
    assert_eq!(holder.asked(NOW), Ok(None));
    drop(theirs);
    assert_eq!(holder.asked(NOW), Err(Error::Closed));
}

#[test]
fn a_flood_of_garbage_holds_nobody_up() {
    let (holder, theirs) = Holder::pair().expect("a pair");
    let flood = std::thread::spawn(move || {
        for _ in 0..2 * MOST_SKIPPED {
            rustix::net::send(&theirs, b"\n", SendFlags::NOSIGNAL).expect("somebody reads");
        }
        send(&theirs, "after it", None, true).expect("somebody reads");
        theirs
    });
    let name = std::iter::repeat_with(|| holder.asked(Duration::from_secs(60)).expect("it is open"));
    assert_eq!(name.flatten().next().as_deref(), Some("after it"));
    drop(flood.join().expect("it did not fail"));
}

#[test]
fn a_holder_does_not_wait_for_who_does_not_read() {
    let (holder, theirs) = Holder::pair().expect("a pair");
    let (reading, _writing) = std::io::pipe().expect("a pipe");
    let mut sent = 0;
    let refused = loop {
        match holder.send(&sent.to_string(), &reading) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(refused, Error::Full);
    // Nothing of it is lost, nor anything of what was refused there.
    for expected in 0..sent {
        let Ok(Some(Packet::Capability(name, _))) = receive(&theirs, false) else { panic!("{expected}") };
        assert_eq!(name, expected.to_string());
    }
    assert!(matches!(receive(&theirs, false), Ok(None)));
    drop(theirs);
    assert_eq!(holder.send("late", &reading), Err(Error::Closed));
}

#[test]
fn names_are_words_of_one_line() {
    assert!(check_name("a").is_ok() && check_name("with a colon: and blanks").is_ok());
    for wrong in ["", "\0", "a\n", "\u{1b}[2J", &"x".repeat(LONGEST_NAME + 1)] {
        assert!(matches!(check_name(wrong), Err(Error::Name(_))), "{wrong:?}");
    }
    let (holder, _theirs) = Holder::pair().expect("a pair");
    let file = OwnedFd::from(std::io::pipe().expect("a pipe").0);
    assert!(matches!(holder.send("a\n", &file), Err(Error::Name(_))));
}

#[test]
fn the_slot_is_found_by_the_convention() {
    assert_eq!(number("7", "1", "beget", 7), Some(3));
    assert_eq!(number("7", "3", "a:unknown:beget", 7), Some(5));
    // Not ours, not among those that are there, not named, not numbers.
    for (owner, count, names) in [
        ("8", "1", "beget"),
        ("7", "1", "a:beget"),
        ("7", "2", "a:b"),
        ("x", "1", "beget"),
        ("7", "-1", "beget"),
    ] {
        assert_eq!(number(owner, count, names, 7), None, "{owner} {count} {names}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is sent, both sides take what is theirs, in order, and nothing else.
    #[test]
    fn foreign_packets_are_taken_or_skipped(
        packets in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..300), 0usize..4), 0..8),
        words in prop::collection::vec("[a-z ]{1,20}", 0..2),
    ) {
        let (holder, theirs) = Holder::pair().expect("a pair");
        let mut expected = Vec::new();
        for (bytes, files) in &packets {
            raw(&theirs, bytes, *files);
            let name = std::str::from_utf8(bytes).ok().filter(|name| check_name(name).is_ok());
            expected.extend(name.filter(|_| *files == 0).map(str::to_owned));
        }
        for word in &words {
            raw(&theirs, word.as_bytes(), 0);
            expected.push(word.clone());
        }
        let asked: Vec<String> = std::iter::from_fn(|| holder.asked(NOW).expect("it is open")).collect();
        prop_assert_eq!(asked, expected);
        for (bytes, files) in &packets {
            raw(&holder, bytes, *files);
            let name = std::str::from_utf8(bytes).ok().filter(|name| check_name(name).is_ok());
            let came = receive(&theirs, false).expect("it is open").expect("it is there");
            let right = match (name, files) {
                (Some(name), 1) => matches!(&came, Packet::Capability(came, _) if came == name),
                (Some(name), 0) => matches!(&came, Packet::Asked(came) if came == name),
                _ => matches!(&came, Packet::Garbage),
            };
            prop_assert!(right, "{:?} {}: {:?}", bytes, files, came);
        }
    }
}
