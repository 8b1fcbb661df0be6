//! What happens to domains, as it lies in the journal.
//!
//! Safety idea: everything that the service knows of domains, it knows by these; so what it knows after it was killed and started again is
//! what it knew before.

use beget_monitor::fields::{Reader, Writer};

use crate::protocol::{Life, Wanted};

/// The intent of a domain's birth: written before the monitor is asked for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Intent {
    /// Its number.
    pub(crate) id: u64,
    /// Its name, chosen.
    pub(crate) name: String,
    /// What its creator said of it; its name is that which was asked for.
    pub(crate) wanted: Wanted,
    /// Whose it is.
    pub(crate) user: u32,
    /// The domain that created it, or 0.
    pub(crate) parent: u64,
    /// The number of the nursery that is its own, or 0.
    pub(crate) nursery: u64,
    /// The number of the nursery that its `spawn` capability leads to, or 0.
    pub(crate) spawner: u64,
    /// The request that asked for it.
    pub(crate) token: [u8; 16],
    /// When, in milliseconds since 1970.
    pub(crate) at: u64,
}

/// How a domain ended, and what it used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct End {
    /// How.
    pub(crate) life: Life,
    /// When, in milliseconds since 1970.
    pub(crate) at: u64,
    /// Largest resident size, in bytes.
    pub(crate) memory_peak: u64,
    /// In microseconds.
    pub(crate) user_time: u64,
    /// In microseconds.
    pub(crate) system_time: u64,
}

/// Something that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// No number below this one will be given any more but those that were given.
    Reserved(u64),
    /// Another monitor than before: its epoch, and its policy.
    Monitor(u64, u32),
    /// A domain is to be born.
    Intent(Box<Intent>),
    /// It was born, with this process number.
    Born(u64, u32),
    /// When its process was started, in the kernel's ticks: by which its number is known to be its own.
    Noted(u64, u64),
    /// It was not: the operation that failed and the errno; whose plan that was: 0 its own, 1 and 2 of a nursery ([`Spawn::planned`] and `spawner`).
    ///
    /// [`Spawn::planned`]: crate::protocol::Spawn::planned
    Unborn(u64, u32, u32, u32),
    /// It is being ended: how long it may take, in milliseconds, and why.
    Killing(u64, u64, String),
    /// It asks for a capability.
    Asked(u64, String),
    /// A holder was told so: which request asked for it.
    Told(u64, String, u64),
    /// It was given one.
    Given(u64, String),
    /// Its process has ended.
    Ended(u64, End),
    /// Nothing is left of it.
    Clean(u64),
    /// Nobody will ask for it any more.
    Forgotten(u64),
}

fn write_wanted(writer: &mut Writer, wanted: &Wanted) {
    writer.str(&wanted.program).u32(wanted.capabilities.len() as u32);
    for capability in &wanted.capabilities {
        writer.str(capability);
    }
    writer.bytes(&wanted.holdings).u32(wanted.flags).u64(wanted.timeout).u64(wanted.grace);
    writer.u32(wanted.groups.len() as u32);
    for group in &wanted.groups {
        writer.str(group);
    }
}

fn strings(reader: &mut Reader<'_>) -> Option<Vec<String>> {
    let count = reader.u32()?;
    (0..count).map(|_| reader.str().map(str::to_owned)).collect()
}

impl Intent {
    fn write(&self, writer: &mut Writer) {
        writer.u64(self.id).str(&self.name);
        write_wanted(writer, &self.wanted);
        writer
            .u32(self.user)
            .u64(self.parent)
            .u64(self.nursery)
            .u64(self.spawner)
            .raw(&self.token)
            .u64(self.at);
    }

    fn read(reader: &mut Reader<'_>) -> Option<Intent> {
        let (id, name) = (reader.u64()?, reader.str()?.to_owned());
        let wanted = Wanted {
            name: name.clone(),
            program: reader.str()?.to_owned(),
            capabilities: strings(reader)?,
            holdings: reader.bytes()?.to_owned(),
            flags: reader.u32()?,
            timeout: reader.u64()?,
            grace: reader.u64()?,
            groups: strings(reader)?,
            own: 0,
        };
        Some(Intent {
            id,
            name,
            wanted,
            user: reader.u32()?,
            parent: reader.u64()?,
            nursery: reader.u64()?,
            spawner: reader.u64()?,
            token: reader.raw(16)?.try_into().ok()?,
            at: reader.u64()?,
        })
    }
}

