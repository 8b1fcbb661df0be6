//! Runs a plan inside the new process.
//!
//! Safety idea: no allocation, no panic, no libc, no `errno`, no thread-local storage. A `vfork` child runs this while its
//! creator's memory is its own; all it writes to is its stack and the scratch it was lent. The link of the blob proves the
//! first three. Operations on memory are for a process whose memory is its own; what the interpreter itself lies in is kept out
//! of their reach by [`Home`].

use beget_sys::seccomp::code::OWN_NUMBER;
use beget_sys::{Errno, Result, descriptor, keyring, landlock, message, process, seccomp, signal};

use crate::encoding::{LISTEN_WORDS, Plan};
use crate::memory::{self, Home};
use crate::op::{Op, Registers, Span, mapping};
use crate::root;

/// Which operation failed, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its place in the plan.
    pub op: u32,
    /// The kernel's answer.
    pub errno: Errno,
}

/// How a run came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// An operation failed; those before it are done, those after it are not.
    Failed(Fault),
    /// Every operation of a part is done.
    Done,
    /// What is left is to leave for the program in memory, and to stop before that if so asked.
    Enter(Registers, bool),
    /// What is left is to go on where the template was stopped, but for these registers.
    Resume(Span),
}

/// All that a run works with.
#[derive(Debug)]
pub struct Bench<'a> {
    /// The numbers that the plan's descriptors have here, in order.
    pub descriptors: &'a mut [i32],
    /// [`Plan::scratch`] words at least.
    pub scratch: &'a mut [u64],
    /// Where the operations answer: [`Plan::answer_bytes`] at least.
    pub answer: &'a mut [u8],
    /// What the operations may not touch.
    pub home: Home,
}

/// Runs `plan` in the calling process. A whole plan comes back only when an operation failed, or to enter a program.
///
/// # Safety
/// The calling process must be a newborn, whose descriptor table and identity nobody else relies on, and it must be what the
/// plan was checked for: an [`Engine::Vfork`](crate::Engine::Vfork) plan may run anywhere, an
/// [`Engine::Fresh`](crate::Engine::Fresh) one only in a process with memory of its own, all of which is either the plan's to
/// change or in [`Bench::home`].
pub unsafe fn run(plan: &Plan<'_>, bench: &mut Bench<'_>) -> Outcome {
    let mut answered = 0;
    for index in 0..plan.count() {
        let done = match plan.op(index) {
            Some(Op::Enter { registers, stop }) => match read_registers(plan, registers) {
                Some(registers) => return Outcome::Enter(registers, stop == 1),
                None => Err(Errno::EINVAL),
            },
            Some(Op::Resume { changes }) => return Outcome::Resume(changes),
            // SAFETY: the caller's promise, handed on.
            Some(op) => unsafe { perform(plan, op, bench, &mut answered) },
            None => Err(Errno::EINVAL),
        };
        if let Err(errno) = done {
            return Outcome::Failed(Fault { op: index as u32, errno });
        }
    }
    Outcome::Done
}

