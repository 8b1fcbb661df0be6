//! What the process service asks for, request by request.
//!
//! Safety idea: a request is read to its last byte before anything is done; whatever it names came with it, or is known here under that number.

use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;

use beget_plan::message::{self, Born, Header, flag, label_words};
use beget_sys::Errno;

use crate::births::{self, Encoded, Manner, Request};
use crate::fields::{Reader, Writer};
use crate::lasting::Owner;
use crate::monitor::{Client, Domain, Known, Monitor};
use crate::nurseries::{Keeper, Pending};
use crate::options::Policy;
use crate::packet::{Came, Packet};
use crate::peer::Refusal;
use crate::protocol::{LONGEST_NOTE, MOST_NURSERIES, VERSIONS, kind, place, policy};
use crate::service::Word;

/// The most clients.
const MOST_CLIENTS: usize = 65_536;
/// The most domains that live, or whose end nobody has taken.
const MOST_DOMAINS: usize = 1 << 18;
/// Living domains told of in one packet.
const LIVING_AT_ONCE: usize = 1000;

/// What becomes of a request.
type Answer = Result<(), Refusal>;

fn malformed() -> Refusal {
    Refusal::new(Errno::EINVAL, "the request is none")
}

impl Monitor {
    /// Takes what came from whoever has this token; `false` when no more of it is to be read.
    pub(crate) fn take(&mut self, token: u64, came: Came) -> bool {
        let is_service = self.service.as_ref().is_some_and(|service| service.token == token);
        match came {
            Came::Packet(packet) if packet.kind == kind::HELLO => self.hello(token, &packet),
            Came::Packet(packet) if is_service => {
                let request = packet.request;
                if let Err(Refusal { errno, words }) = self.carry_out(packet)
                    && let Some(service) = &mut self.service
                {
                    service.refuse(request, errno, &words);
                }
                true
            }
            Came::Lost(kind, request, errno) if is_service => {
                if kind == kind::KEEP {
                    self.not_kept(request, errno);
                } else if let Some(service) = &mut self.service {
                    service.refuse(request, errno, "there is no room for what came with it");
                }
                true
            }
            // Whoever says anything before he says what he speaks, or nothing that can be read.
            _ => {
                self.close(token);
                false
            }
        }
    }

    fn hello(&mut self, token: u64, packet: &Packet) -> bool {
        let mut reader = Reader::new(&packet.body);
        let versions = (|| {
            let both = (reader.u32()?, reader.u32()?);
            reader.ends().map(|()| both)
        })();
        let [lowest, highest] = VERSIONS;
        let Some((theirs, at_most)) = versions else {
            self.close(token);
            return false;
        };
        if theirs > at_most || at_most < lowest || theirs > highest {
            if let Some(caller) = self.callers.iter_mut().find(|caller| caller.token == token) {
                let words = format!("this monitor speaks the versions {lowest} to {highest}");
                caller.refuse(packet.request, Errno::EPROTO, &words);
            }
            let at = self.callers.iter().position(|caller| caller.token == token);
            match at {
                Some(at) => self.refuse_caller(at),
                None => self.close(token),
            }
            return false;
        }
        // Whoever was the service before is not any more.
        self.hear_out();
        if let Some(at) = self.callers.iter().position(|caller| caller.token == token) {
            self.service = Some(self.callers.remove(at));
        }
        self.rolls.clear();
        self.generation += 1;
        let mut body = Writer::new();
        let policy = match self.policy {
            Policy::Die => policy::DIE,
            Policy::Live => policy::LIVE,
        };
        body.u32(at_most.min(highest)).u32(policy).u32(std::process::id()).u64(self.epoch);
        if let Some(service) = &mut self.service {
            service.words.clear();
            service.say(kind::WELCOME, packet.request, body);
        }
        true
    }

