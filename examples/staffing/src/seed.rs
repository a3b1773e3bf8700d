//! The data that an empty database is filled with.
//!
//! The database makes the rows itself, by recursive queries over integers: the same rows in SQLite and PostgreSQL, at
//! every start, in about a second for the full [`Scale`]. What looks random is a multiplicative hash of the row's number.
//!
//! Invariants (the tests check them):
//! - A shift's contract is for the object of its slot and was in force on its day.
//! - No slot is over its capacity, and no employee is booked twice at one time.
//! - No employee has two contracts for one object.

use crate::{Day, db::Transaction};

/// The day that the service takes for today: the data lies around it.
pub const TODAY: Day = Day::from_number(20_759);

/// How many days before [`TODAY`] the time slots begin.
pub const PAST_DAYS: i64 = 14;

/// How much data.
///
/// Contracts are made in rounds, one for each object. A slot is worked by two of the rounds, so their number is even.
#[derive(Clone, Copy, Debug)]
pub struct Scale {
    /// Owners.
    pub owners: i64,
    /// Objects, at least four for each owner; the first owners have many more.
    pub objects: i64,
    /// Employees.
    pub employees: i64,
    /// Contracts for each object.
    pub rounds: i64,
    /// Days with two time slots at every object.
    pub days: i64,
}

impl Scale {
    /// A town's worth: 200 owners, 2,000 objects, 8,000 employees, 20,000 contracts, over 200,000 shifts.
    pub const FULL: Self = Self { owners: 200, objects: 2_000, employees: 8_000, rounds: 10, days: 28 };
    /// Enough to see every case, small enough to look at all of it after every write.
    pub const SMALL: Self = Self { owners: 2, objects: 8, employees: 24, rounds: 4, days: 16 };
}

const CITIES: [(&str, &str, &str); 8] = [
    ("Leipzig", "51.34", "12.37"),
    ("Porto", "41.15", "-8.61"),
    ("Ghent", "51.05", "3.72"),
    ("Turku", "60.45", "22.27"),
    ("Graz", "47.07", "15.44"),
    ("Lyon", "45.76", "4.84"),
    ("Gdansk", "54.35", "18.65"),
    ("Bologna", "44.49", "11.34"),
];

const WORDS: [(&str, &[&str]); 7] = [
    (
        "first",
        &[
            "Ada", "Bela", "Carla", "Dario", "Elif", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Kaja", "Liam", "Mira",
            "Nils", "Olga", "Pavel", "Rosa", "Samir", "Tilda", "Yusuf",
        ],
    ),
    (
        "last",
        &[
            "Adler", "Becker", "Costa", "Dubois", "Eriksen", "Fontana", "Garcia", "Hoffmann", "Ivanova", "Janssen",
            "Kowalski", "Lindgren", "Moreau", "Novak", "Okafor", "Peeters", "Quist", "Rossi", "Silva", "Tanaka",
            "Ullmann", "Virtanen", "Weber", "Yilmaz", "Zeman",
        ],
    ),
    ("trade", &["cook", "cleaner", "porter", "nurse", "guard", "driver", "receptionist", "fitter"]),
    (
        "place",
        &["Warehouse", "Clinic", "Hotel", "Bakery", "Depot", "Office", "Market Hall", "Campus", "Arena", "Workshop"],
    ),
    (
        "street",
        &["Mill Lane", "Station Road", "Harbour Street", "Church Row", "Park Avenue", "Bridge Street", "High Street"],
    ),
    ("firm", &["Holding", "Care", "Logistics", "Hotels", "Foods", "Estates", "Works", "Events"]),
    ("quarter", &["North", "South", "East", "West", "Central", "Riverside", "Hillside", "Old Town"]),
];

/// Fills the empty tables.
pub async fn fill(tx: &mut Transaction, scale: Scale) -> sqlx::Result<()> {
    for statement in [words(), cities(), owners(scale), objects(scale), employees(scale)] {
        tx.script(statement).await?;
    }
    for statement in [contracts(scale), time_slots(scale), shifts(scale)] {
        tx.script(statement).await?;
    }
    tx.script("DROP TABLE words; DROP TABLE cities".into()).await
}

/// The numbers from 1 to `count`, as the table `n` with the column `i`.
fn numbers(count: i64) -> String {
    format!("WITH RECURSIVE n(i) AS (SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM n WHERE i < {count})")
}

/// A number below `bound` that depends on the expression `of` and on what it is for.
fn hash(of: &str, purpose: i64, bound: impl std::fmt::Display) -> String {
    format!("((({of}) + {purpose} * 7919) * 2654435761 % 4294967296 / 65536 % {bound})")
}

/// Joins a word of this kind under the alias `kind`.
fn word(kind: &str, of: &str, purpose: i64) -> String {
    let words = WORDS.iter().find(|(name, _)| *name == kind).map_or(1, |(_, words)| words.len());
    format!("JOIN words {kind} ON {kind}.kind = '{kind}' AND {kind}.i = {}", hash(of, purpose, words))
}

fn words() -> String {
    let rows = WORDS
        .iter()
        .flat_map(|(kind, words)| words.iter().enumerate().map(move |(i, word)| format!("('{kind}', {i}, '{word}')")));
    let rows = rows.collect::<Vec<_>>().join(", ");
    format!(
        "CREATE TEMPORARY TABLE words (kind TEXT, i BIGINT, word TEXT, PRIMARY KEY (kind, i));
         INSERT INTO words VALUES {rows}"
    )
}

