//! The process that starts the parts of the service, and starts them again.
//!
//! Safety idea: the parts end when this process does, for they watch a pipe whose other end it holds; so nothing of a service is left that
//! nobody looks after, whoever was killed.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use beget_service::{Service, make_folder};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::FdFlags;
use rustix::process::{Resource, Rlimit};

use super::{listen, manifest, path};
use crate::domains::Failure;
use crate::options::ForService;
use crate::signals::{self, Signals};
use crate::{FAILED, say};

/// A part that lived this long has started.
const STARTED: Duration = Duration::from_secs(2);
/// So often in a row a part may fail to start.
const MOST_FAILURES: u32 = 5;
/// The longest pause before a part is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Open files that ten thousand domains need, with a channel and a capability each, in the part that has most.
const OPEN_FILES: u64 = 100_000;

/// A part of the service.
struct Part {
    name: &'static str,
    arguments: Vec<String>,
    /// Descriptors it is given, each after the argument that tells its number.
    given: Vec<(&'static str, OwnedFd)>,
    child: Option<Child>,
    started: Instant,
    failures: u32,
    /// When it is to be started again.
    again: Option<Instant>,
}

impl Part {
    fn new(name: &'static str, arguments: Vec<String>, given: Vec<(&'static str, OwnedFd)>) -> Part {
        Part { name, arguments, given, child: None, started: Instant::now(), failures: 0, again: None }
    }

    fn start(&mut self) -> Result<(), Failure> {
        let wrong = |error: std::io::Error| (format!("{}: {error}", self.name), FAILED);
        let mut command = Command::new("/proc/self/exe");
        command.arg(self.name).args(&self.arguments).stdin(Stdio::null()).stdout(Stdio::null());
        // Keys of the terminal are for us alone.
        command.process_group(0);
        for (argument, file) in &self.given {
            command.arg(argument).arg(file.as_raw_fd().to_string());
        }
        let inherit = |flags: FdFlags| {
            let set =
                |file: BorrowedFd<'_>| rustix::io::fcntl_setfd(file, flags).map_err(|why| wrong(why.into()));
            self.given.iter().try_for_each(|(_, file)| set(file.as_fd()))
        };
        // There is one thread that starts anything, so nobody else inherits them meanwhile.
        inherit(FdFlags::empty())?;
        let child = command.spawn().map_err(wrong);
        inherit(FdFlags::CLOEXEC)?;
        (self.child, self.started, self.again) = (Some(child?), Instant::now(), None);
        Ok(())
    }

    /// Whether it has just ended, and how.
    fn ended(&mut self) -> Option<std::process::ExitStatus> {
        let status = self.child.as_mut()?.try_wait().ok()??;
        self.child = None;
        Some(status)
    }

    /// It ended and is wanted: it is started again, after a pause if it does so often.
    fn start_again(&mut self, status: std::process::ExitStatus) -> Result<(), Failure> {
        let name = self.name.strip_suffix("-part").unwrap_or(self.name);
        // Whoever kills it is not its own failure.
        let failed = status.code().is_some() && self.started.elapsed() < STARTED;
        self.failures = if failed { self.failures + 1 } else { 0 };
        if self.failures >= MOST_FAILURES {
            return Err((format!("{name}: does not start ({status})"), FAILED));
        }
        if !failed {
            say(&format!("{name}: ended ({status}); it is started again"));
        }
        let quick = self.started.elapsed() < STARTED;
        let pause = if failed || quick { Duration::from_millis(50 << self.failures) } else { Duration::ZERO };
        self.again = Some(Instant::now() + pause.min(LONGEST_PAUSE));
        Ok(())
    }

    fn kill(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.child = None;
    }
}

/// Opens as many files as may be needed: up to the hard limit, which root raises.
fn raise_open_files() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    let most = std::fs::read_to_string("/proc/sys/fs/nr_open").ok();
    let most = most.and_then(|text| text.trim().parse().ok()).unwrap_or(hard);
    let raised = OPEN_FILES.max(hard).min(most);
    let set = |hard: u64| {
        let limit = Rlimit { current: Some(hard), maximum: Some(hard) };
        rustix::process::setrlimit(Resource::Nofile, limit)
    };
    if set(raised).is_err() {
        let _ = set(hard.min(most));
    }
}

