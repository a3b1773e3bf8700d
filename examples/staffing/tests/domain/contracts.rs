//! Hiring, changing and ending contracts.

use staffing::{
    Error, Result,
    model::{ContractChange, ContractStatus, NewContract, ShiftStatus},
    seed::TODAY,
};

use super::{any_contract, assert_refused, hire, small};

#[tokio::test]
async fn a_hire_shows_in_every_list() -> Result<()> {
    let service = small().await?;
    let (owner, object, ..) = any_contract(&service).await?;
    let before = service.objects.by_owner(owner).await?.into_iter().find(|line| line.object.id == object);
    let contract = service.contracts.hire(hire(owner, object)).await?;
    assert_eq!((contract.owner_id, contract.object_id, contract.status), (owner, object, ContractStatus::Active));
    assert_eq!(service.contracts.get(contract.id).await?.as_ref(), Some(&contract));

    let employees = service.contracts.employees(owner).await?;
    let hired = employees.iter().find(|employee| employee.id == contract.employee_id).expect("is listed");
    assert_eq!((hired.name.as_str(), hired.contracts, hired.hourly_cents), ("Zoe Newcomer", 1, 2_000));
    let staff = service.contracts.staff(object).await?;
    assert!(staff.contains(hired), "{staff:?}");
    let own = service.contracts.of_employee(contract.employee_id).await?;
    assert_eq!(own.iter().map(|line| line.contract.id).collect::<Vec<_>>(), [contract.id]);
    let first = service.contracts.page(owner, 0).await?;
    assert!(first.lines.iter().any(|line| line.contract == contract));
    let places = service.objects.accessible(contract.employee_id).await?;
    assert_eq!(places.iter().map(|place| place.object.id).collect::<Vec<_>>(), [object]);
    let after = service.objects.by_owner(owner).await?.into_iter().find(|line| line.object.id == object);
    assert_eq!(after.map(|line| line.contracts), before.map(|line| line.contracts + 1));
    Ok(())
}

#[tokio::test]
async fn contracts_that_cannot_be_are_refused() -> Result<()> {
    let service = small().await?;
    let (owner_id, object_id, employee_id, _) = any_contract(&service).await?;
    let new = NewContract { owner_id, object_id, employee_id, starts_on: TODAY, hourly_cents: 1 };
    let create = |new| service.contracts.create(new);
    assert_refused(create(new.clone()).await, "the employee has a contract for this object");
    assert_refused(
        create(NewContract { owner_id: owner_id % 2 + 1, ..new.clone() }).await,
        "the owner has no such object",
    );
    assert_refused(create(NewContract { employee_id: 999, ..new }).await, "there is no such employee");
    Ok(())
}

#[tokio::test]
async fn new_terms_replace_the_given_ones_only() -> Result<()> {
    let service = small().await?;
    let (.., id) = any_contract(&service).await?;
    let before = service.contracts.get(id).await?.expect("exists");
    let change = ContractChange { hourly_cents: Some(9_999), ends_on: None };
    let after = service.contracts.update(id, change).await?;
    assert_eq!(after, staffing::model::Contract { hourly_cents: 9_999, ..before });
    assert_eq!(service.contracts.get(id).await?, Some(after));
    assert!(matches!(service.contracts.update(999, change).await, Err(Error::Missing { id: 999, .. })));
    Ok(())
}

#[tokio::test]
async fn a_terminated_contract_takes_its_booked_shifts_along() -> Result<()> {
    let service = small().await?;
    let (owner, object, employee, id) = any_contract(&service).await?;
    let booked = |lines: Vec<staffing::model::RosterLine>| {
        lines
            .into_iter()
            .filter(|line| line.shift.object_id == object && line.shift.status == ShiftStatus::Booked)
            .count()
    };
    assert!(booked(service.shifts.of_employee(employee).await?) > 0, "a contract with something to lose");

    let ended = service.contracts.terminate(id, TODAY).await?;
    assert_eq!((ended.status, ended.ends_on), (ContractStatus::Terminated, Some(TODAY)));
    assert_eq!(booked(service.shifts.of_employee(employee).await?), 0);
    assert!(service.shifts.active(object).await?.iter().all(|line| line.shift.employee_id != employee));
    assert!(service.objects.accessible(employee).await?.iter().all(|place| place.object.id != object));
    assert!(service.contracts.page(owner, 0).await?.lines.iter().any(|line| line.contract == ended));
    assert!(matches!(service.contracts.terminate(id, TODAY).await, Err(Error::Missing { .. })));
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
        assert!(lines.iter().all(|line| seen.insert(line.contract.id)), "one is on two pages");
    }
    assert_eq!(i64::try_from(seen.len()).ok(), Some(total));
    Ok(())
}

#[tokio::test]
async fn a_transfer_ends_one_contract_and_begins_another_or_does_neither() -> Result<()> {
    let service = small().await?;
    let (owner, object, employee, id) = any_contract(&service).await?;
    let elsewhere = service.objects.by_owner(owner).await?.into_iter().map(|line| line.object.id);
    let elsewhere: Vec<_> = elsewhere.filter(|&other| other != object).collect();
    let before = service.contracts.of_employee(employee).await?;
    let refused = service.contracts.transfer(id, i64::MAX, TODAY).await;
    assert_refused(refused, "the owner has no such object");
    assert_eq!(service.contracts.of_employee(employee).await?, before, "rolled back");

    let works_at = |object| before.iter().any(|line| line.contract.object_id == object);
    let free = elsewhere.into_iter().find(|&object| !works_at(object)).expect("an object to move to");
    let new = service.contracts.transfer(id, free, TODAY).await?;
    assert_eq!((new.employee_id, new.object_id, new.status), (employee, free, ContractStatus::Active));
    let after = service.contracts.of_employee(employee).await?;
    assert_eq!(after.len(), before.len() + 1);
    let old = after.iter().find(|line| line.contract.id == id).expect("the old contract");
    assert_eq!(old.contract.status, ContractStatus::Terminated, "both changes are visible at once");
    Ok(())
}
