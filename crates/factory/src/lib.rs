//! Factories: a program that is started once and spawned many times.
//!
//! A [`Factory`] is built from a command and sealed; then it yields products. A **template** is the program's process, stopped at its
//! **ready point**; a **product** is a copy of it, which goes on from there. What stands between the two is the stub of `beget-plan`, put beside an unmodified program from outside: [`tracee`] stops it, makes calls in
//! it, and plants the stub; [`memory`] makes it cheap to copy. What a product could tell, and to whom, is answered by [`judge`].
//!
//! # Safety idea
//!
//! All that is done to a program is done before it is ready to be copied, by the thread that traces it, and is looked at before it is
//! trusted: what cannot be copied truly is refused by name. This crate forbids `unsafe`.

#![forbid(unsafe_code)]

pub mod adapter;
pub mod arguments;
mod brand;
mod builder;
mod factory;
mod facts;
mod filling;
pub mod judge;
pub mod keeper;
mod live;
pub mod memory;
mod options;
mod pool;
pub mod ready;
pub mod remote;
mod request;
pub mod saved;
mod statistics;
pub mod survey;
#[cfg(feature = "tokio")]
pub mod tokio;
pub mod tracee;

pub use beget::{Error, Fault, Result};
pub use builder::Builder;
pub use factory::{Factory, Verifier};
pub use facts::{Facts, TemplateFacts};
pub use options::{Options, Pool};
pub use ready::{Point, Ready};
pub use request::Request;
pub use statistics::Statistics;

/// The examples of the README are run with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
