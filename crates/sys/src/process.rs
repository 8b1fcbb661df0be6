//! What a process does to itself on its way to its program, and how it is born.
//!
//! Safety idea: everything here acts on the calling process alone. A `vfork` child may call it; the few calls that would then
//! change its parent (`set_user`, `set_group`, `set_dumpable`) say so.

#[cfg(not(beget_freestanding))]
use std::os::fd::{FromRawFd, OwnedFd};

use crate::{Errno, Result, arch, nr};

/// Ends the calling process at once, with `code`; where a filter refuses even that, by a fault (SIGILL).
pub fn exit(code: i32) -> ! {
    // SAFETY: ends the process; no memory is passed.
    let _ = unsafe { arch::call1(nr::EXIT_GROUP, code as usize) };
    arch::fault()
}

macro_rules! plain {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $kind:ty),*) = $number:ident $(, $fixed:expr)*;)*) => {$(
        $(#[$doc])*
        pub fn $name($($argument: $kind),*) -> Result<usize> {
            // SAFETY: numbers only, no memory is passed, and the effect is on the calling process.
            unsafe { plain!(@call $number; $($fixed,)* $($argument as usize),*) }
        }
    )*};
    (@call $number:ident;) => { arch::call0(nr::$number) };
    (@call $number:ident; $a:expr $(,)?) => { arch::call1(nr::$number, $a) };
    (@call $number:ident; $a:expr, $b:expr $(,)?) => { arch::call2(nr::$number, $a, $b) };
    (@call $number:ident; $a:expr, $b:expr, $c:expr $(,)?) => { arch::call3(nr::$number, $a, $b, $c) };
    (@call $number:ident; $a:expr, $b:expr, $c:expr, $d:expr $(,)?) => { arch::call4(nr::$number, $a, $b, $c, $d) };
    (@call $number:ident; $a:expr, $b:expr, $c:expr, $d:expr, $e:expr $(,)?) => { arch::call5(nr::$number, $a, $b, $c, $d, $e) };
}

const PR_SET_PDEATHSIG: usize = 1;
const PR_SET_DUMPABLE: usize = 4;
const PR_SET_NAME: usize = 15;
const PR_SET_TIMERSLACK: usize = 29;
const PR_SET_MM: usize = 35;
const PR_SET_CHILD_SUBREAPER: usize = 36;
const PR_SET_NO_NEW_PRIVS: usize = 38;
const JOIN_SESSION_KEYRING: usize = 1;
const SET_RIGHTS: usize = 5;
const LINK: usize = 8;
/// View, read and search, for whoever possesses it and for its user; nothing for others, and no write for anyone.
pub(crate) const READ_ONLY_KEYRING: u32 = 0x0b0b_0000;

plain! {
    /// The caller's process number. Cannot fail, unless a filter says so.
    ///
    /// # Errors
    /// None of its own.
    process() = GETPID;
    /// The number of the caller's parent.
    ///
    /// # Errors
    /// None of its own.
    parent() = GETPPID;
    /// Starts a session and a process group, without a terminal (`man 2 setsid`).
    ///
    /// # Errors
    /// `EPERM` when the caller leads a group already.
    new_session() = SETSID;
    /// Moves the caller to process group `group`, or to one of its own when 0 (`man 2 setpgid`).
    ///
    /// # Errors
    /// `EPERM` when that group is of another session or does not exist; `EINVAL` when negative.
    process_group(group: i32) = SETPGID, 0;
    /// Sets the file mode creation mask (`man 2 umask`).
    ///
    /// # Errors
    /// None of its own.
    umask(mode: u32) = UMASK;
    /// Makes the directory `fd` the working directory (`man 2 fchdir`).
    ///
    /// # Errors
    /// `EACCES` without search permission; `ENOTDIR`, `EBADF`.
    change_directory(fd: i32) = FCHDIR;
    /// Sets the execution domain (`man 2 personality`); 0 is plain Linux.
    ///
    /// # Errors
    /// None of its own.
    personality(value: u32) = PERSONALITY;
    /// How late the kernel may fire the caller's timers, in nanoseconds.
    ///
    /// # Errors
    /// None of its own.
    timer_slack(nanoseconds: u64) = PRCTL, PR_SET_TIMERSLACK;
    /// The signal the caller gets when the *thread* that made it ends; cleared by a set-uid exec.
    ///
    /// # Errors
    /// `EINVAL` for an unknown signal.
    signal_at_parent_death(signal: i32) = PRCTL, PR_SET_PDEATHSIG;
    /// Whether orphaned descendants become the caller's children (`man 2 PR_SET_CHILD_SUBREAPER`).
    ///
    /// # Errors
    /// None of its own.
    subreaper(on: bool) = PRCTL, PR_SET_CHILD_SUBREAPER;
    /// Whether others of this user may trace it and it may dump core. Changes the memory's owner: never in a `vfork` child.
    ///
    /// # Errors
    /// `EINVAL` for other values than 0 and 1.
    set_dumpable(value: u32) = PRCTL, PR_SET_DUMPABLE;
    /// Sets the real, effective and saved user. Changes the memory's dumpable flag: never in a `vfork` child.
    ///
    /// # Errors
    /// `EPERM` without CAP_SETUID; `EAGAIN` past the user's process limit.
    set_user(real: u32, effective: u32, saved: u32) = SETRESUID;
    /// Sets the real, effective and saved group, with the same warning.
    ///
    /// # Errors
    /// `EPERM` without CAP_SETGID.
    set_group(real: u32, effective: u32, saved: u32) = SETRESGID;
}

