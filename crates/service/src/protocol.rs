//! What clients and the process service say to each other, in [packets](beget_monitor::packet), on a connection that is a right.
//!
//! A connection is a `SOCK_SEQPACKET` Unix socket: of a session by `connect(2)` to the service's path ([`crate::socket_path`]), of anything else as a
//! descriptor in an answer. Each packet has a header of 32 bytes before its body: the four letters `BGPK`; `1 << 16 | kind` (u32), where 1 is the version
//! of packets; the request's number (u64); how many bytes the body has, how many descriptors come with it, 1 if the body lies in memory, and 0 (u32 each).
//! A body of up to 60 KiB follows the header; a longer one lies in a sealed memory file, which is the last of the descriptors that are counted.
//! [`beget_monitor::packet`] says the rest.
//!
//! Numbers are in the machine's own order, in the order in which they are listed, without room between; `str` (UTF-8) and `bytes` have their length (u32)
//! before them, and lists of `str` how many there are (u32). What is listed as a struct is its fields in their order, where [`Life`] is two u32:
//! 0 embryo, 1 running, 2 exited, 3 killed or 4 lost, then its code or signal or 0. `HELLO` tells the version and what a connection is a right
//! to; one that is not asked so speaks the first. One
//! request at a time is asked on a connection; another one takes the place of a [`kind::WAIT`] or [`kind::ASKED`] that waits. Request numbers
//! are another for each request of whoever holds the connection, and never 0. After [`kind::AGAIN`], which comes unasked when the service was
//! started again, whoever waits for an answer asks again with the same number; what is done already is not done twice, but for a signal or a descriptor whose answer the killed service did not
//! come to give. `AGAIN` has the number 0. An answer to what is answered already is passed over: who asks again may have been answered meanwhile.
//!
//! | request | right | body | descriptors | answer |
//! |---|---|---|---|---|
//! | `HELLO` | | lowest, highest version known (u32 each) | | `WELCOME` |
//! | `SPAWN` | `SPAWN` | [`Spawn`] | holders' ends and held files, then what the plans name | `SPAWNED`, with a capability for each that was made and asked for |
//! | `LIST` | session | | | `RECORDS` |
//! | `HISTORY` | session | most (u32) | | `RECORDS`, the latest first |
//! | `OPEN` | session | name (str) | | `CAPABILITY` |
//! | `STATUS` | `LOOK` | | | `RECORDS` with one |
//! | `HOLDINGS` | `LOOK` | | | `HOLDING` |
//! | `WAIT` | `WAIT` | milliseconds (u64; 0 does not wait, `u64::MAX` without an end) | | `RECORDS` with one that has ended, or `NOT_YET` |
//! | `SIGNAL` | `SIGNAL` | signal (u32) | | `DONE` |
//! | `KILL` | `SIGNAL` | grace in milliseconds (u64; `u64::MAX` for what it has of its own) | | `RECORDS` with one, when nothing of it is left |
//! | `SEND` | `SEND` | name (str) | what is given | `DONE` |
//! | `ASKED` | `SEND` | milliseconds (u64) | | `NAME`, or `NOT_YET` |
//! | `ATTENUATE` | | rights (u32), no more than one has | | `CAPABILITY` |
//! | `STATE` | session | | | `STATE_IS` |
//! | `KEEPER` | `SPAWN`, session | token (16 bytes), name (str) | the keeper's end of its first connection | `SPAWNED`, with a capability |
//! | `STOP` | session | | | `DONE`; then everything ends |
//!
//! Any of them may be answered with `ERROR` instead. One of [`error::MALFORMED`] or [`error::VERSION`] has the number 0, whatever was asked, and nothing
//! comes after it.
//!
//! Safety idea: what a connection may do is decided before a request's body is looked at.

use beget_monitor::fields::{Reader, Writer};

/// The versions of this protocol that this code speaks: the lowest and the highest.
pub const VERSIONS: [u32; 2] = [1, 1];
/// The longest name of a domain, in bytes: letters, digits, `-`, `_`, `.`, and not only digits.
pub const LONGEST_NAME: usize = 64;

/// What a packet is.
pub mod kind {
    #![allow(missing_docs, reason = "the table above says each one")]
    pub const HELLO: u16 = 1;
    pub const SPAWN: u16 = 2;
    pub const LIST: u16 = 3;
    pub const OPEN: u16 = 4;
    pub const STATUS: u16 = 5;
    pub const WAIT: u16 = 6;
    pub const SIGNAL: u16 = 7;
    pub const KILL: u16 = 8;
    pub const SEND: u16 = 9;
    pub const ASKED: u16 = 10;
    pub const ATTENUATE: u16 = 11;
    pub const HISTORY: u16 = 12;
    pub const HOLDINGS: u16 = 13;
    pub const STOP: u16 = 14;
    pub const STATE: u16 = 15;
    pub const KEEPER: u16 = 16;

