//! The monitor: it makes domains from plans on behalf of clients, with each client's credentials and never more.
//!
//! Safety idea: every message is an allegation. Each capability that a request names came with that request, as a descriptor; a plan is
//! checked before it goes to a nursery, and it goes only to one that has the client's own credentials.

#![forbid(unsafe_code)]

pub mod births;
pub mod channel;
pub mod fields;
mod lasting;
mod monitor;
mod news;
mod nurseries;
mod options;
pub mod packet;
mod peer;
pub mod protocol;
mod requests;
mod service;

pub use monitor::serve;
pub use options::{Error, Options, Policy};
pub use peer::Refusal;