/// No exec gives this process, or what it starts, more rights than it has, for ever (`man 2 PR_SET_NO_NEW_PRIVS`).
///
/// # Errors
/// None of its own.
pub fn no_new_privileges() -> Result<()> {
    // SAFETY: numbers only; the unused arguments must be zero.
    unsafe { arch::call5(nr::PRCTL, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }.map(drop)
}

/// A soft and a hard limit (`man 2 getrlimit`); `u64::MAX` is none.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// What is enforced.
    pub soft: u64,
    /// How far the soft one may be raised.
    pub hard: u64,
}

/// Sets a resource limit of the calling process.
///
/// # Errors
/// `EPERM` when the hard limit would rise; `EINVAL` when soft is above hard or the resource is unknown.
pub fn set_limit(resource: u32, bounds: Bounds) -> Result<()> {
    // SAFETY: the kernel reads sixteen bytes on this stack.
    unsafe { arch::call4(nr::PRLIMIT64, 0, resource as usize, &raw const bounds as usize, 0) }.map(drop)
}

/// Reads a resource limit of the calling process.
///
/// # Errors
/// `EINVAL` when the resource is unknown.
pub fn limit(resource: u32) -> Result<Bounds> {
    let mut bounds = Bounds { soft: 0, hard: 0 };
    // SAFETY: the kernel writes sixteen bytes on this stack.
    unsafe { arch::call4(nr::PRLIMIT64, 0, resource as usize, 0, &raw mut bounds as usize) }?;
    Ok(bounds)
}

/// Replaces the supplementary groups (`man 2 setgroups`); a number is four bytes in the machine's order.
///
/// # Errors
/// `EPERM` without CAP_SETGID.
pub fn set_groups(groups: &[[u8; 4]]) -> Result<()> {
    // SAFETY: the kernel reads `groups.len()` numbers, borrowed for the call.
    unsafe { arch::call2(nr::SETGROUPS, groups.len(), groups.as_ptr() as usize) }.map(drop)
}

/// The most supplementary groups that a process has (`NGROUPS_MAX`).
pub const MOST_GROUPS: usize = 65_536;

/// The supplementary groups of the calling *thread* (`man 2 getgroups`).
///
/// # Errors
/// `EINVAL` when they are more than the kernel's own limit of 65,536.
#[cfg(not(beget_freestanding))]
pub fn groups() -> Result<std::vec::Vec<[u8; 4]>> {
    // SAFETY: no memory is passed.
    let count = unsafe { arch::call2(nr::GETGROUPS, 0, 0) }?;
    let mut groups = std::vec![[0; 4]; count.min(MOST_GROUPS)];
    if !groups.is_empty() {
        let count = read_groups(&mut groups)?;
        groups.truncate(count);
    }
    Ok(groups)
}

/// Writes the supplementary groups of the calling thread into `groups`, and gives how many they are. With no room at all it only
/// counts them.
///
/// # Errors
/// `EINVAL` when there is some room, and not enough.
pub fn read_groups(groups: &mut [[u8; 4]]) -> Result<usize> {
    // SAFETY: the kernel writes at most so many numbers of four bytes, into a borrow of the caller's.
    unsafe { arch::call2(nr::GETGROUPS, groups.len(), groups.as_mut_ptr() as usize) }
}

