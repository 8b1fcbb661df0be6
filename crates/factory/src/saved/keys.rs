//! The keys that images are signed with: Ed25519, in the files that `openssl genpkey -algorithm ed25519` makes too.
//!
//! Safety idea: a signature is over the digest of an image's header, behind words that no other use of a key begins with; so one that was
//! made for something else is none here. The signing itself is a crate's that does nothing else.

use std::fmt;

use ed25519_compact as ed25519;

use super::refused;
use crate::Result;

/// What every signed text begins with.
const PURPOSE: &[u8] = b"beget image v1\0";

/// A key that images are signed with.
pub struct SecretKey(ed25519::KeyPair);

/// A key that a signature is held against.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PublicKey(pub(super) [u8; 32]);

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey of {}", self.public())
    }
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicKey({self})")
    }
}

/// `ed25519:` and 64 hexadecimal digits.
impl fmt::Display for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ed25519:")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

fn signed_text(root: &[u8; 32]) -> Vec<u8> {
    [PURPOSE, root.as_slice()].concat()
}

impl SecretKey {
    /// A new one, of the kernel's random bytes (`man 2 getrandom`).
    ///
    /// # Errors
    /// A kernel that gives none.
    pub fn generate() -> Result<SecretKey> {
        let mut seed = [0; 32];
        let mut filled = 0;
        while filled < seed.len() {
            let rest = seed.get_mut(filled..).unwrap_or_default();
            let flags = rustix::rand::GetRandomFlags::empty();
            filled += rustix::rand::getrandom(rest, flags).map_err(|errno| crate::Error::io("key", errno))?;
        }
        let pair = ed25519::KeyPair::try_from_seed(ed25519::Seed::new(seed));
        pair.map(SecretKey).map_err(|error| refused("key", error.to_string()))
    }

    /// From the text of a file (PEM, PKCS #8).
    ///
    /// # Errors
    /// A text that is no Ed25519 key.
    pub fn from_pem(text: &str) -> Result<SecretKey> {
        let pair = ed25519::KeyPair::from_pem(text);
        pair.map(SecretKey).map_err(|_| refused("key", "it is no secret Ed25519 key as openssl writes them"))
    }

    /// As a file; nobody but its owner is to read it.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0.sk.to_pem()
    }

    /// What its signatures are held against.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey(*self.0.pk)
    }

    pub(super) fn sign(&self, root: &[u8; 32]) -> [u8; 64] {
        *self.0.sk.sign(signed_text(root), None)
    }
}

impl PublicKey {
    /// From the text of a file (PEM, `openssl pkey -pubout`).
    ///
    /// # Errors
    /// A text that is no Ed25519 key.
    pub fn from_pem(text: &str) -> Result<PublicKey> {
        let key = ed25519::PublicKey::from_pem(text);
        key.map(|key| PublicKey(*key))
            .map_err(|_| refused("key", "it is no public Ed25519 key as openssl writes them"))
    }

    /// As a file.
    #[must_use]
    pub fn to_pem(&self) -> String {
        ed25519::PublicKey::new(self.0).to_pem()
    }

    pub(super) fn accepts(&self, root: &[u8; 32], signature: &[u8; 64]) -> bool {
        let key = ed25519::PublicKey::new(self.0);
        key.verify(signed_text(root), &ed25519::Signature::new(*signature)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_is_of_one_key_over_one_digest() {
        let (key, other) = (SecretKey::generate().expect("a key"), SecretKey::generate().expect("a key"));
        let (root, changed) = ([7; 32], [8; 32]);
        let signature = key.sign(&root);
        assert!(key.public().accepts(&root, &signature));
        assert!(!key.public().accepts(&changed, &signature));
        assert!(!other.public().accepts(&root, &signature));
        let mut flipped = signature;
        flipped[3] ^= 1;
        assert!(!key.public().accepts(&root, &flipped));
        assert_ne!(key.public(), other.public());
    }

    #[test]
    fn keys_go_through_files() {
        let key = SecretKey::generate().expect("a key");
        assert_eq!(SecretKey::from_pem(&key.to_pem()).expect("it is one").public(), key.public());
        assert_eq!(PublicKey::from_pem(&key.public().to_pem()).expect("it is one"), key.public());
        assert!(SecretKey::from_pem(&key.public().to_pem()).is_err());
        assert!(PublicKey::from_pem("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n").is_err());
        // One of openssl's own.
        let theirs = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIKI+k9VGkw0O4iqr2Cq1kbRSVvVjT4P8wkAzig1jxDZs\n-----END PRIVATE KEY-----\n";
        assert_eq!(
            SecretKey::from_pem(theirs).expect("it is one").public().to_string(),
            "ed25519:6eaca5b81ea1fc4f45c0c9a283e81c1ac206142d63fbe7e79c50b16b6623897f"
        );
        assert!(!format!("{key:?}").contains(key.to_pem().lines().nth(1).expect("a line")));
    }
}