/// The end of the service, asked of itself: it may take as long as its domains have to end.
struct Ending {
    done: OwnedFd,
    thread: JoinHandle<Result<(), beget_service::Error>>,
}

struct Supervisor {
    socket: PathBuf,
    /// Sockets that were made here, and go when it ends; those that were passed in are somebody else's.
    made: Vec<PathBuf>,
    lives_on: bool,
    signals: Signals,
    parts: Vec<Part>,
    /// The parts end when it closes.
    alive: Option<OwnedFd>,
    ending: Option<Ending>,
    is_ending: bool,
    _locked: listen::Locked,
}

/// Starts the service, and stays until it has ended.
pub(super) fn supervise(asked: &ForService, idle_exit: bool) -> Result<u8, Failure> {
    let wrong = |part: &str, errno: beget_sys::Errno| (format!("{part}: {errno}"), FAILED);
    if asked.other_users && !rustix::process::geteuid().is_root() {
        return Err(("flag --other-users: takes root".to_owned(), FAILED));
    }
    // What is wrong in it is found before anything is started.
    if let Some(file) = &asked.manifest {
        manifest::read(file)?;
    }
    let socket = path(asked)?;
    make_folder(&socket).map_err(crate::domains::failed)?;
    let locked = listen::lock(&socket)?;
    let signals = Signals::take().map_err(|errno| wrong("signals", errno))?;
    raise_open_files();
    let mut passed = listen::passed();
    let at_monitor = locked.folder.join("monitor.sock");
    let mut made = Vec::new();
    let mut listening = |name, path: &PathBuf, mode| match listen::take(&mut passed, name)? {
        Some(socket) => Ok::<_, Failure>(socket),
        None => {
            let socket = listen::listen(path, mode)?;
            made.push(path.clone());
            Ok(socket)
        }
    };
    let for_clients = listening("service", &socket, if asked.other_users { 0o666 } else { 0o600 })?;
    let for_service = listening("monitor", &at_monitor, 0o600)?;
    drop(passed);
    let (watched, alive) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|why| wrong("pipe", beget_sys::Errno(why.raw_os_error())))?;
    let watch = || watched.try_clone().map_err(|error| (format!("pipe: {error}"), FAILED));
    let folder = locked.folder.to_string_lossy().into_owned();
    let mut parts = Vec::new();
    let mut arguments = vec!["--state".to_owned(), folder.clone()];
    arguments.extend(["--nurseries".to_owned(), asked.nurseries.unwrap_or(1).to_string()]);
    arguments.extend(asked.lives_on.then(|| "--live".to_owned()));
    arguments.extend(asked.other_users.then(|| "--other-users".to_owned()));
    parts.push(Part::new(
        "monitor-part",
        arguments,
        vec![("--listener", for_service), ("--alive", watch()?)],
    ));
    let mut arguments = vec!["--state".to_owned(), folder];
    arguments.extend(["--monitor".to_owned(), at_monitor.to_string_lossy().into_owned()]);
    arguments
        .extend(asked.history.map(|most| ["--history".to_owned(), most.to_string()]).into_iter().flatten());
    arguments.extend(idle_exit.then(|| "--idle-exit".to_owned()));
    arguments.extend(asked.other_users.then(|| "--other-users".to_owned()));
    parts.push(Part::new(
        "service-part",
        arguments,
        vec![("--listener", for_clients), ("--alive", watch()?)],
    ));
    if let Some(file) = &asked.manifest {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.clone());
        let arguments = ["--manifest".to_owned(), file.to_string_lossy().into_owned()];
        let socket = ["--socket".to_owned(), socket.to_string_lossy().into_owned()];
        let since = ["--since".to_owned(), crate::units::now().to_string()];
        let arguments = arguments.into_iter().chain(socket).chain(since).collect();
        parts.push(Part::new("manifest-part", arguments, vec![("--alive", watch()?)]));
    }
    for part in &mut parts {
        part.start()?;
    }
    say(&format!("serving at {}", socket.display()));
    let mut supervisor = Supervisor {
        socket,
        made,
        lives_on: asked.lives_on,
        signals,
        parts,
        alive: Some(alive),
        ending: None,
        is_ending: false,
        _locked: locked,
    };
    let outcome = supervisor.until_end();
    supervisor.alive = None;
    supervisor.parts.iter_mut().for_each(Part::kill);
    for socket in &supervisor.made {
        let _ = rustix::fs::unlink(socket);
    }
    outcome.map(|()| 0)
}

