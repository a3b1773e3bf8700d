//! `staffing load`: readers and writers that go on until they are told to stop.
//!
//! What they ask is skewed, as in life: owners, objects and employees with small numbers are asked for most. Each write leaves as much
//! as it found, but for contracts that are over and shifts that were called off.

use std::{error::Error, future::pending, net::SocketAddr, time::Duration};

use clap::{Args, ValueEnum};
use staffing::{
    Db, Result, Staffing,
    model::{ContractChange, ObjectChange},
    seed::{Scale, TODAY},
};
use staleproof::{CacheBuilder, L1};
use tokio::{
    net::TcpListener,
    signal,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{report::print_line, telemetry};

/// Each waits for its answer before it asks again.
const READERS: u32 = 16;

const DATA: Scale = Scale::FULL;

#[derive(Args)]
pub(crate) struct Load {
    /// Where `/metrics` and `/healthz` are served.
    #[arg(long, default_value = telemetry::ADDRESS)]
    listen: SocketAddr,
    /// Ends after so many seconds; without it by Ctrl-C or SIGTERM only.
    #[arg(long)]
    seconds: Option<u64>,
    /// Reads a second, 16,000 at most.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=16_000))]
    rate: u32,
    /// Writes a second, 1,000 at most.
    #[arg(long, default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    writes: u32,
    /// What a hit of a copy in front of Redis asks of it.
    #[arg(long, value_enum, default_value_t = Copies::Leased)]
    l1: Copies,
    /// The share of hits that are compared with the database.
    #[arg(long, default_value_t = 0.01)]
    verify: f64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Copies {
    Off,
    Validated,
    Leased,
}

/// Reads and writes until it is told to stop.
pub(crate) async fn run(load: Load, db: Db, cache: CacheBuilder) -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).init();
    let metrics = telemetry::collect()?;
    let l1 = match load.l1 {
        Copies::Off => L1::Off,
        Copies::Validated => L1::Validated,
        Copies::Leased => L1::Leased,
    };
    let cache = cache.l1(l1).verify(load.verify).connect().await?;
    let service = Staffing::new(db.clone(), &cache);
    let listener = TcpListener::bind(load.listen).await?;
    print_line!("metrics   http://{}/metrics", listener.local_addr()?);
    for _ in 0..READERS {
        tokio::spawn(read(service.clone(), every(load.rate, READERS)));
    }
    tokio::spawn(write(service, every(load.writes, 1)));
    let pages = telemetry::router(cache.clone(), db, metrics);
    tokio::select! {
        served = axum::serve(listener, pages) => served?,
        stopped = told_to_stop(load.seconds) => stopped?,
    }
    // Nobody's writes are to wait for this instance.
    cache.leave().await;
    Ok(())
}

/// The pace of each of so many, who do so much in a second together.
fn every(rate: u32, tasks: u32) -> Interval {
    let mut pace = interval(Duration::from_secs(1) * tasks / rate);
    // What stood still does not catch up.
    pace.set_missed_tick_behavior(MissedTickBehavior::Skip);
    pace
}

pub(crate) async fn told_to_stop(seconds: Option<u64>) -> std::io::Result<()> {
    let over = async {
        match seconds {
            Some(seconds) => tokio::time::sleep(Duration::from_secs(seconds)).await,
            None => pending().await,
        }
    };
    tokio::select! {
        () = over => Ok(()),
        pressed = signal::ctrl_c() => pressed,
        () = terminated() => Ok(()),
    }
}

/// What `docker stop` sends.
#[cfg(unix)]
async fn terminated() {
    match signal::unix::signal(signal::unix::SignalKind::terminate()) {
        Ok(mut signals) => drop(signals.recv().await),
        Err(_) => pending().await,
    }
}

#[cfg(not(unix))]
async fn terminated() {
    pending().await
}

/// A number from 1 to `count`, of which small ones come most.
fn one_of(count: i64) -> i64 {
    (0..3).map(|_| fastrand::i64(1..=count)).min().unwrap_or(1)
}

async fn read(service: Staffing, mut pace: Interval) {
    loop {
        pace.tick().await;
        if let Err(error) = read_one(&service).await {
            tracing::warn!(%error, cause = error.source().map(tracing::field::display), "a read failed");
        }
    }
}

async fn read_one(service: &Staffing) -> Result<()> {
    let Staffing { contracts, objects, shifts, .. } = service;
    let (owner, object, employee) = (one_of(DATA.owners), one_of(DATA.objects), one_of(DATA.employees));
    match fastrand::u32(0..12) {
        0 | 1 => contracts.employees(owner).await.map(drop),
        2 => contracts.page(owner, fastrand::u32(0..3)).await.map(drop),
        3 => contracts.get(one_of(DATA.objects * DATA.rounds)).await.map(drop),
        4 => contracts.of_employee(employee).await.map(drop),
        5 => objects.get(object).await.map(drop),
        6 => objects.by_owner(owner).await.map(drop),
        7 => objects.accessible(employee).await.map(drop),
        8 => objects.time_slots(object, TODAY, TODAY.plus(6)).await.map(drop),
        9 => shifts.of_employee(employee).await.map(drop),
        10 => shifts.active(object).await.map(drop),
        _ => shifts.open_slots(object, TODAY.plus(fastrand::i64(0..14))).await.map(drop),
    }
}

async fn write(service: Staffing, mut pace: Interval) {
    loop {
        pace.tick().await;
        match write_one(&service).await {
            // Full, taken, or over: others write, too.
            Ok(()) | Err(staffing::Error::Refused(_) | staffing::Error::Missing { .. }) => {}
            Err(error) => tracing::warn!(%error, cause = error.source().map(tracing::field::display), "a write failed"),
        }
    }
}

async fn write_one(service: &Staffing) -> Result<()> {
    let Staffing { contracts, objects, .. } = service;
    let (object, contract) = (one_of(DATA.objects), one_of(DATA.objects * DATA.rounds));
    match fastrand::u32(0..20) {
        0..10 => {
            let change =
                ContractChange { hourly_cents: Some(fastrand::i64(1_300..4_000)), ..ContractChange::default() };
            contracts.update(contract, change).await.map(drop)
        }
        10..16 => book_and_cancel(service, object).await,
        16..18 => {
            let street = format!("{} Mill Lane", fastrand::u32(1..200));
            objects.update(object, ObjectChange { name: None, street: Some(street) }).await.map(drop)
        }
        _ => {
            let Some(contract) = contracts.get(contract).await? else { return Ok(()) };
            let places = objects.by_owner(contract.owner_id).await?;
            let Some(place) = fastrand::choice(&places) else { return Ok(()) };
            contracts.transfer(contract.id, place.object.id, TODAY).await.map(drop)
        }
    }
}

/// Books one of those who work at an object into a free seat there, and calls it off.
async fn book_and_cancel(service: &Staffing, object: i64) -> Result<()> {
    let shifts = &service.shifts;
    let day = TODAY.plus(fastrand::i64(0..14));
    let (slots, crew) = (shifts.open_slots(object, day).await?, shifts.active(object).await?);
    let (Some(slot), Some(line)) = (fastrand::choice(&slots), fastrand::choice(&crew)) else { return Ok(()) };
    let shift = shifts.book(slot.id, line.shift.employee_id).await?;
    shifts.cancel(shift.id).await.map(drop)
}
