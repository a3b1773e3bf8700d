//! The rules of the domain, against the small data.

mod common;

use staffing::{
    Db, Error, Result, Staffing, args,
    model::{
        ContractChange, ContractStatus, NewContract, NewHire, NewObject, NewSlot, ObjectChange,
        ShiftStatus,
    },
    seed::{Scale, TODAY},
};
use staleproof::Cache;

async fn small() -> Result<Staffing> {
    Ok(Staffing::new(common::small_db().await?, &Cache::memory()))
}

/// An object with a contract in force, as (owner, object, employee, contract).
async fn any_contract(service: &Staffing) -> Result<(i64, i64, i64, i64)> {
    let sql = "SELECT owner_id, object_id, employee_id, id FROM contracts WHERE status = 'active' ORDER BY id LIMIT 1";
    service.db.one(sql, args![]).await
}

fn hire(owner_id: i64, object_id: i64) -> NewHire {
    NewHire {
        owner_id,
        object_id,
        name: "Zoe Newcomer".into(),
        trade: "cook".into(),
        starts_on: TODAY,
        hourly_cents: 2_000,
    }
}

fn assert_refused<T: std::fmt::Debug>(result: Result<T>, why: &str) {
    match result {
        Err(Error::Refused(reason)) => assert_eq!(reason, why),
        other => panic!("{other:?}, expected to be refused: {why}"),
    }
}

#[tokio::test]
async fn a_hire_shows_in_every_list() -> Result<()> {
    let service = small().await?;
    let (owner, object, ..) = any_contract(&service).await?;
    let before = service
        .objects
        .by_owner(owner)
        .await?
        .into_iter()
        .find(|line| line.object.id == object);
    let contract = service.contracts.hire(hire(owner, object)).await?;
    assert_eq!(
        (contract.owner_id, contract.object_id, contract.status),
        (owner, object, ContractStatus::Active)
    );
    assert_eq!(
        service.contracts.get(contract.id).await?.as_ref(),
        Some(&contract)
    );

    let employees = service.contracts.employees(owner).await?;
    let hired = employees
        .iter()
        .find(|employee| employee.id == contract.employee_id)
        .expect("is listed");
    assert_eq!(
        (hired.name.as_str(), hired.contracts, hired.hourly_cents),
        ("Zoe Newcomer", 1, 2_000)
    );
    let own = service.contracts.of_employee(contract.employee_id).await?;
    assert_eq!(
        own.iter().map(|line| line.contract.id).collect::<Vec<_>>(),
        [contract.id]
    );
    let first = service.contracts.page(owner, 0).await?;
    assert!(first.lines.iter().any(|line| line.contract == contract));
    let places = service.objects.accessible(contract.employee_id).await?;
    assert_eq!(
        places
            .iter()
            .map(|place| place.object.id)
            .collect::<Vec<_>>(),
        [object]
    );
    let after = service
        .objects
        .by_owner(owner)
        .await?
        .into_iter()
        .find(|line| line.object.id == object);
    assert_eq!(
        after.map(|line| line.contracts),
        before.map(|line| line.contracts + 1)
    );
    Ok(())
}

#[tokio::test]
async fn contracts_that_cannot_be_are_refused() -> Result<()> {
    let service = small().await?;
    let (owner_id, object_id, employee_id, _) = any_contract(&service).await?;
    let new = NewContract {
        owner_id,
        object_id,
        employee_id,
        starts_on: TODAY,
        hourly_cents: 1,
    };
    let create = |new| service.contracts.create(new);
    assert_refused(
        create(new.clone()).await,
        "the employee has a contract for this object",
    );
    assert_refused(
        create(NewContract {
            owner_id: owner_id % 2 + 1,
            ..new.clone()
        })
        .await,
        "the owner has no such object",
    );
    assert_refused(
        create(NewContract {
            employee_id: 999,
            ..new
        })
        .await,
        "there is no such employee",
    );
    Ok(())
}

