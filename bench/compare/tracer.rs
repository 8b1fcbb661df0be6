//! The system calls of one birth, counted: those of P, those of C before its first own instruction, and those of whoever else had a part.
//!
//! Safety idea: P and all that it has started is seized when it is ready and let go when C has ended; what is traced is only looked at. A
//! tracer is a thread, so that all is let go, whatever happens, when the thread ends.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use beget_sys::trace::{self, AtCall, Stop, option};
use beget_sys::{Errno, nr};

use super::mark::Mark;
use super::parent::program;
use super::player::{Once, Player};
use super::stage::Identity;

/// What was counted, by name and in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Calls {
    /// P's, until the call that has C made has come back.
    pub(super) parent: Vec<&'static str>,
    /// C's own, from its birth to its first instruction.
    pub(super) newborn: Vec<&'static str>,
    /// Those of others until then: what stands between, and what a peer starts.
    pub(super) others: Vec<&'static str>,
}

impl Calls {
    /// All of them.
    pub(super) fn count(&self) -> usize {
        self.parent.len() + self.newborn.len() + self.others.len()
    }
}

/// Names in their order, each run of the same one told once: `dup3 ×4, setsid`.
pub(super) fn in_short(names: &[&str]) -> String {
    let runs = names.chunk_by(|one, other| one == other).map(|run| match run {
        [one] => one.to_lowercase(),
        [one, ..] => format!("{} ×{}", one.to_lowercase(), run.len()),
        [] => String::new(),
    });
    runs.collect::<Vec<_>>().join(", ")
}

/// One that is traced.
struct Tracee {
    process: i32,
    parent: bool,
    calls: Vec<&'static str>,
}

/// Traces one birth.
pub(super) fn count(player: &mut Player) -> Result<Calls, String> {
    std::thread::scope(|scope| scope.spawn(|| traced(player)).join())
        .unwrap_or_else(|_| Err("the tracer failed".to_owned()))
}

fn traced(player: &mut Player) -> Result<Calls, String> {
    let parent = player.number() as i32;
    let mut trace = Trace::new(parent)?;
    let (stopped, stop) = std::sync::mpsc::channel();
    let outcome = std::thread::scope(|scope| {
        let answer = scope.spawn(move || {
            let once = player.once(false);
            let _ = stopped.send(());
            once
        });
        let followed = trace.follow(&stop);
        // Before P can answer, it has to be let go.
        trace.let_go();
        let once = answer.join().unwrap_or_else(|_| Err("P's answer was lost".to_owned()));
        followed.and(once)
    })?;
    match outcome {
        Once::Ended { code: 0, .. } => trace.calls(),
        Once::Ended { code, .. } => Err(format!("under the tracer C ended with {code}")),
        Once::Refused(why) => Err(format!("under the tracer: {why}")),
    }
}

struct Trace {
    parent: i32,
    tracees: HashMap<i32, Tracee>,
    began: bool,
    born: bool,
    c: Option<i32>,
    own: Identity,
    ended: bool,
}

fn told(errno: Errno) -> String {
    match errno {
        Errno::EPERM => "what it takes may not be traced by this user".to_owned(),
        other => format!("trace: {other}"),
    }
}

/// A number in `/proc`'s list of a process's threads or children.
fn numbers(path: &str) -> Vec<i32> {
    let list = std::fs::read_dir(path).into_iter().flatten().flatten();
    list.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// A process and all that descends from it, as far as it can be seen.
fn family(root: i32) -> Vec<i32> {
    let mut parents = HashMap::new();
    for process in numbers("/proc") {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        let parent = stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(1)?.parse().ok());
        parents.insert(process, parent.unwrap_or(0));
    }
    let mut family = vec![root];
    let mut next = 0;
    while let Some(one) = family.get(next).copied() {
        family.extend(parents.iter().filter(|(_, parent)| **parent == one).map(|(process, _)| *process));
        next += 1;
    }
    family
}

impl Trace {
    /// Seizes all that there is of it.
    fn new(parent: i32) -> Result<Trace, String> {
        const OPTIONS: usize = option::TELL_CALLS_APART | option::ITS_CHILDREN | option::EXEC;
        let own = std::fs::metadata(program()?).map_err(|error| error.to_string())?;
        let own = (own.dev(), own.ino());
        let tracees = HashMap::new();
        let mut trace = Trace { parent, tracees, began: false, born: false, c: None, own, ended: false };
        for process in family(parent) {
            for thread in numbers(&format!("/proc/{process}/task")) {
                match trace::seize(thread, OPTIONS).and_then(|()| trace::interrupt(thread)) {
                    // It ended meanwhile.
                    Err(Errno::ESRCH) => {}
                    Err(errno) => return Err(told(errno)),
                    Ok(()) => trace.add(thread, process),
                }
            }
        }
        Ok(trace)
    }

    fn add(&mut self, thread: i32, process: i32) {
        let parent = thread == self.parent;
        self.tracees.insert(thread, Tracee { process, parent, calls: Vec::new() });
    }