/// Limits the calling thread to the processors whose bits are set (`man 2 sched_setaffinity`).
///
/// # Errors
/// `EINVAL` when none of them is there or allowed.
pub fn set_processors(mask: &[u8]) -> Result<()> {
    // SAFETY: the kernel reads `mask.len()` bytes, borrowed for the call.
    unsafe { arch::call3(nr::SCHED_SETAFFINITY, 0, mask.len(), mask.as_ptr() as usize) }.map(drop)
}

/// `_LINUX_CAPABILITY_VERSION_3`: 64 capabilities, in two words each of effective, permitted and inheritable ones.
const VERSION_3: u32 = 0x2008_0522;

/// Gives up every capability, permitted, effective and inheritable; the ambient ones go with them (`man 7 capabilities`).
///
/// # Errors
/// None of its own.
pub fn drop_capabilities() -> Result<()> {
    let header = [VERSION_3, 0];
    let none = [0u32; 6];
    // SAFETY: the kernel reads a header of two words and data of six.
    unsafe { arch::call2(nr::CAPSET, &raw const header as usize, &raw const none as usize) }.map(drop)
}

/// The caller's effective capabilities, as bits.
///
/// # Errors
/// None of its own.
#[cfg(not(beget_freestanding))]
pub fn capabilities() -> Result<u64> {
    let mut header = [VERSION_3, 0];
    let mut data = [0u32; 6];
    // SAFETY: the kernel may write the header's version and writes six words of data.
    unsafe { arch::call2(nr::CAPGET, &raw mut header as usize, &raw mut data as usize) }?;
    Ok(u64::from(data[0]) | u64::from(data[3]) << 32)
}

/// Joins the session keyring `name`, making it if there is none, or a new unnamed one without a name; gives its serial.
///
/// # Errors
/// `EDQUOT` when the user has too many keys; `ENOSYS`.
///
/// # Safety
/// `name` must be null or point to a string that ends in NUL.
pub unsafe fn join_keyring(name: *const u8) -> Result<i32> {
    // SAFETY: the caller answers for the string.
    unsafe { arch::call2(nr::KEYCTL, JOIN_SESSION_KEYRING, name as usize) }.map(|serial| serial as i32)
}

/// Makes an empty keyring `name` that nobody may write to, keeps it by a link in the user's keyring, and gives its serial. The caller
/// must possess its session keyring, for only who possesses a key may set its rights.
///
/// # Errors
/// `EDQUOT` when the user has too many keys; `ENOSYS`.
///
/// # Safety
/// `name` must point to a string that ends in NUL.
pub unsafe fn make_keyring(name: *const u8) -> Result<i32> {
    const SESSION_KEYRING: usize = -3isize as usize;
    const USER_KEYRING: usize = -4isize as usize;
    let kind = c"keyring".as_ptr() as usize;
    // SAFETY: the caller answers for the name; there is no payload.
    let serial = unsafe { arch::call5(nr::ADD_KEY, kind, name as usize, 0, 0, SESSION_KEYRING) }?;
    // SAFETY: numbers only.
    unsafe { arch::call3(nr::KEYCTL, LINK, serial, USER_KEYRING) }?;
    // SAFETY: likewise.
    unsafe { arch::call3(nr::KEYCTL, SET_RIGHTS, serial, READ_ONLY_KEYRING as usize) }?;
    Ok(serial as i32)
}

/// Executes the program behind the descriptor `program` (`execveat` with an empty path, `man 2 execveat`).
///
/// Returns only when that failed.
///
/// # Safety
/// `arguments` and `environment` must be arrays of pointers to strings that end in NUL, each array ending in null.
#[must_use]
pub unsafe fn execute(program: i32, arguments: *const *const u8, environment: *const *const u8) -> Errno {
    const AT_EMPTY_PATH: usize = 0x1000;
    let path = c"".as_ptr() as usize;
    // SAFETY: the caller answers for the arrays; the path is a constant.
    let answer = unsafe {
        arch::call5(
            nr::EXECVEAT,
            program as usize,
            path,
            arguments as usize,
            environment as usize,
            AT_EMPTY_PATH,
        )
    };
    match answer {
        Err(errno) => errno,
        Ok(_) => Errno::EINVAL,
    }
}

