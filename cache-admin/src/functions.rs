//! What is known of each function: what the program says of it, and what the cache counted.

use std::{cmp::Ordering, collections::BTreeMap};

use cache_core::{FunctionStats, Stats, map::Map};
use serde::{Deserialize, Serialize};

use crate::{history::ratio, text};

/// One cached function.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct FunctionRow {
    /// The first segment of its keys: its `key_prefix`.
    pub name: String,
    /// Module path, type and name; none for keys that are made by hand.
    pub function: Option<String>,
    /// Where its attribute is.
    pub place: Option<String>,
    /// As it is written.
    pub ttl: Option<String>,
    /// As they are written.
    pub tags: Vec<String>,
    /// Whether no `#[invalidates]` of the program drops its entries.
    pub orphan: bool,
    /// Calls answered by a stored value.
    pub hits: u64,
    /// Calls that found none.
    pub misses: u64,
    /// The share of calls that were hits, 0 to 1. None without calls.
    pub hit_rate: Option<f64>,
    /// Misses that took the value of a load under way.
    pub joined: u64,
    /// Loads run.
    pub loads: u64,
    /// Loads that failed.
    pub load_errors: u64,
    /// Values stored.
    pub fills: u64,
    /// Values that were not stored because they had been invalidated meanwhile.
    pub refused: u64,
    /// How long a load took on average.
    pub mean_load_seconds: Option<f64>,
    /// What the hits would have taken as loads: their number times the average.
    pub saved_seconds: f64,
    /// How many entries there are in the store, as far as they were counted.
    pub entries: Option<Entries>,
}

/// How many entries a function has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Entries {
    /// So many were counted, those that are being loaded included.
    pub counted: u64,
    /// Whether there may be more: counting ends after some thousand keys.
    pub or_more: bool,
}

/// By what the table is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Sort {
    Name,
    #[default]
    Hits,
    Misses,
    Rate,
    Load,
    Saved,
    Entries,
    Ttl,
}

/// The columns as the page shows them.
pub(crate) const COLUMNS: [(Sort, &str, &str); 8] = [
    (Sort::Name, "name", "Function"),
    (Sort::Hits, "hits", "Hits"),
    (Sort::Misses, "misses", "Misses"),
    (Sort::Rate, "rate", "Hit rate"),
    (Sort::Load, "load", "Load time"),
    (Sort::Saved, "saved", "Time saved"),
    (Sort::Entries, "entries", "Entries"),
    (Sort::Ttl, "ttl", "TTL"),
];

/// All functions: those that the program declares and those that have been called.
pub(crate) fn rows(stats: &Stats, map: &Map, entries: Option<&BTreeMap<String, Entries>>) -> Vec<FunctionRow> {
    let orphans: Vec<_> = map.orphans().into_iter().map(|orphan| orphan.prefix.as_str()).collect();
    let mut rows: BTreeMap<&str, FunctionRow> =
        stats.functions.iter().map(|(name, counted)| (name.as_str(), counted_row(counted))).collect();
    for declared in &map.functions {
        let row = rows.entry(&declared.prefix).or_default();
        row.function = Some(declared.function.replace('.', "::"));
        row.place = Some(format!("{}:{}", declared.file, declared.line));
        row.ttl = Some(declared.ttl.trim_matches('"').to_owned());
        row.tags.clone_from(&declared.tags);
        row.orphan = orphans.contains(&declared.prefix.as_str());
    }
    let finished = rows.into_iter().map(|(name, row)| FunctionRow {
        name: name.to_owned(),
        entries: entries.map(|entries| entries.get(name).copied().unwrap_or_default()),
        ..row
    });
    finished.collect()
}

fn counted_row(stats: &FunctionStats) -> FunctionRow {
    let mean = ratio(stats.load_time.as_secs_f64(), stats.loads);
    FunctionRow {
        hits: stats.hits,
        misses: stats.misses,
        hit_rate: ratio(stats.hits as f64, stats.hits + stats.misses),
        joined: stats.joined,
        loads: stats.loads,
        load_errors: stats.load_errors,
        fills: stats.fills,
        refused: stats.refused,
        mean_load_seconds: mean,
        saved_seconds: mean.unwrap_or_default() * stats.hits as f64,
        ..FunctionRow::default()
    }
}

/// Sorts in place; rows that are alike go by name.
pub(crate) fn sort(rows: &mut [FunctionRow], by: Sort, descending: bool) {
    rows.sort_by(|one, other| {
        let order = compare(one, other, by);
        let order = if descending { order.reverse() } else { order };
        order.then_with(|| one.name.cmp(&other.name))
    });
}

fn compare(one: &FunctionRow, other: &FunctionRow, by: Sort) -> Ordering {
    let number = |row: &FunctionRow| match by {
        Sort::Name => 0.0,
        Sort::Hits => row.hits as f64,
        Sort::Misses => row.misses as f64,
        Sort::Rate => row.hit_rate.unwrap_or(-1.0),
        Sort::Load => row.mean_load_seconds.unwrap_or(-1.0),
        Sort::Saved => row.saved_seconds,
        Sort::Entries => row.entries.map_or(-1.0, |entries| entries.counted as f64),
        Sort::Ttl => row.ttl.as_deref().and_then(text::ttl_seconds).unwrap_or(-1.0),
    };
    match by {
        Sort::Name => one.name.cmp(&other.name),
        _ => number(one).total_cmp(&number(other)),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn time_saved_is_what_the_hits_would_have_taken() {
        let (mut stats, mut function) = (Stats::default(), FunctionStats::default());
        (function.hits, function.misses, function.loads) = (90, 10, 10);
        function.load_time = Duration::from_millis(200);
        stats.functions.insert("page".to_owned(), function);
        stats.functions.insert("other".to_owned(), FunctionStats::default());
        let mut rows = rows(&stats, &Map::default(), None);
        sort(&mut rows, Sort::Hits, true);
        let [page, other] = &rows[..] else { panic!("two") };
        assert_eq!((page.name.as_str(), page.hit_rate, page.mean_load_seconds), ("page", Some(0.9), Some(0.02)));
        assert!((page.saved_seconds - 1.8).abs() < 1e-9);
        assert_eq!((other.hit_rate, other.mean_load_seconds), (None, None));
        sort(&mut rows, Sort::Name, false);
        assert_eq!(rows[0].name, "other");
    }
}
