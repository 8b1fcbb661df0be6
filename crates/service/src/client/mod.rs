//! The client's side: a session with the service, and domains held by capability.
//!
//! ```no_run
//! use beget::{Command, Grant, ParcelOptions, Stdio};
//! use beget_service::{Service, Wish};
//! use std::time::Duration;
//!
//! let mut service = Service::find()?;
//! let mut command = Command::new("/bin/sleep");
//! command.arg("1000").grant(Grant::Base).channel(true);
//! let parcel = command.parcel(ParcelOptions::default())?;
//! let mut sleeper = service.spawn(Wish::new(parcel).name("sleeper"))?;
//! println!("{:?}", sleeper.status()?.life);
//! sleeper.kill(Duration::from_secs(5))?;
//! # Ok::<(), beget_service::Error>(())
//! ```

mod domain;
mod error;
mod find;
mod keeper;
mod link;
mod service;
mod spawn;
#[cfg(test)]
mod tests;

pub use domain::{Domain, rights};
pub use error::{Error, Fault, Result};
pub use find::{VARIABLE, make_folder, socket_path};
pub use service::Service;
pub use spawn::{Capability, Spawner, Wish, spawner_pair};
