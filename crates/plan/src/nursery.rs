//! Making a nursery: the plan of its birth, and the stub as a file to execute.
//!
//! Safety idea: the stub is executed from memory that nobody can change, this process included, and with nothing open but what its role
//! needs. Whoever makes a nursery does so by a plan, like everything else.

use std::ffi::CStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::vec::Vec;

use beget_sys::process::{self, Child};
use beget_sys::signal::SignalSet;
use beget_sys::{Errno, descriptor, memory, signal};

use crate::draft::Draft;
use crate::engine::{self, Failure, Place};
use crate::interpreter::{self, Bench};
use crate::memory::Home;
use crate::op::{Engine, Op};
use crate::stub::{CHANNEL, CREATOR, PROGRAM};
use crate::{Malformed, Plan};

/// `RLIMIT_NOFILE`.
const OPEN_FILES: u32 = 7;
/// Where the stub is until it is executed.
const PROGRAM_SLOT: i32 = 2;

/// What the operations of [`finish`] find among the descriptors that come with their plan.
#[derive(Clone, Copy, Debug)]
pub struct Sources {
    /// Its end of the channel.
    pub channel: u32,
    /// The stub.
    pub program: u32,
    /// What its role has beside the channel: its creator, or where its next creator will call.
    pub second: Option<u32>,
    /// The most files that it may have open, if not as many as whoever writes the plan may.
    pub files: Option<u64>,
}

/// Writes the operations that a nursery's birth ends in, from closing what it is not to have to executing the stub as `role`. `step` takes
/// each, with the words for it.
///
/// # Errors
/// Those of `man 2 getrlimit`, which are none of its own.
pub fn finish(
    role: &CStr,
    sources: Sources,
    draft: &mut Draft,
    mut step: impl FnMut(&mut Draft, Op, &'static str),
) -> Result<(), Errno> {
    let files = sources.files.map_or_else(|| process::limit(OPEN_FILES).map(|files| files.hard), Ok)?;
    let mut push = |op, words| step(draft, op, words);
    push(Op::Raise { floor: 3 }, "nursery: descriptors");
    push(Op::Place { source: sources.channel, slot: CHANNEL, closing: 0 }, "nursery: channel");
    push(Op::Place { source: sources.program, slot: PROGRAM_SLOT, closing: 1 }, "nursery: stub");
    match sources.second {
        Some(source) => push(Op::Place { source, slot: CREATOR, closing: 0 }, "nursery: creator"),
        None => {
            let number = CREATOR as u32;
            push(Op::Close { first: number, last: number }, "nursery: closing descriptors");
        }
    }
    push(Op::Close { first: 3, last: u32::MAX }, "nursery: closing descriptors");
    // It holds what many births bring.
    let limit = Op::Limit { resource: OPEN_FILES, soft: files, hard: files };
    push(limit, "nursery: open files");
    push(Op::SignalMask { mask: SignalSet::ALL.0 }, "nursery: signal mask");
    let (arguments, environment) = (draft.strings([role]), draft.strings([]));
    let op = Op::Execute { program: PROGRAM_SLOT, arguments, environment, listening: 0 };
    step(draft, op, "nursery: stub");
    Ok(())
}

/// What a nursery is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// Of [`role`](crate::stub::role); [`FIRST`](crate::stub::role::FIRST) and its like are for whoever writes the plan of a root.
    pub role: &'a CStr,
    /// Its end of the channel.
    pub channel: BorrowedFd<'a>,
    /// The stub, as [`open_stub`] gives it.
    pub program: BorrowedFd<'a>,
    /// Its working directory.
    pub directory: BorrowedFd<'a>,
    /// For a lasting one, the listening stream socket where its next creator will call.
    pub listener: Option<BorrowedFd<'a>>,
}

/// A plan for a nursery with operations of `draft`'s that come first, and its descriptors.
fn write<'a>(
    parts: Parts<'a>,
    mut draft: Draft,
    before: &[Op],
) -> Result<(Vec<u8>, Vec<BorrowedFd<'a>>), Errno> {
    let mut descriptors = std::vec![parts.channel, parts.program, parts.directory];
    descriptors.extend(parts.listener);
    for op in [Op::DefaultSignals {}, Op::ProcessGroup { group: 0 }, Op::ChangeDirectoryTo { source: 2 }] {
        draft.push(op);
    }
    for op in before {
        draft.push(*op);
    }
    let sources = Sources { channel: 0, program: 1, second: parts.listener.map(|_| 3), files: None };
    finish(parts.role, sources, &mut draft, |draft, op, _| {
        draft.push(op);
    })?;
    Ok((draft.encode(descriptors.len()), descriptors))
}

/// Makes a nursery with the caller's credentials, as a child of the calling process.
///
/// # Errors
/// Those of [`engine::spawn`].
pub fn start(parts: Parts<'_>) -> Result<Child, Failure> {
    let (bytes, descriptors) = write(parts, Draft::new(), &[]).map_err(Failure::Birth)?;
    let malformed = |_: Malformed| Failure::Birth(Errno::EINVAL);
    let plan = Plan::check(&bytes, Engine::Vfork).map_err(malformed)?;
    engine::spawn(&plan, &descriptors, Place::default())
}

