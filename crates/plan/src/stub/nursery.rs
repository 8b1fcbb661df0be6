//! The nursery's side: it makes processes from plans, is their parent and subreaper, tells how they end, and ends the whole tree when
//! its creator is gone.
//!
//! It holds nothing: one socket, and what it needs to notice that a child or its creator has ended. What a batch brings is closed when
//! the batch is done. With a guard it is the child of a process that holds not even a socket, and that ends the tree if the nursery
//! itself is killed; and the other way round.
//!
//! Safety idea: it does what a batch says in order, and answers each item. It never waits for room to tell of an end: an end that cannot
//! be told yet stays with the kernel, as a child that has not been reaped. So nothing is lost and nothing is queued.

use beget_sys::message::{READABLE, WRITABLE, Watched, has_room, send, wait_for};
use beget_sys::process::{self, Born as Newborn, Cradle};
use beget_sys::signal::{self, SignalSet};
use beget_sys::wait::{self, Change, Usage, option};
use beget_sys::{Errno, descriptor};

use super::channel::{self, Body, Came, Line, ROOM};
use super::{CHANNEL, CREATOR, Start, role, stack_in, tree};
use crate::birth::{self, Birth, Room};
use crate::encoding::Plan;
use crate::message::{
    self, BORN_AT_ONCE, Batch, Born, HEADER, Header, MOST_GIVEN, MOST_ITEMS, change, flag, kind,
};
use crate::op::Engine;

/// Process numbers are below this (`PID_MAX_LIMIT`).
const MOST_PROCESSES: usize = 4 << 20;
/// What is known of a child.
mod known {
    pub(super) const BIRTH: u8 = 1;
    pub(super) const STOPS: u8 = 2;
}

const SIGKILL: i32 = 9;
const SIGCHLD: i32 = 17;
const SIGCONT: i32 = 18;
const USAGE: usize = size_of::<Usage>();

/// Rooms in the workplace, in words.
const NUMBERS: usize = MOST_GIVEN / 2;
const CHILD_STACK: usize = (32 << 10) / 8;

struct Nursery<'a> {
    line: Line,
    /// Two bits for each process number: whether it is a birth that is still to be told of, and whether its stops are.
    children: Body<'static>,
    /// Where a short message lies while it is carried out.
    room: &'a mut [u64],
    numbers: &'a mut [i32],
    lent: &'a mut [i32],
    stack: &'a mut [u64],
    scratch: &'a mut [u64],
    signals: i32,
    /// An end waits for room in the channel.
    waiting: bool,
    /// It is the first process of a namespace: all others there are below it.
    first: bool,
}

