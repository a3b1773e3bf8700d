//! Adding, changing, planning and deleting objects.

use staffing::{
    Error, Result, args,
    model::{NewObject, NewSlot, ObjectChange},
    seed::TODAY,
};

use super::{any_contract, assert_refused, hire, small};

#[tokio::test]
async fn an_object_goes_only_without_contracts() -> Result<()> {
    let service = small().await?;
    let (owner, object, ..) = any_contract(&service).await?;
    assert_refused(service.objects.delete(object).await, "there are contracts for this object");
    assert!(service.objects.get(object).await?.is_some(), "the refusal changed nothing");

    let sql = "SELECT id FROM contracts WHERE object_id = $1 AND status <> 'terminated'";
    for (id,) in service.db.all::<(i64,)>(sql, args![object]).await? {
        service.contracts.terminate(id, TODAY).await?;
    }
    service.objects.delete(object).await?;
    assert_eq!(service.objects.get(object).await?, None);
    assert!(service.objects.by_owner(owner).await?.iter().all(|line| line.object.id != object));
    assert!(matches!(service.objects.delete(object).await, Err(Error::Missing { .. })));
    assert_refused(service.contracts.hire(hire(owner, object)).await, "the owner has no such object");
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
    assert_refused(service.objects.create(NewObject { owner_id: 99, ..new }).await, "there is no such owner");
    let change = ObjectChange { name: Some("Old Museum".into()), street: None };
    let changed = service.objects.update(added.id, change).await?;
    assert_eq!((changed.name.as_str(), changed.street.as_str()), ("Old Museum", "Quay 1"));

    let slot = NewSlot { object_id: added.id, day: TODAY, starts: 600, ends: 720, capacity: 1 };
    let opened = service.objects.open_slot(slot).await?;
    assert_eq!(service.objects.time_slots(added.id, TODAY, TODAY.plus(6)).await?, std::slice::from_ref(&opened));
    assert_eq!(service.shifts.open_slots(added.id, TODAY).await?, [opened]);
    assert_refused(service.objects.open_slot(slot).await, "a slot begins at this time already");
    assert_refused(service.objects.open_slot(NewSlot { ends: 600, ..slot }).await, "the slot is empty");
    Ok(())
}
