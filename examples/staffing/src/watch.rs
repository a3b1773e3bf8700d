//! Two terminals on one database and one Redis: one looks, the other changes something.

use std::{
    collections::BTreeSet,
    io::Write as _,
    time::{Duration, Instant},
};

use staffing::{
    Error, Result, Staffing,
    model::{Employee, NewHire},
    seed::TODAY,
};

use crate::report::{Paint, print_line};

/// How often [`watch`] looks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Asks for an owner's employees again and again, and prints when the answer changes or where it came from.
pub(crate) async fn watch(service: &Staffing, owner: i64) -> Result<()> {
    let (begun, paint) = (Instant::now(), Paint::of_stdout());
    let mut ticks = tokio::time::interval(INTERVAL);
    let mut last: Option<(bool, Vec<Employee>)> = None;
    print_line!("employees of owner {owner}, every {} ms; Ctrl-C ends it", INTERVAL.as_millis());
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(()),
        }
        let before = service.db.work().statements;
        let employees = service.contracts.employees(owner).await?;
        let hit = service.db.work().statements == before;
        if last.as_ref() != Some(&(hit, employees.clone())) {
            let verdict = if hit { paint.green("hit ") } else { paint.yellow("miss") };
            let news = last.as_ref().map(|(_, known)| difference(known, &employees)).unwrap_or_default();
            let at = begun.elapsed().as_secs_f64();
            let line = format!("{at:>8.1} s  {verdict}  {} employees{news}", employees.len());
            if writeln!(std::io::stdout(), "{line}").is_err() {
                // Nobody reads on.
                return Ok(());
            }
            last = Some((hit, employees));
        }
    }
}

/// Who came and who went.
fn difference(known: &[Employee], now: &[Employee]) -> String {
    let names = |list: &[Employee]| list.iter().map(|one| (one.id, one.name.clone())).collect::<BTreeSet<_>>();
    let (known, now) = (names(known), names(now));
    let came = now.difference(&known).map(|(id, name)| format!("  +{name} ({id})"));
    let went = known.difference(&now).map(|(id, name)| format!("  -{name} ({id})"));
    came.chain(went).collect()
}

/// Hires somebody at the owner's first object.
pub(crate) async fn hire(service: &Staffing, owner_id: i64, name: String, trade: String) -> Result<()> {
    let objects = service.objects.by_owner(owner_id).await?;
    let object = &objects.first().ok_or(Error::Missing { what: "object of owner", id: owner_id })?.object;
    let new =
        NewHire { owner_id, object_id: object.id, name: name.clone(), trade, starts_on: TODAY, hourly_cents: 2_000 };
    let contract = service.contracts.hire(new).await?;
    print_line!("{name} is employee {}, contract {} at {}", contract.employee_id, contract.id, object.name);
    Ok(())
}

/// Ends a contract.
pub(crate) async fn terminate(service: &Staffing, contract: i64) -> Result<()> {
    let ended = service.contracts.terminate(contract, TODAY).await?;
    print_line!("contract {} of employee {} with owner {} is over", ended.id, ended.employee_id, ended.owner_id);
    Ok(())
}
