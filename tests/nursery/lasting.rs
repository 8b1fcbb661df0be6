//! Labelled births and nurseries that outlive their creator: no end is forgotten before somebody has taken it, and nobody but a creator of
//! theirs is told or obeyed.

mod births;

use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use beget_plan::link::{self, Link, Message};
use beget_plan::message::{
    Born, Header, Item, LIVING_AT_ONCE, Living, MOST_KEPT, change, flag, kind, label, label_words,
};
use beget_plan::nursery::{self, Parts};
use beget_plan::stub::role;
use beget_plan::{Draft, Op};
use beget_sys::process::Child;
use beget_tests::{Scratch, in_own_process};

use crate::{children, pipe, rest, wait_for};

/// A nursery, spoken to in its own words.
struct Lasting {
    link: Link,
    /// Its process, which is its guard's.
    child: Child,
    folder: Scratch,
}

/// What is told of an end: label, number, how and status.
type Told = (u64, u32, u32, u32);

const END: u32 = libc::SIGKILL as u32;

impl Lasting {
    fn new(role: &CStr) -> Lasting {
        let folder = Scratch::new();
        let (link, theirs) = link::pair().expect("a channel");
        let program = nursery::open_stub().expect("the stub");
        let directory = File::open("/").expect("the root");
        let listener = UnixListener::bind(folder.at("next")).expect("a socket");
        let lasts = role == role::LASTING || role == role::LASTING_FIRST;
        let parts = Parts {
            role,
            channel: theirs.as_fd(),
            program: program.as_fd(),
            directory: directory.as_fd(),
            listener: lasts.then(|| listener.as_fd()),
        };
        let child = nursery::start(parts).expect("a nursery");
        Lasting { link, child, folder }
    }

    /// Its creator is gone, and there is another.
    fn taken_over(self) -> Lasting {
        let Lasting { link, child, folder } = self;
        drop(link);
        let link = call(&folder);
        Lasting { link, child, folder }
    }

    fn say(&self, kind: u32, words: [u32; 4]) {
        self.link.send(Header { kind, words, ..Header::default() }, &[], &[]).expect("it listens");
    }

    fn signal(&self, number: u32, signal: u32, label: u64) {
        let [low, high] = label_words(label);
        self.say(kind::SIGNAL, [number, signal, low, high]);
    }

    fn take(&self, label: u64) {
        let [low, high] = label_words(label);
        self.say(kind::TAKEN, [low, high, 0, 0]);
    }

    fn hear(&self) -> Message {
        assert!(wait_for(&self.link.as_fd()), "it says nothing");
        self.link.receive(true).expect("it waits").expect("it is there")
    }

    fn told(&self) -> Told {
        told(&self.hear())
    }

