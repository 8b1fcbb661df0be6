//! A spawn, from its request to its answer.
//!
//! What is asked for is checked whole, every domain of it gets a number and a name, that is written down, what is to outlive us is given to
//! the monitor, and then the monitor is asked for the births. A domain that cannot create processes is born in the nursery that all such share,
//! any other in one of its own, so that nothing that it starts outlives it.
//!
//! Safety idea: the intent is in the journal before the monitor hears of it, and a request is known by its token: however often it is asked,
//! it is done once. Plans are not looked into here: they go to the monitor as they came, with labels that are ours.

use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use beget_monitor::fields::Writer;
use beget_monitor::packet::{MOST_GIVEN, Packet};
use beget_monitor::protocol::{kind as monitor, place};
use beget_plan::message::flag;
use beget_sys::Errno;

use super::batch::{self, Births};
use super::channels::Channel;
use super::checks::{Refusal, check, fewest, limit, malformed};
use super::connections::{Doing, Reserved, Subject, is_packet_socket};
use super::event::{Event, Intent};
use super::keep::Note;
use super::keepers;
use super::monitor::Pending;
use super::numbers::Share;
use super::timers::Timer;
use super::{Server, now};
use crate::protocol::{Spawn, Wanted, error, kind, right, wanted};

/// How much may wait for the monitor.
const MOST_WAITING: usize = 64 << 20;
/// How many bytes of requests may wait, of everybody's.
const MOST_BYTES: usize = 256 << 20;
/// How many requests wait for a monitor that is not there, and how long.
const MOST_HELD: usize = 256;
const PATIENCE: Duration = Duration::from_secs(5);

/// As an operation: the birth was never tried, for a service or a monitor was killed before. Whoever asks again is served as if for the first time.
pub(crate) const NEVER: u32 = u32::MAX - 1;

/// A request whose domains are being born.
#[derive(Debug, Default)]
pub(crate) struct Spawning {
    /// Who is to be answered: connection and request.
    pub(crate) answer: Option<(u64, u64)>,
    /// Those of which nothing is known yet.
    pub(crate) undecided: HashSet<u64>,
    /// What is asked of the monitor, one after the other, when it has made the nursery that is asked for now.
    then: VecDeque<Births>,
    /// How many nurseries it has made.
    pub(crate) made: usize,
    /// The first of them is of a plan.
    pub(crate) planned: bool,
    client: u64,
    /// The capabilities that are asked for: they were there before any birth.
    capabilities: HashMap<u64, Reserved>,
    /// What it takes of our numbers until it is decided.
    share: Option<Share>,
    /// What the monitor said when it refused.
    pub(crate) refused: Option<(u32, String)>,
}

/// The domain that creates others by a connection to this, or 0.
fn creator(subject: Subject) -> u64 {
    match subject {
        Subject::Spawner(id) => id,
        _ => 0,
    }
}

impl Server {
    /// Domains are to be made.
    pub(crate) fn spawn(&mut self, key: u64, mut packet: Packet) {
        let Some(connected) = self.connections.get(&key) else { return };
        let (subject, user) = (connected.subject, connected.user);
        if self.stopping.is_some() {
            return self.refuse(key, error::ENDED, 0, "the service is being ended");
        }
        if !self.link.is_ready() {
            return self.hold(key, packet);
        }
        let decoded = if packet.kind == kind::KEEPER {
            match self.keeper(&packet.body, &mut packet.descriptors) {
                Ok(spawn) => spawn,
                Err((code, errno, words)) => return self.refuse(key, code, errno, &words),
            }
        } else {
            Spawn::decode(&packet.body)
        };
        let Some(mut spawn) = decoded else {
            return self.part(key, error::MALFORMED, 0, "the request's body is none");
        };
        if let Some(ids) = self.register.of_token(&spawn.token).map(<[u64]>::to_vec)
            && !self.forget_untried(user, &ids)
        {
            return self.spawn_again(key, subject, spawn.token, &ids);
        }
        let checked =
            check(&spawn, packet.descriptors.len()).and_then(|()| self.may_spawn(subject, user, &spawn));
        if packet.kind == kind::KEEPER {
            keepers::mark(&mut spawn);
        }
        let checked = checked.and_then(|()| self.make_room(packet.body.len(), spawn.domains.len()));
        let begun = checked.and_then(|()| self.begin(key, subject, user, spawn, packet.descriptors));
        match begun {
            Ok(()) => {}
            Err((error::MALFORMED, _, words)) => self.part(key, error::MALFORMED, 0, &words),
            Err((code, errno, words)) => self.refuse(key, code, errno, &words),
        }
    }

