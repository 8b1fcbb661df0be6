//! The freestanding blob, run from its bytes in a process of its own: at any address, it does what the plan says and answers.

mod support;

use beget_plan::blob::{CODE, Entry, REFUSED};
use beget_plan::interpreter::{self, Bench, Outcome};
use beget_plan::memory::Home;
use beget_plan::{Draft, Engine, Op, Plan};

/// Maps the blob, readable and executable, wherever `hint` says.
fn map(hint: usize) -> Entry {
    // SAFETY: new memory, at an address that nothing else has; the blob is copied into it before it becomes executable.
    unsafe {
        let private = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
        let memory = libc::mmap(hint as *mut _, 1 << 16, libc::PROT_READ | libc::PROT_WRITE, private, -1, 0);
        assert_eq!(memory as usize, hint, "the address is free");
        std::ptr::copy_nonoverlapping(CODE.as_ptr(), memory.cast(), CODE.len());
        assert_eq!(libc::mprotect(memory, 1 << 16, libc::PROT_READ | libc::PROT_EXEC), 0);
        std::mem::transmute::<*mut libc::c_void, Entry>(memory)
    }
}

/// Calls it in a forked process and gives its answer, or the exit status of the program that it executed.
fn call(entry: Entry, plan: &[u8], numbers: &[i32], words: usize) -> Result<u64, i32> {
    let mut numbers = numbers.to_vec();
    let mut scratch = vec![0u64; words];
    let (reader, writer) = std::io::pipe().expect("a pipe can be made");
    let socket = std::os::fd::AsRawFd::as_raw_fd(&writer);
    let status = support::forked(|| {
        // SAFETY: three live ranges; this process is new, with memory of its own.
        let answer = unsafe {
            entry(plan.as_ptr(), plan.len(), numbers.as_mut_ptr(), numbers.len(), scratch.as_mut_ptr(), words)
        };
        // SAFETY: writes eight live bytes.
        unsafe { libc::write(socket, (&raw const answer).cast(), 8) };
        0
    });
    drop(writer);
    let mut answer = [0; 8];
    let mut reader = reader;
    match std::io::Read::read_exact(&mut reader, &mut answer) {
        Ok(()) => Ok(u64::from_ne_bytes(answer)),
        Err(_) => Err(status),
    }
}

const ADDRESSES: [usize; 2] = [0x1234_5000_0000, 0x2000_0001_f000];

fn program() -> std::fs::File {
    std::fs::File::open("/bin/true").expect("every machine has it")
}

#[test]
fn it_is_small() {
    assert!(CODE.len() < 16 << 10, "{} bytes", CODE.len());
}

#[test]
fn at_two_addresses_it_runs_a_plan_to_its_program() {
    let file = program();
    let mut draft = Draft::new();
    draft.push(Op::DefaultSignals {});
    draft.push(Op::NewSession {});
    draft.push(Op::Raise { floor: 40 });
    draft.push(Op::Place { source: 0, slot: 30, closing: 1 });
    draft.push(Op::Umask { mode: 0o77 });
    draft.push(Op::NoNewPrivileges {});
    let instructions = draft.filter(&[support::ALLOW]);
    draft.push(Op::Filter { instructions });
    draft.push(Op::SignalMask { mask: 0 });
    support::execute(&mut draft, 30, &[c"true"], &[c"A=1"]);
    let bytes = draft.encode(1);
    let words = Plan::check(&bytes, Engine::Fresh).expect("a plan").scratch();
    for address in ADDRESSES {
        let answer = call(map(address), &bytes, &[std::os::fd::AsRawFd::as_raw_fd(&file)], words);
        // The pipe for answers is closed by the exec, and the program ended with 0.
        assert_eq!(answer, Err(0), "at {address:x}");
    }
}

#[test]
fn it_answers_with_the_operation_and_errno() {
    let mut draft = Draft::new();
    draft.push(Op::Umask { mode: 0o77 });
    draft.push(Op::ChangeDirectory { slot: 1_000_000 });
    support::execute(&mut draft, 1_000_000, &[c"x"], &[]);
    let bytes = draft.encode(0);
    let entry = map(0x3000_0000_0000);
    assert_eq!(call(entry, &bytes, &[], 64), Ok(1 << 32 | libc::EBADF as u64));
}

#[test]
fn it_refuses_what_is_no_plan_and_what_has_no_room() {
    let entry = map(0x3100_0000_0000);
    let bytes = support::everything().encode(3);
    assert_eq!(call(entry, &[0xa5; 200], &[], 64), Ok(REFUSED));
    assert_eq!(call(entry, &bytes[..bytes.len() - 1], &[0; 3], 64), Ok(REFUSED));
    assert_eq!(call(entry, &bytes, &[0; 2], 64), Ok(REFUSED), "too few descriptors");
    assert_eq!(call(entry, &bytes, &[0; 3], 5), Ok(REFUSED), "too little scratch");
}

