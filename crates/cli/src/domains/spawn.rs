//! `beget spawn`: a program as a domain of the service.
//!
//! Safety idea: everything that the domain is given is opened here, with our rights, and goes to the service as descriptors; a name is looked up
//! nowhere else.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::path::Path;

use beget::{Command, ParcelOptions, Promise, Root, Stdio};
use beget_monitor::protocol::policy;
use beget_service::{Capability, Domain, Fault, Service, Spawner, Wish};
use beget_spec::Spec;
use rustix::fs::{Mode, OFlags};

use super::record::as_json;
use super::{Failure, exit_code, failed};
use crate::options::{ForService, Options, Socket};
use crate::{FAILED, serve, show, tell, terminal};

/// A domain that is to be made.
pub(crate) struct Making<'a> {
    /// What it holds, and what the service does for it.
    pub(crate) options: &'a Options,
    /// Its name; an empty one lets the service choose.
    pub(crate) name: &'a str,
}

/// Who is asked to make a domain: the service, or, inside a domain, what it holds in the slot `spawn`.
pub(crate) enum Maker {
    Service(Service),
    Spawner(Spawner),
}

impl Maker {
    /// What `--socket` says, or this user's service, which is started when there is none.
    fn find(asked: &ForService) -> Result<Maker, Failure> {
        let Some(Socket::Held(slot)) = &asked.socket else {
            return serve::session_or_start(asked).map(Maker::Service);
        };
        let socket = Socket::held(slot).map_err(|message| (message, FAILED))?;
        match Capability::from_fd(socket).map_err(failed)? {
            Capability::Session(service) => Ok(Maker::Service(service)),
            Capability::Spawner(spawner) => Ok(Maker::Spawner(spawner)),
            Capability::Domain(_) => {
                Err((format!("slot {slot}: it is a right to a domain, and not to create one"), FAILED))
            }
        }
    }

    fn service(&mut self, what: &str) -> beget_service::Result<&mut Service> {
        match self {
            Maker::Service(service) => Ok(service),
            Maker::Spawner(_) => {
                let words =
                    "takes a session; what is made with the spawn capability has no more than its creator";
                Err(beget_service::Error::caller(&format!("{what}: {words}")))
            }
        }
    }

    fn spawn(&mut self, wish: Wish) -> beget_service::Result<Domain> {
        match self {
            Maker::Service(service) => service.spawn(wish),
            Maker::Spawner(spawner) => spawner.spawn(wish),
        }
    }
}

