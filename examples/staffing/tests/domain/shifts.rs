//! Booking and cancelling shifts.

use staffing::{
    Db, Error, Result, Staffing,
    model::{NewSlot, ShiftStatus},
    seed::{Scale, TODAY},
};
use staleproof::Cache;

use super::{any_contract, assert_refused, hire, small};

#[tokio::test]
async fn a_booking_needs_a_contract_a_seat_and_time() -> Result<()> {
    let service = small().await?;
    let (owner, object, ..) = any_contract(&service).await?;
    let day = TODAY.plus(100);
    let slot = |starts| NewSlot { object_id: object, day, starts, ends: starts + 120, capacity: 1 };
    let morning = service.objects.open_slot(slot(480)).await?.id;
    let overlapping = service.objects.open_slot(slot(540)).await?.id;
    let next = service.objects.open_slot(slot(600)).await?.id;
    let ada = service.contracts.hire(hire(owner, object)).await?.employee_id;
    let bela = service.contracts.hire(hire(owner, object)).await?.employee_id;

    let shift = service.shifts.book(morning, ada).await?;
    assert_eq!((shift.object_id, shift.day, shift.status), (object, day, ShiftStatus::Booked));
    assert_refused(service.shifts.book(morning, bela).await, "the slot is full");
    assert_refused(service.shifts.book(overlapping, ada).await, "the employee works elsewhere at this time");
    service.shifts.book(next, ada).await?;
    let elsewhere = service.objects.by_owner(3 - owner).await?[0].object.id;
    let away = service.objects.open_slot(NewSlot { object_id: elsewhere, ..slot(480) }).await?.id;
    assert_refused(service.shifts.book(away, bela).await, "the employee has no contract for this object");

    assert_eq!(service.shifts.cancel(shift.id).await?.status, ShiftStatus::Cancelled);
    assert!(matches!(service.shifts.cancel(shift.id).await, Err(Error::Missing { .. })));
    service.shifts.book(morning, bela).await?;
    let open = service.shifts.open_slots(object, day).await?;
    assert_eq!(open.iter().map(|slot| slot.id).collect::<Vec<_>>(), [overlapping]);
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
    let slot =
        service.objects.open_slot(NewSlot { object_id: object, day, starts: 0, ends: 60, capacity: 1 }).await?.id;
    let mut bookings = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let employee = service.contracts.hire(hire(owner, object)).await?.employee_id;
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
