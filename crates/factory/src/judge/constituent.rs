//! Constituents: what a factory gives each product, each with its judgement.

use std::fmt;

use super::digest::Digest;
use super::hole::{Access, Hole};

/// Whether a product can tell someone through a constituent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Discretion {
    /// It cannot.
    Discreet {
        /// Why.
        why: String,
        /// What keeps it so: a feature of the kernel, or a property of the thing itself.
        held_by: String,
    },
    /// It can.
    Hole(Hole),
}

/// Something that each product gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Constituent {
    /// Its name: a slot's, or the grant as it is typed.
    pub name: String,
    /// What it is: `regular file`, `pipe`, `folder` and so on.
    pub kind: &'static str,
    /// What may be done with it.
    pub access: Access,
    /// Whether a product can tell someone through it.
    pub discretion: Discretion,
    /// What it was when it was inserted; none for what has no contents of its own, and for what could not be read.
    pub digest: Option<Digest>,
}

impl Constituent {
    /// The hole that it is.
    #[must_use]
    pub fn hole(&self) -> Option<&Hole> {
        match &self.discretion {
            Discretion::Hole(hole) => Some(hole),
            Discretion::Discreet { .. } => None,
        }
    }
}

impl fmt::Display for Constituent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}, {}): ", self.name, self.kind, self.access)?;
        match &self.discretion {
            Discretion::Discreet { why, held_by } => write!(f, "discreet: {why}; held by {held_by}"),
            Discretion::Hole(hole) => write!(f, "a hole: {}", hole.reason),
        }
    }
}
