//! The metrics' names, units and meanings. `docs/OPERATIONS.md` has the same with their labels.

macro_rules! metrics {
    ($($name:ident: $describe:ident, $text:literal, $unit:ident, $meaning:literal;)+) => {
        $(pub(crate) const $name: &str = $text;)+

        /// Describes all of them to the recorder.
        pub(crate) fn describe() {
            $(metrics::$describe!($text, metrics::Unit::$unit, $meaning);)+
        }

        #[cfg(test)]
        const ALL: &[&str] = &[$($text),+];
    };
}

metrics! {
    REQUESTS: describe_counter, "staleproof_requests_total", Count, "Calls of cached functions, by what answered them.";
    LOAD_DURATION: describe_histogram, "staleproof_load_duration_seconds", Seconds, "Time that loaders ran, each run once, a batch too.";
    LOAD_ERRORS: describe_counter, "staleproof_load_errors_total", Count, "Entries whose load failed.";
    FILLS: describe_counter, "staleproof_fills_total", Count, "Values stored.";
    FILLS_REFUSED: describe_counter, "staleproof_fills_refused_total", Count, "Loaded values that were not stored, by reason.";
    SERVED_STALE: describe_counter, "staleproof_served_stale_total", Count, "Expired values served because the load failed.";
    UNREADABLE: describe_counter, "staleproof_unreadable_total", Count, "Stored values that could not be read.";
    STORE_ERRORS: describe_counter, "staleproof_store_errors_total", Count, "Calls of the store that failed or had no answer in time.";
    VERIFIED: describe_counter, "staleproof_verified_total", Count, "Hits that were compared with the source.";
    MISMATCHES: describe_counter, "staleproof_verify_mismatches_total", Count, "Hits that were not what the source says, with no invalidation under way.";
    INVALIDATIONS: describe_counter, "staleproof_invalidations_total", Count, "Invalidated targets, by kind and outcome.";
    INVALIDATION_DURATION: describe_histogram, "staleproof_invalidation_duration_seconds", Seconds, "Time until an invalidation returned.";
    INVALIDATION_LAG: describe_histogram, "staleproof_invalidation_lag_seconds", Seconds, "Time from an invalidation's start until another instance that serves leased copies had dropped them, or could serve none.";
    L1_ENTRIES: describe_gauge, "staleproof_l1_entries", Count, "Entries in this process's memory.";
    L1_BYTES: describe_gauge, "staleproof_l1_bytes", Bytes, "What these cost.";
    L1_EVICTIONS: describe_counter, "staleproof_l1_evictions_total", Count, "Entries that made room for others in this process's memory.";
    JOURNAL: describe_gauge, "staleproof_journal_depth", Count, "Invalidations that wait to be replayed.";
    DEGRADED: describe_gauge, "staleproof_degraded", Count, "Caches whose store is out of reach now.";
    DEGRADED_TIME: describe_counter, "staleproof_degraded_seconds_total", Seconds, "Time without the store, in whole seconds.";
    OUTAGES: describe_counter, "staleproof_outages_total", Count, "How often the store went out of reach.";
    ROUND_TRIPS: describe_counter, "staleproof_store_round_trips_total", Count, "Commands, or pipelines of them, sent to the store's server.";
    TIMEOUTS: describe_counter, "staleproof_store_timeouts_total", Count, "Calls of the store's server without an answer in time.";
    LOSSES: describe_counter, "staleproof_store_connections_lost_total", Count, "How often what calls go over was given up.";
    FENCES: describe_counter, "staleproof_store_fences_total", Count, "How often data counted as invalidated because they may have been from the past.";
    REPLAYED: describe_counter, "staleproof_store_replayed_total", Count, "Queued invalidations that were replayed.";
}

#[cfg(test)]
mod tests {
    use super::ALL;

    #[test]
    fn names_are_those_of_prometheus_and_each_is_in_the_documentation() {
        let documentation = include_str!("../../../docs/OPERATIONS.md");
        for name in ALL {
            assert!(documentation.contains(&format!("`{name}`")), "{name} is not in docs/OPERATIONS.md");
            let rest = name.strip_prefix("staleproof_").expect("the prefix");
            assert!(rest.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_')), "{name}");
        }
        // Those of the kit are checked there.
        let documented = documentation.split('`').filter(|word| word.starts_with("staleproof_"));
        for name in documented.filter(|word| !word.starts_with("staleproof_kit_")) {
            let series = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
            assert!(ALL.contains(&series), "{name} is in docs/OPERATIONS.md only");
        }
    }
}
