//! Births in a nursery: by the nursery itself, or by a template, whose copies become its children too.
//!
//! Safety idea: what is to be remembered of a child has its place before there is a child. No plan reaches the nursery's own descriptors, and
//! a template that does not answer any more is an error of this birth alone.

use beget_sys::message::MOST_DESCRIPTORS;
use beget_sys::process::{self, Born as Newborn, Cradle};
use beget_sys::signal;
use beget_sys::wait::{self, Change, option};
use beget_sys::{Errno, Result};

use super::answers::{Lot, nothing, refuse};
use super::channel::{self, Body, Came, Line};
use super::nursery::{Nursery, SIGCONT, SIGKILL, known};
use super::reach;
use crate::birth::{self, Birth, Room};
use crate::encoding::Plan;
use crate::message::{self, Batch, Born, Header, flag, kind};
use crate::op::Engine;

impl Nursery<'_> {
    /// Makes each item of a batch, answering as it goes; gives what is to be answered still. `None` when nobody listens.
    pub(super) fn give_birth(&mut self, batch: &Batch<'_>, items: usize, atomic: bool) -> Option<Lot> {
        if atomic {
            return self.give_birth_together(batch, items);
        }
        let mut lot = Lot::new(self.line);
        for index in 0..items {
            let (born, pidfd) = self.bear(&batch.birth(index)?);
            lot.add(born, pidfd).then_some(())?;
        }
        Some(lot)
    }

    /// Makes all items of a batch, or none. Each stops before the first instruction of its program, so that none has run when another
    /// cannot be made; they go on when all are there.
    fn give_birth_together(&mut self, batch: &Batch<'_>, items: usize) -> Option<Lot> {
        let Ok(mut memory) = Body::zeroed(items * size_of::<Together>()) else {
            return refuse(self.line, items as u32, Errno::ENOMEM);
        };
        // SAFETY: zeroes are such records, and a mapping is aligned.
        let together = unsafe { memory.bytes_mut().align_to_mut::<Together>() }.1;
        let mut all = true;
        for (index, place) in together.iter_mut().enumerate() {
            let item = batch.birth(index)?;
            let (born, pidfd) = match all {
                // One that is not ours could not be held back, nor reaped.
                true if item.flags & flag::PARENT != 0 => (nothing(Errno::EINVAL), -1),
                true => self.bear(&item),
                false => (nothing(Errno::ECANCELED), -1),
            };
            all = all && born.errno == 0;
            *place = Together { born, pidfd };
        }
        for place in together.iter_mut() {
            if all && !has_stopped(place.born.number as i32) {
                // The exec was past its point of no return, and failed there.
                place.born.errno = Errno::ENOEXEC.0 as u32;
                all = false;
            }
        }
        // All of them before the first is answered: nobody may be there to hear it.
        for place in together.iter_mut() {
            let number = place.born.number as i32;
            if all {
                let _ = signal::kill(number, SIGCONT);
            } else if number != 0 {
                let why = if place.born.errno == 0 { Errno::ECANCELED } else { Errno::ENOEXEC };
                let _ = signal::kill(number, SIGKILL);
                while wait::child(number, option::EXITED | option::ALL) == Err(Errno::EINTR) {}
                self.forget(place.born.number);
                channel::close(&[place.pidfd]);
                *place = Together { born: nothing(why), pidfd: -1 };
            }
        }
        let mut lot = Lot::new(self.line);
        for place in together {
            lot.add(place.born, place.pidfd).then_some(())?;
        }
        Some(lot)
    }

    /// Has a template make one item, which becomes a child of this process, for the template is one.
    fn bear_copy(&mut self, item: &message::Birth<'_>, template: u32) -> (Born, i32) {
        let socket = self.numbers.get(template as usize).copied().unwrap_or(-1);
        let cgroup = item.cgroup.and_then(|index| self.numbers.get(index as usize).copied());
        let given = item.descriptors().map(|index| self.numbers.get(index).copied().unwrap_or(-1));
        let mut count = 0;
        for (place, number) in self.lent.iter_mut().zip(given.chain(cgroup)) {
            *place = number;
            count += 1;
        }
        if count > MOST_DESCRIPTORS {
            return (nothing(Errno::EINVAL), -1);
        }
        let line = Line { socket, ..self.line };
        let [low, high] = item.key;
        let header = Header {
            kind: kind::YIELD,
            length: item.plan.len() as u32,
            descriptors: count as u32,
            words: [cgroup.is_some().into(), low, high, 0],
        };
        let lent = self.lent.get(..count).unwrap_or_default();
        if !channel::answer(line, &header, [item.plan, &[]], lent) {
            return (nothing(Errno::EPIPE), -1);
        }
        let (mut pidfd, mut room) = ([-1], [0; Born::SIZE / 8]);
        match channel::receive(line, &mut pidfd, &mut room) {
            Came::Message(Header { kind: kind::BORN, .. }, body, count) => {
                let [pidfd] = pidfd;
                let born = Born::decode(body.bytes(), 0).filter(|born| (born.errno == 0) == (count == 1));
                (born.unwrap_or(nothing(Errno::EPROTO)), pidfd)
            }
            // It lives, and there is no number here for its pidfd: without its channel it ends.
            Came::TooMuch(_, errno) => (nothing(errno), -1),
            _ => (nothing(Errno::EPIPE), -1),
        }
    }

    /// Lets a copy go on that was told everything already: it is known here. Whoever gave a channel that takes nothing finds that it does not.
    fn let_go_on(&self, item: &message::Birth<'_>) {
        let starter = item.starter.and_then(|index| self.numbers.get(index as usize).copied());
        if let Some(socket) = starter {
            let go = Header { kind: kind::GO, ..Header::default() }.encode();
            let _ = beget_sys::message::send(socket, &go, &[], false);
        }
    }

    /// What is known of a child from now on, and what is told of it.
    fn keep_child(&mut self, item: &message::Birth<'_>, number: u32, pidfd: i32) -> (Born, i32) {
        let bit = |flag, known| if item.flags & flag != 0 { known } else { 0 };
        self.know(number, known::BIRTH | bit(flag::STOPS, known::STOPS) | bit(flag::KEPT, known::KEPT));
        self.labels.set(number, item.label);
        if item.flags & flag::UNHELD != 0 {
            channel::close(&[pidfd]);
            return (Born { number, op: 0, errno: 0, pidfd: 0 }, -1);
        }
        (Born { number, op: 0, errno: 0, pidfd: 1 }, pidfd)
    }

    /// Makes room for what is to be remembered of one item: before there is a child, one that is born can be remembered.
    fn prepare_for(&mut self, item: &message::Birth<'_>) -> Result<()> {
        if item.label != 0 {
            self.labels.prepare()?;
        }
        if item.flags & flag::KEPT != 0 { self.kept.prepare() } else { Ok(()) }
    }

    /// Makes one item; gives its pidfd too, or -1.
    fn bear(&mut self, item: &message::Birth<'_>) -> (Born, i32) {
        if let Err(errno) = self.prepare_for(item) {
            return (nothing(errno), -1);
        }
        if let Some(template) = item.template {
            return match self.bear_copy(item, template) {
                (Born { number, errno: 0, .. }, pidfd) => {
                    let kept = self.keep_child(item, number, pidfd);
                    self.let_go_on(item);
                    kept
                }
                failed => failed,
            };
        }
        let Ok(plan) = Plan::check(item.plan, Engine::Vfork) else { return (nothing(Errno::EINVAL), -1) };
        let mut count = 0;
        for (place, given) in self.lent.iter_mut().zip(item.descriptors()) {
            *place = self.numbers.get(given).copied().unwrap_or(-1);
            count += 1;
        }
        let Some(lent) = self.lent.get_mut(..count).filter(|lent| lent.len() == plan.descriptors()) else {
            return (nothing(Errno::EINVAL), -1);
        };
        if let Some(op) = reach::strays(&plan, self.floor) {
            return (Born { number: 0, op, errno: Errno::EBADF.0 as u32, pidfd: 0 }, -1);
        }
        let cgroup = item.cgroup.and_then(|index| self.numbers.get(index as usize).copied());
        let parent = item.flags & flag::PARENT != 0;
        let cradle = Cradle { cgroup, parent, namespaces: item.namespaces };
        let mut more =
            match Body::zeroed(if plan.scratch() > self.scratch.len() { plan.scratch() * 8 } else { 0 }) {
                Ok(more) => more,
                Err(errno) => return (nothing(errno), -1),
            };
        let scratch = if plan.scratch() > self.scratch.len() {
            // SAFETY: any bytes are words, and a mapping is aligned.
            unsafe { more.bytes_mut().align_to_mut::<u64>() }.1
        } else {
            &mut *self.scratch
        };
        let groups = match if item.flags & flag::WITHOUT_GROUPS != 0 { give_up_groups() } else { Ok(None) } {
            Ok(groups) => groups,
            Err(errno) => return (nothing(errno), -1),
        };
        // SAFETY: any words are bytes.
        let stack = unsafe { self.stack.align_to_mut::<u8>() }.1;
        // SAFETY: checked for this engine above; every signal is blocked here, for ever; the batch's descriptors stay open until it is done.
        let born = unsafe { birth::give(&plan, lent, Room { stack, scratch }, cradle) };
        if let Some(groups) = groups {
            // What was given up a moment ago by whoever has the right to set them.
            let _ = process::set_groups(groups.bytes().as_chunks().0);
        }
        match born {
            Birth::Child(Newborn { number, pidfd }) if parent => {
                (Born { number, op: 0, errno: 0, pidfd: 1 }, pidfd)
            }
            Birth::Child(Newborn { number, pidfd }) => self.keep_child(item, number, pidfd),
            Birth::Failed(Newborn { number, pidfd }, fault) => {
                let fault = Born { number: 0, op: fault.op, errno: fault.errno.0 as u32, pidfd: 0 };
                if parent {
                    return (Born { number, pidfd: 1, ..fault }, pidfd);
                }
                while wait::child(number as i32, option::EXITED | option::ALL) == Err(Errno::EINTR) {}
                channel::close(&[pidfd]);
                (fault, -1)
            }
            Birth::None(errno) => (nothing(errno), -1),
        }
    }
}

/// A birth of a batch that is not answered yet.
#[repr(C)]
#[derive(Clone, Copy)]
struct Together {
    born: Born,
    pidfd: i32,
}

/// Waits for the stop of a child that is on its way to it; `false` when it ended instead.
fn has_stopped(number: i32) -> bool {
    loop {
        match wait::child(number, option::STOPPED | option::EXITED | option::ALL | option::NO_WAIT) {
            Ok(Some((Change::Stopped(_), _))) => {
                let _ = wait::child(number, option::STOPPED | option::ALL | option::NO_HANG);
                return true;
            }
            Err(Errno::EINTR) => {}
            _ => return false,
        }
    }
}

/// Gives up the supplementary groups, and gives them to be set again; `None` when there are none.
fn give_up_groups() -> Result<Option<Body<'static>>> {
    let count = process::read_groups(&mut [])?;
    if count == 0 {
        return Ok(None);
    }
    let mut groups = Body::zeroed(count * 4)?;
    process::read_groups(groups.bytes_mut().as_chunks_mut().0)?;
    process::set_groups(&[])?;
    Ok(Some(groups))
}
