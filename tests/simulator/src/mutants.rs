//! Mistakes that the simulator must notice.
//!
//! Each is one safety check taken out: by a switch in the product's code, by an altered script, or by a server that does
//! less than it says.

use cache_core::{L1, mutant::Mutant};

use crate::{BOUNDED, Backend};

/// A mistake.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// In a word.
    pub name: &'static str,
    /// Over which store it shows.
    pub backend: Backend,
    /// The mode of copies in which it shows, if not in any.
    pub l1: Option<L1>,
    pub(crate) switch: Option<Mutant>,
    pub(crate) scripts: &'static [Alteration],
    pub(crate) glob_spares_leases: bool,
    /// The test that notices it, where the search does not come across the one schedule that it takes.
    pub directed: Option<&'static str>,
}

/// A change to a script.
#[derive(Clone, Debug)]
pub(crate) struct Alteration {
    pub(crate) script: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
}

const NONE: Mistake = Mistake {
    name: "",
    backend: Backend::Redis,
    l1: None,
    switch: None,
    scripts: &[],
    glob_spares_leases: false,
    directed: None,
};

const fn switched(name: &'static str, backend: Backend, mutant: Mutant) -> Mistake {
    Mistake { name, backend, switch: Some(mutant), ..NONE }
}

const fn scripted(name: &'static str, scripts: &'static [Alteration]) -> Mistake {
    Mistake { name, scripts, ..NONE }
}

const fn alter(script: &'static str, from: &'static str, to: &'static str) -> Alteration {
    Alteration { script, from, to }
}

const FLIGHT_TEST: &str = "cache-core flight::tests::the_bugs_that_the_simulator_found_would_be_noticed_again";

const BATCH_TEST: &str = "cache-core cache::batch::tests::a_batch_that_took_late_leases_would_be_noticed";

const FEED_TEST: &str = "cache-redis feed::tests::a_first_lease_that_kept_copies_would_be_noticed";

const fn leased(name: &'static str, mutant: Mutant) -> Mistake {
    Mistake { l1: Some(L1::Leased), ..switched(name, Backend::Redis, mutant) }
}

/// All of them.
pub const MISTAKES: &[Mistake] = &[
    scripted("a fill does not look at its lease", &[alter("fill", "if head ~= ARGV[1] then return 0 end", "")]),
    scripted(
        "a refresh does not look at its lease, nor at what it replaces",
        &[
            alter("replace", "if head_of(beside) ~= ARGV[1] then return 0 end", ""),
            alter("replace", "if not is_value(head) or string.sub(head, 34, 65) ~= ARGV[5] then return 0 end", ""),
        ],
    ),
    switched("a read does not compare stamps", Backend::Redis, Mutant::NoStampComparison),
    Mistake {
        scripts: &[
            alter("acquire", "if is_foreign(tokens[1], ARGV[1]) then return 'F' end", ""),
            alter("refresh", "if is_foreign(tokens[1], ARGV[1]) then return 'F' end", ""),
            alter("fence", "if not root then return 0 end", "if true then return 0 end"),
        ],
        ..switched("nobody looks at the incarnation", Backend::Redis, Mutant::NoIncarnationCheck)
    },
    scripted(
        "tokens come from the client alone",
        &[alter("acquire", "nonce .. '.' .. now[1] .. '.' .. now[2] .. '.'", "nonce .. '.'")],
    ),
    switched("reads go on before the journal is replayed", Backend::Redis, Mutant::NoJournalGate),
    Mistake { name: "a glob spares leases", glob_spares_leases: true, ..NONE },
    switched("an older load is joined", Backend::Redis, Mutant::JoinsOlderLoads),
    Mistake {
        directed: Some(FLIGHT_TEST),
        ..switched("a refresh of another value is joined", Backend::Redis, Mutant::JoinsRefreshOfAnother)
    },
    scripted(
        "a hold does nothing",
        &[alter(
            "hold",
            "redis.call('SET', KEYS[i], held, 'PX', string.format('%.0f', math.max(last or 0, ends) - now))",
            "",
        )],
    ),
    scripted(
        "a plain invalidation ends quarantines",
        &[alter("invalidate", "if redis.pcall('GETRANGE', KEYS[i], 0, 0) ~= 'Q' then", "if true then")],
    ),
    scripted(
        "a release ends the others' quarantines",
        &[alter("unhold", "if not rest or rest == '' then", "if true then")],
    ),
    scripted(
        "an acquire does not look for quarantines",
        &[alter("acquire", "if kind_of(head) == 'Q' or any_held(tokens) then return 'Q' end", "")],
    ),
    leased("leased: an invalidation does not wait for the others", Mutant::EarlyBarrier),
    leased("leased: nobody notices a missing announcement", Mutant::NoGapCheck),
    Mistake {
        directed: Some(FEED_TEST),
        ..leased("leased: what is from before the first lease of a connection is kept", Mutant::FirstLeaseKeeps)
    },
    leased("leased: a copy is kept whatever was invalidated meanwhile", Mutant::CopiesWithoutTicket),
    Mistake {
        l1: Some(BOUNDED),
        ..switched("bounded: a copy is served for its TTL", Backend::Redis, Mutant::KeepsBeyondBound)
    },
    leased("leased: a copy is served when the lease is over", Mutant::ServesBeyondLease),
    switched("memory: a hold does nothing", Backend::Memory, Mutant::MemoryHoldsNothing),
    switched("memory: an older load is joined", Backend::Memory, Mutant::JoinsOlderLoads),
    Mistake {
        directed: Some(FLIGHT_TEST),
        ..switched("memory: whoever joins for a lease takes any value", Backend::Memory, Mutant::TakesAnyLease)
    },
    Mistake {
        directed: Some(BATCH_TEST),
        ..switched(
            "memory: a batch stores under leases from after its load",
            Backend::Memory,
            Mutant::BatchTakesLateLeases,
        )
    },
    switched("memory: a fill does not look at its lease", Backend::Memory, Mutant::MemoryFillsWithoutLease),
    switched("memory: nobody looks at tokens", Backend::Memory, Mutant::MemoryIgnoresTokens),
    switched("memory: a glob spares leases", Backend::Memory, Mutant::MemoryGlobSparesLeases),
];
