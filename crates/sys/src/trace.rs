//! Tracing another process (`man 2 ptrace`): stopping it, its registers, its signal mask, its memory.
//!
//! A tracer is a thread: what is asked here of a process is asked by the thread that seized it.
//!
//! Safety idea: nothing here touches the calling process's memory but what was lent; what is done to the other process is data to this one.

use crate::{Errno, Result, arch, nr};

/// What the kernel is asked to tell, and to do with the process when its tracer ends.
pub mod option {
    /// Stops at calls are told apart from other traps.
    pub const TELL_CALLS_APART: usize = 1;
    /// What it makes is traced too, with the same options, from before its first instruction: by `fork`, by `vfork`, by `clone`.
    pub const ITS_CHILDREN: usize = 2 | 4 | 8;
    /// It stops at each exec.
    pub const EXEC: usize = 0x10;
    /// It stops when it is about to end, its memory still there.
    pub const EXIT: usize = 0x40;
    /// It is killed when its tracer ends.
    pub const KILLED_WITH_TRACER: usize = 0x10_0000;
}

const CONTINUE: usize = 7;
const SINGLE_STEP: usize = 9;
const DETACH: usize = 17;
const NEXT_CALL: usize = 24;
const GET_REGISTER_SET: usize = 0x4204;
const SET_REGISTER_SET: usize = 0x4205;
const SEIZE: usize = 0x4206;
const INTERRUPT: usize = 0x4207;
const GET_SIGNAL_MASK: usize = 0x420a;
const SET_SIGNAL_MASK: usize = 0x420b;
const GET_CALL: usize = 0x420e;
const GET_PROCESSOR_NOTE: usize = 0x420f;

/// General registers (`NT_PRSTATUS`).
const GENERAL: usize = 1;
/// All else that the processor keeps for a thread, as `xsave` lays it out (`NT_X86_XSTATE`).
const EXTENDED: usize = 0x202;

/// `struct user_regs_struct`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "each is the register of that name")]
pub struct General {
    pub r15: u64,
    pub r14: u64,
    pub r13: u64,
    pub r12: u64,
    pub rbp: u64,
    pub rbx: u64,
    pub r11: u64,
    pub r10: u64,
    pub r9: u64,
    pub r8: u64,
    pub rax: u64,
    pub rcx: u64,
    pub rdx: u64,
    pub rsi: u64,
    pub rdi: u64,
    /// The number of the call that it is in, or -1.
    pub orig_rax: u64,
    pub rip: u64,
    pub cs: u64,
    pub eflags: u64,
    pub rsp: u64,
    pub ss: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub ds: u64,
    pub es: u64,
    pub fs: u64,
    pub gs: u64,
}

/// How a traced process changed, as `wait4` tells its tracer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// It ended by itself, with this code.
    Exited(i32),
    /// A signal ended it.
    Killed(i32),
    /// A signal is about to reach it, and does if it is continued with that.
    Signal(i32),
    /// It enters a call, or leaves one ([`option::TELL_CALLS_APART`]).
    Call,
    /// Its group is stopped by this signal.
    Group(i32),
    /// An event (`PTRACE_EVENT_*`): 4 an exec, 6 its end, 128 an interrupt, or news of its group.
    Event(i32),
}

impl Stop {
    /// An exec.
    pub const EXEC: Stop = Stop::Event(4);
    /// It is about to end.
    pub const EXIT: Stop = Stop::Event(6);
    /// It was interrupted, or its group goes on.
    pub const STOP: Stop = Stop::Event(128);
}

fn ask(request: usize, process: i32, address: usize, data: usize) -> Result<usize> {
    // SAFETY: the callers below pass numbers, or memory that they were lent for as long as the call takes.
    unsafe { arch::call4(nr::PTRACE, request, process as usize, address, data) }
}

/// Begins to trace a process, which goes on; [`option`]s.
///
/// # Errors
/// `EPERM` for one that may not be looked into, or has a tracer; `ESRCH`.
pub fn seize(process: i32, options: usize) -> Result<()> {
    ask(SEIZE, process, 0, options).map(drop)
}

/// Stops a seized process that runs.
///
/// # Errors
/// `ESRCH` for one that is not traced by this thread, or has ended. The others below fail so too, for one that is not stopped.
pub fn interrupt(process: i32) -> Result<()> {
    ask(INTERRUPT, process, 0, 0).map(drop)
}

/// Lets a stopped process go on, with a signal or 0.
///
/// # Errors
/// As for [`interrupt`].
pub fn go_on(process: i32, signal: i32) -> Result<()> {
    ask(CONTINUE, process, 0, signal as usize).map(drop)
}

