//! Capabilities after birth: what goes over the channel between a process and whoever holds it.
//!
//! The channel is a pair of Unix sockets that keep packets apart (`SOCK_SEQPACKET`, `man 7 unix`). A packet is a name: 1 to 255 bytes of
//! UTF-8 without control characters, and so without a NUL or a line's end. From the holder it comes with exactly one descriptor: the
//! capability of that name. From the process it comes with none: it asks for the capability of that name. There is nothing else, so whatever
//! can `recvmsg` can use it.
//!
//! The process finds its end in the slot named [`SLOT`], by the convention of `LISTEN_FDS` (`man 3 sd_listen_fds_with_names`): [`channel`]
//! does that. The holder's end is a [`Holder`].
//!
//! # Safety idea
//!
//! What comes is an allegation from the other side. A packet that is none is skipped, its descriptors are closed, and how many are skipped in
//! one call is bounded. Neither side waits for the other unless it says so: a holder never waits for a process that does not read.
//!
//! # What this crate does not do
//!
//! A descriptor is all that it hands over. What confines the process stays as it was: below a directory that is sent nothing can be
//! opened that was not granted before.

#![forbid(unsafe_code)]

mod error;
mod holder;
mod inside;
mod packet;

pub use error::{Error, Result};
pub use holder::Holder;
pub use inside::{Channel, channel};
pub use packet::{LONGEST_NAME, MOST_SKIPPED, Packet, check_name, receive, send};

/// The name of the slot that the process finds its end in.
pub const SLOT: &str = "beget";

#[cfg(test)]
mod tests;

/// The example of the README is checked with the others.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