    pub(crate) fn carry_out(&mut self, packet: Packet) -> Answer {
        let Packet { kind, request, body, mut descriptors } = packet;
        let wanted = match kind {
            kind::CLIENT | kind::KEEP => 1,
            kind::BIRTHS => descriptors.len(),
            _ => 0,
        };
        if descriptors.len() != wanted {
            return Err(malformed());
        }
        let mut reader = Reader::new(&body);
        match kind {
            kind::CLIENT => {
                let client = whole(reader.u64(), reader)?;
                let connection = descriptors.pop().ok_or_else(malformed)?;
                self.client(request, client, &connection)
            }
            kind::GONE => {
                let client = whole(reader.u64(), reader)?;
                self.clients.remove(&client);
                self.retire(client);
                Ok(())
            }
            kind::BIRTHS => {
                let checked = births::check(&body, descriptors.len())?;
                let given: Vec<Rc<OwnedFd>> = descriptors.into_iter().map(Rc::new).collect();
                self.births(request, &checked, &given)
            }
            kind::SIGNAL => {
                let words = reader.u64().zip(reader.u32());
                let (label, signal) = whole(words, reader)?;
                let errno = self.signal(label, signal);
                if let Some(service) = &mut self.service {
                    service.done(request, errno);
                }
                Ok(())
            }
            kind::END_NURSERY => {
                let number = whole(reader.u64(), reader)?;
                match self.numbered.get(&number) {
                    Some(key) => self.quit(*key),
                    None => self.say_nursery_ended(number),
                }
                Ok(())
            }
            kind::TAKEN => {
                let label = whole(reader.u64(), reader)?;
                self.taken(label);
                Ok(())
            }
            kind::KEEP => {
                let key = reader.u64().ok_or_else(malformed)?;
                let note = whole(reader.bytes(), reader)?;
                let kept = descriptors.pop().ok_or_else(malformed)?;
                if note.len() > LONGEST_NOTE {
                    self.not_kept(key, Errno::E2BIG);
                } else if self.kept.len() >= self.most_kept && !self.kept.contains_key(&key) {
                    self.not_kept(key, Errno::EMFILE);
                } else {
                    self.kept.insert(key, (note.to_owned(), kept));
                }
                Ok(())
            }
            kind::FORGET => {
                let key = whole(reader.u64(), reader)?;
                self.kept.remove(&key);
                Ok(())
            }
            kind::ROLL => {
                let mut known = Known::new();
                while reader.ends().is_none() {
                    let label = reader.u64().filter(|label| *label != 0).ok_or_else(malformed)?;
                    let place = reader.u32().zip(reader.u64()).ok_or_else(malformed)?;
                    known.insert(label, place);
                }
                self.rolls.push((request, known));
                Ok(())
            }
            kind::STOP => {
                whole(Some(()), reader)?;
                self.stopping = Some(request);
                let all: Vec<u64> = self.nurseries.keys().copied().collect();
                for key in all {
                    self.quit(key);
                }
                Ok(())
            }
            _ => Err(malformed()),
        }
    }

    pub(crate) fn not_kept(&mut self, key: u64, errno: Errno) {
        let mut body = Writer::new();
        body.u64(key).u32(errno.0 as u32);
        self.say(Word::Packet { kind: kind::NOT_KEPT, request: 0, body: body.into_body() });
    }

    fn client(&mut self, request: u64, client: u64, connection: &OwnedFd) -> Answer {
        if self.clients.len() >= MOST_CLIENTS && !self.clients.contains_key(&client) {
            return Err(Refusal::new(Errno::EAGAIN, "there are too many clients"));
        }
        let peer = self.own.judge(connection.as_fd(), self.other_users)?;
        let mut body = Writer::new();
        body.u32(peer.identity.user).u32(peer.identity.group).u32(peer.process);
        self.clients.insert(client, Client { identity: Rc::new(peer.identity), own: peer.own });
        self.say(Word::Packet { kind: kind::CLIENT_IS, request, body: body.into_body() });
        Ok(())
    }

    fn births(&mut self, number: u64, request: &Request<'_>, given: &[Rc<OwnedFd>]) -> Answer {
        let Request { client, place, nursery, atomic, ref labels, .. } = *request;
        if self.stopping.is_some() {
            return Err(Refusal::new(Errno::ESHUTDOWN, "everything is being ended"));
        }
        let known = self.clients.get(&client).cloned();
        let unknown = || Refusal::new(Errno::ENOENT, "births: there is no such client");
        if labels.iter().any(|label| self.domains.contains_key(label)) {
            return Err(Refusal::new(Errno::EEXIST, "births: a label is another domain's"));
        }
        if self.domains.len() + labels.len() > MOST_DOMAINS {
            return Err(Refusal::new(Errno::EAGAIN, "births: there are as many domains as there may be"));
        }
        if matches!(place, place::FRESH | place::PLANNED | place::WITHIN) {
            if self.numbered.contains_key(&nursery) {
                return Err(Refusal::new(Errno::EEXIST, "births: the nursery's number is another's"));
            }
            if self.numbered.len() >= MOST_NURSERIES {
                return Err(Refusal::new(
                    Errno::EAGAIN,
                    "births: there are as many nurseries as there may be",
                ));
            }
        }
        let key = match place {
            place::SHARED => self.shared_nursery(&known.ok_or_else(unknown)?)?,
            place::FRESH => self.new_nursery(&known.ok_or_else(unknown)?, nursery, client)?,
            place::PLANNED => {
                let client = known.ok_or_else(unknown)?;
                let parent = self.shared_nursery(&client)?;
                return self.planned(number, request, given, &client, parent);
            }
            place::WITHIN => {
                let client = known.ok_or_else(unknown)?;
                let parent = self.existing(nursery - 1, Some(&client))?;
                return self.planned(number, request, given, &client, parent);
            }
            // Whoever it was made for.
            _ if client == 0 => self.existing(nursery, None)?,
            _ => self.existing(nursery, Some(&known.ok_or_else(unknown)?))?,
        };
        if labels.is_empty() {
            if let Some(nursery) = self.nurseries.get_mut(&key) {
                nursery.for_others = true;
            }
            self.answer_births((number, self.generation), (0, 0), &[], &[]);
            return Ok(());
        }
        self.send_births(number, request, given, key, atomic)
    }

