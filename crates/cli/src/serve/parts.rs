//! The parts of the service, as processes of their own: what `beget serve`, or systemd, executes. They are not for people, and help does
//! not list them.

use std::ffi::{CString, OsString};
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use beget_monitor::Policy;
use lexopt::Arg;
use rustix::fs::{Mode, OFlags};

use super::{listen, manifest};
use crate::FAILED;
use crate::domains::Failure;

/// Their names.
pub(crate) const PARTS: [&str; 3] = ["monitor-part", "service-part", "manifest-part"];

/// What a part is told.
#[derive(Debug, Default)]
struct Told {
    listener: Option<OwnedFd>,
    alive: Option<OwnedFd>,
    state: PathBuf,
    monitor: PathBuf,
    socket: PathBuf,
    manifest: PathBuf,
    nurseries: Option<u32>,
    since: u64,
    history: Option<u32>,
    live: bool,
    other_users: bool,
    idle_exit: bool,
}

fn read(words: &[OsString]) -> Result<Told, String> {
    let mut told = Told::default();
    let mut parser = lexopt::Parser::from_args(words);
    let number = |value: OsString| -> Result<u32, String> {
        value.to_str().and_then(|text| text.parse().ok()).ok_or(format!("{}: no number", value.display()))
    };
    let taken = |value: OsString| -> Result<OwnedFd, String> {
        let number = number(value)? as i32;
        beget_sys::descriptor::take_up(number).map_err(|errno| format!("descriptor {number}: {errno}"))
    };
    while let Some(argument) = parser.next().map_err(|error| error.to_string())? {
        let Arg::Long(name) = argument else { return Err("argument: one too many".to_owned()) };
        let name = name.to_owned();
        match name.as_str() {
            "live" => told.live = true,
            "other-users" => told.other_users = true,
            "idle-exit" => told.idle_exit = true,
            _ => {
                let value = parser.value().map_err(|error| error.to_string())?;
                match name.as_str() {
                    "listener" => told.listener = Some(taken(value)?),
                    "alive" => told.alive = Some(taken(value)?),
                    "state" => told.state = value.into(),
                    "monitor" => told.monitor = value.into(),
                    "socket" => told.socket = value.into(),
                    "manifest" => told.manifest = value.into(),
                    "nurseries" => told.nurseries = Some(number(value)?),
                    "since" => told.since = value.to_string_lossy().parse().unwrap_or(0),
                    "history" => told.history = Some(number(value)?),
                    _ => return Err(format!("flag --{name}: no such flag")),
                }
            }
        }
    }
    Ok(told)
}

/// This very program, which keeps factories too. Where `/proc` is not there, none is kept.
fn own_program() -> Option<OwnedFd> {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::open("/proc/self/exe", flags, Mode::empty()).ok()
}

/// Runs a part until it has ended.
pub(crate) fn part(name: &str, words: &[OsString]) -> Result<u8, Failure> {
    let mut told = read(words).map_err(|message| (format!("{name}: {message}"), FAILED))?;
    // By `/proc/self/exe` it would be called `exe`. A name is all that is lost.
    if let Ok(called) = CString::new(format!("beget-{}", name.trim_end_matches("-part"))) {
        let _ = rustix::thread::set_name(&called);
    }
    if name == "manifest-part" {
        return manifest::keep(&told.manifest, &told.socket, told.since, told.alive);
    }
    let slot = name.strip_suffix("-part").unwrap_or(name);
    if told.listener.is_none() {
        told.listener = listen::take(&mut listen::passed(), slot)?;
    }
    let listener = told.listener.ok_or_else(|| (format!("{name}: no socket was passed to it"), FAILED))?;
    // Whoever connects and leaves at once must not leave us waiting for the next one.
    let nonblocking = rustix::io::ioctl_fionbio(&listener, true);
    nonblocking.map_err(|errno| (format!("{name}: {errno}"), FAILED))?;
    if name == "monitor-part" {
        let options = beget_monitor::Options {
            listener: Some(listener),
            folder: Some(told.state),
            policy: if told.live { Policy::Live } else { Policy::Die },
            nurseries: told.nurseries.unwrap_or(1) as usize,
            other_users: told.other_users,
            alive: told.alive,
            ..beget_monitor::Options::default()
        };
        beget_monitor::serve(options).map_err(|error| (format!("monitor: {error}"), FAILED))?;
    } else {
        let options = beget_service::Options {
            listener,
            monitor: told.monitor,
            state: told.state,
            history: told.history.unwrap_or(1000) as usize,
            idle_exit: told.idle_exit,
            other_users: told.other_users,
            alive: told.alive,
            keeper: own_program(),
        };
        beget_service::serve(options).map_err(|error| (error.to_string(), FAILED))?;
    }
    Ok(0)
}
