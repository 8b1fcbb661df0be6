//! A process, held by its pidfd: never by a number, which could come to mean another.

use std::io::{PipeReader, PipeWriter, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use beget_authority::Opened;
use beget_authority::cgroup::Group;
use beget_channel::Holder;
use beget_sys::wait::{self, option};
use beget_sys::{Errno, process::Child};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::end::Ended;
use crate::error::{Error, Fault, Result};
use crate::nursery::{Inner, News, Nursery};
use crate::refusals::Refusals;

const SIGKILL: i32 = 9;

/// Who reaps a process.
#[derive(Debug)]
pub(crate) enum Parent {
    /// This process.
    Own,
    /// A nursery, which tells of its end.
    Nursery(Arc<Inner>, Arc<News>),
}

/// A running or ended process. Several threads may wait for it at once; each gets the same answer.
///
/// Dropping it leaves the process running, as with the standard library's, unless
/// [`kill_on_drop`](crate::Command::kill_on_drop) was asked for, or it holds the last handle of its nursery; one that nobody waits for stays a zombie while its creator
/// lives.
#[derive(Debug)]
pub struct Process {
    /// The other end of a piped standard input.
    pub stdin: Option<PipeWriter>,
    /// The other end of a piped standard output.
    pub stdout: Option<PipeReader>,
    /// The other end of a piped standard error.
    pub stderr: Option<PipeReader>,
    /// Where refusals arrive, when they were asked for and the kernel gave a listener.
    pub refusals: Option<Refusals>,
    number: u32,
    pidfd: OwnedFd,
    pub(crate) parent: Parent,
    ended: Mutex<Option<Ended>>,
    pub(crate) kill_on_drop: bool,
    pub(crate) output_limit: Option<u64>,
    /// The nursery that was made for it alone.
    pub(crate) tree: Option<Nursery>,
    /// Grants whose rules live only as long as somebody holds their files.
    pub(crate) held: Arc<Vec<Opened>>,
    /// The other end of its channel.
    pub(crate) channel: Option<Holder>,
    /// Its cgroups; removed last, when its nursery has ended.
    group: Mutex<Option<Group>>,
}

/// What a process wrote, and how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// Exit code or signal.
    pub status: ExitStatus,
    /// All it wrote to a piped standard output.
    pub stdout: Vec<u8>,
    /// All it wrote to a piped standard error.
    pub stderr: Vec<u8>,
    /// How it ended and what it used.
    pub ended: Ended,
    /// It wrote more than [`Command::output_limit`](crate::Command::output_limit) allows: what is here is what it wrote up to that, and
    /// it was ended.
    pub limited: bool,
}

impl Process {
    pub(crate) fn new(child: Child, parent: Parent) -> Process {
        Process {
            stdin: None,
            stdout: None,
            stderr: None,
            refusals: None,
            number: child.number,
            pidfd: child.pidfd,
            parent,
            ended: Mutex::new(None),
            kill_on_drop: false,
            output_limit: None,
            tree: None,
            held: Arc::default(),
            channel: None,
            group: Mutex::default(),
        }
    }

    pub(crate) fn keep_group(&mut self, group: Option<Group>) {
        self.group = Mutex::new(group);
    }