    /// Births of shells that run `script`, with these labels.
    fn births(&self, labels: &[u64], flags: u32, script: &CStr, given: &[BorrowedFd<'_>]) -> Vec<Born> {
        let (body, descriptors) = batch(labels, flags, script, given);
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let header = Header { kind: kind::BATCH, words: [labels.len() as u32, 0, 0, 0], ..Header::default() };
        self.link.send(header, &body, &descriptors).expect("it listens");
        let mut births = Vec::new();
        while births.len() < labels.len() {
            let message = self.hear();
            assert_eq!(message.header.kind, kind::BORN, "an answer comes before any end");
            let came = message.body.chunks(Born::SIZE).map(|bytes| Born::decode(bytes, 0).expect("whole"));
            let before = births.len();
            births.extend(came);
            let held = births[before..].iter().filter(|born| born.pidfd == 1).count();
            assert_eq!(message.descriptors.len(), held);
        }
        births
    }

    /// One that ends when the other end of `gate` is written to or closed.
    fn birth(&self, label: u64, flags: u32, gate: &File) -> u32 {
        let born = self.births(&[label], flags, c"read line; exit 9", &[gate.as_fd()]);
        assert_eq!((born[0].errno, born[0].pidfd), (0, u32::from(flags & flag::UNHELD == 0)), "{born:?}");
        born[0].number
    }

    /// Which labelled births live.
    fn roll(&self) -> Vec<(u64, u32)> {
        self.whole_roll().1
    }

    /// What has ended and is kept, in order of labels, and which labelled births live.
    fn whole_roll(&self) -> (Vec<Told>, Vec<(u64, u32)>) {
        self.say(kind::ROLL, [0; 4]);
        let (mut ends, mut all) = (Vec::new(), Vec::new());
        loop {
            let message = self.hear();
            if message.header.kind == kind::CHANGED {
                assert_eq!(all, [], "ends come first");
                ends.push(told(&message));
                continue;
            }
            assert_eq!(message.header.kind, kind::ROLL);
            let [count, more, ..] = message.header.words;
            assert!(count as usize <= LIVING_AT_ONCE && message.body.len() == count as usize * Living::SIZE);
            for bytes in message.body.chunks(Living::SIZE) {
                let living = Living::decode(bytes, 0).expect("whole");
                all.push((label([living.label_low, living.label_high]), living.number));
            }
            if more == 0 {
                all.sort_unstable();
                ends.sort_unstable();
                return (ends, all);
            }
        }
    }

    /// Everything of it has ended, by itself and in order.
    fn end(self) {
        drop(self.link);
        assert!(wait_for(&self.child.pidfd), "it lives");
        let number = self.child.number as i32;
        let mut status = 0;
        // SAFETY: our own child, and a live number.
        assert_eq!(unsafe { libc::waitpid(number, &raw mut status, libc::__WALL) }, number);
        assert_eq!(status, 0, "its guard ended by itself");
    }

    /// Has it end everything.
    fn quit(self) {
        self.say(kind::QUIT, [0; 4]);
        self.end();
    }
}

fn told(message: &Message) -> Told {
    assert_eq!((message.header.kind, message.body.len()), (kind::CHANGED, 152));
    let [number, how, status, _] = message.header.words;
    (u64::from_ne_bytes(message.body[144..].try_into().expect("eight")), number, how, status)
}

/// Calls where the next creator is to.
fn call(folder: &Scratch) -> Link {
    Link::from(OwnedFd::from(UnixStream::connect(folder.at("next")).expect("it is bound")))
}

fn batch(labels: &[u64], flags: u32, script: &CStr, given: &[BorrowedFd<'_>]) -> (Vec<u8>, Vec<OwnedFd>) {
    let mut descriptors = vec![OwnedFd::from(File::open("/bin/sh").expect("a shell"))];
    descriptors.extend(given.iter().map(|fd| fd.try_clone_to_owned().expect("a descriptor")));
    let mut draft = Draft::new();
    draft.push(Op::NewSession {});
    draft.push(Op::Raise { floor: 20 });
    draft.push(Op::Place { source: 0, slot: 10, closing: 1 });
    draft.push(Op::Close { first: 0, last: 9 });
    for index in 1..descriptors.len() as u32 {
        draft.push(Op::Place { source: index, slot: index as i32 - 1, closing: 0 });
    }
    draft.push(Op::Close { first: 11, last: u32::MAX });
    draft.push(Op::SignalMask { mask: 0 });
    let (arguments, environment) = (draft.strings([c"sh", c"-c", script]), draft.strings([]));
    draft.push(Op::Execute { program: 10, arguments, environment, listening: 0 });
    let plan = draft.encode(descriptors.len());
    let table: Vec<u8> = (0..descriptors.len() as u32).flat_map(u32::to_ne_bytes).collect();
    let begin = (labels.len() * Item::SIZE) as u32;
    let mut body = Vec::new();
    for label in labels {
        let [label_low, label_high] = label_words(*label);
        let item = Item {
            table: begin,
            plan: begin + table.len() as u32,
            length: plan.len() as u32,
            descriptors: descriptors.len() as u32,
            flags,
            label_low,
            label_high,
            ..Item::EMPTY
        };
        body.extend(item.encode());
    }
    (body.into_iter().chain(table).chain(plan).collect(), descriptors)
}

#[test]
fn a_kept_end_is_told_until_it_is_taken() {
    in_own_process("lasting::a_kept_end_is_told_until_it_is_taken", || {
        for role in [role::LASTING, role::GUARDED] {
            let nursery = Lasting::new(role);
            let big = u64::MAX - 1;
            let born = nursery.births(&[7, big], flag::KEPT | flag::UNHELD, c"exit 3", &[]);
            let mut first = [nursery.told(), nursery.told()];
            first.sort_unstable();
            let expected = [(7, born[0].number), (big, born[1].number)]
                .map(|(label, number)| (label, number, change::EXITED, 3));
            assert_eq!(first, expected);
            assert_eq!(
                nursery.whole_roll(),
                (expected.to_vec(), vec![]),
                "all is told again, and nothing lives"
            );
            nursery.take(7);
            nursery.take(12345);
            assert_eq!(nursery.whole_roll().0, expected[1..], "the other one is kept");
            nursery.take(big);
            assert_eq!(nursery.whole_roll().0, []);
            // What comes next is the next end, and no old one.
            nursery.births(&[9], flag::UNHELD, c"exit 4", &[]);
            let (label, _, how, status) = nursery.told();
            assert_eq!((label, how, status), (9, change::EXITED, 4));
            assert_eq!(nursery.whole_roll(), (vec![], vec![]));
            nursery.births(&[0], flag::UNHELD, c"kill -9 $$", &[]);
            let (label, _, how, status) = nursery.told();
            assert_eq!(
                (label, how, status),
                (0, change::KILLED, END),
                "an end that is not kept is told once"
            );
            nursery.end();
        }
    });
}

#[test]
fn a_signal_goes_to_the_birth_that_is_meant_and_to_no_other() {
    in_own_process("lasting::a_signal_goes_to_the_birth_that_is_meant_and_to_no_other", || {
        let nursery = Lasting::new(role::LASTING);
        let (theirs, ours) = pipe();
        let labelled = nursery.birth(5, flag::KEPT, &theirs);
        let plain = nursery.birth(0, 0, &theirs);
        nursery.signal(labelled, END, 6);
        nursery.signal(labelled, END, 0);
        nursery.signal(plain, END, 5);
        nursery.signal(labelled, 1000, 5);
        nursery.signal(plain, u32::MAX, 0);
        let behind = children(nursery.child.number)[0];
        for number in [behind, nursery.child.number, std::process::id(), 0, 1, u32::MAX, u32::MAX - labelled]
        {
            nursery.signal(number, END, 0);
            nursery.signal(number, END, 5);
        }
        assert_eq!(nursery.roll(), [(5, labelled)], "it lives, and so does everybody");
        drop(ours);
        let mut ends = [nursery.told(), nursery.told()];
        ends.sort_unstable();
        assert_eq!(ends, [(0, plain, change::EXITED, 9), (5, labelled, change::EXITED, 9)]);

        let (theirs, _ours) = pipe();
        let other = nursery.birth(8, flag::KEPT, &theirs);
        nursery.signal(other, libc::SIGTERM as u32, 8);
        assert_eq!(nursery.told(), (8, other, change::KILLED, libc::SIGTERM as u32));
        nursery.take(5);
        nursery.take(8);
        nursery.end();
    });
}

#[test]
fn the_next_creator_finds_who_lives_and_who_has_ended() {
    in_own_process("lasting::the_next_creator_finds_who_lives_and_who_has_ended", || {
        let mut nursery = Lasting::new(role::LASTING);
        let (theirs, ours) = pipe();
        let (other, gate) = pipe();
        let living = nursery.birth(1, flag::KEPT | flag::UNHELD, &theirs);
        let ending = nursery.birth(2, flag::KEPT | flag::UNHELD, &other);
        // Ends while nobody is there.
        let guard = nursery.child.number;
        let behind = children(guard)[0];
        drop((std::mem::replace(&mut nursery.link, call(&nursery.folder)), gate));
        let end = (2, ending, change::EXITED, 9);
        assert_eq!(nursery.told(), end, "because it is new");
        assert_eq!(nursery.whole_roll(), (vec![end], vec![(1, living)]), "and as asked");
        // A new one is born there as before, and again somebody calls.
        let more = nursery.birth(3, flag::KEPT, &theirs);
        let mut nursery = nursery.taken_over();
        assert_eq!(nursery.whole_roll(), (vec![end], vec![(1, living), (3, more)]));
        nursery.take(2);
        // Whoever speaks nonsense is let go of, like one that is gone.
        for _ in 0..3 {
            write(&nursery.link, &[0xaa; 64]);
            assert!(wait_for(&nursery.link.as_fd()));
            nursery = nursery.taken_over();
            assert_eq!(nursery.roll(), [(1, living), (3, more)]);
        }
        // And nothing that it brought stays.
        let held = || std::fs::read_dir(format!("/proc/{behind}/fd")).expect("ours").count();
        let before = held();
        let null = File::open("/dev/null").expect("a file");
        let header = Header { kind: kind::BATCH, length: 100, descriptors: 9, words: [1, 0, 0, 0] };
        let numbers = [null.as_raw_fd(); 9];
        beget_sys::message::send(nursery.link.as_fd().as_raw_fd(), &header.encode(), &numbers, true)
            .expect("it listens");
        let nursery = nursery.taken_over();
        assert_eq!(nursery.roll(), [(1, living), (3, more)]);
        assert_eq!(held(), before);
        drop(ours);
        let mut ends = [nursery.told(), nursery.told()];
        ends.sort_unstable();
        assert_eq!(ends, [(1, living, change::EXITED, 9), (3, more, change::EXITED, 9)]);
        nursery.take(1);
        nursery.take(3);
        assert_eq!(nursery.roll(), []);
        nursery.end();
    });
}

fn write(link: &Link, bytes: &[u8]) {
    beget_sys::message::send(link.as_fd().as_raw_fd(), bytes, &[], true).expect("it listens");
}

/// With nothing to keep it ends; with a living birth, or an end that nobody took, it does not.
#[test]
fn it_ends_when_nothing_is_left_to_keep() {
    in_own_process("lasting::it_ends_when_nothing_is_left_to_keep", || {
        Lasting::new(role::LASTING).end();
        // An unlabelled birth keeps nothing alive, itself neither.
        let nursery = Lasting::new(role::LASTING);
        let (theirs, ours) = pipe();
        nursery.birth(0, flag::UNHELD, &theirs);
        drop(theirs);
        nursery.end();
        assert!(ours.metadata().is_ok());
        assert_eq!((&ours).write(b"x").expect_err("nobody reads").kind(), std::io::ErrorKind::BrokenPipe);
        // One whose end is not to be kept is waited for.
        let mut nursery = Lasting::new(role::LASTING);
        let (theirs, ours) = pipe();
        let number = nursery.birth(4, flag::UNHELD, &theirs);
        let behind = crate::pidfd(children(nursery.child.number)[0]);
        nursery = nursery.taken_over();
        assert_eq!(nursery.roll(), [(4, number)]);
        let Lasting { link, child, folder } = nursery;
        drop((link, ours));
        assert!(wait_for(&behind), "nothing is left");
        let nursery = Lasting { link: link::pair().expect("a channel").0, child, folder };
        nursery.end();
        // Whoever asks for the end has it.
        let nursery = Lasting::new(role::LASTING);
        let (theirs, ours) = pipe();
        nursery.birth(4, flag::KEPT, &theirs);
        drop(theirs);
        nursery.quit();
        assert_eq!((&ours).write(b"x").expect_err("nobody reads").kind(), std::io::ErrorKind::BrokenPipe);
    });
}

/// Killed with everything unsaid: the kernel closes its end, and no more is needed.
#[test]
fn its_creator_is_killed() {
    in_own_process("lasting::its_creator_is_killed", || {
        let folder = Scratch::new();
        let listener = UnixListener::bind(folder.at("next")).expect("a socket");
        let (theirs, ours) = pipe();
        let (other, gate) = pipe();
        let (told, tell) = pipe();
        // SAFETY: this process has one thread that holds locks: this one.
        let creator = unsafe { libc::fork() };
        if creator == 0 {
            drop((ours, gate));
            let (link, channel) = link::pair().expect("a channel");
            let program = nursery::open_stub().expect("the stub");
            let directory = File::open("/").expect("the root");
            let parts = Parts {
                role: role::LASTING,
                channel: channel.as_fd(),
                program: program.as_fd(),
                directory: directory.as_fd(),
                listener: Some(listener.as_fd()),
            };
            let child = nursery::start(parts).expect("a nursery");
            drop((channel, listener));
            let nursery = Lasting { link, child, folder };
            nursery.birth(1, flag::KEPT | flag::UNHELD, &theirs);
            nursery.birth(2, flag::KEPT, &other);
            (&tell).write_all(b"x").expect("it is read");
            std::thread::sleep(crate::LONG);
            // SAFETY: leaves at once.
            unsafe { libc::_exit(1) };
        }
        drop((theirs, other, listener, tell));
        assert_eq!(crate::bytes(&told, 1), b"x");
        crate::kill(creator as u32, libc::SIGKILL);
        // SAFETY: our own child.
        unsafe { libc::waitpid(creator, std::ptr::null_mut(), 0) };
        drop(gate);
        let link = call(&folder);
        let child = Child { number: 0, pidfd: OwnedFd::from(File::open("/dev/null").expect("a file")) };
        let nursery = Lasting { link, child, folder };
        assert_eq!(nursery.told().0, 2, "it ended while nobody was there, or now");
        let (ends, living) = nursery.whole_roll();
        assert_eq!(living.iter().map(|(label, _)| *label).collect::<Vec<_>>(), [1]);
        assert_eq!(ends.iter().map(|end| end.0).collect::<Vec<_>>(), [2]);
        nursery.take(2);
        nursery.signal(living[0].1, END, 1);
        assert_eq!(nursery.told(), (1, living[0].1, change::KILLED, END));
        nursery.take(1);
        let Lasting { link, .. } = nursery;
        drop(link);
        assert_eq!(rest(told), b"", "nobody of them is left who holds it");
    });
}

/// More ends than it keeps: the rest stays with the kernel until there is room, and none is told twice or lost.
#[test]
fn more_ends_than_it_keeps() {
    in_own_process("lasting::more_ends_than_it_keeps", || {
        let more = MOST_KEPT + 200;
        let nursery = Lasting::new(role::LASTING);
        let mut told = vec![0u32; more + 1];
        let labels: Vec<u64> = (1..=more as u64).map(|label| label * 3).collect();
        let mut hear = |message: &Message| {
            let (label, _, how, status) = self::told(message);
            assert_eq!((how, status, label % 3), (change::EXITED, 0, 0));
            told[label as usize / 3] += 1;
        };
        let (body, descriptors) = batch(&labels, flag::KEPT | flag::UNHELD, c":", &[]);
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let header = Header { kind: kind::BATCH, words: [more as u32, 0, 0, 0], ..Header::default() };
        nursery.link.send(header, &body, &descriptors).expect("it listens");
        let (mut born, mut heard) = (0, 0);
        while born < more || heard < MOST_KEPT {
            let message = nursery.hear();
            if message.header.kind == kind::BORN {
                born += message.header.words[0] as usize;
            } else {
                hear(&message);
                heard += 1;
            }
        }
        // All that it keeps are told; the others wait, dead.
        let (ends, living) = nursery.whole_roll();
        assert_eq!((ends.len(), living.len()), (MOST_KEPT, 200), "they are not reaped");
        let kept: Vec<u64> =
            labels.iter().copied().filter(|label| !living.iter().any(|(other, _)| other == label)).collect();
        for label in &kept {
            nursery.take(*label);
        }
        for _ in 0..200 {
            let message = nursery.hear();
            assert!(living.iter().any(|(label, _)| *label == self::told(&message).0));
            hear(&message);
        }
        for (label, _) in &living {
            nursery.take(*label);
        }
        assert_eq!(nursery.roll(), []);
        for (index, times) in told.iter().enumerate().skip(1) {
            assert_eq!(*times, 1, "{index}");
        }
        nursery.end();
    });
}

/// Nobody reads what it tells: births go on, and every end is told to whoever reads again.
#[test]
fn a_creator_that_does_not_read_loses_nothing() {
    in_own_process("lasting::a_creator_that_does_not_read_loses_nothing", || {
        let nursery = Lasting::new(role::LASTING);
        let labels: Vec<u64> = (1..=1500).collect();
        for lot in labels.chunks(50) {
            nursery.births_unread(lot);
        }
        // The channel was full of ends, or not: a new creator hears all of them.
        let nursery = nursery.taken_over();
        nursery.say(kind::ROLL, [0; 4]);
        let mut seen = std::collections::BTreeSet::new();
        while seen.len() < labels.len() {
            let message = nursery.hear();
            if message.header.kind == kind::CHANGED {
                let (label, _, how, status) = told(&message);
                assert_eq!((how, status), (change::EXITED, 0));
                seen.insert(label);
            }
        }
        labels.iter().for_each(|label| nursery.take(*label));
        assert_eq!(nursery.roll(), []);
        nursery.end();
    });
}

impl Lasting {
    /// Births whose answers are read, and the ends among them thrown away.
    fn births_unread(&self, labels: &[u64]) {
        let (body, descriptors) = batch(labels, flag::KEPT | flag::UNHELD, c":", &[]);
        let descriptors: Vec<BorrowedFd<'_>> = descriptors.iter().map(AsFd::as_fd).collect();
        let header = Header { kind: kind::BATCH, words: [labels.len() as u32, 0, 0, 0], ..Header::default() };
        self.link.send(header, &body, &descriptors).expect("it listens");
        let mut born = 0;
        while born < labels.len() {
            let message = self.hear();
            if message.header.kind == kind::BORN {
                born += message.header.words[0] as usize;
            }
        }
    }
}

/// What a plan says by number reaches nothing of the nursery's, and what it forgets to close is closed.
#[test]
fn a_plan_does_not_reach_the_nursery() {
    in_own_process("lasting::a_plan_does_not_reach_the_nursery", || {
        let nursery = Lasting::new(role::LASTING);
        let shell = File::open("/bin/sh").expect("a shell");
        let (theirs, ours) = pipe();
        let ask = |ops: &dyn Fn(&mut Draft)| -> Born {
            let mut draft = Draft::new();
            draft.push(Op::NewSession {});
            ops(&mut draft);
            draft.push(Op::Place { source: 1, slot: 11, closing: 0 });
            draft.push(Op::Place { source: 0, slot: 10, closing: 1 });
            draft.push(Op::SignalMask { mask: 0 });
            let script = c"for fd in 0 1 2 3 4 5 6 7 8 9; do [ ! -e /proc/$$/fd/$fd ] || echo $fd >&11; done";
            let (arguments, environment) = (draft.strings([c"sh", c"-c", script]), draft.strings([]));
            draft.push(Op::Execute { program: 10, arguments, environment, listening: 0 });
            let plan = draft.encode(2);
            let item = Item {
                plan: (Item::SIZE + 8) as u32,
                length: plan.len() as u32,
                table: Item::SIZE as u32,
                descriptors: 2,
                flags: flag::UNHELD,
                ..Item::EMPTY
            };
            let table = [0u32.to_ne_bytes(), 1u32.to_ne_bytes()].concat();
            let body = [item.encode().to_vec(), table, plan].concat();
            let header = Header { kind: kind::BATCH, words: [1, 0, 0, 0], ..Header::default() };
            nursery.link.send(header, &body, &[shell.as_fd(), ours.as_fd()]).expect("it listens");
            Born::decode(&nursery.hear().body, 0).expect("an answer, and nothing else")
        };
        let allow = |draft: &mut Draft| {
            let instruction =
                beget_sys::seccomp::Instruction { code: 6, jump_true: 0, jump_false: 0, k: 0x7fff_0000 };
            draft.filter(&[instruction])
        };
        let with = |op: Op| {
            ask(&move |draft| {
                draft.push(op);
            })
        };
        for slot in 0..4 {
            let refused = [
                with(Op::JoinCgroup { slot }),
                with(Op::Landlock { slot }),
                with(Op::ChangeDirectory { slot }),
                with(Op::Foreground { slot }),
                ask(&|draft| {
                    let (asking, refusing) = (allow(draft), allow(draft));
                    draft.push(Op::FilterWithListener { asking, refusing, socket: slot });
                }),
            ];
            for born in refused {
                assert_eq!((born.number, born.errno, born.op), (0, libc::EBADF as u32, 1), "{slot}");
            }
        }
        // A filter that refuses everything, the end of a process too: the nursery is not kept waiting for it.
        let born = ask(&|draft| {
            let instruction =
                beget_sys::seccomp::Instruction { code: 6, jump_true: 0, jump_false: 0, k: 0x0005_0001 };
            let instructions = draft.filter(&[instruction]);
            draft.push(Op::NoNewPrivileges {});
            draft.push(Op::Filter { instructions });
        });
        assert_eq!((born.number, born.errno), (0, libc::EPERM as u32));
        let born = ask(&|_| {});
        assert_eq!(born.errno, 0);
        assert_eq!(nursery.told(), (0, born.number, change::EXITED, 0));
        drop(ours);
        assert_eq!(beget_tests::text(&rest(theirs)), "", "the shell found no descriptor but its own");
        nursery.end();
    });
}
