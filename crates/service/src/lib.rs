//! The process service: names, list, status, wait, kill and history of domains, which are held by capability.
//!
//! Safety idea: a connection is a right, and says what it is a right to. The service makes no process; it can be killed at any moment and started
//! again, for whatever it knows is in its journal before anybody is told.

#![forbid(unsafe_code)]

mod client;
pub mod protocol;
pub mod request;
mod server;

pub use client::{
    Capability, Domain, Error, Fault, Result, Service, Spawner, VARIABLE, Wish, make_folder, rights,
    socket_path, spawner_pair,
};
pub use server::{KEEPER, KEEPER_BUILD, Options, Over, Stuck, serve};
