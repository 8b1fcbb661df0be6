//! The nursery's side: it makes processes from plans, is their parent and subreaper, tells how they end, and ends the whole tree when
//! its creator is gone.
//!
//! It holds nothing: one socket, and what it needs to notice that a child or its creator has ended. What a batch brings is closed when
//! the batch is done. With a guard it is the child of a process that holds not even a socket, and that ends the tree if the nursery
//! itself is killed; and the other way round. A lasting one ends with its creator only if it has nothing to keep: else it waits, with its
//! children, for the next creator to call.
//!
//! Safety idea: it does what a batch says in order, and answers each item. It never waits for room to tell of an end: an end that cannot
//! be told yet stays with the kernel, as a child that has not been reaped, or where it is to be kept anyhow. So nothing is lost and
//! nothing is queued. What is its own is closed by every exec, and no plan reaches it by number.

use beget_sys::message::{READABLE, WRITABLE, Watched, accept, has_room, wait_for};
use beget_sys::process::{self};
use beget_sys::signal::{self, SignalSet};
use beget_sys::wait::{self, option};
use beget_sys::{Errno, descriptor};

use super::answers::{refuse, tell, told, told_as};
use super::channel::{self, Body, Came, Line, ROOM};
use super::kept::{End, Kept, Labels};
use super::{CHANNEL, CREATOR, LISTENER, Start, role, stack_in, tree};
use crate::message::{
    self, Batch, Header, LIVING_AT_ONCE, Living, MOST_GIVEN, MOST_ITEMS, change, flag, kind,
};

/// Process numbers are below this (`PID_MAX_LIMIT`).
pub(super) const MOST_PROCESSES: usize = 4 << 20;
/// What is known of a child, in [`tree::BITS`] bits.
pub(super) mod known {
    pub(in crate::stub) const BIRTH: u8 = 1;
    pub(in crate::stub) const STOPS: u8 = 2;
    pub(in crate::stub) const KEPT: u8 = 4;
}

pub(super) const SIGKILL: i32 = 9;
const SIGCHLD: i32 = 17;
pub(super) const SIGCONT: i32 = 18;

/// Rooms in the workplace, in words.
const NUMBERS: usize = MOST_GIVEN / 2;
const CHILD_STACK: usize = (32 << 10) / 8;

pub(super) struct Nursery<'a> {
    pub(super) line: Line,
    /// What is [`known`] of each process number: whether it is a birth that is still to be told of, whether its stops are, and whether its
    /// end is to be kept.
    children: Body<'static>,
    pub(super) labels: Labels,
    pub(super) kept: Kept,
    /// Where a short message lies while it is carried out.
    room: &'a mut [u64],
    pub(super) numbers: &'a mut [i32],
    pub(super) lent: &'a mut [i32],
    pub(super) stack: &'a mut [u64],
    pub(super) scratch: &'a mut [u64],
    signals: i32,
    /// An end waits for room in the channel.
    waiting: bool,
    /// It is the first process of a namespace: all others there are below it.
    first: bool,
    /// It outlives its creator, if there is something to keep.
    lasting: bool,
    /// There is a creator at the channel.
    connected: bool,
    /// What is its own has numbers below this one.
    pub(super) floor: u32,
}

/// What follows a message.
enum Next {
    /// Another one.
    More,
    /// Nothing: nobody is at the other end who speaks our language.
    Lost,
    /// The end, as somebody asked for.
    End,
}

