//! The whole birth of a child as data.
//!
//! A **plan** is a flat list of **operations** and the bytes they refer to, without a single pointer, so that it means the same
//! in any process. [`Plan::check`] turns bytes, which may come from anybody, into a plan; the [`interpreter`] runs one inside
//! the new process and answers only with (which operation, errno). The words for that stay with whoever wrote the plan.
//!
//! # Safety idea
//!
//! [`op::Op`] is the reviewed list of what can happen in a newborn; nothing else runs there. The interpreter neither allocates,
//! nor panics, nor touches libc, `errno` or thread-local storage. That is shown, not said: the same sources are also linked as
//! a freestanding blob, and that link fails when a panic, a relocation or writable data gets in.
//!
//! # What this crate does not do
//!
//! It does not decide what a child may hold (that is `beget-authority`) nor find programs (that is `beget`).

#![no_std]

#[cfg(not(beget_freestanding))]
extern crate std;

pub mod birth;
#[cfg(not(beget_freestanding))]
pub mod births;
#[cfg(not(beget_freestanding))]
pub mod blob;
#[cfg(not(beget_freestanding))]
pub mod copy;
#[cfg(not(beget_freestanding))]
pub mod current;
#[cfg(not(beget_freestanding))]
pub mod draft;
pub mod encoding;
#[cfg(not(beget_freestanding))]
pub mod engine;
pub mod interpreter;
#[cfg(not(beget_freestanding))]
pub mod link;
pub mod memory;
pub mod message;
#[cfg(not(beget_freestanding))]
pub mod nursery;
pub mod op;
mod root;
pub mod stub;

#[cfg(not(beget_freestanding))]
pub use current::Current;
#[cfg(not(beget_freestanding))]
pub use draft::Draft;
pub use encoding::{Malformed, Plan};
pub use interpreter::{Fault, Outcome};
pub use op::{Engine, Op, Register, Registers};