    /// Its process number, for messages; use [`signal`](Process::signal) to signal it.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.number
    }

    /// Waits until it ends. Standard input, if piped, is closed first, so that a program that reads to its end can end.
    ///
    /// # Errors
    /// [`Fault::StatusTaken`] when somebody else in this process took the status and the kernel keeps no note of it (before
    /// Linux 6.15).
    pub fn wait(&mut self) -> Result<Ended> {
        drop(self.stdin.take());
        self.wait_shared()
    }

    /// The same from several threads at once; closes nothing.
    ///
    /// # Errors
    /// As for [`wait`](Process::wait).
    pub fn wait_shared(&self) -> Result<Ended> {
        loop {
            if let Some(ended) = self.wait_until(None)? {
                return Ok(ended);
            }
        }
    }

    /// How it ended, or `None` while it runs.
    ///
    /// # Errors
    /// As for [`wait`](Process::wait).
    pub fn try_wait(&self) -> Result<Option<Ended>> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.is_none() {
            *ended = self.take_status()?.map(|end| self.with_tree(end));
        }
        Ok(*ended)
    }

    /// Waits at most `time`; `None` when it still runs then.
    ///
    /// # Errors
    /// As for [`wait`](Process::wait).
    pub fn wait_timeout(&self, time: Duration) -> Result<Option<Ended>> {
        self.wait_until(Instant::now().checked_add(time))
    }

    fn wait_until(&self, deadline: Option<Instant>) -> Result<Option<Ended>> {
        loop {
            if let Some(ended) = self.known_end() {
                return Ok(Some(ended));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let time = left.and_then(|left| Timespec::try_from(left).ok());
            let mut watched = [PollFd::new(&self.pidfd, PollFlags::IN)];
            let ready = match poll(&mut watched, time.as_ref()) {
                Ok(count) => count > 0,
                Err(rustix::io::Errno::INTR) => false,
                Err(errno) => return Err(Error::io("wait", errno)),
            };
            if ready || left == Some(Duration::ZERO) {
                let ended = self.try_wait()?;
                if ended.is_some() || !ready || left == Some(Duration::ZERO) {
                    return Ok(ended);
                }
                // It has ended, and a debugger that traces it has yet to let go of it.
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    pub(crate) fn known_end(&self) -> Option<Ended> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if let Parent::Nursery(_, news) = &self.parent {
            // Told already, while somebody waited for another.
            *ended = ended.or_else(|| news.ended().map(|end| self.with_tree(end)));
        }
        *ended
    }

    /// Ends what it left in its cgroups, and adds what they tell.
    fn with_tree(&self, ended: Ended) -> Ended {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner).take();
        Ended { tree: group.map(Group::end), ..ended }
    }

    fn take_status(&self) -> Result<Option<Ended>> {
        if let Parent::Nursery(nursery, news) = &self.parent {
            return self.told_status(nursery, news);
        }
        loop {
            match wait::on(self.pidfd.as_fd(), option::EXITED | option::ALL | option::NO_HANG) {
                Ok(None) => return Ok(None),
                Ok(Some((change, usage))) => return Ok(Ended::from_change(change, usage)),
                Err(Errno::EINTR) => {}
                Err(Errno::ECHILD) => return self.taken_status().map(Some),
                Err(errno) => return Err(Error::kernel("wait", errno, Fault::Kernel)),
            }
        }
    }

    /// What its nursery told. One that was killed tells nothing any more; the kernel may have kept a note.
    fn told_status(&self, nursery: &Inner, news: &News) -> Result<Option<Ended>> {
        let has_ended = self.has_ended();
        match nursery.status(news, has_ended) {
            None if has_ended && nursery.is_closed() => self.taken_status().map(Some),
            ended => Ok(ended),
        }
    }

    pub(crate) fn has_ended(&self) -> bool {
        let mut watched = [PollFd::new(&self.pidfd, PollFlags::IN)];
        matches!(poll(&mut watched, Some(&Timespec::default())), Ok(1..))
    }

    /// Somebody waited for any child, or SIGCHLD is ignored, or its nursery was killed. The kernel may have kept a note.
    fn taken_status(&self) -> Result<Ended> {
        // What a killed nursery leaves may have become ours.
        let adopted = wait::on(self.pidfd.as_fd(), option::EXITED | option::ALL | option::NO_HANG);
        if let Ok(Some((change, usage))) = adopted
            && let Some(ended) = Ended::from_change(change, usage)
        {
            return Ok(ended);
        }
        match wait::taken_status(self.pidfd.as_fd()) {
            Ok(raw) => Ok(Ended { status: ExitStatus::from_raw(raw), usage: None, tree: None }),
            Err(_) => {
                let words = match self.parent {
                    Parent::Own => {
                        "the status was taken by another wait in this process, or SIGCHLD is ignored"
                    }
                    Parent::Nursery(..) => "its nursery was killed, and the status went with it",
                };
                Err(Error::new("wait", words, Fault::StatusTaken))
            }
        }
    }

    /// Waits for the end and collects what it wrote to piped streams meanwhile, up to
    /// [`Command::output_limit`](crate::Command::output_limit).
    ///
    /// # Errors
    /// As for [`wait`](Process::wait), those of reading a pipe, and of ending it at the limit.
    pub fn wait_with_output(mut self) -> Result<Output> {
        drop(self.stdin.take());
        let (mut stdout, mut stderr) = (Vec::new(), Vec::new());
        let mut streams = [self.stdout.take(), self.stderr.take()];
        let limit = self.output_limit.unwrap_or(u64::MAX);
        let limited = collect(&mut streams, [&mut stdout, &mut stderr], limit)
            .map_err(|error| Error::io("output", error))?;
        if limited {
            // Before the pipes are closed, or it might end by itself for want of a reader.
            self.kill()?;
            if self.tree.is_some() {
                self.kill_tree()?;
            }
        }
        drop(streams);
        let ended = self.wait()?;
        Ok(Output { status: ended.status, stdout, stderr, ended, limited })
    }

    /// Ends it with SIGKILL. Nothing happens when it has ended already.
    ///
    /// # Errors
    /// `EPERM` when it changed its user.
    pub fn kill(&self) -> Result<()> {
        self.signal(SIGKILL)
    }

    /// Sends it a signal, and never to another process that got its number. Nothing happens when it has ended already.
    ///
    /// # Errors
    /// `EPERM` when it changed its user; `EINVAL` for an unknown signal.
    pub fn signal(&self, signal: i32) -> Result<()> {
        match wait::send_signal(self.pidfd.as_fd(), signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Error::kernel(format!("signal {signal}"), errno, Fault::Caller)),
        }
    }

    /// Sends a signal to the process group that it leads. Before Linux 6.9 that goes by its number, which is looked at a moment before.
    ///
    /// # Errors
    /// As for [`signal`](Process::signal).
    pub fn signal_group(&self, signal: i32) -> Result<()> {
        match self.send_to_group(signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(Error::kernel(format!("signal {signal}"), errno, Fault::Caller)),
        }
    }

    fn send_to_group(&self, signal: i32) -> beget_sys::Result<()> {
        match wait::send_signal_to_group(self.pidfd.as_fd(), signal) {
            Err(Errno::EINVAL) if !self.has_ended() => beget_sys::signal::kill(-(self.number as i32), signal),
            other => other,
        }
    }

    /// Asks it to end, waits for that as long as `grace`, and then ends it; says how it ended. Asked is the process group that it leads, or it
    /// alone when it leads none, with SIGTERM, and with SIGCONT so that a stopped one hears it. Ended, with SIGKILL, are the same processes and,
    /// where [`kill_tree`](Process::kill_tree) can, everything that descends from it. Without any grace it is not asked.
    ///
    /// # Errors
    /// As for [`wait`](Process::wait); `EPERM` when it changed its user.
    pub fn terminate(&self, grace: Duration) -> Result<Ended> {
        const SIGTERM: i32 = 15;
        const SIGCONT: i32 = 18;
        let mut ended = self.try_wait()?;
        if ended.is_none() && !grace.is_zero() {
            self.signal_group_or_itself(SIGTERM)?;
            self.signal_group_or_itself(SIGCONT)?;
            ended = self.wait_timeout(grace)?;
        }
        if ended.is_none() {
            self.signal_group_or_itself(SIGKILL)?;
        }
        if let Some(nursery) = &self.tree {
            nursery.end();
        }
        ended.map_or_else(|| self.wait_shared(), Ok)
    }

    fn signal_group_or_itself(&self, signal: i32) -> Result<()> {
        match self.send_to_group(signal) {
            Ok(()) => Ok(()),
            Err(Errno::ESRCH) => self.signal(signal),
            Err(errno) => Err(Error::kernel(format!("signal {signal}"), errno, Fault::Caller)),
        }
    }

    /// Whether somebody traces it; `None` where `/proc` does not tell.
    #[must_use]
    pub fn is_traced(&self) -> Option<bool> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.number)).ok()?;
        let tracer = status.lines().find_map(|line| line.strip_prefix("TracerPid:"))?;
        // Read of its number, which is its own if it has not ended since.
        (!self.has_ended()).then(|| tracer.trim() != "0")
    }

    /// The signal that stopped it, if it was stopped since last asked.
    ///
    /// # Errors
    /// None but those of `waitid`.
    pub fn try_stopped(&self) -> Result<Option<i32>> {
        if let Parent::Nursery(nursery, news) = &self.parent {
            nursery.status(news, false);
            return Ok(news.take_stop());
        }
        match wait::on(self.pidfd.as_fd(), option::STOPPED | option::ALL | option::NO_HANG) {
            Ok(Some((wait::Change::Stopped(signal), _))) => Ok(Some(signal)),
            Ok(_) | Err(Errno::ECHILD | Errno::EINTR) => Ok(None),
            Err(errno) => Err(Error::kernel("wait", errno, Fault::Kernel)),
        }
    }
}

