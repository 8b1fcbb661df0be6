//! What is to be done at a time.
//!
//! Safety idea: whoever sets a timer holds its key and takes it away when it is of no use any more, so that there are never more than things
//! that wait; one that is late does nothing where what it was for is over.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// A timer that was set.
pub(crate) type Key = (Instant, u64);

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Timer {
    /// A domain's time is over.
    Timeout(u64),
    /// A domain was asked to end, and has not.
    Grace(u64),
    /// What is left of a domain is to be looked at again.
    Left(u64),
    /// A domain is ended if nobody holds it.
    Unheld(u64),
    /// A request on a connection has waited long enough.
    Request(u64),
    /// The rest of a packet on a connection has not come.
    Half(u64),
    /// Whatever has not ended by now is left to the monitor to end.
    Stop,
    /// There may be numbers for descriptors again.
    Accept,
    /// The monitor may be there again.
    Connect,
    /// What could not be sent, for too many descriptors are on their way, may go now.
    Send,
    /// Nothing may have happened for long enough.
    Idle,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    set: BTreeMap<Key, Timer>,
    count: u64,
}

impl Timers {
    /// Sets one.
    pub(crate) fn set(&mut self, after: Duration, timer: Timer) -> Key {
        self.count += 1;
        // A time that the clock does not reach is as good as a year.
        const YEAR: Duration = Duration::from_secs(366 * 86_400);
        let now = Instant::now();
        let key = (now + after.min(YEAR), self.count);
        self.set.insert(key, timer);
        key
    }

    /// Takes one away.
    pub(crate) fn cancel(&mut self, key: Option<Key>) {
        if let Some(key) = key {
            self.set.remove(&key);
        }
    }

    /// The next that is due.
    pub(crate) fn due(&mut self, now: Instant) -> Option<Timer> {
        let entry = self.set.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// How long until the next.
    pub(crate) fn next(&self, now: Instant) -> Option<Duration> {
        self.set.first_key_value().map(|((at, _), _)| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_come_in_order_and_not_when_taken_away() {
        let mut timers = Timers::default();
        timers.set(Duration::from_secs(20), Timer::Grace(1));
        let taken = timers.set(Duration::from_secs(5), Timer::Accept);
        timers.set(Duration::from_secs(10), Timer::Timeout(2));
        timers.set(Duration::MAX, Timer::Idle);
        timers.cancel(Some(taken));
        let now = Instant::now();
        assert_eq!(timers.due(now), None);
        assert!(timers.next(now).is_some_and(|next| next > Duration::from_secs(5)));
        let later = now + Duration::from_secs(60);
        assert_eq!(timers.due(later), Some(Timer::Timeout(2)));
        assert_eq!(timers.due(later), Some(Timer::Grace(1)));
        assert_eq!(timers.due(later), None);
    }
}