/// What is illegal for a `vfork` child is done, in a process with memory of its own, by the blob.
#[test]
fn a_process_of_its_own_changes_user_group_and_dumpable() {
    if !support::is_root() {
        return support::skip("a_process_of_its_own_changes_user", "not root");
    }
    const SOMEBODY: u32 = 54_000;
    let mut draft = Draft::new();
    draft.push(Op::SetGroup { group: SOMEBODY });
    draft.push(Op::SetUser { user: SOMEBODY });
    draft.push(Op::Dumpable { value: 1 });
    // Only root may raise this one: the answer shows that the user is another.
    draft.push(Op::SetUser { user: 0 });
    support::execute(&mut draft, 3, &[c"x"], &[]);
    let bytes = draft.encode(0);
    assert_eq!(call(map(0x3200_0000_0000), &bytes, &[], 64), Ok(3 << 32 | libc::EPERM as u64));
}

/// Runs the interpreter on a painted stack and measures how deep it went, for every operation that allows it.
#[test]
fn the_stack_it_uses_is_less_than_a_quarter_of_what_the_engine_gives() {
    const STACK: usize = 32 << 10;
    const PAINT: u8 = 0xa5;
    let mut draft = Draft::new();
    draft.push(Op::DefaultSignals {});
    draft.push(Op::Raise { floor: 0 });
    draft.push(Op::Umask { mode: 0o22 });
    draft.push(Op::Limit { resource: 4, soft: 0, hard: 0 });
    draft.push(Op::DropCapabilities {});
    draft.push(Op::NoNewPrivileges {});
    let own = beget_sys::seccomp::Instruction {
        code: 0x06 | beget_sys::seccomp::code::OWN_NUMBER,
        ..support::ALLOW
    };
    let instructions = draft.filter(&[support::ALLOW, own]);
    draft.push(Op::Filter { instructions });
    // No such descriptor: everything but the exec itself is done.
    let many: Vec<&std::ffi::CStr> = vec![c"an argument"; 50];
    support::execute(&mut draft, 1_000_000, &many, &many);
    let bytes = draft.encode(0);
    let mut stack = vec![PAINT; STACK];
    let mut scratch = vec![0u64; 4096];
    let shared = std::io::pipe().expect("a pipe can be made");
    let writer = std::os::fd::AsRawFd::as_raw_fd(&shared.1);
    let mut errand = Errand { plan: &bytes, scratch: &mut scratch, fault: None };
    let status = support::forked(|| {
        let top = (stack.as_mut_ptr() as usize + STACK) & !15;
        // SAFETY: switches to the painted stack for one call, and back; the errand outlives it.
        unsafe {
            core::arch::asm!(
                "mov r12, rsp", "mov rsp, {top}", "call {run}", "mov rsp, r12",
                top = in(reg) top, run = in(reg) run as extern "C" fn(*mut Errand<'_>),
                in("rdi") &raw mut errand, out("r12") _, clobber_abi("C"),
            );
        }
        let used = (STACK - stack.iter().take_while(|byte| **byte == PAINT).count()) as u64;
        let fault = errand.fault.map_or(0, |fault| u64::from(fault.op) << 32 | fault.errno.0 as u64);
        let words = [used, fault];
        // SAFETY: writes sixteen live bytes.
        unsafe { libc::write(writer, words.as_ptr().cast(), 16) };
        0
    });
    assert_eq!(status, 0);
    let mut words = [0u8; 16];
    let mut reader = shared.0;
    std::io::Read::read_exact(&mut reader, &mut words).expect("the process told");
    let (used, fault) = words.split_at(8);
    let number = |bytes: &[u8]| bytes.iter().rev().fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    assert_eq!(number(fault), 7 << 32 | libc::EBADF as u64, "it got as far as the exec");
    assert!(number(used) > 64, "something was used");
    assert!(number(used) < STACK as u64 / 4, "{} bytes of stack", number(used));
}

struct Errand<'a> {
    plan: &'a [u8],
    scratch: &'a mut [u64],
    fault: Option<interpreter::Fault>,
}

extern "C" fn run(errand: *mut Errand<'_>) {
    // SAFETY: the caller's errand, alone.
    let errand = unsafe { &mut *errand };
    let Ok(plan) = Plan::check(errand.plan, Engine::Vfork) else { return };
    let mut bench =
        Bench { descriptors: &mut [], scratch: errand.scratch, answer: &mut [], home: Home::NONE };
    // SAFETY: this process was forked for it.
    if let Outcome::Failed(fault) = unsafe { interpreter::run(&plan, &mut bench) } {
        errand.fault = Some(fault);
    }
}
