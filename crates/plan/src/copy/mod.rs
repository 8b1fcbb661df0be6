//! The copying engine: runs a plan in a copy of the calling process, which then goes on in the caller's code and executes nothing.
//!
//! Safety idea: the copy has the caller's memory, and in it everything that says "this number is mine". So a plan is taken only if every number
//! that is open in the caller means the same file in the copy or nothing at all, and none of its operations touches memory. The copy waits
//! until its maker holds its pidfd, and nothing of the caller's runs in it before every operation is done.
//!
//! It is made by the C library's own `fork`, not by a bare `clone3`: what goes on is ordinary code, which allocates, and may have
//! libraries beside it that must know of the copy (`man 3 pthread_atfork`).

mod alone;

use std::boxed::Box;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::vec;

use beget_sys::process::{self, Child};
use beget_sys::signal::{self, SignalSet};
use beget_sys::{Errno, descriptor, message, wait};

pub use alone::{Means, Refusal, Table};

use crate::encoding::Plan;
use crate::engine::Failure;
use crate::interpreter::{self, Bench, Fault, Outcome};
use crate::memory::Home;
use crate::op::{Engine, Op};

/// The exit code of a copy whose code panicked, as of any Rust program.
const PANICKED: i32 = 101;
/// Of one whose birth failed; nobody sees it.
const FAILED: i32 = 127;

/// What a copy is told.
#[derive(Clone, Copy, Debug)]
pub struct Copying<'a> {
    /// A part of a plan, checked for [`Engine::Vfork`]: nothing in it touches memory. It says of every number of the [`Table`] what the copy has
    /// there: the same, one of the standard streams, or [`nothing`](Copying::nothing). What it uses beside these is to lie past [`Table::end`], and
    /// to be closed by it when it is done.
    pub plan: Plan<'a>,
    /// Its descriptors, but for the last two, which are [`report`](Copying::report) and [`nothing`](Copying::nothing). One that is kept is given
    /// as the number that it has.
    pub descriptors: &'a [BorrowedFd<'a>],
    /// The slot, past [`Table::end`], into which it puts the report.
    pub slot: i32,
}

impl Copying<'_> {
    /// The index of the report among the plan's descriptors, of which `given` come from whoever writes it.
    #[must_use]
    pub const fn report(given: usize) -> u32 {
        given as u32
    }

    /// The index of what is put at every number that the copy does not hold.
    #[must_use]
    pub const fn nothing(given: usize) -> u32 {
        given as u32 + 1
    }
}

/// Makes a copy of the calling process that runs the plan, then `body`, and ends with the exit code that this gives. Returns when the plan
/// was run.
///
/// What fails leaves no process, no zombie and no descriptor; it sends a SIGCHLD, as every end of a child does.
///
/// # Errors
/// [`Failure::Birth`] when no process could be made (`EAGAIN`, `ENOMEM`, `EMFILE`), and `EINVAL` for a plan that is not as [`Copying`] says;
/// [`Failure::Op`] with the operation and its errno.
pub fn spawn(
    copying: Copying<'_>,
    means: Means,
    table: &Table,
    body: impl FnOnce() -> u8,
) -> Result<Child, Failure> {
    let Copying { plan, descriptors, slot } = copying;
    let own = [means.theirs.as_fd(), means.nothing.as_fd()];
    let mut numbers: Box<[i32]> = descriptors.iter().chain(&own).map(|fd| fd.as_raw_fd()).collect();
    let is_sound = plan.engine() == Engine::Vfork
        && !plan.ends()
        && plan.descriptors() == numbers.len()
        && slot >= table.end()
        && keeps_numbers(&plan, &numbers, table);
    if !is_sound {
        return Err(Failure::Birth(Errno::EINVAL));
    }
    let mut scratch = vec![0u64; plan.scratch()];
    let mask = signal::set_mask(SignalSet::ALL).map_err(Failure::Birth)?;
    // SAFETY: one thread, as `means` says, which cannot be had otherwise; in the copy every number means what it did or nothing before any code
    // of the caller's runs, as was looked at above.
    let born = match unsafe { process::fork_with_library() } {
        Ok(None) => {
            let bench =
                Bench { descriptors: &mut numbers, scratch: &mut scratch, answer: &mut [], home: Home::NONE };
            let line = Line { makers: means.ours.as_raw_fd(), source: descriptors.len(), slot };
            // SAFETY: this is the copy.
            unsafe { begin(&plan, bench, line) };
            // What called us in the caller is not the copy's to go on with.
            match catch_unwind(AssertUnwindSafe(body)) {
                Ok(code) => process::exit(code.into()),
                Err(_) => process::exit(PANICKED),
            }
        }
        Ok(Some(number)) => held(number, means),
        Err(errno) => Err(Failure::Birth(errno)),
    };
    // The mask that the kernel gave out a moment ago is one it takes back.
    let _ = signal::set_mask(mask);
    born
}

