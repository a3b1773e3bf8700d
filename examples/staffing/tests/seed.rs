//! The generated data: as much as promised, the same every time, and in order.

mod common;

use staffing::{Db, Result, args, seed::Scale};

const COUNTS: &str = "
    SELECT (SELECT count(*) FROM owners), (SELECT count(*) FROM objects), (SELECT count(*) FROM employees),
        (SELECT count(*) FROM contracts), (SELECT count(*) FROM time_slots), (SELECT count(*) FROM shifts)";

/// Every column takes part, and every row by its number.
const CHECKSUM: &str = "
    SELECT
        (SELECT CAST(sum(id % 997 * length(name)) AS BIGINT) FROM owners),
        (SELECT CAST(sum(id % 997 * (owner_id + length(name) + 3 * length(street) + 5 * length(city)
            + CAST(round(latitude * 10000) + 7 * round(longitude * 10000) AS BIGINT) + deleted)) AS BIGINT) FROM objects),
        (SELECT CAST(sum(id % 997 * (length(name) + 3 * length(trade))) AS BIGINT) FROM employees),
        (SELECT CAST(sum(id % 997 * (owner_id + 3 * object_id + 5 * employee_id + 7 * starts_on
            + 11 * coalesce(ends_on, 1) + 13 * hourly_cents + 17 * length(status))) AS BIGINT) FROM contracts),
        (SELECT CAST(sum(id % 997 * (object_id + 3 * day + starts + 5 * ends + 7 * capacity)) AS BIGINT) FROM time_slots),
        (SELECT CAST(sum(id % 997 * (slot_id + 3 * contract_id + 5 * length(status))) AS BIGINT) FROM shifts)";

type Six = (i64, i64, i64, i64, i64, i64);

/// What must never be: shifts at another object than the contract's or out of its time, slots over their capacity,
/// employees at two places at one time.
const BROKEN: [&str; 3] = [
    "SELECT count(*) FROM shifts s JOIN time_slots t ON t.id = s.slot_id JOIN contracts c ON c.id = s.contract_id
     WHERE t.object_id <> c.object_id OR t.day < c.starts_on OR t.day > coalesce(c.ends_on, t.day) OR c.status = 'planned'",
    "SELECT count(*) FROM (
        SELECT t.id FROM shifts s JOIN time_slots t ON t.id = s.slot_id WHERE s.status <> 'cancelled'
        GROUP BY t.id, t.capacity HAVING count(*) > t.capacity) AS full_slots",
    "SELECT count(*) FROM (
        SELECT c.employee_id FROM shifts s JOIN time_slots t ON t.id = s.slot_id JOIN contracts c ON c.id = s.contract_id
        WHERE s.status <> 'cancelled' GROUP BY c.employee_id, t.day, t.starts HAVING count(*) > 1) AS doubled",
];

async fn assert_sound(db: &Db) -> Result<()> {
    for question in BROKEN {
        let (count,): (i64,) = db.one(question, args![]).await?;
        assert_eq!(count, 0, "{question}");
    }
    Ok(())
}

#[tokio::test]
async fn the_full_scale_is_as_large_as_promised_and_sound() -> Result<()> {
    let db = Db::open(None, Scale::FULL).await?;
    let (owners, objects, employees, contracts, slots, shifts): Six = db.one(COUNTS, args![]).await?;
    assert_eq!((owners, objects, employees, contracts, slots), (200, 2_000, 8_000, 20_000, 112_000));
    assert!(shifts >= 200_000, "{shifts} shifts");
    assert_sound(&db).await
}

#[tokio::test]
async fn the_small_scale_is_sound_and_has_every_status() -> Result<()> {
    let db = common::small_db().await?;
    assert_sound(&db).await?;
    let (contracts,): (i64,) = db.one("SELECT count(DISTINCT status) FROM contracts", args![]).await?;
    let (shifts,): (i64,) = db.one("SELECT count(DISTINCT status) FROM shifts", args![]).await?;
    assert_eq!((contracts, shifts), (3, 3));
    Ok(())
}

#[tokio::test]
async fn two_fills_are_equal() -> Result<()> {
    let first: Six = Db::in_memory(Scale::SMALL).await?.one(CHECKSUM, args![]).await?;
    let second: Six = Db::in_memory(Scale::SMALL).await?.one(CHECKSUM, args![]).await?;
    assert_eq!(first, second);
    // Changes only with the data: whoever changes them on purpose writes the new numbers here.
    assert_eq!(first, (41, 24_782_692, 8_964, 118_122_945, 2_246_337_264, 28_085_385));
    Ok(())
}

#[tokio::test]
async fn a_filled_database_is_left_as_it_is() -> Result<()> {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let url = format!("sqlite:{}", dir.path().join("shared.sqlite").display());
    let (one, other) = tokio::join!(Db::open(Some(&url), Scale::SMALL), Db::open(Some(&url), Scale::SMALL));
    let (one, other) = (one?, other?);
    let counts: Six = one.one(COUNTS, args![]).await?;
    assert_eq!(counts, other.one::<Six>(COUNTS, args![]).await?);
    assert_eq!(counts.1, Scale::SMALL.objects);
    Ok(())
}