/// # Safety
/// As for [`run`].
unsafe fn perform(plan: &Plan<'_>, op: Op, bench: &mut Bench<'_>, answered: &mut usize) -> Result<()> {
    let Bench { descriptors, scratch, answer, home } = bench;
    match op {
        Op::DefaultSignals {} => default_signals(),
        Op::NewSession {} => process::new_session().map(drop),
        Op::ProcessGroup { group } => process::process_group(group).map(drop),
        Op::Raise { floor } => raise(descriptors, floor),
        Op::Place { source, slot, closing } => {
            let from = *descriptors.get(source as usize).ok_or(Errno::EBADF)?;
            // SAFETY: the table is the newborn's own.
            unsafe { descriptor::duplicate_onto(from, home.slot(slot)?, closing == 1) }
        }
        // What is the runner's is close-on-exec, and closed by whoever enters a program.
        Op::Close { first, .. } if first as i32 >= home.floor => Ok(()),
        Op::Close { first, last } => {
            let last = if home.floor == i32::MAX { last } else { last.min(home.floor as u32 - 1) };
            // SAFETY: likewise.
            unsafe { descriptor::close_range(first, last) }
        }
        Op::Foreground { slot } => descriptor::foreground(slot, process::process()? as i32),
        Op::ControllingTerminal { slot } => descriptor::controlling_terminal(slot),
        Op::ChangeDirectory { slot } => process::change_directory(slot).map(drop),
        Op::ChangeDirectoryTo { source } => {
            let fd = *descriptors.get(source as usize).ok_or(Errno::EBADF)?;
            process::change_directory(fd).map(drop)
        }
        Op::Umask { mode } => process::umask(mode).map(drop),
        Op::Personality { value } => process::personality(value).map(drop),
        Op::TimerSlack { nanoseconds } => process::timer_slack(nanoseconds).map(drop),
        Op::Limit { resource, soft, hard } => process::set_limit(resource, process::Bounds { soft, hard }),
        Op::Processors { mask } => process::set_processors(plan.bytes(mask).ok_or(Errno::EINVAL)?),
        Op::DieWithParent { signal, parent } => die_with_parent(signal, parent),
        // Whoever writes this is meant by it.
        Op::JoinCgroup { slot } => descriptor::write(slot, b"0").map(drop),
        Op::JoinKeyring { name, serial } => join_keyring(plan, name, serial),
        Op::MakeKeyring { name } => make_keyring(plan, name),
        Op::Groups { groups } => set_groups(plan, groups),
        Op::DropCapabilities {} => process::drop_capabilities(),
        Op::NoNewPrivileges {} => process::no_new_privileges(),
        Op::Landlock { slot } => landlock::restrict_self(slot),
        Op::Filter { instructions } => seccomp::install(filter(plan, instructions, scratch)?),
        Op::FilterWithListener { asking, refusing, socket } => {
            match seccomp::install_with_listener(filter(plan, asking, scratch)?) {
                Ok(listener) => hand_out(listener, socket),
                Err(Errno::EBUSY) => seccomp::install(filter(plan, refusing, scratch)?),
                Err(errno) => Err(errno),
            }
        }
        Op::SignalMask { mask } => signal::set_mask(signal::SignalSet(mask)).map(drop),
        Op::SetGroup { group } => process::set_group(group, group, group).map(drop),
        Op::SetUser { user } => process::set_user(user, user, user).map(drop),
        Op::Dumpable { value } => process::set_dumpable(value).map(drop),
        Op::Map { at, length, page, how, source } => {
            let fd = source_or_none(descriptors, source)?;
            // SAFETY: the memory is the process's own, and the runner's is kept out.
            let address = unsafe { memory::map(home, at, length, page, how, fd) }?;
            answer_with(answer, answered, &(address as u64).to_ne_bytes())
        }
        // SAFETY: likewise.
        Op::Unmap { at, length } => unsafe { memory::unmap(home, at, length) },
        // SAFETY: likewise.
        Op::Protect { at, length, how } => unsafe { memory::protect(home, at, length, how) },
        Op::Write { at, bytes } => {
            let bytes = plan.bytes(bytes).ok_or(Errno::EINVAL)?;
            // SAFETY: likewise.
            unsafe { memory::write(home, at, bytes) }
        }
        Op::Read { at, length } => {
            let place = room(answer, answered, length as usize)?;
            // SAFETY: whoever runs a plan that reads answers for the memory, and has nobody beside it who changes what is mapped.
            unsafe { beget_sys::memory::copy_from(at as usize, place) }
        }
        Op::Populate { ranges, how } => {
            let ranges = plan.words(ranges, size_of::<[u64; 2]>()).ok_or(Errno::EINVAL)?;
            memory::populate(ranges, how)
        }
        Op::MemoryMap { fields, executable } => {
            let fd = source_or_none(descriptors, executable)?;
            memory::tell_map(plan.words(fields, 8).ok_or(Errno::EINVAL)?, fd)
        }
        Op::Name { name } => {
            // SAFETY: the check saw that the string ends in NUL.
            unsafe { process::set_name(plan.string(name).ok_or(Errno::EINVAL)?.as_ptr()) }
        }
        Op::StopAtExec {} => descriptor::stop_at_exec(),
        Op::Open { slot, .. } => root::perform(plan, op, descriptors, home.slot(slot)?),
        Op::MapUsers { .. }
        | Op::Namespaces { .. }
        | Op::NewRoot { .. }
        | Op::MakeDirectory { .. }
        | Op::MakeFile { .. }
        | Op::MakeLink { .. }
        | Op::Bind { .. }
        | Op::Mount { .. }
        | Op::Seal { .. }
        | Op::BecomeRoot { .. }
        | Op::HostName { .. }
        | Op::Loopback {}
        | Op::EnterDirectory { .. }
        | Op::Allow { .. } => root::perform(plan, op, descriptors, -1),
        Op::Enter { .. } | Op::Resume { .. } => Err(Errno::EINVAL),
        Op::Execute { program, arguments, environment, listening } => {
            let (filter, rest) = scratch.split_at_mut_checked(plan.filter_words()).ok_or(Errno::EINVAL)?;
            let _ = filter;
            execute(plan, program, arguments, environment, listening == 1, rest)
        }
    }
}

