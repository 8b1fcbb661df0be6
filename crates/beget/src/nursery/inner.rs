//! The creator's side of a nursery: its process, its channel, and the news of its children.
//!
//! Safety idea: one lock orders everything that is said. Whoever holds it sorts what comes: an answer is its own, news is put where
//! the child's handle finds it. Whoever only asks after a child does not wait for the lock. A process that has given up rights is not
//! lent them again by a nursery that it made before, and a copy of the process reads nothing that is not for it.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, TryLockError};
use std::time::{Duration, Instant};

use beget_plan::engine::{self, Failure};
use beget_plan::link::{self, Link, Message};
use beget_plan::message::{Header, change, kind};
use beget_plan::nursery::Sources;
use beget_plan::stub::role;
use beget_plan::{Engine, Op, Plan};
use beget_sys::Errno;
use beget_sys::process::{self, Child};
use beget_sys::wait::{self, Change, option};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};

use super::{Kind, RootRequest, root};
use crate::end::{Ended, Usage};
use crate::error::{Error, Fault, Result};
use crate::writer::tell;

/// How long a nursery that was told to end may take before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is known of a child that is not this process's own.
#[derive(Debug, Default)]
pub(crate) struct News {
    /// The child's number as its nursery has it: another than this process's where the nursery is in a namespace of its own.
    number: u32,
    state: Mutex<State>,
    /// Tells tasks that its end is known.
    #[cfg(feature = "tokio")]
    pub(crate) told: ::tokio::sync::Notify,
}

#[derive(Debug, Default)]
struct State {
    ended: Option<Ended>,
    stopped: Option<i32>,
}

impl News {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ended(&self) -> Option<Ended> {
        self.lock().ended
    }

    /// The signal of a stop that was not asked for before.
    pub(crate) fn take_stop(&self) -> Option<i32> {
        self.lock().stopped.take()
    }
}

#[derive(Debug)]
pub(crate) struct Inner {
    child: Child,
    link: Link,
    kind: Kind,
    creator: u32,
    /// What its creator could do when it was made, and it can.
    rights: Rights,
    channel: Mutex<Channel>,
    /// Somebody wants what has come sorted, and could not have the channel.
    missed: AtomicBool,
    closed: AtomicBool,
    /// How long an answer may take, if not for ever.
    patience: OnceLock<Duration>,
    /// What it and all that it reaped used, once it has ended.
    usage: OnceLock<Usage>,
    /// Where tasks wait for news.
    #[cfg(feature = "tokio")]
    pub(crate) watches: crate::tokio::Watches,
}

/// The channel, for as long as this is kept. Its parts go in this order: first the lock, then what others could not sort meanwhile is
/// sorted.
pub(super) struct Held<'a> {
    channel: MutexGuard<'a, Channel>,
    _missed: Missed<'a>,
}

impl std::ops::Deref for Held<'_> {
    type Target = Channel;

    fn deref(&self) -> &Channel {
        &self.channel
    }
}

impl std::ops::DerefMut for Held<'_> {
    fn deref_mut(&mut self) -> &mut Channel {
        &mut self.channel
    }
}

struct Missed<'a>(&'a Inner);

impl Drop for Missed<'_> {
    fn drop(&mut self) {
        self.0.sort_missed();
    }
}

/// User, group and capabilities.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Rights([u32; 4], u64);

impl Rights {
    /// Those of the calling process.
    fn now() -> Rights {
        use rustix::process::{getegid, geteuid, getgid, getuid};
        let numbers = [getuid().as_raw(), geteuid().as_raw(), getgid().as_raw(), getegid().as_raw()];
        Rights(numbers, process::capabilities().unwrap_or(0))
    }
}

#[derive(Debug, Default)]
pub(super) struct Channel {
    births: HashMap<u32, Arc<News>>,
    /// Answers that came while somebody waited for something else; there is one only while the lock is held for it.
    pub(super) answers: std::collections::VecDeque<Message>,
}

impl Inner {
    pub(super) fn new(kind: Kind) -> Result<Inner> {
        Inner::start(kind, None)
    }

    pub(super) fn in_root(root: RootRequest<'_>) -> Result<Inner> {
        Inner::start(Kind::First, Some(root))
    }

    fn start(kind: Kind, root: Option<RootRequest<'_>>) -> Result<Inner> {
        let (link, theirs) = link::pair().map_err(failed)?;
        let role = match kind {
            Kind::Guarded => role::GUARDED,
            Kind::Bare => role::NURSERY,
            Kind::First => role::FIRST,
        };
        let child = start(role, &theirs, root)?;
        Ok(Inner {
            child,
            link,
            kind,
            creator: std::process::id(),
            rights: Rights::now(),
            channel: Mutex::default(),
            missed: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            patience: OnceLock::new(),
            usage: OnceLock::new(),
            #[cfg(feature = "tokio")]
            watches: crate::tokio::Watches::default(),
        })
    }

