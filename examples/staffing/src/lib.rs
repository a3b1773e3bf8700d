//! A staffing service: owners of objects (places of work) hire employees by contract and book them into shifts.
//!
//! Every read that is asked again is `#[cached]`, and every write names in `#[invalidates]` what it makes untrue; the
//! services know nothing else of the cache.
//!
//! The domain is small, the rest is as in a service that earns money: SQLite or PostgreSQL, joins over indexed tables,
//! transactions that lock what they check. [`Staffing`] bundles the services; everything that runs (the
//! terminal scenario, the web service) goes through it.
//!
//! Invariants:
//! - A write has committed when its method returns, so that what its attributes invalidate is reloaded from new data.
//! - Cached reads take everything they depend on as arguments: none looks at the clock.

pub mod analytics;
pub mod contracts;
pub mod day;
pub mod db;
pub mod error;
pub mod model;
pub mod objects;
pub mod schema;
pub mod seed;
pub mod settings;
pub mod shifts;
pub mod subscriptions;
pub mod users;

pub use analytics::AnalyticsService;
pub use contracts::ContractService;
pub use day::Day;
pub use db::Db;
pub use error::{Error, Result};
pub use objects::ObjectService;
pub use settings::SettingService;
pub use shifts::ShiftService;
pub use subscriptions::SubscriptionService;
pub use users::{Role, UserService};

use staleproof::Cache;

/// The services over one database and one cache.
#[derive(Clone, Debug)]
pub struct Staffing {
    /// Where the data lies.
    pub db: Db,
    /// Who works for whom.
    pub contracts: ContractService,
    /// Where work is done, and when.
    pub objects: ObjectService,
    /// Who works when.
    pub shifts: ShiftService,
    /// Who uses the service.
    pub users: UserService,
    /// What users have paid for.
    pub subscriptions: SubscriptionService,
    /// What managers set.
    pub settings: SettingService,
    /// Figures of the whole service.
    pub analytics: AnalyticsService,
}

impl Staffing {
    /// The services over `db`, their answers kept in `cache`.
    pub fn new(db: Db, cache: &Cache) -> Self {
        Self {
            contracts: ContractService::new(db.clone(), cache.clone()),
            objects: ObjectService::new(db.clone(), cache.clone()),
            shifts: ShiftService::new(db.clone(), cache.clone()),
            users: UserService::new(db.clone(), cache.clone()),
            subscriptions: SubscriptionService::new(db.clone(), cache.clone()),
            settings: SettingService::new(db.clone(), cache.clone()),
            analytics: AnalyticsService::new(db.clone(), cache.clone()),
            db,
        }
    }
}
