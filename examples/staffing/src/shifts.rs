//! Who works when: employees are booked into time slots.

use staleproof::{Cache, cached, invalidates};

use crate::{
    Day, Db, Error, ObjectService, Result, args,
    db::Transaction,
    model::{CrewLine, RosterLine, Shift, TimeSlot},
};

/// Who works when: employees are booked into time slots.
#[derive(Clone, Debug)]
pub struct ShiftService {
    db: Db,
    cache: Cache,
}

impl ShiftService {
    /// The service over `db`, its answers kept in `cache`.
    pub fn new(db: Db, cache: Cache) -> Self {
        Self { db, cache }
    }

    /// The shift with this id.
    #[cached(ttl = "5m", key_prefix = "shift", negative_ttl = "30s")]
    pub async fn get(&self, id: i64) -> Result<Option<Shift>> {
        let sql = "
            SELECT s.id, s.slot_id, t.object_id, c.employee_id, t.day, t.starts, t.ends, s.status
            FROM shifts s JOIN time_slots t ON t.id = s.slot_id JOIN contracts c ON c.id = s.contract_id
            WHERE s.id = $1";
        self.db.optional(sql, args![id]).await
    }

    /// The object of a slot.
    pub async fn object_of_slot(&self, slot_id: i64) -> Result<Option<i64>> {
        let found = self.db.optional("SELECT object_id FROM time_slots WHERE id = $1", args![slot_id]).await?;
        Ok(found.map(|(object_id,)| object_id))
    }

    /// All shifts of an employee, in the order of time.
    #[cached(ttl = "5m", key_prefix = "shift_of_employee")]
    pub async fn of_employee(&self, employee_id: i64) -> Result<Vec<RosterLine>> {
        let sql = "
            SELECT s.id, s.slot_id, t.object_id, c.employee_id, t.day, t.starts, t.ends, s.status,
                o.name AS object, o.street || ', ' || o.city AS address
            FROM contracts c
            JOIN shifts s ON s.contract_id = c.id
            JOIN time_slots t ON t.id = s.slot_id
            JOIN objects o ON o.id = t.object_id
            WHERE c.employee_id = $1 ORDER BY t.day, t.starts, s.id";
        self.db.all(sql, args![employee_id]).await
    }

    /// The shifts that are still to be worked at an object, in the order of time.
    #[cached(ttl = "5m", key_prefix = "shift_active")]
    pub async fn active(&self, object_id: i64) -> Result<Vec<CrewLine>> {
        let sql = "
            SELECT s.id, s.slot_id, t.object_id, c.employee_id, t.day, t.starts, t.ends, s.status,
                e.name AS employee, e.trade
            FROM time_slots t
            JOIN shifts s ON s.slot_id = t.id AND s.status = 'booked'
            JOIN contracts c ON c.id = s.contract_id
            JOIN employees e ON e.id = c.employee_id
            WHERE t.object_id = $1 ORDER BY t.day, t.starts, s.id";
        self.db.all(sql, args![object_id]).await
    }

    /// The time slots of an object on a day that still take somebody.
    #[cached(ttl = "5m", key_prefix = "shift_open_slots")]
    pub async fn open_slots(&self, object_id: i64, day: Day) -> Result<Vec<TimeSlot>> {
        let sql = "
            SELECT t.id, t.object_id, t.day, t.starts, t.ends, t.capacity, count(s.id) AS taken
            FROM time_slots t LEFT JOIN shifts s ON s.slot_id = t.id AND s.status <> 'cancelled'
            WHERE t.object_id = $1 AND t.day = $2
            GROUP BY t.id, t.object_id, t.day, t.starts, t.ends, t.capacity
            HAVING count(s.id) < t.capacity ORDER BY t.starts";
        self.db.all(sql, args![object_id, day]).await
    }

