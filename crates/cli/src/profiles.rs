//! `beget profiles`: the profiles that are shipped, and the text of one.

use std::ffi::OsString;
use std::fmt::Write;

use beget_spec::shipped;

use crate::{FAILED, tell};

/// Lists them, or prints the one that is named.
pub(crate) fn profiles(arguments: &[OsString]) -> Result<u8, (String, u8)> {
    let wrong = |message: String| Err((message, FAILED));
    match arguments {
        [] => {
            let width = shipped::NAMES.iter().map(|name| name.len()).max().unwrap_or(0);
            let mut text = String::new();
            for name in shipped::NAMES {
                let _ = writeln!(text, "{name:<width$}  {}", shipped::description(name).unwrap_or_default());
            }
            tell(&text)
        }
        [name] => match name.to_str().and_then(shipped::text) {
            Some(text) => tell(text),
            None => {
                let names = shipped::NAMES.join(", ");
                wrong(format!("profile {}: no such profile is shipped; there are {names}", name.display()))
            }
        },
        [_, more, ..] => {
            wrong(format!("argument {}: there is one at most, a profile's name", more.display()))
        }
    }
}
