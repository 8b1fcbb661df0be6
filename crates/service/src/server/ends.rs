//! Ends: a kill, from its cause to the last of what is left; and the end of a domain by itself, which leaves as little.
//!
//! First every right is taken back: its channel and its own capabilities are closed, and nothing is given to it any more. Then it is asked to
//! end, and has its grace; then it is made to. Its end is told to nobody before nothing is left: its nursery with whatever it started, what it
//! created through its `spawn` capability, its cgroups.
//!
//! Safety idea: each step is begun again by a service that finds it begun, and none can do harm twice; whatever is ended is named by a number
//! that nobody else ever has.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::time::Duration;

use beget_monitor::fields::Writer;
use beget_monitor::protocol::kind as monitor;

use super::connections::{Doing, Subject};
use super::event::{End, Event};
use super::numbers::Share;
use super::timers::{Key, Timer};
use super::{Server, groups, look, now};
use crate::protocol::{Life, kind, wanted};

const SIGKILL: u32 = 9;
const SIGTERM: u32 = 15;
const SIGCONT: u32 = 18;
/// How long until what is left is looked at again: at first, and at most.
const SOON: Duration = Duration::from_millis(2);
const LATER: Duration = Duration::from_millis(500);
/// How often a process that nobody told the end of is looked for.
const LOOKS: u32 = 20;
/// How long after a restart a domain that is tied to a capability may be without one.
pub(crate) const UNHELD: Duration = Duration::from_secs(10);

/// What there is of a domain beside what is in the journal.
#[derive(Debug, Default)]
pub(crate) struct Holds {
    /// Capabilities to it, and its own right to create.
    pub(crate) connections: HashSet<u64>,
    /// How many of them it is tied to.
    pub(crate) tied: usize,
    /// Who waits for its end.
    pub(crate) waiters: Vec<u64>,
    /// Who waits for what it asks for.
    pub(crate) askers: Vec<u64>,
    pub(crate) channel: Option<u64>,
    /// The folders of its cgroups, and which.
    pub(crate) folders: Vec<(u64, u32, OwnedFd)>,
    /// What is held for its life.
    pub(crate) files: Vec<(u64, OwnedFd)>,
    /// What that comes to, its channel and folders included, until nothing of it is left.
    pub(crate) shares: Vec<Share>,
    timeout: Option<Key>,
    grace: Option<Key>,
    /// What is left of it is being ended.
    rest: Option<Rest>,
}

/// What may be left of a domain whose process has ended.
#[derive(Debug)]
struct Rest {
    /// Nurseries that have not ended yet, in the order in which they are ended.
    nurseries: Vec<u64>,
    /// The monitor was asked to end them.
    asked: bool,
    /// How often its process is looked for, where nobody told that it has ended.
    looks: u32,
    timer: Option<Key>,
    patience: Duration,
}

fn label(id: u64) -> Vec<u8> {
    let mut body = Writer::new();
    body.u64(id);
    body.into_body()
}

impl Server {
    /// What there is of a domain.
    pub(crate) fn remember(&mut self, id: u64) -> &mut Holds {
        self.holds.entry(id).or_default()
    }

    /// Somebody waits no longer.
    pub(crate) fn does_not_wait(&mut self, id: u64, key: u64) {
        if let Some(holds) = self.holds.get_mut(&id) {
            holds.waiters.retain(|waiter| *waiter != key);
            holds.askers.retain(|asker| *asker != key);
        }
    }

    /// A capability to it is held no longer. One that is tied to it ends `now`, or when a timer says so.
    pub(crate) fn let_go(&mut self, id: u64, key: u64, tied: bool, now: bool) {
        let Some(holds) = self.holds.get_mut(&id) else { return };
        holds.connections.remove(&key);
        holds.waiters.retain(|waiter| *waiter != key);
        if tied {
            holds.tied -= 1;
            if now {
                self.end_if_unheld(id);
            }
        }
        self.drop_holds(id);
    }

    /// Forgets what there is of one that is over and that nobody holds.
    fn drop_holds(&mut self, id: u64) {
        let over = self.register.get(id).is_none_or(|domain| !domain.lives());
        if over && self.holds.get(&id).is_some_and(|holds| holds.connections.is_empty()) {
            self.holds.remove(&id);
            if let Some(user) = self.register.get(id).map(|domain| domain.intent.user) {
                self.forget_old(user);
            }
        }
    }

    /// Forgets those that ended longest ago, but for those that somebody holds.
    fn forget_old(&mut self, user: u32) {
        let held = |id: u64| self.holds.contains_key(&id);
        if let Some(id) = self.register.too_old(user, self.options.history, held) {
            self.note(Event::Forgotten(id));
        }
    }

