//! Nurseries: made for the credentials that they have, heard, and let go of when everything in them has ended.
//!
//! Safety idea: what a nursery says is about its own domains or about nothing. One that says what none says is given up, and its domains with
//! it; it has no way to say anything of another's.

use std::collections::{HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use std::time::{Duration, Instant};

use beget_plan::message::{self, Born, Header, label_words};
use beget_plan::nursery::{self, Parts};
use beget_plan::stub::role;
use beget_sys::wait::{self, Change, option};
use beget_sys::{Errno, signal};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::births::label_of;
use crate::channel::{Channel, Flushed};
use crate::fields::Writer;
use crate::lasting::{Listener, Made, Owner};
use crate::monitor::{Client, End, Monitor};
use crate::options::Policy;
use crate::peer::Refusal;
use crate::protocol::{LOST, kind};
use crate::service::Word;

/// How many share a nursery before there is another one: the kernel looks at all of a process's children to find the one that has ended.
const MOST_TOGETHER: usize = 200;
/// A birth that takes longer may hang.
const HANGS: Duration = Duration::from_millis(500);
/// The most nurseries of one identity that are passed over because something hangs in them.
const MOST_HANGING: usize = 32;
/// How long a nursery may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
const SIGKILL: i32 = 9;

/// Who tells that a nursery's process has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keeper {
    /// The kernel: it is a child of the monitor's, with this number.
    Child(u32),
    /// The nursery that it was born in, under this number once it is born.
    Nursery { parent: u64, number: Option<u32> },
    /// Its channel: it was made by another monitor.
    Nobody,
}

/// What a nursery owes an answer to.
#[derive(Debug)]
pub(crate) enum Pending {
    /// Births that the service of that generation asked for.
    Births { request: u64, generation: u64, labels: Vec<u64>, born: Vec<Born> },
    /// The birth of another nursery; the request and generation that asked for nothing else.
    Nursery { key: u64, asked: Option<(u64, u64)> },
    /// What there is in it.
    Roll,
}

/// A nursery.
#[derive(Debug)]
pub(crate) struct Nursery {
    pub(crate) owner: Owner,
    /// Its number for the service, or 0.
    pub(crate) number: u64,
    /// For whom it was made, or 0.
    pub(crate) client: u64,
    pub(crate) keeper: Keeper,
    pub(crate) channel: Option<Channel>,
    writing: bool,
    stalled: bool,
    pub(crate) pending: VecDeque<Pending>,
    /// When it answered last, or was asked for something when it had nothing to do.
    pub(crate) heard: Instant,
    /// Its domains: those that live or whose end nobody has taken.
    pub(crate) labels: HashSet<u64>,
    /// Numbers in it mean nothing here.
    pub(crate) own_numbers: bool,
    /// Why it could not be born: operation and errno.
    pub(crate) fault: (u32, u32),
    /// It ends when it is empty.
    pub(crate) retired: bool,
    /// It was made for domains that are asked for later, by others than its client: it is empty now, and only ends when it is told to.
    pub(crate) for_others: bool,
    /// Others were born in it.
    pub(crate) around: bool,
    quitting: bool,
    pub(crate) until: Option<Instant>,
    listener: Option<Listener>,
}

impl Nursery {
    pub(crate) fn new(channel: OwnedFd, owner: Owner, number: u64, keeper: Keeper) -> Nursery {
        Nursery {
            owner,
            number,
            client: 0,
            keeper,
            channel: Some(Channel::new(channel)),
            writing: false,
            stalled: false,
            pending: VecDeque::new(),
            heard: Instant::now(),
            labels: HashSet::new(),
            own_numbers: false,
            fault: (0, 0),
            retired: false,
            for_others: false,
            around: false,
            quitting: false,
            until: None,
            listener: None,
        }
    }

    /// Puts a message behind the others.
    pub(crate) fn queue(
        &mut self,
        header: Header,
        body: Vec<u8>,
        descriptors: &[Rc<OwnedFd>],
    ) -> Result<(), Errno> {
        self.channel.as_mut().ok_or(Errno::EPIPE)?.queue(header, body, descriptors)
    }