    /// Lets everything go on from stop to stop, until P says that C has ended.
    fn follow(&mut self, stopped: &std::sync::mpsc::Receiver<()>) -> Result<(), String> {
        while !self.ended {
            if stopped.try_recv().is_ok() {
                return Ok(());
            }
            let (thread, stop) = match trace::next_stop_of_any(true) {
                Ok(Some(next)) => next,
                Ok(None) | Err(Errno::EINTR) => continue,
                Err(errno) => return Err(told(errno)),
            };
            let signal = match stop {
                Stop::Exited(_) | Stop::Killed(_) => {
                    if thread == self.parent {
                        return Err("P ended under the tracer".to_owned());
                    }
                    continue;
                }
                Stop::Signal(signal) => signal,
                Stop::Call => {
                    self.at_call(thread)?;
                    0
                }
                Stop::EXEC => {
                    self.executed(thread);
                    0
                }
                Stop::Event(_) | Stop::Group(_) => {
                    if !self.tracees.contains_key(&thread) {
                        self.add(thread, thread);
                    }
                    0
                }
            };
            match trace::go_on_to_call(thread, signal) {
                // Killed meanwhile.
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(errno) => return Err(told(errno)),
            }
        }
        Ok(())
    }

    fn at_call(&mut self, thread: i32) -> Result<(), String> {
        let (number, arguments, at) = match trace::at_call(thread) {
            Ok(AtCall::Enters { number, arguments, at }) => (number, arguments, at),
            Ok(_) | Err(Errno::ESRCH) => return Ok(()),
            Err(errno) => return Err(told(errno)),
        };
        if !self.tracees.contains_key(&thread) {
            self.add(thread, thread);
        }
        let mark = Mark::of(number, &arguments);
        match mark {
            Some(Mark::Begin) => {
                self.began = true;
                self.tracees.values_mut().for_each(|tracee| tracee.calls.clear());
            }
            Some(Mark::Born) => self.born = true,
            Some(Mark::End) => self.ended = true,
            Some(Mark::First) => self.is_c(thread),
            None => {}
        }
        if mark.is_some() || !self.began || (self.c.is_some() && !self.is_parent(thread)) {
            return Ok(());
        }
        if self.is_parent(thread) && self.born {
            return Ok(());
        }
        if !self.is_parent(thread) && self.is_from_own_text(thread, at) {
            self.is_c(thread);
            return Ok(());
        }
        if let Some(tracee) = self.tracees.get_mut(&thread) {
            tracee.calls.push(nr::name(number as u32).unwrap_or("?"));
        }
        Ok(())
    }

    fn is_parent(&self, thread: i32) -> bool {
        self.tracees.get(&thread).is_some_and(|tracee| tracee.parent)
    }

    /// From now on it is C, and what it does is its own.
    fn is_c(&mut self, thread: i32) {
        if self.began && self.c.is_none() {
            self.c = Some(thread);
        }
    }

    /// An exec of the program, by one that is not P, makes it C.
    fn executed(&mut self, thread: i32) {
        let found = std::fs::metadata(format!("/proc/{thread}/exe"));
        if found.is_ok_and(|found| (found.dev(), found.ino()) == self.own) {
            self.is_c(thread);
        }
    }

    /// Whether a call comes from the text of the program that C is, in a process that is no part of P: so it does in a C that was loaded or
    /// copied without an exec.
    fn is_from_own_text(&self, thread: i32, at: u64) -> bool {
        let Some(process) = self.tracees.get(&thread).map(|tracee| tracee.process) else { return false };
        if process == self.parent || self.shares_with_parent(process) {
            return false;
        }
        let maps = std::fs::read_to_string(format!("/proc/{thread}/maps")).unwrap_or_default();
        maps.lines().any(|line| {
            let mut words = line.split_whitespace();
            let range = words.next().and_then(|range| range.split_once('-'));
            let Some((from, to)) = range else { return false };
            let number = |text: &str| u64::from_str_radix(text, 16).unwrap_or(0);
            let inode = words.nth(3).and_then(|inode| inode.parse::<u64>().ok());
            (number(from)..number(to)).contains(&at) && inode == Some(self.own.1)
        })
    }

    /// Whether it still runs P's own image: a child that was forked and has not executed anything.
    fn shares_with_parent(&self, process: i32) -> bool {
        let of = |process: i32| std::fs::read_link(Path::new(&format!("/proc/{process}/exe"))).ok();
        let begin = |process: i32| {
            let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap_or_default();
            maps.split('-').next().map(str::to_owned)
        };
        of(process) == of(self.parent) && begin(process) == begin(self.parent)
    }

    fn let_go(&mut self) {
        for thread in self.tracees.keys().copied().collect::<Vec<_>>() {
            // One that runs has to be stopped first.
            if trace::detach(thread, 0).is_err() && trace::interrupt(thread).is_ok() {
                let signal = match trace::next_stop(thread, true) {
                    Ok(Some(Stop::Signal(signal))) => signal,
                    _ => 0,
                };
                let _ = trace::detach(thread, signal);
            }
        }
    }

    fn calls(self) -> Result<Calls, String> {
        let c = self.c.ok_or("the tracer saw no C")?;
        let mut calls = Calls::default();
        let mut tracees: Vec<_> = self.tracees.into_iter().collect();
        tracees.sort_by_key(|(thread, _)| *thread);
        for (thread, tracee) in tracees {
            match thread {
                _ if tracee.parent => calls.parent = tracee.calls,
                _ if thread == c => calls.newborn = tracee.calls,
                _ => calls.others.extend(tracee.calls),
            }
        }
        Ok(calls)
    }
}
