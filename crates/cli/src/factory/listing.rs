//! `beget factory list`, `replace` and `destroy`.
//!
//! Safety idea: only domains whose birth the service wrote as a keeper's are factories, whatever others are called.

use std::time::Duration;

use super::{factory, keeper_of, of_factory};
use crate::domains::{Failure, failed, print_json, record_as_json, session, set_factories};
use crate::options::Options;
use crate::{say, tell};

/// Lists the factories of this user.
pub(crate) fn list(options: &Options) -> Result<u8, Failure> {
    let mut records = session(&options.service)?.list().map_err(failed)?;
    records.retain(|record| record.keeper);
    if options.json {
        return print_json(&records.iter().map(record_as_json).collect());
    }
    tell(&set_factories(&records, crate::units::now()))
}

/// Has a factory's program started anew.
pub(crate) fn replace(options: &Options) -> Result<u8, Failure> {
    factory(options, "manage")?.replace().map_err(of_factory)?;
    Ok(0)
}

/// Ends factories. Each is ended, whatever became of the one before it.
pub(crate) fn destroy(options: &Options) -> Result<u8, Failure> {
    let (mut records, mut failures) = (Vec::new(), Vec::new());
    for name in &options.service.names {
        let ended =
            keeper_of(options, name).and_then(|mut domain| domain.kill(Duration::ZERO).map_err(failed));
        match ended {
            Ok(record) => records.push(record),
            Err(failure) => failures.push(failure),
        }
    }
    if options.json {
        print_json(&records.iter().map(record_as_json).collect())?;
    }
    let last = failures.pop();
    failures.iter().for_each(|(message, _)| say(message));
    last.map_or(Ok(0), Err)
}
