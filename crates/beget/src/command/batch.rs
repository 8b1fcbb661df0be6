//! Many births in one message.
//!
//! Safety idea: nothing is queued here or there: the message is written as the nursery reads it, and a creator that is killed in the
//! middle takes everything with it.

use std::sync::Arc;

use beget_plan::message::MOST_GIVEN;

use super::prepare::Prepared;
use super::spawn::{Own, Pipes, delivered, request};
use super::{Command, prepare};
use crate::error::{Error, Fault, Result};
use crate::nursery::{Delivery, Nursery, Request};
use crate::process::Process;

/// Births to be asked of a nursery together: in one message, as far as one carries their descriptors.
///
/// ```
/// use beget::{Batch, Command, Grant, Nursery};
///
/// let mut command = Command::new("/bin/true");
/// command.grant(Grant::Base);
/// let mut batch = Batch::new();
/// batch.add(&mut command, 10)?;
/// for process in batch.spawn(&Nursery::shared()?)? {
///     assert!(process?.wait()?.success());
/// }
/// # Ok::<(), beget::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Batch<'c> {
    items: Vec<Item<'c>>,
    together: bool,
}

#[derive(Debug)]
struct Item<'c> {
    command: &'c Command,
    prepared: Arc<Prepared>,
    count: usize,
}

impl<'c> Batch<'c> {
    /// An empty one, whose births are independent of each other.
    #[must_use]
    pub fn new() -> Batch<'c> {
        Batch::default()
    }

    /// An empty one whose births are all or nothing: each child stops before the first instruction of its program, and they go on
    /// when all are there. When one cannot be made, none has run, and none is left.
    #[must_use]
    pub fn together() -> Batch<'c> {
        Batch { items: Vec::new(), together: true }
    }

    /// Adds `count` births of a command. What it opens is opened now, once for all of them.
    ///
    /// # Errors
    /// Those of [`Command::spawn`] that show before a birth. A command that needs an embryo of its own, for another user or a loader of
    /// its own, cannot be in a batch; nor can one that is to be suspended or have a tree or a root of its own.
    pub fn add(&mut self, command: &'c mut Command, count: usize) -> Result<()> {
        if command.needs_embryo() || command.suspended || command.own_tree || command.root.is_some() {
            let words = "a command with another user, a loader, a stop, a tree or a root of its own cannot be in a batch";
            return Err(Error::new(format!("program {}", command.program.display()), words, Fault::Caller));
        }
        prepare::check_streams(&command.streams)?;
        let prepared = command.prepare_for_batch(self.together)?;
        self.items.push(Item { command, prepared, count });
        Ok(())
    }

    /// How many births it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.items.iter().map(|item| item.count).sum()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Has them made, and gives for each, in the order in which they were added, its process or the step that failed.
    ///
    /// # Errors
    /// Those of the whole, when nothing was made: a nursery that has ended, no pipe or no number to be had. All or nothing: the births that failed are told in the list, the
    /// others as `operation canceled`; more than one message carries is an error of the whole.
    pub fn spawn(self, nursery: &Nursery) -> Result<Vec<Result<Process>>> {
        let own = Own::new();
        let mut births = Vec::with_capacity(self.len());
        for item in &self.items {
            for _ in 0..item.count {
                births.push((item, Pipes::make(&item.prepared)?));
            }
        }
        let mut deliveries: Vec<Result<Delivery>> = Vec::with_capacity(births.len());
        // A message that fails after one that was answered is the failure of its own births, and of those that come after.
        let mut deliver = |requests: &[Request<'_>]| -> Result<()> {
            let failed = match deliveries.last() {
                Some(Err(error)) => error.clone(),
                earlier => match nursery.inner.deliver(requests, self.together) {
                    Ok(made) => {
                        deliveries.extend(made.into_iter().map(Ok));
                        return Ok(());
                    }
                    Err(error) if earlier.is_none() => return Err(error),
                    Err(error) => error,
                },
            };
            deliveries.extend(requests.iter().map(|_| Err(failed.clone())));
            Ok(())
        };
        let mut requests = Vec::new();
        let mut carried = 0;
        for (item, pipes) in &births {
            let descriptors = pipes.descriptors(item.command, &item.prepared, &own)?;
            carried += descriptors.len() + 1;
            // The same descriptor counts once in a message, so this many fit for sure.
            if carried > MOST_GIVEN && !self.together && !requests.is_empty() {
                deliver(&requests)?;
                requests.clear();
                carried = descriptors.len() + 1;
            }
            let cgroup = pipes.cradle(item.command);
            requests.push(request(item.command, &item.prepared, descriptors, cgroup));
        }
        deliver(&requests)?;
        drop(requests);
        let hand_over = |((item, pipes), delivery): ((&Item<'_>, Pipes), _)| {
            let process = delivered(Some(delivery?), nursery, &item.prepared.steps)?;
            pipes.hand_over(item.command, &item.prepared, process)
        };
        Ok(births.into_iter().zip(deliveries).map(hand_over).collect())
    }
}