/// The same to the next entry into a call, or exit from one.
///
/// # Errors
/// As for [`interrupt`].
pub fn go_on_to_call(process: i32, signal: i32) -> Result<()> {
    ask(NEXT_CALL, process, 0, signal as usize).map(drop)
}

/// The same for one instruction.
///
/// # Errors
/// As for [`interrupt`].
pub fn step(process: i32, signal: i32) -> Result<()> {
    ask(SINGLE_STEP, process, 0, signal as usize).map(drop)
}

/// Lets it go on, untraced.
///
/// # Errors
/// As for [`interrupt`].
pub fn detach(process: i32, signal: i32) -> Result<()> {
    ask(DETACH, process, 0, signal as usize).map(drop)
}

/// `struct iovec`.
#[repr(C)]
struct Vector {
    base: usize,
    length: usize,
}

/// What is told with the signal about a child that a process stopped for: how the child changed (`CLD_KILLED`, say), and its exit code or signal
/// (`si_code` and `si_status`; `man 2 sigaction`). With any other signal this means nothing.
///
/// # Errors
/// As for [`interrupt`]; `EINVAL` for one that did not stop for a signal.
pub fn told_of_child(process: i32) -> Result<(i32, i32)> {
    const GET_SIGNAL_INFORMATION: usize = 0x4202;
    let mut words = [0i32; 32];
    ask(GET_SIGNAL_INFORMATION, process, 0, (&raw mut words) as usize)?;
    Ok((words[2], words[6]))
}

/// General registers of a stopped process.
///
/// # Errors
/// As for [`interrupt`].
pub fn registers(process: i32) -> Result<General> {
    let mut registers = General::default();
    let mut vector = Vector { base: (&raw mut registers) as usize, length: size_of::<General>() };
    ask(GET_REGISTER_SET, process, GENERAL, (&raw mut vector) as usize)?;
    Ok(registers)
}

/// Sets them.
///
/// # Errors
/// As for [`interrupt`]; `EIO` or `EINVAL` for values that no program can have.
pub fn set_registers(process: i32, registers: &General) -> Result<()> {
    let mut vector = Vector { base: core::ptr::from_ref(registers) as usize, length: size_of::<General>() };
    ask(SET_REGISTER_SET, process, GENERAL, (&raw mut vector) as usize).map(drop)
}

/// All other state of the processor's, as `xsave` lays it out, into `room`; gives how many bytes there are of it.
///
/// # Errors
/// As for [`interrupt`].
pub fn extended_state(process: i32, room: &mut [u8]) -> Result<usize> {
    let mut vector = Vector { base: room.as_mut_ptr() as usize, length: room.len() };
    ask(GET_REGISTER_SET, process, EXTENDED, (&raw mut vector) as usize)?;
    Ok(vector.length)
}

/// Sets it: as many bytes as [`extended_state`] gives.
///
/// # Errors
/// As for [`interrupt`]; `EINVAL` for a state that the processor cannot have, `EFAULT` for one that is too short.
pub fn set_extended_state(process: i32, state: &[u8]) -> Result<()> {
    let mut vector = Vector { base: state.as_ptr() as usize, length: state.len() };
    ask(SET_REGISTER_SET, process, EXTENDED, (&raw mut vector) as usize).map(drop)
}

/// The signals that a stopped process blocks, bit N-1 for signal N.
///
/// # Errors
/// As for [`interrupt`].
pub fn signal_mask(process: i32) -> Result<u64> {
    let mut mask = 0u64;
    ask(GET_SIGNAL_MASK, process, size_of::<u64>(), (&raw mut mask) as usize)?;
    Ok(mask)
}

/// Sets them.
///
/// # Errors
/// As for [`interrupt`].
pub fn set_signal_mask(process: i32, mask: u64) -> Result<()> {
    ask(SET_SIGNAL_MASK, process, size_of::<u64>(), (&raw const mask) as usize).map(drop)
}

/// Where a stopped process has the kernel note on which processor it runs (`man 2 rseq`): first address, bytes, and the
/// signature of its sequences; zeroes for nowhere. The kernel writes there whenever the process goes on.
///
/// # Errors
/// `EIO` before Linux 5.13; as for [`interrupt`].
pub fn processor_note(process: i32) -> Result<(u64, u32, u32)> {
    #[repr(C)]
    struct Configuration {
        pointer: u64,
        size: u32,
        signature: u32,
        flags: u32,
        pad: u32,
    }
    let mut note = Configuration { pointer: 0, size: 0, signature: 0, flags: 0, pad: 0 };
    ask(GET_PROCESSOR_NOTE, process, size_of::<Configuration>(), (&raw mut note) as usize)?;
    Ok((note.pointer, note.size, note.signature))
}