/// Sets the name that `ps` shows (`PR_SET_NAME`); what is past 15 bytes is cut off.
///
/// # Errors
/// None of its own.
///
/// # Safety
/// `name` must point to a string that ends in NUL.
pub unsafe fn set_name(name: *const u8) -> Result<()> {
    // SAFETY: the caller answers for the string.
    unsafe { arch::call5(nr::PRCTL, PR_SET_NAME, name as usize, 0, 0, 0) }.map(drop)
}

/// `struct prctl_mm_map`: where the kernel takes the parts of the process's memory to be, for `/proc` and `brk`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryMap {
    /// The program's text.
    pub code: [u64; 2],
    /// The program's data.
    pub data: [u64; 2],
    /// Where the heap begins, and where it ends.
    pub heap: [u64; 2],
    /// Where the stack began.
    pub stack: u64,
    /// The strings of the arguments.
    pub arguments: [u64; 2],
    /// The strings of the environment.
    pub environment: [u64; 2],
    /// Where the auxiliary vector lies.
    pub auxiliary: u64,
    /// Its size in bytes.
    pub auxiliary_size: u32,
    /// The file that `/proc/PID/exe` means; `u32::MAX` leaves it. To set it takes CAP_CHECKPOINT_RESTORE.
    pub executable: u32,
}

/// Tells the kernel where the parts of this process's memory are (`PR_SET_MM_MAP`).
///
/// # Errors
/// `EINVAL` when a range is none, or the kernel was built without it (CONFIG_CHECKPOINT_RESTORE); `EPERM` for another executable
/// without the right; `EBUSY` when the present executable is still mapped.
pub fn set_memory_map(map: &MemoryMap) -> Result<()> {
    const MAP: usize = 14;
    let at = core::ptr::from_ref(map) as usize;
    // SAFETY: the kernel reads 104 bytes, borrowed for the call, and the auxiliary vector they point to, or answers EFAULT; it
    // keeps addresses for `/proc` and `brk` and touches no memory.
    unsafe { arch::call5(nr::PRCTL, PR_SET_MM, MAP, at, size_of::<MemoryMap>(), 0) }.map(drop)
}

/// The size that the kernel wants of [`MemoryMap`]; an error where it has no such call.
///
/// # Errors
/// `EINVAL` when the kernel was built without it.
pub fn memory_map_size() -> Result<u32> {
    const MAP_SIZE: usize = 15;
    let mut size = 0u32;
    // SAFETY: the kernel writes four bytes on this stack.
    unsafe { arch::call5(nr::PRCTL, PR_SET_MM, MAP_SIZE, &raw mut size as usize, 0, 0) }?;
    Ok(size)
}

const _: () = assert!(size_of::<MemoryMap>() == 104);

/// A descriptor for the process of this number (`man 2 pidfd_open`, Linux 5.3), close-on-exec, that nobody owns yet.
///
/// # Errors
/// `ESRCH` when there is none; `EMFILE`; `ENOSYS`.
pub fn open(number: u32) -> Result<i32> {
    // SAFETY: numbers only.
    unsafe { arch::call2(nr::PIDFD_OPEN, number as usize, 0) }.map(|fd| fd as i32)
}

