//! A process that tasks wait for.
//!
//! Safety idea: whoever lets go of a process leaves nothing that nobody cares for. A task of the runtime waits for it instead, and where
//! that task cannot run to its end, because the runtime is shut down, its drop does what is left to do.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ::tokio::net::unix::pipe::{Receiver, Sender};
use ::tokio::runtime::Handle;
use beget_channel::Holder;

use super::refusals::Refusals;
use super::watch::{Ready, Watched, both, first};
use crate::end::Ended;
use crate::error::{Error, Fault, Result};
use crate::nursery::{Inner, News, Nursery};
use crate::process::{Glance, Output, Parent};

/// A running or ended process. Several tasks may wait for it at once, and threads of other runtimes too; each gets the same answer.
///
/// Every future of it can be dropped at any time, and nothing is lost: its status is kept here. Only
/// [`wait_with_output`](Process::wait_with_output), which consumes it, loses what it has read.
///
/// # Dropping it
///
/// It runs on, unless [`kill_on_drop`](crate::tokio::Command::kill_on_drop) was asked for: then it gets SIGKILL before the drop returns.
/// Either way the drop does not wait for its end: a task of the runtime does, so that no zombie is left. That task runs when the runtime
/// next runs tasks. When the runtime is shut down instead, one that was killed is waited for then, a second at most; one that runs on
/// stays, and is a zombie from its end on while this process lives.
///
/// One with a tree of its own ([`own_tree`](crate::tokio::Command::own_tree)), or that holds the last handle of its nursery, has that
/// told to end at the drop, and the task waits until all of it has.
#[derive(Debug)]
pub struct Process {
    /// The other end of a piped standard input.
    pub stdin: Option<Sender>,
    /// The other end of a piped standard output.
    pub stdout: Option<Receiver>,
    /// The other end of a piped standard error.
    pub stderr: Option<Receiver>,
    /// Where refusals arrive, when they were asked for and the kernel gave a listener.
    pub refusals: Option<Refusals>,
    pub(super) channel: Option<Watched<Holder>>,
    body: Body,
}

/// The process itself, watched by the runtime in which it was made.
#[derive(Debug)]
struct Body {
    /// Shared only with the task that waits for it when this is dropped.
    process: Arc<Watched<crate::Process>>,
    /// The socket of its nursery.
    news: Option<Arc<Watched<OwnedFd>>>,
    runtime: Handle,
}

/// The runtime that watches what is made here.
pub(super) fn runtime() -> Result<Handle> {
    Handle::try_current().map_err(|error| Error::new("tokio", error.to_string(), Fault::Caller))
}

/// A process that was made elsewhere: of a [`Batch`](crate::Batch), an [`Embryo`](crate::Embryo), a blocking
/// [`Command`](crate::Command).
///
/// # Errors
/// A thread outside any runtime; no memory or number for what has to be watched. The process is dropped then, with what that means for
/// it.
impl TryFrom<crate::Process> for Process {
    type Error = Error;

    fn try_from(process: crate::Process) -> Result<Process> {
        Process::watch(process, runtime()?)
    }
}

impl Process {
    pub(super) fn blocking(&self) -> &crate::Process {
        self.body.process.get()
    }

    /// One that was born for this. If it cannot be watched nothing is left of it, however that fails.
    pub(super) fn born(mut process: crate::Process, runtime: Handle) -> Result<Process> {
        let kill_on_drop = std::mem::replace(&mut process.kill_on_drop, true);
        let mut process = Process::watch(process, runtime)?;
        process.body.set_kill_on_drop(kill_on_drop);
        Ok(process)
    }

    fn watch(mut process: crate::Process, runtime: Handle) -> Result<Process> {
        let failed = |error: std::io::Error| Error::io("tokio", error);
        let stdin = process.stdin.take().map(|pipe| Sender::from_owned_fd(pipe.into()));
        let [stdout, stderr] = [process.stdout.take(), process.stderr.take()]
            .map(|pipe| pipe.map(|pipe| Receiver::from_owned_fd(pipe.into())));
        let refusals = process.refusals.take().map(Refusals::new);
        // Here, and not with the process, which whoever waits for it after a drop has still.
        let channel = process.channel.take().map(Watched::new);
        let news = match &process.parent {
            Parent::Own => None,
            Parent::Nursery(nursery, _) => {
                Some(nursery.watches.of(&runtime, nursery.news_fd()).map_err(failed)?)
            }
        };
        Ok(Process {
            stdin: stdin.transpose().map_err(failed)?,
            stdout: stdout.transpose().map_err(failed)?,
            stderr: stderr.transpose().map_err(failed)?,
            refusals: refusals.transpose().map_err(failed)?,
            channel: channel.transpose().map_err(failed)?,
            body: Body { process: Arc::new(Watched::new(process).map_err(failed)?), news, runtime },
        })
    }