#[tokio::test]
async fn new_terms_replace_the_given_ones_only() -> Result<()> {
    let service = small().await?;
    let (.., id) = any_contract(&service).await?;
    let before = service.contracts.get(id).await?.expect("exists");
    let change = ContractChange {
        hourly_cents: Some(9_999),
        ends_on: None,
    };
    let after = service.contracts.update(id, change).await?;
    assert_eq!(
        after,
        staffing::model::Contract {
            hourly_cents: 9_999,
            ..before
        }
    );
    assert_eq!(service.contracts.get(id).await?, Some(after));
    assert!(matches!(
        service.contracts.update(999, change).await,
        Err(Error::Missing { id: 999, .. })
    ));
    Ok(())
}

#[tokio::test]
async fn a_terminated_contract_takes_its_booked_shifts_along() -> Result<()> {
    let service = small().await?;
    let (owner, object, employee, id) = any_contract(&service).await?;
    let booked = |lines: Vec<staffing::model::RosterLine>| {
        lines
            .into_iter()
            .filter(|line| {
                line.shift.object_id == object && line.shift.status == ShiftStatus::Booked
            })
            .count()
    };
    assert!(
        booked(service.shifts.of_employee(employee).await?) > 0,
        "a contract with something to lose"
    );

    let ended = service.contracts.terminate(id, TODAY).await?;
    assert_eq!(
        (ended.status, ended.ends_on),
        (ContractStatus::Terminated, Some(TODAY))
    );
    assert_eq!(booked(service.shifts.of_employee(employee).await?), 0);
    assert!(
        service
            .shifts
            .active(object)
            .await?
            .iter()
            .all(|line| line.shift.employee_id != employee)
    );
    assert!(
        service
            .objects
            .accessible(employee)
            .await?
            .iter()
            .all(|place| place.object.id != object)
    );
    assert!(
        service
            .contracts
            .page(owner, 0)
            .await?
            .lines
            .iter()
            .any(|line| line.contract == ended)
    );
    assert!(matches!(
        service.contracts.terminate(id, TODAY).await,
        Err(Error::Missing { .. })
    ));
    Ok(())
}

#[tokio::test]
async fn pages_hold_every_contract_once() -> Result<()> {
    let service = small().await?;
    let (owner, object, ..) = any_contract(&service).await?;
    for _ in 0..60 {
        service.contracts.hire(hire(owner, object)).await?;
    }
    let total = service.contracts.page(owner, 0).await?.total;
    let mut seen = std::collections::BTreeSet::new();
    for page in 0.. {
        let lines = service.contracts.page(owner, page).await?.lines.clone();
        if lines.is_empty() {
            break;
        }
        assert!(
            lines.iter().all(|line| seen.insert(line.contract.id)),
            "one is on two pages"
        );
    }
    assert_eq!(i64::try_from(seen.len()).ok(), Some(total));
    Ok(())
}

#[tokio::test]
async fn an_object_goes_only_without_contracts() -> Result<()> {
    let service = small().await?;
    let (owner, object, ..) = any_contract(&service).await?;
    assert_refused(
        service.objects.delete(object).await,
        "there are contracts for this object",
    );
    assert!(
        service.objects.get(object).await?.is_some(),
        "the refusal changed nothing"
    );

    let sql = "SELECT id FROM contracts WHERE object_id = $1 AND status <> 'terminated'";
    for (id,) in service.db.all::<(i64,)>(sql, args![object]).await? {
        service.contracts.terminate(id, TODAY).await?;
    }
    service.objects.delete(object).await?;
    assert_eq!(service.objects.get(object).await?, None);
    assert!(
        service
            .objects
            .by_owner(owner)
            .await?
            .iter()
            .all(|line| line.object.id != object)
    );
    assert!(matches!(
        service.objects.delete(object).await,
        Err(Error::Missing { .. })
    ));
    assert_refused(
        service.contracts.hire(hire(owner, object)).await,
        "the owner has no such object",
    );
    Ok(())
}

