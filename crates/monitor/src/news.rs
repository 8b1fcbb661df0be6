//! What nurseries say: births, ends, and what there is in one that was taken over.
//!
//! Safety idea: a nursery may be a stranger's program. An end counts only if it is of a domain that is in that very nursery, under the number
//! that it was born with; a birth only where one was asked for.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use beget_plan::message::{Born, change};
use beget_sys::wait;

use crate::births::nursery_of;
use crate::channel::{News, Read};
use crate::monitor::{Domain, End, Known, Monitor};
use crate::nurseries::{Keeper, Nursery, Pending};
use crate::service::Word;

/// How many nurseries may say the same of one domain.
const MOST_RIVALS: usize = 64;

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
            nursery.heard = Instant::now();
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
        if self.nurseries.get(&key).is_some_and(Nursery::is_unknown) || self.has_claimed(key, label, number) {
            // It is told when all have said what they have.
            return self.claim(key, label, number, Some(Box::new(end)));
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
        let (mut inside, mut claims) = (Vec::new(), Vec::new());
        for (label, number) in living {
            if let Some(other) = nursery_of(*label) {
                inside.extend(self.numbered.get(&other).map(|other| (*other, *number)));
            } else {
                claims.push((*label, *number));
            }
        }
        let owner = nursery.owner;
        if !more {
            nursery.pending.pop_front();
            nursery.until = None;
        }
        for (label, number) in claims {
            self.claim(key, label, number, None);
        }
        for (other, number) in inside {
            let orphan = |other: &&mut Nursery| other.keeper == Keeper::Nobody && other.owner == owner;
            if let Some(other) = self.nurseries.get_mut(&other).filter(orphan) {
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

impl Monitor {
    /// A nursery that was taken over says that a domain is in it, or how it ended. The first that says so is believed until a service has
    /// said where it can be.
    fn claim(&mut self, key: u64, label: u64, number: u32, end: Option<Box<End>>) {
        let Some(nursery) = self.nurseries.get_mut(&key) else { return };
        if label == 0 || number == 0 {
            return;
        }
        let process = if nursery.own_numbers { 0 } else { number };
        let claimed = Some((nursery.owner.user(), nursery.number));
        let domain = Domain { nursery: key, number, process, end, claimed };
        match self.domains.get_mut(&label) {
            None => {
                nursery.labels.insert(label);
                self.domains.insert(label, domain);
            }
            // It has ended meanwhile, or says so again.
            Some(same) if same.nursery == key => same.end = same.end.take().or(domain.end),
            // One that was born since then is known to be where it is.
            Some(other) if other.claimed.is_none() => {}
            Some(_) => {
                let rivals = self.rivals.entry(label).or_default();
                rivals.retain(|rival| rival.nursery != key);
                if rivals.len() < MOST_RIVALS {
                    nursery.labels.insert(label);
                    rivals.push(domain);
                }
            }
        }
    }

    /// Whether a nursery has said that this one is in it, and it is not settled yet.
    fn has_claimed(&self, key: u64, label: u64, number: u32) -> bool {
        let is_its = |domain: &Domain| domain.nursery == key && domain.number == number;
        let first = self.domains.get(&label).filter(|domain| domain.claimed.is_some());
        first.is_some_and(is_its) || self.rivals.get(&label).is_some_and(|all| all.iter().any(is_its))
    }

    /// Of what nurseries say that were taken over, what cannot be is forgotten.
    pub(crate) fn settle(&mut self, known: &Known) {
        let claimed = |(label, domain): (&u64, &Domain)| domain.claimed.map(|_| *label);
        let labels: Vec<u64> = self.domains.iter().filter_map(claimed).collect();
        for label in labels {
            let Some(first) = self.domains.remove(&label) else { continue };
            let mut all = self.rivals.remove(&label).unwrap_or_default();
            all.insert(0, first);
            let is_there =
                |domain: &Domain| known.get(&label).is_none_or(|place| domain.claimed == Some(*place));
            let right = all.iter().position(is_there);
            for (index, domain) in all.into_iter().enumerate() {
                let key = domain.nursery;
                if Some(index) == right {
                    self.domains.insert(label, Domain { claimed: None, ..domain });
                } else if let Some(nursery) = self.nurseries.get_mut(&key) {
                    nursery.labels.remove(&label);
                    self.tidy(key);
                }
            }
        }
        self.rivals.clear();
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