/// What a process that is stopped at a call is about to do, or has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AtCall {
    /// It is about to make this call, from this place in its memory.
    Enters {
        /// The call's number.
        number: u64,
        /// Its arguments.
        arguments: [u64; 6],
        /// The instruction after the one that makes it.
        at: u64,
    },
    /// It has made one, with this answer.
    Leaves(i64),
    /// It is stopped elsewhere.
    Neither,
}

/// The call that a stopped process is at (`PTRACE_GET_SYSCALL_INFO`, Linux 5.3).
///
/// # Errors
/// As for [`interrupt`]; `EIO` before Linux 5.3.
pub fn at_call(process: i32) -> Result<AtCall> {
    const ENTRY: u8 = 1;
    const EXIT: u8 = 2;
    let mut words = [0u64; 11];
    ask(GET_CALL, process, size_of_val(&words), words.as_mut_ptr() as usize)?;
    Ok(match words[0] as u8 {
        ENTRY => {
            let [_, at, _, number, arguments @ .., _] = words;
            let [a, b, c, d, e, f] = arguments;
            AtCall::Enters { number, arguments: [a, b, c, d, e, f], at }
        }
        EXIT => AtCall::Leaves(words[3] as i64),
        _ => AtCall::Neither,
    })
}

/// The same as [`next_stop`], of whichever process this thread traces is the next, or child of this thread: its number, and how it changed.
///
/// # Errors
/// As for [`next_stop`].
pub fn next_stop_of_any(wait: bool) -> Result<Option<(i32, Stop)>> {
    let mut status = 0;
    Ok(wait_for(-1, wait, &mut status)?.map(|process| (process, stop_of(status))))
}

/// Waits for the next change of a process that this thread traces; `None` when there is none and `wait` is not asked for. Its end is told to
/// its tracer, and to its parent too.
///
/// # Errors
/// `ECHILD` for one that this thread does not trace; `EINTR`.
pub fn next_stop(process: i32, wait: bool) -> Result<Option<Stop>> {
    let mut status = 0;
    Ok(wait_for(process, wait, &mut status)?.map(|_| stop_of(status)))
}

/// The number of the process that changed.
fn wait_for(process: i32, wait: bool, status: &mut i32) -> Result<Option<i32>> {
    const NO_HANG: usize = 1;
    const THIS_THREAD: usize = 0x2000_0000;
    const ALL: usize = 0x4000_0000;
    let options = ALL | THIS_THREAD | if wait { 0 } else { NO_HANG };
    // SAFETY: the kernel writes one number, where the caller lent it.
    let found = unsafe {
        arch::call4(nr::WAIT4, process as usize, core::ptr::from_mut(status) as usize, options, 0)
    }?;
    Ok((found != 0).then_some(found as i32))
}

fn stop_of(status: i32) -> Stop {
    const TRAP: i32 = 5;
    const STOPPED: i32 = 128;
    let (signal, event) = (status >> 8 & 0xff, status >> 16);
    match status & 0x7f {
        0x7f if event == STOPPED && signal != TRAP => Stop::Group(signal),
        0x7f if event != 0 => Stop::Event(event),
        0x7f if signal == TRAP | 0x80 => Stop::Call,
        0x7f => Stop::Signal(signal),
        0 => Stop::Exited(signal),
        killed => Stop::Killed(killed),
    }
}

/// Reads another process's memory, whole or not at all (`man 2 process_vm_readv`).
///
/// # Errors
/// `EFAULT` where there is none, or it may not be read; `EPERM`; `ESRCH`.
pub fn read(process: i32, at: u64, bytes: &mut [u8]) -> Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let rest = &mut bytes[done..];
        let local = Vector { base: rest.as_mut_ptr() as usize, length: rest.len() };
        let remote = Vector { base: at as usize + done, length: rest.len() };
        let (local, remote) = ((&raw const local) as usize, (&raw const remote) as usize);
        // SAFETY: the kernel writes into what was lent, as far as it is long.
        let read = unsafe { arch::call6(nr::PROCESS_VM_READV, process as usize, local, 1, remote, 1, 0) }?;
        if read == 0 {
            return Err(Errno::EFAULT);
        }
        done += read;
    }
    Ok(())
}