/// Another user's credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The user.
    pub user: u32,
    /// The group.
    pub group: u32,
    /// The supplementary groups.
    pub groups: Vec<u32>,
}

/// Makes a nursery that is another user's, and has no capability; gives its number, which is that of a child of the calling process. It takes
/// a process of its own memory, so the caller is copied, as by `fork`: cheap only for a small one. A birth that fails ends, and closes the
/// channel; it sends no SIGCHLD then.
///
/// # Errors
/// `EPERM` for the user root, which gives up nothing so; `EAGAIN`, `ENOMEM`, those of `getrlimit`.
pub fn start_as(parts: Parts<'_>, identity: &Identity) -> Result<u32, Errno> {
    if identity.user == 0 {
        return Err(Errno::EPERM);
    }
    let groups: Vec<u8> = identity.groups.iter().flat_map(|group| group.to_ne_bytes()).collect();
    let mut draft = Draft::new();
    let groups = crate::op::Span { count: identity.groups.len() as u32, ..draft.bytes(&groups) };
    let before = [
        Op::Groups { groups },
        Op::SetGroup { group: identity.group },
        Op::SetUser { user: identity.user },
        Op::DropCapabilities {},
    ];
    let (bytes, descriptors) = write(parts, draft, &before)?;
    let plan = Plan::check(&bytes, Engine::Fresh).map_err(|_| Errno::EINVAL)?;
    let mut numbers: Vec<i32> = descriptors.iter().map(AsRawFd::as_raw_fd).collect();
    let mut scratch = std::vec![0; plan.scratch()];
    let mask = signal::set_mask(SignalSet::ALL)?;
    // SAFETY: the child calls nothing but the interpreter, which needs no C library and no allocator, and never returns.
    let born = unsafe { process::fork() };
    if born == Ok(None) {
        let mut bench =
            Bench { descriptors: &mut numbers, scratch: &mut scratch, answer: &mut [], home: Home::NONE };
        // SAFETY: a newborn with a copy of all memory, and a plan that was checked for that.
        unsafe { interpreter::run(&plan, &mut bench) };
        process::exit(127);
    }
    let _ = signal::set_mask(mask);
    born?.ok_or(Errno::EINVAL)
}

/// The stub as a file to execute: sealed memory, or where memory cannot be executed (`vm.memfd_noexec`) a file without a name.
///
/// # Errors
/// `EACCES`, `EPERM` or `ENOSYS` when there is neither; `EMFILE`, `ENOMEM`.
pub fn open_stub() -> Result<OwnedFd, Errno> {
    match sealed(c"beget-stub", PROGRAM, true) {
        Err(errno @ (Errno::EACCES | Errno::EPERM | Errno::ENOSYS)) => unnamed().ok_or(errno),
        other => other,
    }
}

/// Sealed memory that holds `bytes`, close-on-exec. Nobody changes it, nor, since Linux 6.3, whether it may be executed.
///
/// # Errors
/// Those of `man 2 memfd_create`; `EACCES` where executable memory is forbidden.
pub fn sealed(name: &CStr, bytes: &[u8], executable: bool) -> Result<OwnedFd, Errno> {
    use memory::file;
    let kind = if executable { file::EXECUTABLE } else { file::NEVER_EXECUTABLE };
    let made = match memory::file(name, file::CLOSE_ON_EXEC | file::SEALABLE | kind) {
        // Before Linux 6.3 there are no such flags, and all memory can be executed.
        Err(Errno::EINVAL) => memory::file(name, file::CLOSE_ON_EXEC | file::SEALABLE),
        other => other,
    };
    let mut file = File::from(made?);
    file.write_all(bytes).map_err(number)?;
    const SEAL_SHRINK_GROW_WRITE: u32 = 1 | 2 | 4 | 8;
    /// `F_SEAL_EXEC`, Linux 6.3.
    const MODE: u32 = 0x20;
    match descriptor::add_seals(file.as_fd(), SEAL_SHRINK_GROW_WRITE | MODE) {
        Err(Errno::EINVAL) => descriptor::add_seals(file.as_fd(), SEAL_SHRINK_GROW_WRITE)?,
        other => other?,
    }
    Ok(file.into())
}

fn number(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EINVAL, Errno)
}

/// A file without a name that holds the stub, in the first folder whose files may be executed.
fn unnamed() -> Option<OwnedFd> {
    const WITHOUT_A_NAME: i32 = 0o20_200_000;
    let folders = [std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from), Some(std::env::temp_dir())];
    let more = ["/dev/shm", "/var/tmp"].map(|folder| Some(PathBuf::from(folder)));
    folders.into_iter().chain(more).flatten().find_map(|folder| {
        let mut options = File::options();
        options.read(true).write(true).custom_flags(WITHOUT_A_NAME).mode(0o500);
        let mut file = options.open(folder).ok()?;
        file.write_all(PROGRAM).ok()?;
        // Opened anew only to read: a file that is open for writing cannot be executed.
        let readable = File::open(std::format!("/proc/self/fd/{}", file.as_raw_fd())).ok()?;
        descriptor::may_execute(readable.as_fd()).ok()?;
        Some(readable.into())
    })
}