    /// Forgets what is too much for this service, where the one before remembered more.
    pub(crate) fn forget_all_old(&mut self) {
        for user in self.register.users() {
            for _ in self.options.history..self.register.remembered(user) {
                self.forget_old(user);
            }
        }
    }

    /// A domain that is tied to a capability is ended when none is held.
    pub(crate) fn end_if_unheld(&mut self, id: u64) {
        let Some(domain) = self.register.get(id) else { return };
        let held = self.holds.get(&id).is_some_and(|holds| holds.tied > 0);
        let flags = domain.intent.wanted.flags;
        if flags & wanted::TIED != 0 && !held && !self.spawning.contains_key(&domain.intent.token) {
            let grace = domain.intent.wanted.grace;
            self.kill(id, grace, "nobody held it any more");
        }
    }

    /// Sets the timer of a domain that has one: from its start on, whoever has served meanwhile.
    pub(crate) fn set_timeout(&mut self, id: u64) {
        let Some(domain) = self.register.get(id) else { return };
        let (at, timeout) = (domain.intent.at, domain.intent.wanted.timeout);
        if timeout != 0 {
            let left = at.saturating_add(timeout).saturating_sub(now());
            let key = self.timers.set(Duration::from_millis(left), Timer::Timeout(id));
            let before = self.remember(id).timeout.replace(key);
            self.timers.cancel(before);
        }
    }

    /// A domain's time is over.
    pub(crate) fn time_is_over(&mut self, id: u64) {
        let Some(domain) = self.register.get(id) else { return };
        let (timeout, grace) = (domain.intent.wanted.timeout, domain.intent.wanted.grace);
        let whole = timeout % 1000 == 0;
        let words = if whole { format!("{} s", timeout / 1000) } else { format!("{timeout} ms") };
        self.kill(id, grace, &format!("its time of {words} was over"));
    }

    /// Ends a domain and all that it left.
    pub(crate) fn kill(&mut self, id: u64, grace: u64, why: &str) {
        let Some(domain) = self.register.get(id).filter(|domain| domain.lives()) else { return };
        let shorter = domain.killing.is_none_or(|before| grace < before);
        if shorter && domain.end.is_none() {
            self.note(Event::Killing(id, grace, why.to_owned()));
        }
        self.revoke(id);
        if shorter {
            self.go_on_killing(id);
        }
    }

    /// Takes back what it has of us.
    fn revoke(&mut self, id: u64) {
        self.close_channel(id);
        let Some(holds) = self.holds.get(&id) else { return };
        let own = |key: &&u64| {
            let subject = self.connections.get(key).map(|connected| connected.subject);
            subject == Some(Subject::Spawner(id))
        };
        let own: Vec<u64> = holds.connections.iter().filter(own).copied().collect();
        for key in own {
            self.close(key);
        }
    }

    /// Asks or makes a domain end that is being killed: at first, and again when there is another monitor.
    pub(crate) fn go_on_killing(&mut self, id: u64) {
        let Some(domain) = self.register.get(id) else { return };
        let Some(grace) = domain.killing else { return };
        for product in self.register.products(id).to_vec() {
            self.kill(product, grace, "its creator was ended");
        }
        let Some(domain) = self.register.get(id) else { return };
        // One that is not born yet is ended as soon as it is.
        if domain.end.is_some() || !domain.born {
            return;
        }
        if grace == 0 {
            return self.grace_is_over(id);
        }
        for signal in [SIGTERM, SIGCONT] {
            self.signal(id, signal);
        }
        let key = self.timers.set(Duration::from_millis(grace), Timer::Grace(id));
        let before = self.remember(id).grace.replace(key);
        self.timers.cancel(before);
    }

    fn signal(&mut self, id: u64, signal: u32) {
        let mut body = Writer::new();
        body.u64(id).u32(signal);
        self.ask_monitor(monitor::SIGNAL, body.body(), Vec::new(), super::monitor::Pending::Nothing);
    }

    /// It was asked to end, and has not.
    pub(crate) fn grace_is_over(&mut self, id: u64) {
        let Some(domain) = self.register.get(id).filter(|domain| domain.end.is_none()) else { return };
        let nurseries = [domain.intent.spawner, domain.intent.nursery];
        let why = domain.report.clone();
        if domain.killing.is_some_and(|grace| grace != 0) {
            // Written down: whoever cannot tell how it ended afterwards knows that it was made to.
            self.note(Event::Killing(id, 0, why));
        }
        self.signal(id, SIGKILL);
        if let Some(nursery) = nurseries.into_iter().find(|number| *number != 0) {
            self.tell_monitor(monitor::END_NURSERY, 0, &label(nursery), Vec::new());
        }
    }

