//! The commands about factories: `beget factory create` and so on, and the process that keeps a factory.
//!
//! Safety idea: they ask with the right that they were given, this user's own or a capability. What a keeper says is believed, and what a
//! domain says that only looks like one is not: the service wrote the birth of the one, and says so.

mod create;
mod keeper;
mod listing;
mod run;
mod saving;
mod showing;
mod table;
mod words;

use std::ffi::OsString;

use beget_factory::remote::RemoteFactory;
use beget_service::Domain;

pub(crate) use create::{create, load};
pub(crate) use keeper::keep;
pub(crate) use listing::{destroy, list, replace};
pub(crate) use run::run;
pub(crate) use saving::save;
pub(crate) use showing::show;
pub(crate) use table::ENTRIES;

use crate::domains::{Failure, failed, session};
use crate::options::{Options, Socket};
use crate::{FAILED, commands};

/// What comes after `beget factory`.
pub(crate) const VERBS: &[&str] = &["create", "run", "list", "show", "replace", "save", "load", "destroy"];

/// `beget factory ...`.
pub(crate) fn dispatch(words: &[OsString]) -> Result<u8, Failure> {
    let wants = || format!("there are {}", commands::sentence(VERBS));
    let Some((verb, rest)) = words.split_first() else {
        return Err((format!("factory: no command was given; {}", wants()), FAILED));
    };
    let entry = ENTRIES.iter().find(|entry| entry.name.strip_prefix("factory-") == verb.to_str());
    match entry {
        Some(entry) => commands::with_flags(entry.name, rest),
        None => Err((format!("command factory {}: no such command; {}", verb.display(), wants()), FAILED)),
    }
}

/// An error of the library's, and its exit code.
fn of_factory(error: beget_factory::Error) -> Failure {
    (error.to_string(), error.exit_code())
}

/// The domain of this name, which keeps a factory.
fn keeper_of(options: &Options, name: &OsString) -> Result<Domain, Failure> {
    let text = name.to_str().unwrap_or_default();
    let mut service = session(&options.service)?;
    let part = |why: &str| (format!("factory {}: {why}", name.display()), FAILED);
    let mut domain = match service.open(text) {
        Ok(domain) => domain,
        Err(error) if error.fault() == beget_service::Fault::NoSuch => {
            return Err(part("no factory has this name"));
        }
        Err(error) => return Err(failed(error)),
    };
    let record = domain.status().map_err(failed)?;
    if !record.keeper {
        return Err(part("this domain keeps no factory"));
    }
    if record.has_ended() {
        return Err(part("it has ended"));
    }
    Ok(domain)
}

/// The factory that is meant, with this right: by its name, or by the capability that we were started with.
fn factory(options: &Options, right: &str) -> Result<RemoteFactory, Failure> {
    let socket = match (&options.service.socket, options.service.names.first()) {
        (Some(Socket::Held(slot)), None) => Socket::held(slot).map_err(|message| (message, FAILED))?,
        (_, Some(name)) => keeper_of(options, name)?.factory(right).map_err(failed)?,
        (_, None) => return Err(("factory: no name was given".to_owned(), FAILED)),
    };
    RemoteFactory::from_fd(socket).map_err(of_factory)
}
