//! Long lists, a piece a turn.
//!
//! Safety idea: who asks for ten thousand records waits for them himself; everybody else is served between the pieces.

use beget_monitor::fields::Writer;

use super::connections::Doing;
use super::{Server, look};
use crate::protocol::{Life, kind};

/// How many records are written in one turn.
const AT_ONCE: usize = 32;

/// A list that is being written.
#[derive(Debug)]
pub(crate) struct Listing {
    key: u64,
    request: u64,
    left: std::vec::IntoIter<u64>,
    count: u32,
    records: Writer,
}

impl Server {
    /// Begins a list of what lives, or of the last that have ended, for a session.
    pub(crate) fn list(&mut self, key: u64, history: Option<usize>) {
        let Some(connected) = self.connections.get(&key) else { return };
        let (user, request) = (connected.user, connected.request);
        let ids: Vec<u64> = match history {
            Some(most) => self.register.history(user).take(most).collect(),
            None => {
                let mut ids: Vec<u64> = self.register.living().collect();
                ids.sort_unstable();
                ids
            }
        };
        self.work(key, None);
        let left = ids.into_iter();
        self.listings.push_back(Listing { key, request, left, count: 0, records: Writer::new() });
    }

    /// Goes on with the list that has waited for the longest.
    pub(crate) fn list_on(&mut self) {
        let Some(mut listing) = self.listings.pop_front() else { return };
        let Some(connected) = self.connections.get(&listing.key) else { return };
        if connected.request != listing.request || !matches!(connected.doing, Doing::Work(_)) {
            return;
        }
        let user = connected.user;
        for id in listing.left.by_ref().take(AT_ONCE) {
            let Some(domain) = self.register.get(id).filter(|domain| domain.intent.user == user) else {
                continue;
            };
            let mut record = domain.record();
            if record.life == Life::Running {
                look::now(domain.pid, domain.start).put_into(&mut record);
            }
            record.write(&mut listing.records);
            listing.count += 1;
        }
        if listing.left.len() > 0 {
            return self.listings.push_back(listing);
        }
        let mut body = Writer::new();
        body.u32(listing.count).raw(listing.records.body());
        self.answer(listing.key, kind::RECORDS, body.body(), Vec::new());
    }
}
