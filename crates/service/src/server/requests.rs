//! What is asked over a connection: whether it may be, and who does it.
//!
//! Safety idea: what a connection is a right to is looked at before anything of a request but its kind; a body is read to its end or is none.

use beget_monitor::fields::Writer;
use beget_monitor::packet::Packet;
use beget_monitor::protocol::kind as monitor;

use super::connections::{Connected, Doing, Subject};
use super::monitor::Pending;
use super::{Over, Server, look};
use crate::protocol::{Life, State, VERSIONS, error, kind, report, right, subject};
use crate::request::Request;

/// The highest number of a signal.
const HIGHEST_SIGNAL: u32 = 64;

/// What a request needs of its connection.
enum Needs {
    /// A session with this right.
    Session(u32),
    /// A capability to a domain with this right.
    Domain(u32),
    /// A session, or what a domain holds to create others.
    Creation,
    /// Any.
    Nothing,
}

fn needs(kind: u16) -> Option<Needs> {
    Some(match kind {
        kind::HELLO | kind::ATTENUATE => Needs::Nothing,
        kind::SPAWN => Needs::Creation,
        kind::KEEPER => Needs::Session(right::SPAWN),
        kind::LIST | kind::HISTORY | kind::STATE => Needs::Session(right::LOOK),
        kind::OPEN => Needs::Session(0),
        kind::STOP => Needs::Session(right::DOMAIN | right::SPAWN),
        kind::STATUS | kind::HOLDINGS => Needs::Domain(right::LOOK),
        kind::WAIT => Needs::Domain(right::WAIT),
        kind::SIGNAL | kind::KILL => Needs::Domain(right::SIGNAL),
        kind::SEND | kind::ASKED => Needs::Domain(right::SEND),
        _ => return None,
    })
}

/// Whether a connection with this right to this subject may ask that.
fn may(connected: &Connected, needs: &Needs) -> bool {
    let has = |right: u32| connected.rights & right == right;
    match (needs, connected.subject) {
        (Needs::Session(right), Subject::Session) | (Needs::Domain(right), Subject::Domain(_)) => has(*right),
        (Needs::Creation, Subject::Session | Subject::Spawner(_)) => has(right::SPAWN),
        (Needs::Nothing, _) => true,
        _ => false,
    }
}

impl Server {
    /// A packet has come over a connection.
    pub(crate) fn requested(&mut self, key: u64, packet: Packet) {
        let Some(connected) = self.connections.get_mut(&key) else { return };
        if packet.request == 0 || (packet.kind != kind::HELLO && packet.request == connected.request) {
            // Said again after a restart, and heard already: its answer is on its way, or will be.
            if packet.request == 0 {
                self.part(key, error::MALFORMED, 0, "a request has a number");
            }
            return;
        }
        connected.request = packet.request;
        // It takes the place of one that waits.
        if let Doing::Wait(id, timer) | Doing::Asked(id, timer) =
            std::mem::replace(&mut connected.doing, Doing::Nothing)
        {
            self.timers.cancel(timer);
            self.does_not_wait(id, key);
        }
        let Some(connected) = self.connections.get(&key) else { return };
        let Some(needs) = needs(packet.kind) else {
            return self.part(key, error::MALFORMED, 0, "nothing of this kind can be asked");
        };
        if !may(connected, &needs) {
            return self.refuse(key, error::NO_RIGHT, 0, "this connection is no right to that");
        }
        match Request::read(packet.kind, &packet.body, packet.descriptors.len()) {
            Some(Request::Spawn | Request::Keeper) => self.spawn(key, packet),
            Some(asked) => {
                let subject = connected.subject;
                self.serve_request(key, subject, asked, &packet);
            }
            None => self.part(key, error::MALFORMED, 0, "the request's body is none"),
        }
    }

    fn serve_request(&mut self, key: u64, subject: Subject, asked: Request<'_>, packet: &Packet) {
        match asked {
            Request::Hello(lowest, highest) => return self.hello(key, lowest, highest),
            Request::List => return self.list(key, None),
            Request::History(most) => return self.list(key, Some(most as usize)),
            Request::State => return self.state(key),
            Request::Stop => return self.stop_asked(key),
            Request::Open(name) => return self.open(key, name),
            Request::Attenuate(rights) => return self.attenuate(key, rights),
            _ => {}
        }
        let Subject::Domain(id) = subject else { return };
        let Some(domain) = self.register.get(id) else {
            return self.refuse(key, error::ENDED, 0, "nobody remembers it");
        };
        let (lives, revoked, born) = (domain.lives(), domain.is_revoked(), domain.born);
        match asked {
            Request::Status => self.status(key, id),
            Request::Holdings => {
                let mut body = Writer::new();
                body.bytes(&domain.holdings);
                self.answer(key, kind::HOLDING, body.body(), Vec::new());
            }
            Request::Wait(_) | Request::Kill(_) if !lives => self.tell_end(key, id),
            Request::Wait(0) => self.answer(key, kind::NOT_YET, &[], Vec::new()),
            Request::Wait(milliseconds) => {
                let timer = self.request_timer(key, milliseconds);
                self.wait_for(key, id, Doing::Wait(id, timer));
            }
            Request::Kill(grace) => {
                self.wait_for(key, id, Doing::Work(None));
                let own = self.register.get(id).map_or(0, |domain| domain.intent.wanted.grace);
                self.kill(id, if grace == u64::MAX { own } else { grace }, report::KILLED);
            }
            _ if revoked => self.refuse(key, error::ENDED, 0, "it has ended, or is being ended"),
            Request::Signal(number) if number > HIGHEST_SIGNAL => {
                const EINVAL: u32 = 22;
                self.refuse(key, error::KERNEL, EINVAL, "there is no such signal");
            }
            Request::Signal(_) if !born => self.refuse(key, error::ENDED, 0, "it is not born yet"),
            Request::Signal(number) => {
                let mut body = Writer::new();
                body.u64(id).u32(number);
                self.work(key, None);
                let request = self.connections.get(&key).map_or(0, |connected| connected.request);
                if !self.ask_monitor(monitor::SIGNAL, body.body(), Vec::new(), Pending::Signal(key, request))
                {
                    self.refuse(key, error::MONITOR, 0, "there is no monitor at the moment");
                }
            }
            Request::Send(name) => match packet.descriptors.first() {
                Some(given) => self.give(key, id, name, given),
                None => self.refuse(key, error::MALFORMED, 0, "nothing is given"),
            },
            Request::Asked(milliseconds) => self.asked(key, id, milliseconds),
            _ => {}
        }
    }

