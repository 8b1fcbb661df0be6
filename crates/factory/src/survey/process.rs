//! What the kernel keeps for the program's process and gives to no copy: threads, children, timers, waiting signals; and what it is that a
//! copy would have otherwise than it was given.
//!
//! Safety idea: what the kernel tells only to the process itself is asked by it: calls are made in it, in a page that nothing else is in, and
//! the page is gone afterwards.

use std::path::Path;

use beget_sys::memory::{PAGE, how};
use beget_sys::{Errno, nr};

use super::birth::{self, Expectations};
use super::hazard::{Hazard, Kind};
use super::{text, threads};
use crate::tracee::Tracee;
use crate::{Error, Fault, Result};

fn lines(path: &Path) -> String {
    std::fs::read(path).map(|bytes| String::from_utf8_lossy(&bytes).trim_end().to_owned()).unwrap_or_default()
}

fn entries(number: i32, name: &str) -> Result<Vec<std::path::PathBuf>> {
    let folder =
        std::fs::read_dir(format!("/proc/{number}/{name}")).map_err(|error| birth::failed(name, error))?;
    Ok(folder.flatten().map(|entry| entry.path()).collect())
}

/// Children of all of a process's threads, those that have ended and were not waited for too.
fn children(number: i32) -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for task in entries(number, "task")? {
        let list = std::fs::read_to_string(task.join("children"))
            .map_err(|error| birth::failed("children", error))?;
        found.extend(list.split_ascii_whitespace().filter_map(|number| number.parse::<i32>().ok()));
    }
    Ok(found)
}

/// `7 (name)`.
fn named(number: i32) -> String {
    format!("process {number} ({})", lines(Path::new(&format!("/proc/{number}/comm"))))
}

/// Looks at threads, children and what `status` says.
pub(super) fn survey(tracee: &Tracee, before: &Expectations, hazards: &mut Vec<Hazard>) -> Result<()> {
    let number = tracee.number();
    let others = entries(number, "task")?.into_iter().filter(|task| !task.ends_with(number.to_string()));
    let names: Vec<String> = others.map(|task| lines(&task.join("comm"))).collect();
    threads::survey(tracee, &names, hazards)?;
    for child in children(number)? {
        hazards.push(Hazard::refused(Kind::Children, named(child), "a copy is not its parent"));
    }
    let status = birth::read(number, "status")?;
    siblings(number, &status, before, hazards)?;
    waiting(&status, hazards);
    if birth::namespaces(number)? != before.namespaces {
        let why = "its copies are born in others than they are confined for";
        hazards.push(Hazard::refused(Kind::Namespace, "namespaces that the program made or joined", why));
    }
    let line = |key| text::status(&status, key).unwrap_or_default().to_owned();
    if [line("Uid"), line("Gid")] != before.user {
        let why = "what holds a product was prepared for another";
        hazards.push(Hazard::refused(Kind::Credentials, "user or group that the program changed", why));
    }
    if line("Seccomp_filters") != before.filters {
        // What confines a copy is asked of the kernel by the copy, and such a filter can answer that it was done, without.
        let why = "it could answer in the kernel's place, also to what holds each product";
        hazards.push(Hazard::refused(
            Kind::Filter,
            "a filter of system calls that the program put on itself",
            why,
        ));
    }
    let (now, then) = (birth::open_files(number)?, before.open_files);
    if now.iter().zip(then).any(|(now, then)| *now < then) {
        let [soft, hard] = now;
        let what = format!("a limit of open files that the program lowered, to {soft} of at most {hard}");
        let why = "what a product is given comes in at higher numbers";
        hazards.push(Hazard::refused(Kind::Number, what, why));
    }
    if line("x86_Thread_features").contains("shstk") {
        hazards.push(Hazard::refused(Kind::Memory, "a shadow stack", "the way into a copy leads past it"));
    }
    Ok(())
}

/// Processes that it made as its own siblings, or that it left behind: the nursery is the parent of both.
fn siblings(number: i32, status: &str, before: &Expectations, hazards: &mut Vec<Hazard>) -> Result<()> {
    let nothing = || Error::new("template: survey: status", "it names no parent", Fault::Kernel);
    let nursery = text::status(status, "PPid").and_then(|parent| parent.parse().ok()).ok_or_else(nothing)?;
    let of = |number: i32| text::group_and_session(&lines(Path::new(&format!("/proc/{number}/stat"))));
    let own = of(number);
    for child in children(nursery)?.into_iter().filter(|child| *child != number) {
        let is_kin = |((group, session), (own_group, own_session))| {
            own_session == number && session == number || own_group == number && group == number
        };
        if before.alone || of(child).zip(own).is_some_and(is_kin) {
            hazards.push(Hazard::refused(
                Kind::Children,
                named(child),
                "the program made it, and a copy has none",
            ));
        } else if holds_channel(child, before) {
            let why = "it has the template's channel, and would answer in its place";
            hazards.push(Hazard::refused(Kind::Channel, named(child), why));
        }
    }
    Ok(())
}

