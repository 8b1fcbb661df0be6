//! The manifest part: it starts the domains that a file says, in order of what they need of each other, and again when they end.
//!
//! It is a client as any other, with a session of this user; killed and started again it finds what lives by name, and what has ended since the
//! service was started.
//!
//! Safety idea: nothing that it knows is only in its memory.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use beget_service::protocol::{Life, Record, report};
use beget_service::{Domain, Fault, Service};
use beget_spec::Manifest;
use beget_spec::manifest::{Restart, Wanted};
use rustix::event::{PollFd, PollFlags, poll};

use crate::domains::{Failure, Maker, Making, failed};
use crate::options::{Handed, Options, Rights};
use crate::parse::Wrong;
use crate::{FAILED, say, say_wrong};

/// One that ran so long has not failed to start.
const RAN: Duration = Duration::from_secs(60);
/// The longest pause before a domain is started again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// Reads a manifest and what it says of capabilities.
pub(super) fn read(file: &Path) -> Result<Vec<Wanted>, Failure> {
    let manifest = Manifest::read(file).map_err(|error| {
        let code = say_wrong(&Wrong::from(error));
        (format!("manifest {}: nothing was started", file.display()), code)
    })?;
    for domain in &manifest.domains {
        handed(domain)?;
    }
    Ok(manifest.domains)
}

/// The capabilities to other domains that a domain is given.
fn handed(domain: &Wanted) -> Result<Vec<Handed>, Failure> {
    let one = |(slot, text): &(String, String)| {
        let (name, rights) = text.split_once(':').unwrap_or((text, "all"));
        let rights = beget_service::rights(rights)
            .map_err(|words| (format!("domain {}: capability {slot}: {words}", domain.name), FAILED))?;
        Ok(Handed { slot: slot.clone(), domain: name.to_owned(), rights: Rights::Domain(rights) })
    };
    domain.capabilities.iter().map(one).collect()
}

/// Which domains were started, and which cannot be.
#[derive(Debug, Default)]
struct Board {
    started: Mutex<BTreeMap<String, bool>>,
    changed: Condvar,
}

impl Board {
    fn set(&self, name: &str, started: bool) {
        let mut board = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        board.insert(name.to_owned(), started);
        self.changed.notify_all();
    }

