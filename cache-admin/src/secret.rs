//! What only this process knows.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A random key, made for one router.
pub(crate) struct Secret([u8; 32]);

impl Secret {
    pub(crate) fn random() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self(key))
    }

    /// Proves that who shows it was given it by the owner of this key, for exactly this text.
    pub(crate) fn proof(&self, text: &[u8]) -> String {
        hex(&self.mac(text).finalize().into_bytes())
    }

    /// Whether this is the proof for the text, in constant time.
    pub(crate) fn proves(&self, text: &[u8], proof: &str) -> bool {
        Self::same(self.proof(text).as_bytes(), proof.as_bytes())
    }

    /// Whether two texts are the same, in a time that says nothing about the one or the other. What is compared are their digests under a key
    /// that is made for it: those have one length, and who knows neither can aim at nothing.
    pub(crate) fn same(one: &[u8], other: &[u8]) -> bool {
        let Ok(key) = Self::random() else { return false };
        key.mac(one).verify_slice(&key.mac(other).finalize().into_bytes()).is_ok()
    }

    fn mac(&self, text: &[u8]) -> Hmac<Sha256> {
        let mut mac = <Hmac<Sha256>>::new_from_slice(&self.0).expect("a key of any length will do");
        mac.update(text);
        mac
    }
}

/// Random letters that nobody guesses.
pub(crate) fn nonce() -> Result<String, getrandom::Error> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes)?;
    Ok(hex(&bytes))
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digit = |nibble: u8| char::from_digit(nibble.into(), 16).expect("four bits are a digit");
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proof_is_for_one_text_and_one_secret() {
        let (secret, other) = (Secret::random().expect("random"), Secret::random().expect("random"));
        let proof = secret.proof(b"a");
        assert_eq!(proof.len(), 64);
        assert!(secret.proves(b"a", &proof));
        assert!(!secret.proves(b"b", &proof));
        assert!(!other.proves(b"a", &proof));
        assert!(!secret.proves(b"a", &proof[..63]));
        assert!(!secret.proves(b"a", ""));
    }
}
