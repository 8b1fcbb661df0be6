//! `beget factory create` and `beget factory load`.
//!
//! Safety idea: nothing of ours goes to the keeper but words and the descriptors that they name; a factory that cannot be sealed leaves nothing.

use std::os::fd::OwnedFd;
use std::time::Duration;

use beget_factory::remote::{RemoteBuilder, RemoteFactory};
use rustix::fs::{Mode, OFlags};
use serde_json::json;

use super::{of_factory, words};
use crate::domains::{Failure, failed};
use crate::options::Options;
use crate::{FAILED, serve, tell};

/// What only somebody who stays beside a program can do.
fn unkept(options: &Options) -> Option<&'static str> {
    let spec = &options.spec;
    let asked = [
        (spec.pty, "pty"),
        (spec.log.is_some(), "log"),
        (spec.output_limit.is_some(), "output-limit"),
        (spec.suspend, "suspend"),
        (spec.timeout.is_some(), "timeout"),
    ];
    asked.iter().find(|(asked, _)| *asked).map(|(_, key)| *key)
}

/// Builds a factory of what was saved, and seals it.
pub(crate) fn load(options: Options) -> Result<u8, Failure> {
    if options.factory.image.is_none() {
        return Err(("flag --image: no file was named that was saved".to_owned(), FAILED));
    }
    create(options)
}

/// Builds a factory, and seals it.
pub(crate) fn create(options: Options) -> Result<u8, Failure> {
    let asked = &options.service;
    if let Some(key) = unkept(&options) {
        let words = "the spec asks for what a requestor says of its product";
        return Err((format!("{key}: {words}"), FAILED));
    }
    let name = asked.names.first().and_then(|name| name.to_str()).filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| ("factory: a name is not empty, and plain text".to_owned(), FAILED))?;
    if asked.socket.as_ref().is_some_and(crate::options::Socket::is_held) {
        return Err(("flag --socket: wants the path of a service".to_owned(), FAILED));
    }
    let asks = &options.factory;
    if asks.runtime.is_none() && !asks.preload.is_empty() {
        return Err(("flag --preload: wants --python or --perl".to_owned(), FAILED));
    }
    if asks.runtime.is_some() && asks.options.ready.is_some() {
        return Err((
            "flag --ready: an interpreter that is told jobs has a ready point of its own".to_owned(),
            FAILED,
        ));
    }
    let warm = asks.options.ready.is_some() || asks.runtime.is_some() || asks.image.is_some();
    if asks.options.pool.size > 0 && !warm {
        return Err(("flag --pool: wants --ready, for products to be born ahead".to_owned(), FAILED));
    }
    let told = words::encode(&options)?;
    let given = words::given(&options.spec)?;
    let mut service = serve::session_or_start(asked)?;
    let (mut domain, socket) = service.keeper(name).map_err(failed)?;
    match build(socket, &told, &given) {
        Ok(factory) if options.json => {
            let record = domain.status().map_err(failed)?;
            let confined = factory.is_confined(&[]).map_err(of_factory)?;
            tell(&format!("{:#}\n", json!({"name": name, "pid": record.pid, "confined": confined})))
        }
        Ok(_) => tell(&format!("{name}\n")),
        Err(failure) => {
            // Its keeper ends by itself, and its name is free when that is told.
            let _ = domain.kill(Duration::ZERO);
            Err(failure)
        }
    }
}

fn build(socket: OwnedFd, told: &[u8], given: &[OwnedFd]) -> Result<RemoteFactory, Failure> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let here = rustix::fs::open(".", flags, Mode::empty())
        .map_err(|errno| (format!("working directory: {errno}"), FAILED))?;
    let mut builder = RemoteBuilder::from_fd(socket).map_err(of_factory)?;
    builder.build(told, here, &words::borrowed(given)).map_err(of_factory)?;
    builder.seal().map_err(of_factory)
}
