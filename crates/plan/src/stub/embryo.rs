//! The embryo's side: what it is told over its channel it does to itself, and answers; until it becomes a program.
//!
//! Safety idea: it is told only by whoever holds the other end of its channel, and a closed channel ends it. Each part is checked as a
//! stranger's would be. An operation can neither reach the stub's memory nor its descriptors, so a failed one leaves an embryo that
//! can be told the next thing.

use beget_sys::{Errno, descriptor, process};

use super::leave::{self, Whereabouts};
use super::{CHANNEL, Start, channel, stack_in};
use crate::encoding::Plan;
use crate::interpreter::{self, Bench, Fault, Outcome};
use crate::memory::Home;
use crate::message::{Header, Hello, MOST_GIVEN, kind};
use crate::op::{Engine, Op, mapping};
use channel::{Body, Came, Line, ROOM};

/// Numbers of received descriptors, at the beginning of the workplace.
const NUMBERS: usize = MOST_GIVEN / 2;

/// An answer to a part that is no plan.
const REFUSED: Fault = Fault { op: u32::MAX, errno: Errno::EINVAL };

/// An answer to one that was done.
const DONE: Fault = Fault { op: 0, errno: Errno(0) };

/// What an embryo works with.
pub(super) struct Embryo<'a> {
    pub(super) from: Whereabouts,
    /// Its channel.
    pub(super) socket: i32,
    /// Whoever made it knows of it.
    is_known: bool,
    /// Numbers of received descriptors.
    pub(super) numbers: &'a mut [i32],
    /// Where what it is told lies, if that is short.
    pub(super) coming: &'a mut [u64],
    /// The same for what it answers.
    pub(super) going: &'a mut [u64],
    pub(super) scratch: &'a mut [u64],
}

impl Embryo<'_> {
    /// One in a workplace, whose stack it leaves alone.
    pub(super) fn new<'a>(from: Whereabouts, socket: i32, workplace: &'a mut [u64]) -> Option<Embryo<'a>> {
        let (_, free) = stack_in(size_of_val(workplace));
        let (numbers, free) = workplace.get_mut(..free / 8)?.split_at_mut_checked(NUMBERS)?;
        let (coming, free) = free.split_at_mut_checked(ROOM)?;
        let (going, scratch) = free.split_at_mut_checked(ROOM)?;
        // SAFETY: any bytes are numbers.
        let numbers = unsafe { numbers.align_to_mut() }.1;
        Some(Embryo { from, socket, is_known: false, numbers, coming, going, scratch })
    }

    /// Waits to be told, for ever.
    ///
    /// # Safety
    /// As for [`play`](super::play).
    pub(super) unsafe fn serve(mut self) -> ! {
        loop {
            let coming = core::mem::take(&mut self.coming);
            if let Some(first) = coming.first_mut() {
                // Its page is there before what comes, not while somebody waits for that: in a copy that has not used it yet it would be missing.
                // SAFETY: a live place, and the value that it has.
                unsafe { core::ptr::write_volatile(first, 0) };
            }
            let (address, length) = (coming.as_mut_ptr(), coming.len());
            match channel::receive(Line::alone(self.socket), self.numbers, coming) {
                Came::Message(header, body, count) if header.kind == kind::PART => {
                    let [floor, held, ..] = header.words;
                    let held = held == 1 && !self.is_known;
                    // SAFETY: the caller's promise.
                    unsafe { self.take((floor as i32, held), body, count) };
                }
                // Two say something over this channel, and this one was first.
                Came::Message(Header { kind: kind::GO, .. }, _, 0) => self.is_known = true,
                Came::TooMuch(_, errno) => _ = answer(self.socket, Fault { op: u32::MAX, errno }, &[]),
                _ => process::exit(0),
            }
            // SAFETY: lent to what came, which is gone.
            self.coming = unsafe { core::slice::from_raw_parts_mut(address, length) };
        }
    }

    /// Does a part, with as many received numbers, with its channel at `floor` from now on; and answers. One that is `held` goes on as its program
    /// only when it is told so.
    ///
    /// # Safety
    /// As for [`serve`](Embryo::serve).
    pub(super) unsafe fn take(&mut self, (floor, held): (i32, bool), body: Body<'_>, count: usize) {
        let numbers = self.numbers.get_mut(..count).unwrap_or_default();
        let done = match settle(&mut self.socket, floor, numbers) {
            Err(errno) => {
                // Some of them may be below the channel still, where slots are.
                channel::close(numbers);
                drop(body);
                Err(Fault { op: u32::MAX, errno })
            }
            // SAFETY: the caller's promise: this process is for the plan, but for its home.
            Ok(()) => unsafe {
                carry_out(&self.from, (self.socket, held), body, numbers, self.going, self.scratch)
            },
        };
        // Whoever is answered finds nothing of the part any more, but what it did.
        // SAFETY: whatever is above the channel came with this part.
        let _ = unsafe { descriptor::close_range(self.socket as u32 + 1, u32::MAX) };
        match done {
            // A creator that left is found out by the next receive.
            Ok(answers) => _ = answer(self.socket, DONE, answers.bytes()),
            Err(fault) => _ = answer(self.socket, fault, &[]),
        }
    }
}