    /// It owes an answer to this.
    pub(crate) fn await_answer(&mut self, pending: Pending) {
        if self.pending.is_empty() {
            self.heard = Instant::now();
        }
        self.pending.push_back(pending);
    }

    /// It is so long at one birth that this may never be over: whoever asks now is better served elsewhere.
    fn hangs(&self) -> bool {
        !self.pending.is_empty() && self.heard.elapsed() > HANGS
    }

    pub(crate) fn listens(&self) -> bool {
        self.channel.is_some() && !self.quitting
    }

    /// Whether it was taken over, and has not told yet what it has.
    pub(crate) fn is_unknown(&self) -> bool {
        self.listens() && self.pending.iter().any(|pending| matches!(pending, Pending::Roll))
    }

    pub(crate) fn made(&mut self, made: Made) {
        self.own_numbers = made == Made::Inside { own_numbers: true };
    }

    /// Has it looked after until then.
    pub(crate) fn await_until(&mut self, until: Option<Instant>) {
        self.until = until;
    }

    /// Has its channel watched under this key.
    pub(crate) fn watch_by(&self, monitor: &Monitor, key: u64) -> bool {
        self.channel.as_ref().is_some_and(|channel| monitor.watch_more(channel.as_fd(), key))
    }

    pub(crate) fn listen_at(&mut self, listener: Option<Listener>) {
        self.listener = listener;
    }
}

impl Monitor {
    /// One of those that a client's domains share; made if they are too few, or all have something to do.
    pub(crate) fn shared_nursery(&mut self, client: &Client) -> Result<u64, Refusal> {
        let all = self.shared.get(&client.identity).cloned().unwrap_or_default();
        let mut there: Vec<(usize, usize, u64)> = Vec::new();
        let mut hanging = 0;
        for key in all {
            if let Some(nursery) = self.nurseries.get(&key).filter(|nursery| nursery.listens()) {
                let hangs = nursery.hangs();
                hanging += usize::from(hangs);
                let living = if hangs { MOST_TOGETHER } else { nursery.labels.len() };
                there.push((nursery.pending.len(), living, key));
            }
        }
        there.sort_unstable();
        let roomy = |(_, living, _): &&(usize, usize, u64)| *living < MOST_TOGETHER;
        if hanging >= MOST_HANGING && !there.iter().any(|nursery| roomy(&nursery)) {
            return Ok(there[0].2);
        }
        let full = there.iter().filter(|nursery| !roomy(nursery)).count();
        match there.iter().find(roomy) {
            Some((0, _, key)) => return Ok(*key),
            Some((_, _, key)) if there.len() - full >= self.per_identity => return Ok(*key),
            _ => {}
        }
        match self.new_nursery(client, 0, 0) {
            Ok(key) => {
                let mut keys: Vec<u64> = there.iter().map(|(_, _, key)| *key).collect();
                keys.push(key);
                self.shared.insert(Rc::clone(&client.identity), keys);
                Ok(key)
            }
            Err(refusal) => there.first().map(|(_, _, key)| *key).ok_or(refusal),
        }
    }

    /// A new one with a client's credentials.
    pub(crate) fn new_nursery(&mut self, client: &Client, number: u64, owner: u64) -> Result<u64, Refusal> {
        let refused = |errno: Errno| Refusal::new(errno, "a nursery cannot be made");
        let (ours, theirs) = pair().map_err(refused)?;
        let key = self.token();
        let listener = self.listener_for(&client.identity, number, Made::Here, key).map_err(refused)?;
        let parts = Parts {
            role: if listener.is_some() { role::LASTING } else { role::GUARDED },
            channel: theirs.as_fd(),
            program: self.stub.as_fd(),
            directory: self.root.as_fd(),
            listener: listener.as_ref().map(|listener| listener.socket()),
        };
        let process = if client.own {
            nursery::start(parts).map(|child| child.number).map_err(|failure| match failure {
                beget_plan::engine::Failure::Birth(errno) => errno,
                beget_plan::engine::Failure::Op(fault) => fault.errno,
            })
        } else {
            nursery::start_as(parts, &client.identity)
        }
        .map_err(refused)?;
        self.children.insert(process, key);
        self.add_nursery(key, ours, client, number, owner, Keeper::Child(process), listener)?;
        Ok(key)
    }

