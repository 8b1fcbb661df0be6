//! Requests, read from what comes over a connection.
//!
//! Safety idea: a body is read to its last byte or is none, and with it no more descriptors come than its kind takes.

use beget_monitor::fields::Reader;

use crate::protocol::kind;

/// What is asked, with its numbers and names: of [`kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// The lowest and the highest version that is known.
    Hello(u32, u32),
    /// Its body is a [`Spawn`](crate::protocol::Spawn).
    Spawn,
    /// What lives.
    List,
    /// So many of those that ended last.
    History(u32),
    /// How the service is.
    State,
    /// The end of everything.
    Stop,
    /// A capability to the domain of this name.
    Open(&'a str),
    /// How a domain is.
    Status,
    /// What it holds.
    Holdings,
    /// Its end, for so many milliseconds.
    Wait(u64),
    /// A signal.
    Signal(u32),
    /// Its end, with so many milliseconds of grace.
    Kill(u64),
    /// A descriptor of this name is given.
    Send(&'a str),
    /// What it asks for, for so many milliseconds.
    Asked(u64),
    /// A connection with these rights.
    Attenuate(u32),
    /// A keeper of a factory: its body is told apart where it is made.
    Keeper,
}

impl Request<'_> {
    /// Reads the body of a request that brought so many descriptors; `None` when it is none.
    #[must_use]
    pub fn read(kind: u16, body: &[u8], descriptors: usize) -> Option<Request<'_>> {
        match kind {
            kind::SPAWN => return Some(Request::Spawn),
            kind::KEEPER => return Some(Request::Keeper),
            _ => {}
        }
        if descriptors != usize::from(kind == kind::SEND) {
            return None;
        }
        let mut reader = Reader::new(body);
        let request = match kind {
            kind::HELLO => Request::Hello(reader.u32()?, reader.u32()?),
            kind::LIST => Request::List,
            kind::HISTORY => Request::History(reader.u32()?),
            kind::STATE => Request::State,
            kind::STOP => Request::Stop,
            kind::OPEN => Request::Open(reader.str()?),
            kind::STATUS => Request::Status,
            kind::HOLDINGS => Request::Holdings,
            kind::WAIT => Request::Wait(reader.u64()?),
            kind::SIGNAL => Request::Signal(reader.u32()?),
            kind::KILL => Request::Kill(reader.u64()?),
            kind::SEND => Request::Send(reader.str()?),
            kind::ASKED => Request::Asked(reader.u64()?),
            kind::ATTENUATE => Request::Attenuate(reader.u32()?),
            _ => return None,
        };
        reader.ends()?;
        Some(request)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Spawn;
    use beget_monitor::fields::Writer;
    use proptest::prelude::*;

    #[test]
    fn a_body_is_read_to_its_end_or_is_none() {
        let mut body = Writer::new();
        body.u64(5);
        assert_eq!(Request::read(kind::WAIT, body.body(), 0), Some(Request::Wait(5)));
        assert_eq!(Request::read(kind::WAIT, &body.body()[1..], 0), None);
        assert_eq!(Request::read(kind::WAIT, body.body(), 1), None);
        assert_eq!(Request::read(kind::STATUS, body.body(), 0), None);
        assert_eq!(Request::read(kind::STATUS, &[], 0), Some(Request::Status));
        assert_eq!(Request::read(99, &[], 0), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_request_or_none(kind in 0u16..20, body: Vec<u8>, descriptors in 0usize..3) {
            let _ = Request::read(kind, &body, descriptors);
            if let Some(spawn) = Spawn::decode(&body) {
                assert_eq!(spawn.encode(), body);
            }
        }
    }
}
