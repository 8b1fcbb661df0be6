//! The stub: all that runs in a nursery and in an embryo. It is linked as a program of a few KiB that needs nothing, and executed from
//! sealed memory.
//!
//! Started as a [`nursery`], it makes processes from plans, is their parent and reaper, tells how they end, and ends the whole tree
//! when its creator is gone. Started as an [`embryo`], it does to itself what it is told, op by op or in batches, until it becomes a
//! program by an exec, or [leaves](leave) for one that was put into its memory.
//!
//! Safety idea: there is no libc and no heap; what is remembered lies in one structure beside the code, or on the stack. Whatever
//! comes over the socket passes the same checks as a plan from anybody. A socket that is closed ends everything.

mod answers;
mod bear;
mod channel;
pub mod embryo;
mod kept;
pub mod leave;
pub mod nursery;
mod reach;
pub mod template;
mod tree;

use core::ffi::CStr;

/// The stub as an ELF executable.
#[cfg(not(beget_freestanding))]
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/stub.elf"));

/// The stub's code, as it is put beside a program; entered at its first byte with the stack pointer at what a kernel would leave there:
/// the number of arguments, the role and a null, a null, and an auxiliary vector. Right behind its last whole page it wants
/// [`WORKPLACE`] bytes of zeroed memory.
#[cfg(not(beget_freestanding))]
#[must_use]
pub fn code() -> &'static [u8] {
    // The headers are in the first page, for the kernel alone.
    PROGRAM.get(0x1000..).unwrap_or_default()
}

/// The descriptor that a stub finds its channel at.
pub const CHANNEL: i32 = 0;
/// The descriptor that a nursery in a root of its own finds its creator at, which has no number there.
pub const CREATOR: i32 = 1;
/// The descriptor that a lasting nursery finds the socket at where its next creator will call.
pub const LISTENER: i32 = 1;

/// What a stub is started as: its first argument.
pub mod role {
    use core::ffi::CStr;

    /// A process that is to be built.
    pub const EMBRYO: &CStr = c"beget-embryo";
    /// A program with a stub beside it, which makes copies of it.
    pub const TEMPLATE: &CStr = c"beget-template";
    /// A nursery whose creator adopts, and ends, what it leaves behind if it is killed.
    pub const NURSERY: &CStr = c"beget-nursery";
    /// The same with a guard: a parent that does that for it.
    pub const GUARDED: &CStr = c"beget-guard";
    /// The first process of a namespace of process numbers: when it ends the kernel ends all others in it.
    pub const FIRST: &CStr = c"beget-root";
    /// A nursery with a guard that outlives its creator: when its channel closes it keeps its labelled births and their ends, and takes
    /// whoever connects to its listening socket for its creator. With nothing to keep it ends.
    pub const LASTING: &CStr = c"beget-lasting";
    /// The same as the first process of a namespace.
    pub const LASTING_FIRST: &CStr = c"beget-lasting-root";
}

/// Bytes of zeroed memory right behind the stub's code.
pub const WORKPLACE: usize = 256 << 10;
/// The stub's own stack, at the end of the workplace.
const STACK: usize = 64 << 10;

/// What the kernel left on the first stack.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    /// The first argument.
    pub role: &'static CStr,
    /// The auxiliary vector, up to and with its end.
    pub auxiliary: &'static [[u64; 2]],
    /// Where code and workplace lie.
    pub home: (usize, usize),
}

impl Start {
    /// The value of an entry of the auxiliary vector.
    pub(crate) fn value(&self, kind: u64) -> Option<u64> {
        self.auxiliary.iter().find(|[key, _]| *key == kind).map(|[_, value]| *value)
    }
}

/// Plays the role that `start` names, on a stack in `workplace` that is not among `bytes`.
///
/// # Safety
/// The calling process must be one that was just executed, all of whose memory is its stack, its code and its workplace.
pub unsafe fn play(start: &Start, workplace: &mut [u64]) -> ! {
    if start.role == role::EMBRYO {
        // SAFETY: the caller's promise.
        unsafe { embryo::live(start, workplace) }
    }
    if start.role == role::TEMPLATE {
        // SAFETY: likewise.
        unsafe { template::live(start, workplace) }
    }
    // SAFETY: likewise.
    unsafe { nursery::live(start, workplace) }
}

/// Where the stub's own stack ends, and where it begins in a workplace of `length` bytes.
#[must_use]
pub const fn stack_in(length: usize) -> (usize, usize) {
    (length, length - STACK)
}