fn read_registers(plan: &Plan<'_>, span: Span) -> Option<Registers> {
    let mut words = plan.words(span, 8)?.chunks_exact(8);
    let mut next = || Some(u64::from_ne_bytes(words.next()?.try_into().ok()?));
    Some(Registers {
        instruction: next()?,
        stack: next()?,
        rbx: next()?,
        rbp: next()?,
        r12: next()?,
        r13: next()?,
        r14: next()?,
        r15: next()?,
    })
}

fn source_or_none(descriptors: &[i32], source: u32) -> Result<i32> {
    match source {
        mapping::NO_FILE => Ok(-1),
        source => descriptors.get(source as usize).copied().ok_or(Errno::EBADF),
    }
}

/// The next `length` bytes of the answer.
fn room<'b>(answer: &'b mut [u8], answered: &mut usize, length: usize) -> Result<&'b mut [u8]> {
    let end = answered.checked_add(length).ok_or(Errno::EINVAL)?;
    let place = answer.get_mut(*answered..end).ok_or(Errno::EINVAL)?;
    *answered = end;
    Ok(place)
}

fn answer_with(answer: &mut [u8], answered: &mut usize, bytes: &[u8]) -> Result<()> {
    for (place, byte) in room(answer, answered, bytes.len())?.iter_mut().zip(bytes) {
        *place = *byte;
    }
    Ok(())
}

fn default_signals() -> Result<()> {
    const SIGKILL: i32 = 9;
    const SIGSTOP: i32 = 19;
    for number in 1..=64 {
        if number != SIGKILL && number != SIGSTOP {
            signal::set_default(number)?;
        }
    }
    Ok(())
}

fn raise(descriptors: &mut [i32], floor: u32) -> Result<()> {
    for fd in descriptors {
        if *fd < floor as i32 {
            *fd = descriptor::duplicate_above(*fd, floor)?;
        }
    }
    Ok(())
}

fn die_with_parent(signal: i32, parent: i32) -> Result<()> {
    process::signal_at_parent_death(signal)?;
    // It may have died before the kernel was told to watch it.
    if process::parent()? as i32 == parent { Ok(()) } else { Err(Errno::ESRCH) }
}

fn join_keyring(plan: &Plan<'_>, name: u32, serial: i32) -> Result<()> {
    let name = plan.string(name).ok_or(Errno::EINVAL)?;
    // SAFETY: the check saw that the string ends in NUL.
    let joined = unsafe { process::join_keyring(name.as_ptr()) }?;
    // The kernel finds the oldest of that name. Two first children at once make two, and then it need not be the one we were told; or it is
    // the session's already, for which the kernel gives no number. Any is as good that nobody can ever have put a key into.
    if joined != serial && keyring::is_empty_for_good(keyring::OF_SESSION) != Ok(true) {
        // Another user may have made a keyring of that name for us to find, or another program of this user's.
        // SAFETY: null asks for a new keyring without a name.
        unsafe { process::join_keyring(core::ptr::null()) }?;
    }
    Ok(())
}

/// In a session keyring of the newborn's own, because that it possesses, and the caller's may not be touched.
fn make_keyring(plan: &Plan<'_>, name: u32) -> Result<()> {
    // SAFETY: null asks for a new keyring without a name.
    unsafe { process::join_keyring(core::ptr::null()) }?;
    // SAFETY: the check saw that the string ends in NUL.
    let serial = unsafe { process::make_keyring(plan.string(name).ok_or(Errno::EINVAL)?.as_ptr()) }?;
    join_keyring(plan, name, serial)
}