    /// A nursery that was made before, for this client.
    fn existing(&self, number: u64, client: Option<&Client>) -> Result<u64, Refusal> {
        let none = || Refusal::new(Errno::ESRCH, "births: there is no such nursery");
        let key = *self.numbered.get(&number).ok_or_else(none)?;
        let there = self.nurseries.get(&key).filter(|nursery| nursery.listens()).ok_or_else(none)?;
        if client.is_some_and(|client| there.owner != Owner::of(&client.identity)) {
            return Err(Refusal::new(Errno::EPERM, "births: the nursery is another's"));
        }
        Ok(key)
    }

    fn send_births(
        &mut self,
        number: u64,
        request: &Request<'_>,
        given: &[Rc<OwnedFd>],
        key: u64,
        atomic: bool,
    ) -> Answer {
        let busy = |errno| Refusal::new(errno, "births: the nursery has too much to do");
        let kept = self.policy == Policy::Live;
        let generation = self.generation;
        let nursery = self.nurseries.get_mut(&key).ok_or_else(|| busy(Errno::ESRCH))?;
        let Encoded { body, descriptors } =
            request.domains(given, Manner { kept, held: nursery.own_numbers });
        let flags = if atomic { flag::ATOMIC } else { 0 };
        let words = [request.labels.len() as u32, flags, 0, 0];
        let header = Header { kind: message::kind::BATCH, words, ..Header::default() };
        nursery.queue(header, body, &descriptors).map_err(busy)?;
        nursery.await_answer(Pending::Births {
            request: number,
            generation,
            labels: request.labels.clone(),
            born: Vec::with_capacity(request.labels.len()),
        });
        for label in &request.labels {
            nursery.labels.insert(*label);
            self.domains
                .insert(*label, Domain { nursery: key, number: 0, process: 0, end: None, claimed: None });
        }
        self.flush(key);
        Ok(())
    }

    /// A nursery that is born of a plan, in another one of its client's, and what is born in it.
    fn planned(
        &mut self,
        number: u64,
        request: &Request<'_>,
        given: &[Rc<OwnedFd>],
        client: &Client,
        parent: u64,
    ) -> Answer {
        let around = self.nurseries.get(&parent).is_some_and(|nursery| nursery.own_numbers);
        let own_numbers = around || request.has_own_numbers();
        let (key, theirs, second) =
            self.unborn_nursery(client, request.nursery, request.client, own_numbers)?;
        let put_in = [Rc::new(theirs), Rc::clone(&self.stub), second];
        let alone = request.labels.is_empty();
        let asked = alone.then_some((number, self.generation));
        let sent = match (request.nursery(given, put_in), self.nurseries.get_mut(&parent)) {
            (Some(Encoded { body, descriptors }), Some(nursery)) => {
                let words = [1, 0, 0, 0];
                let header = Header { kind: message::kind::BATCH, words, ..Header::default() };
                let queued = nursery.queue(header, body, &descriptors);
                nursery.around = true;
                queued.map(|()| nursery.await_answer(Pending::Nursery { key, asked }))
            }
            _ => Err(Errno::EINVAL),
        };
        if let Err(errno) = sent {
            self.drop_unborn(key);
            return Err(Refusal::new(errno, "births: the nursery has too much to do"));
        }
        if let Some(nursery) = self.nurseries.get_mut(&key) {
            nursery.keeper = Keeper::Nursery { parent, number: None };
            nursery.for_others = alone;
        }
        let sent = if alone { Ok(()) } else { self.send_births(number, request, given, key, request.atomic) };
        self.flush(parent);
        sent
    }