/// Says where it is, and waits to be told.
///
/// # Safety
/// As for [`play`](super::play).
pub(super) unsafe fn live(start: &Start, workplace: &mut [u64]) -> ! {
    // SAFETY: a constant that ends in NUL. A name is all that is lost.
    let _ = unsafe { process::set_name(super::role::EMBRYO.as_ptr().cast()) };
    let from = Whereabouts::of(start);
    let Some(embryo) = Embryo::new(from, CHANNEL, workplace) else { process::exit(125) };
    if !say_hello(start, &from, CHANNEL) {
        process::exit(0);
    }
    // SAFETY: the caller's promise.
    unsafe { embryo.serve() }
}

/// Tells where things are: the stack, the stub, and all that the kernel told.
fn say_hello(start: &Start, from: &Whereabouts, socket: i32) -> bool {
    const EXECUTABLE_NAME: u64 = 31;
    // The kernel puts the name at the very end of the stack, and eight bytes of zero behind it.
    let name = start.value(EXECUTABLE_NAME).unwrap_or(0);
    let end = if name == 0 {
        0
    } else {
        // SAFETY: the kernel put a string that ends in NUL there.
        let length = unsafe { core::ffi::CStr::from_ptr(name as *const _) }.count_bytes() as u64;
        name + length + 1 + 8
    };
    let leaves = from.calls.and_then(leave::find).is_some();
    let hello = Hello {
        stack_low: end as u32,
        stack_high: (end >> 32) as u32,
        home_low: start.home.0 as u32,
        home_high: (start.home.0 as u64 >> 32) as u32,
        home_bytes: start.home.1 as u32,
        leaves: leaves.into(),
    };
    let vector = start.auxiliary.as_flattened();
    // SAFETY: numbers are bytes; the slice is as long.
    let vector = unsafe { core::slice::from_raw_parts(vector.as_ptr().cast::<u8>(), size_of_val(vector)) };
    let length = (Hello::SIZE + vector.len()) as u32;
    let header = Header { kind: kind::HELLO, length, ..Header::default() };
    channel::answer(Line::alone(socket), &header, [&hello.encode(), vector], &[])
}

/// Moves the channel to `floor` and what was received above it, so that every number below is the plan's.
fn settle(socket: &mut i32, floor: i32, numbers: &mut [i32]) -> beget_sys::Result<()> {
    if floor < 0 {
        return Err(Errno::EINVAL);
    }
    for number in numbers {
        if *number <= floor {
            let moved = descriptor::duplicate_above(*number, floor as u32 + 1)?;
            // SAFETY: received, and nobody else knows it; not the channel, which was open before.
            let _ = unsafe { descriptor::close(*number) };
            *number = moved;
        }
    }
    if *socket != floor {
        // SAFETY: what is at `floor`, if anything, was a slot of the plan's own until now, and is no more.
        unsafe { descriptor::duplicate_onto(*socket, floor, true) }?;
        // SAFETY: the channel has another number.
        let _ = unsafe { descriptor::close(*socket) };
        *socket = floor;
    }
    Ok(())
}