    /// The same, to be born of a plan: its key, and what the plan is to have for its channel and for its slot 1.
    pub(crate) fn unborn_nursery(
        &mut self,
        client: &Client,
        number: u64,
        owner: u64,
        own_numbers: bool,
    ) -> Result<(u64, OwnedFd, Rc<OwnedFd>), Refusal> {
        let refused = |errno: Errno| Refusal::new(errno, "a nursery cannot be made");
        let (ours, theirs) = pair().map_err(refused)?;
        let made = Made::Inside { own_numbers };
        let key = self.token();
        let mut listener = self.listener_for(&client.identity, number, made, key).map_err(refused)?;
        let second = match listener.as_mut().map(Listener::give) {
            Some(socket) => Rc::new(socket.ok_or_else(|| refused(Errno::EBADF))?),
            None => Rc::clone(&self.itself),
        };
        self.add_nursery(key, ours, client, number, owner, Keeper::Nobody, listener)?;
        if let Some(nursery) = self.nurseries.get_mut(&key) {
            nursery.made(made);
        }
        Ok((key, theirs, second))
    }

    #[expect(clippy::too_many_arguments, reason = "what a nursery is made of")]
    fn add_nursery(
        &mut self,
        key: u64,
        ours: OwnedFd,
        client: &Client,
        number: u64,
        owner: u64,
        keeper: Keeper,
        listener: Option<Listener>,
    ) -> Result<(), Refusal> {
        if !self.watch_more(ours.as_fd(), key) {
            return Err(Refusal::new(Errno::ENOSPC, "a nursery cannot be watched"));
        }
        let mut nursery = Nursery::new(ours, Owner::of(&client.identity), number, keeper);
        nursery.client = owner;
        nursery.listener = listener.map(Listener::closed);
        self.nurseries.insert(key, nursery);
        if number != 0 {
            self.numbered.insert(number, key);
        }
        Ok(())
    }

    /// Forgets one that nobody was asked to make.
    pub(crate) fn drop_unborn(&mut self, key: u64) {
        if let Some(nursery) = self.nurseries.remove(&key) {
            self.numbered.remove(&nursery.number);
        }
    }

    /// Sends what there is room for.
    pub(crate) fn flush(&mut self, key: u64) {
        let Some(nursery) = self.nurseries.get_mut(&key) else { return };
        let Some(channel) = &mut nursery.channel else { return };
        let flushed = channel.flush();
        nursery.stalled = flushed == Flushed::Stalled;
        if nursery.stalled {
            self.cared_for.insert(key);
        }
        let writing = flushed == Flushed::Full;
        if writing != nursery.writing {
            nursery.writing = writing;
            if let Some(channel) = self.nurseries.get(&key).and_then(|nursery| nursery.channel.as_ref()) {
                self.watch_for(channel.as_fd(), key, (true, writing));
            }
        }
    }

    /// Has a nursery end everything in it.
    pub(crate) fn quit(&mut self, key: u64) {
        let Some(nursery) = self.nurseries.get_mut(&key) else { return };
        if nursery.quitting {
            return;
        }
        nursery.quitting = true;
        nursery.until = Monitor::deadline(PATIENCE);
        self.cared_for.insert(key);
        let header = Header { kind: message::kind::QUIT, ..Header::default() };
        if nursery.queue(header, Vec::new(), &[]).is_err() {
            return self.give_up(key);
        }
        self.flush(key);
    }

    /// Nurseries of a client that is gone end when they are empty.
    pub(crate) fn retire(&mut self, client: u64) {
        let mut all = Vec::new();
        for (key, nursery) in &mut self.nurseries {
            if nursery.client == client && nursery.number != 0 && !nursery.for_others {
                nursery.retired = true;
                all.push(*key);
            }
        }
        for key in all {
            self.tidy(key);
        }
    }

