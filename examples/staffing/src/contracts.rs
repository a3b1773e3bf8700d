//! Who works for whom: contracts between owners and employees.

use std::sync::Arc;

use staleproof::{Cache, cached, invalidates, transaction};

use crate::{
    Day, Db, Error, ObjectService, Result, Role, ShiftService, UserService, args,
    db::Transaction,
    model::{Contract, ContractChange, ContractLine, ContractPage, Employee, NewContract, NewHire},
};

/// How many contracts are on a page.
pub const PAGE_SIZE: i64 = 25;

/// Who works for whom: contracts between owners and employees.
#[derive(Clone, Debug)]
pub struct ContractService {
    db: Db,
    cache: Cache,
}

impl ContractService {
    /// The service over `db`, its answers kept in `cache`.
    pub fn new(db: Db, cache: Cache) -> Self {
        Self { db, cache }
    }

    /// The contract with this id.
    #[cached(ttl = "15m", key_prefix = "contract", negative_ttl = "30s")]
    pub async fn get(&self, id: i64) -> Result<Option<Contract>> {
        let sql = "
            SELECT id, owner_id, object_id, employee_id, starts_on, ends_on, hourly_cents, status
            FROM contracts WHERE id = $1";
        self.db.optional(sql, args![id]).await
    }

    /// The employees who have a contract in force with an owner, by name.
    #[cached(ttl = "15m", key_prefix = "contract_employees", tags("owner:{owner_id}"))]
    pub async fn employees(&self, owner_id: i64) -> Result<Vec<Employee>> {
        let sql = "
            SELECT e.id, e.name, e.trade, count(*) AS contracts, max(c.hourly_cents) AS hourly_cents
            FROM contracts c JOIN employees e ON e.id = c.employee_id
            WHERE c.owner_id = $1 AND c.status = 'active'
            GROUP BY e.id, e.name, e.trade ORDER BY e.name, e.id";
        self.db.all(sql, args![owner_id]).await
    }

    /// The employees who have a contract in force for an object, by name: who can be booked there.
    #[cached(ttl = "15m", key_prefix = "contract_staff")]
    pub async fn staff(&self, object_id: i64) -> Result<Vec<Employee>> {
        let sql = "
            SELECT e.id, e.name, e.trade, count(*) AS contracts, max(c.hourly_cents) AS hourly_cents
            FROM contracts c JOIN employees e ON e.id = c.employee_id
            WHERE c.object_id = $1 AND c.status = 'active'
            GROUP BY e.id, e.name, e.trade ORDER BY e.name, e.id";
        self.db.all(sql, args![object_id]).await
    }

    /// All contracts of an employee, newest first.
    #[cached(ttl = "15m", key_prefix = "contract_of_employee")]
    pub async fn of_employee(&self, employee_id: i64) -> Result<Vec<ContractLine>> {
        let sql = "
            SELECT c.id, c.owner_id, c.object_id, c.employee_id, c.starts_on, c.ends_on, c.hourly_cents, c.status,
                w.name AS owner, o.name AS object, e.name AS employee
            FROM contracts c
            JOIN employees e ON e.id = c.employee_id
            JOIN objects o ON o.id = c.object_id
            JOIN owners w ON w.id = c.owner_id
            WHERE c.employee_id = $1 ORDER BY c.starts_on DESC, c.id DESC";
        self.db.all(sql, args![employee_id]).await
    }

    /// A page of an owner's contracts, newest first; the first page is 0.
    #[cached(ttl = "10m", key_prefix = "contract_page", tags("owner:{owner_id}"))]
    pub async fn page(&self, owner_id: i64, page: u32) -> Result<Arc<ContractPage>> {
        let sql = "
            SELECT c.id, c.owner_id, c.object_id, c.employee_id, c.starts_on, c.ends_on, c.hourly_cents, c.status,
                w.name AS owner, o.name AS object, e.name AS employee
            FROM contracts c
            JOIN employees e ON e.id = c.employee_id
            JOIN objects o ON o.id = c.object_id
            JOIN owners w ON w.id = c.owner_id
            WHERE c.owner_id = $1 ORDER BY c.starts_on DESC, c.id DESC LIMIT $2 OFFSET $3";
        let lines = self.db.all(sql, args![owner_id, PAGE_SIZE, i64::from(page) * PAGE_SIZE]).await?;
        let sql = "SELECT count(*) FROM contracts WHERE owner_id = $1";
        let (total,) = self.db.one(sql, args![owner_id]).await?;
        Ok(Arc::new(ContractPage { lines, total }))
    }

    /// Makes a contract, in force at once.
    pub async fn create(&self, new: NewContract) -> Result<Contract> {
        self.atomically(async |tx| self.create_in(tx, new).await).await
    }

    /// Ends a contract and cancels the employee's shifts that are booked under it.
    pub async fn terminate(&self, id: i64, last_day: Day) -> Result<Contract> {
        self.atomically(async |tx| self.terminate_in(tx, id, last_day).await).await
    }

    /// Moves an employee to another object of the owner: the old contract ends and a new one begins, both or neither.
    pub async fn transfer(&self, id: i64, object_id: i64, from: Day) -> Result<Contract> {
        self.atomically(async |tx| {
            let Contract { owner_id, employee_id, hourly_cents, .. } = self.terminate_in(tx, id, from).await?;
            let new = NewContract { owner_id, object_id, employee_id, starts_on: from, hourly_cents };
            self.create_in(tx, new).await
        })
        .await
    }