/// `CLONE_PIDFD`.
const CLONE_PIDFD: u64 = 0x1000;
const CLONE_VM: u64 = 0x100;
const CLONE_VFORK: u64 = 0x4000;
const CLONE_PARENT: u64 = 0x8000;
const CLONE_CHILD_CLEARTID: u64 = 0x20_0000;
const CLONE_CHILD_SETTID: u64 = 0x100_0000;
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args`, all of it up to Linux 5.7.
#[repr(C)]
#[derive(Default)]
struct CloneArguments {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// A new child as the kernel gives it: numbers that nobody owns yet.
#[derive(Clone, Copy, Debug)]
pub struct Born {
    /// Process number, as this process sees it.
    pub number: u32,
    /// Its pidfd, close-on-exec.
    pub pidfd: i32,
}

/// A new child: its number, and the descriptor that means it and no other.
#[cfg(not(beget_freestanding))]
#[derive(Debug)]
pub struct Child {
    /// Process number, as this process sees it.
    pub number: u32,
    /// Its pidfd, close-on-exec.
    pub pidfd: OwnedFd,
}

#[cfg(not(beget_freestanding))]
impl Born {
    /// Takes ownership of the pidfd.
    ///
    /// # Safety
    /// Nobody else may own it.
    #[must_use]
    pub unsafe fn own(self) -> Child {
        // SAFETY: the caller's promise.
        Child { number: self.number, pidfd: unsafe { OwnedFd::from_raw_fd(self.pidfd) } }
    }
}

/// Where a child is born.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cradle {
    /// The open directory of its cgroup (`CLONE_INTO_CGROUP`).
    pub cgroup: Option<i32>,
    /// It becomes a child of the caller's parent (`CLONE_PARENT`).
    pub parent: bool,
    /// Namespaces that it is born in, bits of [`namespace::kind`](crate::namespace::kind): those of users and process numbers, of which
    /// no process changes its own.
    pub namespaces: u32,
}

/// Makes a child that shares the caller's memory and holds the calling thread until it executes a program or ends.
///
/// `clone3` with `CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND`, and what `cradle` asks for.
/// Where a filter answers `clone3` with `ENOSYS` (Kubernetes' default does), `clone` with the first three, which gives the pidfd
/// just as atomically (Linux 5.2). The exit signal is none: a birth that fails never wakes a host's SIGCHLD handler, and a
/// successful exec makes it SIGCHLD.
///
/// # Errors
/// `EAGAIN` past a process limit; `ENOMEM`; for the cgroup `EBUSY`, `EACCES`, `EOPNOTSUPP`; `ENOSYS` when a cgroup is asked for
/// where there is no `clone3`; `EMFILE` when there is no number for the pidfd.
///
/// # Safety
/// Every signal must be blocked in the calling thread. `entry` must not return, unwind, allocate or touch thread-local storage;
/// what `context` and `stack` refer to must be used by nobody else until this returns.
pub unsafe fn clone_sharing_memory(
    stack: &mut [u8],
    cradle: Cradle,
    entry: extern "C" fn(*mut ()) -> !,
    context: *mut (),
) -> Result<Born> {
    let mut pidfd = -1i32;
    let base = stack.as_mut_ptr() as usize;
    let top = (base + stack.len()) & !15;
    let mut arguments = CloneArguments {
        flags: CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND,
        pidfd: &raw mut pidfd as u64,
        stack: base as u64,
        stack_size: (top - base) as u64,
        ..CloneArguments::default()
    };
    if let Some(cgroup) = cradle.cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = cgroup as u64;
    }
    let more = u64::from(cradle.namespaces) | if cradle.parent { CLONE_PARENT } else { 0 };
    arguments.flags |= more;
    let clone3 = [&raw const arguments as usize, size_of::<CloneArguments>(), 0, 0, 0];
    // SAFETY: the arguments describe a child on its own stack; the rest is the caller's promise.
    let mut number = unsafe { arch::clone_onto(nr::CLONE3, clone3, entry, context) };
    if number == Err(Errno::ENOSYS) && cradle.cgroup.is_none() {
        let flags = (CLONE_VM | CLONE_VFORK | CLONE_PIDFD | more) as usize;
        // SAFETY: as above; in this call the third argument is where the pidfd goes.
        number = unsafe {
            arch::clone_onto(nr::CLONE, [flags, top, &raw mut pidfd as usize, 0, 0], entry, context)
        };
    }
    Ok(Born { number: number? as u32, pidfd })
}

/// What a copy of this process begins with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Copied {
    /// The open directory of its cgroup (`CLONE_INTO_CGROUP`).
    pub cgroup: Option<i32>,
    /// Where its C library keeps the thread's number, or 0: the kernel zeroes it at the end of the thread (`CLONE_CHILD_CLEARTID`).
    pub thread_number: usize,
    /// The kernel writes the number there first (`CLONE_CHILD_SETTID`).
    pub set_number: bool,
    /// What is in the low halves of the last two arguments of `clone`, which the kernel does not look at: a filter may ask for it.
    pub key: [u32; 2],
}

/// Makes a child of the caller's parent with a copy of the caller's memory and of its signal dispositions; gives it to the caller, and `None`
/// to the child. It has no exit signal: its parent hears of its end only by asking for children of every kind.
///
/// `clone` with `CLONE_PARENT | CLONE_PIDFD`, or `clone3` for a cgroup: a filter sees nothing of what that is told.
///
/// # Errors
/// As for [`clone_sharing_memory`]; `EINVAL` in the first process of a namespace, which has no siblings.
///
/// # Safety
/// The calling process must have one thread and nothing that a C library would have to know of a copy; `thread_number` must be 0 or four
/// bytes that may be written in the copy.
pub unsafe fn copy_beside(copied: Copied) -> Result<Option<Born>> {
    let mut pidfd = -1i32;
    let mut flags = CLONE_PARENT | CLONE_PIDFD;
    if copied.thread_number != 0 {
        flags |= CLONE_CHILD_CLEARTID | if copied.set_number { CLONE_CHILD_SETTID } else { 0 };
    }
    let number = match copied.cgroup {
        Some(cgroup) => {
            let arguments = CloneArguments {
                flags: flags | CLONE_INTO_CGROUP,
                pidfd: &raw mut pidfd as u64,
                child_tid: copied.thread_number as u64,
                cgroup: cgroup as u64,
                ..CloneArguments::default()
            };
            // SAFETY: no stack is given: the child goes on here in its copy of everything; the rest is the caller's promise.
            unsafe { arch::call2(nr::CLONE3, &raw const arguments as usize, size_of::<CloneArguments>()) }
        }
        None => {
            let ([low, high], pidfd) = (copied.key, &raw mut pidfd as usize);
            let (low, high, thread_number) = (low as usize, high as usize, copied.thread_number);
            // SAFETY: as above; in this call the third argument is where the pidfd goes, and without `CLONE_SETTLS` the fifth means nothing.
            unsafe { arch::call6(nr::CLONE, flags as usize, 0, pidfd, thread_number, low, high) }
        }
    };
    let number = number? as u32;
    // SAFETY: a local; the kernel wrote it behind the compiler's back.
    let pidfd = unsafe { (&raw const pidfd).read_volatile() };
    Ok((number != 0).then_some(Born { number, pidfd }))
}

/// Tells the kernel where the calling thread keeps its list of locks that are to be released if it ends with them (`man 2
/// set_robust_list`), which a copy has to say anew.
///
/// # Errors
/// `EINVAL` for another length than this kernel's.
///
/// # Safety
/// Such a list, or zero, must be at `head` for as long as the thread lives.
pub unsafe fn set_robust_list(head: usize, length: usize) -> Result<()> {
    // SAFETY: the caller's promise.
    unsafe { arch::call2(nr::SET_ROBUST_LIST, head, length) }.map(drop)
}

