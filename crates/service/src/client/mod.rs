//! The client's side: a session with the service, and domains held by capability.
//!
//! ```no_run
//! use std::time::Duration;
//!
//! let mut service = beget_service::Service::find()?;
//! let mut web = service.open("web")?;
//! println!("{:?}", web.status()?.life);
//! web.kill(Duration::from_secs(5))?;
//! # Ok::<(), beget_service::Error>(())
//! ```

mod domain;
mod error;
mod find;
mod link;
mod service;
#[cfg(test)]
mod tests;

pub use domain::{Domain, rights};
pub use error::{Error, Fault, Result};
pub use find::{VARIABLE, make_folder, socket_path};
pub use service::Service;