/// Whether every number that is open means the same in the copy, or nothing, when the plan was run; the standard streams are filled by it.
fn keeps_numbers(plan: &Plan<'_>, numbers: &[i32], table: &Table) -> bool {
    let nothing = numbers.len() - 1;
    let mut settled = vec![false; table.end() as usize];
    for op in (0..plan.count()).filter_map(|index| plan.op(index)) {
        match op {
            Op::Place { source, slot, .. } => {
                let Some(place) = settled.get_mut(slot as usize) else { continue };
                let source = source as usize;
                if slot > 2 && source != nothing && numbers.get(source) != Some(&slot) {
                    return false;
                }
                *place = true;
            }
            Op::Close { first, .. } if i64::from(first) < i64::from(table.end()) => return false,
            Op::Open { .. } => return false,
            _ => {}
        }
    }
    table.open().iter().all(|number| settled.get(*number as usize) == Some(&true))
}

/// What the copy speaks over.
struct Line {
    /// The maker's end, which the copy has too.
    makers: i32,
    /// Where its own is among the descriptors.
    source: usize,
    /// And its slot, once everything is done.
    slot: i32,
}

/// Runs the plan in the copy and tells how far it came; ends the copy where that is not the end.
///
/// # Safety
/// The calling process must be a new copy, with one thread.
unsafe fn begin(plan: &Plan<'_>, mut bench: Bench<'_>, line: Line) {
    // SAFETY: nothing of the caller's runs here before the plan puts something at this number.
    let _ = unsafe { descriptor::close(line.makers) };
    let own = |bench: &Bench<'_>| bench.descriptors.get(line.source).copied().unwrap_or(-1);
    let mut go = [0];
    loop {
        match descriptor::read(own(&bench), &mut go) {
            Err(Errno::EINTR) => {}
            Ok(1) => break,
            // Its maker could not hold it.
            _ => process::exit(FAILED),
        }
    }
    // SAFETY: a copy with a descriptor table of its own; the plan was checked for a process whose memory it must not touch, and keeps what is
    // owned there.
    let fault = match unsafe { interpreter::run(plan, &mut bench) } {
        Outcome::Done => {
            tell(&[line.slot], [u32::MAX, 0]);
            // SAFETY: past every number that was open in the caller, so it is nobody's but ours.
            let _ = unsafe { descriptor::close(line.slot) };
            return;
        }
        Outcome::Failed(fault) => fault,
        Outcome::Enter(..) | Outcome::Resume(_) => Fault { op: plan.count() as u32, errno: Errno::ENOEXEC },
    };
    // It was closed where it came from when it lay in its slot; before that there is nothing.
    tell(&[line.slot, own(&bench)], [fault.op, fault.errno.0 as u32]);
    process::exit(FAILED)
}

/// Over the first of these numbers that is a socket.
fn tell(numbers: &[i32], [op, errno]: [u32; 2]) {
    let word = u64::from(op) | u64::from(errno) << 32;
    for socket in numbers {
        // Where its maker has died it goes on: that is no fault of its own.
        if message::send(*socket, &word.to_ne_bytes(), &[], true) != Err(Errno::EBADF) {
            return;
        }
    }
}

/// The maker's side: holds the copy, lets it begin, and hears how far it came.
fn held(number: u32, means: Means) -> Result<Child, Failure> {
    let Means { ours, theirs, .. } = means;
    drop(theirs);
    let pidfd = match process::open(number) {
        // SAFETY: the kernel gave us this descriptor a moment ago, and nobody else knows it. The number is the copy's: it waits for us.
        Ok(fd) => unsafe { OwnedFd::from_raw_fd(fd) },
        Err(errno) => {
            // With its end of the line it ends.
            drop(ours);
            while wait::child(number as i32, wait::option::EXITED | wait::option::ALL) == Err(Errno::EINTR) {}
            return Err(Failure::Birth(errno));
        }
    };
    let child = Child { number, pidfd };
    match hear(&ours) {
        Ok(None) => Ok(child),
        Ok(Some(fault)) => {
            reap(&child);
            Err(Failure::Op(fault))
        }
        Err(errno) => {
            // What is not known to hold no more than it should is not let go on.
            const SIGKILL: i32 = 9;
            let _ = wait::send_signal(child.pidfd.as_fd(), SIGKILL);
            drop(ours);
            reap(&child);
            Err(Failure::Birth(errno))
        }
    }
}

/// Lets the copy begin and hears how far it came: no fault when everything was done, and also when it was killed meanwhile, for then it is a child
/// that was killed.
fn hear(line: &OwnedFd) -> beget_sys::Result<Option<Fault>> {
    match message::send(line.as_raw_fd(), &[1], &[], true) {
        Err(Errno::EPIPE) => return Ok(None),
        sent => drop(sent?),
    }
    let (mut word, mut got) = ([0; 8], 0);
    while let Some(rest @ [_, ..]) = word.get_mut(got..) {
        match descriptor::read(line.as_raw_fd(), rest) {
            Ok(0) | Err(Errno::ECONNRESET) => return Ok(None),
            Ok(more) => got += more,
            Err(Errno::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    let word = u64::from_ne_bytes(word);
    let fault = |op| Fault { op, errno: Errno((word >> 32) as i32) };
    Ok(match word as u32 {
        u32::MAX => None,
        op => Some(fault(op)),
    })
}

/// Waits for a copy that is ending, so that not even a zombie is left.
fn reap(child: &Child) {
    while wait::on(child.pidfd.as_fd(), wait::option::EXITED | wait::option::ALL) == Err(Errno::EINTR) {}
}
