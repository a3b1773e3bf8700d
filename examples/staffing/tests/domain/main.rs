//! The rules of the domain, against the small data.

#[path = "../common/mod.rs"]
mod common;
mod contracts;
mod objects;
mod shifts;

use staffing::{Error, Result, Staffing, args, model::NewHire, seed::TODAY};
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
