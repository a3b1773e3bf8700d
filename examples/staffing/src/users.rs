//! Who uses the service, and how they want to be reached.
//!
//! A user is an owner, an employee or a manager: role and id name one, and nothing else is kept of them but what they say of themselves.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use staleproof::{Cache, KeyPart, cached, invalidates};

use crate::{Db, Error, Result, args};

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, KeyPart)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Hires employees for objects of their own.
    Owner,
    /// Works.
    Employee,
    /// Runs the service.
    Manager,
}

impl Role {
    /// As it is written in logins and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Employee => "employee",
            Self::Manager => "manager",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Role {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        [Self::Owner, Self::Employee, Self::Manager].into_iter().find(|role| role.as_str() == text).ok_or(())
    }
}

/// A user.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct User {
    /// What they may do.
    pub role: Role,
    /// The id of the owner, employee or manager.
    pub id: i64,
    /// What they are called.
    pub name: String,
}

/// How a user wants to be reached.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, FromRow)]
pub struct UserInfo {
    /// An address for mail; empty if there is none.
    pub email: String,
    /// Two letters, as `en`.
    pub language: String,
}

/// Who uses the service.
#[derive(Clone, Debug)]
pub struct UserService {
    db: Db,
    cache: Cache,
}

impl UserService {
    /// The service over `db`, its answers kept in `cache`.
    pub fn new(db: Db, cache: Cache) -> Self {
        Self { db, cache }
    }

    /// The user of this role and id.
    #[cached(ttl = "15m", key_prefix = "user", negative_ttl = "30s")]
    pub async fn get(&self, role: Role, id: i64) -> Result<Option<User>> {
        let sql = match role {
            Role::Owner => "SELECT name FROM owners WHERE id = $1",
            Role::Employee => "SELECT name FROM employees WHERE id = $1",
            Role::Manager => "SELECT name FROM managers WHERE id = $1",
        };
        let found: Option<(String,)> = self.db.optional(sql, args![id]).await?;
        Ok(found.map(|(name,)| User { role, id, name }))
    }

    /// How a user wants to be reached.
    #[cached(ttl = "10m", key_prefix = "user_info")]
    pub async fn info(&self, role: Role, id: i64) -> Result<UserInfo> {
        let sql = "SELECT email, language FROM user_info WHERE role = $1 AND id = $2";
        Ok(self.db.optional(sql, args![role.as_str(), id]).await?.unwrap_or_default())
    }

    /// Says how a user wants to be reached.
    #[invalidates(Self::info(role, id))]
    pub async fn set_info(&self, role: Role, id: i64, info: UserInfo) -> Result<UserInfo> {
        if self.get(role, id).await?.is_none() {
            return Err(Error::Missing { what: "user", id });
        }
        let mut tx = self.db.begin().await?;
        let sql = "
            INSERT INTO user_info (role, id, email, language) VALUES ($1, $2, $3, $4)
            ON CONFLICT (role, id) DO UPDATE SET email = excluded.email, language = excluded.language";
        tx.execute(sql, args![role.as_str(), id, info.email.clone(), info.language.clone()]).await?;
        tx.commit().await?;
        Ok(info)
    }
}
