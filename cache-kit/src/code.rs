//! One-time codes: for a login by mail or message, a confirmation, a coupon.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use cache_core::{KeyPart, Values, codec::Meta, store::StoreError};
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;

use crate::{
    Kit, Scope, StateBuilder, StateError,
    backend::{Expected, Record, Spot},
    state::{Core, Source},
};

/// How often a verification is tried against others of the same code.
const ATTEMPTS: usize = 1_000;

/// What became of a code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Right, and used up: nobody else gets this.
    Accepted,
    /// Wrong.
    Wrong {
        /// How many more attempts there are.
        left: u32,
    },
    /// Wrong too often: this code is worth nothing any more.
    Exhausted,
    /// There is none: never issued, used, or too old.
    Unknown,
}

/// Codes that are accepted once.
///
/// Neither the code nor anything that can be compared with it without a secret is stored if a [secret](Codes::secret) is given. Attempts are
/// counted before they are answered, in all instances together. A code is worth nothing after Redis has restarted or failed over: what it has then may
/// be from before the code was used. How often a code may be *issued* is for a [`Limiter`](crate::Limiter).
///
/// While Redis is out of reach, an instance accepts the codes that it issues meanwhile, and no others: those may have been used elsewhere. It is
/// [`StateError::Away`] then, and whoever logs in needs a new code.
#[derive(Clone)]
pub struct Codes {
    kit: Kit,
    name: String,
    digits: u32,
    attempts: u32,
    ttl: Duration,
    secret: Arc<[u8]>,
    core: Arc<Core>,
}

#[derive(Serialize, Deserialize)]
struct Issued {
    salt: [u8; 16],
    digest: [u8; 32],
    left: u32,
}

impl Codes {
    pub(crate) fn new(kit: &Kit, name: &str) -> Self {
        let ttl = Duration::from_secs(5 * 60);
        let core = StateBuilder::new(kit.clone(), name).ttl(ttl).core();
        let (kit, name) = (kit.clone(), name.to_owned());
        Self { kit, name, digits: 6, attempts: 5, ttl, secret: Arc::from([]), core }
    }

    /// How many digits a code has: 4 to 18. 6 by default.
    #[must_use]
    pub fn digits(mut self, digits: u32) -> Self {
        self.digits = digits.clamp(4, 18);
        self
    }

    /// How many times a code may be tried. 5 by default.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// How long a code lasts. 5 minutes by default.
    #[must_use]
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self.core = StateBuilder::new(self.kit.clone(), &self.name).ttl(ttl).core();
        self
    }

    /// A secret that all instances have and Redis does not: without it what Redis has does not tell a code.
    #[must_use]
    pub fn secret(mut self, secret: impl AsRef<[u8]>) -> Self {
        self.secret = secret.as_ref().into();
        self
    }

    /// Issues a code for somebody; one before it is worth nothing any more.
    ///
    /// # Errors
    ///
    /// [`StateError::Full`].
    ///
    /// # Panics
    ///
    /// Where the system has no random numbers.
    pub async fn issue<K: KeyPart + ?Sized>(&self, whom: &K) -> Result<String, StateError> {
        let issuing = async { self.issued(whom).await.map(|(code, scope)| (code, "issued", scope)) };
        self.kit.meter().counted("code", &self.name, "issue", issuing).await
    }

    async fn issued<K: KeyPart + ?Sized>(&self, whom: &K) -> Result<(String, Scope), StateError> {
        let code = random_code(self.digits);
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).expect("the system has random numbers");
        let issued = Issued { salt, digest: self.digest(&salt, &code), left: self.attempts };
        let scope = self.core.write(&self.spot(whom), encode(&issued)?).await?;
        Ok((code, scope))
    }

    /// Tries a code. Of any number of right ones at once, in any instances, one is [`Accepted`](Verdict::Accepted).
    ///
    /// # Errors
    ///
    /// [`StateError::Away`] while Redis is out of reach, unless this instance has issued the code meanwhile.
    pub async fn verify<K: KeyPart + ?Sized>(&self, whom: &K, code: &str) -> Result<Verdict, StateError> {
        let verifying = async {
            let (verdict, scope) = self.verified(whom, code).await?;
            let outcome = match verdict {
                Verdict::Accepted => "accepted",
                Verdict::Wrong { .. } => "wrong",
                Verdict::Exhausted => "exhausted",
                Verdict::Unknown => "unknown",
            };
            Ok((verdict, outcome, scope))
        };
        self.kit.meter().counted("code", &self.name, "verify", verifying).await
    }

    async fn verified<K: KeyPart + ?Sized>(&self, whom: &K, code: &str) -> Result<(Verdict, Scope), StateError> {
        let spot = self.spot(whom);
        for _ in 0..ATTEMPTS {
            let (record, source) = self.core.read(&spot, None).await?;
            let scope = source.scope();
            // Another instance may have accepted it since this one has seen it.
            if source == Source::Memory {
                return Err(StateError::Away(StoreError::Unavailable));
            }
            // Of a server that restarted from an old file, or failed over, it may be one that was used already.
            let Some(record) = record.filter(|record| record.is_of_this_life) else {
                return Ok((Verdict::Unknown, scope));
            };
            let Some(mut issued) = decode(&record) else { return Ok((Verdict::Unknown, scope)) };
            if issued.left == 0 {
                return Ok((Verdict::Exhausted, scope));
            }
            let expected = Expected::Version(record.version);
            if bool::from(self.digest(&issued.salt, code.trim()).ct_eq(&issued.digest)) {
                match self.core.remove(&spot, &expected).await? {
                    Some(removed) if removed.is_of_this_life => return Ok((Verdict::Accepted, scope)),
                    Some(_) => return Ok((Verdict::Unknown, scope)),
                    None => continue,
                }
            }
            issued.left -= 1;
            if self.core.replace(&spot, &expected, encode(&issued)?, record.left).await? {
                return Ok((Verdict::Wrong { left: issued.left }, scope));
            }
        }
        Err(StateError::Contended)
    }

    fn spot<K: KeyPart + ?Sized>(&self, whom: &K) -> Spot {
        Spot { at: crate::at("code", &self.name, whom), list: None }
    }

    fn digest(&self, salt: &[u8; 16], code: &str) -> [u8; 32] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.secret).expect("a key of any length will do");
        mac.update(salt);
        mac.update(code.as_bytes());
        mac.finalize().into_bytes().into()
    }
}

impl std::fmt::Debug for Codes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Codes").field("name", &self.name).field("digits", &self.digits).finish_non_exhaustive()
    }
}

/// Each code is as likely as any other.
fn random_code(digits: u32) -> String {
    let count = 10_u64.pow(digits);
    let fair = u64::MAX - u64::MAX % count;
    loop {
        let random = getrandom::u64().expect("the system has random numbers");
        if random < fair {
            return format!("{:0width$}", random % count, width = digits as usize);
        }
    }
}

fn encode(issued: &Issued) -> Result<Vec<u8>, StateError> {
    let bytes = Values::new().encode(Some(issued), Meta::default(), 1).map_err(StateError::Unencodable)?;
    Ok(bytes.to_vec())
}

/// What cannot be read was not issued.
fn decode(record: &Record) -> Option<Issued> {
    Values::new().decode(&Bytes::copy_from_slice(&record.bytes), 1).ok()?.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_digits_and_are_not_alike() {
        let codes: std::collections::HashSet<String> = (0..200).map(|_| random_code(6)).collect();
        assert!(codes.iter().all(|code| code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit())));
        assert!(codes.len() > 190, "{}", codes.len());
        assert_eq!(random_code(18).len(), 18);
    }
}
