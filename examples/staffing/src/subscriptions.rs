//! What users have paid for, and until when.

use serde::{Deserialize, Serialize};
use sqlx::FromRow;
use staleproof::{Cache, cached, invalidates};

use crate::{Day, Db, Result, args, seed::TODAY, users::Role};

/// What can be paid for, and what a month of it costs, in cents.
pub const PLANS: [(&str, i64); 3] = [("basic", 900), ("team", 2_900), ("declined", 100)];

/// Days that a payment is good for.
const MONTH: i64 = 30;

/// Something that a user has paid for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, FromRow)]
pub struct Subscription {
    /// Which of [`PLANS`].
    pub plan: String,
    /// The last day of it.
    pub paid_until: Day,
}

/// A payment that was confirmed.
#[derive(Clone, Debug)]
pub struct Payment {
    /// Names it for all time.
    pub id: String,
    /// Who pays.
    pub role: Role,
    /// Who pays.
    pub user_id: i64,
    /// What for.
    pub plan: String,
    /// How much.
    pub cents: i64,
}

/// What users have paid for.
#[derive(Clone, Debug)]
pub struct SubscriptionService {
    db: Db,
    cache: Cache,
}

impl SubscriptionService {
    /// The service over `db`, its answers kept in `cache`.
    pub fn new(db: Db, cache: Cache) -> Self {
        Self { db, cache }
    }

    /// What a user has paid for.
    #[cached(ttl = "2m", key_prefix = "subscriptions")]
    pub async fn of_user(&self, role: Role, id: i64) -> Result<Vec<Subscription>> {
        let sql = "SELECT plan, paid_until FROM subscriptions WHERE role = $1 AND user_id = $2 ORDER BY plan";
        self.db.all(sql, args![role.as_str(), id]).await
    }

    /// Books a payment, once however often it is said: a month more of what it is for. Whether it is new.
    #[invalidates(Self::of_user(payment.role, payment.user_id))]
    pub async fn pay(&self, payment: &Payment) -> Result<bool> {
        let mut tx = self.db.begin().await?;
        let Payment { id, role, user_id, plan, cents } = payment.clone();
        let sql = "
            INSERT INTO payments (id, role, user_id, plan, cents) VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (id) DO NOTHING";
        let is_new = tx.execute(sql, args![id, role.as_str(), user_id, plan.clone(), cents]).await? == 1;
        if is_new {
            let sql = "
                INSERT INTO subscriptions (role, user_id, plan, paid_until) VALUES ($1, $2, $3, $4)
                ON CONFLICT (role, user_id, plan) DO UPDATE SET paid_until = subscriptions.paid_until + $5";
            tx.execute(sql, args![role.as_str(), user_id, plan, TODAY.plus(MONTH), MONTH]).await?;
        }
        tx.commit().await?;
        Ok(is_new)
    }
}
