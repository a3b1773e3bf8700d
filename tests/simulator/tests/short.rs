//! Short runs: nothing is stale, mistakes are noticed, and a seed gives the same run twice.

use cache_core::L1;
use simulator::{Backend, MISTAKES, Report, Settings, Simulator};

fn run(backend: Backend, seed: u64, steps: u64) -> Option<Report> {
    let report = Simulator::new(backend)?.run(&Settings::new(backend, seed, steps));
    assert!(report.failure.is_none(), "{report}");
    Some(report)
}

/// A run in which nothing happens would not fail either.
fn assert_busy(reports: &[Report], what: &[&str]) {
    for what in what {
        let count: u64 = reports.iter().map(|report| report.count(what)).sum();
        assert!(count > 30, "{what}: {count}");
    }
}

/// A machine that stalls may disturb any run, the first as well as the last: two in six must be alike.
fn assert_repeats<T: PartialEq>(mut run: impl FnMut() -> T, what: &str) {
    let mut seen = Vec::new();
    for _ in 0..6 {
        let this = run();
        if seen.contains(&this) {
            return;
        }
        seen.push(this);
    }
    panic!("{what}: six runs, and no two are alike");
}

#[test]
fn nothing_is_stale_over_redis() {
    let reports: Option<Vec<_>> = (1..=4).map(|seed| run(Backend::Redis, seed, 10_000)).collect();
    let Some(reports) = reports else { return };
    let busy =
        ["value checked", "cache: hits", "cache: joined", "cache: fills", "cache: fills refused", "replace", "SCAN"];
    assert_busy(&reports, &busy);
    assert_busy(&reports, &["invalidation applied", "invalidation journaled", "crash inside a hold", "again acquire"]);
    assert_busy(&reports, &["key evicted", "commit under a hold that stands", "cache: degraded calls"]);
    let leased: Vec<_> = reports.into_iter().filter(|report| report.l1 == Some(L1::Leased)).collect();
    assert_busy(&leased, &["cache: hits from copies", "renew_member", "announce", "message published"]);
}

#[test]
fn nothing_is_stale_in_memory() {
    let reports: Option<Vec<_>> = (1..=8).map(|seed| run(Backend::Memory, seed, 20_000)).collect();
    let reports = reports.expect("memory needs no server");
    assert_busy(&reports, &["value checked", "cache: hits", "cache: joined", "cache: fills", "cache: fills refused"]);
    assert_busy(&reports, &["invalidation applied", "crash inside a hold", "fill again"]);
}

#[test]
fn a_seed_gives_the_same_run_twice() {
    for backend in [Backend::Redis, Backend::Memory] {
        for seed in 1..=4 {
            if backend == Backend::Redis && Simulator::new(backend).is_none() {
                return;
            }
            let counts = || run(backend, seed, 4_000).expect("it was there before").counts;
            assert_repeats(counts, &format!("{backend:?}, seed {seed}"));
        }
    }
}

#[test]
fn mistakes_are_noticed() {
    // The table of `simulator mutants` has all of them.
    for (name, steps) in [
        ("a fill does not look at its lease", 30_000),
        ("a read does not compare stamps", 30_000),
        ("an older load is joined", 30_000),
        ("a hold does nothing", 30_000),
        ("leased: an invalidation does not wait for the others", 30_000),
        ("memory: a fill does not look at its lease", 30_000),
        ("memory: nobody looks at tokens", 30_000),
    ] {
        let mistake = MISTAKES.iter().find(|mistake| mistake.name == name).expect("it is listed");
        let Some(mut simulator) = Simulator::new(mistake.backend) else { return };
        let settings = Settings::new(mistake.backend, 1, steps).with_mistake(mistake);
        // The same again: what was found can be looked at.
        let found_at = || {
            let report = simulator.run(&settings);
            assert!(report.failure.is_some(), "{name} has not been noticed in {steps} steps");
            report.steps
        };
        assert_repeats(found_at, name);
    }
}
