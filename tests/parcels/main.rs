//! Parcels: what `spawn` would make is born in somebody else's nursery, and is the same child; so is the nursery of its root, and that for what
//! it creates.

mod groups;
mod refused;
mod roots;
mod same;
mod spawners;

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};

use beget::{NurseryPlan, Parcel};
use beget_plan::link::{self, Link, Message};
use beget_plan::message::{Born, Header, Item, change, flag, kind};
use beget_plan::nursery::{self, Parts};
use beget_plan::stub::role;
use beget_tests::Scratch;

/// What is asked of a birth beside its plan and descriptors.
#[derive(Clone, Copy, Default)]
struct Cradle<'a> {
    cgroup: Option<BorrowedFd<'a>>,
    namespaces: u32,
    without_groups: bool,
    /// By which its end is kept; 0 for none.
    label: u32,
}

/// How a child ended: of `change`, and its code or signal.
type End = (u32, u32);

/// Whoever gives birth: a nursery that knows nothing of the library, as a monitor has.
struct Midwife {
    link: Link,
    /// What was told while something else was waited for.
    told: RefCell<VecDeque<Message>>,
}

impl Midwife {
    fn new() -> Midwife {
        let (link, theirs) = link::pair().expect("a channel");
        let program = nursery::open_stub().expect("the stub");
        let directory = File::open("/").expect("the root");
        let parts = Parts {
            role: role::GUARDED,
            channel: theirs.as_fd(),
            program: program.as_fd(),
            directory: directory.as_fd(),
            listener: None,
        };
        nursery::start(parts).expect("a nursery");
        Midwife::at(link)
    }

    fn at(link: Link) -> Midwife {
        Midwife { link, told: RefCell::default() }
    }

    /// What comes next, within a time.
    fn hear(&self) -> Message {
        let mut watched = libc::pollfd { fd: number(&self.link), events: libc::POLLIN, revents: 0 };
        // SAFETY: one such structure, on this stack.
        assert_eq!(unsafe { libc::poll(&raw mut watched, 1, 60_000) }, 1, "it says nothing");
        self.link.receive(true).expect("it waits").expect("it lives")
    }

    /// A birth: the child's number, or the operation that failed and why.
    fn bear(&self, plan: &[u8], given: &[BorrowedFd<'_>], cradle: Cradle<'_>) -> Result<u32, (u32, i32)> {
        let count = given.len() as u32;
        let descriptors: Vec<BorrowedFd<'_>> = given.iter().copied().chain(cradle.cgroup).collect();
        let table = Item::SIZE as u32;
        let item = Item {
            table,
            plan: table + count * 4,
            length: plan.len() as u32,
            descriptors: count,
            cgroup: cradle.cgroup.map_or(u32::MAX, |_| count),
            flags: flag::UNHELD
                | if cradle.without_groups { flag::WITHOUT_GROUPS } else { 0 }
                | if cradle.label == 0 { 0 } else { flag::KEPT },
            namespaces: cradle.namespaces,
            label_low: cradle.label,
            ..Item::EMPTY
        };
        let indices = (0..count).flat_map(u32::to_ne_bytes);
        let body: Vec<u8> = item.encode().into_iter().chain(indices).chain(plan.iter().copied()).collect();
        let header = Header { kind: kind::BATCH, words: [1, 0, 0, 0], ..Header::default() };
        self.link.send(header, &body, &descriptors).expect("it listens");
        let mut message = self.hear();
        while message.header.kind == kind::CHANGED {
            self.told.borrow_mut().push_back(message);
            message = self.hear();
        }
        assert_eq!(message.header.kind, kind::BORN);
        let born = Born::decode(&message.body, 0).expect("whole");
        if born.errno == 0 { Ok(born.number) } else { Err((born.op, born.errno as i32)) }
    }

    /// Has what is in a parcel born.
    fn deliver(&self, parcel: &Parcel) -> beget::Result<u32> {
        self.deliver_as(parcel, 0)
    }

    fn deliver_as(&self, parcel: &Parcel, label: u32) -> beget::Result<u32> {
        let cradle = Cradle { cgroup: parcel.cgroup(), label, ..Cradle::default() };
        let born = self.bear(parcel.plan(), &parcel.descriptors(), cradle);
        born.map_err(|(op, errno)| parcel.explain(op, errno))
    }

    /// Makes the nursery of a parcel here; another is whose it is. `lasting`: it has a socket instead of a creator.
    fn nursery(&self, plan: &NurseryPlan, lasting: Option<&Scratch>) -> beget::Result<Midwife> {
        let (link, theirs) = link::pair().expect("a channel");
        let program = nursery::open_stub().expect("the stub");
        let second: OwnedFd = match lasting {
            Some(folder) => UnixListener::bind(folder.at("next")).expect("a socket").into(),
            // SAFETY: numbers only; the descriptor is new and ours.
            None => unsafe {
                use std::os::fd::FromRawFd;
                OwnedFd::from_raw_fd(libc::syscall(libc::SYS_pidfd_open, libc::getpid(), 0) as i32)
            },
        };
        let mut given = vec![theirs.as_fd(), program.as_fd(), second.as_fd()];
        assert_eq!(given.len(), NurseryPlan::OF_ITS_MAKER);
        given.extend(plan.descriptors());
        let (cgroup, namespaces) = (plan.cgroup(), plan.namespaces());
        let cradle = Cradle { cgroup, namespaces, without_groups: plan.without_groups(), label: 0 };
        let born = self.bear(plan.plan(), &given, cradle);
        born.map_err(|(op, errno)| plan.explain(op, errno))?;
        Ok(Midwife::at(link))
    }

    /// The next end that is told.
    fn end(&self) -> (u32, End) {
        let told = self.told.borrow_mut().pop_front();
        let message = told.unwrap_or_else(|| self.hear());
        assert_eq!(message.header.kind, kind::CHANGED);
        let [number, how, status, _] = message.header.words;
        (number, (how, status))
    }

    /// Has it born, and gives how it ended and what it wrote to `reading`.
    fn run(&self, parcel: Parcel, reading: OwnedFd) -> (End, String) {
        let number = self.deliver(&parcel).expect("born");
        parcel.delivered();
        let (of, end) = self.end();
        assert_eq!(of, number);
        (end, rest(reading))
    }
}

const WELL: End = (change::EXITED, 0);

fn number(file: &impl AsFd) -> i32 {
    use std::os::fd::AsRawFd;
    file.as_fd().as_raw_fd()
}

/// What a pipe holds that nobody writes to any more.
fn rest(reading: OwnedFd) -> String {
    let mut text = String::new();
    File::from(reading).read_to_string(&mut text).expect("a pipe of ours");
    text
}

fn pipe() -> (OwnedFd, OwnedFd) {
    let (reading, writing) = std::io::pipe().expect("a pipe");
    (reading.into(), writing.into())
}

/// Whoever has taken over a lasting nursery.
fn call(folder: &Scratch) -> Midwife {
    let stream = UnixStream::connect(folder.at("next")).expect("it is bound");
    Midwife::at(Link::from(OwnedFd::from(stream)))
}