    /// Ends a retired nursery that is empty.
    pub(crate) fn tidy(&mut self, key: u64) {
        let Some(nursery) = self.nurseries.get(&key) else { return };
        let is_inside =
            |other: &Nursery| matches!(other.keeper, Keeper::Nursery { parent, .. } if parent == key);
        let is_empty = nursery.labels.is_empty() && nursery.pending.is_empty();
        let holds = || nursery.around && self.nurseries.values().any(is_inside);
        if is_empty && (nursery.retired || self.is_one_too_many(key)) && !holds() {
            self.quit(key);
        }
    }

    /// Whether it was made because all others were full, and is not wanted any more: another has room, and not just for one or two, or each that is born
    /// and ends when all others are full would take a nursery of its own.
    fn is_one_too_many(&self, key: u64) -> bool {
        let Some(keys) = self.shared.values().find(|keys| keys.contains(&key)) else { return false };
        let there = |key: &u64| self.nurseries.get(key).filter(|nursery| nursery.listens());
        let roomy = |nursery: &Nursery| nursery.labels.len() <= MOST_TOGETHER / 2 && !nursery.hangs();
        keys.iter().filter_map(there).count() > self.per_identity
            && keys.iter().filter(|other| **other != key).filter_map(there).any(roomy)
    }

    /// Stops speaking with a nursery: its channel is closed, or it says what none says. It is waited for, but not for ever.
    pub(crate) fn give_up(&mut self, key: u64) {
        let Some(nursery) = self.nurseries.get_mut(&key) else { return };
        nursery.channel = None;
        nursery.quitting = true;
        nursery.until = Monitor::deadline(PATIENCE);
        self.cared_for.insert(key);
        let keeper = nursery.keeper;
        match keeper {
            Keeper::Child(_) => self.reap(),
            Keeper::Nursery { parent, .. } if self.nurseries.contains_key(&parent) => {}
            _ => self.finish(key),
        }
    }

    /// Takes the ends of the monitor's own children.
    pub(crate) fn reap(&mut self) {
        loop {
            match wait::any(option::EXITED | option::ALL | option::NO_HANG) {
                Ok(Some((_, Change::Stopped(_) | Change::Continued, _))) | Err(Errno::EINTR) => {}
                Ok(Some((number, _, _))) => {
                    if let Some(key) = self.children.remove(&(number as u32)) {
                        self.process_gone(key);
                    }
                }
                _ => return,
            }
        }
    }

    /// A nursery's process has ended: what it said before is heard still.
    pub(crate) fn process_gone(&mut self, key: u64) {
        if let Some(nursery) = self.nurseries.get_mut(&key) {
            nursery.quitting = true;
        }
        // So much fits into a socket. Whoever holds the other end still may say more, and is not heard.
        let mut heard = 0;
        while self.hear_once(key, heard < 10_000) {
            heard += 1;
        }
        self.finish(key);
    }

    /// Everything of a nursery has ended.
    pub(crate) fn finish(&mut self, key: u64) {
        let Some(nursery) = self.nurseries.remove(&key) else { return };
        let (op, errno) = nursery.fault;
        for pending in nursery.pending {
            match pending {
                Pending::Births { request, generation, labels, mut born } => {
                    let errno = if errno == 0 { Errno::EPIPE } else { Errno::ECANCELED };
                    let none = Born { number: 0, op: u32::MAX, errno: errno.0 as u32, pidfd: 0 };
                    // Those that were born are told of as ended below.
                    for label in labels.iter().skip(born.len()) {
                        self.domains.remove(label);
                    }
                    born.resize(labels.len(), none);
                    self.answer_births((request, generation), (op, nursery.fault.1), &labels, &born);
                }
                Pending::Nursery { key, asked } => {
                    let born = Born { number: 0, op: u32::MAX, errno: Errno::EPIPE.0 as u32, pidfd: 0 };
                    self.nursery_born(0, key, born, asked);
                }
                Pending::Roll => {}
            }
        }
        for label in nursery.labels {
            let Some(domain) = self.domains.get_mut(&label).filter(|domain| domain.nursery == key) else {
                continue;
            };
            if domain.end.is_none() {
                domain.end = Some(Box::new(End(LOST, 0, [0; 144])));
                if domain.claimed.is_none() {
                    self.say(Word::Ended(label));
                }
            }
        }
        for rival in self.rivals.values_mut().flatten().filter(|rival| rival.nursery == key) {
            rival.end.get_or_insert_with(|| Box::new(End(LOST, 0, [0; 144])));
        }
        let is_below =
            |other: &Nursery| matches!(other.keeper, Keeper::Nursery { parent, .. } if parent == key);
        let below: Vec<u64> = if nursery.around {
            self.nurseries.iter().filter(|(_, other)| is_below(other)).map(|(key, _)| *key).collect()
        } else {
            Vec::new()
        };
        for other in below {
            let Some(nursery) = self.nurseries.get_mut(&other) else { continue };
            nursery.keeper = Keeper::Nobody;
            if nursery.channel.is_none() {
                self.finish(other);
            }
        }
        if let Some(listener) = nursery.listener {
            self.remove(listener);
        }
        if nursery.number != 0 {
            self.numbered.remove(&nursery.number);
            self.say_nursery_ended(nursery.number);
        }
        if let Keeper::Nursery { parent, .. } = nursery.keeper {
            self.tidy(parent);
        }
    }