#[tokio::test]
async fn an_object_can_be_added_changed_and_planned() -> Result<()> {
    let service = small().await?;
    let new = NewObject {
        owner_id: 1,
        name: "Museum".into(),
        street: "Quay 1".into(),
        city: "Ghent".into(),
        latitude: 51.0,
        longitude: 3.7,
    };
    let added = service.objects.create(new.clone()).await?;
    assert_refused(
        service
            .objects
            .create(NewObject {
                owner_id: 99,
                ..new
            })
            .await,
        "there is no such owner",
    );
    let change = ObjectChange {
        name: Some("Old Museum".into()),
        street: None,
    };
    let changed = service.objects.update(added.id, change).await?;
    assert_eq!(
        (changed.name.as_str(), changed.street.as_str()),
        ("Old Museum", "Quay 1")
    );

    let slot = NewSlot {
        object_id: added.id,
        day: TODAY,
        starts: 600,
        ends: 720,
        capacity: 1,
    };
    let opened = service.objects.open_slot(slot).await?;
    assert_eq!(
        service
            .objects
            .time_slots(added.id, TODAY, TODAY.plus(6))
            .await?,
        std::slice::from_ref(&opened)
    );
    assert_eq!(service.shifts.open_slots(added.id, TODAY).await?, [opened]);
    assert_refused(
        service.objects.open_slot(slot).await,
        "a slot begins at this time already",
    );
    assert_refused(
        service
            .objects
            .open_slot(NewSlot { ends: 600, ..slot })
            .await,
        "the slot is empty",
    );
    Ok(())
}

#[tokio::test]
async fn a_booking_needs_a_contract_a_seat_and_time() -> Result<()> {
    let service = small().await?;
    let (owner, object, ..) = any_contract(&service).await?;
    let day = TODAY.plus(100);
    let slot = |starts| NewSlot {
        object_id: object,
        day,
        starts,
        ends: starts + 120,
        capacity: 1,
    };
    let morning = service.objects.open_slot(slot(480)).await?.id;
    let overlapping = service.objects.open_slot(slot(540)).await?.id;
    let next = service.objects.open_slot(slot(600)).await?.id;
    let ada = service
        .contracts
        .hire(hire(owner, object))
        .await?
        .employee_id;
    let bela = service
        .contracts
        .hire(hire(owner, object))
        .await?
        .employee_id;

    let shift = service.shifts.book(morning, ada).await?;
    assert_eq!(
        (shift.object_id, shift.day, shift.status),
        (object, day, ShiftStatus::Booked)
    );
    assert_refused(service.shifts.book(morning, bela).await, "the slot is full");
    assert_refused(
        service.shifts.book(overlapping, ada).await,
        "the employee works elsewhere at this time",
    );
    service.shifts.book(next, ada).await?;
    let elsewhere = service.objects.by_owner(3 - owner).await?[0].object.id;
    let away = service
        .objects
        .open_slot(NewSlot {
            object_id: elsewhere,
            ..slot(480)
        })
        .await?
        .id;
    assert_refused(
        service.shifts.book(away, bela).await,
        "the employee has no contract for this object",
    );

    assert_eq!(
        service.shifts.cancel(shift.id).await?.status,
        ShiftStatus::Cancelled
    );
    assert!(matches!(
        service.shifts.cancel(shift.id).await,
        Err(Error::Missing { .. })
    ));
    service.shifts.book(morning, bela).await?;
    let open = service.shifts.open_slots(object, day).await?;
    assert_eq!(
        open.iter().map(|slot| slot.id).collect::<Vec<_>>(),
        [overlapping]
    );
    Ok(())
}

/// On connections of their own, so that the database has to keep them apart.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_want_the_last_seat_one_gets_it() -> Result<()> {
    let service = match std::env::var("STAFFING_TEST_DATABASE_URL") {
        Ok(_) => small().await?,
        Err(_) => Staffing::new(Db::open(None, Scale::SMALL).await?, &Cache::memory()),
    };
    let (owner, object, ..) = any_contract(&service).await?;
    let day = TODAY.plus(100);
    let slot = service
        .objects
        .open_slot(NewSlot {
            object_id: object,
            day,
            starts: 0,
            ends: 60,
            capacity: 1,
        })
        .await?
        .id;
    let mut bookings = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let employee = service
            .contracts
            .hire(hire(owner, object))
            .await?
            .employee_id;
        let shifts = service.shifts.clone();
        bookings.spawn(async move { shifts.book(slot, employee).await });
    }
    let mut booked = 0;
    for result in bookings.join_all().await {
        match result {
            Ok(_) => booked += 1,
            refused => assert_refused(refused, "the slot is full"),
        }
    }
    assert_eq!(booked, 1);
    Ok(())
}
