//! Holes: the ways on which a product could tell someone.
//!
//! Safety idea: a hole is known by the kernel's own name for what is behind it, never by a path or a name that somebody chose; what has no
//! such name gets a number that nobody else has, so that two holes are taken for one only when they are one.

use std::fmt;
use std::str::FromStr;

/// What may be done with a constituent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Access(u8);

impl Access {
    /// Nothing but to hold it.
    pub const NONE: Access = Access(0);
    /// To read it.
    pub const READ: Access = Access(1);
    /// To change it.
    pub const WRITE: Access = Access(2);
    /// To execute it.
    pub const EXECUTE: Access = Access(4);
    /// Anything else that its kind allows: connecting, signalling, `ioctl`.
    pub const USE: Access = Access(8);

    const WORDS: [(Access, &'static str); 4] = [
        (Access::READ, "read"),
        (Access::WRITE, "write"),
        (Access::EXECUTE, "execute"),
        (Access::USE, "use"),
    ];

    /// Both.
    #[must_use]
    pub const fn and(self, other: Access) -> Access {
        Access(self.0 | other.0)
    }

    /// Whether all of `other` is allowed.
    #[must_use]
    pub const fn allows(self, other: Access) -> bool {
        self.0 & other.0 == other.0
    }
}

impl fmt::Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = Access::WORDS.iter().filter(|(access, _)| self.allows(*access)).map(|(_, word)| *word);
        let words: Vec<&str> = words.collect();
        f.write_str(&if words.is_empty() { "none".to_owned() } else { words.join("+") })
    }
}

impl FromStr for Access {
    type Err = String;

    fn from_str(text: &str) -> Result<Access, String> {
        if text == "none" {
            return Ok(Access::NONE);
        }
        text.split('+').try_fold(Access::NONE, |all, word| {
            let found = Access::WORDS.iter().find(|(_, known)| *known == word);
            let (access, _) = found
                .ok_or_else(|| format!("{text}: no such access; there are read, write, execute and use"))?;
            Ok(all.and(*access))
        })
    }
}

/// Which hole it is: the same in every factory that has it, and no other's.
///
/// Written as `KIND:OBJECT:ACCESS`, for instance `pipe:1c0f3a52.40122:write`, `tcp-connect:443:use`, `metadata::read+write`. What lasts (files,
/// ports, kinds of things) has the same name after a restart of the machine; what does not (pipes, sockets) is named with the boot.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct HoleIdentity {
    kind: String,
    object: String,
    access: Access,
}

impl HoleIdentity {
    /// The identity of this kind of thing, this one of them, and what may be done with it.
    #[must_use]
    pub fn new(kind: &str, object: impl fmt::Display, access: Access) -> HoleIdentity {
        let plain = |text: String| -> String {
            text.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')).collect()
        };
        HoleIdentity { kind: plain(kind.to_owned()), object: plain(object.to_string()), access }
    }

    /// The kind of thing: `pipe`, `file`, `tcp-connect`, `metadata` and so on.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.kind
    }

    /// Which of its kind; empty where there is only one.
    #[must_use]
    pub fn object(&self) -> &str {
        &self.object
    }

    /// What may be done with it.
    #[must_use]
    pub fn access(&self) -> Access {
        self.access
    }

    /// Whether who allows this allows `other`: the same thing, with no more access. The whole network holds every port and UDP; all that the user
    /// may do holds whatever is reached without a descriptor or a grant of its own.
    #[must_use]
    pub fn covers(&self, other: &HoleIdentity) -> bool {
        let same = self.kind == other.kind && self.object == other.object;
        let network = matches!(&*other.kind, "tcp-connect" | "tcp-bind" | "udp");
        if self.kind == "everything" {
            return same || network || matches!(&*other.kind, "net" | "metadata" | "marks" | "unkept");
        }
        (same || self.kind == "net" && network) && self.access.allows(other.access)
    }
}

impl fmt::Display for HoleIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}", self.kind, self.object, self.access)
    }
}

impl FromStr for HoleIdentity {
    type Err = String;

    fn from_str(text: &str) -> Result<HoleIdentity, String> {
        let wrong =
            || format!("{text}: a hole is written as KIND:OBJECT:ACCESS, as the list of holes shows it");
        let mut parts = text.split(':');
        let (Some(kind), Some(object), Some(access), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(wrong());
        };
        let identity = HoleIdentity::new(kind, object, access.parse()?);
        // What would be written otherwise is not what was meant.
        if kind.is_empty() || identity.to_string() != text { Err(wrong()) } else { Ok(identity) }
    }
}

/// A constituent, or something around the product, through which it could tell someone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Which hole it is, for comparing.
    pub identity: HoleIdentity,
    /// What it is, for people: a slot's name, a path, a grant.
    pub what: String,
    /// Why it is one: who could be told, and how.
    pub reason: String,
}

impl Hole {
    /// A hole.
    #[must_use]
    pub fn new(identity: HoleIdentity, what: impl Into<String>, reason: impl Into<String>) -> Hole {
        Hole { identity, what: what.into(), reason: reason.into() }
    }
}

impl fmt::Display for Hole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}): {}", self.what, self.identity, self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_read_as_they_are_written() {
        let all = Access::READ.and(Access::WRITE).and(Access::EXECUTE).and(Access::USE);
        for (kind, object, access) in
            [("pipe", "1c0f.77", Access::WRITE), ("metadata", "", Access::NONE), ("a-b", "x_1", all)]
        {
            let identity = HoleIdentity::new(kind, object, access);
            assert_eq!(identity.to_string().parse(), Ok(identity));
        }
        for wrong in [
            "",
            "pipe",
            "pipe:1",
            ":1:read",
            "pipe:1:reed",
            "pipe:1:read:",
            "pi pe:1:read",
            "pipe:1:write+read",
            "pipe:1:",
        ] {
            assert!(wrong.parse::<HoleIdentity>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn more_access_covers_less_and_nothing_covers_another() {
        let pipe = |object, access| HoleIdentity::new("pipe", object, access);
        let both = Access::READ.and(Access::WRITE);
        assert!(pipe(1, both).covers(&pipe(1, Access::READ)));
        assert!(!pipe(1, Access::READ).covers(&pipe(1, both)));
        assert!(!pipe(1, both).covers(&pipe(2, Access::READ)));
        assert!(!HoleIdentity::new("file", 1, both).covers(&pipe(1, both)));
        let (net, port) =
            (HoleIdentity::new("net", "", Access::USE), HoleIdentity::new("tcp-connect", 443, Access::USE));
        assert!(net.covers(&port) && !port.covers(&net) && !net.covers(&pipe(1, Access::USE)));
    }
}
