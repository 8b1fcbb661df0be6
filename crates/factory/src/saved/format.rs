//! The file around a header: its seal, and the contents.
//!
//! Safety idea: nothing of a file is believed before the digest over it was: the header is read as it was hashed, from one copy in memory,
//! and each part of the contents is held against its digest in the header. What lies between header and contents has one form.

use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::fs::FileExt;

use beget_image::frozen::{CHUNK, Digest, Frozen, PREAMBLE, Preamble};
use sha2::{Digest as _, Sha256};

use super::keys::{PublicKey, SecretKey};
use super::refused;
use crate::{Error, Result};

/// The bytes of one signature: the key, and what it made.
const SIGNATURE: usize = 32 + 64;
/// How many there can be.
pub(super) const MOST_SIGNATURES: usize = 8;

/// Who signed, and what that was held against.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seal {
    /// Of the header.
    pub(super) root: Digest,
    pub(super) signatures: Vec<(PublicKey, [u8; 64])>,
}

pub(super) fn sha256(bytes: &[u8]) -> Digest {
    Sha256::digest(bytes).into()
}

/// All of a file, and its size.
pub(super) fn digest_of(file: &File) -> std::io::Result<(u64, Digest)> {
    let (mut hash, mut at) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read_at(&mut buffer, at) {
            Ok(0) => return Ok((at, hash.finalize().into())),
            Ok(count) => {
                hash.update(buffer.get(..count).unwrap_or_default());
                at += count as u64;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

impl Seal {
    pub(super) fn new(header: &[u8]) -> Seal {
        Seal { root: sha256(header), signatures: Vec::new() }
    }

    /// As it lies between header and contents.
    pub(super) fn write(&self, preamble: &Preamble) -> Vec<u8> {
        let mut bytes = self.root.to_vec();
        bytes.extend((self.signatures.len() as u64).to_le_bytes());
        for (key, signature) in &self.signatures {
            bytes.extend(key.0);
            bytes.extend(signature);
        }
        bytes.resize((preamble.contents - preamble.header) as usize, 0);
        bytes
    }

    /// From there, for this header.
    fn read(bytes: &[u8], header: &[u8], preamble: &Preamble) -> Result<Seal> {
        let broken = || refused("seal", "it is not as it was made");
        let (root, rest) = bytes.split_first_chunk().ok_or_else(broken)?;
        let (count, rest) = rest.split_first_chunk().ok_or_else(broken)?;
        let count = u64::from_le_bytes(*count);
        if count > MOST_SIGNATURES as u64 {
            return Err(broken());
        }
        let signature = |bytes: &[u8; SIGNATURE]| {
            let (key, signature) = bytes.split_first_chunk()?;
            Some((PublicKey(*key), signature.try_into().ok()?))
        };
        let signatures = rest.as_chunks().0.iter().take(count as usize).map(signature);
        let seal = Seal { root: *root, signatures: signatures.collect::<Option<_>>().ok_or_else(broken)? };
        if seal.write(preamble) != bytes {
            return Err(broken());
        }
        if seal.root != sha256(header) {
            return Err(refused("header", "it was changed: its digest is another"));
        }
        Ok(seal)
    }
}

/// What a file is before any of its contents is looked at.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) frozen: Frozen,
    pub(super) preamble: Preamble,
    pub(super) seal: Seal,
}

fn unread(error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::UnexpectedEof => refused("file", "it was cut off"),
        _ => Error::io("image: file", error),
    }
}

/// Reads header and seal, and holds the one against the other.
pub(super) fn open(file: &File) -> Result<Opened> {
    let size = file.metadata().map_err(unread)?.len();
    let mut start = vec![0; PREAMBLE.min(size as usize)];
    file.read_exact_at(&mut start, 0).map_err(unread)?;
    let preamble = Preamble::read(&start, size).map_err(|error| refused("file", error.to_string()))?;
    let mut bytes = vec![0; preamble.contents as usize];
    file.read_exact_at(&mut bytes, 0).map_err(unread)?;
    let (header, seal) = bytes.split_at(preamble.header as usize);
    if header.get(..start.len()) != Some(start.as_slice()) {
        return Err(refused("file", "it is being changed"));
    }
    let seal = Seal::read(seal, header, &preamble)?;
    let frozen = Frozen::read(header, &preamble).map_err(|error| refused("header", error.to_string()))?;
    Ok(Opened { frozen, preamble, seal })
}

/// Holds all contents against their digests.
pub(super) fn check_contents(file: &File, opened: &Opened) -> Result<()> {
    let mut buffer = vec![0; CHUNK as usize];
    let Preamble { contents, length, .. } = opened.preamble;
    for (digest, at) in opened.frozen.chunks.iter().zip((0..length).step_by(CHUNK as usize)) {
        let part = buffer.get_mut(..(length - at).min(CHUNK) as usize).unwrap_or_default();
        file.read_exact_at(part, contents + at).map_err(unread)?;
        if sha256(part) != *digest {
            let words = format!("they were changed: the digest of what lies at {} is another", contents + at);
            return Err(refused("contents", words));
        }
    }
    Ok(())
}

/// Adds a signature to an image; one more of the same key is none. The contents are not looked at: what is signed is the header, which holds
/// their digests.
///
/// # Errors
/// A file that is no image, or was changed; one that has eight signatures; one that cannot be written.
pub fn sign(file: &File, key: &SecretKey) -> Result<PublicKey> {
    let Opened { preamble, mut seal, .. } = open(file)?;
    let public = key.public();
    if seal
        .signatures
        .iter()
        .any(|(other, signature)| *other == public && public.accepts(&seal.root, signature))
    {
        return Ok(public);
    }
    // One of this key that does not hold is replaced.
    seal.signatures.retain(|(other, _)| *other != public);
    if seal.signatures.len() >= MOST_SIGNATURES {
        return Err(refused("seal", format!("it has {MOST_SIGNATURES} signatures, and room for no more")));
    }
    seal.signatures.push((public, key.sign(&seal.root)));
    file.write_all_at(&seal.write(&preamble), preamble.header)
        .map_err(|error| Error::io("image: seal", error))?;
    Ok(public)
}