/// Whether another process has the channel open. One that has seen to it that it may not be looked into is found only in a nursery of the
/// template's own ([`Expectations::alone`]).
fn holds_channel(number: i32, before: &Expectations) -> bool {
    let socket = format!("socket:[{}]", before.channel);
    let is = |descriptor: &std::path::PathBuf| {
        std::fs::read_link(descriptor).is_ok_and(|link| link == Path::new(&socket))
    };
    entries(number, "fd").is_ok_and(|all| all.iter().any(is))
}

/// Signals that wait, but for those that a stop by whoever traces it leaves.
fn waiting(status: &str, hazards: &mut Vec<Hazard>) {
    const OF_STOPS: [u32; 3] = [5, 18, 19];
    let of = |key| text::signals(status, key).unwrap_or(u64::MAX);
    let left = OF_STOPS.iter().fold(of("SigPnd") | of("ShdPnd"), |left, signal| left & !(1 << (signal - 1)));
    let numbers: Vec<String> =
        (1..=64).filter(|signal| left & 1 << (signal - 1) != 0).map(|signal| signal.to_string()).collect();
    if !numbers.is_empty() {
        let what = format!("signal {} waits to reach the program", numbers.join(", "));
        hazards.push(Hazard::refused(Kind::Signal, what, "no copy would get it"));
    }
}

/// What only the process itself is told, asked by it.
pub(super) struct Asked {
    /// Where its number stands for the C library, which the way into a copy sees to.
    pub(super) known: Vec<u64>,
}

/// Asks.
pub(super) fn ask(tracee: &mut Tracee, hazards: &mut Vec<Hazard>) -> Result<Asked> {
    let (rights, flags) = ((how::READ | how::WRITE) as u64, (how::PRIVATE | how::ANONYMOUS) as u64);
    let page = tracee.call("a page to ask in", nr::MMAP, [0, PAGE as u64, rights, flags, u64::MAX, 0])?;
    let asked = ask_in(tracee, page, hazards);
    // What was asked may have failed; the page is gone all the same.
    let unmapped = tracee.call("a page to ask in", nr::MUNMAP, [page, PAGE as u64, 0, 0, 0, 0]);
    let asked = asked?;
    unmapped?;
    Ok(asked)
}

fn ask_in(tracee: &mut Tracee, page: u64, hazards: &mut Vec<Hazard>) -> Result<Asked> {
    for (which, name) in [
        (0, "a real timer (setitimer, alarm)"),
        (1, "a virtual timer (setitimer)"),
        (2, "a profiling timer (setitimer)"),
    ] {
        tracee.call("a timer", nr::GETITIMER, [which, page, 0, 0, 0, 0])?;
        // One that comes again has no time left from its end until its signal has reached the program.
        let mut set = false;
        for at in [0, 8, 16, 24] {
            set |= tracee.word(page + at)? != 0;
        }
        if set {
            hazards.push(Hazard::refused(Kind::Timer, name, "it is set, and no copy has it"));
        }
    }
    let timers = timers(tracee, page)?;
    if timers > 0 {
        let what = format!("{timers} timers (timer_create)");
        hazards.push(Hazard::refused(Kind::Timer, what, "no copy has them"));
    }
    tracee.write(page, &[0; 16])?;
    tracee.call("robust locks", nr::GET_ROBUST_LIST, [0, page, page + 8, 0, 0, 0])?;
    let head = tracee.word(page)?;
    // A list that is empty leads back to its head; its third word is the lock that is being taken.
    if head != 0 && (tracee.word(head)? != head || tracee.word(head + 16)? != 0) {
        let why = "its owner is the template, by number";
        hazards.push(Hazard::refused(Kind::RobustLock, "a robust lock that the program holds", why));
    }
    channel(tracee, page, hazards)?;
    of_its_own(tracee, page, hazards)?;
    const GET_THREAD_ADDRESS: u64 = 40;
    let mut known = Vec::new();
    if tracee.try_call(nr::PRCTL, [GET_THREAD_ADDRESS, page, 0, 0, 0, 0])?.is_ok() {
        known.push(tracee.word(page)?);
    }
    known.push(tracee.registers.fs_base.wrapping_add(48));
    Ok(Asked { known })
}