    /// The monitor says that a domain's process has ended.
    pub(crate) fn ended(&mut self, id: u64, number: u32, end: End) {
        let news = self.register.get(id).is_some_and(|domain| domain.lives() && domain.end.is_none());
        if news {
            if self.register.get(id).is_some_and(|domain| !domain.born) {
                self.born(id, number);
            }
            let life = self.untold(id, end.life);
            self.note(Event::Ended(id, End { life, ..end }));
        }
        // It is written down before this goes out. What is known already, or not at all, is not wanted again either.
        self.tell_monitor(monitor::TAKEN, 0, &label(id), Vec::new());
        if news {
            self.end_rest(id);
        }
    }

    /// How a domain ended of which nobody can tell: one that was made to end, with its nursery, was.
    fn untold(&self, id: u64, life: Life) -> Life {
        let made_to = self.register.get(id).is_some_and(|domain| domain.killing == Some(0));
        if life == Life::Lost && made_to { Life::Killed(SIGKILL) } else { life }
    }

    /// Ends what is left of a domain whose process has ended: at first, and again when there is another service or monitor.
    pub(crate) fn end_rest(&mut self, id: u64) {
        self.end_rest_of(id, 0);
    }

    fn end_rest_of(&mut self, id: u64, looks: u32) {
        let Some(domain) = self.register.get(id).filter(|domain| domain.end.is_some() && domain.lives())
        else {
            return;
        };
        // The inner one first: it tells how what is in it ends.
        let nurseries = [domain.intent.spawner, domain.intent.nursery];
        let nurseries: Vec<u64> = nurseries.into_iter().filter(|number| *number != 0).collect();
        self.revoke(id);
        let ready = self.link.is_ready();
        if let Some(nursery) = nurseries.first().filter(|_| ready) {
            self.tell_monitor(monitor::END_NURSERY, 0, &label(*nursery), Vec::new());
        }
        for product in self.register.products(id).to_vec() {
            self.kill(product, 0, "its creator has ended");
        }
        let holds = self.remember(id);
        let (timeout, grace) = (holds.timeout.take(), holds.grace.take());
        let before = holds.rest.replace(Rest { nurseries, asked: ready, looks, timer: None, patience: SOON });
        self.timers.cancel(timeout);
        self.timers.cancel(grace);
        self.timers.cancel(before.and_then(|rest| rest.timer));
        self.look_at_rest(id);
    }

    /// A nursery has ended, and everything in it.
    pub(crate) fn nursery_ended(&mut self, number: u64) {
        let of = |server: &Server, id: u64| {
            server
                .register
                .get(id)
                .is_some_and(|domain| domain.intent.nursery == number || domain.intent.spawner == number)
        };
        // A nursery has its domain's number, or the one after it.
        let Some(id) = [number, number.wrapping_sub(1)].into_iter().find(|id| of(self, *id)) else { return };
        if let Some(rest) = self.holds.get_mut(&id).and_then(|holds| holds.rest.as_mut()) {
            rest.nurseries.retain(|other| *other != number);
            let next = rest.nurseries.first().copied();
            if let Some(next) = next {
                self.tell_monitor(monitor::END_NURSERY, 0, &label(next), Vec::new());
            }
            self.look_at_rest(id);
        }
    }

    /// Is anything left?
    pub(crate) fn look_at_rest(&mut self, id: u64) {
        let Some(domain) = self.register.get(id) else { return };
        let products = !self.register.products(id).is_empty();
        let (pid, start) = (domain.pid, domain.start);
        let names = domain.intent.wanted.groups.clone();
        let Some(holds) = self.holds.get_mut(&id) else { return };
        let Some(rest) = holds.rest.as_mut() else { return };
        let before = rest.timer.take();
        let waits = !rest.asked || !rest.nurseries.is_empty() || products;
        let there = rest.looks > 0 && look::lives(pid, start);
        rest.looks = rest.looks.saturating_sub(1);
        if !waits && !there {
            let removed = |(_, which, folder): &(u64, u32, OwnedFd)| {
                names.get(*which as usize).is_none_or(|name| groups::remove(folder, name))
            };
            let (gone, left): (Vec<_>, Vec<_>) = holds.folders.drain(..).partition(removed);
            holds.folders = left;
            let left = !holds.folders.is_empty();
            for (key, ..) in gone {
                self.held.remove(&key);
                self.forget_kept(key);
            }
            if !left {
                self.timers.cancel(before);
                return self.is_clean(id);
            }
        }
        self.timers.cancel(before);
        if !waits && let Some(rest) = self.holds.get_mut(&id).and_then(|holds| holds.rest.as_mut()) {
            rest.timer = Some(self.timers.set(rest.patience, Timer::Left(id)));
            rest.patience = (rest.patience * 2).min(LATER);
        }
    }

