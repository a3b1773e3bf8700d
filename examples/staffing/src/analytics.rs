//! Figures of the whole service, measured now and then and kept.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use staleproof::{Cache, cached, invalidates};

use crate::{Day, Db, Result, args};

/// What was counted, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct Figures {
    /// When, in seconds since 1970.
    pub measured_at: i64,
    /// Contracts in force.
    pub contracts: i64,
    /// Shifts to be worked.
    pub booked: i64,
    /// Shifts that were worked.
    pub done: i64,
    /// Shifts that were called off.
    pub cancelled: i64,
}

/// Figures of the whole service.
#[derive(Clone, Debug)]
pub struct AnalyticsService {
    db: Db,
    cache: Cache,
}

impl AnalyticsService {
    /// The service over `db`, its answers kept in `cache`.
    pub fn new(db: Db, cache: Cache) -> Self {
        Self { db, cache }
    }

    /// The last figures, the newest first.
    #[cached(ttl = "1h", key_prefix = "analytics")]
    pub async fn latest(&self) -> Result<Vec<Figures>> {
        let sql = "
            SELECT measured_at, contracts, booked, done, cancelled FROM analytics ORDER BY measured_at DESC LIMIT 24";
        self.db.all(sql, args![]).await
    }

    /// Counts, and keeps the figures under this time; those that are there already stay.
    #[invalidates(Self::latest())]
    pub async fn measure(&self, now: i64) -> Result<()> {
        let mut tx = self.db.begin().await?;
        let sql = "
            INSERT INTO analytics (measured_at, contracts, booked, done, cancelled)
            SELECT $1, (SELECT count(*) FROM contracts WHERE status = 'active'),
                count(CASE WHEN status = 'booked' THEN 1 END), count(CASE WHEN status = 'done' THEN 1 END),
                count(CASE WHEN status = 'cancelled' THEN 1 END)
            FROM shifts WHERE true ON CONFLICT (measured_at) DO NOTHING";
        tx.execute(sql, args![now]).await?;
        tx.commit().await
    }

    /// Removes figures from before this time.
    #[invalidates(Self::latest())]
    pub async fn forget(&self, before: i64) -> Result<u64> {
        let mut tx = self.db.begin().await?;
        let removed = tx.execute("DELETE FROM analytics WHERE measured_at < $1", args![before]).await?;
        tx.commit().await?;
        Ok(removed)
    }

    /// Notes a reminder for each shift of that day that has none. How many there are new.
    pub async fn remind(&self, day: Day) -> Result<u64> {
        let mut tx = self.db.begin().await?;
        let sql = "
            INSERT INTO reminders (shift_id, employee_id, day)
            SELECT s.id, c.employee_id, t.day FROM shifts s
            JOIN time_slots t ON t.id = s.slot_id JOIN contracts c ON c.id = s.contract_id
            WHERE t.day = $1 AND s.status = 'booked' ON CONFLICT (shift_id) DO NOTHING";
        let noted = tx.execute(sql, args![day]).await?;
        tx.commit().await?;
        Ok(noted)
    }
}
