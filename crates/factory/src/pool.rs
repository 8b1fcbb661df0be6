//! Products that are born ahead, and the thread that fills the pool again.
//!
//! Safety idea: what waits here is nobody's yet: it has run nothing of its program since it was copied, and holds nothing that a requestor
//! gave. One that was killed meanwhile is found out before anything is lost.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use beget::Product;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::live::Live;
use crate::options;

/// A product that waits, and the template that it is a copy of.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) product: Product,
    pub(crate) live: Arc<Live>,
}

#[derive(Debug, Default)]
struct Shelf {
    waiting: VecDeque<Waiting>,
    closed: bool,
    /// When somebody last asked for one.
    asked: Option<Instant>,
    /// Whoever fills it waits for a moment when nobody asks.
    defers: bool,
}

impl Shelf {
    /// Whether there are enough for those who ask next.
    fn has_plenty(&self, low_water: usize) -> bool {
        self.waiting.len() * 2 > low_water
    }
}

/// The products that wait.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    shelf: Mutex<Shelf>,
    changed: Condvar,
}

/// What is to be done next for a pool.
pub(crate) enum Errand {
    /// So many are to be born.
    Fill(usize),
    /// Nothing was asked for in a while.
    Idle,
    /// Nothing; but it is time to look whether all is well.
    Look,
    /// The factory is gone.
    End,
}

impl Pool {
    fn lock(&self) -> MutexGuard<'_, Shelf> {
        self.shelf.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one that was born last, whose memory is nearest.
    pub(crate) fn take(&self, low_water: usize) -> Option<Waiting> {
        let mut shelf = self.lock();
        shelf.asked = Some(Instant::now());
        let one = shelf.waiting.pop_back();
        if shelf.waiting.len() < low_water && !(shelf.defers && shelf.has_plenty(low_water)) {
            self.changed.notify_one();
        }
        one
    }

    /// Puts one there; gives it back when the factory is gone.
    pub(crate) fn put(&self, one: Waiting) -> Option<Waiting> {
        let mut shelf = self.lock();
        if shelf.closed {
            return Some(one);
        }
        shelf.waiting.push_back(one);
        None
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Has something done to each that waits, one after the other; a request takes another meanwhile.
    pub(crate) fn each(&self, mut what: impl FnMut(&mut Waiting)) {
        for _ in 0..self.len() {
            let Some(mut one) = self.lock().waiting.pop_front() else { return };
            what(&mut one);
            let mut shelf = self.lock();
            if shelf.closed {
                return;
            }
            shelf.waiting.push_back(one);
        }
    }

    /// Takes those whose process has ended, to be dropped by the caller: they wait for nobody.
    pub(crate) fn take_ended(&self) -> Vec<Waiting> {
        let mut shelf = self.lock();
        let ended: Vec<bool> = {
            // Nobody speaks to one that waits: whatever there is to be read is its end.
            let mut watched: Vec<PollFd<'_>> =
                shelf.waiting.iter().map(|one| PollFd::new(&one.product, PollFlags::IN)).collect();
            match poll(&mut watched, Some(&Timespec::default())) {
                Ok(1..) => watched.iter().map(|one| !one.revents().is_empty()).collect(),
                _ => return Vec::new(),
            }
        };
        let all = std::mem::take(&mut shelf.waiting).into_iter().zip(ended);
        let (ended, kept): (Vec<_>, Vec<_>) = all.partition(|(_, ended)| *ended);
        shelf.waiting = kept.into_iter().map(|(one, _)| one).collect();
        ended.into_iter().map(|(one, _)| one).collect()
    }

    /// Takes all that are copies of another template than `live`, to be dropped by the caller.
    pub(crate) fn take_old(&self, live: &Arc<Live>) -> Vec<Waiting> {
        let mut shelf = self.lock();
        let (kept, old) =
            std::mem::take(&mut shelf.waiting).into_iter().partition(|one| Arc::ptr_eq(&one.live, live));
        shelf.waiting = kept;
        old.into()
    }

    /// Ends it; what waited is given to be dropped.
    pub(crate) fn close(&self) -> VecDeque<Waiting> {
        let mut shelf = self.lock();
        shelf.closed = true;
        self.changed.notify_all();
        std::mem::take(&mut shelf.waiting)
    }

    /// Wakes whoever waits for something to do.
    pub(crate) fn nudge(&self) {
        self.changed.notify_all();
    }

    /// Waits for something to do. Births take processors from whoever has just been given a product: as long as there are plenty, they wait until
    /// nobody has asked for a moment.
    pub(crate) fn next(&self, options: &options::Pool, size: usize, filling: bool, idled: bool) -> Errand {
        const LOOK: Duration = Duration::from_secs(1);
        const MOMENT: Duration = Duration::from_millis(2);
        let low = options.low_water.min(size).max(usize::from(size > 0));
        let wanting = |shelf: &Shelf| {
            let wanted = if filling { size } else { low };
            !shelf.closed && shelf.waiting.len() >= wanted
        };
        let time = options.idle.map_or(LOOK, |idle| idle.min(LOOK));
        let mut shelf = self
            .changed
            .wait_timeout_while(self.lock(), time, |shelf| wanting(shelf))
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        loop {
            let left = shelf.asked.map_or(Duration::ZERO, |asked| MOMENT.saturating_sub(asked.elapsed()));
            shelf.defers =
                !shelf.closed && !wanting(&shelf) && shelf.has_plenty(options.low_water) && !left.is_zero();
            if !shelf.defers {
                break;
            }
            shelf = self.changed.wait_timeout(shelf, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if shelf.closed {
            return Errand::End;
        }
        let missing = size.saturating_sub(shelf.waiting.len());
        if !wanting(&shelf) && missing > 0 {
            return Errand::Fill(missing);
        }
        let quiet = shelf.asked.is_none_or(|asked| options.idle.is_some_and(|idle| asked.elapsed() >= idle));
        if quiet && !idled && options.idle.is_some() { Errand::Idle } else { Errand::Look }
    }
}
