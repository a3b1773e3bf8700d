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
    slots: i64,
    shifts: i64,
}

impl Extent {
    async fn of(db: &Db) -> Result<Self> {
        let sql = "
            SELECT (SELECT max(id) FROM owners), (SELECT max(id) FROM objects), (SELECT max(id) FROM employees),
                (SELECT max(id) FROM contracts), (SELECT max(id) FROM time_slots), (SELECT max(id) FROM shifts)";
        let (owners, objects, employees, contracts, slots, shifts) = db.one(sql, args![]).await?;
        Ok(Self {
            owners,
            objects,
            employees,
            contracts,
            slots,
            shifts,
        })
    }
}

/// What a service answers to every question, by the question.
async fn answers(service: &Staffing, extent: Extent) -> Result<BTreeMap<String, String>> {
    let Staffing {
        contracts,
        objects,
        shifts,
        ..
    } = service;
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

impl Writer {
    fn id(&mut self, max: i64) -> i64 {
        self.random.i64(1..=max)
    }

    fn soon(&mut self) -> Day {
        TODAY.plus(self.random.i64(0..=2))
    }

    /// One write with arguments that may well be refused. Answers its name.
    async fn write(&mut self, service: &Staffing, extent: Extent) -> Result<&'static str> {
        let Staffing {
            contracts,
            objects,
            shifts,
            db,
        } = service;
        let (object_id, employee_id) = (self.id(extent.objects), self.id(extent.employees));
        let (contract, cents, day) = (
            self.id(extent.contracts),
            self.random.i64(1_000..9_000),
            self.soon(),
        );
        let owner_id = owner_of(db, object_id).await?;
        let (name, done) = match self.random.u32(0..12) {
            0 => {
                let new = NewContract {
                    owner_id,
                    object_id,
                    employee_id,
                    starts_on: day,
                    hourly_cents: cents,
                };
                ("create contract", contracts.create(new).await.map(drop))
            }
            1 => {
                let (name, trade) = (format!("New {cents}"), "cook".into());
                let new = NewHire {
                    owner_id,
                    object_id,
                    name,
                    trade,
                    starts_on: day,
                    hourly_cents: cents,
                };
                ("hire", contracts.hire(new).await.map(drop))
            }
            2 => {
                let change = ContractChange {
                    hourly_cents: Some(cents),
                    ends_on: Some(day),
                };
                (
                    "update contract",
                    contracts.update(contract, change).await.map(drop),
                )
            }
            3 => (
                "terminate",
                contracts.terminate(contract, day).await.map(drop),
            ),
            4 => {
                let (street, city) = ("Quay 1".into(), "Ghent".into());
                let new = NewObject {
                    owner_id,
                    name: format!("Site {cents}"),
                    street,
                    city,
                    latitude: 51.0,
                    longitude: 3.7,
                };
                ("create object", objects.create(new).await.map(drop))
            }
            5 => {
                let change = ObjectChange {
                    name: Some(format!("Renamed {cents}")),
                    street: Some(format!("Quay {cents}")),
                };
                (
                    "update object",
                    objects.update(object_id, change).await.map(drop),
                )
            }
            6 => ("delete object", objects.delete(object_id).await.map(drop)),
            7 | 8 => {
                let starts = self.random.i64(0..20) * 60;
                let new = NewSlot {
                    object_id,
                    day,
                    starts,
                    ends: starts + 60,
                    capacity: 2,
                };
                ("open slot", objects.open_slot(new).await.map(drop))
            }
            9 | 10 => {
                let (slot, employee) = self.likely_booking(db).await?;
                ("book", shifts.book(slot, employee).await.map(drop))
            }
            _ => {
                let shift = self.id(extent.shifts);
                ("cancel", shifts.cancel(shift).await.map(drop))
            }
        };
        match done {
            Ok(()) => *self.done.entry(name).or_default() += 1,
            Err(Error::Refused(_) | Error::Missing { .. }) => {}
            Err(failed) => return Err(failed),
        }
        Ok(name)
    }

    /// A slot with a seat, and somebody who may work there; the time may still be taken.
    async fn likely_booking(&mut self, db: &Db) -> Result<(i64, i64)> {
        let sql = "
            SELECT t.id, c.employee_id FROM time_slots t JOIN contracts c ON c.object_id = t.object_id AND c.status = 'active'
            WHERE t.day >= $1
                AND (SELECT count(*) FROM shifts s WHERE s.slot_id = t.id AND s.status <> 'cancelled') < t.capacity
            ORDER BY t.id, c.id";
        let candidates = db.all(sql, args![TODAY]).await?;
        Ok(if candidates.is_empty() {
            (1, 1)
        } else {
            candidates[self.random.usize(0..candidates.len())]
        })
    }
}

async fn owner_of(db: &Db, object_id: i64) -> Result<i64> {
    let (owner,) = db
        .one(
            "SELECT owner_id FROM objects WHERE id = $1",
            args![object_id],
        )
        .await?;
    Ok(owner)
}

async fn random_writes(seed: u64, writes: u32) -> Result<BTreeMap<&'static str, u32>> {
    let db = common::small_db().await?;
    let cached = Staffing::new(db.clone(), &Cache::memory());
    let mut writer = Writer {
        random: fastrand::Rng::with_seed(seed),
        done: BTreeMap::new(),
    };
    answers(&cached, Extent::of(&db).await?).await?;
    for step in 0..writes {
        let name = writer.write(&cached, Extent::of(&db).await?).await?;
        let extent = Extent::of(&db).await?;
        let from_cache = answers(&cached, extent).await?;
        // A cache in which nothing was ever stored: all its answers are the database's.
        let direct = answers(&Staffing::new(db.clone(), &Cache::memory()), extent).await?;
        for (question, truth) in &direct {
            assert_eq!(
                &from_cache[question], truth,
                "{question} is stale after {name:?} (seed {seed}, step {step})"
            );
        }
    }
    Ok(writer.done)
}

#[tokio::test]
async fn cached_answers_are_the_databases_after_every_write() -> Result<()> {
    let (one, two) = tokio::join!(
        tokio::spawn(random_writes(1, 80)),
        tokio::spawn(random_writes(2, 80))
    );
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
    let (name, trade) = ("Zoe Newcomer".into(), "cook".into());
    let new = NewHire {
        owner_id,
        object_id,
        name,
        trade,
        starts_on: TODAY,
        hourly_cents: 2_000,
    };
    service.contracts.hire(new).await?;

    let before = db.work().statements;
    answers(&service, extent).await?;
    // The owner's employees, objects and four pages of contracts (two statements each), and the ids that were asked for
    // before they existed: the contract's, the employee's contracts and objects.
    assert_eq!(db.work().statements - before, 1 + 1 + 4 * 2 + 1 + 2);
    Ok(())
}
