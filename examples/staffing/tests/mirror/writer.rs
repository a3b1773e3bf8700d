//! Random writes.

use std::collections::BTreeMap;

use staffing::{
    Day, Db, Error, Result, Staffing, args,
    model::{ContractChange, NewContract, NewHire, NewObject, NewSlot, ObjectChange},
    seed::TODAY,
    subscriptions::Payment,
    users::{Role, UserInfo},
};

use super::questions::Extent;

/// Draws writes at random, the same for the same seed.
pub(crate) struct Writer {
    random: fastrand::Rng,
    /// How often each write changed something.
    pub(crate) done: BTreeMap<&'static str, u32>,
}

/// Which write it was, and whether it was refused.
type Write = (&'static str, Result<()>);

impl Writer {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: fastrand::Rng::with_seed(seed), done: BTreeMap::new() }
    }

    fn id(&mut self, max: i64) -> i64 {
        self.random.i64(1..=max)
    }

    fn soon(&mut self) -> Day {
        TODAY.plus(self.random.i64(0..=2))
    }

    /// One write with arguments that may well be refused. Answers its name if it was not.
    pub(crate) async fn write(&mut self, service: &Staffing, extent: Extent) -> Result<Option<&'static str>> {
        let (name, done) = match self.random.u32(0..17) {
            0..5 => self.write_contract(service, extent).await?,
            5..11 => self.write_object(service, extent).await?,
            11..14 => self.write_shift(service, extent).await?,
            _ => self.write_office(service, extent).await,
        };
        match done {
            Ok(()) => {
                *self.done.entry(name).or_default() += 1;
                Ok(Some(name))
            }
            Err(Error::Refused(_) | Error::Missing { .. }) => Ok(None),
            Err(failed) => Err(failed),
        }
    }

    async fn write_contract(&mut self, service: &Staffing, extent: Extent) -> Result<Write> {
        let contracts = &service.contracts;
        let (object_id, employee_id) = (self.id(extent.objects), self.id(extent.employees));
        let (hourly_cents, starts_on) = (self.random.i64(1_000..9_000), self.soon());
        let (id, owner_id) = (self.id(extent.contracts), owner_of(&service.db, object_id).await?);
        Ok(match self.random.u32(0..6) {
            0 => {
                let new = NewContract { owner_id, object_id, employee_id, starts_on, hourly_cents };
                ("create contract", contracts.create(new).await.map(drop))
            }
            1 => {
                let (name, trade) = (format!("New {hourly_cents}"), "cook".into());
                let new = NewHire { owner_id, object_id, name, trade, starts_on, hourly_cents };
                ("hire", contracts.hire(new).await.map(drop))
            }
            2 => {
                let change = ContractChange { hourly_cents: Some(hourly_cents), ends_on: Some(starts_on) };
                ("update contract", contracts.update(id, change).await.map(drop))
            }
            3 => ("terminate", contracts.terminate(id, starts_on).await.map(drop)),
            _ => {
                let (id, object_id) = a_move(&service.db, id).await?;
                ("transfer", contracts.transfer(id, object_id, starts_on).await.map(drop))
            }
        })
    }

    async fn write_object(&mut self, service: &Staffing, extent: Extent) -> Result<Write> {
        let objects = &service.objects;
        // The newest object is preferred: it is the one that can be deleted, and with slots that nobody took.
        let id = if self.random.bool() { extent.objects } else { self.id(extent.objects) };
        let owner_id = owner_of(&service.db, id).await?;
        let number = self.random.i64(1_000..9_000);
        Ok(match self.random.u32(0..6) {
            0 => {
                let (name, street, city) = (format!("Site {number}"), "Quay 1".into(), "Ghent".into());
                let new = NewObject { owner_id, name, street, city, latitude: 51.0, longitude: 3.7 };
                ("create object", objects.create(new).await.map(drop))
            }
            1 => {
                let (name, street) = (Some(format!("Renamed {number}")), Some(format!("Quay {number}")));
                ("update object", objects.update(id, ObjectChange { name, street }).await.map(drop))
            }
            2 => ("delete object", objects.delete(id).await.map(drop)),
            _ => {
                let (day, starts) = (self.soon(), self.random.i64(0..20) * 60);
                let new = NewSlot { object_id: id, day, starts, ends: starts + 60, capacity: 2 };
                ("open slot", objects.open_slot(new).await.map(drop))
            }
        })
    }

    async fn write_shift(&mut self, service: &Staffing, extent: Extent) -> Result<Write> {
        if self.random.bool() {
            let id = self.id(extent.shifts);
            return Ok(("cancel", service.shifts.cancel(id).await.map(drop)));
        }
        let (slot, employee) = self.likely_booking(&service.db).await?;
        Ok(("book", service.shifts.book(slot, employee).await.map(drop)))
    }

    async fn write_office(&mut self, service: &Staffing, extent: Extent) -> Write {
        let Staffing { users, subscriptions, settings, analytics, .. } = service;
        let (role, user_id, number) = (Role::Employee, self.id(extent.employees), self.random.i64(1_000..9_000));
        match self.random.u32(0..4) {
            0 => {
                let info = UserInfo { email: format!("{number}@example.org"), language: "en".into() };
                ("set user info", users.set_info(role, user_id, info).await.map(drop))
            }
            1 => {
                let payment = Payment { id: format!("{number}"), role, user_id, plan: "basic".into(), cents: number };
                ("pay", subscriptions.pay(&payment).await.map(drop))
            }
            2 => ("set", settings.set("announcement".into(), format!("{number}")).await),
            _ => ("measure", analytics.measure(number).await),
        }
    }

    /// A slot with a seat, and somebody who may work there; the time may still be taken.
    async fn likely_booking(&mut self, db: &Db) -> Result<(i64, i64)> {
        let sql = "
            SELECT t.id, c.employee_id FROM time_slots t JOIN contracts c ON c.object_id = t.object_id AND c.status = 'active'
            WHERE t.day >= $1
                AND (SELECT count(*) FROM shifts s WHERE s.slot_id = t.id AND s.status <> 'cancelled') < t.capacity
            ORDER BY t.id, c.id";
        let candidates = db.all(sql, args![TODAY]).await?;
        Ok(if candidates.is_empty() { (1, 1) } else { candidates[self.random.usize(0..candidates.len())] })
    }
}

async fn owner_of(db: &Db, object_id: i64) -> Result<i64> {
    let (owner,) = db.one("SELECT owner_id FROM objects WHERE id = $1", args![object_id]).await?;
    Ok(owner)
}

/// A running contract from `id` on, and another object of its owner. The employee may work there already, and then the move is
/// refused half-way.
async fn a_move(db: &Db, id: i64) -> Result<(i64, i64)> {
    let sql = "
        SELECT c.id, max(o.id) FROM contracts c JOIN objects o ON o.owner_id = c.owner_id AND o.id <> c.object_id
        WHERE c.id >= $1 AND c.status = 'active' AND o.deleted = 0 GROUP BY c.id ORDER BY c.id LIMIT 1";
    Ok(db.optional(sql, args![id]).await?.unwrap_or((id, 1)))
}