    /// Does `work` in one transaction of the database. What its methods invalidate takes effect after the commit, and not at
    /// all after a rollback.
    async fn atomically<T>(&self, work: impl AsyncFnOnce(&mut Transaction) -> Result<T>) -> Result<T> {
        let (done, committed) = transaction(async {
            let mut tx = self.db.begin().await?;
            let done = work(&mut tx).await?;
            // A commit that fails may have gone through, as when its answer was lost: an `Err` here would drop the invalidations.
            Ok::<_, Error>((done, tx.commit().await))
        })
        .await?;
        committed?;
        Ok(done)
    }

    #[invalidates(
        Self::employees(new.owner_id),
        Self::staff(new.object_id),
        Self::page(new.owner_id, ..),
        Self::of_employee(new.employee_id),
        ObjectService::by_owner(new.owner_id),
        ObjectService::accessible(new.employee_id),
        // Somebody may have asked for this id before it existed.
        |contract| Self::get(contract.id),
    )]
    async fn create_in(&self, tx: &mut Transaction, new: NewContract) -> Result<Contract> {
        insert(tx, &new).await
    }

    /// Takes on a new employee: the person and the contract.
    #[invalidates(
        Self::employees(new.owner_id),
        Self::staff(new.object_id),
        Self::page(new.owner_id, ..),
        ObjectService::by_owner(new.owner_id),
        // Somebody may have asked for these ids before they existed.
        |contract| Self::get(contract.id),
        Self::of_employee(contract.employee_id),
        ObjectService::accessible(contract.employee_id),
        UserService::get(Role::Employee, contract.employee_id),
    )]
    pub async fn hire(&self, new: NewHire) -> Result<Contract> {
        let mut tx = self.db.begin().await?;
        let sql = "INSERT INTO employees (name, trade) VALUES ($1, $2) RETURNING id";
        let (employee_id,) = tx.one(sql, args![new.name, new.trade]).await?;
        let NewHire { owner_id, object_id, starts_on, hourly_cents, .. } = new;
        let contract = NewContract { owner_id, object_id, employee_id, starts_on, hourly_cents };
        let contract = insert(&mut tx, &contract).await?;
        tx.commit().await?;
        Ok(contract)
    }

    /// Changes the terms of a contract that is not over.
    #[invalidates(
        |contract| Self::get(contract.id),
        Self::employees(contract.owner_id),
        Self::staff(contract.object_id),
        Self::page(contract.owner_id, ..),
        Self::of_employee(contract.employee_id),
    )]
    pub async fn update(&self, id: i64, change: ContractChange) -> Result<Contract> {
        let mut tx = self.db.begin().await?;
        let sql = "
            UPDATE contracts SET hourly_cents = coalesce($2, hourly_cents), ends_on = coalesce($3, ends_on)
            WHERE id = $1 AND status <> 'terminated'
            RETURNING id, owner_id, object_id, employee_id, starts_on, ends_on, hourly_cents, status";
        let changed = tx.optional(sql, args![id, change.hourly_cents, change.ends_on]).await?;
        let contract = changed.ok_or(Error::Missing { what: "running contract", id })?;
        tx.commit().await?;
        Ok(contract)
    }

    #[invalidates(
        // The lists that the owner sees: employees, contracts and objects.
        |contract| tag("owner:{contract.owner_id}"),
        Self::staff(contract.object_id),
        Self::get(contract.id),
        Self::of_employee(contract.employee_id),
        ObjectService::accessible(contract.employee_id),
        // The shifts that end with the contract free their seats.
        ObjectService::time_slots(contract.object_id, ..),
        ShiftService::of_employee(contract.employee_id),
        ShiftService::get(..),
        ShiftService::active(contract.object_id),
        ShiftService::open_slots(contract.object_id, ..),
    )]
    async fn terminate_in(&self, tx: &mut Transaction, id: i64, last_day: Day) -> Result<Contract> {
        let sql = "
            UPDATE contracts SET status = 'terminated', ends_on = $2 WHERE id = $1 AND status <> 'terminated'
            RETURNING id, owner_id, object_id, employee_id, starts_on, ends_on, hourly_cents, status";
        let ended = tx.optional(sql, args![id, last_day]).await?;
        let contract = ended.ok_or(Error::Missing { what: "running contract", id })?;
        let sql = "UPDATE shifts SET status = 'cancelled' WHERE contract_id = $1 AND status = 'booked'";
        tx.execute(sql, args![id]).await?;
        Ok(contract)
    }
}

async fn insert(tx: &mut Transaction, new: &NewContract) -> Result<Contract> {
    // Updating it locks the object until the commit, so that nobody deletes it meanwhile.
    let sql = "UPDATE objects SET deleted = 0 WHERE id = $1 AND owner_id = $2 AND deleted = 0";
    if tx.execute(sql, args![new.object_id, new.owner_id]).await? == 0 {
        return Err(Error::Refused("the owner has no such object"));
    }
    let sql = "
        INSERT INTO contracts (owner_id, object_id, employee_id, starts_on, hourly_cents, status)
        VALUES ($1, $2, $3, $4, $5, 'active')
        RETURNING id, owner_id, object_id, employee_id, starts_on, ends_on, hourly_cents, status";
    let args = args![new.owner_id, new.object_id, new.employee_id, new.starts_on, new.hourly_cents];
    tx.one(sql, args).await.map_err(|error| {
        Error::of_constraint(error, "the employee has a contract for this object", "there is no such employee")
    })
}
