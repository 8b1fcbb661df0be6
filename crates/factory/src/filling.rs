//! Filling a factory's pool, and learning what its products will need, beside the requests.
//!
//! Safety idea: the thread holds the factory only while it does something for it, so the last who lets go of that ends it. A product that is
//! learned from is given nothing of a requestor's, and is run only where nobody can see that it ran.

use std::sync::{Arc, PoisonError, Weak};
use std::time::Duration;

use beget::Variation;

use crate::Result;
use crate::adapter::Exchange;
use crate::factory::{Inner, PATIENCE};
use crate::live::{Live, Rehearsal};
use crate::pool::{Errand, Waiting};
use crate::request::pairs;

/// Fills the pool of a factory as long as somebody holds that.
pub(crate) fn keep_pool(factory: &Weak<Inner>) {
    let (mut filling, mut idled) = (true, false);
    loop {
        // Not held while it waits: the last who holds it is to end it.
        let Some((pool, options, size)) = factory.upgrade().map(|inner| {
            let size = inner.pool_size();
            (Arc::clone(&inner.pool), inner.options.pool, size)
        }) else {
            return;
        };
        match pool.next(&options, size, filling, idled) {
            Errand::End => return,
            Errand::Fill(missing) => {
                (filling, idled) = (true, false);
                let Some(inner) = factory.upgrade() else { return };
                Inner::learn(&inner);
                // Where products are asked for all the time there is no other moment for this.
                inner.look_after();
                let pause = Duration::from_secs(1) / options.refill_rate.max(1);
                match inner.bear_waiting() {
                    Ok(()) if missing == 1 => filling = false,
                    Ok(()) => {
                        drop(inner);
                        if pause > Duration::from_micros(200) {
                            std::thread::sleep(pause);
                        }
                    }
                    Err(_) => {
                        drop(inner);
                        std::thread::sleep(PATIENCE[0]);
                    }
                }
            }
            Errand::Idle => {
                idled = true;
                let Some(inner) = factory.upgrade() else { return };
                drop(inner.pool.take_ended());
                inner.read_ahead();
            }
            Errand::Look => {
                let Some(inner) = factory.upgrade() else { return };
                filling = false;
                inner.look_after();
                drop(inner.pool.take_ended());
            }
        }
    }
}

impl Inner {
    /// How many products may wait: fewer where each has much memory of its own.
    fn pool_size(&self) -> usize {
        let options = &self.options.pool;
        let warm = self.warm.read().unwrap_or_else(PoisonError::into_inner);
        let each = warm.as_ref().map_or(0, |live| live.waiting_memory()).max(1);
        options.size.min(usize::try_from(options.memory / each).unwrap_or(usize::MAX))
    }

    /// Whether nobody can see that a product ran: it looks at names and attributes at most, and marks files.
    fn is_unseen(&self) -> bool {
        self.inventory.answer().holes.iter().all(|hole| matches!(hole.identity.kind(), "metadata" | "marks"))
    }

    /// What a copy of `live` is given to be learned from: the sealed command's own variables, and no arguments more.
    fn rehearsal(&self, live: &Live) -> Result<Rehearsal> {
        let input = self.options.rehearsal.clone();
        let Some(adapter) = &self.adapter else { return Ok(Rehearsal { input, job: None }) };
        let provision = self.sealed.provide(&live.template, &Variation::new())?;
        let job = Exchange::begin(adapter.name(), &adapter.job(&[], &pairs(&provision))?)?;
        Ok(Rehearsal { input, job: Some(job) })
    }

    /// Has the template that serves learn what its copies write to: by one that runs and that nobody sees. Beside everything else, for whether nobody
    /// sees it is known only when granted folders were looked through. What waits already is told when it is known.
    fn learn(factory: &Arc<Inner>) {
        let Some(live) = factory.serving().filter(|live| live.is_to_learn()) else { return };
        let inner = Arc::clone(factory);
        let learn = move || {
            live.learn(inner.is_unseen().then(|| inner.rehearsal(&live)).and_then(Result::ok));
            inner.pool.each(|one| one.live.write_ahead(&mut one.product));
        };
        // Without a thread products wait without it.
        let _ = std::thread::Builder::new().name("beget-learning".to_owned()).spawn(learn);
    }

    fn bear_waiting(&self) -> Result<()> {
        let live = self.live()?;
        let product = live.product().inspect_err(|_| self.lost_if_ended(&live))?;
        drop(self.pool.put(Waiting { product, live }));
        Ok(())
    }

    /// Has what waits read what products before have read.
    fn read_ahead(&self) {
        self.pool.each(|one| one.live.read_ahead(&mut one.product));
    }
}