impl Process {
    /// Where news of a process arrives that is not this process's own child: readable when [`try_stopped`](Process::try_stopped) may
    /// have something to tell.
    #[must_use]
    pub fn news(&self) -> Option<BorrowedFd<'_>> {
        match &self.parent {
            Parent::Own => None,
            Parent::Nursery(nursery, _) => Some(nursery.news_fd()),
        }
    }

    /// The nursery that it has to itself, with [`Command::own_tree`](crate::Command::own_tree) or
    /// [`Command::root`](crate::Command::root).
    #[must_use]
    pub fn nursery(&self) -> Option<&Nursery> {
        self.tree.as_ref()
    }

    /// Ends it and every process that descends from it, however they hide, and waits until that is done. For one that has a nursery
    /// to itself ([`Command::own_tree`](crate::Command::own_tree)), or a cgroup, because its whole tree is limited.
    ///
    /// # Errors
    /// One that has neither: nothing is ended then.
    pub fn kill_tree(&self) -> Result<()> {
        let group = self.group.lock().unwrap_or_else(PoisonError::into_inner);
        let has_group = group.is_some();
        let _: Option<()> = group.as_ref().map(Group::kill);
        drop(group);
        match &self.tree {
            Some(nursery) => nursery.end(),
            // When its end is known, what it left in its cgroup has ended already.
            None if has_group || self.known_end().is_some_and(|ended| ended.tree.is_some()) => {}
            None => {
                let words = "this process has no nursery to itself, nor a cgroup";
                return Err(Error::new("tree", words, Fault::Caller));
            }
        }
        Ok(())
    }
}