/// Serves until the creator is gone.
///
/// # Safety
/// As for [`play`](super::play).
pub(super) unsafe fn live(start: &Start, workplace: &mut [u64]) -> ! {
    // SAFETY: a constant that ends in NUL. A name is all that is lost.
    let _ = unsafe { process::set_name(role::NURSERY.as_ptr().cast()) };
    // Whoever made us, watched by a descriptor, so that no thread of it need live on.
    let creator = if start.role == role::FIRST {
        CREATOR
    } else {
        process::parent().and_then(|number| process::open(number as u32)).unwrap_or(-1)
    };
    let prepared = process::subreaper(true).and_then(|_| signal::set_mask(SignalSet::ALL));
    if prepared.is_err() {
        process::exit(125);
    }
    let mut guard = -1;
    if start.role == role::GUARDED {
        // Opened before there are two: it cannot come to mean another process, whoever is killed when.
        guard = process::process().and_then(|own| process::open(own as u32)).unwrap_or(-1);
        // SAFETY: this process has one thread and no libc.
        match unsafe { process::fork() } {
            // A fork does not inherit it, and orphans are to come here first.
            Ok(None) if process::subreaper(true).is_ok() => {}
            Ok(None) => process::exit(125),
            // SAFETY: numbers of descriptors that the child has now.
            Ok(Some(nursery)) => unsafe { keep_guard(nursery) },
            Err(_) => process::exit(125),
        }
    }
    let (_, free) = stack_in(size_of_val(workplace));
    let rooms = workplace.get_mut(..free / 8).and_then(|free| {
        let (numbers, free) = free.split_at_mut_checked(NUMBERS)?;
        let (lent, free) = free.split_at_mut_checked(NUMBERS)?;
        let (room, free) = free.split_at_mut_checked(ROOM)?;
        let (stack, scratch) = free.split_at_mut_checked(CHILD_STACK)?;
        // SAFETY: any bytes are numbers.
        Some(unsafe { (numbers.align_to_mut().1, lent.align_to_mut().1, room, stack, scratch) })
    });
    let signals = signal::raw_descriptor(SignalSet::EMPTY.with(SIGCHLD));
    let (Some((numbers, lent, room, stack, scratch)), Ok(signals), Ok(children)) =
        (rooms, signals, Body::zeroed(MOST_PROCESSES / 4))
    else {
        process::exit(125)
    };
    let line = Line { socket: CHANNEL, others: [creator, guard] };
    let first = start.role == role::FIRST;
    let mut nursery =
        Nursery { line, children, room, numbers, lent, stack, scratch, signals, waiting: false, first };
    nursery.serve();
    nursery.end();
    process::exit(0)
}

/// The guard: waits for the nursery's end, then ends what it left behind.
///
/// # Safety
/// Every descriptor must be one that this process need not have.
unsafe fn keep_guard(nursery: u32) -> ! {
    // SAFETY: a constant that ends in NUL. A name is all that is lost.
    let _ = unsafe { process::set_name(role::GUARDED.as_ptr().cast()) };
    // SAFETY: the caller's promise.
    let _ = unsafe { descriptor::close_range(0, u32::MAX) };
    while wait::child(nursery as i32, option::EXITED | option::ALL) == Err(Errno::EINTR) {}
    tree::end_all(&[], |_| {});
    process::exit(0)
}

