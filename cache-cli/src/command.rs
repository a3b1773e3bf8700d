//! The commands that only look.

use std::{
    collections::BTreeMap,
    io::{IsTerminal as _, Read as _},
    process::ExitCode,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};
use staleproof::{
    Cache, Diagnosis, Key,
    inspect::{Contents, Cursor, Item, Kind, Server, Validity},
    map::Map,
};

use crate::{
    Failure, Form, Global,
    output::tell,
    print, print_json,
    service::no_admin_page,
    shown::{Table, bytes, number, or_dash, printable, time},
};

/// How many entries are asked for at a time.
const PAGE: usize = 500;

pub(crate) async fn doctor(global: &Global) -> Result<ExitCode, Failure> {
    if let Some(service) = global.service()? {
        let diagnosis = service.get("doctor").await?;
        let findings = list(&diagnosis["findings"])?;
        let is_well = findings.iter().all(|finding| finding["severity"] == "note");
        if global.json {
            print_json(&diagnosis);
        } else {
            print(&printable(&of_service(findings)));
        }
        return Ok(verdict(is_well));
    }
    let diagnosis: Diagnosis = global.open().await?.doctor().await;
    if global.json {
        print_json(&diagnosis);
    } else {
        print(printable(&diagnosis.to_string()).trim_end());
    }
    Ok(verdict(diagnosis.is_well()))
}

fn verdict(is_well: bool) -> ExitCode {
    if is_well { ExitCode::SUCCESS } else { ExitCode::from(1) }
}

/// A list in what a service says. Without one it is no admin page that has answered.
fn list(value: &Value) -> Result<&[Value], Failure> {
    value.as_array().map(Vec::as_slice).ok_or_else(no_admin_page)
}

