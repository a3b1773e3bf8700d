//! Where work is done, and when: objects and their time slots.

use staleproof::{Cache, cached, invalidates};

use crate::{
    ContractService, Day, Db, Error, Result, ShiftService, args,
    model::{NewObject, NewSlot, Object, ObjectChange, ObjectSummary, Place, TimeSlot},
};

/// Where work is done, and when: objects and their time slots.
#[derive(Clone, Debug)]
pub struct ObjectService {
    db: Db,
    cache: Cache,
}

impl ObjectService {
    /// The service over `db`, its answers kept in `cache`.
    pub fn new(db: Db, cache: Cache) -> Self {
        Self { db, cache }
    }

    /// The object with this id.
    #[cached(ttl = "15m", key_prefix = "object", negative_ttl = "30s")]
    pub async fn get(&self, id: i64) -> Result<Option<Object>> {
        let sql = "
            SELECT id, owner_id, name, street, city, latitude, longitude FROM objects WHERE id = $1 AND deleted = 0";
        self.db.optional(sql, args![id]).await
    }

    /// The objects of an owner, by name, each with how many contracts are in force there.
    #[cached(ttl = "15m", key_prefix = "object_by_owner", tags("owner:{owner_id}"))]
    pub async fn by_owner(&self, owner_id: i64) -> Result<Vec<ObjectSummary>> {
        let sql = "
            SELECT o.id, o.owner_id, o.name, o.street, o.city, o.latitude, o.longitude, count(c.id) AS contracts
            FROM objects o LEFT JOIN contracts c ON c.object_id = o.id AND c.status = 'active'
            WHERE o.owner_id = $1 AND o.deleted = 0
            GROUP BY o.id, o.owner_id, o.name, o.street, o.city, o.latitude, o.longitude ORDER BY o.name, o.id";
        self.db.all(sql, args![owner_id]).await
    }

    /// The objects that an employee may enter: those of their contracts in force.
    #[cached(ttl = "15m", key_prefix = "object_accessible")]
    pub async fn accessible(&self, employee_id: i64) -> Result<Vec<Place>> {
        let sql = "
            SELECT o.id, o.owner_id, o.name, o.street, o.city, o.latitude, o.longitude, w.name AS owner
            FROM contracts c JOIN objects o ON o.id = c.object_id JOIN owners w ON w.id = o.owner_id
            WHERE c.employee_id = $1 AND c.status = 'active' ORDER BY o.name, o.id";
        self.db.all(sql, args![employee_id]).await
    }

    /// The time slots of an object from one day to another, both included, and how full they are.
    #[cached(ttl = "10m", key_prefix = "object_time_slots")]
    pub async fn time_slots(&self, object_id: i64, from: Day, to: Day) -> Result<Vec<TimeSlot>> {
        let sql = "
            SELECT t.id, t.object_id, t.day, t.starts, t.ends, t.capacity, count(s.id) AS taken
            FROM time_slots t LEFT JOIN shifts s ON s.slot_id = t.id AND s.status <> 'cancelled'
            WHERE t.object_id = $1 AND t.day BETWEEN $2 AND $3
            GROUP BY t.id, t.object_id, t.day, t.starts, t.ends, t.capacity ORDER BY t.day, t.starts";
        self.db.all(sql, args![object_id, from, to]).await
    }

    /// All objects: what a search by place begins with.
    pub async fn points(&self) -> Result<Vec<(i64, f64, f64)>> {
        let sql = "SELECT id, longitude, latitude FROM objects WHERE deleted = 0";
        self.db.all(sql, args![]).await
    }

