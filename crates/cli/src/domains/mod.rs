//! The commands that speak to the service: `ps`, `wait`, `kill`, `send`, `history` and, in files of their own, `spawn` and `show NAME`.
//!
//! Safety idea: they ask with the right that they were given, this user's own or a capability, and have no other.

mod holdings;
mod record;
mod spawn;
mod tables;

use std::ffi::OsString;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use beget_factory::remote::RemoteFactory;
use beget_service::protocol::{Life, Record};
use beget_service::{Domain, Service, socket_path};
use serde_json::Value;

pub(crate) use holdings::{may_be_name, show_if_there};
pub(crate) use record::as_json as record_as_json;
use record::as_json;
pub(crate) use record::by_parent;
pub(crate) use spawn::{Maker, Making, spawn};
pub(crate) use tables::{cut, factories as set_factories, held, state_in_full};

use crate::options::{ForService, Options, Rights, Socket};
use crate::{FAILED, say, tell};

/// A message and an exit code.
pub(crate) type Failure = (String, u8);

/// The exit code of `wait` when one has not ended in time.
const NOT_YET: u8 = 124;

pub(crate) fn failed(error: beget_service::Error) -> Failure {
    (error.to_string(), error.exit_code())
}

/// A session, by what `--socket` says or where this user's service is.
pub(crate) fn session(asked: &ForService) -> Result<Service, Failure> {
    match &asked.socket {
        Some(Socket::Path(path)) => Service::connect(path).map_err(failed),
        Some(Socket::Held(slot)) => {
            let socket = Socket::held(slot).map_err(|message| (message, FAILED))?;
            Service::from_fd(socket).map_err(failed)
        }
        None => Service::connect(socket_path()).map_err(failed),
    }
}

fn named(name: &OsString) -> Result<&str, Failure> {
    name.to_str().ok_or_else(|| (format!("domain {}: no domain has this name", name.display()), FAILED))
}

/// The domains that are meant: those of the names, each found or not, or the one that a capability is a right to.
fn each_domain(asked: &ForService) -> Result<Vec<Result<Domain, Failure>>, Failure> {
    if let (Some(Socket::Held(slot)), []) = (&asked.socket, &asked.names[..]) {
        let socket = Socket::held(slot).map_err(|message| (message, FAILED))?;
        return Ok(vec![Domain::from_fd(socket).map_err(failed)]);
    }
    let mut service = session(asked)?;
    let open = |name| service.open(named(name)?).map_err(failed);
    Ok(asked.names.iter().map(open).collect())
}

/// The same, where nothing is done unless all are there.
fn domains(asked: &ForService) -> Result<Vec<Domain>, Failure> {
    each_domain(asked)?.into_iter().collect()
}

pub(crate) fn print_json(value: &Value) -> Result<u8, Failure> {
    tell(&format!("{value:#}\n"))
}

fn records_as_json(records: &[Record]) -> Value {
    records.iter().map(as_json).collect()
}

/// `beget ps`.
pub(crate) fn list(options: &Options) -> Result<u8, Failure> {
    let records = by_parent(session(&options.service)?.list().map_err(failed)?);
    if options.json {
        let records: Vec<Record> = records.into_iter().map(|(_, record)| record).collect();
        return print_json(&records_as_json(&records));
    }
    tell(&tables::living(&records, crate::units::now(), tables::Look::of_output()))
}

/// `beget history`.
pub(crate) fn history(options: &Options) -> Result<u8, Failure> {
    let most = options.service.limit.unwrap_or(u32::MAX);
    let records = session(&options.service)?.history(most).map_err(failed)?;
    if options.json {
        return print_json(&records_as_json(&records));
    }
    tell(&tables::ended(&records, tables::Look::of_output()))
}

/// The exit code that a domain's end gives.
pub(crate) fn exit_code(record: &Record) -> Result<u8, Failure> {
    match record.life {
        Life::Exited(code) => Ok(code as u8),
        Life::Killed(signal) => Ok(128u8.wrapping_add(signal as u8)),
        Life::Embryo | Life::Running => Ok(NOT_YET),
        Life::Lost => {
            let words = "it is gone, and how it ended nobody knows: its nursery was killed";
            Err((format!("domain {}: {words}", record.name), FAILED))
        }
    }
}

