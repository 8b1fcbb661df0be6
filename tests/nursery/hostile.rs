//! What a creator can say to its own nursery beside what the library says: it is answered with an error, or everything ends. Nothing
//! hangs, and nothing is left.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use beget::Nursery;
use beget_plan::message::{BORN_AT_ONCE, Born, HEADER, Header, Item, MOST_GIVEN, MOST_ITEMS, kind};
use beget_plan::{Draft, Op};
use beget_sys::message;
use beget_tests::in_own_process;

use crate::{behind, pidfd, probe, rest, wait_for};

/// A nursery with a child in it that lives as long as it does, and its channel, held once more.
struct Victim {
    nursery: Nursery,
    channel: OwnedFd,
    parent: OwnedFd,
    output: std::io::PipeReader,
}

fn victim() -> Victim {
    let sockets = || -> std::collections::BTreeSet<i32> {
        let entries = std::fs::read_dir("/proc/self/fd").expect("/proc is there").flatten();
        let socket = |entry: &std::fs::DirEntry| {
            std::fs::read_link(entry.path())
                .is_ok_and(|target| target.display().to_string().starts_with("socket:"))
        };
        entries.filter(socket).filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    };
    let before = sockets();
    let nursery = Nursery::new().expect("a nursery");
    let new: Vec<i32> = sockets().difference(&before).copied().collect();
    assert_eq!(new.len(), 1, "it has one channel");
    // SAFETY: a number of ours; the duplicate is new.
    let channel = unsafe { OwnedFd::from_raw_fd(libc::fcntl(new[0], libc::F_DUPFD_CLOEXEC, 3)) };
    let parent = pidfd(behind(&nursery));
    let mut process =
        probe(&["family"]).nursery(&nursery).stdout(beget::Stdio::piped()).spawn().expect("spawn");
    let output = process.stdout.take().expect("piped");
    assert_eq!(crate::bytes(&output, 3), b"xxx");
    Victim { nursery, channel, parent, output }
}

fn header(kind: u32, body: usize, descriptors: usize, items: u32) -> Vec<u8> {
    let words = [items, 0, 0, 0];
    Header { kind, length: body as u32, descriptors: descriptors as u32, words }.encode().to_vec()
}

fn send(channel: &OwnedFd, mut bytes: &[u8], mut lent: &[i32]) {
    while !bytes.is_empty() {
        match message::send(channel.as_raw_fd(), bytes, lent, true) {
            Ok(sent) => (bytes, lent) = (&bytes[sent..], &[]),
            // It closed its end before it had read everything.
            Err(_) => return,
        }
    }
}

/// The errnos of the births that it answers with, as many as were asked for; `None` when it ended.
fn answers(channel: &OwnedFd, mut wanted: usize) -> Option<Vec<u32>> {
    let mut all = Vec::new();
    while wanted > 0 {
        assert!(wait_for(channel), "it hangs");
        let mut bytes = [0; HEADER];
        let came = message::receive(channel.as_raw_fd(), &mut bytes, &mut [], true);
        if !came.is_ok_and(|came| came.bytes == HEADER) {
            return None;
        }
        let header = Header::decode(&bytes).expect("what it says is sound");
        let mut body = vec![0; header.length as usize];
        let mut file = File::from(channel.try_clone().expect("a descriptor"));
        std::io::Read::read_exact(&mut file, &mut body).expect("all of it");
        if header.kind != kind::BORN {
            continue;
        }
        assert!(header.words[0] as usize <= BORN_AT_ONCE);
        for at in (0..body.len()).step_by(Born::SIZE) {
            all.push(Born::decode(&body, at).expect("a whole one").errno);
            wanted -= 1;
        }
    }
    Some(all)
}

/// Everything of it ends when it is dropped, or has ended already.
fn gone(victim: Victim) {
    let Victim { nursery, channel, parent, output } = victim;
    drop((nursery, channel));
    assert!(wait_for(&parent), "the nursery lives");
    assert_eq!(rest(output), b"", "its children live");
    assert_eq!(beget_tests::children().len(), 0);
}

/// A batch of one birth, to be spoiled.
fn batch() -> Vec<u8> {
    let mut draft = Draft::new();
    let (arguments, environment) = (draft.strings([c"x"]), draft.strings([]));
    draft.push(Op::Umask { mode: 0 });
    draft.push(Op::Execute { program: 7, arguments, environment, listening: 0 });
    let plan = draft.encode(0);
    let at = Item::SIZE as u32;
    let length = plan.len() as u32;
    let item = Item { plan: at, length, table: at, ..Item::EMPTY };
    [item.encode().to_vec(), plan].concat()
}

#[test]
fn senseless_messages_end_it() {
    in_own_process("hostile::senseless_messages_end_it", || {
        let ending = [
            vec![0xff; HEADER],
            header(kind::PART, 0, 0, 0),
            header(kind::BORN, 0, 0, 1),
            header(kind::BATCH, usize::MAX >> 33, 0, 1),
            header(kind::BATCH, 0, MOST_GIVEN + 1, 1),
            header(kind::BATCH, 0, 0, MOST_ITEMS as u32 + 1),
            header(kind::BATCH, 0, 0, u32::MAX),
        ];
        for (index, bytes) in ending.into_iter().enumerate() {
            let victim = victim();
            send(&victim.channel, &bytes, &[]);
            assert_eq!(answers(&victim.channel, 1), None, "{index}");
            assert!(wait_for(&victim.parent), "{index}");
            assert!(probe(&[]).nursery(&victim.nursery).spawn().is_err());
            gone(victim);
        }
    });
}

