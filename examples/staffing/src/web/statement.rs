//! What a cookie says by itself: whose session it is, and until when, signed with a secret that all instances have.
//!
//! Whoever cannot look the session up, because Redis is out of reach and this instance has not seen it, believes the signature.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use staffing::Role;

/// What a cookie says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Statement {
    /// The session's name: 256 random bits, as hex.
    pub(crate) session: String,
    pub(crate) role: Role,
    pub(crate) id: i64,
    /// Seconds since 1970.
    pub(crate) expires: u64,
}

/// Seconds since 1970.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

impl Statement {
    pub(crate) fn new(session: String, role: Role, id: i64, lasts: Duration) -> Self {
        Self { session, role, id, expires: now() + lasts.as_secs() }
    }

    /// As it stands in a cookie.
    pub(crate) fn signed(&self, secret: &[u8]) -> String {
        let said = format!("{}.{}.{}.{}", self.session, self.role, self.id, self.expires);
        let signature = hex(&mac(secret, &said).finalize().into_bytes());
        format!("{said}.{signature}")
    }

    /// Reads one that was signed with this secret and is not over.
    pub(crate) fn read(cookie: &str, secret: &[u8]) -> Option<Self> {
        let (said, signature) = cookie.rsplit_once('.')?;
        mac(secret, said).verify_slice(&unhex(signature)?).ok()?;
        let mut parts = said.split('.');
        let (session, role, id, expires) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let expires = expires.parse().ok()?;
        if expires <= now() {
            return None;
        }
        Some(Self { session: session.to_owned(), role: role.parse().ok()?, id: id.parse().ok()?, expires })
    }
}

fn mac(secret: &[u8], said: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).expect("a key of any length will do");
    mac.update(b"staffing session ");
    mac.update(said.as_bytes());
    mac
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.filter_map(|digit| char::from_digit(digit.into(), 16)).collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.is_ascii() {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_signed_with_the_secret_and_is_not_over_is_believed() {
        let said = Statement::new("ab12".into(), Role::Owner, 7, Duration::from_mins(1));
        let cookie = said.signed(b"secret");
        assert_eq!(Statement::read(&cookie, b"secret"), Some(said.clone()));
        assert_eq!(Statement::read(&cookie, b"another"), None);
        assert_eq!(Statement::read(&cookie.replace("owner", "manager"), b"secret"), None);
        assert_eq!(Statement::read(&cookie.replace(".7.", ".8."), b"secret"), None);
        let over = Statement { expires: now() - 1, ..said };
        assert_eq!(Statement::read(&over.signed(b"secret"), b"secret"), None);
        for garbage in ["", ".", "a.b.c.d.e", "a.owner.7.99999999999.zz", "ä.ö"] {
            assert_eq!(Statement::read(garbage, b"secret"), None, "{garbage}");
        }
    }
}
