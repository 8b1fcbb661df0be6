//! A service for whoever spawns a domain while none runs.
//!
//! Safety idea: it is the same `beget serve` as one that somebody starts, detached from the terminal and the folder of whoever was first; the lock
//! decides which of two that start at one time stays.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use beget_service::{Fault, Service};

use super::path;
use crate::domains::{Failure, failed};
use crate::options::ForService;
use crate::{FAILED, say};

/// Says to a `beget serve` that it was started so, and not by a person.
const VARIABLE: &str = "BEGET_STARTED_FOR_SPAWN";
/// How long a service may take to listen.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether this `serve` was started for a spawn: then it leaves the session it was started in, and ends when it has nothing to keep.
pub(super) fn is_detached() -> bool {
    let detached = std::env::var_os(VARIABLE).is_some_and(|value| value == "1");
    if detached {
        // Not the leader of a group, for whoever started us is.
        let _ = rustix::process::setsid();
        let _ = rustix::process::chdir("/");
    }
    detached
}

/// A session with the service that is meant; one is started when none runs.
pub(crate) fn session_or_start(asked: &ForService) -> Result<Service, Failure> {
    let path = path(asked)?;
    match Service::connect(&path) {
        Err(error) if error.fault() == Fault::NotRunning => start(&path),
        other => other.map_err(failed),
    }
}

fn start(path: &std::path::Path) -> Result<Service, Failure> {
    let wrong = |error: std::io::Error| (format!("service {}: {error}", path.display()), FAILED);
    let mut command = Command::new("/proc/self/exe");
    command.args(["serve", "--socket"]).arg(path).env(VARIABLE, "1");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(wrong)?;
    let until = Instant::now() + PATIENCE;
    let mut ended = None;
    loop {
        if ended.is_none() {
            ended = child.try_wait().map_err(wrong)?.map(|status| (status, Instant::now()));
        }
        match Service::connect(path) {
            Err(error) if error.fault() == Fault::NotRunning && Instant::now() < until => {
                // It has ended: another one was faster, and listens in a moment; or it says why.
                if let Some((status, _)) = ended.filter(|(_, at)| at.elapsed() > Duration::from_secs(1)) {
                    let mut said = String::new();
                    if let Some(mut stderr) = child.stderr.take() {
                        let _ = stderr.read_to_string(&mut said);
                    }
                    let why = said.lines().last().and_then(|line| line.strip_prefix("beget: "));
                    let why = why.map_or_else(|| format!("service: {status}"), str::to_owned);
                    return Err((why, FAILED));
                }
                std::thread::sleep(Duration::from_millis(5));
            }
            other => {
                let session = other.map_err(failed)?;
                say(&format!(
                    "no service ran; one was started at {}, and ends when it has nothing left to keep",
                    path.display()
                ));
                return Ok(session);
            }
        }
    }
}