    pub(super) fn number(&self) -> u32 {
        self.child.number
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    pub(super) fn lock(&self) -> Held<'_> {
        let channel = self.channel.lock().unwrap_or_else(PoisonError::into_inner);
        Held { channel, _missed: Missed(self) }
    }

    /// Sorts what has come, without waiting for anything. Whoever has the channel just now does it when done.
    pub(crate) fn look(&self) {
        if !self.is_closed() {
            self.missed.store(true, Ordering::SeqCst);
            self.sort_missed();
        }
    }

    /// Asked for before the lock is tried, and looked at after it is let go: so one of the two sides sees the other.
    fn sort_missed(&self) {
        while self.missed.load(Ordering::SeqCst) {
            let mut channel = match self.channel.try_lock() {
                Ok(channel) => channel,
                Err(TryLockError::Poisoned(channel)) => channel.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            self.missed.store(false, Ordering::SeqCst);
            self.sort(&mut channel, false);
        }
    }

    /// Whether it can be asked for anything: it is this very process's, and was neither ended nor killed.
    pub(super) fn serves(&self) -> bool {
        if self.is_anothers() || self.rights != Rights::now() {
            return false;
        }
        let mut channel = self.lock();
        self.sort(&mut channel, false);
        !self.is_closed()
    }

    /// Its socket, readable when there is news.
    pub(crate) fn news_fd(&self) -> BorrowedFd<'_> {
        self.link.as_fd()
    }