impl Nursery<'_> {
    /// Serves until the channel is closed, or the creator or the guard has ended.
    fn serve(&mut self) {
        loop {
            self.tell_changes();
            let [creator, guard] = self.line.others;
            let room = if self.waiting { WRITABLE } else { 0 };
            let watch = |fd, wanted| Watched { fd, wanted, happened: 0 };
            let mut watched = [
                watch(CHANNEL, READABLE | room),
                watch(self.signals, READABLE),
                watch(creator, READABLE),
                watch(guard, READABLE),
            ];
            if wait_for(&mut watched).is_err() {
                continue;
            }
            let [channel, signals, creator, guard] = watched;
            if creator.happened | guard.happened != 0 {
                return;
            }
            if signals.happened != 0 {
                // How many there were does not matter: every child that changed is looked for.
                let mut information = [0; 128];
                let _ = descriptor::read(self.signals, &mut information);
            }
            if channel.happened & !WRITABLE != 0 {
                let room = core::mem::take(&mut self.room);
                let more = self.take_batch(room);
                self.room = room;
                if !more {
                    return;
                }
            }
        }
    }

    /// Ends everything, and tells of the births among it while there is room: who asked for the end may be reading still.
    fn end(&mut self) {
        let children = self.children.bytes();
        if self.first {
            // All at once: nobody forks between.
            let _ = signal::kill(-1, SIGKILL);
        }
        tree::end_all(children, |(number, happened, usage)| {
            if known_of(children, number) != 0 {
                let (how, status) = told_as(happened);
                tell(number, how, status, &usage);
            }
        });
    }

    fn know(&mut self, number: u32, what: u8) {
        if let Some(place) = self.children.bytes_mut().get_mut(number as usize / 4) {
            let shift = number % 4 * 2;
            *place = *place & !(3 << shift) | what << shift;
        }
    }

    fn known(&self, number: i32) -> u8 {
        known_of(self.children.bytes(), number)
    }

    /// Tells of the children that changed, and reaps those that ended, orphans too.
    fn tell_changes(&mut self) {
        let look = option::EXITED | option::STOPPED | option::ALL | option::NO_HANG;
        self.waiting = false;
        loop {
            let (number, happened, usage) = match wait::any(look | option::NO_WAIT) {
                Ok(Some(change)) => change,
                Err(Errno::EINTR) => continue,
                _ => return,
            };
            let known = self.known(number);
            let (how, status) = told_as(happened);
            let wanted = if how == change::STOPPED { known::STOPS } else { known::BIRTH };
            if known & wanted != 0 && !has_room(CHANNEL) {
                self.waiting = true;
                return;
            }
            // First reaped, then told: who is told of an end finds not even a zombie.
            let only = if how == change::STOPPED { option::STOPPED } else { option::EXITED };
            let _ = wait::child(number, only | option::ALL | option::NO_HANG);
            if how != change::STOPPED {
                self.know(number as u32, 0);
            }
            if known & wanted != 0 {
                tell(number, how, status, &usage);
            }
        }
    }

    /// Takes the next message, into `room` if it is short; `false` when there will be none.
    fn take_batch(&mut self, room: &mut [u64]) -> bool {
        match channel::receive(self.line, self.numbers, room) {
            Came::Message(header, body, count) if header.kind == kind::BATCH => {
                let [items, flags, ..] = header.words;
                if items as usize > MOST_ITEMS {
                    return false;
                }
                let lot = match Batch::check(body.bytes(), items, count) {
                    Some(batch) => self.give_birth(&batch, items as usize, flags & flag::ATOMIC != 0),
                    None => refuse(self.line, items, Errno::EINVAL),
                };
                // Before the last answer: whoever has it finds that nothing is held here any more.
                channel::close(self.numbers.get(..count).unwrap_or_default());
                lot.is_some_and(|mut lot| lot.send())
            }
            Came::Message(header, _, 0) if header.kind == kind::END => {
                let [number, ..] = header.words;
                if self.known(number as i32) != 0 {
                    // A child that is not reaped yet: the number is its own.
                    let _ = signal::kill(number as i32, SIGKILL);
                }
                true
            }
            Came::TooMuch(Header { kind: kind::BATCH, words: [items, ..], .. }, errno)
                if items as usize <= MOST_ITEMS =>
            {
                refuse(self.line, items, errno).is_some_and(|mut lot| lot.send())
            }
            _ => false,
        }
    }

    /// Makes each item of a batch, answering as it goes; gives what is to be answered still. `None` when nobody listens.
    fn give_birth(&mut self, batch: &Batch<'_>, items: usize, atomic: bool) -> Option<Lot> {
        if atomic {
            return self.give_birth_together(batch, items);
        }
        let mut lot = Lot::new(self.line);
        for index in 0..items {
            let (born, pidfd) = self.bear(&batch.birth(index)?);
            lot.add(born, pidfd).then_some(())?;
        }
        Some(lot)
    }

    /// Makes all items of a batch, or none. Each stops before the first instruction of its program, so that none has run when another
    /// cannot be made; they go on when all are there.
    fn give_birth_together(&mut self, batch: &Batch<'_>, items: usize) -> Option<Lot> {
        let Ok(mut memory) = Body::zeroed(items * size_of::<Together>()) else {
            return refuse(self.line, items as u32, Errno::ENOMEM);
        };
        // SAFETY: zeroes are such records, and a mapping is aligned.
        let together = unsafe { memory.bytes_mut().align_to_mut::<Together>() }.1;
        let mut all = true;
        for (index, place) in together.iter_mut().enumerate() {
            let item = batch.birth(index)?;
            let (born, pidfd) = match all {
                // One that is not ours could not be held back, nor reaped.
                true if item.flags & flag::PARENT != 0 => (nothing(Errno::EINVAL), -1),
                true => self.bear(&item),
                false => (nothing(Errno::ECANCELED), -1),
            };
            all = all && born.errno == 0;
            *place = Together { born, pidfd };
        }
        for place in together.iter_mut() {
            if all && !has_stopped(place.born.number as i32) {
                // The exec was past its point of no return, and failed there.
                place.born.errno = Errno::ENOEXEC.0 as u32;
                all = false;
            }
        }
        let mut lot = Lot::new(self.line);
        for place in together {
            let number = place.born.number as i32;
            if all {
                let _ = signal::kill(number, SIGCONT);
            } else if number != 0 {
                let why = if place.born.errno == 0 { Errno::ECANCELED } else { Errno::ENOEXEC };
                let _ = signal::kill(number, SIGKILL);
                while wait::child(number, option::EXITED | option::ALL) == Err(Errno::EINTR) {}
                self.know(place.born.number, 0);
                channel::close(&[place.pidfd]);
                *place = Together { born: nothing(why), pidfd: -1 };
            }
            lot.add(place.born, place.pidfd).then_some(())?;
        }
        Some(lot)
    }

    /// Makes one item; gives its pidfd too, or -1.
    fn bear(&mut self, item: &message::Birth<'_>) -> (Born, i32) {
        let Ok(plan) = Plan::check(item.plan, Engine::Vfork) else { return (nothing(Errno::EINVAL), -1) };
        let mut count = 0;
        for (place, given) in self.lent.iter_mut().zip(item.descriptors()) {
            *place = self.numbers.get(given).copied().unwrap_or(-1);
            count += 1;
        }
        let Some(lent) = self.lent.get_mut(..count).filter(|lent| lent.len() == plan.descriptors()) else {
            return (nothing(Errno::EINVAL), -1);
        };
        let cgroup = item.cgroup.and_then(|index| self.numbers.get(index as usize).copied());
        let parent = item.flags & flag::PARENT != 0;
        let cradle = Cradle { cgroup, parent, namespaces: 0 };
        let mut more =
            match Body::zeroed(if plan.scratch() > self.scratch.len() { plan.scratch() * 8 } else { 0 }) {
                Ok(more) => more,
                Err(errno) => return (nothing(errno), -1),
            };
        let scratch = if plan.scratch() > self.scratch.len() {
            // SAFETY: any bytes are words, and a mapping is aligned.
            unsafe { more.bytes_mut().align_to_mut::<u64>() }.1
        } else {
            &mut *self.scratch
        };
        // SAFETY: any words are bytes.
        let stack = unsafe { self.stack.align_to_mut::<u8>() }.1;
        // SAFETY: checked for this engine above; every signal is blocked here, for ever; the batch's descriptors stay open until it is done.
        match unsafe { birth::give(&plan, lent, Room { stack, scratch }, cradle) } {
            Birth::Child(Newborn { number, pidfd }) => {
                let stops = if item.flags & flag::STOPS != 0 { known::STOPS } else { 0 };
                if !parent {
                    self.know(number, known::BIRTH | stops);
                }
                (Born { number, op: 0, errno: 0, pidfd: 1 }, pidfd)
            }
            Birth::Failed(Newborn { number, pidfd }, fault) => {
                let fault = Born { number: 0, op: fault.op, errno: fault.errno.0 as u32, pidfd: 0 };
                if parent {
                    return (Born { number, pidfd: 1, ..fault }, pidfd);
                }
                while wait::child(number as i32, option::EXITED | option::ALL) == Err(Errno::EINTR) {}
                channel::close(&[pidfd]);
                (fault, -1)
            }
            Birth::None(errno) => (nothing(errno), -1),
        }
    }
}