/// Whether `clone3` can be called here (Linux 5.3, and no filter that refuses it). Without it no child is born into a cgroup.
#[must_use]
pub fn has_clone3() -> bool {
    // SAFETY: arguments of no size are refused before anything is read.
    let refused = unsafe { arch::call2(nr::CLONE3, 0, 0) };
    refused == Err(Errno::EINVAL)
}

/// Makes a child with a copy of the caller's memory; gives its number, and `None` in the child. It has no exit signal.
///
/// # Errors
/// `EAGAIN` past a process limit; `ENOMEM`.
///
/// # Safety
/// Whoever calls this must do without all that a C library expects of a `fork`: it is for a process without one.
pub unsafe fn fork() -> Result<Option<u32>> {
    // SAFETY: no flags, no stack: the child goes on here, in a copy.
    let number = unsafe { arch::call5(nr::CLONE, 0, 0, 0, 0, 0) }?;
    Ok((number != 0).then_some(number as u32))
}

/// Makes a child with a copy of the caller's memory by way of the C library (`man 3 fork`), which calls what was registered for it
/// (`man 3 pthread_atfork`: a generator of random numbers is seeded anew), frees its own locks and knows the number of the copy's thread. Gives
/// its number, and `None` in the child. It sends SIGCHLD when it ends.
///
/// # Errors
/// `EAGAIN` past a process limit; `ENOMEM`.
///
/// # Safety
/// The calling process must have one thread, and everything in the copy must be true of it that the caller's code relies on: what owns a
/// descriptor there, above all.
#[cfg(not(beget_freestanding))]
pub unsafe fn fork_with_library() -> Result<Option<u32>> {
    unsafe extern "C" {
        fn fork() -> i32;
    }
    // SAFETY: a process with one thread, says the caller, so that no lock is another's.
    match unsafe { fork() } {
        0 => Ok(None),
        number @ 1.. => Ok(Some(number as u32)),
        _ => {
            let errno = std::io::Error::last_os_error().raw_os_error();
            Err(errno.map_or(Errno::EAGAIN, Errno))
        }
    }
}