    /// Waits until all of them were started; the one that cannot be, if there is one.
    fn wait_for(&self, names: &[String]) -> Option<String> {
        let mut board = self.started.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(name) = names.iter().find(|name| board.get(*name) == Some(&false)) {
                return Some(name.clone());
            }
            if names.iter().all(|name| board.contains_key(name)) {
                return None;
            }
            board = self.changed.wait(board).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// What a keeper of a domain has: one thread for each, which mostly waits.
struct Keeper {
    wanted: Wanted,
    socket: PathBuf,
    /// What was started before is of another run of the service.
    since: u64,
    board: Arc<Board>,
}

/// Keeps the domains of a manifest until none is to be started again, or whoever started us is gone.
pub(super) fn keep(file: &Path, socket: &Path, since: u64, alive: Option<OwnedFd>) -> Result<u8, Failure> {
    let board = Arc::new(Board::default());
    let mut threads = Vec::new();
    for wanted in read(file)? {
        let keeper = Keeper { wanted, socket: socket.to_owned(), since, board: board.clone() };
        threads.push(std::thread::spawn(move || keeper.run()));
    }
    let joining = std::thread::spawn(move || threads.into_iter().for_each(|thread| _ = thread.join()));
    match alive {
        None => _ = joining.join(),
        Some(alive) => {
            // The end of all threads is seen as the closing of a pipe, too.
            let (done, told) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
                .map_err(|errno| (format!("pipe: {errno}"), FAILED))?;
            std::thread::spawn(move || {
                let _ = joining.join();
                drop(told);
            });
            let mut watched = [PollFd::new(&alive, PollFlags::IN), PollFd::new(&done, PollFlags::IN)];
            while poll(&mut watched, None) == Err(rustix::io::Errno::INTR) {}
        }
    }
    Ok(0)
}

impl Keeper {
    fn run(&self) {
        let name = &self.wanted.name;
        if let Err((message, _)) = self.keep() {
            say(&self.told(&message));
            self.board.set(name, false);
        }
    }

    /// What went wrong, with the domain's name where the part at fault is something of it.
    fn told(&self, message: &str) -> String {
        let domain = format!("domain {}: ", self.wanted.name);
        let named = if message.starts_with(&domain) { "" } else { &domain };
        format!("manifest: {named}{message}")
    }

    fn keep(&self) -> Result<(), Failure> {
        let name = &self.wanted.name;
        if let Some(need) = self.board.wait_for(&self.wanted.needs) {
            return Err((format!("domain {name}: not started, for {need} could not be"), FAILED));
        }
        let mut service = Service::connect(&self.socket).map_err(failed)?;
        let mut domain = self.find(&mut service)?;
        let mut failures = match &domain {
            Some(domain) => self.failures_before(&mut service, domain.id())?,
            None => 0,
        };
        let mut maker = Maker::Service(service);
        loop {
            let begun = Instant::now();
            let outcome = match domain.take() {
                Some(domain) => Ok(domain),
                None => self.start(&mut maker),
            };
            let ended = match outcome {
                Ok(mut domain) => {
                    self.board.set(name, true);
                    Some(domain.wait().map_err(failed)?)
                }
                Err(failure) if self.wanted.restart == Restart::Never => return Err(failure),
                Err((message, _)) => {
                    say(&self.told(&message));
                    None
                }
            };
            if !is_wanted_again(self.wanted.restart, ended.as_ref()) {
                return Ok(());
            }
            failures = if begun.elapsed() >= RAN { 1 } else { failures + 1 };
            if self.wanted.restarts.is_some_and(|most| failures > most) {
                return Err((
                    format!("domain {name}: was started {failures} times in a row, and is not again"),
                    FAILED,
                ));
            }
            let pause = self.wanted.backoff.saturating_mul(1 << (failures - 1).min(16));
            std::thread::sleep(pause.min(LONGEST_PAUSE));
        }
    }

    /// The domain, if it lives, or has ended since the service was started.
    fn find(&self, service: &mut Service) -> Result<Option<Domain>, Failure> {
        let mut domain = match service.open(&self.wanted.name) {
            Ok(domain) => domain,
            Err(error) if error.fault() == Fault::NoSuch => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let record = domain.status().map_err(failed)?;
        Ok((!record.has_ended() || record.started >= self.since).then_some(domain))
    }

    /// How often in a row it was started before this one, and did not run long. The history knows, and whoever counted may have been killed.
    fn failures_before(&self, service: &mut Service, this: u64) -> Result<u32, Failure> {
        let history = service.history(u32::MAX).map_err(failed)?;
        let earlier = history.iter().filter(|record| record.name == self.wanted.name && record.id < this);
        let failed = |record: &&Record| {
            let ran = Duration::from_millis(record.ended.saturating_sub(record.started));
            record.started >= self.since && ran < RAN
        };
        Ok(earlier.take_while(failed).count() as u32)
    }

    fn start(&self, maker: &mut Maker) -> Result<Domain, Failure> {
        let wanted = &self.wanted;
        let mut options = Options { spec: wanted.spec.clone(), ..Options::new() };
        options.service.streams.clone_from(&wanted.streams);
        options.service.spawner = wanted.spawner;
        options.service.capabilities = handed(wanted)?;
        Making { options: &options, name: &wanted.name }.make(maker)
    }
}

/// Whether it is to be started again after this end, or after it could not be started. Whoever kills it does not want it.
fn is_wanted_again(restart: Restart, ended: Option<&Record>) -> bool {
    match restart {
        _ if ended.is_some_and(|record| record.report == report::KILLED) => false,
        Restart::Never => false,
        Restart::Always => true,
        Restart::OnFailure => ended.is_none_or(|record| record.life != Life::Exited(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_failure_or_none() {
        let ended = |life| Record { life, ..Record::default() };
        for (restart, life, again) in [
            (Restart::Never, Life::Killed(9), false),
            (Restart::Always, Life::Exited(0), true),
            (Restart::OnFailure, Life::Exited(0), false),
            (Restart::OnFailure, Life::Exited(1), true),
            (Restart::OnFailure, Life::Killed(15), true),
            (Restart::OnFailure, Life::Lost, true),
        ] {
            assert_eq!(is_wanted_again(restart, Some(&ended(life))), again, "{restart:?} {life:?}");
        }
        let killed = Record { report: report::KILLED.to_owned(), ..ended(Life::Killed(9)) };
        assert!(!is_wanted_again(Restart::Always, Some(&killed)));
        assert!(is_wanted_again(Restart::OnFailure, None));
    }

    #[test]
    fn a_need_that_cannot_be_started_is_told_to_those_that_wait() {
        let board = Arc::new(Board::default());
        let other = board.clone();
        let waiting = std::thread::spawn(move || other.wait_for(&["a".to_owned(), "b".to_owned()]));
        board.set("a", true);
        board.set("b", false);
        assert_eq!(waiting.join().unwrap(), Some("b".to_owned()));
        assert_eq!(board.wait_for(&["a".to_owned()]), None);
    }
}
