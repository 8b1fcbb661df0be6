//! What a creator can say to its own embryo beside what the library says: the embryo answers with an error or ends, and nothing is left.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};

use beget::{Construct, Nursery, Protection};
use beget_plan::message::{HEADER, Header, LONGEST_BODY, MOST_GIVEN, kind};
use beget_plan::op::{Span, mapping};
use beget_plan::{Draft, Op};
use beget_sys::message;
use beget_tests::in_own_process;

use crate::after_start::{channel_since, sockets};
use crate::{AT, LONG, PAGE, proc};

fn header(kind: u32, body: usize, descriptors: usize, word: u32) -> Vec<u8> {
    let words = [word, 0, 0, 0];
    Header { kind, length: body as u32, descriptors: descriptors as u32, words }.encode().to_vec()
}

/// A part with its right header, for an embryo whose channel is to lie at `floor`.
fn part(floor: u32, ops: &[Op], data: &[u8]) -> Vec<u8> {
    let mut draft = Draft::new();
    draft.bytes(data);
    for op in ops {
        draft.push(*op);
    }
    let body = draft.encode(0);
    [header(kind::PART, body.len(), 0, floor), body].concat()
}

/// An answer's errno, or `None` when it ended.
fn answer(channel: &OwnedFd) -> Option<u32> {
    let mut watched = libc::pollfd { fd: channel.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure is read and written.
    assert_eq!(unsafe { libc::poll(&mut watched, 1, LONG.as_millis() as i32) }, 1, "it hangs");
    let mut bytes = [0; HEADER];
    let came = message::receive(channel.as_raw_fd(), &mut bytes, &mut [], true);
    if !came.is_ok_and(|came| came.bytes == HEADER) {
        return None;
    }
    let header = Header::decode(&bytes).expect("what it says is sound");
    assert_eq!(header.kind, kind::ANSWER);
    let mut body = vec![0; header.length as usize];
    if !body.is_empty() {
        std::io::Read::read_exact(&mut File::from(channel.try_clone().expect("a descriptor")), &mut body)
            .expect("all");
    }
    Some(header.words[1])
}

fn send(channel: &OwnedFd, mut bytes: &[u8], descriptors: &[i32]) {
    let mut lent = descriptors;
    while !bytes.is_empty() {
        match message::send(channel.as_raw_fd(), bytes, lent, true) {
            Ok(sent) => (bytes, lent) = (&bytes[sent..], &[]),
            // It closed its end before it had read everything.
            Err(_) => return,
        }
    }
}

/// Says something to a new embryo; gives what it answers with.
fn says(nursery: &Nursery, say: &dyn Fn(&OwnedFd)) -> Option<u32> {
    let before = sockets();
    let mut embryo = nursery.embryo().expect("an embryo");
    let channel = channel_since(&before);
    // The library has taken its greeting.
    embryo.umask(0o22).expect("umask");
    say(&channel);
    let errno = answer(&channel);
    if errno.is_some() {
        // Whatever it was, it can go on.
        embryo.map(AT, PAGE, Protection::READ).expect("it goes on");
    } else {
        let error = embryo.umask(0).expect_err("it has ended");
        assert_eq!(error.to_string(), "embryo: it has ended");
    }
    errno
}

#[test]
fn senseless_messages_end_it_or_are_answered() {
    in_own_process("hostile::senseless_messages_end_it_or_are_answered", || {
        let nursery = Nursery::new().expect("a nursery");
        let einval = Some(libc::EINVAL as u32);
        let plain = |bytes: Vec<u8>| says(&nursery, &move |channel| send(channel, &bytes, &[]));
        assert_eq!(plain(vec![0xff; HEADER]), None, "no header");
        assert_eq!(plain(header(kind::BATCH, 0, 0, 0)), None, "no message for an embryo");
        assert_eq!(plain(header(kind::PART, 0, 0, 0)), einval, "no plan");
        assert_eq!(plain(header(kind::PART, LONGEST_BODY + 1, 0, 0)), None, "longer than anything");
        assert_eq!(plain([header(kind::PART, 64, 0, 3), vec![0xaa; 64]].concat()), einval, "no plan");
        let ops = [Op::Umask { mode: 0o77 }];
        let whole = part(3, &ops, b"");
        assert_eq!(plain(whole.clone()), Some(0));
        for at in (HEADER..whole.len() - 3).step_by(4) {
            let mut lying = whole.clone();
            lying[at..at + 4].copy_from_slice(&[0xff, 0xff, 0xff, 0x7f]);
            let answered = plain(lying);
            assert!(answered.is_some(), "word {at} lies");
        }
        // Descriptors that are said to come and do not, and that come unsaid.
        assert_eq!(plain([header(kind::PART, 0, 3, 3)].concat()), Some(libc::EMFILE as u32));
        let null = File::open("/dev/null").expect("/dev/null");
        let unsaid = says(&nursery, &|channel| send(channel, &whole, &[null.as_raw_fd(); 5]));
        assert_eq!(unsaid, Some(libc::EMFILE as u32));
        assert_eq!(plain(header(kind::PART, 0, MOST_GIVEN + 1, 3)), None, "more than anybody gives");
    });
}

#[test]
fn operations_on_the_stubs_own_are_refused() {
    in_own_process("hostile::operations_on_the_stubs_own_are_refused", || {
        let nursery = Nursery::new().expect("a nursery");
        let one = |floor: u32, op: Op| {
            says(&nursery, &move |channel| send(channel, &part(floor, &[op], b"text"), &[]))
        };
        let bad = Some(libc::EBADF as u32);
        // Its channel lies at 4 then, which no operation can place, close or take the place of.
        assert_eq!(one(4, Op::Close { first: 0, last: u32::MAX }), Some(0));
        assert_eq!(one(4, Op::Close { first: 4, last: 4 }), Some(0));
        assert_eq!(
            one(4, Op::Place { source: 0, slot: 4, closing: 0 }),
            Some(libc::EINVAL as u32),
            "none was lent"
        );
        // Numbers that its channel cannot have.
        assert_eq!(one(1 << 20, Op::Umask { mode: 0 }), bad);
        assert_eq!(one(i32::MAX as u32, Op::Umask { mode: 0 }), bad);
        assert_eq!(one(u32::MAX, Op::Umask { mode: 0 }), Some(libc::EINVAL as u32));
        let stop =
            Op::Map { at: AT, length: u64::MAX, page: u32::MAX, how: 7 | mapping::REPLACE, source: u32::MAX };
        assert_eq!(one(4, stop), Some(libc::ENOMEM as u32));
        let outside = Op::Populate { ranges: Span { at: 2, count: 1 << 28 }, how: mapping::WRITE };
        assert_eq!(one(4, outside), Some(libc::EINVAL as u32));
        let odd = Op::Populate { ranges: Span { at: 0, count: 0 }, how: 3 };
        assert_eq!(one(4, odd), Some(libc::EINVAL as u32));
        let outside = Op::Write { at: AT, bytes: Span { at: 2, count: u32::MAX } };
        assert_eq!(one(4, outside), Some(libc::EINVAL as u32));
        let long = Op::Read { at: AT, length: u32::MAX };
        assert_eq!(one(4, long), Some(libc::EINVAL as u32));
    });
}

/// A message that breaks off is an end when the other side closes, whoever does.
#[test]
fn half_a_message_ends_with_its_sender() {
    in_own_process("hostile::half_a_message_ends_with_its_sender", || {
        let nursery = Nursery::new().expect("a nursery");
        drop(nursery.embryo().expect("it is there"));
        let guard = nursery.id();
        let parent: u32 = proc(guard, &format!("task/{guard}/children")).trim().parse().expect("one");
        let whole = part(3, &[Op::Umask { mode: 0o77 }], b"");
        for length in [1, 4, HEADER - 1, HEADER, HEADER + 1, whole.len() - 1] {
            let before = sockets();
            let mut embryo = nursery.embryo().expect("an embryo");
            let channel = channel_since(&before);
            embryo.umask(0o22).expect("umask");
            File::from(channel).write_all(&whole[..length]).expect("it is taken");
            // Killed by its number, and reaped.
            drop(embryo);
            assert_eq!(proc(parent, &format!("task/{parent}/children")), "", "{length} bytes");
        }
    });
}

/// Thousands of descriptors, more than it has numbers for: told as that, and none of them stays.
#[test]
fn descriptors_without_end_are_refused() {
    in_own_process("hostile::descriptors_without_end_are_refused", || {
        let nursery = Nursery::new().expect("a nursery");
        let before = sockets();
        let mut embryo = nursery.embryo().expect("an embryo");
        let channel = channel_since(&before);
        embryo.umask(0o22).expect("umask");
        let held = crate::slots(embryo.id());
        let null = File::open("/dev/null").expect("/dev/null");
        let all = vec![null.as_raw_fd(); MOST_GIVEN];
        for _ in 0..3 {
            let (first, more) = all.split_at(message::MOST_DESCRIPTORS);
            send(&channel, &header(kind::PART, 0, MOST_GIVEN, 0), first);
            for lot in more.chunks(message::MOST_DESCRIPTORS) {
                send(&channel, &[0; 4], lot);
            }
            assert_eq!(answer(&channel), Some(libc::EMFILE as u32));
            assert_eq!(crate::slots(embryo.id()), held);
        }
        embryo.umask(0o27).expect("it goes on");
    });
}