    /// Its process number, for messages; use [`signal`](Process::signal) to signal it. It stays when the process has ended.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.body.process.get().id()
    }

    /// Waits until it ends. Standard input, if piped and not taken, is closed first, so that a program that reads to its end can end.
    ///
    /// Cancel safe, but for standard input, which stays closed.
    ///
    /// # Errors
    /// [`Fault::StatusTaken`] when somebody else in this process took the status and the kernel keeps no note of it (before
    /// Linux 6.15); a runtime that is shut down.
    pub async fn wait(&mut self) -> Result<Ended> {
        drop(self.stdin.take());
        self.wait_shared().await
    }

    /// The same for several tasks at once; closes nothing. Cancel safe.
    ///
    /// # Errors
    /// As for [`wait`](Process::wait).
    pub async fn wait_shared(&self) -> Result<Ended> {
        ended(&self.body.process, self.body.news.as_deref()).await
    }

    /// How it ended, or `None` while it runs, or until its nursery has told. Waits for nothing.
    ///
    /// # Errors
    /// As for [`wait`](Process::wait).
    pub fn try_wait(&self) -> Result<Option<Ended>> {
        match self.body.process.get().glance()? {
            Glance::Ended(ended) => Ok(Some(ended)),
            Glance::Running | Glance::Untold(..) | Glance::Orphaned(_) => Ok(None),
        }
    }

    /// Collects what it writes to piped streams that were not taken, until everybody has closed them, or up to
    /// [`output_limit`](crate::tokio::Command::output_limit), and waits for its end.
    ///
    /// Not cancel safe: the process is dropped with the future, and what was read with it.
    ///
    /// # Errors
    /// As for [`wait`](Process::wait), those of reading a pipe, and of ending it at the limit.
    pub async fn wait_with_output(mut self) -> Result<Output> {
        drop(self.stdin.take());
        let pipes = (self.stdout.take(), self.stderr.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let limit = AtomicU64::new(self.body.process.get().output_limit.unwrap_or(u64::MAX));
        let collected =
            both(collect(&pipes.0, &mut stdout, &limit), collect(&pipes.1, &mut stderr, &limit)).await;
        let limited = match collected {
            Ok(()) => false,
            Err(Stop::Limit) => true,
            Err(Stop::Failed(error)) => return Err(Error::io("output", error)),
        };
        if limited {
            // Before the pipes are closed, or it might end by itself for want of a reader.
            self.start_kill()?;
            if self.body.process.get().tree.is_some() {
                self.kill_tree().await?;
            }
        }
        drop(pipes);
        let ended = self.wait().await?;
        Ok(Output { status: ended.status, stdout, stderr, ended, limited })
    }

    /// Ends it with SIGKILL and waits for its end.
    ///
    /// # Errors
    /// `EPERM` when it changed its user, and those of [`wait`](Process::wait).
    pub async fn kill(&mut self) -> Result<Ended> {
        self.start_kill()?;
        self.wait().await
    }

    /// Sends it SIGKILL, and does not wait. Nothing happens when it has ended already.
    ///
    /// # Errors
    /// `EPERM` when it changed its user.
    pub fn start_kill(&self) -> Result<()> {
        self.body.process.get().kill()
    }

    /// Sends it a signal, and never to another process that got its number. Nothing happens when it has ended already.
    ///
    /// # Errors
    /// `EPERM` when it changed its user; `EINVAL` for an unknown signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.body.process.get().signal(signal)
    }

    /// Sends a signal to the process group that it leads: see [`beget::Process::signal_group`](crate::Process::signal_group).
    ///
    /// # Errors
    /// As for [`signal`](Process::signal).
    pub fn signal_group(&self, signal: i32) -> Result<()> {
        self.body.process.get().signal_group(signal)
    }

    /// The nursery that it has to itself, with [`own_tree`](crate::tokio::Command::own_tree) or [`root`](crate::tokio::Command::root).
    #[must_use]
    pub fn nursery(&self) -> Option<&Nursery> {
        self.body.process.get().nursery()
    }

    /// Ends it and every process that descends from it, however they hide, and waits until that is done. For one that has a nursery
    /// to itself ([`own_tree`](crate::tokio::Command::own_tree)). Cancel safe: once it was polled all is told to end.
    ///
    /// # Errors
    /// One that has none: nothing is ended then. A runtime that is shut down.
    pub async fn kill_tree(&self) -> Result<()> {
        match self.nursery() {
            Some(nursery) => end(nursery).await,
            None => Err(Error::new("tree", "this process has no nursery to itself", Fault::Caller)),
        }
    }
}

/// The pidfd: readable when the process has ended.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.body.process.get().as_fd()
    }
}

/// Ends a nursery and every process that was born in it, however deep, and waits until that is done: [`Nursery::end`], for a task.
///
/// Cancel safe: once it was polled all is told to end. It waits as long as that takes, where `Nursery::end` loses patience with what
/// the kernel cannot end: whoever minds puts a time around it.
///
/// # Errors
/// A runtime that is shut down; no number for a descriptor to wait by. All is told to end then.
pub async fn end(nursery: &Nursery) -> Result<()> {
    let inner = &nursery.inner;
    inner.begin_end();
    gone(inner).await?;
    // Nothing is left to wait for: what came is sorted, and its process reaped.
    nursery.end();
    Ok(())
}