    fn signal(&mut self, label: u64, signal: u32) -> Errno {
        let Some(domain) =
            self.domains.get(&label).filter(|domain| domain.number != 0 && domain.end.is_none())
        else {
            return Errno::ESRCH;
        };
        if signal > 64 {
            return Errno::EINVAL;
        }
        let ([low, high], key) = (label_words(label), domain.nursery);
        let words = [domain.number, signal, low, high];
        let header = Header { kind: message::kind::SIGNAL, words, ..Header::default() };
        let Some(nursery) = self.nurseries.get_mut(&key) else { return Errno::ESRCH };
        let queued = nursery.queue(header, Vec::new(), &[]);
        self.flush(key);
        queued.err().unwrap_or(Errno(0))
    }

    fn taken(&mut self, label: u64) {
        if self.domains.get(&label).is_none_or(|domain| domain.end.is_none()) {
            return;
        }
        let Some(Domain { nursery: key, .. }) = self.domains.remove(&label) else { return };
        let Some(nursery) = self.nurseries.get_mut(&key) else { return };
        nursery.labels.remove(&label);
        if self.policy == Policy::Live {
            let [low, high] = label_words(label);
            let words = [low, high, 0, 0];
            let header = Header { kind: message::kind::TAKEN, words, ..Header::default() };
            let _ = nursery.queue(header, Vec::new(), &[]);
            self.flush(key);
        }
        self.tidy(key);
    }

    /// Tells everything, once it is known.
    pub(crate) fn answer_rolls(&mut self) {
        if self.rolls.is_empty() || self.nurseries.values().any(|nursery| nursery.is_unknown()) {
            return;
        }
        let rolls = std::mem::take(&mut self.rolls);
        for (request, known) in rolls {
            self.settle(&known);
            self.tell_all(request);
        }
    }

    fn tell_all(&mut self, request: u64) {
        let alive: Vec<u64> = self.labels(|domain| domain.end.is_none());
        let ended = self.labels(|domain| domain.end.is_some());
        let mut chunks = alive.chunks(LIVING_AT_ONCE).peekable();
        let mut words = Vec::new();
        loop {
            let chunk = chunks.next().unwrap_or_default();
            let mut body = Writer::new();
            body.u32(u32::from(chunks.peek().is_some())).u32(chunk.len() as u32);
            for label in chunk {
                let Some(domain) = self.domains.get(label) else { continue };
                let nursery = self.nurseries.get(&domain.nursery).map_or(0, |nursery| nursery.number);
                body.u64(*label).u32(domain.process).u32(u32::from(domain.number == 0)).u64(nursery);
            }
            words.push(Word::Packet { kind: kind::LIVING, request: 0, body: body.into_body() });
            if chunks.peek().is_none() {
                break;
            }
        }
        words.extend(self.kept.keys().map(|key| Word::Kept(*key)));
        words.extend(ended.into_iter().map(Word::Ended));
        words.push(Word::Packet { kind: kind::ROLL_END, request, body: Vec::new() });
        if let Some(queue) = self.words() {
            queue.extend(words);
        }
    }

    fn labels(&self, which: impl Fn(&Domain) -> bool) -> Vec<u64> {
        let mut labels: Vec<u64> =
            self.domains.iter().filter(|(_, domain)| which(domain)).map(|(label, _)| *label).collect();
        labels.sort_unstable();
        labels
    }

    /// Answers a request for births, or tells the next service what came of it.
    pub(crate) fn answer_births(
        &mut self,
        (request, generation): (u64, u64),
        fault: (u32, u32),
        labels: &[u64],
        born: &[Born],
    ) {
        if generation == self.generation {
            let mut body = Writer::new();
            body.u32(born.len() as u32).u32(fault.0).u32(fault.1);
            for born in born {
                body.raw(&born.encode());
            }
            self.say(Word::Packet { kind: kind::BORN, request, body: body.into_body() });
            return;
        }
        for (label, born) in labels.iter().zip(born) {
            let mut body = Writer::new();
            body.u64(*label).raw(&born.encode());
            self.say(Word::Packet { kind: kind::BORN_LATE, request: 0, body: body.into_body() });
        }
    }
}

/// A field that is there, and the last one.
fn whole<T>(field: Option<T>, reader: Reader<'_>) -> Result<T, Refusal> {
    reader.ends().and(field).ok_or_else(malformed)
}