#[test]
fn lying_batches_are_refused_and_it_goes_on() {
    in_own_process("hostile::lying_batches_are_refused_and_it_goes_on", || {
        let victim = victim();
        let whole = batch();
        let tell = |body: &[u8], items: u32| {
            send(&victim.channel, &[header(kind::BATCH, body.len(), 0, items), body.to_vec()].concat(), &[]);
            answers(&victim.channel, items as usize).expect("it goes on")
        };
        assert_eq!(tell(&whole, 1), [libc::EBADF as u32], "there is no such program");
        let einval = libc::EINVAL as u32;
        for at in (0..whole.len() - 3).step_by(4) {
            for lie in [u32::MAX, 1 << 31, whole.len() as u32, whole.len() as u32 - 1, 3] {
                let mut body = whole.clone();
                body[at..at + 4].copy_from_slice(&lie.to_ne_bytes());
                let errno = tell(&body, 1)[0];
                assert!(errno != 0, "word {at}, {lie:x}: something was born");
            }
        }
        assert_eq!(tell(&[], 3), [einval; 3]);
        assert_eq!(tell(&whole, 2).len(), 2);
        assert_eq!(tell(&vec![0xaa; 1 << 20], 5), [einval; 5]);
        assert_eq!(tell(&[], 0), []);
        assert_eq!(tell(&vec![0; Item::SIZE * MOST_ITEMS], MOST_ITEMS as u32), vec![einval; MOST_ITEMS]);
        assert!(probe(&["exit", "0"]).nursery(&victim.nursery).status().expect("spawn").success());
        gone(victim);
    });
}

#[test]
fn descriptors_that_are_too_many_or_too_few_are_refused() {
    in_own_process("hostile::descriptors_that_are_too_many_or_too_few_are_refused", || {
        let victim = victim();
        let null = File::open("/dev/null").expect("/dev/null");
        let whole = batch();
        let held = || {
            std::fs::read_dir(format!("/proc/{}/fd", crate::children(victim.nursery.id())[0]))
                .expect("ours")
                .count()
        };
        let before = held();
        for (said, sent) in [(0, 5), (5, 0), (5, 4), (4, 5), (1, 253)] {
            let numbers = vec![null.as_raw_fd(); sent];
            send(
                &victim.channel,
                &[header(kind::BATCH, whole.len(), said, 1), whole.clone()].concat(),
                &numbers,
            );
            let told = answers(&victim.channel, 1).expect("it goes on");
            assert_eq!(told, [libc::EMFILE as u32], "{sent} for {said}");
            assert_eq!(held(), before, "{sent} for {said}: none stays");
        }
        // Thousands, in many messages, to the last that it takes.
        for _ in 0..4 {
            let all = vec![null.as_raw_fd(); MOST_GIVEN];
            let (first, more) = all.split_at(message::MOST_DESCRIPTORS);
            send(&victim.channel, &header(kind::BATCH, whole.len(), MOST_GIVEN, 1), first);
            for lot in more.chunks(message::MOST_DESCRIPTORS) {
                send(&victim.channel, &[0; 4], lot);
            }
            send(&victim.channel, &whole, &[]);
            let told = answers(&victim.channel, 1).expect("it goes on");
            assert_ne!(told, [0], "no device is a program");
            assert_eq!(held(), before);
        }
        assert!(probe(&["exit", "0"]).nursery(&victim.nursery).status().expect("spawn").success());
        gone(victim);
    });
}

/// Half a message, and then nothing: it waits for the rest, and ends when nobody can send that.
#[test]
fn half_a_message_ends_with_its_sender() {
    in_own_process("hostile::half_a_message_ends_with_its_sender", || {
        let whole = batch();
        let all = [header(kind::BATCH, whole.len(), 0, 1), whole].concat();
        for length in [1, 8, HEADER - 1, HEADER, HEADER + 1, all.len() - 1] {
            let victim = victim();
            send(&victim.channel, &all[..length], &[]);
            gone(victim);
        }
    });
}

/// The same while a copy of its creator holds the channel, and the creator itself is killed.
#[test]
fn half_a_message_ends_with_its_creator() {
    in_own_process("hostile::half_a_message_ends_with_its_creator", || {
        let whole = batch();
        let all = [header(kind::BATCH, whole.len(), 0, 1), whole].concat();
        for length in [8, HEADER + 1] {
            let (told, tell) = crate::pipe();
            let (hold, held) = crate::pipe();
            // SAFETY: this process has one thread that holds locks: this one.
            let creator = unsafe { libc::fork() };
            if creator == 0 {
                let victim = victim();
                send(&victim.channel, &all[..length], &[]);
                // SAFETY: likewise.
                if unsafe { libc::fork() } == 0 {
                    drop(held);
                    rest(hold);
                    // SAFETY: leaves at once.
                    unsafe { libc::_exit(0) };
                }
                let number = crate::children(victim.nursery.id())[0];
                std::io::Write::write_all(&mut &tell, &number.to_ne_bytes()).expect("it is read");
                std::thread::sleep(crate::LONG);
                // SAFETY: leaves at once.
                unsafe { libc::_exit(1) };
            }
            drop(hold);
            let number = u32::from_ne_bytes(crate::bytes(&told, 4).try_into().expect("four"));
            let parent = pidfd(number);
            crate::kill(creator as u32, libc::SIGKILL);
            // SAFETY: our own child.
            unsafe { libc::waitpid(creator, std::ptr::null_mut(), 0) };
            let ended = wait_for(&parent);
            if !ended {
                crate::kill(number, libc::SIGKILL);
            }
            drop(held);
            assert!(ended, "{length} bytes: it waits for a creator that is dead");
        }
    });
}