    /// Nothing is left: now everybody is told.
    fn is_clean(&mut self, id: u64) {
        let Some(parent) = self.register.get(id).map(|domain| domain.intent.parent) else { return };
        self.note(Event::Clean(id));
        let holds = self.remember(id);
        holds.rest = None;
        holds.shares.clear();
        let (waiters, files) = (std::mem::take(&mut holds.waiters), std::mem::take(&mut holds.files));
        for (key, file) in files {
            self.held.remove(&key);
            self.forget_kept(key);
            drop(file);
        }
        for key in waiters {
            self.tell_end(key, id);
        }
        self.drop_holds(id);
        if parent != 0 {
            self.look_at_rest(parent);
        }
    }

    /// Answers with a domain's record.
    pub(crate) fn tell_end(&mut self, key: u64, id: u64) {
        let Some(domain) = self.register.get(id) else { return };
        let mut body = Writer::new();
        body.u32(1);
        domain.record().write(&mut body);
        self.answer(key, kind::RECORDS, body.body(), Vec::new());
    }

    /// Has a connection wait for the end of a domain.
    pub(crate) fn wait_for(&mut self, key: u64, id: u64, doing: Doing) {
        if let Some(connected) = self.connections.get_mut(&key) {
            connected.doing = doing;
            self.remember(id).waiters.push(key);
        }
    }

    /// Nothing of a domain will ever be: its birth failed. One that was never tried leaves the cgroups that were made for it to its client, who
    /// asks again or removes them.
    pub(crate) fn never_was(&mut self, id: u64, untried: bool) {
        let Some(domain) = self.register.get(id) else { return };
        let (nurseries, parent) = ([domain.intent.nursery, domain.intent.spawner], domain.intent.parent);
        for nursery in nurseries.into_iter().filter(|number| *number != 0) {
            self.tell_monitor(monitor::END_NURSERY, 0, &label(nursery), Vec::new());
        }
        self.close_channel(id);
        self.revoke(id);
        let Some(mut holds) = self.holds.remove(&id) else { return };
        let names =
            self.register.get(id).map(|domain| domain.intent.wanted.groups.clone()).unwrap_or_default();
        for (key, which, folder) in std::mem::take(&mut holds.folders) {
            if let Some(name) = names.get(which as usize).filter(|_| !untried) {
                groups::remove(&folder, name);
            }
            self.held.remove(&key);
            self.forget_kept(key);
        }
        for (key, _) in std::mem::take(&mut holds.files) {
            self.held.remove(&key);
            self.forget_kept(key);
        }
        self.timers.cancel(holds.timeout);
        self.timers.cancel(holds.grace);
        // Whoever opened it by its name.
        for key in holds.connections {
            self.close(key);
        }
        if parent != 0 {
            self.look_at_rest(parent);
        }
    }

    /// The monitor was killed with everything it had, or is another and knows nothing of this one.
    pub(crate) fn is_lost(&mut self, id: u64, with_monitor: bool) {
        let life = if with_monitor { Life::Killed(SIGKILL) } else { self.untold(id, Life::Lost) };
        let why =
            if with_monitor { "the monitor was killed, and it with it" } else { "its nursery was killed" };
        let grace = self.register.get(id).and_then(|domain| domain.killing);
        self.note(Event::Killing(id, grace.unwrap_or(0), why.to_owned()));
        self.note(Event::Ended(id, End { life, at: now(), ..End::default() }));
        // Nobody told that it has ended: it can only be seen that it is not there, and a kernel that is ending it may take a while.
        self.end_rest_of(id, LOOKS);
    }

    /// When everything has ended, the monitor is told to end too; when it has, so do we.
    pub(crate) fn go_on_stopping(&mut self) {
        let (living, _) = self.register.counts();
        let Some(stopping) = &mut self.stopping else { return };
        if living == 0 && !stopping.told && self.spawning.is_empty() {
            stopping.told = true;
            self.do_not_listen();
            self.ask_monitor(monitor::STOP, &[], Vec::new(), super::monitor::Pending::Stop);
            self.flush_monitor();
        }
    }

    /// Not everything has ended. The monitor ends whatever there is.
    pub(crate) fn stop_anyway(&mut self) {
        if let Some(stopping) = self.stopping.as_mut().filter(|stopping| !stopping.told) {
            stopping.told = true;
            self.do_not_listen();
            self.ask_monitor(monitor::STOP, &[], Vec::new(), super::monitor::Pending::Stop);
        }
    }

    /// The monitor has ended everything, or is gone.
    pub(crate) fn stopped(&mut self) {
        let Some(stopping) = self.stopping.take() else { return };
        for (key, request) in stopping.asked {
            if let Some(connected) = self.connections.get_mut(&key) {
                connected.request = request;
                self.answer(key, kind::DONE, &[], Vec::new());
            }
        }
        self.over = Some(stopping.why);
    }
}