    /// Why a request was not done: code (u32, [`super::error`]), errno (u32, or 0), words (str).
    pub const ERROR: u16 = 100;
    /// Version (u32), rights (u32), subject (u32: [`super::subject`]), domain (u64, or 0), epoch of the service (u64).
    pub const WELCOME: u16 = 101;
    /// Operation and errno of a nursery's plan that failed, and which: 1 for that of `planned`, 2 for that of `spawner` (u32 each, errno 0 for none), count (u32), then of each: domain (u64), name (str), process number, operation,
    /// errno, 1 if a capability comes with it (u32 each).
    pub const SPAWNED: u16 = 102;
    /// Count (u32), then as many [`super::Record`]s.
    pub const RECORDS: u16 = 103;
    /// Domain (u64), rights (u32), with the connection.
    pub const CAPABILITY: u16 = 104;
    /// Nothing.
    pub const DONE: u16 = 105;
    /// What it holds and what enforces that, as its creator said it (bytes: JSON).
    pub const HOLDING: u16 = 106;
    /// It has not come within the time.
    pub const NOT_YET: u16 = 107;
    /// What the domain asks for (str).
    pub const NAME: u16 = 108;
    /// [`super::State`].
    pub const STATE_IS: u16 = 109;
    /// Unasked: epoch (u64) of a service that was started again.
    pub const AGAIN: u16 = 120;
}

/// What a connection lets its holder do.
pub mod right {
    /// See a domain's status and what it holds.
    pub const LOOK: u32 = 1;
    /// Wait for its end, and learn how it ended.
    pub const WAIT: u32 = 2;
    /// Signal it and end it.
    pub const SIGNAL: u32 = 4;
    /// Give it descriptors, and learn what it asks for.
    pub const SEND: u32 = 8;
    /// Create domains.
    pub const SPAWN: u32 = 16;
    /// All that one can have of one domain.
    pub const DOMAIN: u32 = LOOK | WAIT | SIGNAL | SEND;
}

/// What a connection is a right to.
pub mod subject {
    /// Everything of one user: made by connecting to the service's socket.
    pub const SESSION: u32 = 1;
    /// One domain.
    pub const DOMAIN: u32 = 2;
    /// Creation, with the confinement of the domain that holds it.
    pub const SPAWNER: u32 = 3;
}

/// Why a request was not done.
pub mod error {
    /// No version in common.
    pub const VERSION: u32 = 1;
    /// The request is none; the connection is closed.
    pub const MALFORMED: u32 = 2;
    /// This connection is no right to that.
    pub const NO_RIGHT: u32 = 3;
    /// No domain has this name.
    pub const NO_SUCH: u32 = 4;
    /// A living domain has this name.
    pub const NAME_TAKEN: u32 = 5;
    /// It has ended, or is being ended: nothing more can be given to it or asked of it.
    pub const ENDED: u32 = 6;
    /// It does not read what it was sent.
    pub const FULL: u32 = 7;
    /// As many as there may be, of the words' kind.
    pub const LIMIT: u32 = 8;
    /// The monitor was killed or refuses; nothing was made.
    pub const MONITOR: u32 = 9;
    /// The kernel refused.
    pub const KERNEL: u32 = 10;
    /// The one who asks may not be served: another user, or one who is more confined than the service.
    pub const CLIENT: u32 = 11;
}

/// What a [`Record`] says of why a domain ended, where others decide by it what to do.
pub mod report {
    /// Somebody who had the right asked for it.
    pub const KILLED: &str = "it was killed on request";
}

/// What is wanted of a domain that is to be made.
pub mod wanted {
    /// It cannot create processes: it needs no nursery of its own.
    pub const ALONE: u32 = 1;
    /// The holder's end of its channel is the first of its own descriptors.
    pub const CHANNEL: u32 = 2;
    /// It is ended when no capability to it that came of this request is held any more.
    pub const TIED: u32 = 4;
    /// A capability is to be sent back.
    pub const CAPABILITY: u32 = 8;
    /// It is in a private root, out of which an open directory would lead: it is given none.
    pub const ROOT: u32 = 16;
    /// It is the keeper of a factory: the service wrote its birth. Nobody can ask for that but with [`kind::KEEPER`](super::kind::KEEPER).
    pub const KEEPER: u32 = 32;
}

