//! What a child may do.
//!
//! A [`Grant`] is asked for; [`Authority::prepare`] opens all of them, once, and builds what holds a child to them: a Landlock
//! ruleset as a descriptor and a seccomp filter as instructions. Both are made outside; a newborn only applies them.
//!
//! # Safety idea
//!
//! What is not granted is refused. Each [`Promise`] has an ordered list of mechanisms; the first that this kernel has is used,
//! and when there is none nothing is prepared, unless the caller named that promise to be given up. Nothing is looked up by
//! name a second time: a path is opened once, and its descriptor is what the rule is made of.
//!
//! # What this crate does not do
//!
//! It starts no process. It makes nothing but cgroups, one for each birth whose tree is limited. Of a private root it says what lies where;
//! making it is a plan's work.

#![forbid(unsafe_code)]

mod base;
pub mod cgroup;
mod error;
pub mod filter;
mod grant;
pub mod keyring;
pub mod limit;
mod opened;
mod prepare;
mod promise;
pub mod root;
mod ruleset;
mod support;

pub use error::{Error, Reason};
pub use grant::Grant;
pub use limit::Limit;
pub use opened::{Opened, Rights, real_path};
pub use prepare::{Authority, Request, narrower};
pub use promise::{Enforced, Promise};
pub use root::Root;
pub use ruleset::apart;
pub use support::Support;
