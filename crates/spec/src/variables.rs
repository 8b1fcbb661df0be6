//! Variables of a spec, `${NAME}`: given by whoever uses it, never taken from the environment.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// The values of a spec's variables.
///
/// In text, `${NAME}` stands for a value and `$$` for one `$`; any other `$` is itself.
#[derive(Clone, Debug, Default)]
pub struct Variables {
    values: BTreeMap<String, (OsString, Cell<bool>)>,
}

impl Variables {
    /// None.
    #[must_use]
    pub fn new() -> Variables {
        Variables::default()
    }

    /// Sets one. A value that is `.` or `..`, or begins with `./` or `../`, is a path from the current directory and made absolute.
    ///
    /// # Errors
    /// A sentence: the name has other characters than letters, digits and `_`, or begins with a digit; the current directory is not
    /// to be had.
    pub fn set(&mut self, name: &str, value: impl Into<OsString>) -> Result<(), String> {
        if !is_name(name) {
            return Err(format!("{name:?} is no name for a variable; it has letters, digits and _"));
        }
        let value = value.into();
        let first = Path::new(&value).components().next();
        let value = if matches!(first, Some(Component::CurDir | Component::ParentDir)) {
            let here = std::env::current_dir().map_err(|error| {
                let words = error.raw_os_error().map(|number| beget_sys::Errno(number).to_string());
                format!("the current directory: {}", words.unwrap_or_default())
            })?;
            // Links are left alone: where `..` leads then is for the kernel to say.
            here.join(&value).components().collect::<PathBuf>().into_os_string()
        } else {
            value
        };
        self.values.insert(name.to_owned(), (value, Cell::new(false)));
        Ok(())
    }

    /// The names that nothing asked for in what was read with these: most likely mistyped.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.values.iter().filter(|(_, (_, used))| !used.get()).map(|(name, _)| name.as_str())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&OsStr> {
        let (value, used) = self.values.get(name)?;
        used.set(true);
        Some(value)
    }

    /// The text with the variables' values.
    pub(crate) fn expand(&self, text: &str) -> Result<Expanded, Wrong> {
        let mut value = OsString::with_capacity(text.len());
        let mut rest = text;
        let mut begins = None;
        while let Some(at) = rest.find('$') {
            value.push(&rest[..at]);
            let after = &rest[at + 1..];
            if let Some(after) = after.strip_prefix('$') {
                value.push("$");
                rest = after;
            } else if let Some(inside) = after.strip_prefix('{') {
                let end =
                    inside.find('}').ok_or_else(|| Wrong { what: format!("${{{inside}"), unset: false })?;
                let name = &inside[..end];
                let wrong = |unset| Wrong { what: format!("${{{name}}}"), unset };
                if !is_name(name) {
                    return Err(wrong(false));
                }
                if value.is_empty() && begins.is_none() {
                    begins = Some(name.to_owned());
                }
                value.push(self.get(name).ok_or_else(|| wrong(true))?);
                rest = &inside[end + 1..];
            } else {
                value.push("$");
                rest = after;
            }
        }
        value.push(rest);
        Ok(Expanded { value, begins })
    }
}

/// Text with its variables' values.
#[derive(Debug)]
pub(crate) struct Expanded {
    pub(crate) value: OsString,
    /// The variable that it began with.
    pub(crate) begins: Option<String>,
}

/// A variable that has no value, or is not written as one.
#[derive(Debug)]
pub(crate) struct Wrong {
    /// As it stands in the text.
    pub(crate) what: String,
    pub(crate) unset: bool,
}

fn is_name(name: &str) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphabetic() || *byte == b'_';
    let bytes = OsStr::new(name).as_bytes();
    bytes.first().is_some_and(letter) && bytes.iter().all(|byte| letter(byte) || byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_where_the_names_stood() {
        let mut variables = Variables::new();
        variables.set("A", "x").expect("a name");
        variables.set("B_2", "").expect("a name");
        let expand = |text: &str| variables.expand(text).map(|expanded| expanded.value);
        for (text, value) in [
            ("", ""),
            ("plain", "plain"),
            ("${A}", "x"),
            ("/${A}/${A}${B_2}/", "/x/x/"),
            ("$${A}", "${A}"),
            ("$$$${A}", "$${A}"),
            ("$A $ 5$", "$A $ 5$"),
        ] {
            assert_eq!(expand(text).expect("all are set"), value, "{text}");
        }
        assert!(expand("a${C}").expect_err("not set").unset);
        for wrong in ["${", "${A", "${}", "${A B}", "${1}"] {
            assert!(!expand(wrong).expect_err(wrong).unset, "{wrong}");
        }
        assert_eq!(variables.unused().count(), 0);
    }

    #[test]
    fn a_value_with_a_dot_is_a_path_from_here() {
        let mut variables = Variables::new();
        let here = std::env::current_dir().expect("there is one");
        for (value, meant) in [(".", here.clone()), ("./a/.", here.join("a")), ("..", here.join(".."))] {
            variables.set("A", value).expect("a name");
            assert_eq!(variables.get("A"), Some(meant.as_os_str()), "{value}");
        }
        for value in ["a", "/a", ".a", "a/..", ""] {
            variables.set("A", value).expect("a name");
            assert_eq!(variables.get("A"), Some(OsStr::new(value)));
        }
        assert!(variables.set("1", "").is_err() && variables.set("", "").is_err());
        variables.set("B", "").expect("a name");
        assert_eq!(variables.unused().collect::<Vec<_>>(), ["B"]);
    }
}