/// Serves until the creator is gone.
///
/// # Safety
/// As for [`play`](super::play).
pub(super) unsafe fn live(start: &Start, workplace: &mut [u64]) -> ! {
    // SAFETY: a constant that ends in NUL. A name is all that is lost.
    let _ = unsafe { process::set_name(role::NURSERY.as_ptr().cast()) };
    let lasting = start.role == role::LASTING || start.role == role::LASTING_FIRST;
    let first = start.role == role::FIRST || start.role == role::LASTING_FIRST;
    // Whoever made us, watched by a descriptor, so that no thread of it need live on.
    let creator = match (lasting, first) {
        (true, _) => -1,
        (false, true) => CREATOR,
        (false, false) => process::parent().and_then(|number| process::open(number as u32)).unwrap_or(-1),
    };
    // Whatever a plan forgets to close: what is ours is not for those born here.
    let second = if lasting || first { descriptor::close_on_exec(CREATOR) } else { Ok(()) };
    let prepared = descriptor::close_on_exec(CHANNEL)
        .and(second)
        .and_then(|()| process::subreaper(true))
        .and_then(|_| signal::set_mask(SignalSet::ALL));
    if prepared.is_err() {
        process::exit(125);
    }
    let mut guard = -1;
    if start.role == role::GUARDED || start.role == role::LASTING {
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
        (rooms, signals, Body::zeroed(MOST_PROCESSES / tree::IN_A_BYTE))
    else {
        process::exit(125)
    };
    let line = Line { socket: CHANNEL, others: [creator, guard] };
    // They were the first to be opened, and are few.
    let floor = signals.max(creator).max(guard).max(LISTENER) as u32 + 1;
    let mut nursery = Nursery {
        line,
        children,
        labels: Labels::NONE,
        kept: Kept::NONE,
        room,
        numbers,
        lent,
        stack,
        scratch,
        signals,
        waiting: false,
        first,
        lasting,
        connected: true,
        floor,
    };
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
    /// Serves until the channel is closed, or the creator or the guard has ended; a lasting one until nobody is at the channel and nothing
    /// is left to keep.
    fn serve(&mut self) {
        loop {
            self.tell_changes();
            if !self.connected && self.labels.count == 0 && self.kept.count == 0 {
                return;
            }
            let [creator, guard] = self.line.others;
            let room = if self.waiting { WRITABLE } else { 0 };
            let watch = |fd, wanted| Watched { fd, wanted, happened: 0 };
            let mut watched = [
                if self.connected { watch(CHANNEL, READABLE | room) } else { watch(LISTENER, READABLE) },
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
            if channel.happened & !WRITABLE == 0 {
                continue;
            }
            if !self.connected {
                self.await_creator();
                continue;
            }
            let room = core::mem::take(&mut self.room);
            let next = self.take_message(room);
            self.room = room;
            match next {
                Next::More => {}
                Next::Lost if self.lasting => self.let_go(),
                Next::Lost | Next::End => return,
            }
        }
    }

    /// Lets go of a creator that is gone, and of whatever came from it.
    fn let_go(&mut self) {
        self.connected = false;
        // SAFETY: the channel, and what is not the nursery's own.
        unsafe {
            let _ = descriptor::close(CHANNEL);
            let _ = descriptor::close_range(self.floor, u32::MAX);
        }
    }

    /// Takes whoever calls for the creator.
    fn await_creator(&mut self) {
        let Ok(socket) = accept(LISTENER) else { return };
        // The lowest free number is that of the channel that was closed.
        self.connected = socket == CHANNEL;
        if !self.connected {
            channel::close(&[socket]);
        }
    }

    /// Ends everything, and tells of the births among it while there is room: who asked for the end may be reading still.
    fn end(&mut self) {
        let children = self.children.bytes();
        if self.first {
            // All at once: nobody forks between.
            let _ = signal::kill(-1, SIGKILL);
        }
        let labels = &self.labels;
        tree::end_all(children, |(number, happened, usage)| {
            if known_of(children, number) != 0 {
                tell(&End::new(labels.of(number as u32), number, told_as(happened), usage));
            }
        });
    }

    pub(super) fn know(&mut self, number: u32, what: u8) {
        let number = number as usize;
        if let Some(place) = self.children.bytes_mut().get_mut(number / tree::IN_A_BYTE) {
            let shift = number % tree::IN_A_BYTE * tree::BITS;
            *place = *place & !(tree::MASK << shift) | what << shift;
        }
    }

    /// A child that is reaped.
    pub(super) fn forget(&mut self, number: u32) {
        self.know(number, 0);
        self.labels.set(number, 0);
    }

    fn known(&self, number: i32) -> u8 {
        known_of(self.children.bytes(), number)
    }

    /// Tells of the children that changed, and reaps those that ended, orphans too.
    fn tell_changes(&mut self) {
        let look = option::EXITED | option::STOPPED | option::ALL | option::NO_HANG;
        self.waiting = false;
        loop {
            self.tell_kept();
            let (number, happened, usage) = match wait::any(look | option::NO_WAIT) {
                Ok(Some(change)) => change,
                Err(Errno::EINTR) => continue,
                _ => break,
            };
            let known = self.known(number);
            let (how, status) = told_as(happened);
            let stop = how == change::STOPPED;
            let wanted = if stop { known::STOPS } else { known::BIRTH };
            let keep = !stop && known & known::KEPT != 0;
            let told = known & wanted != 0 && !keep && self.connected;
            if keep && !self.kept.has_room() {
                break;
            }
            if told && !has_room(CHANNEL) {
                self.waiting = true;
                break;
            }
            let end = End::new(self.labels.of(number as u32), number, (how, status), usage);
            // First reaped, then told: who is told of an end finds not even a zombie.
            let only = if stop { option::STOPPED } else { option::EXITED };
            let _ = wait::child(number, only | option::ALL | option::NO_HANG);
            if keep {
                // There is room, as was seen above.
                let _ = self.kept.keep(end);
            }
            if !stop {
                self.forget(number as u32);
            }
            if told {
                tell(&end);
            }
        }
        self.waiting |= self.kept.has_untold() && self.connected;
    }

    /// Tells kept ends that were not told yet, as far as there is room.
    fn tell_kept(&mut self) {
        if self.connected {
            self.kept.tell(|end| has_room(CHANNEL) && tell(end));
        }
    }

    /// Takes the next message, into `room` if it is short.
    fn take_message(&mut self, room: &mut [u64]) -> Next {
        let more = match channel::receive(self.line, self.numbers, room) {
            Came::Message(header, body, count) if header.kind == kind::BATCH => {
                let [items, flags, ..] = header.words;
                if items as usize > MOST_ITEMS {
                    return Next::Lost;
                }
                let lot = match Batch::check(body.bytes(), items, count) {
                    Some(batch) => self.give_birth(&batch, items as usize, flags & flag::ATOMIC != 0),
                    None => refuse(self.line, items, Errno::EINVAL),
                };
                // Before the last answer: whoever has it finds that nothing is held here any more.
                channel::close(self.numbers.get(..count).unwrap_or_default());
                lot.is_some_and(|mut lot| lot.send())
            }
            Came::Message(header, _, 0) => match header.kind {
                kind::SIGNAL => {
                    let [number, signal, low, high] = header.words;
                    // A child that is not reaped yet: the number is its own.
                    let known = self.known(number as i32) & known::BIRTH != 0;
                    if known && self.labels.of(number) == message::label([low, high]) {
                        let _ = signal::kill(number as i32, signal as i32);
                    }
                    true
                }
                kind::TAKEN => {
                    let [low, high, ..] = header.words;
                    self.kept.take(message::label([low, high]));
                    true
                }
                kind::ROLL => self.call_roll(),
                kind::QUIT => return Next::End,
                _ => false,
            },
            Came::TooMuch(Header { kind: kind::BATCH, words: [items, ..], .. }, errno)
                if items as usize <= MOST_ITEMS =>
            {
                refuse(self.line, items, errno).is_some_and(|mut lot| lot.send())
            }
            _ => false,
        };
        if more { Next::More } else { Next::Lost }
    }

    /// Tells which labelled births live, and has every kept end told once more. `false` when nobody listens.
    fn call_roll(&mut self) -> bool {
        self.kept.tell_again();
        // All of them before the answer, which says that there are no more.
        let line = self.line;
        self.kept.tell(|end| {
            let (header, body) = told(end);
            channel::answer(line, &header, [&body, &[]], &[])
        });
        if self.kept.has_untold() {
            return false;
        }
        let mut body = [0; LIVING_AT_ONCE * Living::SIZE];
        let mut count = 0;
        let until = self.labels.highest as usize / tree::IN_A_BYTE;
        let bytes = self.children.bytes().get(..=until).unwrap_or_default();
        for (index, _) in bytes.iter().enumerate().filter(|(_, known)| **known != 0) {
            let first = (index * tree::IN_A_BYTE) as u32;
            for number in first..first + tree::IN_A_BYTE as u32 {
                let label = self.labels.of(number);
                if label == 0 {
                    continue;
                }
                if count == LIVING_AT_ONCE {
                    if !self.say_living(&body, count, true) {
                        return false;
                    }
                    count = 0;
                }
                let [label_low, label_high] = message::label_words(label);
                let place = body.chunks_exact_mut(Living::SIZE).nth(count).unwrap_or_default();
                for (place, byte) in place.iter_mut().zip(Living { label_low, label_high, number }.encode()) {
                    *place = byte;
                }
                count += 1;
            }
        }
        self.say_living(&body, count, false)
    }

    fn say_living(&self, body: &[u8], count: usize, more: bool) -> bool {
        let body = body.get(..count * Living::SIZE).unwrap_or_default();
        let words = [count as u32, u32::from(more), 0, 0];
        let header = Header { kind: kind::ROLL, length: body.len() as u32, descriptors: 0, words };
        channel::answer(self.line, &header, [body, &[]], &[])
    }
}

/// What is known of a child.
fn known_of(children: &[u8], number: i32) -> u8 {
    let number = number as usize;
    let byte = children.get(number / tree::IN_A_BYTE).copied().unwrap_or(0);
    byte >> (number % tree::IN_A_BYTE * tree::BITS) & tree::MASK
}