    /// Adds an object.
    #[invalidates(Self::by_owner(new.owner_id), |object| Self::get(object.id))]
    pub async fn create(&self, new: NewObject) -> Result<Object> {
        let mut tx = self.db.begin().await?;
        let sql = "
            INSERT INTO objects (owner_id, name, street, city, latitude, longitude) VALUES ($1, $2, $3, $4, $5, $6)
            RETURNING id, owner_id, name, street, city, latitude, longitude";
        let args = args![new.owner_id, new.name, new.street, new.city, new.latitude, new.longitude];
        let added = tx.one(sql, args).await;
        let object =
            added.map_err(|error| Error::of_constraint(error, "the object exists", "there is no such owner"))?;
        tx.commit().await?;
        Ok(object)
    }

    /// Changes what an object is called and where it is.
    #[invalidates(
        |object| Self::get(object.id),
        Self::by_owner(object.owner_id),
        ContractService::page(object.owner_id, ..),
        // Whoever works there sees the name. Who that is no argument tells, and a rename is rare: all of them.
        Self::accessible(..),
        ContractService::of_employee(..),
        ShiftService::of_employee(..),
    )]
    pub async fn update(&self, id: i64, change: ObjectChange) -> Result<Object> {
        let mut tx = self.db.begin().await?;
        let sql = "
            UPDATE objects SET name = coalesce($2, name), street = coalesce($3, street) WHERE id = $1 AND deleted = 0
            RETURNING id, owner_id, name, street, city, latitude, longitude";
        let changed = tx.optional(sql, args![id, change.name, change.street]).await?;
        let object = changed.ok_or(Error::Missing { what: "object", id })?;
        tx.commit().await?;
        Ok(object)
    }

    /// Deletes an object for which no contract is in force or planned, with the time slots that nobody ever took.
    #[invalidates(
        |object| Self::get(object.id),
        Self::by_owner(object.owner_id),
        Self::time_slots(object.id, ..),
        ShiftService::open_slots(object.id, ..),
    )]
    pub async fn delete(&self, id: i64) -> Result<Object> {
        let mut tx = self.db.begin().await?;
        let sql = "
            UPDATE objects SET deleted = 1 WHERE id = $1 AND deleted = 0
            RETURNING id, owner_id, name, street, city, latitude, longitude";
        let deleted = tx.optional(sql, args![id]).await?;
        let object = deleted.ok_or(Error::Missing { what: "object", id })?;
        // The object is locked by now, and a contract is made under that lock.
        let sql = "SELECT count(*) FROM contracts WHERE object_id = $1 AND status <> 'terminated'";
        let (running,): (i64,) = tx.one(sql, args![id]).await?;
        if running > 0 {
            return Err(Error::Refused("there are contracts for this object"));
        }
        let sql = "
            DELETE FROM time_slots
            WHERE object_id = $1 AND NOT EXISTS (SELECT 1 FROM shifts s WHERE s.slot_id = time_slots.id)";
        tx.execute(sql, args![id]).await?;
        tx.commit().await?;
        Ok(object)
    }

    /// Opens a time slot.
    #[invalidates(Self::time_slots(new.object_id, ..), ShiftService::open_slots(new.object_id, new.day))]
    pub async fn open_slot(&self, new: NewSlot) -> Result<TimeSlot> {
        if new.starts >= new.ends || new.capacity < 1 {
            return Err(Error::Refused("the slot is empty"));
        }
        let mut tx = self.db.begin().await?;
        let sql = "UPDATE objects SET deleted = 0 WHERE id = $1 AND deleted = 0";
        if tx.execute(sql, args![new.object_id]).await? == 0 {
            return Err(Error::Missing { what: "object", id: new.object_id });
        }
        let sql = "
            INSERT INTO time_slots (object_id, day, starts, ends, capacity) VALUES ($1, $2, $3, $4, $5)
            RETURNING id, object_id, day, starts, ends, capacity, CAST(0 AS BIGINT) AS taken";
        let opened = tx.one(sql, args![new.object_id, new.day, new.starts, new.ends, new.capacity]).await;
        let slot = opened.map_err(|error| {
            Error::of_constraint(error, "a slot begins at this time already", "there is no such object")
        })?;
        tx.commit().await?;
        Ok(slot)
    }
}