/// `beget wait`.
pub(crate) fn wait(options: &Options) -> Result<u8, Failure> {
    let asked = &options.service;
    let time = if asked.no_hang { Some(Duration::ZERO) } else { asked.timeout };
    let until = time.and_then(|time| Instant::now().checked_add(time));
    let mut records = Vec::new();
    let mut late = false;
    for mut domain in domains(asked)? {
        let ended = match until {
            None => Some(domain.wait().map_err(failed)?),
            Some(until) => {
                let left = until.saturating_duration_since(Instant::now());
                domain.wait_timeout(left).map_err(failed)?
            }
        };
        late |= ended.is_none();
        match ended {
            Some(record) => records.push(record),
            // What it is like is told where the right to see it is there.
            None if options.json => records.extend(domain.status().ok()),
            None => {}
        }
    }
    if options.json {
        print_json(&records_as_json(&records))?;
    }
    match records.last() {
        Some(record) if !late => exit_code(record),
        _ => Ok(NOT_YET),
    }
}

/// `beget kill`.
pub(crate) fn kill(options: &Options) -> Result<u8, Failure> {
    let asked = &options.service;
    let (mut records, mut failures) = (Vec::new(), Vec::new());
    // Each is ended, whatever became of the one before it.
    for domain in each_domain(asked)? {
        let done = domain.and_then(|mut domain| match asked.signal {
            // What it is like then is told where the right to see it is there.
            Some(signal) => domain.signal(signal).map(|()| domain.status().ok()).map_err(failed),
            None => domain.kill(asked.grace).map(Some).map_err(failed),
        });
        match done {
            Ok(record) => records.extend(record),
            Err(failure) => failures.push(failure),
        }
    }
    if options.json {
        print_json(&records_as_json(&records))?;
    }
    let last = failures.pop();
    failures.iter().for_each(|(message, _)| say(message));
    last.map_or(Ok(0), Err)
}

/// A capability with these rights, to be handed on: to the domain, or to the factory that it keeps, made by the keeper itself.
fn weaker(mut held: Domain, rights: Rights) -> beget_service::Result<OwnedFd> {
    match rights {
        Rights::Domain(rights) => Ok(held.attenuate(rights)?.into_fd()),
        Rights::Factory(rights) => {
            let factory = RemoteFactory::from_fd(held.factory("all")?);
            let made = factory.and_then(|factory| factory.attenuate(rights));
            made.map_err(|error| beget_service::Error::caller(&error))
        }
    }
}

/// `beget send`.
pub(crate) fn send(options: &Options) -> Result<u8, Failure> {
    let asked = &options.service;
    if asked.sent.is_empty() && asked.capabilities.is_empty() {
        return Err((
            "send: nothing was said to be sent; there are --fd and --capability".to_owned(),
            FAILED,
        ));
    }
    let mut files = Vec::new();
    for descriptor in &asked.sent {
        let file = descriptor.open().map_err(|errno| (format!("flag --fd {descriptor}: {errno}"), FAILED))?;
        files.push((descriptor.name.clone(), file));
    }
    if !asked.capabilities.is_empty() {
        // A capability in a slot is no session, and names are looked up in one.
        let apart = asked.names.is_empty().then(ForService::default);
        let mut service = session(apart.as_ref().unwrap_or(asked))?;
        for handed in &asked.capabilities {
            let held = service.open(&handed.domain).map_err(failed)?;
            files.push((handed.slot.clone(), weaker(held, handed.rights).map_err(failed)?));
        }
    }
    for mut domain in domains(asked)? {
        for (name, file) in &files {
            domain.send(name, file).map_err(failed)?;
        }
    }
    if options.json { print_json(&files.iter().map(|(name, _)| name.as_str()).collect()) } else { Ok(0) }
}