impl Supervisor {
    fn until_end(&mut self) -> Result<(), Failure> {
        loop {
            for at in 0..self.parts.len() {
                if let Some(status) = self.parts[at].ended() {
                    self.part_ended(at, status)?;
                }
                if self.parts[at].again.is_some_and(|again| again <= Instant::now()) && !self.is_ending {
                    self.parts[at].start()?;
                }
            }
            if self.is_ending && self.parts.iter().all(|part| part.child.is_none()) {
                return Ok(());
            }
            self.wait();
            while let Some(signal) = self.signals.next() {
                match signal.number {
                    signals::INT | signals::TERM | signals::HUP | signals::QUIT => self.end()?,
                    signals::TSTP => _ = self.signals.suffer(signals::TSTP),
                    _ => {}
                }
            }
            self.see_ending();
        }
    }

    fn part_ended(&mut self, at: usize, status: std::process::ExitStatus) -> Result<(), Failure> {
        if self.is_ending {
            return Ok(());
        }
        match (self.parts[at].name, status.success()) {
            // It was told to end everything, or has nothing left to keep: the monitor has ended, or does now.
            ("service-part", true) => {
                (self.is_ending, self.alive) = (true, None);
                Ok(())
            }
            // It was told so by the service, which is about to end.
            ("monitor-part", true) => {
                self.parts[at].again = Some(Instant::now() + STARTED);
                Ok(())
            }
            // All that it says has ended and is not to be started again.
            ("manifest-part", true) => Ok(()),
            _ => self.parts[at].start_again(status),
        }
    }

    /// Ends everything in order: domains first, unless they live on without us. Whoever asks twice does not want to wait.
    fn end(&mut self) -> Result<(), Failure> {
        if self.is_ending || self.lives_on {
            (self.is_ending, self.alive) = (true, None);
            self.parts.iter_mut().for_each(Part::kill);
            return Ok(());
        }
        self.is_ending = true;
        let (done, told) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
            .map_err(|why| (format!("pipe: {}", beget_sys::Errno(why.raw_os_error())), FAILED))?;
        let socket = self.socket.clone();
        let thread = std::thread::spawn(move || {
            let outcome = Service::connect(socket).and_then(|mut service| service.stop());
            drop(told);
            outcome
        });
        self.ending = Some(Ending { done, thread });
        Ok(())
    }

    /// When the service cannot be asked to end, its parts end without being asked.
    fn see_ending(&mut self) {
        let closed = |ending: &mut Ending| {
            let mut watched = [PollFd::new(&ending.done, PollFlags::IN)];
            poll(&mut watched, Some(&Timespec::default())).is_ok_and(|count| count > 0)
        };
        if let Some(ending) = self.ending.take_if(closed) {
            self.alive = None;
            if let Ok(Err(error)) = ending.thread.join() {
                say(&error.to_string());
                self.parts.iter_mut().for_each(Part::kill);
            }
        }
    }

    fn wait(&self) {
        let next = self.parts.iter().filter_map(|part| part.again).min().filter(|_| !self.is_ending);
        let left = next.map(|next| next.saturating_duration_since(Instant::now()));
        let time = left.and_then(|left| Timespec::try_from(left).ok());
        let mut watched = vec![PollFd::new(&self.signals, PollFlags::IN)];
        watched.extend(self.ending.as_ref().map(|ending| PollFd::new(&ending.done, PollFlags::IN)));
        let _ = poll(&mut watched, time.as_ref());
    }
}