/// What can be known of a process without waiting for anything.
#[cfg(feature = "tokio")]
pub(crate) enum Glance {
    /// It runs, or a debugger keeps its end back.
    Running,
    /// It has ended, and its nursery has yet to tell how.
    Untold(Arc<Inner>, Arc<News>),
    /// It has ended, and so has its nursery, or is about to.
    Orphaned(Arc<Inner>),
    /// It has ended so.
    Ended(Ended),
}

#[cfg(feature = "tokio")]
impl Process {
    /// How it is doing, as far as that can be known at once.
    pub(crate) fn glance(&self) -> Result<Glance> {
        let Parent::Nursery(nursery, news) = &self.parent else {
            return Ok(self.try_wait()?.map_or(Glance::Running, Glance::Ended));
        };
        if self.known_end().is_none() {
            nursery.look();
        }
        Ok(match self.known_end() {
            Some(ended) => Glance::Ended(ended),
            None if !self.has_ended() => Glance::Running,
            None if nursery.is_closed() => Glance::Orphaned(Arc::clone(nursery)),
            None => Glance::Untold(Arc::clone(nursery), Arc::clone(news)),
        })
    }

    /// The status of one whose nursery ended without telling it, from the kernel's note.
    pub(crate) fn noted_end(&self) -> Result<Ended> {
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        match *ended {
            Some(ended) => Ok(ended),
            None => Ok(*ended.insert(self.with_tree(self.taken_status()?))),
        }
    }
}

/// Waits for a child that is ending, so that not even a zombie is left.
pub(crate) fn reap(pidfd: &OwnedFd) {
    while wait::on(pidfd.as_fd(), option::EXITED | option::ALL) == Err(Errno::EINTR) {}
}

/// The pidfd: readable when the process has ended.
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.kill_on_drop && matches!(self.try_wait(), Ok(None)) {
            let _ = self.kill();
            // A debugger can keep its end from us: then a zombie is left, rather than a host that waits for ever.
            let _ = self.wait_timeout(Duration::from_secs(1));
        }
        if let Parent::Nursery(nursery, news) = &self.parent {
            nursery.forget(news);
        }
        let group = self.group.get_mut().unwrap_or_else(PoisonError::into_inner);
        if self.tree.is_none() && !matches!(self.ended.get_mut(), Ok(Some(_))) {
            // It may run on, and be in its cgroups.
            let _ = group.take().map(Group::let_go);
        }
    }
}

/// Reads several pipes to their ends at once, without threads. Says whether there was more than `limit` bytes in them together, which
/// is where it stops.
fn collect(
    streams: &mut [Option<PipeReader>; 2],
    buffers: [&mut Vec<u8>; 2],
    mut limit: u64,
) -> std::io::Result<bool> {
    let mut chunk = [0; 16 << 10];
    while streams.iter().any(Option::is_some) {
        let mut watched: Vec<PollFd<'_>> =
            streams.iter().flatten().map(|stream| PollFd::new(stream, PollFlags::IN)).collect();
        match poll(&mut watched, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
        let mut ready = watched.iter().map(|fd| !fd.revents().is_empty()).collect::<Vec<_>>().into_iter();
        for (stream, buffer) in streams.iter_mut().zip(0..).filter(|(stream, _)| stream.is_some()) {
            if ready.next() != Some(true) {
                continue;
            }
            let read = stream.as_mut().map_or(Ok(0), |stream| stream.read(&mut chunk))?;
            let taken = usize::try_from(limit).map_or(read, |limit| limit.min(read));
            buffers[buffer].extend_from_slice(&chunk[..taken]);
            limit -= taken as u64;
            if taken < read {
                return Ok(true);
            }
            if read == 0 {
                *stream = None;
            }
        }
    }
    Ok(false)
}
