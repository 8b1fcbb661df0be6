//! What nurseries say: births, ends, and what there is in one that was taken over.
//!
//! Safety idea: a nursery may be a stranger's program. An end counts only if it is of a domain that is in that very nursery, under the number
//! that it was born with; a birth only where one was asked for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use beget_plan::message::{Born, change};
use beget_sys::wait;

use crate::births::nursery_of;
use crate::channel::{News, Read};
use crate::monitor::{Domain, End, Monitor};
use crate::nurseries::{Keeper, Pending};
use crate::service::Word;

impl Monitor {
    /// Reads what a nursery says, so much in one turn.
    pub(crate) fn hear_nursery(&mut self, key: u64) {
        self.flush(key);
        let mut heard = 0;
        while self.hear_once(key, heard < 64) {
            heard += 1;
        }
    }

    /// `false` when there is nothing more to be heard now; without `more` of what was read before.
    pub(crate) fn hear_once(&mut self, key: u64, more: bool) -> bool {
        let Some(nursery) = self.nurseries.get_mut(&key) else { return false };
        let Some(channel) = &mut nursery.channel else { return false };
        let understood = match channel.read(more) {
            Read::Nothing => return false,
            Read::Closed => None,
            Read::News(News::Born(births)) => self.born(key, births),
            Read::News(News::Changed(label, number, how, status, usage)) => {
                self.changed(key, label, number, End(how, status, *usage));
                Some(())
            }
            Read::News(News::Living(living, more)) => self.living(key, &living, more),
        };
        if understood.is_none() {
            self.give_up(key);
        }
        understood.is_some()
    }

    /// Births that a nursery answers with; `None` when nobody asked for them.
    fn born(&mut self, key: u64, births: Vec<(Born, Option<OwnedFd>)>) -> Option<()> {
        for (mut born, pidfd) in births {
            let nursery = self.nurseries.get_mut(&key)?;
            born.pidfd = 0;
            let own_numbers = nursery.own_numbers;
            match nursery.pending.front_mut()? {
                Pending::Births { labels, born: all, .. } => {
                    let label = *labels.get(all.len())?;
                    let number = born.number;
                    if born.errno == 0 && number != 0 {
                        if own_numbers {
                            born.number = pidfd.map_or(0, |pidfd| number_here(pidfd.as_fd()));
                        }
                        let domain = self.domains.get_mut(&label)?;
                        (domain.number, domain.process) = (number, born.number);
                    } else {
                        // Whatever it says of a process that there is not.
                        born.number = 0;
                        born.errno = born.errno.max(1);
                        self.domains.remove(&label);
                        nursery.labels.remove(&label);
                    }
                    all.push(born);
                    if all.len() == labels.len()
                        && let Some(Pending::Births { request, generation, labels, born }) =
                            nursery.pending.pop_front()
                    {
                        self.answer_births((request, generation), (0, 0), &labels, &born);
                        self.tidy(key);
                    }
                }
                Pending::Nursery { .. } => {
                    let Some(Pending::Nursery { key: other, asked }) = nursery.pending.pop_front() else {
                        return None;
                    };
                    self.nursery_born(key, other, born, asked);
                }
                Pending::Roll => return None,
            }
        }
        Some(())
    }

    pub(crate) fn nursery_born(&mut self, parent: u64, key: u64, born: Born, asked: Option<(u64, u64)>) {
        let failed = born.errno != 0 || born.number == 0;
        let fault = if failed { (born.op, born.errno.max(1)) } else { (0, 0) };
        if let Some(nursery) = self.nurseries.get_mut(&key) {
            nursery.fault = fault;
            nursery.keeper = Keeper::Nursery { parent, number: (!failed).then_some(born.number) };
        }
        if let Some(asked) = asked {
            self.answer_births(asked, fault, &[], &[]);
        }
        if failed {
            self.finish(key);
        }
    }

    /// A child of a nursery's has ended.
    fn changed(&mut self, key: u64, label: u64, number: u32, end: End) {
        if !matches!(end.0, change::EXITED | change::KILLED | change::DUMPED) {
            return;
        }
        if let Some(other) = nursery_of(label) {
            let there = Keeper::Nursery { parent: key, number: Some(number) };
            let other = self.numbered.get(&other).copied();
            if let Some(other) = other
                && self.nurseries.get(&other).is_some_and(|nursery| nursery.keeper == there)
            {
                self.process_gone(other);
            }
            return;
        }
        if let Some(nursery) = self.nurseries.get_mut(&key).filter(|nursery| nursery.is_unknown())
            && !self.domains.contains_key(&label)
        {
            let process = if nursery.own_numbers { 0 } else { number };
            self.domains.insert(label, Domain { nursery: key, number, process, end: None });
            nursery.labels.insert(label);
        }
        let Some(domain) = self.domains.get_mut(&label) else { return };
        let is_its = domain.nursery == key && domain.number == number && number != 0;
        if is_its && domain.end.is_none() {
            domain.end = Some(Box::new(end));
            self.say(Word::Ended(label));
        }
    }

    /// What a nursery that was taken over has.
    fn living(&mut self, key: u64, living: &[(u64, u32)], more: bool) -> Option<()> {
        let nursery = self.nurseries.get_mut(&key)?;
        if !matches!(nursery.pending.front()?, Pending::Roll) {
            return None;
        }
        let mut inside = Vec::new();
        for (label, number) in living {
            if let Some(other) = nursery_of(*label) {
                inside.extend(self.numbered.get(&other).map(|other| (*other, *number)));
            } else if *label != 0 && *number != 0 && !self.domains.contains_key(label) {
                nursery.labels.insert(*label);
                let process = if nursery.own_numbers { 0 } else { *number };
                let domain = Domain { nursery: key, number: *number, process, end: None };
                self.domains.insert(*label, domain);
            }
        }
        if !more {
            nursery.pending.pop_front();
            nursery.until = None;
        }
        for (other, number) in inside {
            if let Some(other) = self.nurseries.get_mut(&other).filter(|other| other.keeper == Keeper::Nobody)
            {
                other.keeper = Keeper::Nursery { parent: key, number: Some(number) };
                if let Some(around) = self.nurseries.get_mut(&key) {
                    around.around = true;
                }
            }
        }
        if !more {
            self.tidy(key);
        }
        Some(())
    }
}

/// The number here of a process that was born in another namespace; 0 when it has ended and is gone.
fn number_here(pidfd: BorrowedFd<'_>) -> u32 {
    use std::os::fd::AsRawFd;
    wait::number(pidfd).unwrap_or_else(|_| {
        let path = format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd());
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let number = text.lines().find_map(|line| line.strip_prefix("Pid:"));
        number.and_then(|number| number.trim().parse::<i32>().ok()).map_or(0, |number| number.max(0) as u32)
    })
}