fn set_groups(plan: &Plan<'_>, groups: Span) -> Result<()> {
    let (numbers, _) = plan.words(groups, 4).ok_or(Errno::EINVAL)?.as_chunks();
    process::set_groups(numbers)
}

/// Copies a filter out of the plan, filling in the newborn's own number.
fn filter<'s>(plan: &Plan<'_>, span: Span, scratch: &'s mut [u64]) -> Result<&'s [seccomp::Instruction]> {
    let bytes = plan.words(span, size_of::<seccomp::Instruction>()).ok_or(Errno::EINVAL)?;
    let copy = scratch.get_mut(..span.count as usize).ok_or(Errno::EINVAL)?;
    let mut own = None;
    for (place, bytes) in copy.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut instruction = bytes.try_into().map(u64::from_ne_bytes).map_err(|_| Errno::EINVAL)?;
        if instruction as u16 & OWN_NUMBER != 0 {
            let number = match own {
                Some(number) => number,
                None => *own.insert(process::process()? as u32),
            };
            let operand = ((instruction >> 32) as u32).wrapping_mul(number);
            instruction = instruction & 0xffff_ffff & !u64::from(OWN_NUMBER) | u64::from(operand) << 32;
        }
        *place = instruction;
    }
    // SAFETY: an instruction is eight plain bytes with an alignment of four; the words are initialised and borrowed for as long.
    Ok(unsafe { core::slice::from_raw_parts(copy.as_ptr().cast(), copy.len()) })
}

fn hand_out(listener: i32, socket: i32) -> Result<()> {
    message::send(socket, &[0], &[listener], true)?;
    // SAFETY: the kernel gave this number to the newborn, and only it.
    unsafe { descriptor::close(listener) }
}

fn execute(
    plan: &Plan<'_>,
    program: i32,
    arguments: Span,
    environment: Span,
    listening: bool,
    scratch: &mut [u64],
) -> Result<()> {
    let (text, pointers) = scratch.split_at_mut_checked(LISTEN_WORDS).ok_or(Errno::EINVAL)?;
    let first = arguments.count as usize + 1;
    let (argv, envp) = pointers.split_at_mut_checked(first).ok_or(Errno::EINVAL)?;
    let (listen, envp) = envp.split_at_mut_checked(usize::from(listening)).ok_or(Errno::EINVAL)?;
    point(plan, arguments, argv)?;
    point(plan, environment, envp)?;
    let envp = match listen.first_mut() {
        None => envp.as_ptr(),
        Some(place) => {
            *place = listen_variable(text, process::process()? as u32)?;
            core::ptr::from_ref(place)
        }
    };
    // SAFETY: both arrays hold pointers to strings that the check saw to end in NUL, and both end in null. A variable for the
    // listener stands right before the others, in the same borrow of the scratch.
    Err(unsafe { process::execute(program, argv.as_ptr().cast(), envp.cast()) })
}

/// Fills `pointers` with the addresses of a table's strings and a null.
fn point(plan: &Plan<'_>, table: Span, pointers: &mut [u64]) -> Result<()> {
    for index in 0..table.count {
        let string = plan.string_of(table, index).ok_or(Errno::EINVAL)?;
        *pointers.get_mut(index as usize).ok_or(Errno::EINVAL)? = string.as_ptr() as u64;
    }
    *pointers.get_mut(table.count as usize).ok_or(Errno::EINVAL)? = 0;
    Ok(())
}

/// Writes `LISTEN_PID=number` into `text` and gives its address.
fn listen_variable(text: &mut [u64], number: u32) -> Result<u64> {
    const NAME: [u8; 11] = *b"LISTEN_PID=";
    let mut bytes = [0u8; LISTEN_WORDS * 8];
    let mut digits = 1;
    let mut rest = number / 10;
    while rest != 0 {
        digits += 1;
        rest /= 10;
    }
    let mut rest = number;
    for (place, byte) in bytes.iter_mut().zip(NAME) {
        *place = byte;
    }
    for place in bytes.get_mut(NAME.len()..NAME.len() + digits).ok_or(Errno::EINVAL)?.iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    for (word, bytes) in text.iter_mut().zip(bytes.chunks_exact(8)) {
        *word = bytes.try_into().map(u64::from_ne_bytes).map_err(|_| Errno::EINVAL)?;
    }
    Ok(text.as_ptr() as u64)
}
