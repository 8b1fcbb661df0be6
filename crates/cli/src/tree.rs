//! Ending what the program leaves behind. `beget run` is a subreaper: whatever loses its parent becomes our child.
//!
//! Only direct children are signalled, and they are only reaped here: their numbers cannot have come to mean others.

use beget_sys::wait::{self, option};
use beget_sys::{Errno, process, signal};

const SIGKILL: i32 = 9;

/// Makes this process the one that orphans below it come to.
pub(crate) fn adopt_orphans() -> Result<(), Errno> {
    process::subreaper(true).map(drop)
}

/// Kills and reaps until nothing is left.
pub(crate) fn end_all() {
    loop {
        for child in children() {
            let _ = signal::kill(child, SIGKILL);
        }
        // One that ends hands its own children on to us, so each round goes one generation deeper.
        match wait::any(option::EXITED | option::ALL) {
            Ok(_) | Err(Errno::EINTR) => {}
            Err(_) => return,
        }
        while let Ok(Some(_)) = wait::any(option::EXITED | option::ALL | option::NO_HANG) {}
    }
}

/// Reaps orphans that ended by themselves while the program runs; leaves the program's own status alone.
pub(crate) fn reap_orphans(program: i32) {
    for child in children() {
        if child == program {
            continue;
        }
        if let Ok(pidfd) = rustix::process::pidfd_open(
            rustix::process::Pid::from_raw(child).unwrap_or(rustix::process::Pid::INIT),
            rustix::process::PidfdFlags::empty(),
        ) {
            use std::os::fd::AsFd;
            let _ = wait::on(pidfd.as_fd(), option::EXITED | option::ALL | option::NO_HANG);
        }
    }
}

/// The numbers of this thread's children; this process has one thread.
fn children() -> Vec<i32> {
    match std::fs::read_to_string("/proc/thread-self/children") {
        Ok(list) => list.split_ascii_whitespace().filter_map(|number| number.parse().ok()).collect(),
        // A kernel without that file: whoever says that we are its parent.
        Err(_) => every_process().filter(|(_, parent)| *parent == own()).map(|(number, _)| number).collect(),
    }
}

fn own() -> i32 {
    std::process::id() as i32
}

/// Number and parent of every process that `/proc` shows.
fn every_process() -> impl Iterator<Item = (i32, i32)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let number = entry.file_name().to_str()?.parse().ok()?;
        Some((number, parent_of(number)?))
    })
}

fn parent_of(process: i32) -> Option<i32> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in brackets may hold anything, brackets and spaces too.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(1)?.parse().ok()
}

/// Whether `process` descends from this one.
pub(crate) fn is_descendant(mut process: i32) -> bool {
    const DEEPEST: usize = 1000;
    for _ in 0..DEEPEST {
        match parent_of(process) {
            Some(parent) if parent == own() => return true,
            Some(parent) if parent > 1 => process = parent,
            _ => return false,
        }
    }
    false
}
