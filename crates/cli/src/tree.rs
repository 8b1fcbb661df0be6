//! Ending what a nursery leaves behind that somebody killed. `beget run` is a subreaper: whatever loses its parent becomes our child.
//!
//! Only direct children are signalled, and they are only reaped here: their numbers cannot have come to mean others. A shell that
//! executed `beget` in its own place may have left children of its own; those are not ours to end.

use std::collections::BTreeSet;

use beget_sys::wait::{self, option};
use beget_sys::{Errno, process, signal};

const SIGKILL: i32 = 9;

/// The processes below this one.
#[derive(Debug)]
pub(crate) struct Tree {
    /// Children that were there before the program.
    before: BTreeSet<i32>,
}

impl Tree {
    /// Whether children can be found at all: not where `/proc` is not there, or was not granted to us.
    pub(crate) fn can_be_listed() -> bool {
        std::fs::read_to_string("/proc/thread-self/children").is_ok() || every_process().next().is_some()
    }

    /// Makes this process the one that orphans below it come to.
    pub(crate) fn adopt_orphans() -> Result<Tree, Errno> {
        process::subreaper(true)?;
        let before = if has_children() { children().into_iter().collect() } else { BTreeSet::new() };
        Ok(Tree { before })
    }

    /// Kills and reaps until nothing is left.
    pub(crate) fn end_all(&self) {
        while has_children() {
            let left = self.left_behind();
            if left.is_empty() {
                return;
            }
            // All are killed before any is waited for; one that ends hands its own children on to us, so each round goes one
            // generation deeper.
            for child in &left {
                let _ = signal::kill(*child, SIGKILL);
            }
            for child in left {
                while wait::child(child, option::EXITED | option::ALL) == Err(Errno::EINTR) {}
            }
        }
    }

    /// The program's processes among our children. Where others were there before, their orphans come to us too; the program's own
    /// can be told by the no_new_privs that they cannot lose.
    fn left_behind(&self) -> Vec<i32> {
        let mut left = children();
        if !self.before.is_empty() {
            left.retain(|child| !self.before.contains(child) && has_no_new_privileges(*child));
        }
        left
    }
}

/// Whether there is a child, dead or alive.
fn has_children() -> bool {
    let look = option::EXITED | option::ALL | option::NO_HANG | option::NO_WAIT;
    wait::any(look) != Err(Errno::ECHILD)
}

fn has_no_new_privileges(process: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{process}/status"))
        .is_ok_and(|text| text.contains("\nNoNewPrivs:\t1"))
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
    stat(process, 1)?.parse().ok()
}

/// Whether it is stopped now: news of a stop may be older.
pub(crate) fn is_stopped(process: i32) -> bool {
    stat(process, 0).is_some_and(|state| state == "T")
}

/// A field of `/proc/PID/stat`, counted from the state.
fn stat(process: i32, field: usize) -> Option<String> {
    let text = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    // The name in brackets may hold anything, brackets and spaces too.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(field).map(str::to_owned)
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
