//! What a child is to hold, as data.
//!
//! A [`Spec`] holds everything that the flags of `beget run` can say, and [`Spec::command`] makes the [`beget::Command`] of it. The
//! command line is a `Spec` with what only a command line has, so nothing can be said one way only.
//!
//! With the feature `serde` a `Spec` can lie in a file of another format, as any `Deserialize`.
//!
//! Safety idea: a spec gives nothing by itself; what it names is opened when the command is made and used, by whoever does that, with
//! their rights.

#![forbid(unsafe_code)]

mod descriptor;
mod error;
mod file;
mod keys;
mod load;
pub mod manifest;
mod node;
#[cfg(test)]
mod properties;
mod read;
#[cfg(test)]
mod schema;
#[cfg(feature = "serde")]
mod serde;
pub mod shipped;
mod spec;
mod variables;
mod words;

pub use descriptor::{Descriptor, Source};
pub use error::{Error, Result};
pub use file::LARGEST;
pub use keys::keys;
pub use manifest::Manifest;
pub use spec::Spec;
pub use variables::Variables;
pub use words::{distance, duration, loader, size};