/// Waits until the process of a nursery, or its guard, has ended, which is when all is done.
async fn gone(nursery: &Inner) -> Result<()> {
    let failed = |error: std::io::Error| Error::io("nursery", error);
    let process = Watched::<OwnedFd>::another(nursery.pidfd()).map_err(failed)?;
    process.readable().await.map_err(failed)?.retain_ready();
    Ok(())
}

/// How it ended, when it has.
async fn ended(watched: &Watched<crate::Process>, news: Option<&Watched<OwnedFd>>) -> Result<Ended> {
    let failed = |error: std::io::Error| Error::io("wait", error);
    let process = watched.get();
    let mut ready: Option<Ready<'_, crate::Process>> = None;
    loop {
        match (process.glance()?, news) {
            (Glance::Ended(ended), _) => return Ok(ended),
            (Glance::Untold(nursery, state), Some(news)) => {
                told(&nursery, &state, news).await.map_err(failed)?;
            }
            (Glance::Orphaned(nursery), _) => {
                // The kernel has a note of its status when whoever cares for what the nursery left has reaped it, and ends after.
                gone(&nursery).await?;
                return process.noted_end();
            }
            (Glance::Running | Glance::Untold(..), _) => {
                // Ready already, and yet it runs: a debugger keeps its end back. There is another event when that lets go.
                if let Some(mut ready) = ready.take() {
                    ready.clear_ready();
                }
                ready = Some(watched.readable().await.map_err(failed)?);
            }
        }
    }
}

/// Waits until its nursery has told of its end, or has ended. What comes is read by whoever is awake first, for all.
async fn told(nursery: &Inner, state: &News, news: &Watched<OwnedFd>) -> std::io::Result<()> {
    loop {
        // Made before the look: from here on it misses nothing.
        let told = state.told.notified();
        if state.ended().is_some() || nursery.is_closed() {
            return Ok(());
        }
        let read = async {
            let mut ready = news.readable().await?;
            nursery.look();
            ready.clear_ready();
            std::io::Result::Ok(())
        };
        let told = async {
            told.await;
            Ok(())
        };
        first(told, read).await?;
    }
}

/// Why nothing more is collected.
enum Stop {
    /// There is more than it may write.
    Limit,
    Failed(std::io::Error),
}

/// Reads a pipe to its end, or to that of `left`, which is what may be had from all pipes together.
async fn collect(
    pipe: &Option<Receiver>,
    all: &mut Vec<u8>,
    left: &AtomicU64,
) -> std::result::Result<(), Stop> {
    let Some(pipe) = pipe else { return Ok(()) };
    let mut chunk = vec![0; 16 << 10];
    loop {
        pipe.readable().await.map_err(Stop::Failed)?;
        match pipe.try_read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                // Both pipes are read by one task, so nobody is in between.
                let limit = left.load(Ordering::Relaxed);
                let taken = usize::try_from(limit).map_or(count, |limit| limit.min(count));
                left.store(limit - taken as u64, Ordering::Relaxed);
                all.extend_from_slice(&chunk[..taken]);
                if taken < count {
                    return Err(Stop::Limit);
                }
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(Stop::Failed(error)),
        }
        // One that writes without end leaves other tasks their turn.
        ::tokio::task::coop::consume_budget().await;
    }
}

impl Body {
    fn set_kill_on_drop(&mut self, kill: bool) {
        // Nobody else has it before the drop.
        if let Some(watched) = Arc::get_mut(&mut self.process) {
            watched.get_mut().kill_on_drop = kill;
        }
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let process = self.process.get();
        // Ours to reap are only our own children. This does so, if it has ended.
        let runs = matches!(process.glance(), Ok(Glance::Running));
        if runs && process.kill_on_drop {
            let _ = process.kill();
        }
        if let Parent::Nursery(nursery, _) = &process.parent {
            if Arc::strong_count(nursery) > 1 + usize::from(process.tree.is_some()) {
                // The nursery goes on, and reaps it. What one that was killed leaves in a cgroup is ended when its end is known.
                if runs && process.kill_on_drop {
                    let (process, news) = (Arc::clone(&self.process), self.news.clone());
                    self.runtime.spawn(async move {
                        let _ = ended(&process, news.as_deref()).await;
                    });
                }
                return;
            }
            let nursery = Arc::clone(nursery);
            nursery.begin_end();
            self.set_kill_on_drop(false);
            let process = Arc::clone(&self.process);
            self.runtime.spawn(async move {
                let _ = gone(&nursery).await;
                // Drops the last handles of a nursery that has ended.
                drop((nursery, process));
            });
        } else if runs {
            let process = Arc::clone(&self.process);
            self.runtime.spawn(async move {
                let _ = ended(&process, None).await;
            });
        }
    }
}
