//! Digests: what a file or a folder was when it was looked at.
//!
//! Safety idea: a digest says by its kind how much was looked at, and two of different kinds are never equal.

use std::fmt;
use std::str::FromStr;

/// How much a digest covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum DigestKind {
    /// Every byte of one file.
    File,
    /// A folder with all below it: names, modes and sizes, the bytes of every file and the targets of links.
    Folder,
    /// A folder that is too large to be read whole: names, modes, sizes and times of last change, and no contents.
    Listing,
    /// Several digests with their names, as of a whole factory.
    Whole,
}

impl DigestKind {
    const ALL: [DigestKind; 4] =
        [DigestKind::File, DigestKind::Folder, DigestKind::Listing, DigestKind::Whole];

    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            DigestKind::File => "file",
            DigestKind::Folder => "folder",
            DigestKind::Listing => "listing",
            DigestKind::Whole => "whole",
        }
    }

    /// What it covers, in words.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            DigestKind::File => "every byte",
            DigestKind::Folder => "every name, mode and byte below it",
            DigestKind::Listing => {
                "names, modes, sizes and times below it, and no contents: it is too large to be read whole"
            }
            DigestKind::Whole => "the digests of its parts",
        }
    }
}

/// A SHA-256 of something, and how much of it was looked at. Written as `sha256-file:` and 64 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest {
    /// How much it covers.
    pub kind: DigestKind,
    /// The SHA-256.
    pub bytes: [u8; 32],
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256-{}:", self.kind.word())?;
        self.bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Digest {
    type Err = String;

    fn from_str(text: &str) -> Result<Digest, String> {
        let wrong = || format!("{text}: a digest is written as sha256-KIND: and 64 hexadecimal digits");
        let (kind, digits) =
            text.strip_prefix("sha256-").and_then(|rest| rest.split_once(':')).ok_or_else(wrong)?;
        let kind = DigestKind::ALL.into_iter().find(|one| one.word() == kind).ok_or_else(wrong)?;
        // Only the digits that are written here: two texts never mean one digest.
        if digits.len() != 64 || !digits.bytes().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(wrong());
        }
        let mut bytes = [0; 32];
        for (byte, at) in bytes.iter_mut().zip((0..64).step_by(2)) {
            *byte = u8::from_str_radix(&digits[at..at + 2], 16).map_err(|_| wrong())?;
        }
        Ok(Digest { kind, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_read_as_they_are_written() {
        for kind in DigestKind::ALL {
            let digest = Digest { kind, bytes: std::array::from_fn(|index| index as u8 * 7) };
            assert_eq!(digest.to_string().parse(), Ok(digest));
        }
        let good = Digest { kind: DigestKind::File, bytes: [0xab; 32] }.to_string();
        for wrong in [
            "",
            "sha256-file:",
            &good[..70],
            &good.to_uppercase(),
            &good.replace("file", "fil"),
            &format!("{good}0"),
            &good.replace('b', "+"),
            &good.replace("ab", "é"),
        ] {
            assert!(wrong.parse::<Digest>().is_err(), "{wrong}");
        }
    }
}
