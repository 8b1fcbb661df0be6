//! What a child is to hold, as data.
//!
//! A [`Spec`] holds everything that the flags of `beget run` can say, and [`Spec::command`] makes the [`beget::Command`] of it. The
//! command line is a `Spec` with what only a command line has, so nothing can be said one way only.
//!
//! Safety idea: a spec gives nothing by itself; what it names is opened when the command is made and used, by whoever does that, with
//! their rights.

#![forbid(unsafe_code)]

mod descriptor;
mod error;
mod spec;
mod words;

pub use descriptor::{Descriptor, Source};
pub use error::{Error, Result};
pub use spec::Spec;
pub use words::{distance, duration, loader, size};
