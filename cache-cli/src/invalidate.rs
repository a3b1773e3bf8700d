//! `staleproof invalidate`: shows what it would hit, then does it.

use std::{
    io::{BufRead as _, IsTerminal as _, Write as _},
    process::ExitCode,
    time::Duration,
};

use clap::Args;
use serde_json::json;
use staleproof::{
    Cache, Event, Outcome, Target,
    inspect::{Naming, Preview},
};

use crate::{
    Failure, Global,
    command::spinner,
    failure::NOT_CONFIRMED,
    output::is_closed,
    print, print_json,
    shown::{number, printable},
};

/// How long an invalidation is waited for that could not be made at once.
const PATIENCE: Duration = Duration::from_secs(15);

#[derive(Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    aims: Aims,
    /// Without asking.
    #[arg(long, short)]
    yes: bool,
    /// Only show what would be hit.
    #[arg(long, conflicts_with = "yes")]
    dry_run: bool,
    /// Count up to so many entries.
    #[arg(long, default_value_t = 100_000)]
    most: u64,
}

#[derive(Args)]
#[group(required = true, multiple = true)]
struct Aims {
    /// One entry by its key: page:7:1
    #[arg(long, value_name = "KEY")]
    entry: Vec<String>,
    /// All entries whose key begins so: page:7
    #[arg(long, value_name = "PATH")]
    node: Vec<String>,
    /// All entries with a tag: owner:7
    #[arg(long)]
    tag: Vec<String>,
    /// All entries whose key matches: page:*:1
    #[arg(long)]
    glob: Vec<String>,
    /// All entries of a function, by its prefix
    #[arg(long, value_name = "PREFIX")]
    function: Vec<String>,
    /// All entries of the namespace
    #[arg(long)]
    all: bool,
}

impl Aims {
    fn targets(&self) -> Result<Vec<Target>, Failure> {
        if let Some(path) = self.function.iter().find(|prefix| prefix.contains(':')) {
            return Err(Failure::usage(format_args!("`{path}` is no prefix of a function: use --node")));
        }
        let named = [
            (Naming::Entry, &self.entry),
            (Naming::Node, &self.node),
            (Naming::Tag, &self.tag),
            (Naming::Glob, &self.glob),
            (Naming::Node, &self.function),
        ];
        let named = named.into_iter().flat_map(|(naming, texts)| texts.iter().map(move |text| (naming, text)));
        let targets = named.map(|(naming, text)| {
            naming.target(text).map_err(|error| Failure::usage(format_args!("`{text}`: {error}")))
        });
        targets.chain(self.all.then_some(Ok(Target::All))).collect()
    }
}

pub(crate) async fn run(global: &Global, asked: Asked) -> Result<ExitCode, Failure> {
    let targets = asked.aims.targets()?;
    let cache = global.open().await?;
    let previews = preview(&cache, &targets, asked.most).await?;
    if !global.json {
        for (target, preview) in targets.iter().zip(&previews) {
            print(&printable(&told(target, preview)));
        }
    }
    let is_to_be_done = !asked.dry_run && (asked.yes || confirm(global)?);
    let outcome = if is_to_be_done { Some(invalidate(&cache, targets.clone()).await?) } else { None };
    if global.json {
        let named = targets.iter().zip(&previews);
        let hits = named.map(|(target, preview)| json!({ "target": target.to_string(), "preview": preview }));
        let mut report = json!({ "targets": hits.collect::<Vec<_>>(), "outcome": outcome });
        if outcome.is_none() && !asked.dry_run {
            report["error"] = NOT_CONFIRMED.into();
        }
        print_json(&report);
    } else if let Some(outcome) = outcome {
        print(outcome);
    }
    match outcome {
        None if !asked.dry_run => Err(Failure::NotConfirmed),
        _ => Ok(ExitCode::SUCCESS),
    }
}

async fn preview(cache: &Cache, targets: &[Target], most: u64) -> Result<Vec<Preview>, Failure> {
    let progress = spinner("would be hit:");
    let mut previews = Vec::with_capacity(targets.len());
    for target in targets {
        let counted = |count| progress.set_position(count);
        previews.push(cache.inspect().preview_with(target, most, counted).await?);
    }
    progress.finish_and_clear();
    Ok(previews)
}

fn told(target: &Target, preview: &Preview) -> String {
    if matches!(target, Target::Tag(_)) {
        let what = match preview.tag_in_use {
            Some(true) => "entries are stored under it; keys do not tell which",
            Some(false) => "nothing is stored under it",
            None => "keys do not tell which entries carry it",
        };
        return format!("{target}: {what}");
    }
    let at_least = if preview.is_at_least { "at least " } else { "" };
    let plural = if preview.count == 1 { "entry" } else { "entries" };
    let mut text = format!("{target}: {at_least}{} {plural}", number(preview.count));
    for path in &preview.some {
        text.push_str("\n  ");
        text.push_str(path);
    }
    if preview.count > preview.some.len() as u64 {
        text.push_str("\n  …");
    }
    text
}

/// Asks whoever sits there; where nobody does, the answer is no.
fn confirm(global: &Global) -> Result<bool, Failure> {
    let is_seen = !is_closed() && std::io::stderr().is_terminal();
    if global.json || !is_seen || !std::io::stdin().is_terminal() {
        return Ok(false);
    }
    let mut answer = String::new();
    let asked = write!(std::io::stderr(), "Invalidate in namespace `{}`? [y/N] ", global.namespace);
    let read = asked.and_then(|()| std::io::stdin().lock().read_line(&mut answer));
    read.map_err(Failure::usage)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// Invalidates, and waits until that is in force: nobody would replay what this process has queued.
async fn invalidate(cache: &Cache, targets: Vec<Target>) -> Result<&'static str, Failure> {
    let mut events = cache.events();
    let progress = spinner("invalidating,");
    progress.enable_steady_tick(Duration::from_millis(100));
    if cache.invalidate(targets).await == Outcome::Applied {
        progress.finish_and_clear();
        return Ok("applied");
    }
    let recovered = async {
        while let Some(event) = events.next().await {
            if let Event::Recovered { .. } = event {
                return true;
            }
        }
        false
    };
    let is_in_force = tokio::time::timeout(PATIENCE, recovered).await == Ok(true);
    progress.finish_and_clear();
    if is_in_force {
        return Ok("applied");
    }
    Err(Failure::OutOfReach(
        "Redis went out of reach: it is not known whether anything was invalidated, so do it again".to_owned(),
    ))
}
