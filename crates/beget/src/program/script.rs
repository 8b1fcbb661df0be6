//! The first line of a script.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

/// The longest first line, as in the kernel.
const LONGEST: usize = 255;

/// `#!interpreter argument`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) interpreter: OsString,
    /// All after the interpreter is one argument.
    pub(super) argument: Option<OsString>,
}

/// Reads the first line; `None` when the file is not a script.
pub(super) fn parse(head: &[u8]) -> Result<Option<Line>, &'static str> {
    let Some(rest) = head.strip_prefix(b"#!") else { return Ok(None) };
    let end = match rest.iter().position(|byte| *byte == b'\n') {
        Some(end) => end,
        None if head.len() <= LONGEST => rest.len(),
        None => return Err("its first line is longer than 255 bytes"),
    };
    // Blanks alone are trimmed: a carriage return is a part of the name, for the kernel too.
    let blank = |byte: &u8| *byte == b' ' || *byte == b'\t';
    let line = trim(&rest[..end], blank);
    let (interpreter, argument) = match line.iter().position(blank) {
        Some(at) => (&line[..at], trim(&line[at..], blank)),
        None => (line, &b""[..]),
    };
    if interpreter.is_empty() {
        return Err("its first line names no interpreter");
    }
    let owned = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
    Ok(Some(Line {
        interpreter: owned(interpreter),
        argument: (!argument.is_empty()).then(|| owned(argument)),
    }))
}

fn trim(text: &[u8], blank: impl Fn(&u8) -> bool) -> &[u8] {
    let from = text.iter().position(|byte| !blank(byte)).unwrap_or(text.len());
    let to = text.iter().rposition(|byte| !blank(byte)).map_or(from, |last| last + 1);
    &text[from..to]
}

impl Line {
    /// What `env` will look up, when the interpreter is `env`: the first word that is no option and no assignment.
    pub(super) fn env_target(&self) -> Option<OsString> {
        if Path::new(&self.interpreter).file_name() != Some(OsStr::new("env")) {
            return None;
        }
        let argument = self.argument.as_ref()?.as_bytes();
        let words: Vec<&[u8]> = match argument.strip_prefix(b"-S") {
            Some(split) => split.split(|byte| byte.is_ascii_whitespace()).collect(),
            None => vec![argument],
        };
        // An option that takes a value would have the value granted, and another program run.
        const ALONE: [&[u8]; 5] = [b"-i", b"--ignore-environment", b"-", b"-v", b"--debug"];
        let target = words
            .into_iter()
            .find(|word| !word.is_empty() && !ALONE.contains(word) && !word.contains(&b'='))?;
        if target[0] == b'-' {
            return None;
        }
        Some(OsString::from_vec(target.to_vec()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> Option<(String, Option<String>)> {
        let words = |words: OsString| words.into_string().unwrap();
        parse(text.as_bytes()).unwrap().map(|line| (words(line.interpreter), line.argument.map(words)))
    }

    #[test]
    fn lines_read_as_the_kernel_reads_them() {
        assert_eq!(line("#!/bin/sh\n"), Some(("/bin/sh".into(), None)));
        assert_eq!(line("#! /bin/sh -e -u \nx"), Some(("/bin/sh".into(), Some("-e -u".into()))));
        assert_eq!(line("#!/bin/sh"), Some(("/bin/sh".into(), None)));
        assert_eq!(line("\x7fELF"), None);
        assert_eq!(line(""), None);
        assert!(parse(b"#!\n").is_err());
        assert!(parse(&[b"#!/".as_slice(), &[b'x'; 253]].concat()).is_err());
    }

    proptest::proptest! {
        #[test]
        fn foreign_bytes_are_an_answer_not_a_panic(
            head in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..=256),
        ) {
            for head in [head.clone(), [b"#!".as_slice(), &head].concat(), [b"#!/usr/bin/env ".as_slice(), &head].concat()] {
                if let Ok(Some(line)) = parse(&head) {
                    let name = line.interpreter.as_bytes();
                    proptest::prop_assert!(!name.is_empty() && !name.contains(&b'\n') && !name.contains(&b' '));
                    let _ = line.env_target();
                }
            }
        }
    }

    #[test]
    fn env_names_its_target() {
        let target = |text: &str| parse(text.as_bytes()).unwrap().unwrap().env_target();
        assert_eq!(target("#!/usr/bin/env python3\n"), Some("python3".into()));
        assert_eq!(target("#!/usr/bin/env -S -i A=b node --x\n"), Some("node".into()));
        assert_eq!(target("#!/bin/sh env\n"), None);
        assert_eq!(
            target("#!/usr/bin/env -S -u /home/somebody/secret.sh python3\n"),
            None,
            "an option's value"
        );
        assert_eq!(target("#!/usr/bin/env --split-string=x\n"), None);
    }
}