    /// Books an employee into a slot at an object for which they have a contract in force.
    #[invalidates(
        Self::of_employee(employee_id),
        |shift| Self::get(shift.id),
        Self::active(shift.object_id),
        Self::open_slots(shift.object_id, shift.day),
        ObjectService::time_slots(shift.object_id, ..),
    )]
    pub async fn book(&self, slot_id: i64, employee_id: i64) -> Result<Shift> {
        let mut tx = self.db.begin().await?;
        let contract_id = claim(&mut tx, slot_id, employee_id).await?;
        let sql = "INSERT INTO shifts (slot_id, contract_id, status) VALUES ($1, $2, 'booked') RETURNING id";
        let booked = tx.one(sql, args![slot_id, contract_id]).await;
        let (id,): (i64,) = booked
            .map_err(|error| Error::of_constraint(error, "the employee is in this slot", "there is no such slot"))?;
        let shift = read(&mut tx, id).await?;
        tx.commit().await?;
        Ok(shift)
    }

    /// Calls off a shift that is not worked yet.
    #[invalidates(
        |shift| Self::get(shift.id),
        Self::of_employee(shift.employee_id),
        Self::active(shift.object_id),
        Self::open_slots(shift.object_id, shift.day),
        ObjectService::time_slots(shift.object_id, ..),
    )]
    pub async fn cancel(&self, id: i64) -> Result<Shift> {
        let mut tx = self.db.begin().await?;
        let sql = "UPDATE shifts SET status = 'cancelled' WHERE id = $1 AND status = 'booked'";
        if tx.execute(sql, args![id]).await? == 0 {
            return Err(Error::Missing { what: "booked shift", id });
        }
        let shift = read(&mut tx, id).await?;
        tx.commit().await?;
        Ok(shift)
    }
}

/// Locks employee, slot and contract in this order, so that no other booking changes what is checked here: that there is a seat, and
/// that the employee is free. Answers the contract under which the employee works there.
async fn claim(tx: &mut Transaction, slot_id: i64, employee_id: i64) -> Result<i64> {
    let sql = "UPDATE employees SET trade = trade WHERE id = $1";
    if tx.execute(sql, args![employee_id]).await? == 0 {
        return Err(Error::Missing { what: "employee", id: employee_id });
    }
    let sql =
        "UPDATE time_slots SET capacity = capacity WHERE id = $1 RETURNING object_id, day, starts, ends, capacity";
    let slot: Option<(i64, Day, i64, i64, i64)> = tx.optional(sql, args![slot_id]).await?;
    let (object_id, day, starts, ends, capacity) = slot.ok_or(Error::Missing { what: "time slot", id: slot_id })?;
    let sql = "
        UPDATE contracts SET status = status WHERE employee_id = $1 AND object_id = $2 AND status = 'active'
        RETURNING id";
    let contract: Option<(i64,)> = tx.optional(sql, args![employee_id, object_id]).await?;
    let (contract_id,) = contract.ok_or(Error::Refused("the employee has no contract for this object"))?;
    let sql = "SELECT count(*) FROM shifts WHERE slot_id = $1 AND status <> 'cancelled'";
    let (taken,): (i64,) = tx.one(sql, args![slot_id]).await?;
    if taken >= capacity {
        return Err(Error::Refused("the slot is full"));
    }
    let sql = "
        SELECT count(*) FROM contracts c JOIN shifts s ON s.contract_id = c.id JOIN time_slots t ON t.id = s.slot_id
        WHERE c.employee_id = $1 AND s.status = 'booked' AND t.day = $2 AND t.starts < $4 AND t.ends > $3";
    let (overlapping,): (i64,) = tx.one(sql, args![employee_id, day, starts, ends]).await?;
    if overlapping > 0 {
        return Err(Error::Refused("the employee works elsewhere at this time"));
    }
    Ok(contract_id)
}

async fn read(tx: &mut Transaction, id: i64) -> Result<Shift> {
    let sql = "
        SELECT s.id, s.slot_id, t.object_id, c.employee_id, t.day, t.starts, t.ends, s.status
        FROM shifts s JOIN time_slots t ON t.id = s.slot_id JOIN contracts c ON c.id = s.contract_id
        WHERE s.id = $1";
    Ok(tx.one(sql, args![id]).await?)
}
