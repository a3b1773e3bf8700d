//! What managers set for the whole service.

use std::collections::BTreeMap;

use staleproof::{Cache, cached, invalidates};

use crate::{Db, Error, Result, args};

/// All settings, and what each is before somebody sets it.
pub const SETTINGS: [(&str, &str); 3] = [("announcement", ""), ("booking", "open"), ("reminders", "on")];

/// What managers set for the whole service.
#[derive(Clone, Debug)]
pub struct SettingService {
    db: Db,
    cache: Cache,
}

impl SettingService {
    /// The service over `db`, its answers kept in `cache`.
    pub fn new(db: Db, cache: Cache) -> Self {
        Self { db, cache }
    }

    /// All settings by name.
    #[cached(ttl = "1h", key_prefix = "settings")]
    pub async fn all(&self) -> Result<BTreeMap<String, String>> {
        let set: Vec<(String, String)> = self.db.all("SELECT name, value FROM settings", args![]).await?;
        let unset = SETTINGS.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(unset.into_iter().chain(set).collect())
    }

    /// Sets one.
    #[invalidates(Self::all())]
    pub async fn set(&self, name: String, value: String) -> Result<()> {
        if !SETTINGS.iter().any(|(known, _)| *known == name) {
            return Err(Error::Refused("there is no such setting"));
        }
        let is_one_of = |known: &[&str]| known.contains(&value.as_str());
        match &*name {
            "booking" if !is_one_of(&["open", "closed"]) => return Err(Error::Refused("booking is open or closed")),
            "reminders" if !is_one_of(&["on", "off"]) => return Err(Error::Refused("reminders are on or off")),
            _ => {}
        }
        let mut tx = self.db.begin().await?;
        let sql = "
            INSERT INTO settings (name, value) VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
        tx.execute(sql, args![name, value]).await?;
        tx.commit().await
    }
}