/// Domains that are to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spawn {
    /// By which the service knows a request that it has carried out already: random. One that was never tried, because a service or a monitor was
    /// killed before, is tried when it is asked again.
    pub token: [u8; 16],
    /// All or nothing: each plan stops at its exec, and all are continued when all are there. For one domain, or for such as are all [`wanted::ALONE`].
    pub atomic: bool,
    /// The first item of the batch makes the nursery for the one domain there is ([`beget_monitor::protocol::place::PLANNED`]).
    pub planned: bool,
    /// The first item of the batch makes the nursery, in that of the domain, that the domain's `spawn` capability leads to, whose other end is the first of the domain's own descriptors
    /// after that of its channel. After the nursery of `planned`, where there are both.
    pub spawner: bool,
    /// What is wanted, one for each of the plans that follow.
    pub domains: Vec<Wanted>,
    /// The items, as a nursery takes them, without labels; indices count from the first descriptor after the domains' own.
    pub batch: Vec<u8>,
}

/// One domain that is to be made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    /// Its name; an empty one lets the service choose.
    pub name: String,
    /// What it runs, for whoever looks.
    pub program: String,
    /// What it holds, in a word each.
    pub capabilities: Vec<String>,
    /// What it holds and what enforces that (JSON), for whoever looks closer.
    pub holdings: Vec<u8>,
    /// [`wanted`].
    pub flags: u32,
    /// After so many milliseconds it is ended; 0 for never.
    pub timeout: u64,
    /// How long it may take to end when it is asked to, in milliseconds.
    pub grace: u64,
    /// Names of its cgroups, which are ended and removed when it has ended. For each, one of its own descriptors is the folder that it lies in.
    pub groups: Vec<String>,
    /// How many of the request's descriptors are its own: its channel's end, its spawner's end, the folders of its cgroups, then files to be held for its life.
    pub own: u32,
}

fn strings(writer: &mut Writer, strings: &[String]) {
    writer.u32(strings.len() as u32);
    for string in strings {
        writer.str(string);
    }
}

fn read_strings(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let count = reader.u32()?;
    (0..count).map(|_| reader.str().map(str::to_owned)).collect()
}

impl Spawn {
    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        let flags = u32::from(self.atomic) | u32::from(self.planned) << 1 | u32::from(self.spawner) << 2;
        writer.raw(&self.token).u32(flags).u32(self.domains.len() as u32);
        for domain in &self.domains {
            writer.str(&domain.name).str(&domain.program);
            strings(&mut writer, &domain.capabilities);
            writer.bytes(&domain.holdings).u32(domain.flags);
            writer.u64(domain.timeout).u64(domain.grace);
            strings(&mut writer, &domain.groups);
            writer.u32(domain.own);
        }
        writer.raw(&self.batch);
        writer.into_body()
    }

    /// What was sent; `None` when it is none.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Spawn> {
        let mut reader = Reader::new(body);
        let token = reader.raw(16)?.try_into().ok()?;
        let flags = reader.u32()?;
        let count = reader.u32()?;
        let domain = |reader: &mut Reader<'_>| {
            Some(Wanted {
                name: reader.str()?.to_owned(),
                program: reader.str()?.to_owned(),
                capabilities: read_strings(reader)?,
                holdings: reader.bytes()?.to_owned(),
                flags: reader.u32()?,
                timeout: reader.u64()?,
                grace: reader.u64()?,
                groups: read_strings(reader)?,
                own: reader.u32()?,
            })
        };
        let domains: Option<Vec<Wanted>> = (0..count).map(|_| domain(&mut reader)).collect();
        let [atomic, planned, spawner] = [1, 2, 4].map(|bit| flags & bit != 0);
        let batch = reader.rest().to_owned();
        (flags < 8).then_some(Spawn { token, atomic, planned, spawner, domains: domains?, batch })
    }
}

/// How a domain is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Life {
    /// Its birth is not over.
    #[default]
    Embryo,
    /// It runs.
    Running,
    /// It ended by itself, with this code.
    Exited(u32),
    /// This signal ended it.
    Killed(u32),
    /// It is gone, and how it ended nobody knows: its nursery was killed, and the kernel keeps no note.
    Lost,
}

/// What the service knows of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Its number among domains, never given twice.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// What it runs.
    pub program: String,
    /// How it is.
    pub life: Life,
    /// The number of its process.
    pub pid: u32,
    /// The domain that created it, or 0.
    pub parent: u64,
    /// Whose it is.
    pub user: u32,
    /// When it was started, in milliseconds since 1970.
    pub started: u64,
    /// When it ended, or 0.
    pub ended: u64,
    /// Largest resident size, in bytes.
    pub memory_peak: u64,
    /// Resident size now, in bytes; 0 when it has ended.
    pub memory: u64,
    /// Processor time in its own code, in microseconds.
    pub user_time: u64,
    /// Processor time in the kernel, in microseconds.
    pub system_time: u64,
    /// What it holds, in a word each.
    pub capabilities: Vec<String>,
    /// What it asks for and was not given.
    pub asks: Vec<String>,
    /// Its report: why it ended, where that was the service's doing (a timeout, a kill, its holder's end), or empty.
    pub report: String,
    /// It is the keeper of a factory, whose birth the service wrote itself.
    pub keeper: bool,
}