    /// Whether what is to be told of these domains will find room in the journal, from their births to their ends.
    fn make_room(&mut self, bytes: usize, domains: usize) -> Result<(), Refusal> {
        let (living, _) = self.register.counts();
        self.journal.make_room(bytes as u64, (living + domains) as u64).map_err(|errno| {
            let words = format!("its journal has no room: {}", Errno(errno.raw_os_error()));
            (error::KERNEL, errno.raw_os_error() as u32, words)
        })
    }

    /// Forgets a request none of whose births was tried; whether it was such.
    fn forget_untried(&mut self, user: u32, ids: &[u64]) -> bool {
        let untried = |id: &u64| {
            let domain = self.register.get(*id).filter(|domain| domain.intent.user == user);
            domain.and_then(|domain| domain.unborn).is_some_and(|(op, ..)| op == NEVER)
        };
        let all = ids.iter().all(untried);
        if all {
            ids.iter().for_each(|id| self.note(Event::Forgotten(*id)));
        }
        all
    }

    /// There is no monitor at the moment: the request waits for one.
    fn hold(&mut self, key: u64, packet: Packet) {
        let Some(user) = self.connections.get(&key).map(|connected| connected.user) else { return };
        let (descriptors, bytes) = (packet.descriptors.len(), packet.body.len());
        let crowded = self.is_crowded(user, descriptors).or_else(|| self.is_busy(user, bytes));
        if let Some(words) = crowded {
            return self.refuse(key, error::LIMIT, 0, words);
        }
        if self.spawns_held.len() >= MOST_HELD {
            return self.no_monitor(key);
        }
        let share = self.numbers.share(user, descriptors, bytes);
        let timer = self.timers.set(PATIENCE, Timer::Request(key));
        self.work(key, Some(timer));
        self.spawns_held.push((key, packet, share));
    }

    /// None has come.
    pub(crate) fn no_monitor(&mut self, key: u64) {
        self.spawns_held.retain(|(held, ..)| *held != key);
        self.refuse(key, error::MONITOR, 0, "there is no monitor at the moment; nothing was made");
    }

    /// There is a monitor again.
    pub(crate) fn spawn_held(&mut self) {
        for (key, packet, share) in std::mem::take(&mut self.spawns_held) {
            drop(share);
            let Some(connected) = self.connections.get_mut(&key) else { continue };
            if let Doing::Work(timer) = std::mem::replace(&mut connected.doing, Doing::Nothing) {
                self.timers.cancel(timer);
            }
            self.spawn(key, packet);
        }
    }