    /// Sends a message; whoever does so has the channel to itself until it is answered.
    pub(super) fn send(
        &self,
        _channel: &mut Channel,
        header: Header,
        body: &[u8],
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<()> {
        if self.rights != Rights::now() {
            let words = "this process has other rights than when it was made, which it has still";
            return Err(Error::new("nursery", words, Fault::Caller));
        }
        if self.is_anothers() {
            return Err(Error::new(
                "nursery",
                "it belongs to the process that this one is a copy of",
                Fault::Caller,
            ));
        }
        if self.is_closed() {
            return Err(gone());
        }
        self.link.send(header, body, descriptors).map_err(|errno| match errno {
            Errno::EPIPE | Errno::ECONNRESET => {
                self.note_end();
                gone()
            }
            other => failed(other),
        })
    }

    /// Waits for the next answer. Where there is a patience and it is over, has `late` called, once: what the nursery may be waiting for is
    /// to be ended then. A nursery that does not answer after that either is given up.
    pub(super) fn answer(&self, channel: &mut Channel, late: impl Fn()) -> Result<Message> {
        let begun = Instant::now();
        let (mut woken, mut told) = (false, false);
        loop {
            if let Some(answer) = channel.answers.pop_front() {
                return Ok(answer);
            }
            if self.is_closed() {
                return Err(gone());
            }
            // Comes back now and then where there is a patience.
            self.sort(channel, true);
            let Some(patience) = self.patience().filter(|_| channel.answers.is_empty()) else { continue };
            let waited = begun.elapsed();
            if waited >= patience * 2 {
                self.note_end();
                let words = format!("it did not answer in {} ms, and was given up", waited.as_millis());
                return Err(Error::new("nursery", words, Fault::Kernel).with_errno(Errno::EPIPE));
            }
            if waited >= patience / 4 && !woken {
                woken = true;
                self.wake();
            }
            if waited >= patience && !told {
                told = true;
                late();
            }
        }
    }

    /// Sets how long an answer may take from now on. The first that is set holds.
    pub(super) fn set_patience(&self, patience: Duration) -> Result<()> {
        let step = (patience / 8).max(Duration::from_millis(1));
        rustix::net::sockopt::set_socket_timeout(&self.link, rustix::net::sockopt::Timeout::Recv, Some(step))
            .map_err(|errno| Error::io("nursery: patience", errno))?;
        let _ = self.patience.set(patience);
        Ok(())
    }

    pub(crate) fn patience(&self) -> Option<Duration> {
        self.patience.get().copied()
    }

    /// Takes what has come, and if `wait` the next thing to come.
    fn sort(&self, channel: &mut Channel, mut wait: bool) {
        while !self.is_closed() {
            match self.link.receive(wait) {
                Ok(Some(message)) if message.header.kind == kind::CHANGED => channel.note(&message),
                Ok(Some(message)) => channel.answers.push_back(message),
                Err(Errno::EAGAIN) => return,
                // Without numbers for what came nothing that follows can be understood.
                Ok(None) | Err(_) => self.note_end(),
            }
            if wait {
                return;
            }
            wait = false;
        }
    }

    /// How a child ended, if that is known by now. Its pidfd tells that it has ended: then its status is on the way.
    pub(crate) fn status(&self, news: &News, has_ended: bool) -> Option<Ended> {
        if self.is_anothers() {
            // What is read from the socket here would be missed by whoever it is for.
            return news.ended();
        }
        /// A debugger that traces a child keeps its status from its parent.
        const MOMENT: Duration = Duration::from_millis(20);
        let until = Instant::now() + MOMENT;
        loop {
            self.look();
            if news.ended().is_some() || !has_ended {
                return news.ended();
            }
            if self.is_closed() {
                break;
            }
            let left = until.saturating_duration_since(Instant::now());
            let Ok(time) = Timespec::try_from(left) else { return None };
            let mut watched = [PollFd::new(&self.link, PollFlags::IN)];
            let _ = poll(&mut watched, Some(&time));
            if left.is_zero() {
                // Somebody may have stopped it.
                self.wake();
                return news.ended();
            }
            if self.channel.try_lock().is_err() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        // It was killed, and its guard is reaping what it left: the kernel has a note of a status only then, and the guard ends after.
        let patience = Timespec { tv_sec: 1, tv_nsec: 0 };
        let _ = poll(&mut [PollFd::new(&self.child.pidfd, PollFlags::IN)], Some(&patience));
        None
    }

    /// Waits, but not for ever, until a child that was killed is reaped.
    pub(crate) fn await_end(&self, child: &Child, news: &News) {
        let until = Instant::now() + Duration::from_secs(1);
        let mut watched = [PollFd::new(&child.pidfd, PollFlags::IN)];
        let _ = poll(&mut watched, Timespec::try_from(until - Instant::now()).ok().as_ref());
        while self.status(news, true).is_none() && !self.is_closed() && Instant::now() < until {}
    }

    /// Whether nothing more will be told.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire) || self.is_anothers()
    }

    /// Nothing more will be told. Whoever watches the socket sees that too.
    fn note_end(&self) {
        self.closed.store(true, Ordering::Release);
        let _ = rustix::net::shutdown(&self.link, rustix::net::Shutdown::Both);
    }

    /// Whether it belongs to the process that this one is a copy of.
    fn is_anothers(&self) -> bool {
        self.creator != std::process::id()
    }

    /// A child that was dropped is not told of any more.
    pub(crate) fn forget(&self, news: &Arc<News>) {
        if self.is_anothers() {
            return;
        }
        let mut channel = self.lock();
        if channel.births.get(&news.number).is_some_and(|known| Arc::ptr_eq(known, news)) {
            channel.births.remove(&news.number);
        }
    }

    /// Tells it to end everything.
    pub(super) fn close(&self) {
        if self.creator == std::process::id() {
            let _ = rustix::net::shutdown(&self.link, rustix::net::Shutdown::Write);
        }
    }

    /// Ends everything, and returns when nothing is left.
    pub(crate) fn end(&self) {
        if self.is_anothers() {
            return;
        }
        let mut channel = self.lock();
        self.begin_end();
        let until = Instant::now() + PATIENCE;
        while !self.is_closed() {
            let left = until.saturating_duration_since(Instant::now());
            let time = Timespec::try_from(left).unwrap_or_default();
            let mut watched = [PollFd::new(&self.link, PollFlags::IN)];
            match poll(&mut watched, Some(&time)) {
                Ok(0) => break,
                _ => self.sort(&mut channel, false),
            }
        }
        self.note_end();
        let mut watched = [PollFd::new(&self.child.pidfd, PollFlags::IN)];
        let left = Timespec::try_from(until.saturating_duration_since(Instant::now())).unwrap_or_default();
        if !matches!(poll(&mut watched, Some(&left)), Ok(1..)) {
            // Somebody stopped it, or its children cannot be killed.
            let _ = wait::send_signal(self.child.pidfd.as_fd(), 9);
        }
        loop {
            match wait::on(self.child.pidfd.as_fd(), option::EXITED | option::ALL) {
                Err(Errno::EINTR) => {}
                // One that was killed has not waited for all that it made.
                Ok(Some((Change::Exited(0), usage))) => {
                    let _ = self.usage.set(usage.into());
                    return;
                }
                _ => return,
            }
        }
    }

    pub(super) fn usage(&self) -> Option<Usage> {
        self.usage.get().copied()
    }
}

impl Inner {
    /// Has it end everything, even if somebody stopped it.
    pub(crate) fn begin_end(&self) {
        self.close();
        if !self.is_closed() {
            self.wake();
        }
    }

