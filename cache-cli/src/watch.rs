//! `staleproof watch`: what happens, line by line.

use std::{process::ExitCode, time::Duration};

use serde_json::{Value, json};
use staleproof::{Cache, Health, inspect::Server, store::StoreError};
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::{
    Failure, Global,
    output::is_closed,
    print, print_json,
    service::{Service, no_admin_page},
    shown::{bytes, number, or_dash, printable, time},
};

/// Lines until the heading is printed again.
const SCREEN: u64 = 20;

pub(crate) async fn run(global: &Global, every: Duration, count: Option<u64>) -> Result<ExitCode, Failure> {
    let watched = async {
        match global.service()? {
            Some(service) => events(global, &service, count).await,
            None => servers(global, every, count).await,
        }
    };
    tokio::select! {
        result = watched => result.map(|()| ExitCode::SUCCESS),
        // Whoever watches ends it so.
        _ = tokio::signal::ctrl_c() => Ok(ExitCode::SUCCESS),
    }
}

/// The events of a process. Its streams end now and then: it is asked again.
async fn events(global: &Global, service: &Service, count: Option<u64>) -> Result<(), Failure> {
    let mut shown = 0;
    if count == Some(0) {
        return Ok(());
    }
    loop {
        let (mut stream, opened) = (service.events().await?, Instant::now());
        while let Some(event) = stream.recv().await {
            let event: Value = serde_json::from_str(&event).map_err(|_| no_admin_page())?;
            shown += 1;
            if global.json {
                print_json(&event);
            } else {
                print(&printable(&line(&event)));
            }
            if is_closed() || count.is_some_and(|count| shown >= count) {
                return Ok(());
            }
        }
        if opened.elapsed() < Duration::from_secs(5) {
            return Err(Failure::OutOfReach("the service has ended its stream of events".to_owned()));
        }
    }
}

/// An event as one line: its kind, then all else that it says.
fn line(event: &Value) -> String {
    let Some(fields) = event.as_object() else { return event.to_string() };
    let kind = event["kind"].as_str().unwrap_or("event");
    let rest = fields.iter().filter(|(name, _)| !matches!(name.as_str(), "kind" | "at"));
    let rest = rest.map(|(name, value)| match value {
        Value::String(text) if name == "key" => text.clone(),
        Value::String(text) => format!("{name}={text}"),
        other => format!("{name}={other}"),
    });
    format!("{kind:<12}{}", rest.collect::<Vec<_>>().join("  "))
}

/// The numbers of the servers, added up, and what became of them since the line before.
async fn servers(global: &Global, every: Duration, count: Option<u64>) -> Result<(), Failure> {
    let cache = global.open().await?;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut before, mut shown) = (None::<Sums>, 0);
    while count.is_none_or(|count| shown < count) && !is_closed() {
        ticks.tick().await;
        let now = sums(&cache).await;
        if global.json {
            print_json(&json!({ "health": health(&cache), "now": now.as_ref().map(Sums::json) }));
        } else {
            if shown % SCREEN == 0 {
                print("state      servers  memory      clients  ops/s     keys         evicted  expired");
            }
            print(&row(&cache, now.as_ref(), before.as_ref()));
        }
        before = now;
        shown += 1;
    }
    Ok(())
}

/// Of all servers together.
struct Sums {
    servers: usize,
    memory: Option<u64>,
    clients: Option<u64>,
    commands: Option<u64>,
    keys: Option<u64>,
    evicted: Option<u64>,
    expired: Option<u64>,
}

async fn sums(cache: &Cache) -> Option<Sums> {
    let servers: Result<Vec<Server>, StoreError> = cache.inspect().servers().await;
    let servers = servers.ok()?;
    let sum = |of: fn(&Server) -> Option<u64>| servers.iter().map(of).sum();
    Some(Sums {
        servers: servers.len(),
        memory: sum(|server| server.memory_bytes),
        clients: sum(|server| server.clients),
        commands: sum(|server| server.commands_per_second),
        keys: sum(|server| server.keys),
        evicted: sum(|server| server.evicted_keys),
        expired: sum(|server| server.expired_keys),
    })
}

impl Sums {
    fn json(&self) -> Value {
        json!({
            "servers": self.servers, "memory_bytes": self.memory, "clients": self.clients,
            "commands_per_second": self.commands, "keys": self.keys, "evicted_keys": self.evicted,
            "expired_keys": self.expired,
        })
    }
}

fn health(cache: &Cache) -> &'static str {
    if matches!(cache.health(), Health::Degraded { .. }) { "degraded" } else { "connected" }
}

fn row(cache: &Cache, now: Option<&Sums>, before: Option<&Sums>) -> String {
    let Some(now) = now else {
        let since = match cache.health() {
            Health::Degraded { since, .. } => format!("for {}", time(since.elapsed())),
            _ => String::new(),
        };
        return format!("{:<11}out of reach {since}", health(cache)).trim_end().to_owned();
    };
    let grown = |of: fn(&Sums) -> Option<u64>| {
        let difference = of(now)?.saturating_sub(before.and_then(of).or_else(|| of(now))?);
        Some(format!("+{}", number(difference)))
    };
    let known = |value: Option<u64>, shown: fn(u64) -> String| or_dash(value.map(shown));
    format!(
        "{:<11}{:<9}{:<12}{:<9}{:<10}{:<13}{:<9}{}",
        health(cache),
        now.servers,
        known(now.memory, bytes),
        known(now.clients, number),
        known(now.commands, number),
        known(now.keys, number),
        or_dash(grown(|sums| sums.evicted)),
        or_dash(grown(|sums| sums.expired)),
    )
}
