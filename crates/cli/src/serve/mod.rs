//! `beget serve`: the service, its supervisor, and the parts that it starts.
//!
//! Safety idea: the supervisor does nothing for anybody: it holds the sockets and the lock, and starts again what was killed. Everything that a
//! client can reach is in the parts.

mod listen;
mod manifest;
mod parts;
mod start;
mod supervisor;

use std::path::PathBuf;

use beget_service::protocol::State;
use beget_service::socket_path;
use serde_json::json;

pub(crate) use parts::{PARTS, part};
pub(crate) use start::session_or_start;

use crate::domains::{Failure, failed, session};
use crate::options::{ForService, Options, Socket};
use crate::show::Table;
use crate::{FAILED, tell, units};

/// Where the service listens that is meant.
pub(crate) fn path(asked: &ForService) -> Result<PathBuf, Failure> {
    let path = match &asked.socket {
        Some(Socket::Path(path)) => path.clone(),
        _ => socket_path(),
    };
    std::path::absolute(&path).map_err(|error| (format!("service {}: {error}", path.display()), FAILED))
}

/// `beget serve`.
pub(crate) fn serve(options: Options) -> Result<u8, Failure> {
    let asked = &options.service;
    if asked.stop && asked.status {
        return Err(("flag --stop: not together with --status".to_owned(), FAILED));
    }
    if asked.status {
        return status(&options);
    }
    if asked.stop {
        let mut session = session(asked)?;
        // As it was before: there is nobody to ask afterwards.
        let last =
            if options.json { as_json(&session.state().map_err(failed)?, asked)? } else { String::new() };
        session.stop().map_err(failed)?;
        // It has ended when nobody holds its lock.
        listen::wait_for_end(&path(asked)?);
        return tell(&last);
    }
    if options.json {
        return Err(("flag --json: wants --status or --stop".to_owned(), FAILED));
    }
    supervisor::supervise(asked, start::is_detached())
}

fn lives_on(state: &State) -> bool {
    state.policy == beget_monitor::protocol::policy::LIVE
}

fn as_json(state: &State, asked: &ForService) -> Result<String, Failure> {
    let value = json!({
        "socket": path(asked)?.to_string_lossy(),
        "service": state.service,
        "monitor": (state.monitor != 0).then_some(state.monitor),
        "on_monitor_death": if lives_on(state) { "live" } else { "die" },
        "living": state.living,
        "remembered": state.remembered,
        "connections": state.connections,
        "started": units::moment(state.started),
        "service_memory": state.service_memory,
        "monitor_memory": state.monitor_memory,
    });
    Ok(format!("{value:#}\n"))
}

/// What the service says of itself.
fn status(options: &Options) -> Result<u8, Failure> {
    let state = session(&options.service)?.state().map_err(failed)?;
    let path = path(&options.service)?;
    if options.json {
        return tell(&as_json(&state, &options.service)?);
    }
    let mut table = Table::new();
    table.row("socket", path.display().to_string(), "");
    table.row("started", units::moment(state.started), "");
    table.row("service", format!("process {}", state.service), units::short(state.service_memory));
    let monitor =
        if state.monitor == 0 { "none now".to_owned() } else { format!("process {}", state.monitor) };
    table.row("monitor", monitor, units::short(state.monitor_memory));
    table.row(
        "domains",
        state.living.to_string(),
        if lives_on(&state) { "outlive the monitor" } else { "end with the monitor" },
    );
    table.row("remembered", state.remembered.to_string(), "");
    table.row("connections", state.connections.to_string(), "");
    table.end_section("SERVICE");
    tell(&table.finish())
}