    /// Its process, or its guard's: readable when that has ended.
    #[cfg(feature = "tokio")]
    pub(crate) fn pidfd(&self) -> BorrowedFd<'_> {
        self.child.pidfd.as_fd()
    }

    /// Lets a nursery and its guard go on that somebody stopped: they are a process group of their own.
    fn wake(&self) {
        const SIGCONT: i32 = 18;
        if wait::send_signal_to_group(self.child.pidfd.as_fd(), SIGCONT) == Err(Errno::EINVAL) {
            // Before Linux 6.9. It is not reaped yet, so the number is its own.
            let _ = beget_sys::signal::kill(-(self.child.number as i32), SIGCONT);
        }
    }
}

impl Channel {
    pub(super) fn expect(&mut self, number: u32) -> Arc<News> {
        let news = Arc::new(News { number, ..News::default() });
        self.births.insert(number, Arc::clone(&news));
        news
    }

    fn note(&mut self, message: &Message) {
        let [number, how, status, _] = message.header.words;
        // Behind it stands a label, which nothing here has.
        let Some(usage) = message.body.first_chunk::<144>() else { return };
        let status = status as i32;
        let happened = match how {
            change::EXITED => Change::Exited(status),
            change::KILLED => Change::Killed(status, false),
            change::DUMPED => Change::Killed(status, true),
            change::STOPPED => Change::Stopped(status),
            _ => return,
        };
        if let Change::Stopped(signal) = happened {
            if let Some(news) = self.births.get(&number) {
                news.lock().stopped = Some(signal);
            }
        } else if let Some(news) = self.births.remove(&number) {
            news.lock().ended = Ended::from_change(happened, wait::Usage::from_bytes(usage));
            #[cfg(feature = "tokio")]
            news.told.notify_waiters();
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        let gone = wait::on(
            self.child.pidfd.as_fd(),
            option::EXITED | option::ALL | option::NO_HANG | option::NO_WAIT,
        );
        // One that somebody killed is still to be reaped.
        if gone != Err(Errno::ECHILD) || !self.is_closed() {
            self.end();
        }
        // Those of processes that were let go of and have ended with it.
        beget_authority::cgroup::sweep();
    }
}

fn failed(errno: Errno) -> Error {
    Error::kernel("nursery", errno, Fault::Kernel)
}

fn gone() -> Error {
    Error::new("nursery", "it has ended, and what was born in it with it", Fault::Kernel)
        .with_errno(Errno::EPIPE)
}

/// Executes the stub as a nursery, in a child of this process that holds the channel and nothing else.
fn start(role: &CStr, channel: &OwnedFd, root: Option<RootRequest<'_>>) -> Result<Child> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory =
        rustix::fs::open("/", flags, Mode::empty()).map_err(|errno| Error::io("nursery", errno))?;
    let helpers = root.map(|_| root::Helpers::open()).transpose()?;
    let creator = root.map(|_| root::own_pidfd()).transpose()?;
    let mut descriptors = vec![channel.as_fd(), super::stub()?.as_fd()];
    let mut writer = root::begin();
    let place = match (root, &helpers) {
        (Some(root), Some(helpers)) => {
            descriptors.extend(creator.as_ref().map(AsFd::as_fd));
            root::write(root, helpers, &mut descriptors, &mut writer)?;
            let without_groups = crate::confine::may_set_groups()?;
            engine::Place { cgroup: root.cgroup, namespaces: root::AT_BIRTH, without_groups }
        }
        _ => {
            let source = descriptors.len() as u32;
            descriptors.push(directory.as_fd());
            writer.push(Op::ChangeDirectoryTo { source }, "nursery: working directory");
            engine::Place::default()
        }
    };
    let sources = Sources { channel: 0, program: 1, second: root.map(|_| 2), files: None };
    let bytes = root::finish(role, sources, &mut writer, descriptors.len())?;
    let plan = Plan::check(&bytes, Engine::Vfork).map_err(Error::malformed_plan)?;
    engine::spawn(&plan, &descriptors, place).map_err(|failure| match failure {
        Failure::Birth(errno) if root.is_some() => root::refused(errno),
        Failure::Birth(errno) => Error::kernel("process", errno, Fault::Kernel),
        Failure::Op(fault) => {
            root::explain(tell(fault, &writer.steps), plan.op(fault.op as usize), fault.errno)
        }
    })
}
