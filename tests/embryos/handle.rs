//! What an embryo is before it is started.

use std::io::{Read, Seek, SeekFrom};
use std::os::fd::AsRawFd;

use beget::{Fault, Nursery};
use beget_tests::{Need, skip};

use crate::{LONG, embryo, maps, proc, ranges, seen, slots, status};

#[test]
fn waiting_for_it_says_not_started() {
    let embryo = embryo();
    let error = embryo.wait().expect_err("it cannot have ended");
    assert_eq!((error.to_string(), error.fault()), ("embryo: not started".into(), Fault::Caller));
    assert_eq!(seen(embryo.id()), seen(embryo.id()), "asking changes nothing");
}

#[test]
fn it_runs_the_stub_and_nothing_else() {
    let mut embryo = embryo();
    // An operation that does nothing: now it waits for the next.
    beget::Construct::close(&mut embryo, 0).expect("close");
    let number = embryo.id();
    let kernels = ["[stack]", "[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]"];
    for line in maps(number) {
        let name = line.splitn(3, ' ').nth(2).expect("three words");
        if name.starts_with('/') {
            // Where no memory can be executed, it is a file without a name.
            assert!(name.ends_with(" (deleted)"), "{line}");
            assert!(line.contains(" r-xp "), "the stub itself cannot be written: {line}");
        } else {
            assert!(name.is_empty() || kernels.contains(&name), "{line}");
        }
    }
    assert_eq!(ranges(number, |line| line.ends_with(' ')).len(), 1, "one workplace: {:?}", maps(number));
    let home: u64 =
        ranges(number, |line| !line.ends_with(']')).iter().map(|range| range.end - range.start).sum();
    assert!(home < 512 << 10, "the stub and its workplace have {home} bytes");
}

#[test]
fn it_holds_its_channel_and_nothing_else() {
    // SAFETY: a pipe without close-on-exec, as a careless host has them; both ends are closed below.
    let careless = unsafe {
        let mut ends = [0; 2];
        assert_eq!(libc::pipe(ends.as_mut_ptr()), 0);
        ends
    };
    let embryo = embryo();
    let held = slots(embryo.id());
    for end in careless {
        // SAFETY: made above.
        unsafe { libc::close(end) };
    }
    assert_eq!(held.len(), 1, "{held:?}");
    assert!(held[&0].starts_with("socket:"), "{held:?}");
}

#[test]
fn it_is_fresh() {
    let mut embryo = embryo();
    // An operation that does nothing: now it has come to itself.
    beget::Construct::close(&mut embryo, 0).expect("close");
    let number = embryo.id();
    assert_eq!(proc(number, "comm"), "beget-embryo\n");
    assert_eq!(proc(number, "cmdline"), "beget-embryo\0");
    assert_eq!(proc(number, "environ"), "");
    assert_eq!(status(number, "SigBlk"), "fffffffffffbfeff", "all but SIGKILL and SIGSTOP");
}

#[test]
fn a_session_limits_and_a_mask_are_its_own() {
    let embryo = embryo();
    let number = embryo.id();
    // SAFETY: asks a number.
    assert_eq!(unsafe { libc::getsid(number as i32) }, number as i32);
    assert_eq!(
        (status(number, "Umask").as_str(), status(number, "SigIgn").as_str()),
        ("0022", "0000000000000000")
    );
    let limits = proc(number, "limits");
    let line =
        |name: &str| limits.lines().find(|line| line.starts_with(name)).expect("it is listed").to_owned();
    assert_eq!(line("Max core file size").split_whitespace().nth(4), Some("0"), "{limits}");
    assert_eq!(line("Max open files").split_whitespace().nth(3), Some("1024"), "{limits}");
    assert_eq!(line("Max stack size").split_whitespace().nth(3), Some("8388608"), "{limits}");
    let directory = std::fs::read_link(format!("/proc/{number}/cwd")).expect("it is ours");
    assert_eq!(directory, std::path::Path::new("/"));
    assert_eq!(status(number, "NoNewPrivs"), "1", "no exec of it gains rights");
}

/// The part of its memory that lies in mappings that can be read.
fn memory(number: u32) -> Option<Vec<u8>> {
    let mut file = std::fs::File::open(format!("/proc/{number}/mem")).ok()?;
    let mut all = Vec::new();
    for range in ranges(number, |line| line.contains(" r") && !line.contains("[v")) {
        file.seek(SeekFrom::Start(range.start)).ok()?;
        let mut bytes = vec![0; (range.end - range.start) as usize];
        file.read_exact(&mut bytes).ok()?;
        all.extend(bytes);
    }
    Some(all)
}

