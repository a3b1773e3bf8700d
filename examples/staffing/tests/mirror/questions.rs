//! Every question that the services answer, for every argument there is.

use std::collections::BTreeMap;

use staffing::{Db, Result, Role, Staffing, args, seed::TODAY};

/// How far the ids go. One more is asked for: what is not there yet is cached too.
#[derive(Clone, Copy)]
pub(crate) struct Extent {
    pub(crate) owners: i64,
    pub(crate) objects: i64,
    pub(crate) employees: i64,
    pub(crate) contracts: i64,
    pub(crate) shifts: i64,
}

impl Extent {
    /// Of what is there now.
    pub(crate) async fn of(db: &Db) -> Result<Self> {
        let sql = "
            SELECT (SELECT max(id) FROM owners), (SELECT max(id) FROM objects), (SELECT max(id) FROM employees),
                (SELECT max(id) FROM contracts), (SELECT max(id) FROM shifts)";
        let (owners, objects, employees, contracts, shifts) = db.one(sql, args![]).await?;
        Ok(Self { owners, objects, employees, contracts, shifts })
    }
}

/// What a service answers to every question, by the question.
pub(crate) async fn answers(service: &Staffing, extent: Extent) -> Result<BTreeMap<String, String>> {
    let Staffing { contracts, objects, shifts, users, subscriptions, settings, analytics, .. } = service;
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
        ask!(contracts.staff(object));
        ask!(shifts.active(object));
        for (from, to) in [(-20, -1), (0, 1), (-2, 2)] {
            ask!(objects.time_slots(object, TODAY.plus(from), TODAY.plus(to)));
        }
        for day in -1..=2 {
            ask!(shifts.open_slots(object, TODAY.plus(day)));
        }
    }
    for shift in 1..=extent.shifts + 1 {
        ask!(shifts.get(shift));
    }
    for (role, last) in [(Role::Owner, extent.owners), (Role::Employee, extent.employees), (Role::Manager, 1)] {
        for id in 1..=last + 1 {
            ask!(users.get(role, id));
            ask!(users.info(role, id));
            ask!(subscriptions.of_user(role, id));
        }
    }
    ask!(settings.all());
    ask!(analytics.latest());
    Ok(answers)
}