impl Event {
    /// As it lies in the journal.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        match self {
            Event::Reserved(below) => writer.u32(1).u64(*below),
            Event::Monitor(epoch, policy) => writer.u32(2).u64(*epoch).u32(*policy),
            Event::Intent(intent) => {
                writer.u32(3);
                intent.write(&mut writer);
                &mut writer
            }
            Event::Born(id, number) => writer.u32(4).u64(*id).u32(*number),
            Event::Noted(id, start) => writer.u32(5).u64(*id).u64(*start),
            Event::Unborn(id, op, errno, nursery) => {
                writer.u32(6).u64(*id).u32(*op).u32(*errno).u32(*nursery)
            }
            Event::Killing(id, grace, why) => writer.u32(7).u64(*id).u64(*grace).str(why),
            Event::Asked(id, name) => writer.u32(8).u64(*id).str(name),
            Event::Given(id, name) => writer.u32(9).u64(*id).str(name),
            Event::Told(id, name, request) => writer.u32(13).u64(*id).str(name).u64(*request),
            Event::Ended(id, end) => {
                let (how, status) = match end.life {
                    Life::Embryo | Life::Running | Life::Lost => (0, 0),
                    Life::Exited(code) => (1, code),
                    Life::Killed(signal) => (2, signal),
                };
                writer.u32(10).u64(*id).u32(how).u32(status).u64(end.at);
                writer.u64(end.memory_peak).u64(end.user_time).u64(end.system_time)
            }
            Event::Clean(id) => writer.u32(11).u64(*id),
            Event::Forgotten(id) => writer.u32(12).u64(*id),
        };
        writer.into_body()
    }

    /// What lies in the journal; `None` when it is no event.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Event> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u32()?;
        let id = if kind == 3 { 0 } else { reader.u64()? };
        let event = match kind {
            1 => Event::Reserved(id),
            2 => Event::Monitor(id, reader.u32()?),
            3 => Event::Intent(Box::new(Intent::read(&mut reader)?)),
            4 => Event::Born(id, reader.u32()?),
            5 => Event::Noted(id, reader.u64()?),
            6 => Event::Unborn(id, reader.u32()?, reader.u32()?, reader.u32()?),
            7 => Event::Killing(id, reader.u64()?, reader.str()?.to_owned()),
            8 => Event::Asked(id, reader.str()?.to_owned()),
            9 => Event::Given(id, reader.str()?.to_owned()),
            10 => {
                let life = match (reader.u32()?, reader.u32()?) {
                    (1, code) => Life::Exited(code),
                    (2, signal) => Life::Killed(signal),
                    _ => Life::Lost,
                };
                let end = End {
                    life,
                    at: reader.u64()?,
                    memory_peak: reader.u64()?,
                    user_time: reader.u64()?,
                    system_time: reader.u64()?,
                };
                Event::Ended(id, end)
            }
            11 => Event::Clean(id),
            12 => Event::Forgotten(id),
            13 => Event::Told(id, reader.str()?.to_owned(), reader.u64()?),
            _ => return None,
        };
        reader.ends()?;
        Some(event)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let wanted = Wanted {
            name: "web".to_owned(),
            program: "/bin/true".to_owned(),
            capabilities: vec!["a".to_owned()],
            holdings: vec![1, 2, 3],
            flags: 15,
            timeout: 1,
            grace: 2,
            groups: vec!["g".to_owned()],
            own: 0,
        };
        let intent = Intent {
            id: 5,
            name: "web".to_owned(),
            wanted,
            user: 1,
            parent: 2,
            nursery: 3,
            spawner: 4,
            token: [9; 16],
            at: 8,
        };
        let end = |life| End { life, at: 1, memory_peak: 2, user_time: 3, system_time: 4 };
        for event in [
            Event::Reserved(1),
            Event::Monitor(1, 1),
            Event::Intent(Box::new(intent)),
            Event::Born(1, 2),
            Event::Noted(1, 2),
            Event::Unborn(1, 2, 3, 2),
            Event::Killing(1, 2, "why".to_owned()),
            Event::Asked(1, "a".to_owned()),
            Event::Told(1, "a".to_owned(), 7),
            Event::Given(1, "a".to_owned()),
            Event::Ended(1, end(Life::Exited(3))),
            Event::Ended(1, end(Life::Killed(9))),
            Event::Ended(1, end(Life::Lost)),
            Event::Clean(1),
            Event::Forgotten(1),
        ] {
            let bytes = event.encode();
            assert_eq!(Event::decode(&bytes), Some(event));
            assert_eq!(Event::decode(&bytes[..bytes.len() - 1]), None);
        }
        assert_eq!(Event::decode(&[99, 0, 0, 0]), None);
    }
}