fn of_service(findings: &[Value]) -> String {
    if findings.is_empty() {
        return "all is well".to_owned();
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let lines = findings.iter().map(|finding| {
        let [severity, id, what, advice] = ["severity", "id", "what", "advice"].map(|name| text(&finding[name]));
        format!("{severity} [{id}] {what}\n  {advice}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

pub(crate) async fn stats(global: &Global, most: u64) -> Result<ExitCode, Failure> {
    if let Some(service) = global.service()? {
        let (stats, functions) = tokio::try_join!(service.get("stats"), service.get("functions"))?;
        let rows = list(&functions)?;
        if global.json {
            print_json(&json!({ "stats": stats, "functions": functions }));
        } else {
            print(&calls(rows));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let cache = global.open().await?;
    let servers = cache.inspect().servers().await?;
    let (functions, is_at_least) = count(&cache, most).await?;
    if global.json {
        print_json(&json!({ "servers": servers, "entries": functions, "is_at_least": is_at_least }));
        return Ok(ExitCode::SUCCESS);
    }
    print(&table_of(&servers).text());
    let mut table = Table::new(&["function", "entries"], &[1]);
    for (function, entries) in &functions {
        table.row([function.clone(), number(*entries)]);
    }
    let note = if is_at_least { "\n(and more: counted up to --most)" } else { "" };
    let nothing =
        if functions.is_empty() { format!("\n(nothing in namespace `{}`)", global.namespace) } else { String::new() };
    print(&format!("\n{}{nothing}{note}", table.text()));
    Ok(ExitCode::SUCCESS)
}

/// How many entries each function has, those that are invalid and not removed yet included; and whether there may be more.
async fn count(cache: &Cache, most: u64) -> Result<(BTreeMap<String, u64>, bool), Failure> {
    let (mut functions, mut all, mut at) = (BTreeMap::new(), 0, None);
    let progress = spinner("counted");
    loop {
        let found = cache.inspect().walk("*", at.as_ref(), PAGE).await?;
        for path in found.paths {
            let function = path.split(':').next().unwrap_or_default().to_owned();
            *functions.entry(function).or_insert(0) += 1;
            all += 1;
        }
        progress.set_position(all);
        at = found.next;
        if at.is_none() || all >= most {
            progress.finish_and_clear();
            return Ok((functions, at.is_some()));
        }
    }
}

/// What a process counted.
fn calls(rows: &[Value]) -> String {
    let mut table = Table::new(&["function", "hits", "misses", "hit rate", "mean load", "ttl"], &[1, 2, 3, 4, 5]);
    for row in rows {
        let count = |name: &str| number(row[name].as_u64().unwrap_or(0));
        let (hits, misses) = (row["hits"].as_f64().unwrap_or(0.0), row["misses"].as_f64().unwrap_or(0.0));
        let rate = (hits + misses > 0.0).then(|| format!("{:.1} %", 100.0 * hits / (hits + misses)));
        let load = row["mean_load_seconds"].as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        let text = |name: &str| row[name].as_str().unwrap_or("-").to_owned();
        table.row([text("name"), count("hits"), count("misses"), or_dash(rate), or_dash(load.map(time)), text("ttl")]);
    }
    table.text()
}

/// The servers and what they say.
pub(crate) fn table_of(servers: &[Server]) -> Table {
    let head = ["server", "version", "up", "memory", "limit", "policy", "evicted", "clients", "ops/s", "keys"];
    let mut table = Table::new(&head, &[2, 3, 4, 6, 7, 8, 9]);
    for server in servers {
        let limit = server.memory_limit_bytes.map(|limit| if limit == 0 { "none".to_owned() } else { bytes(limit) });
        table.row([
            server.at.clone(),
            or_dash(server.version.clone()),
            or_dash(server.uptime_seconds.map(|seconds| time(Duration::from_secs(seconds)))),
            or_dash(server.memory_bytes.map(bytes)),
            or_dash(limit),
            or_dash(server.eviction_policy.clone()),
            or_dash(server.evicted_keys.map(number)),
            or_dash(server.clients.map(number)),
            or_dash(server.commands_per_second.map(number)),
            or_dash(server.keys.map(number)),
        ]);
    }
    table
}

pub(crate) async fn keys(global: &Global, glob: &str, limit: usize) -> Result<ExitCode, Failure> {
    let cache = global.open().await?;
    // By path: what a server has moved meanwhile may come twice.
    let (mut items, mut at): (BTreeMap<String, Item>, Option<Cursor>) = (BTreeMap::new(), None);
    let progress = spinner("found");
    let is_more = loop {
        let page = cache.inspect().list(glob, at.as_ref(), PAGE.min(limit.max(1))).await?;
        items.extend(page.items.into_iter().map(|item| (item.path.clone(), item)));
        progress.set_position(items.len() as u64);
        at = page.next;
        if at.is_none() || items.len() >= limit {
            break at.is_some() || items.len() > limit;
        }
    };
    progress.finish_and_clear();
    let items: Vec<Item> = items.into_values().take(limit).collect();
    if global.json {
        print_json(&json!({ "items": items, "is_more": is_more }));
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = Table::new(&["key", "what", "ttl", "bytes", "codec"], &[2, 3]);
    for item in &items {
        let codec = item.codec.map(|codec| [codec, item.compression.unwrap_or_default()].join(" ").trim().to_owned());
        let ttl = or_dash(item.ttl.map(time));
        table.row([item.path.clone(), what(item).to_owned(), ttl, number(item.bytes), or_dash(codec)]);
    }
    print(&table.text());
    if is_more {
        tell(format_args!("(there are more: --limit {})", limit.max(1).saturating_mul(10)));
    }
    Ok(ExitCode::SUCCESS)
}

/// What lies there, in a word.
fn what(item: &Item) -> &'static str {
    match (item.kind, item.validity) {
        (Kind::Value, Some(Validity::Invalidated)) => "invalidated",
        (Kind::Value, _) if item.is_negative => "known absence",
        // Its key does not tell whether it was invalidated: only its tags, or its function, would.
        (Kind::Value, Some(Validity::Unknown)) => "value ?",
        (Kind::Value, _) => "value",
        (Kind::Loading, _) => "loading",
        (Kind::Held, _) => "held",
        _ => "foreign",
    }
}

pub(crate) async fn get(global: &Global, path: &str) -> Result<ExitCode, Failure> {
    let key = Key::of_encoded(path)?;
    let cache = global.open().await?;
    let Some(contents) = cache.inspect().look(&key).await? else {
        if global.json {
            print_json(&Value::Null);
        }
        tell(format_args!("nothing is at `{}`", printable(path)));
        return Ok(ExitCode::from(1));
    };
    let value = contents.json();
    if global.json {
        let mut shown = serde_json::to_value(&contents.item).expect("it is made of text and numbers");
        shown["value"] = value.unwrap_or(Value::Null);
        print_json(&shown);
    } else {
        print(&printable(&in_full(&contents, value)));
    }
    Ok(ExitCode::SUCCESS)
}

fn in_full(contents: &Contents, value: Option<Value>) -> String {
    let item = &contents.item;
    let mut lines = vec![format!("key     {}", item.path)];
    lines.push(format!("what    {}", explained(item)));
    if let Some(ttl) = item.ttl {
        lines.push(format!("ttl     {}", time(ttl)));
    }
    lines.push(format!("bytes   {}", number(item.bytes)));
    if let Some(codec) = item.codec {
        lines.push(format!("codec   {codec}{}", item.compression.map_or(String::new(), |by| format!(", {by}"))));
    }
    if let Some(load_time) = item.load_time {
        lines.push(format!("load    took {}", time(load_time)));
    }
    match value {
        Some(value) => lines.push(format!("value   {value:#}")),
        None if item.kind == Kind::Value && !item.is_negative => {
            lines.push("value   not shown: its codec does not describe itself, or it is too large".to_owned());
        }
        None => {}
    }
    lines.join("\n")
}

fn explained(item: &Item) -> &'static str {
    match what(item) {
        "value ?" => {
            "a value; whether it is still valid depends on its tags and on its function, which are not known here"
        }
        "value" => "a valid value",
        "known absence" => "the knowledge that there is no value",
        "loading" => "the lease of a load that runs",
        "held" => "quarantined by a writer",
        "foreign" => "nothing that a cache has put there",
        other => other,
    }
}

pub(crate) async fn map(global: &Global, file: Option<&str>, form: Form) -> Result<ExitCode, Failure> {
    let json = match (global.service()?, file) {
        (Some(service), None) => service.get("map").await?,
        (_, Some(file)) => {
            let text = read(file).map_err(|error| Failure::usage(format_args!("{file}: {error}")))?;
            serde_json::from_str(&text).map_err(|error| Failure::usage(format_args!("{file} is no map: {error}")))?
        }
        (None, None) => {
            return Err(Failure::usage(
                "only the program knows its map: name its admin page by --service, or a --file",
            ));
        }
    };
    let map: Map = serde_json::from_value(json)
        .map_err(|error| Failure::usage(format_args!("this is no map of a program: {error}")))?;
    match form {
        _ if global.json => print_json(&map),
        Form::Json => print(&serde_json::to_string_pretty(&map).expect("it is made of text and numbers")),
        Form::Text => print(printable(&map.to_string()).trim_end()),
        Form::Mermaid => print(printable(&map.to_mermaid()).trim_end()),
        Form::Dot => print(map.to_dot().trim_end()),
    }
    Ok(ExitCode::SUCCESS)
}

fn read(file: &str) -> std::io::Result<String> {
    if file != "-" {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).map(|_| text)
}

/// What a walk has come to; shown on a terminal only.
pub(crate) fn spinner(what: &str) -> ProgressBar {
    let target =
        if std::io::stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let style = ProgressStyle::with_template(&format!("{{spinner}} {what} {{pos}} in {{elapsed}}"));
    ProgressBar::with_draw_target(None, target).with_style(style.expect("the template is right"))
}