    pub(crate) fn say_nursery_ended(&mut self, number: u64) {
        let mut body = Writer::new();
        body.u64(number);
        self.say(Word::Packet { kind: kind::NURSERY_ENDED, request: 0, body: body.into_body() });
    }

    /// Whether something is waited for that nobody tells of.
    pub(crate) fn needs_care(&self) -> bool {
        self.stalled || !self.cared_for.is_empty()
    }

    /// Looks after what nobody tells of.
    pub(crate) fn care(&mut self) {
        let now = Instant::now();
        let nurseries = &self.nurseries;
        self.cared_for.retain(|key| {
            nurseries.get(key).is_some_and(|nursery| nursery.until.is_some() || nursery.stalled)
        });
        let look = |key: &u64| {
            let nursery = self.nurseries.get(key)?;
            Some((*key, nursery.until.is_some_and(|until| until <= now), nursery.stalled))
        };
        let all: Vec<(u64, bool, bool)> = self.cared_for.iter().filter_map(look).collect();
        if !all.is_empty() {
            // One that failed before its exec sent no signal.
            self.reap();
        }
        for (key, late, stalled) in all {
            if stalled {
                self.flush(key);
            }
            if late {
                self.kill(key);
            }
        }
        self.answer_rolls();
        if let (Some(request), true) = (self.stopping, self.nurseries.is_empty())
            && let Some(service) = &mut self.service
            && !std::mem::replace(&mut self.told_to_stop, true)
        {
            service.done(request, Errno(0));
        }
    }

    /// Kills a nursery that did not end in time, or did not say what it has.
    fn kill(&mut self, key: u64) {
        let Some(nursery) = self.nurseries.get_mut(&key) else { return };
        nursery.until = None;
        if !nursery.quitting {
            // It was taken over and says nothing. What it has is not known, and told when it says it.
            nursery.pending.retain(|pending| !matches!(pending, Pending::Roll));
            return;
        }
        nursery.channel = None;
        match nursery.keeper {
            Keeper::Child(number) => {
                // Not reaped yet, so the number is its own. Its guard, or it itself, ends what is left.
                let _ = signal::kill(number as i32, SIGKILL);
            }
            Keeper::Nursery { parent, number: Some(number) } => {
                let [low, high] = label_words(label_of(nursery.number));
                let words = [number, SIGKILL as u32, low, high];
                let header = Header { kind: message::kind::SIGNAL, words, ..Header::default() };
                let told =
                    self.nurseries.get_mut(&parent).map(|parent| parent.queue(header, Vec::new(), &[]));
                if told != Some(Ok(())) {
                    return self.finish(key);
                }
                self.flush(parent);
            }
            _ => self.finish(key),
        }
    }

    /// Whether lasting nurseries are made.
    pub(crate) fn lasts(&self) -> bool {
        self.policy == Policy::Live
    }
}

fn pair() -> Result<(OwnedFd, OwnedFd), Errno> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|errno| Errno(errno.raw_os_error()))
}
