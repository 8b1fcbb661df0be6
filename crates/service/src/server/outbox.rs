//! What is to be said to one other side, in order.
//!
//! Safety idea: nobody is waited for. What there is no room for stays here, and whoever fills it asks first how much there is.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;

use beget_monitor::packet::{Connection, Outgoing};
use beget_sys::Errno;

/// Packets that are to go.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    packets: VecDeque<(Outgoing, usize)>,
    bytes: usize,
}

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    /// All is gone.
    All,
    /// The other side has no room.
    Full,
    /// Too many descriptors of this user are on their way (`ETOOMANYREFS`): others must read first.
    Crowded,
    /// The other side is gone, or what was to be sent cannot be.
    Broken,
}

impl Outbox {
    /// Adds a packet.
    ///
    /// # Errors
    /// Those of [`Outgoing::new`].
    pub(crate) fn push(
        &mut self,
        kind: u16,
        request: u64,
        body: &[u8],
        descriptors: Vec<OwnedFd>,
    ) -> Result<(), Errno> {
        let packet = Outgoing::new(kind, request, body, descriptors)?;
        self.bytes += body.len();
        self.packets.push_back((packet, body.len()));
        Ok(())
    }

    /// Whether all is gone.
    pub(crate) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// How many bytes wait.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Sends what there is room for.
    pub(crate) fn send(&mut self, to: &Connection) -> Sent {
        while let Some((packet, bytes)) = self.packets.front_mut() {
            match packet.send(to) {
                Ok(true) => {
                    self.bytes -= *bytes;
                    self.packets.pop_front();
                }
                Ok(false) => return Sent::Full,
                Err(Errno::ETOOMANYREFS) => return Sent::Crowded,
                Err(_) => return Sent::Broken,
            }
        }
        Sent::All
    }
}
