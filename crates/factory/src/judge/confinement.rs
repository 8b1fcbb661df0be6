//! The answer: what a factory's products hold, and whom they could tell.
//!
//! Safety idea: what is not sealed is never confined, whatever it holds; an answer names what it does not speak of.

use std::fmt;

use beget::Enforced;

use super::constituent::{Constituent, Discretion};
use super::digest::Digest;
use super::hole::{Hole, HoleIdentity};

/// What no answer here speaks of.
pub const OUT_OF_SCOPE: &[&str] = &[
    "covert and timing channels: processor time, caches, page cache, memory pressure, the order and times of scheduling",
    "that it opens and reads files: whoever may read the same files can watch that (inotify, named pipes put there, times of access)",
    "the kernel itself, and whoever may do anything on this machine (root outside of namespaces)",
    "what the requestor gives: arguments, capabilities and streams of its own are its own to judge",
    "how a product ends, and when: the requestor is told, and who sees process numbers",
];

/// Anything that has holes: a factory counts as its own holes do.
pub trait Holes {
    /// Whether nothing more can be inserted.
    fn is_sealed(&self) -> bool;
    /// Its holes.
    fn holes(&self) -> &[Hole];
}

/// Whether nothing tells but through what `authorised` names; never, when it is not sealed.
pub(crate) fn is_confined(one: &impl Holes, authorised: &[HoleIdentity]) -> bool {
    let allowed = |hole: &Hole| authorised.iter().any(|one| one.covers(&hole.identity));
    one.is_sealed() && one.holes().iter().all(allowed)
}

/// Whether the holes of one are among the other's. Neither may be unsealed.
pub(crate) fn compare(one: &impl Holes, other: &impl Holes) -> bool {
    let theirs: Vec<HoleIdentity> = other.holes().iter().map(|hole| hole.identity.clone()).collect();
    other.is_sealed() && is_confined(one, &theirs)
}

/// Whether the products of a factory are confined, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Confinement {
    /// Nothing can be inserted any more.
    pub sealed: bool,
    /// Every way on which a product could tell someone; each once.
    pub holes: Vec<Hole>,
    /// All that it gives to each product.
    pub constituents: Vec<Constituent>,
    /// Of the image, its loader and interpreter, and all constituents together.
    pub image: Option<Digest>,
    /// The promises made of a product, and which feature of the kernel keeps each.
    pub enforced: Vec<Enforced>,
    /// What this does not speak of.
    pub out_of_scope: &'static [&'static str],
}

impl Confinement {
    /// Whether a product can tell nobody but through the holes that `authorised` names. Never, when it is not sealed.
    #[must_use]
    pub fn is_confined(&self, authorised: &[HoleIdentity]) -> bool {
        is_confined(self, authorised)
    }

    /// KeyKOS's test: whether its holes are among those of `other`, a factory that is trusted already. Neither may be unsealed.
    #[must_use]
    pub fn compare(&self, other: &Confinement) -> bool {
        compare(self, other)
    }

    /// One line for each thing that is held, with what holds it.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let discreet = self.constituents.iter().filter_map(|one| match &one.discretion {
            Discretion::Discreet { why, held_by } => Some(format!("{}: {why}; held by {held_by}", one.name)),
            Discretion::Hole(_) => None,
        });
        let kept = |line: &Enforced| Some(format!("{}; held by {}", line.promise.what(), line.by?));
        discreet.chain(self.enforced.iter().filter_map(kept)).collect()
    }
}

/// Lines for a person: whether it is confined, each hole with its reason, what is held and by what, each digest, and what this does not speak of.
impl fmt::Display for Confinement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.sealed, self.holes.len()) {
            (false, _) => writeln!(f, "not confined: it is not sealed, and anything may come to be in it")?,
            (true, 0) => writeln!(f, "confined: a product can tell nobody, as far as this speaks")?,
            (true, 1) => writeln!(f, "confined but for one hole:")?,
            (true, count) => writeln!(f, "confined but for {count} holes:")?,
        }
        self.holes.iter().try_for_each(|hole| writeln!(f, "hole: {hole}"))?;
        self.lines().iter().try_for_each(|line| writeln!(f, "held: {line}"))?;
        let mut digests = self.constituents.iter().filter_map(|one| Some((&one.name, one.digest?)));
        digests.try_for_each(|(name, digest)| writeln!(f, "digest: {name}: {digest}"))?;
        if let Some(image) = &self.image {
            writeln!(f, "digest of all: {image}")?;
        }
        self.out_of_scope.iter().try_for_each(|line| writeln!(f, "out of scope: {line}"))
    }
}

impl Holes for Confinement {
    fn is_sealed(&self) -> bool {
        self.sealed
    }

    fn holes(&self) -> &[Hole] {
        &self.holes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::hole::Access;

    fn with_holes(sealed: bool, ports: &[u16]) -> Confinement {
        let hole = |port: &u16| {
            Hole::new(HoleIdentity::new("tcp-connect", port, Access::USE), "a port", "it is connected to")
        };
        let holes = ports.iter().map(hole).collect();
        let (constituents, enforced) = (Vec::new(), Vec::new());
        Confinement { sealed, holes, constituents, image: None, enforced, out_of_scope: OUT_OF_SCOPE }
    }

    #[test]
    fn unsealed_is_never_confined() {
        assert!(with_holes(true, &[]).is_confined(&[]));
        assert!(!with_holes(false, &[]).is_confined(&[]));
        assert!(!with_holes(false, &[]).compare(&with_holes(true, &[])));
        assert!(!with_holes(true, &[]).compare(&with_holes(false, &[])));
    }

    #[test]
    fn one_is_as_good_as_another_when_its_holes_are_among_the_others() {
        let (none, one, two, other) = (
            with_holes(true, &[]),
            with_holes(true, &[1]),
            with_holes(true, &[1, 2]),
            with_holes(true, &[3]),
        );
        assert!(none.compare(&one) && one.compare(&two) && two.compare(&two));
        assert!(!one.compare(&none) && !two.compare(&one) && !other.compare(&two));
        assert!(one.is_confined(&["tcp-connect:1:use".parse().unwrap()]));
        assert!(!two.is_confined(&["tcp-connect:1:use".parse().unwrap()]));
        let (none, two) = (none.to_string(), two.to_string());
        assert!(none.starts_with("confined: ") && !none.contains("hole"), "{none}");
        assert!(
            two.starts_with("confined but for 2 holes:\nhole: a port (tcp-connect:1:use): it is"),
            "{two}"
        );
        assert!(with_holes(false, &[]).to_string().starts_with("not confined: it is not sealed"));
    }
}