    /// It is being worked on.
    pub(crate) fn work(&mut self, key: u64, timer: Option<super::timers::Key>) {
        if let Some(connected) = self.connections.get_mut(&key) {
            connected.doing = Doing::Work(timer);
        }
    }

    /// The time of a request is over.
    pub(crate) fn waited_enough(&mut self, key: u64) {
        match self.connections.get(&key).map(|connected| connected.doing) {
            Some(Doing::Wait(id, _) | Doing::Asked(id, _)) => {
                self.does_not_wait(id, key);
                self.answer(key, kind::NOT_YET, &[], Vec::new());
            }
            Some(Doing::Work(Some(_))) => self.no_monitor(key),
            _ => {}
        }
    }

    fn hello(&mut self, key: u64, lowest: u32, highest: u32) {
        let version = highest.min(VERSIONS[1]);
        if version < lowest.max(VERSIONS[0]) {
            return self.part(key, error::VERSION, 0, "no version in common");
        }
        let Some(connected) = self.connections.get(&key) else { return };
        let (subject, domain) = match connected.subject {
            Subject::Session => (subject::SESSION, 0),
            Subject::Domain(id) => (subject::DOMAIN, id),
            Subject::Spawner(id) => (subject::SPAWNER, id),
        };
        let mut body = Writer::new();
        body.u32(version).u32(connected.rights).u32(subject).u64(domain).u64(self.started);
        self.answer(key, kind::WELCOME, body.body(), Vec::new());
    }

    fn status(&mut self, key: u64, id: u64) {
        let Some(domain) = self.register.get(id) else { return };
        let mut record = domain.record();
        if record.life == Life::Running {
            look::now(domain.pid, domain.start).put_into(&mut record);
        }
        let mut body = Writer::new();
        body.u32(1);
        record.write(&mut body);
        self.answer(key, kind::RECORDS, body.body(), Vec::new());
    }

    /// A capability to a domain, by its name.
    fn open(&mut self, key: u64, name: &str) {
        let Some(connected) = self.connections.get(&key) else { return };
        let (user, rights, client) = (connected.user, connected.rights & right::DOMAIN, connected.client);
        let Some(id) = self.register.find(user, name) else {
            return self.refuse(key, error::NO_SUCH, 0, &format!("no domain is named {name:?}"));
        };
        self.give_capability(key, Subject::Domain(id), rights, user, client, false);
    }

    /// Another connection with less rights.
    fn attenuate(&mut self, key: u64, rights: u32) {
        let Some(connected) = self.connections.get(&key) else { return };
        if rights & !connected.rights != 0 || rights == 0 {
            return self.refuse(key, error::NO_RIGHT, 0, "this connection has not all of these rights");
        }
        let (subject, user, client, tied) =
            (connected.subject, connected.user, connected.client, connected.tied);
        if let Subject::Domain(id) | Subject::Spawner(id) = subject
            && self.register.get(id).is_none()
        {
            return self.refuse(key, error::ENDED, 0, "nobody remembers it");
        }
        self.give_capability(key, subject, rights, user, client, tied);
    }

    fn give_capability(
        &mut self,
        key: u64,
        subject: Subject,
        rights: u32,
        user: u32,
        client: u64,
        tied: bool,
    ) {
        match self.make_capability(subject, rights, user, client, tied) {
            Ok(theirs) => {
                let id = match subject {
                    Subject::Session => 0,
                    Subject::Domain(id) | Subject::Spawner(id) => id,
                };
                let mut body = Writer::new();
                body.u64(id).u32(rights);
                self.answer(key, kind::CAPABILITY, body.body(), vec![theirs]);
            }
            Err((code, errno, words)) => self.refuse(key, code, errno, words),
        }
    }

    fn state(&mut self, key: u64) {
        let (living, remembered) = self.register.counts();
        let state = State {
            service: std::process::id(),
            monitor: self.link.number(),
            policy: self.register.monitor.map_or(0, |(_, policy)| policy),
            living: living as u32,
            remembered: remembered as u32,
            connections: self.connections.len() as u32,
            started: self.started,
            service_memory: look::memory_of(std::process::id()),
            monitor_memory: look::memory_of(self.link.number()),
        };
        self.answer(key, kind::STATE_IS, &state.encode(), Vec::new());
    }

    fn stop_asked(&mut self, key: u64) {
        let Some(connected) = self.connections.get(&key) else { return };
        if connected.user != self.own_user {
            return self.refuse(key, error::NO_RIGHT, 0, "only the service's own user may end it");
        }
        let request = connected.request;
        self.work(key, None);
        self.stop(Some((key, request)), Over::Stopped);
    }
}
