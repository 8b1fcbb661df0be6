//! What a keeper says of its factory, as it lies in a packet.
//!
//! Safety idea: both sides have one definition; a reader takes what it knows whole, or nothing.

use beget_monitor::fields::{Reader, Writer};

use crate::judge::{self, Hole, HoleIdentity, Holes};

/// Whether the products of a factory are confined, and why: what [`crate::judge::Confinement`] says, told by another process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Confinement {
    /// Nothing can be inserted any more.
    pub sealed: bool,
    /// Every way on which a product could tell someone; each once.
    pub holes: Vec<Hole>,
    /// All that it gives to each product: name, a sentence on what it is and why it is discreet or a hole, digest or nothing.
    pub constituents: Vec<(String, String, Option<String>)>,
    /// The digest of the image, its loader and interpreter, and all constituents together.
    pub image: Option<String>,
    /// One line for each thing that is held, with the feature of the kernel that holds it.
    pub lines: Vec<String>,
    /// What this does not speak of.
    pub out_of_scope: Vec<String>,
}

/// How a factory makes its products, and what it did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Name and value of each: how products are made (`ready`, `pool`, …).
    pub options: Vec<(String, String)>,
    /// How products differ from what a start from the beginning would give: name and sentence.
    pub hazards: Vec<(String, String)>,
    /// Name and number of each: what was counted since it was sealed (`hits`, `warm`, `cold`, …).
    pub statistics: Vec<(String, u64)>,
}

impl Holes for Confinement {
    fn is_sealed(&self) -> bool {
        self.sealed
    }

    fn holes(&self) -> &[Hole] {
        &self.holes
    }
}

impl Confinement {
    /// Whether a product can tell nobody but through the holes that `authorised` names. Never, when it is not sealed.
    #[must_use]
    pub fn is_confined(&self, authorised: &[HoleIdentity]) -> bool {
        judge::is_confined(self, authorised)
    }

    /// KeyKOS's test: whether its holes are among those of `other`, a factory that is trusted already. Neither may be unsealed.
    #[must_use]
    pub fn compare(&self, other: &Confinement) -> bool {
        judge::compare(self, other)
    }

    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        writer.u32(self.sealed.into()).u32(self.holes.len() as u32);
        for hole in &self.holes {
            writer.str(&hole.identity.to_string()).str(&hole.what).str(&hole.reason);
        }
        writer.u32(self.constituents.len() as u32);
        for (name, what, digest) in &self.constituents {
            writer.str(name).str(what).str(digest.as_deref().unwrap_or_default());
        }
        writer.str(self.image.as_deref().unwrap_or_default());
        for list in [&self.lines, &self.out_of_scope] {
            writer.u32(list.len() as u32);
            list.iter().for_each(|line| _ = writer.str(line));
        }
        writer.into_body()
    }

    /// What was sent; `None` when it is none.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Confinement> {
        let mut reader = Reader::new(body);
        let sealed = match reader.u32()? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let answer = Confinement {
            sealed,
            holes: list(&mut reader, |reader| {
                Some(Hole::new(reader.str()?.parse().ok()?, reader.str()?, reader.str()?))
            })?,
            constituents: list(&mut reader, |reader| {
                Some((text(reader)?, text(reader)?, some(text(reader)?)))
            })?,
            image: some(text(&mut reader)?),
            lines: list(&mut reader, text)?,
            out_of_scope: list(&mut reader, text)?,
        };
        reader.ends()?;
        Some(answer)
    }
}

impl Facts {
    /// As it is sent.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut writer = Writer::new();
        for pairs in [&self.options, &self.hazards] {
            writer.u32(pairs.len() as u32);
            pairs.iter().for_each(|(name, words)| _ = writer.str(name).str(words));
        }
        writer.u32(self.statistics.len() as u32);
        self.statistics.iter().for_each(|(name, number)| _ = writer.str(name).u64(*number));
        writer.into_body()
    }

    /// What was sent; `None` when it is none.
    #[must_use]
    pub fn decode(body: &[u8]) -> Option<Facts> {
        let mut reader = Reader::new(body);
        let pair = |reader: &mut Reader<'_>| Some((text(reader)?, text(reader)?));
        let facts = Facts {
            options: list(&mut reader, pair)?,
            hazards: list(&mut reader, pair)?,
            statistics: list(&mut reader, |reader| Some((text(reader)?, reader.u64()?)))?,
        };
        reader.ends()?;
        Some(facts)
    }
}

fn text(reader: &mut Reader<'_>) -> Option<String> {
    reader.str().map(str::to_owned)
}

fn some(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

fn list<T>(reader: &mut Reader<'_>, one: impl Fn(&mut Reader<'_>) -> Option<T>) -> Option<Vec<T>> {
    let count = reader.u32()?;
    (0..count).map(|_| one(reader)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::judge::Access;

    #[test]
    fn what_is_said_is_read_whole_or_not() {
        let hole = Hole::new(HoleIdentity::new("pipe", 1, Access::WRITE), "slot out", "somebody reads it");
        let answer = Confinement {
            sealed: true,
            holes: vec![hole.clone()],
            constituents: vec![
                ("out".into(), "a pipe".into(), None),
                ("in".into(), "a file".into(), Some("x".into())),
            ],
            image: Some("sha256-whole:00".into()),
            lines: vec!["files".into()],
            out_of_scope: vec!["time".into()],
        };
        let body = answer.encode();
        for length in 0..body.len() {
            assert_eq!(Confinement::decode(&body[..length]), None);
        }
        assert_eq!(Confinement::decode(&body), Some(answer.clone()));
        assert!(!answer.is_confined(&[]) && answer.is_confined(std::slice::from_ref(&hole.identity)));
        assert!(answer.compare(&answer) && !answer.compare(&Confinement::default()));
        let facts = Facts {
            options: vec![("ready".into(), "entry".into())],
            hazards: Vec::new(),
            statistics: vec![("hits".into(), 7)],
        };
        assert_eq!(Facts::decode(&facts.encode()), Some(facts));
    }
}