#[test]
fn nothing_of_its_creators_memory_is_in_it() {
    let test = "handle::nothing_of_its_creators_memory_is_in_it";
    beget_tests::in_own_process(test, || {
        // Put together here, so that the words are in no file that could be mapped.
        let secret: String = ["what the ", "creator ", &std::process::id().to_string(), " knows"].concat();
        // SAFETY: this process has this one thread.
        unsafe { std::env::set_var("SECRET", &secret) };
        let mut embryo = embryo();
        beget::Construct::umask(&mut embryo, 0o77).expect("umask");
        let Some(memory) = memory(embryo.id()) else {
            return skip(test, Need::Machine("the right to read a process of one's own"));
        };
        let holds = |words: &[u8]| memory.windows(words.len()).any(|part| part == words);
        assert!(holds(b"beget-embryo"), "its name is there, so this is its memory");
        assert!(!holds(secret.as_bytes()));
    });
}

/// Kilobytes of memory that are a process's own, with its share of what it shares.
fn proportional(number: u32) -> u64 {
    let text = proc(number, "smaps_rollup");
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("it is told");
    line.split_whitespace().next().and_then(|word| word.parse().ok()).expect("a number")
}

#[test]
fn it_takes_a_few_pages() {
    let nursery = Nursery::new().expect("a nursery");
    let mut embryos: Vec<_> = (0..8).map(|_| nursery.embryo().expect("an embryo")).collect();
    for embryo in &mut embryos {
        beget::Construct::close(embryo, 0).expect("close");
    }
    let taken: Vec<u64> = embryos.iter().map(|embryo| proportional(embryo.id())).collect();
    let guard = nursery.id();
    let list = proc(guard, &format!("task/{guard}/children"));
    let nursery: u32 = list.trim().parse().expect("the guard's one child is the nursery");
    let [guard, nursery] = [proportional(guard), proportional(nursery)];
    eprintln!("kilobytes: embryos {taken:?}, nursery {nursery}, guard {guard}");
    assert!(taken.iter().all(|size| *size <= 100), "{taken:?}");
    assert!(nursery <= 100 && guard <= 100, "nursery {nursery}, guard {guard}");
}

#[test]
fn a_debugger_can_be_attached() {
    let test = "handle::a_debugger_can_be_attached";
    let mut embryo = embryo();
    let number = embryo.id() as i32;
    // SAFETY: traces a process of ours; the numbers and the buffers are as the requests want them.
    unsafe {
        if libc::ptrace(libc::PTRACE_SEIZE, number, 0, 0) != 0 {
            return skip(test, Need::Machine("the right to trace a process of one's own"));
        }
        assert_eq!(libc::ptrace(libc::PTRACE_INTERRUPT, number, 0, 0), 0);
        let mut status = 0;
        assert_eq!(libc::waitpid(number, &mut status, libc::__WALL), number);
        assert!(libc::WIFSTOPPED(status), "{status:x}");
        let mut registers: libc::user_regs_struct = std::mem::zeroed();
        assert_eq!(libc::ptrace(libc::PTRACE_GETREGS, number, 0, &raw mut registers), 0);
        let stub = ranges(embryo.id(), |line| line.contains(" r-xp /memfd:"));
        assert!(stub.iter().any(|range| range.contains(&registers.rip)), "it is in the stub");
        assert_eq!(libc::ptrace(libc::PTRACE_DETACH, number, 0, 0), 0);
    }
    // It goes on as if nobody had looked.
    beget::Construct::umask(&mut embryo, 0o27).expect("umask");
    assert_eq!(status(embryo.id(), "Umask"), "0027");
}

#[test]
fn one_that_somebody_kills_is_told_of() {
    let mut embryo = embryo();
    // SAFETY: a process of ours, whose number is its own until its nursery reaps it.
    assert_eq!(unsafe { libc::kill(embryo.id() as i32, libc::SIGKILL) }, 0);
    let mut watched =
        libc::pollfd { fd: std::os::fd::AsFd::as_fd(&embryo).as_raw_fd(), events: libc::POLLIN, revents: 0 };
    // SAFETY: one structure is read and written.
    assert_eq!(unsafe { libc::poll(&mut watched, 1, LONG.as_millis() as i32) }, 1, "its handle tells");
    let error = beget::Construct::umask(&mut embryo, 0).expect_err("nobody is there");
    assert_eq!(error.to_string(), "embryo: it has ended");
    assert_eq!(embryo.wait().expect("it has ended").exit_code(), 128 + 9);
}
