//! What has come of packets that are not whole: descriptors that bring nothing about, and take numbers.
//!
//! Safety idea: there are never more of them than a small part of our numbers, of one user and of all, and none is waited for for long. Where
//! there are too many, the oldest is given up, of whoever has the most: who means well finishes what he begins, and at once.

use std::time::Duration;

use super::Server;
use super::numbers::Share;
use super::timers::{Key, Timer};
use crate::protocol::error;

/// How long the rest of a packet may take to come.
const PATIENCE: Duration = Duration::from_secs(5);

/// The half of a packet.
#[derive(Debug)]
pub(crate) struct Half {
    pub(crate) timer: Key,
    user: u32,
    share: Share,
}

impl Server {
    /// Counts what a connection holds of a packet that has not come whole.
    pub(crate) fn mind_half(&mut self, key: u64) {
        let Some(connected) = self.connections.get_mut(&key) else { return };
        let Some(count) = connected.connection.unfinished() else {
            if let Some(half) = connected.half.take() {
                self.halves.remove(&half.timer);
                self.timers.cancel(Some(half.timer));
            }
            return;
        };
        let user = connected.user;
        let share = self.unfinished.share(user, count, 0);
        match &mut connected.half {
            Some(half) => half.share = share,
            None => {
                let timer = self.timers.set(PATIENCE, Timer::Half(key));
                connected.half = Some(Half { timer, user, share });
                self.halves.insert(timer, key);
            }
        }
        let most = self.most_connections / 8;
        let most_of_one = if self.options.other_users { most / 4 } else { most };
        while self.unfinished.of(user).0 > most_of_one && self.give_up_oldest(|half| half.user == user) {}
        while self.unfinished.all().0 > most && self.give_up_oldest(|_| true) {}
    }

    /// Gives up the oldest of these; whether there was one.
    fn give_up_oldest(&mut self, which: impl Fn(&Half) -> bool) -> bool {
        let is_one = |key: &u64| {
            self.connections.get(key).and_then(|connected| connected.half.as_ref()).is_some_and(&which)
        };
        let Some(key) = self.halves.values().copied().find(is_one) else { return false };
        self.give_up(key, error::LIMIT, "descriptors of too many packets that are not whole are held");
        true
    }

    /// The rest of a packet has not come.
    pub(crate) fn half_is_late(&mut self, key: u64) {
        self.give_up(key, error::MALFORMED, "the rest of a packet has not come");
    }

    fn give_up(&mut self, key: u64, code: u32, words: &str) {
        let Some(connected) = self.connections.get_mut(&key) else { return };
        // Now, and not when the connection is closed: others are heard before.
        connected.connection.abandon();
        if let Some(half) = connected.half.take() {
            self.halves.remove(&half.timer);
            self.timers.cancel(Some(half.timer));
            self.part(key, code, 0, words);
        }
    }
}