/// What the kernel has of the process itself that no copy gets.
fn of_its_own(tracee: &mut Tracee, page: u64, hazards: &mut Vec<Hazard>) -> Result<()> {
    const GET_DEATH_SIGNAL: u64 = 2;
    const GET_SUBREAPER: u64 = 37;
    const SIGKILL: u64 = 9;
    let mut ask = |which: u64| -> Result<u64> {
        tracee.write(page, &[0; 8])?;
        tracee.call("what it has of its own", nr::PRCTL, [which, page, 0, 0, 0, 0])?;
        tracee.word(page)
    };
    let signal = ask(GET_DEATH_SIGNAL)?;
    // A template and its copies end with their nursery whatever this says.
    if signal != 0 && signal != SIGKILL {
        let what = format!("signal {signal}, to come when its parent ends (PR_SET_PDEATHSIG)");
        hazards.push(Hazard::refused(Kind::Signal, what, "no copy would get it"));
    }
    if ask(GET_SUBREAPER)? != 0 {
        let what = "the orphans of its children, which it adopts (PR_SET_CHILD_SUBREAPER)";
        hazards.push(Hazard::refused(Kind::Children, what, "no copy would"));
    }
    Ok(())
}

/// Looks whether the program has changed what comes over its channel: who sent it, when, or that descriptors do not. What comes besides is
/// not expected there, and a descriptor among it would stay in the template and every copy.
fn channel(tracee: &mut Tracee, page: u64, hazards: &mut Vec<Hazard>) -> Result<()> {
    const SOL_SOCKET: u64 = 1;
    /// Each with what it is by default: `SO_PASSCRED`, `SO_TIMESTAMP` and its kin, `SO_PASSSEC`, `SO_RXQ_OVFL`, `SO_PASSPIDFD`, `SO_PASSRIGHTS`.
    const OPTIONS: [(u64, u32); 10] =
        [(16, 0), (29, 0), (35, 0), (37, 0), (63, 0), (64, 0), (34, 0), (40, 0), (76, 0), (83, 1)];
    for (option, usual) in OPTIONS {
        tracee.write(page, &u64::from(usual).to_ne_bytes())?;
        tracee.write(page + 8, &4u64.to_ne_bytes())?;
        let channel = beget::Template::CHANNEL as u64;
        // What this kernel does not have is not on; what is not there any more is told of elsewhere.
        let asked = tracee.try_call(nr::GETSOCKOPT, [channel, SOL_SOCKET, option, page, page + 8, 0])?;
        if asked.is_ok() && tracee.word(page)? != u64::from(usual) {
            let why = "more would come over it than what is sent";
            hazards.push(Hazard::refused(
                Kind::Channel,
                format!("option {option} of the template's channel"),
                why,
            ));
        }
    }
    Ok(())
}

/// How many timers of `timer_create` there are. They are numbered in turn: one is made, which tells how many there ever were, and taken away
/// again.
fn timers(tracee: &mut Tracee, page: u64) -> Result<u64> {
    const MONOTONIC: u64 = 1;
    const NO_SIGNAL: u32 = 1;
    /// More than these are not counted: there are some.
    const COUNTED: u64 = 4096;
    let mut event = [0; 64];
    if let Some(notify) = event.get_mut(12..16) {
        notify.copy_from_slice(&NO_SIGNAL.to_ne_bytes());
    }
    tracee.write(page, &event)?;
    match tracee.try_call(nr::TIMER_CREATE, [MONOTONIC, page, page + 64, 0, 0, 0])? {
        Ok(_) => {}
        // A kernel without.
        Err(Errno::ENOSYS) => return Ok(0),
        Err(errno) => return Err(Error::kernel("template: survey: timers", errno, Fault::Kernel)),
    }
    let next = tracee.word(page + 64)? & 0xffff_ffff;
    tracee.call("a timer", nr::TIMER_DELETE, [next, 0, 0, 0, 0, 0])?;
    let mut count = 0;
    for one in next.saturating_sub(COUNTED)..next {
        if tracee.try_call(nr::TIMER_GETTIME, [one, page, 0, 0, 0, 0])?.is_ok() {
            count += 1;
        }
    }
    Ok(count)
}
