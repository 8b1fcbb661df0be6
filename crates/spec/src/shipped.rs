//! The profiles that come with Beget, from `profiles/` of the repository.

use crate::file::File;
use crate::node::{self, Value};

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        /// The names of the profiles that are shipped.
        pub const NAMES: &[&str] = &[$($name),*];

        /// Name and text of each.
        const SHIPPED: &[(&str, &str)] = &[$(($name, include_str!(concat!("../profiles/", $name, ".toml")))),*];
    };
}

shipped!("agent", "cargo", "git", "make", "node", "python", "python-parallel");

/// The text of the shipped profile of this name.
#[must_use]
pub fn text(name: &str) -> Option<&'static str> {
    SHIPPED.iter().find(|(other, _)| *other == name).map(|(_, text)| *text)
}

/// What the shipped profile of this name is for.
#[must_use]
pub fn description(name: &str) -> Option<String> {
    let file = File { name: name.to_owned(), folder: None, text: text(name)?.to_owned() };
    let entries = node::parse(&file).ok()?;
    match entries.into_iter().find(|entry| entry.name == "description")?.node.value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