fn cities() -> String {
    let rows = CITIES.iter().enumerate().map(|(i, (name, north, east))| format!("({i}, '{name}', {north}, {east})"));
    let rows = rows.collect::<Vec<_>>().join(", ");
    format!(
        "CREATE TEMPORARY TABLE cities (i BIGINT PRIMARY KEY, name TEXT, north DOUBLE PRECISION, east DOUBLE PRECISION);
         INSERT INTO cities VALUES {rows}"
    )
}

fn owners(scale: Scale) -> String {
    format!(
        "INSERT INTO owners (id, name) {} SELECT n.i, last.word || ' ' || firm.word FROM n {} {}",
        numbers(scale.owners),
        word("last", "n.i", 1),
        word("firm", "n.i", 2),
    )
}

fn objects(scale: Scale) -> String {
    let Scale { owners, objects, .. } = scale;
    // Four for everyone; the square of a fraction then prefers the first owners.
    let drawn = hash("n.i", 3, owners);
    let owner = format!(
        "CASE WHEN n.i <= 4 * {owners} THEN (n.i - 1) % {owners} + 1 ELSE {drawn} * {drawn} / {owners} + 1 END"
    );
    format!(
        "INSERT INTO objects (id, owner_id, name, street, city, latitude, longitude)
         {} SELECT n.i, {owner}, place.word || ' ' || quarter.word, street.word || ' ' || CAST({} AS TEXT), cities.name,
            cities.north + {} / 10000.0, cities.east + {} / 10000.0
         FROM n {} {} {} JOIN cities ON cities.i = {}",
        numbers(objects),
        hash("n.i", 4, 180),
        hash("n.i", 5, 900),
        hash("n.i", 6, 900),
        word("place", "n.i", 7),
        word("quarter", "n.i", 8),
        word("street", "n.i", 9),
        hash("n.i", 10, CITIES.len()),
    )
}

fn employees(scale: Scale) -> String {
    format!(
        "INSERT INTO employees (id, name, trade)
         {} SELECT n.i, first.word || ' ' || last.word, trade.word FROM n {} {} {}",
        numbers(scale.employees),
        word("first", "n.i", 11),
        word("last", "n.i", 12),
        word("trade", "n.i", 13),
    )
}

/// Round by round, one contract for each object. The steps of 37 by object and 811 by round are what keeps an employee
/// from two contracts for one object, and from two that work the same slots.
fn contracts(scale: Scale) -> String {
    let Scale { objects, employees, rounds, .. } = scale;
    let (today, first) = (TODAY.number(), TODAY.number() - PAST_DAYS);
    format!(
        "INSERT INTO contracts (id, owner_id, object_id, employee_id, starts_on, ends_on, hourly_cents, status)
         {numbers} SELECT id, owner_id, object_id, ((object_id - 1) * 37 + round * 811) % {employees} + 1,
            CASE WHEN lot >= 96 THEN {today} + lot - 90 ELSE {first} - {age} END,
            CASE WHEN lot BETWEEN 90 AND 95 THEN {today} - 1 WHEN lot < 20 THEN {today} + 60 + lot END,
            1400 + 10 * {rate},
            CASE WHEN lot < 90 THEN 'active' WHEN lot < 96 THEN 'terminated' ELSE 'planned' END
         FROM (
            SELECT n.i AS id, o.id AS object_id, o.owner_id, (n.i - 1) / {objects} AS round, {lot} AS lot
            FROM n JOIN objects o ON o.id = (n.i - 1) % {objects} + 1
         ) AS drawn",
        numbers = numbers(objects * rounds),
        age = hash("id", 14, 700),
        rate = hash("id", 15, 160),
        lot = hash("n.i", 16, 100),
    )
}

/// Two slots a day at every object, object by object.
fn time_slots(scale: Scale) -> String {
    let Scale { objects, days, .. } = scale;
    format!(
        "INSERT INTO time_slots (id, object_id, day, starts, ends, capacity)
         {} SELECT i, (i - 1) / {slots} + 1, {first} + (i - 1) % {slots} / 2,
            CASE WHEN i % 2 = 1 THEN 360 ELSE 840 END, CASE WHEN i % 2 = 1 THEN 840 ELSE 1320 END,
            CASE WHEN {} = 0 THEN 3 ELSE 2 END
         FROM n",
        numbers(objects * days * 2),
        hash("i", 17, 3),
        first = TODAY.number() - PAST_DAYS,
        slots = days * 2,
    )
}

/// Two contracts work in each slot, half the rounds apart, all rounds in turn.
fn shifts(scale: Scale) -> String {
    let Scale { objects, rounds, days, .. } = scale;
    let today = TODAY.number();
    format!(
        "INSERT INTO shifts (id, slot_id, contract_id, status)
         SELECT row_number() OVER (ORDER BY t.id, c.id), t.id, c.id,
            CASE WHEN {cancelled} = 0 THEN 'cancelled' WHEN t.day < {today} THEN 'done' ELSE 'booked' END
         FROM time_slots t
         JOIN (SELECT 0 AS half UNION ALL SELECT {rounds} / 2) AS halves ON true
         JOIN contracts c ON c.id = (((t.id - 1) % ({days} * 2) + half) % {rounds}) * {objects} + t.object_id
         WHERE c.status = 'active' OR (c.status = 'terminated' AND t.day < {today})",
        cancelled = hash("t.id * 31 + c.id", 18, 16),
    )
}