/// Does what a part says, and gives what its operations answer.
///
/// # Safety
/// As for [`live`].
unsafe fn carry_out<'r>(
    from: &Whereabouts,
    (socket, held): (i32, bool),
    body: Body<'_>,
    numbers: &mut [i32],
    going: &'r mut [u64],
    scratch: &mut [u64],
) -> Result<Body<'r>, Fault> {
    let plan = Plan::check_part(body.bytes(), Engine::Fresh).map_err(|_| REFUSED)?;
    if plan.descriptors() != numbers.len() {
        return Err(REFUSED);
    }
    if tells_of_a_program(&plan) {
        // SAFETY: the home is as this process was executed. Where it cannot be, the process keeps the name of the stub.
        let _ = unsafe { leave::detach(from) };
    }
    let lack = |errno| Fault { op: u32::MAX, errno };
    let mut answers = Body::zeroed_in(going, plan.answer_bytes()).map_err(lack)?;
    // A plan with many strings wants more room than there is beside the stub.
    let more = if plan.scratch() > scratch.len() { plan.scratch() * 8 } else { 0 };
    let mut more = Body::zeroed(more).map_err(lack)?;
    let own = (from.home.0, from.home.0.saturating_add(from.home.1));
    let memory = [own, from.way_out(), body.range(), answers.range(), more.range()];
    let scratch = if plan.scratch() > scratch.len() {
        // SAFETY: any bytes are words, and a mapping is aligned.
        unsafe { more.bytes_mut().align_to_mut::<u64>() }.1
    } else {
        scratch
    };
    let home = Home { floor: socket, memory };
    let mut bench = Bench { descriptors: numbers, scratch, answer: answers.bytes_mut(), home };
    // SAFETY: the caller's promise.
    match unsafe { interpreter::run(&plan, &mut bench) } {
        Outcome::Failed(fault) => Err(fault),
        Outcome::Done => Ok(answers),
        Outcome::Enter(registers, stop) => {
            let op = (plan.count() as u32).saturating_sub(1);
            let gone = || drop((body, answers, more));
            // SAFETY: everything that is not the program's is the home, but for what is dropped before.
            match unsafe { leave::leave(from, &registers, socket, stop, gone) } {
                Err(errno) => Err(Fault { op, errno }),
            }
        }
        Outcome::Resume(changes) => match &from.passage {
            Some(passage) => {
                let op = (plan.count() as u32).saturating_sub(1);
                let changes = plan.words(changes, size_of::<[u64; 2]>()).unwrap_or_default();
                // SAFETY: likewise.
                unsafe { leave::change(passage, changes) }.map_err(|errno| Fault { op, errno })?;
                drop((body, answers, more));
                // Whoever is not told this knows that nothing of the program ran: so nothing does where it cannot be told.
                if held && !is_let_go_on(socket) || !answer(socket, DONE, &[]) {
                    process::exit(0);
                }
                // SAFETY: the passage is that of the program around the home, of which nothing was changed but by the plan.
                unsafe { leave::resume(from, passage, socket) }
            }
            None => Err(Fault { op: (plan.count() as u32).saturating_sub(1), errno: Errno::EINVAL }),
        },
    }
}

/// Whether the kernel is to be told of another executable file.
fn tells_of_a_program(plan: &Plan<'_>) -> bool {
    (0..plan.count()).any(|index| {
        matches!(plan.op(index), Some(Op::MemoryMap { executable, .. }) if executable != mapping::NO_FILE)
    })
}

/// Waits until somebody knows of this birth.
fn is_let_go_on(socket: i32) -> bool {
    let came = channel::receive(Line::alone(socket), &mut [], &mut []);
    matches!(came, Came::Message(Header { kind: kind::GO, .. }, _, 0))
}

/// `false` when nobody hears it any more.
fn answer(socket: i32, fault: Fault, body: &[u8]) -> bool {
    let words = [fault.op, fault.errno.0 as u32, 0, 0];
    let header = Header { kind: kind::ANSWER, length: body.len() as u32, words, ..Header::default() };
    channel::answer(Line::alone(socket), &header, [body, &[]], &[])
}
