//! What pages and the API do, and who may.

use std::time::Duration;

use staffing::{
    Day, Role,
    model::{Contract, NewHire, NewObject, NewSlot, Object, Shift, TimeSlot},
    seed::TODAY,
};

use super::{
    app::App,
    events::ShiftNews,
    refusal::{Answer, Refusal},
    session::Who,
};

/// How long a booking waits for those before it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Days that are shown at once, at most.
const MOST_DAYS: i64 = 62;

/// An object, for its owner, and for those who work there.
pub(crate) async fn object_for(app: &App, who: &Who, id: i64) -> Answer<Object> {
    let staffing = app.staffing();
    let object = staffing.objects.get(id).await?.ok_or_else(|| Refusal::missing("object"))?;
    let is_allowed = match who.role {
        Role::Manager => true,
        Role::Owner => object.owner_id == who.id,
        Role::Employee => staffing.objects.accessible(who.id).await?.iter().any(|place| place.object.id == id),
    };
    if is_allowed { Ok(object) } else { Err(Refusal::forbidden()) }
}

/// An object, for its owner only.
async fn object_of(app: &App, who: &Who, id: i64) -> Answer<Object> {
    let object = app.staffing().objects.get(id).await?.ok_or_else(|| Refusal::missing("object"))?;
    who.must_be(Role::Owner, object.owner_id)?;
    Ok(object)
}

/// The slots of an object.
pub(crate) async fn slots(app: &App, who: &Who, id: i64, from: Day, to: Day) -> Answer<Vec<TimeSlot>> {
    object_for(app, who, id).await?;
    let to = to.min(from.plus(MOST_DAYS - 1));
    Ok(app.staffing().objects.time_slots(id, from, to).await?)
}

pub(crate) async fn contract_for(app: &App, who: &Who, id: i64) -> Answer<Contract> {
    let found = app.staffing().contracts.get(id).await?;
    let contract = found.ok_or_else(|| Refusal::missing("contract"))?;
    if !who.is(Role::Employee, contract.employee_id) {
        who.must_be(Role::Owner, contract.owner_id)?;
    }
    Ok(contract)
}

pub(crate) async fn hire(app: &App, who: &Who, mut hire: NewHire) -> Answer<Contract> {
    hire.owner_id = object_of(app, who, hire.object_id).await?.owner_id;
    Ok(app.staffing().contracts.hire(hire).await?)
}

/// Ends a contract today.
pub(crate) async fn terminate(app: &App, who: &Who, id: i64) -> Answer<Contract> {
    let contract = contract_for(app, who, id).await?;
    who.must_be(Role::Owner, contract.owner_id)?;
    let contract = app.staffing().contracts.terminate(id, TODAY).await?;
    tell(app, contract.object_id).await;
    Ok(contract)
}

pub(crate) async fn add_object(app: &App, who: &Who, new: NewObject) -> Answer<Object> {
    who.must_be(Role::Owner, new.owner_id)?;
    let object = app.staffing().objects.create(new).await?;
    app.places.put(&object.id, object.longitude, object.latitude).await?;
    Ok(object)
}

pub(crate) async fn open_slot(app: &App, who: &Who, new: NewSlot) -> Answer<TimeSlot> {
    object_of(app, who, new.object_id).await?;
    let slot = app.staffing().objects.open_slot(new).await?;
    tell(app, slot.object_id).await;
    Ok(slot)
}

/// Books an employee into a slot. Those who want the same slot are served one by one; that it does not take more than it has seats for,
/// the database sees to, also where the lock is for this instance alone because Redis is out of reach.
pub(crate) async fn book(app: &App, who: &Who, slot_id: i64, employee_id: i64) -> Answer<Shift> {
    let staffing = app.staffing();
    let object_id = staffing.shifts.object_of_slot(slot_id).await?.ok_or_else(|| Refusal::missing("time slot"))?;
    if !who.is(Role::Employee, employee_id) {
        object_of(app, who, object_id).await?;
    }
    if staffing.settings.all().await?.get("booking").is_some_and(|setting| setting != "open") {
        return Err(Refusal::conflict("nothing can be booked for now"));
    }
    let guard = app.slot_locks.acquire(&slot_id, PATIENCE).await?;
    let booked = staffing.shifts.book(slot_id, employee_id).await;
    guard.release().await;
    let shift = booked?;
    tell(app, shift.object_id).await;
    Ok(shift)
}

pub(crate) async fn shift_for(app: &App, who: &Who, id: i64) -> Answer<Shift> {
    let shift = app.staffing().shifts.get(id).await?.ok_or_else(|| Refusal::missing("shift"))?;
    if !who.is(Role::Employee, shift.employee_id) {
        object_of(app, who, shift.object_id).await?;
    }
    Ok(shift)
}

pub(crate) async fn cancel(app: &App, who: &Who, id: i64) -> Answer<Shift> {
    shift_for(app, who, id).await?;
    let shift = app.staffing().shifts.cancel(id).await?;
    tell(app, shift.object_id).await;
    Ok(shift)
}

/// Tells open pages, in all instances, that something has changed at an object. Who does not hear of it reads it with the next page.
async fn tell(app: &App, object_id: i64) {
    if let Err(error) = app.news.publish(&ShiftNews { object_id }).await {
        tracing::warn!(%error, "a change was not published");
    }
}