/// A birth of a batch that is not answered yet.
#[repr(C)]
#[derive(Clone, Copy)]
struct Together {
    born: Born,
    pidfd: i32,
}

/// Waits for the stop of a child that is on its way to it; `false` when it ended instead.
fn has_stopped(number: i32) -> bool {
    loop {
        match wait::child(number, option::STOPPED | option::EXITED | option::ALL | option::NO_WAIT) {
            Ok(Some((Change::Stopped(_), _))) => {
                let _ = wait::child(number, option::STOPPED | option::ALL | option::NO_HANG);
                return true;
            }
            Err(Errno::EINTR) => {}
            _ => return false,
        }
    }
}

fn nothing(errno: Errno) -> Born {
    Born { number: 0, op: u32::MAX, errno: errno.0 as u32, pidfd: 0 }
}

/// What is known of a child.
fn known_of(children: &[u8], number: i32) -> u8 {
    let number = number as usize;
    children.get(number / 4).map_or(0, |byte| byte >> (number % 4 * 2) & 3)
}

fn told_as(happened: Change) -> (u32, i32) {
    match happened {
        Change::Exited(code) => (change::EXITED, code),
        Change::Killed(signal, false) => (change::KILLED, signal),
        Change::Killed(signal, true) => (change::DUMPED, signal),
        Change::Stopped(signal) => (change::STOPPED, signal),
        Change::Continued => (0, 0),
    }
}