    /// Whether so many bytes more of this user's requests are too many at once; in words.
    fn is_busy(&self, user: u32, more: usize) -> Option<&'static str> {
        let most = if self.options.other_users { MOST_BYTES / 4 } else { MOST_BYTES };
        (self.numbers.of(user).1 + more > most || self.numbers.all().1 + more > MOST_BYTES)
            .then_some("requests of too many bytes wait already")
    }

    /// What depends on who asks, and on what there is.
    fn may_spawn(&self, subject: Subject, user: u32, spawn: &Spawn) -> Result<(), Refusal> {
        if subject != Subject::Session && (spawn.planned || spawn.spawner) {
            let words = "a domain cannot have others made outside of its own confinement";
            return Err((error::NO_RIGHT, 0, words.to_owned()));
        }
        if self.link.waiting() > MOST_WAITING {
            return Err(limit("the monitor has more to do than can wait"));
        }
        let capabilities =
            spawn.domains.iter().filter(|domain| domain.flags & wanted::CAPABILITY != 0).count();
        if capabilities >= MOST_GIVEN {
            return Err(limit("more capabilities than one answer brings"));
        }
        let mut names = HashSet::new();
        for domain in spawn.domains.iter().filter(|domain| !domain.name.is_empty()) {
            if self.register.is_taken(user, &domain.name) || !names.insert(domain.name.as_str()) {
                let words = format!("a domain named {:?} lives already", domain.name);
                return Err((error::NAME_TAKEN, 0, words));
            }
        }
        Ok(())
    }

    /// A name for one that was given none: that of its program, and its number.
    fn name_for(&self, user: u32, program: &str, id: u64) -> String {
        let last = program.rsplit('/').next().unwrap_or_default();
        let letters = |letter: &char| letter.is_ascii_alphanumeric() || "-_.".contains(*letter);
        let mut name: String = last.chars().filter(letters).take(40).collect();
        if name.is_empty() {
            "domain".clone_into(&mut name);
        }
        let name = format!("{name}-{id}");
        // Somebody may have chosen just that.
        if self.register.is_taken(user, &name) { format!("{name}-{:x}", now()) } else { name }
    }

    /// Writes the intents down, and asks for the births.
    fn begin(
        &mut self,
        key: u64,
        subject: Subject,
        user: u32,
        spawn: Spawn,
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Refusal> {
        let mut descriptors = descriptors.into_iter();
        let owned = |domain: &Wanted| descriptors.by_ref().take(domain.own as usize).collect();
        let own: Vec<Vec<OwnedFd>> = spawn.domains.iter().map(owned).collect();
        let given: Vec<OwnedFd> = descriptors.collect();
        for (domain, own) in spawn.domains.iter().zip(&own) {
            self.check_own(domain, spawn.spawner, own)?;
        }
        let client = match subject {
            Subject::Session => self.connections.get(&key).map_or(0, |connected| connected.client),
            _ => 0,
        };
        let Spawn { token, atomic, planned, spawner, domains, batch } = spawn;
        let parent = creator(subject);
        let existing = self.register.get(parent).map(|domain| domain.intent.spawner);
        let mut births = Vec::new();
        let mut intents = Vec::with_capacity(domains.len());
        for wanted in domains {
            let id = self.number();
            let own_nursery = existing.is_none() && (planned || spawner || wanted.flags & wanted::ALONE == 0);
            let nursery = if own_nursery { id } else { 0 };
            let spawner = if spawner { self.number() } else { 0 };
            let name = if wanted.name.is_empty() {
                self.name_for(user, &wanted.program, id)
            } else {
                wanted.name.clone()
            };
            births.push((id, nursery));
            let at = now();
            intents.push(Intent { id, name, wanted, user, parent, nursery, spawner, token, at });
        }
        let shape = batch::Shape {
            atomic,
            planned,
            spawner: intents.first().map_or(0, |intent| intent.spawner),
            existing,
        };
        let (first, then) = batch::divide(&batch, given, &births, shape).map_err(|errno| {
            (error::KERNEL, errno.0 as u32, "what is given cannot be passed on".to_owned())
        })?;
        let parts = || first.iter().chain(&then);
        let brought = parts().map(|births| births.descriptors.len()).sum::<usize>();
        let bytes = parts().map(|births| births.body.len()).sum();
        // Of each capability both ends, and one for the monitor; of what a domain brings that copy too.
        let wants = |intent: &&Intent| intent.wanted.flags & wanted::CAPABILITY != 0;
        let capabilities = intents.iter().filter(wants).count();
        let held: usize = own.iter().map(Vec::len).sum();
        let crowded = self.is_crowded(user, brought + 3 * capabilities + 2 * held);
        if let Some(words) = crowded.or_else(|| self.is_busy(user, bytes)) {
            return Err(limit(words));
        }
        // Before anything is born: who asked for a capability has it or nothing.
        let capabilities = self.reserve_all(&intents, user, client)?;
        if let Err(refusal) = self.take_own(&intents, own) {
            capabilities.into_values().for_each(|reserved| self.close(reserved.key));
            return Err(refusal);
        }
        let share = self.numbers.share(user, brought + 2 * capabilities.len(), bytes);
        let undecided: HashSet<u64> = intents.iter().map(|intent| intent.id).collect();
        for intent in intents {
            self.note(Event::Intent(Box::new(intent)));
        }
        let request = self.connections.get(&key).map_or(0, |connected| connected.request);
        let spawning = Spawning {
            answer: Some((key, request)),
            undecided,
            then,
            made: 0,
            planned,
            client,
            capabilities,
            share: Some(share),
            refused: None,
        };
        self.spawning.insert(token, spawning);
        self.work(key, None);
        for births in first {
            self.ask_births(token, client, births);
        }
        Ok(())
    }

    /// The capabilities that a request asks for; all or none.
    fn reserve_all(
        &mut self,
        intents: &[Intent],
        user: u32,
        client: u64,
    ) -> Result<HashMap<u64, Reserved>, Refusal> {
        let mut all = HashMap::new();
        for intent in intents.iter().filter(|intent| intent.wanted.flags & wanted::CAPABILITY != 0) {
            let tied = intent.wanted.flags & wanted::TIED != 0;
            let subject = Subject::Domain(intent.id);
            match self.reserve_capability(subject, right::DOMAIN, user, client, tied) {
                Ok(reserved) => all.insert(intent.id, reserved),
                Err((code, errno, words)) => {
                    all.into_values().for_each(|reserved: Reserved| self.close(reserved.key));
                    return Err((code, errno, words.to_owned()));
                }
            };
        }
        Ok(all)
    }

    /// Whether what a domain brings for itself is what it is to be.
    fn check_own(&self, domain: &Wanted, spawner: bool, own: &[OwnedFd]) -> Result<(), Refusal> {
        let sockets = usize::from(domain.flags & wanted::CHANNEL != 0) + usize::from(spawner);
        if own.len() < fewest(domain, spawner) || !own.iter().take(sockets).all(is_packet_socket) {
            return Err(malformed("a channel is a socket that keeps packets apart"));
        }
        if !own.iter().skip(sockets).take(domain.groups.len()).all(|folder| self.hierarchies.have(folder)) {
            return Err(malformed("the folder of a cgroup lies in no hierarchy of them"));
        }
        Ok(())
    }

    /// Takes what domains bring for themselves, and has the monitor keep it.
    fn take_own(&mut self, intents: &[Intent], own: Vec<Vec<OwnedFd>>) -> Result<(), Refusal> {
        let mut kept: Vec<(u64, Note, OwnedFd)> = Vec::new();
        let mut all = Vec::new();
        let counts: Vec<usize> = own.iter().map(Vec::len).collect();
        for (intent, own) in intents.iter().zip(own) {
            let Intent { id, wanted, user, spawner, .. } = intent;
            let channel = (wanted.flags & wanted::CHANNEL != 0).then_some(Note::Channel(*id));
            let spawner = (*spawner != 0).then_some(Note::Spawner(*id, *user));
            let folders = (0..wanted.groups.len() as u32).map(|which| Note::Folder(*id, which));
            let notes = channel.into_iter().chain(spawner).chain(folders);
            let notes = notes.chain(std::iter::repeat(Note::File(*id)));
            all.extend(notes.zip(own));
        }
        for (note, file) in all {
            let key = self.number();
            if let Err(errno) = self.keep(key, note, file.as_fd()) {
                self.forget_kept(key);
                for (key, ..) in kept {
                    self.forget_kept(key);
                }
                return Err((error::KERNEL, errno.0 as u32, "what it brings cannot be kept".to_owned()));
            }
            kept.push((key, note, file));
        }
        for (intent, count) in intents.iter().zip(counts) {
            let spawner = usize::from(intent.spawner != 0);
            let share = self.numbers.share(intent.user, count - spawner, 0);
            self.remember(intent.id).shares.push(share);
        }
        for (key, note, file) in kept {
            match note {
                Note::Channel(id) => {
                    self.take_channel(key, Channel::new(file, id));
                }
                Note::Spawner(id, user) => {
                    let subject = Subject::Spawner(id);
                    let connected = super::connections::Connected::new(file, subject, right::SPAWN, user, 0);
                    self.take_connection(key, connected);
                }
                Note::Folder(id, which) => {
                    self.held.insert(key);
                    self.remember(id).folders.push((key, which, file));
                }
                Note::File(id) => {
                    self.held.insert(key);
                    self.remember(id).files.push((key, file));
                }
                Note::Session(..) | Note::Domain(..) => {}
            }
        }
        Ok(())
    }

    fn ask_births(&mut self, token: [u8; 16], client: u64, births: Births) {
        let Births { place, nursery, atomic, count, ids, body: items, descriptors } = births;
        let mut body = Writer::new();
        let client = if place == place::EXISTING { 0 } else { client };
        let flags = if atomic { flag::ATOMIC } else { 0 };
        body.u64(client).u32(place).u64(nursery).u32(flags).u32(count).raw(&items);
        let asked = Pending::Births(token, ids.clone());
        if !self.ask_monitor(monitor::BIRTHS, body.body(), descriptors, asked) {
            const EPIPE: u32 = 32;
            self.births_refused(token, &ids, EPIPE, "there is no monitor at the moment");
        }
    }

    /// The monitor has made a nursery: now what is born in it.
    pub(crate) fn nursery_made(&mut self, token: [u8; 16]) {
        let Some(spawning) = self.spawning.get_mut(&token) else { return };
        let client = spawning.client;
        spawning.made += 1;
        if let Some(births) = spawning.then.pop_front() {
            self.ask_births(token, client, births);
        }
    }

    /// The monitor does not do it.
    pub(crate) fn births_refused(&mut self, token: [u8; 16], ids: &[u64], errno: u32, words: &str) {
        let Some(spawning) = self.spawning.get_mut(&token) else { return };
        spawning.refused = Some((errno, words.to_owned()));
        let all: Vec<u64> =
            if ids.is_empty() { spawning.undecided.iter().copied().collect() } else { ids.to_vec() };
        for id in all {
            self.unborn(id, u32::MAX, errno, 0);
        }
    }

    /// A domain was born, with this process number.
    pub(crate) fn born(&mut self, id: u64, number: u32) {
        self.note(Event::Born(id, number));
        self.newborn.push(id);
        self.set_timeout(id);
        self.go_on_killing(id);
        self.decided(id);
    }

    /// A birth has failed.
    pub(crate) fn unborn(&mut self, id: u64, op: u32, errno: u32, nursery: u32) {
        if self.register.get(id).is_some_and(|domain| !domain.born && domain.lives()) {
            self.note(Event::Unborn(id, op, errno, nursery));
            self.never_was(id, op == NEVER);
            self.decided(id);
        }
    }

    fn decided(&mut self, id: u64) {
        let Some(token) = self.register.get(id).map(|domain| domain.intent.token) else { return };
        let Some(spawning) = self.spawning.get_mut(&token) else { return };
        spawning.undecided.remove(&id);
        if !spawning.undecided.is_empty() {
            return;
        }
        let Some(spawning) = self.spawning.remove(&token) else { return };
        let Spawning { answer, refused, capabilities, share, .. } = spawning;
        drop(share);
        let ids = self.register.of_token(&token).map_or(Vec::new(), <[u64]>::to_vec);
        let waits = |(key, request): &(u64, u64)| {
            self.connections.get(key).is_some_and(|connected| connected.request == *request)
        };
        match answer.filter(waits) {
            Some((key, _)) => self.tell_births(key, &ids, refused, capabilities),
            // Whoever asked is gone, and what was for him.
            None => {
                for reserved in capabilities.into_values() {
                    self.close(reserved.key);
                }
                ids.into_iter().for_each(|id| self.end_if_unheld(id));
            }
        }
    }

    /// A request that was made before is made again.
    fn spawn_again(&mut self, key: u64, subject: Subject, token: [u8; 16], ids: &[u64]) {
        let user = self.connections.get(&key).map(|connected| connected.user);
        let parent = creator(subject);
        let own = |id: &u64| {
            let intent = self.register.get(*id).map(|domain| &domain.intent);
            intent.is_some_and(|intent| Some(intent.user) == user && intent.parent == parent)
        };
        if !ids.iter().all(own) {
            return self.refuse(key, error::NO_RIGHT, 0, "somebody else made this request");
        }
        let request = self.connections.get(&key).map_or(0, |connected| connected.request);
        match self.spawning.get_mut(&token) {
            Some(spawning) => {
                spawning.answer = Some((key, request));
                self.work(key, None);
            }
            None => self.tell_births(key, ids, None, HashMap::new()),
        }
    }

    /// Answers a spawn: what became of each domain, and the capabilities that were asked for.
    fn tell_births(
        &mut self,
        key: u64,
        ids: &[u64],
        refused: Option<(u32, String)>,
        mut reserved: HashMap<u64, Reserved>,
    ) {
        let Some(connected) = self.connections.get(&key) else { return };
        let (user, client) = (connected.user, connected.client);
        let none = ids.iter().all(|id| self.register.get(*id).is_none_or(|domain| domain.unborn.is_some()));
        if let Some((errno, words)) = refused.filter(|_| none) {
            return self.refuse(key, error::MONITOR, errno, &words);
        }
        let mut nursery = (0, 0, 0);
        let (mut records, mut capabilities) = (Writer::new(), Vec::new());
        for id in ids {
            let Some(domain) = self.register.get(*id) else { continue };
            let (pid, name, flags) = (domain.pid, domain.intent.name.clone(), domain.intent.wanted.flags);
            let (mut op, mut errno) = (u32::MAX, 0);
            if let Some((failed, why, of_nursery)) = domain.unborn {
                (op, errno) = (if failed == NEVER { u32::MAX } else { failed }, why);
                if of_nursery != 0 {
                    nursery = (failed, why, of_nursery);
                }
            }
            let mut capability = None;
            if errno == 0 && flags & wanted::CAPABILITY != 0 {
                let tied = flags & wanted::TIED != 0;
                let made = match reserved.remove(id) {
                    Some(reserved) => Ok(self.keep_reserved(reserved)),
                    None => self.make_capability(Subject::Domain(*id), right::DOMAIN, user, client, tied),
                };
                match made {
                    Ok(theirs) => capability = Some(theirs),
                    Err(_) => self.end_if_unheld(*id),
                }
            }
            records.u64(*id).str(&name).u32(pid).u32(op).u32(errno).u32(u32::from(capability.is_some()));
            capabilities.extend(capability);
        }
        let mut body = Writer::new();
        body.u32(nursery.0).u32(nursery.1).u32(nursery.2).u32(ids.len() as u32).raw(records.body());
        self.answer(key, kind::SPAWNED, body.body(), capabilities);
    }
}
