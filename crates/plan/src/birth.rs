//! The birth itself: a child that shares its creator's memory runs a plan.
//!
//! Safety idea: between `clone3` and exec the child runs only the interpreter, on a stack of its own, with every signal blocked; it
//! writes to nothing but that stack, the scratch and the numbers it was lent. The calling thread is held by the kernel meanwhile.
//! The library and the nursery give birth by this same code.

use beget_sys::Errno;
use beget_sys::process::{self, Born, Cradle};

use crate::encoding::Plan;
use crate::interpreter::{self, Bench, Fault, Outcome};
use crate::memory::Home;

/// What a child works in, beside the plan.
#[derive(Debug)]
pub struct Room<'a> {
    /// Its stack.
    pub stack: &'a mut [u8],
    /// [`Plan::scratch`] words at least.
    pub scratch: &'a mut [u64],
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub enum Birth {
    /// A child that executed its program.
    Child(Born),
    /// An operation failed; the child is ending, and still to be reaped.
    Failed(Born, Fault),
    /// No process could be made.
    None(Errno),
}

/// What the child needs, on the caller's stack.
struct Errand<'a> {
    plan: Plan<'a>,
    descriptors: *mut [i32],
    scratch: *mut [u64],
    fault: Option<Fault>,
}

/// Runs in the child.
extern "C" fn carry_out(errand: *mut ()) -> ! {
    // SAFETY: the creator waits in `clone3` with the errand alive and untouched; the slices in it are this child's alone. The
    // process is a newborn, and the plan was checked for this engine.
    unsafe {
        let errand = &mut *errand.cast::<Errand<'_>>();
        let (descriptors, scratch) = (&mut *errand.descriptors, &mut *errand.scratch);
        let mut bench = Bench { descriptors, scratch, answer: &mut [], home: Home::NONE };
        let fault = match interpreter::run(&errand.plan, &mut bench) {
            Outcome::Failed(fault) => fault,
            Outcome::Done | Outcome::Enter(..) | Outcome::Resume(_) => {
                Fault { op: errand.plan.count() as u32, errno: Errno::ENOEXEC }
            }
        };
        (&raw mut errand.fault).write_volatile(Some(fault));
    }
    process::exit(127)
}

/// Runs `plan`, which must have been checked for [`Engine::Vfork`](crate::Engine::Vfork), in a new child, with `numbers` as its
/// descriptors. Returns when the child executes its program or is about to end.
///
/// # Safety
/// The plan must have been checked for that engine, and what the numbers mean must stay open until this returns. Every signal must be
/// blocked in the calling thread.
pub unsafe fn give(plan: &Plan<'_>, numbers: &mut [i32], room: Room<'_>, cradle: Cradle) -> Birth {
    let Room { stack, scratch } = room;
    let mut errand =
        Errand { plan: *plan, descriptors: &raw mut *numbers, scratch: &raw mut *scratch, fault: None };
    // SAFETY: every signal is blocked, says the caller; `carry_out` neither returns nor unwinds; stack, scratch, numbers and errand outlive the
    // call and nobody else uses them until it returns.
    let born = unsafe { process::clone_sharing_memory(stack, cradle, carry_out, (&raw mut errand).cast()) };
    // SAFETY: `errand` is ours again; the child wrote it behind the compiler's back, hence the volatile read.
    let fault = unsafe { (&raw const errand.fault).read_volatile() };
    match (born, fault) {
        (Err(errno), _) => Birth::None(errno),
        (Ok(born), None) => Birth::Child(born),
        (Ok(born), Some(fault)) => Birth::Failed(born, fault),
    }
}