impl Making<'_> {
    /// Makes it. One that is refused a private root goes without when that was given up by name.
    pub(crate) fn make(&self, maker: &mut Maker) -> Result<Domain, Failure> {
        let spec = &self.options.spec;
        let given_up = spec.root && spec.degraded.contains(&Promise::Root);
        match self.make_as(maker, spec) {
            Err(error) if given_up && error.fault() == Fault::Birth(beget::Fault::Unkept) => {
                let mut without = spec.clone();
                (without.root, without.inside) = (false, Root::new());
                self.make_as(maker, &without).map_err(failed)
            }
            other => other.map_err(failed),
        }
    }

    fn make_as(&self, maker: &mut Maker, spec: &Spec) -> beget_service::Result<Domain> {
        let options = self.options;
        let asked = &options.service;
        let mut command = spec.command().map_err(|error| beget_service::Error::caller(&error))?;
        command.support(options.support).channel(true);
        self.give_streams(&mut command)?;
        for handed in &asked.capabilities {
            let held = maker.service("flag --capability")?.open(&handed.domain)?;
            command.slot(&handed.slot, super::weaker(held, handed.rights)?);
        }
        let mut ours = None;
        if asked.spawner {
            let (end, theirs) = beget_service::spawner_pair()?;
            command.slot("spawn", theirs);
            ours = Some(end);
        }
        // A nursery of its own outlives the monitor where the others do.
        let nursery = spec.root || asked.spawner;
        let lasting = nursery && maker.service("a nursery of its own")?.state()?.policy == policy::LIVE;
        let parcel = command.parcel(ParcelOptions { lasting, spawner: asked.spawner, together: false })?;
        let holdings = show::as_json(parcel.description(), options).to_string();
        let mut wish = Wish::new(parcel)
            .name(self.name)
            .holdings(holdings)
            .capabilities(self.in_words())
            .grace(spec.grace)
            .tied(asked.tied);
        if let Some(time) = spec.timeout {
            wish = wish.timeout(time);
        }
        if let Some(end) = ours {
            wish = wish.spawner(end);
        }
        maker.spawn(wish)
    }

    /// What it holds, in a word each, for lists.
    fn in_words(&self) -> Vec<String> {
        let service = &self.options.service;
        let grants = self.options.spec.grants.iter().map(ToString::to_string);
        let descriptors = self.options.spec.descriptors.iter().map(|descriptor| descriptor.name.clone());
        let handed = service.capabilities.iter().map(|handed| format!("{}={}", handed.slot, handed.domain));
        let spawner = service.spawner.then(|| "spawn".to_owned());
        grants.chain(descriptors).chain(handed).chain(spawner).collect()
    }

    /// Its standard streams: ours, files, or nothing.
    fn give_streams(&self, command: &mut Command) -> beget_service::Result<()> {
        let service = &self.options.service;
        for (at, file) in service.streams.iter().enumerate() {
            let own = service.own_streams;
            let stream: Stdio = match file {
                Some(file) => open(file, at)?.into(),
                // A session of its own may read any terminal that it holds open.
                None if own && at > 0 => {
                    terminal::to_write_only(at as u32).map_or_else(Stdio::inherit, Stdio::from)
                }
                None if own => Stdio::inherit(),
                None => Stdio::null(),
            };
            match at {
                0 => command.stdin(stream),
                1 => command.stdout(stream),
                _ => command.stderr(stream),
            };
        }
        Ok(())
    }
}

/// A file for a stream of this number.
fn open(file: &Path, at: usize) -> beget_service::Result<OwnedFd> {
    let flags = if at == 0 { OFlags::RDONLY } else { OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE };
    let mode = Mode::from_raw_mode(0o666);
    rustix::fs::open(file, flags | OFlags::CLOEXEC | OFlags::NOCTTY, mode).map_err(|errno| {
        let words = beget_sys::Errno(errno.raw_os_error());
        let flag = ["stdin", "stdout", "stderr"][at];
        beget_service::Error::caller(&format!("flag --{flag} {}: {words}", file.display()))
    })
}

/// `beget spawn`.
pub(crate) fn spawn(options: Options) -> Result<u8, Failure> {
    let asked = &options.service;
    if !options.spec.grace.is_zero() && options.spec.timeout.is_none() {
        return Err(("limit --grace: wants --timeout too".to_owned(), FAILED));
    }
    if asked.own_streams && asked.streams.iter().all(Option::is_some) {
        return Err(("flag --stdio: all three streams are given by other flags".to_owned(), FAILED));
    }
    let unkept = [
        (options.spec.pty, "pty"),
        (options.spec.log.is_some(), "log"),
        (options.spec.output_limit.is_some(), "output-limit"),
        (options.spec.suspend, "suspend"),
    ];
    if let Some((_, key)) = unkept.iter().find(|(asked, _)| *asked) {
        let words = "the spec asks for what somebody must stay beside the program for; use beget run";
        return Err((format!("{key}: {words}"), FAILED));
    }
    let name = match asked.names.first() {
        Some(name) if name.is_empty() => return Err(("domain: a name is not empty".to_owned(), FAILED)),
        Some(name) => super::named(name)?,
        None => "",
    };
    let mut maker = Maker::find(asked)?;
    let mut domain = Making { options: &options, name }.make(&mut maker)?;
    if asked.tied {
        let record = domain.wait().map_err(failed)?;
        if options.json {
            let _ = writeln!(std::io::stderr(), "{}", as_json(&record));
        }
        return exit_code(&record);
    }
    let record = domain.status().map_err(failed)?;
    if options.json { super::print_json(&as_json(&record)) } else { tell(&format!("{}\n", record.name)) }
}