/// Tells of a change, if there is room for that.
fn tell(number: i32, how: u32, status: i32, usage: &Usage) {
    let words = [number as u32, how, status as u32, 0];
    let header = Header { kind: kind::CHANGED, length: USAGE as u32, words, ..Header::default() };
    let mut bytes = [0; HEADER + USAGE];
    let told = header.encode();
    let used = usage.bytes();
    for (place, byte) in bytes.iter_mut().zip(told.iter().chain(used)) {
        *place = *byte;
    }
    // So small a message is taken whole or not at all. A creator that is gone is found out elsewhere.
    let _ = send(CHANNEL, &bytes, &[], false);
}

/// What is to be answered still to a batch of which nothing can be done.
fn refuse(line: Line, items: u32, errno: Errno) -> Option<Lot> {
    let mut lot = Lot::new(line);
    for _ in 0..items {
        lot.add(nothing(errno), -1).then_some(())?;
    }
    Some(lot)
}

/// Births that were not answered yet.
struct Lot {
    line: Line,
    births: [u8; BORN_AT_ONCE * Born::SIZE],
    pidfds: [i32; BORN_AT_ONCE],
    count: usize,
    held: usize,
}

impl Lot {
    fn new(line: Line) -> Lot {
        Lot { line, births: [0; BORN_AT_ONCE * Born::SIZE], pidfds: [-1; BORN_AT_ONCE], count: 0, held: 0 }
    }

    /// Adds a birth, and answers when there is no room for another.
    fn add(&mut self, born: Born, pidfd: i32) -> bool {
        let places = self.births.chunks_exact_mut(Born::SIZE).nth(self.count).unwrap_or_default();
        for (place, byte) in places.iter_mut().zip(born.encode()) {
            *place = byte;
        }
        self.count += 1;
        if let Some(place) = self.pidfds.get_mut(self.held).filter(|_| pidfd >= 0) {
            *place = pidfd;
            self.held += 1;
        }
        self.count < BORN_AT_ONCE || self.send()
    }

    fn send(&mut self) -> bool {
        if self.count == 0 {
            return true;
        }
        let body = self.births.get(..self.count * Born::SIZE).unwrap_or_default();
        let pidfds = self.pidfds.get(..self.held).unwrap_or_default();
        let header = Header {
            kind: kind::BORN,
            length: body.len() as u32,
            descriptors: pidfds.len() as u32,
            words: [self.count as u32, 0, 0, 0],
        };
        let sent = channel::answer(self.line, &header, [body, &[]], pidfds);
        channel::close(pidfds);
        (self.count, self.held) = (0, 0);
        sent
    }
}