impl Record {
    /// Writes it.
    pub fn write(&self, writer: &mut Writer) {
        let (life, status) = match self.life {
            Life::Embryo => (0, 0),
            Life::Running => (1, 0),
            Life::Exited(code) => (2, code),
            Life::Killed(signal) => (3, signal),
            Life::Lost => (4, 0),
        };
        writer.u64(self.id).str(&self.name).str(&self.program).u32(life).u32(status);
        writer.u32(self.pid).u64(self.parent).u32(self.user).u64(self.started).u64(self.ended);
        writer.u64(self.memory_peak).u64(self.memory).u64(self.user_time).u64(self.system_time);
        strings(writer, &self.capabilities);
        strings(writer, &self.asks);
        writer.str(&self.report).u32(u32::from(self.keeper));
    }

    /// Reads one.
    pub fn read(reader: &mut Reader<'_>) -> Option<Record> {
        Some(Record {
            id: reader.u64()?,
            name: reader.str()?.to_owned(),
            program: reader.str()?.to_owned(),
            life: match (reader.u32()?, reader.u32()?) {
                (0, _) => Life::Embryo,
                (1, _) => Life::Running,
                (2, code) => Life::Exited(code),
                (3, signal) => Life::Killed(signal),
                (4, _) => Life::Lost,
                _ => return None,
            },
            pid: reader.u32()?,
            parent: reader.u64()?,
            user: reader.u32()?,
            started: reader.u64()?,
            ended: reader.u64()?,
            memory_peak: reader.u64()?,
            memory: reader.u64()?,
            user_time: reader.u64()?,
            system_time: reader.u64()?,
            capabilities: read_strings(reader)?,
            asks: read_strings(reader)?,
            report: reader.str()?.to_owned(),
            keeper: match reader.u32()? {
                0 => false,
                1 => true,
                _ => return None,
            },
        })
    }

    /// Whether it has ended.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        !matches!(self.life, Life::Embryo | Life::Running)
    }
}

/// What the service says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The process service's own process.
    pub service: u32,
    /// The monitor's, or 0 while there is none.
    pub monitor: u32,
    /// [`beget_monitor::protocol::policy`].
    pub policy: u32,
    /// Domains that live.
    pub living: u32,
    /// Domains that have ended and are remembered.
    pub remembered: u32,
    /// Connections that are held.
    pub connections: u32,
    /// When the service was started, in milliseconds since 1970.
    pub started: u64,
    /// Resident size of the service, in bytes.
    pub service_memory: u64,
    /// And of the monitor.
    pub monitor_memory: u64,
}

impl State {
    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        for number in
            [self.service, self.monitor, self.policy, self.living, self.remembered, self.connections]
        {
            writer.u32(number);
        }
        writer.u64(self.started).u64(self.service_memory).u64(self.monitor_memory);
        writer.into_body()
    }

    /// What was sent.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<State> {
        let mut reader = Reader::new(body);
        let state = State {
            service: reader.u32()?,
            monitor: reader.u32()?,
            policy: reader.u32()?,
            living: reader.u32()?,
            remembered: reader.u32()?,
            connections: reader.u32()?,
            started: reader.u64()?,
            service_memory: reader.u64()?,
            monitor_memory: reader.u64()?,
        };
        reader.ends()?;
        Some(state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spawn_is_read_as_it_was_written() {
        let domain = Wanted {
            name: "web".to_owned(),
            program: "/bin/true".to_owned(),
            capabilities: vec!["stdin".to_owned()],
            holdings: vec![1, 2],
            flags: wanted::ALONE,
            timeout: 5,
            grace: 6,
            groups: vec!["g".to_owned()],
            own: 1,
        };
        let domains = vec![domain.clone(), domain];
        let spawn = Spawn {
            token: [7; 16],
            atomic: true,
            planned: false,
            spawner: true,
            domains,
            batch: vec![9; 30],
        };
        assert_eq!(Spawn::decode(&spawn.encode()), Some(spawn.clone()));
        let body = spawn.encode();
        for length in 0..body.len() - 30 {
            assert_eq!(Spawn::decode(&body[..length]), None);
        }
    }

    #[test]
    fn a_record_is_read_as_it_was_written() {
        for life in [Life::Embryo, Life::Running, Life::Exited(3), Life::Killed(9), Life::Lost] {
            let record = Record {
                id: 1,
                life,
                asks: vec!["a".to_owned()],
                report: "r".to_owned(),
                ..Record::default()
            };
            let mut writer = Writer::new();
            record.write(&mut writer);
            assert_eq!(Record::read(&mut Reader::new(writer.body())), Some(record));
        }
        let state = State { service: 1, monitor_memory: 5, ..State::default() };
        assert_eq!(State::decode(&state.encode()), Some(state));
    }
}
