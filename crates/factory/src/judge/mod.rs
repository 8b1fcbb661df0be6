//! Judging: whom a factory's products could tell, and what each constituent is.
//!
//! Everything that each product gets is a **constituent**. One through which a product could tell someone is a **hole**, any other is
//! discreet. The answer is a [`Confinement`].
//!
//! # Safety idea
//!
//! What is not known to be discreet is a hole. What is judged is what an open descriptor is, never what a name says.

mod confinement;
mod constituent;
mod digest;
mod hole;
mod identity;
mod inventory;
mod judgement;
mod keep;
mod look;
mod measure;
mod surroundings;

pub use confinement::{Confinement, Holes, OUT_OF_SCOPE};
pub(crate) use confinement::{compare, is_confined};
pub use constituent::{Constituent, Discretion};
pub use digest::{Digest, DigestKind};
pub use hole::{Access, Hole, HoleIdentity};
pub use identity::ProcessIdentity;
pub use inventory::{Inventory, sealed};
pub use judgement::descriptor;
pub(crate) use keep::for_product;
pub use keep::{anew, own};
pub use surroundings::Surroundings;
