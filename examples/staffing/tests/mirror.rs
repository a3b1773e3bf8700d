//! No write of the service forgets an invalidation.
//!
//! A random sequence of writes runs against warm caches. After each write every cached read, for every argument there
//! is, must answer what the database answers.

mod common;

use std::collections::BTreeMap;

use staffing::{
    Day, Db, Error, Result, Staffing, args,
    model::{ContractChange, NewContract, NewHire, NewObject, NewSlot, ObjectChange},
    seed::TODAY,
};
use staleproof::Cache;

/// How far the ids go. One more is asked for: what is not there yet is cached too.
#[derive(Clone, Copy)]
struct Extent {
    owners: i64,
    objects: i64,
    employees: i64,
    contracts: i64,
    shifts: i64,
}

impl Extent {
    async fn of(db: &Db) -> Result<Self> {
        let sql = "
            SELECT (SELECT max(id) FROM owners), (SELECT max(id) FROM objects), (SELECT max(id) FROM employees),
                (SELECT max(id) FROM contracts), (SELECT max(id) FROM shifts)";
        let (owners, objects, employees, contracts, shifts) = db.one(sql, args![]).await?;
        Ok(Self { owners, objects, employees, contracts, shifts })
    }
}

/// What a service answers to every question, by the question.
async fn answers(service: &Staffing, extent: Extent) -> Result<BTreeMap<String, String>> {
    let Staffing { contracts, objects, shifts, .. } = service;
    let mut answers = BTreeMap::new();
    macro_rules! ask {
        ($service:ident.$read:ident($($arg:expr),*)) => {
            let question = format!(concat!(stringify!($service), ".", stringify!($read), "{:?}"), ($($arg,)*));
            answers.insert(question, format!("{:?}", $service.$read($($arg),*).await?));
        };
    }
    for id in 1..=extent.contracts + 1 {
        ask!(contracts.get(id));
    }
    for owner in 1..=extent.owners + 1 {
        ask!(contracts.employees(owner));
        ask!(objects.by_owner(owner));
        for page in 0..=3 {
            ask!(contracts.page(owner, page));
        }
    }
    for employee in 1..=extent.employees + 1 {
        ask!(contracts.of_employee(employee));
        ask!(objects.accessible(employee));
        ask!(shifts.of_employee(employee));
    }
    for object in 1..=extent.objects + 1 {
        ask!(objects.get(object));
        ask!(shifts.active(object));
        for (from, to) in [(-20, -1), (0, 1), (-2, 2)] {
            ask!(objects.time_slots(object, TODAY.plus(from), TODAY.plus(to)));
        }
        for day in -1..=2 {
            ask!(shifts.open_slots(object, TODAY.plus(day)));
        }
    }
    Ok(answers)
}

struct Writer {
    random: fastrand::Rng,
    /// How often each write changed something.
    done: BTreeMap<&'static str, u32>,
}

/// Which write it was, and whether it was refused.
type Write = (&'static str, Result<()>);

impl Writer {
    fn id(&mut self, max: i64) -> i64 {
        self.random.i64(1..=max)
    }

    fn soon(&mut self) -> Day {
        TODAY.plus(self.random.i64(0..=2))
    }

    /// One write with arguments that may well be refused. Answers its name if it was not.
    async fn write(&mut self, service: &Staffing, extent: Extent) -> Result<Option<&'static str>> {
        let (name, done) = match self.random.u32(0..14) {
            0..5 => self.write_contract(service, extent).await?,
            5..11 => self.write_object(service, extent).await?,
            _ => self.write_shift(service, extent).await?,
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
        Ok(match self.random.u32(0..5) {
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
            _ => ("terminate", contracts.terminate(id, starts_on).await.map(drop)),
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

async fn random_writes(seed: u64, steps: u32) -> Result<BTreeMap<&'static str, u32>> {
    let db = common::small_db().await?;
    let cached = Staffing::new(db.clone(), &Cache::memory());
    let mut writer = Writer { random: fastrand::Rng::with_seed(seed), done: BTreeMap::new() };
    answers(&cached, Extent::of(&db).await?).await?;
    for step in 0..steps {
        let name = loop {
            if let Some(name) = writer.write(&cached, Extent::of(&db).await?).await? {
                break name;
            }
        };
        let extent = Extent::of(&db).await?;
        let from_cache = answers(&cached, extent).await?;
        // A cache in which nothing was ever stored: all its answers are the database's.
        let direct = answers(&Staffing::new(db.clone(), &Cache::memory()), extent).await?;
        for (question, truth) in &direct {
            assert_eq!(&from_cache[question], truth, "{question} is stale after {name} (seed {seed}, step {step})");
        }
    }
    Ok(writer.done)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cached_answers_are_the_databases_after_every_write() -> Result<()> {
    let (one, two) = tokio::join!(tokio::spawn(random_writes(1, 60)), tokio::spawn(random_writes(2, 60)));
    let mut done = one.expect("no panic")?;
    for (name, times) in two.expect("no panic")? {
        *done.entry(name).or_default() += times;
    }
    assert_eq!(done.len(), 10, "a write never came to pass: {done:?}");
    Ok(())
}

/// The other direction: what a write does not touch stays warm.
#[tokio::test]
async fn a_write_for_one_owner_leaves_the_others_warm() -> Result<()> {
    let db = common::small_db().await?;
    let service = Staffing::new(db.clone(), &Cache::memory());
    let extent = Extent::of(&db).await?;
    answers(&service, extent).await?;
    let sql = "SELECT owner_id, object_id FROM contracts ORDER BY id LIMIT 1";
    let (owner_id, object_id): (i64, i64) = db.one(sql, args![]).await?;
    let hired = NewHire {
        owner_id,
        object_id,
        name: "Zoe Newcomer".into(),
        trade: "cook".into(),
        starts_on: TODAY,
        hourly_cents: 2_000,
    };
    service.contracts.hire(hired).await?;

    let before = db.work().statements;
    answers(&service, extent).await?;
    // The owner's employees, objects and four pages of contracts (two statements each), and the ids that were asked for
    // before they existed: the contract's, the employee's contracts and objects.
    assert_eq!(db.work().statements - before, 1 + 1 + 4 * 2 + 1 + 2);
    Ok(())
}
