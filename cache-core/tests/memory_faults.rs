//! The suite for stores can fail: each fault, put into a store that is otherwise right, is caught by the rule it breaks.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use cache_core::{
    Clock, Key, ManualClock, MemoryStore, Outcome, Store, Target,
    codec::Meta,
    conformance::Subject,
    glob::Glob,
    store::{Acquired, Filled, HolderId, Lease, LeaseId, Payload, Purpose, Read, StoreError},
};
use parking_lot::Mutex;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    Nothing,
    FillsWithoutALease,
    RefillsWithAUsedLease,
    FillsARefreshWhateverStandsThere,
    NodesForgetLeases,
    NodesForgetTheEntryAtThem,
    NodesCoverLongerNumbers,
    TagsForgetLeases,
    GlobsSpareLeases,
    EverythingSparesLeases,
    EntriesCoverWhatIsBelow,
    TokensComeBack,
    OnlyTheFirstTargetCounts,
    InvalidationsAreJournaled,
    EveryoneGetsALease,
    EveryoneRefreshes,
    ReleasesWhateverStandsThere,
    LeasesNeverLapse,
    ValuesNeverExpire,
    RenewalsDoNothing,
    GarbageNeverGivesWay,
    AnythingGivesWayAsGarbage,
    LoadsAreNotReported,
    TagsAreNotCompared,
    LargePayloadsAreCut,
    EmptyPayloadsAreLost,
    ObjectsAreReplaced,
    DroppedCallsKeepTheLock,
    ReadsWithoutWaitingAreOld,
    HoldsDoNothing,
    HoldsOnlyInvalidate,
    HoldsNeverLapse,
    HoldsAreShortened,
    ReleasesFreeForAll,
    ReleasesDoNotInvalidate,
    InvalidationsEndHolds,
    OneHolderAtATime,
    GlobsAreHeldAsNothing,
}

struct Faulty {
    inner: MemoryStore,
    fault: Fault,
    filled: Mutex<Vec<Key>>,
    used: Mutex<HashSet<LeaseId>>,
    /// Nodes whose token is gone, until it comes back as it was.
    dead: Mutex<HashSet<String>>,
    locked: AtomicBool,
    holders: Mutex<Vec<(Target, HolderId)>>,
}

impl Faulty {
    fn has(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    fn drop_entry(&self, key: &Key) {
        self.inner.invalidate_now(&[key.clone().into_entry()]);
    }

    /// Stores whatever stands there.
    async fn force(&self, key: &Key, payload: Payload, ttl: Duration) -> Filled {
        self.drop_entry(key);
        match self.inner.acquire(key, Purpose::Load { unreadable: None }, DAY).await {
            Ok(Acquired::Lease(lease)) => self.inner.fill(key, &lease, payload, ttl).await.expect("in memory"),
            _ => Filled::Refused,
        }
    }

    /// Invalidates the values that were stored below or at the path, and no lease.
    fn values(&self, covered: impl Fn(&Key) -> bool) -> Vec<Target> {
        self.filled.lock().drain(..).filter(|key| covered(key)).map(Key::into_entry).collect()
    }

    fn instead_of(&self, target: &Target) -> Vec<Target> {
        match (self.fault, target) {
            (Fault::NodesForgetLeases, Target::Node(node)) => {
                self.values(|key| key.as_str() == node || key.nodes().any(|above| above == node))
            }
            (Fault::NodesForgetTheEntryAtThem, Target::Node(node)) => vec![Target::Glob(format!("{node}:*"))],
            (Fault::NodesCoverLongerNumbers, Target::Node(node)) => vec![Target::Glob(format!("{node}*"))],
            (Fault::TagsForgetLeases, Target::Tag(tag)) => self.values(|key| key.tags().contains(tag)),
            (Fault::GlobsSpareLeases, Target::Glob(glob)) => {
                let glob = Glob::new(glob);
                self.values(|key| glob.matches(key.as_str()))
            }
            (Fault::EverythingSparesLeases, Target::All) => self.values(|_| true),
            (Fault::EntriesCoverWhatIsBelow, Target::Entry(path)) => vec![Target::Node(path.clone())],
            (Fault::TokensComeBack, Target::Node(node)) => {
                self.dead.lock().insert(node.clone());
                vec![Target::Entry(node.clone())]
            }
            _ => vec![target.clone()],
        }
    }

    async fn end_holds(&self, targets: &[Target], of: impl Fn(HolderId) -> bool) {
        let holders: Vec<_> = self.holders.lock().clone();
        for (target, holder) in holders.into_iter().filter(|(target, holder)| targets.contains(target) && of(*holder)) {
            let outcome = self.inner.release_hold(&[target], holder).await;
            assert_eq!(outcome.expect("in memory"), Outcome::Applied);
        }
    }

    fn is_dead(&self, key: &Key) -> bool {
        let dead = self.dead.lock();
        key.nodes().any(|node| dead.contains(node))
    }
}

#[async_trait]
impl Store for Faulty {
    fn name(&self) -> &'static str {
        "faulty"
    }

    fn holds_objects(&self) -> bool {
        self.has(Fault::ObjectsAreReplaced)
    }

    fn read_now(&self, key: &Key) -> Option<Read> {
        // As a copy would be that nobody takes away.
        let stored = self.filled.lock().contains(key);
        (self.has(Fault::ReadsWithoutWaitingAreOld) && stored).then(|| {
            let id = LeaseId([b'o'; 32]);
            Read::Hit(cache_core::store::Stored { id, payload: Payload::Bytes(Bytes::new()) })
        })
    }

    async fn read(&self, key: &Key) -> Result<Read, StoreError> {
        if self.is_dead(key) {
            return Ok(Read::Miss { loading: None });
        }
        let stored = self.filled.lock().iter().rev().find(|stored| stored.as_str() == key.as_str()).cloned();
        match stored {
            Some(stored) if self.has(Fault::TagsAreNotCompared) => self.inner.read(&stored).await,
            _ => match self.inner.read(key).await? {
                Read::Miss { .. } if self.has(Fault::LoadsAreNotReported) => Ok(Read::Miss { loading: None }),
                read => Ok(read),
            },
        }
    }

    async fn acquire(&self, key: &Key, purpose: Purpose, lasts: Duration) -> Result<Acquired, StoreError> {
        if self.has(Fault::DroppedCallsKeepTheLock) {
            if self.locked.swap(true, Ordering::SeqCst) {
                return Err(StoreError::Unavailable);
            }
            tokio::task::yield_now().await;
            self.locked.store(false, Ordering::SeqCst);
        }
        if self.is_dead(key) {
            self.drop_entry(key);
            self.dead.lock().retain(|dead| !key.nodes().any(|node| node == dead));
        }
        let lasts = if self.has(Fault::LeasesNeverLapse) { DAY } else { lasts };
        let load = Purpose::Load { unreadable: None };
        let (purpose, garbage) = match purpose {
            Purpose::Load { unreadable: Some(_) } if self.has(Fault::GarbageNeverGivesWay) => (load, false),
            Purpose::Load { unreadable } => (purpose, unreadable.is_some()),
            Purpose::Refresh(_) => (purpose, false),
        };
        let acquired = self.inner.acquire(key, purpose, lasts).await?;
        match (&acquired, purpose) {
            (Acquired::Value(_), _) if garbage && self.has(Fault::AnythingGivesWayAsGarbage) => {}
            (Acquired::Wait { .. }, Purpose::Load { .. }) if self.has(Fault::EveryoneGetsALease) => {}
            (Acquired::Wait { lease: id, .. }, Purpose::Refresh(replaced)) if self.has(Fault::EveryoneRefreshes) => {
                return Ok(Acquired::Lease(Lease { id: *id, stamp: [0; 32], replaces: Some(replaced) }));
            }
            _ => return Ok(acquired),
        }
        self.drop_entry(key);
        self.inner.acquire(key, load, lasts).await
    }

    async fn renew(&self, key: &Key, lease: &Lease, lasts: Duration) -> Result<bool, StoreError> {
        match self.fault {
            Fault::RenewalsDoNothing => Ok(true),
            _ => self.inner.renew(key, lease, lasts).await,
        }
    }

    async fn fill(&self, key: &Key, lease: &Lease, payload: Payload, ttl: Duration) -> Result<Filled, StoreError> {
        if self.is_dead(key) {
            return Ok(Filled::Refused);
        }
        let ttl = if self.has(Fault::ValuesNeverExpire) { DAY } else { ttl };
        let payload = match payload {
            Payload::Bytes(bytes) if self.has(Fault::LargePayloadsAreCut) => {
                Payload::Bytes(bytes.slice(..bytes.len().min(1 << 16)))
            }
            Payload::Bytes(bytes) if bytes.is_empty() && self.has(Fault::EmptyPayloadsAreLost) => {
                return Ok(Filled::Stored);
            }
            Payload::Object { weight, .. } if self.has(Fault::ObjectsAreReplaced) => {
                Payload::Object { value: Arc::new(()), meta: Meta::default(), weight }
            }
            payload => payload,
        };
        let filled = self.inner.fill(key, lease, payload.clone(), ttl).await?;
        let stores_anyway = match self.fault {
            Fault::FillsWithoutALease => true,
            Fault::RefillsWithAUsedLease => self.used.lock().contains(&lease.id),
            Fault::FillsARefreshWhateverStandsThere => lease.replaces.is_some(),
            _ => false,
        };
        let filled =
            if filled == Filled::Refused && stores_anyway { self.force(key, payload, ttl).await } else { filled };
        if filled == Filled::Stored {
            self.filled.lock().push(key.clone());
            self.used.lock().insert(lease.id);
        }
        Ok(filled)
    }

    async fn release(&self, key: &Key, lease: &Lease) -> Result<(), StoreError> {
        if self.has(Fault::ReleasesWhateverStandsThere) {
            self.drop_entry(key);
        }
        self.inner.release(key, lease).await
    }

    async fn invalidate(&self, targets: &[Target]) -> Result<Outcome, StoreError> {
        let counted = if self.has(Fault::OnlyTheFirstTargetCounts) { 1 } else { targets.len() };
        let instead: Vec<_> = targets.iter().take(counted).flat_map(|target| self.instead_of(target)).collect();
        if self.has(Fault::InvalidationsEndHolds) {
            self.end_holds(targets, |_| true).await;
        }
        let outcome = self.inner.invalidate(&instead).await?;
        Ok(if self.has(Fault::InvalidationsAreJournaled) { Outcome::Journaled } else { outcome })
    }

    async fn hold(&self, targets: &[Target], holder: HolderId, lasts: Duration) -> Result<(), StoreError> {
        match self.fault {
            Fault::HoldsDoNothing => return Ok(()),
            Fault::HoldsOnlyInvalidate => return self.inner.invalidate(targets).await.map(drop),
            Fault::HoldsAreShortened => self.end_holds(targets, |other| other == holder).await,
            Fault::OneHolderAtATime => self.end_holds(targets, |other| other != holder).await,
            Fault::GlobsAreHeldAsNothing if !targets.iter().all(Target::can_be_held) => return Ok(()),
            _ => {}
        }
        self.holders.lock().extend(targets.iter().map(|target| (target.clone(), holder)));
        let lasts = if self.has(Fault::HoldsNeverLapse) { DAY } else { lasts };
        self.inner.hold(targets, holder, lasts).await
    }

    async fn release_hold(&self, targets: &[Target], holder: HolderId) -> Result<Outcome, StoreError> {
        if self.has(Fault::ReleasesFreeForAll) {
            self.end_holds(targets, |_| true).await;
        }
        let held = self.holders.lock().iter().any(|(target, other)| targets.contains(target) && *other == holder);
        if self.has(Fault::ReleasesDoNotInvalidate) && !held {
            return Ok(Outcome::Applied);
        }
        self.inner.release_hold(targets, holder).await
    }
}

fn subject(fault: Fault) -> Subject {
    let time = ManualClock::new();
    let clock = Clock::from(&time);
    Subject::new(move || {
        let store: Arc<dyn Store> = Arc::new(Faulty {
            inner: MemoryStore::with_clock(64 << 20, clock.clone()),
            fault,
            filled: Mutex::default(),
            used: Mutex::default(),
            dead: Mutex::default(),
            locked: AtomicBool::default(),
            holders: Mutex::default(),
        });
        async { store }
    })
    .passing_time(move |span| {
        time.advance(span);
        async {}
    })
}

async fn caught(fault: Fault, by: &[&str]) {
    let failures = subject(fault).failures().await;
    let rules: Vec<_> = failures.iter().map(|failure| failure.case).collect();
    for rule in by {
        assert!(rules.contains(rule), "{fault:?} gets past {rule}; these caught it: {rules:?}");
    }
}

#[tokio::test]
async fn without_a_fault_every_rule_holds() {
    subject(Fault::Nothing).run().await;
}

macro_rules! caught {
    ($($test:ident: $fault:ident by $($rule:ident)+;)+) => {$(
        #[tokio::test]
        async fn $test() {
            caught(Fault::$fault, &[$(stringify!($rule)),+]).await;
        }
    )+};
}

caught! {
    a_fill_without_a_lease: FillsWithoutALease by
        invalidating_an_entry_holds invalidating_a_node_above_holds invalidating_a_tag_holds invalidating_a_glob_holds
        a_forged_lease_stores_nothing a_lapsed_lease_stores_nothing_and_frees_the_key
        nothing_stale_is_read_while_loads_and_invalidations_race;
    a_lease_that_fills_twice: RefillsWithAUsedLease by a_lease_is_good_for_one_fill;
    a_refresh_of_anything: FillsARefreshWhateverStandsThere by
        a_refresh_replaces_exactly_its_value a_refresh_is_refused_after_its_entry_was_invalidated
        a_lapsed_refresh_stores_nothing_and_frees_the_turn;
    a_node_without_its_leases: NodesForgetLeases by
        invalidating_a_node_above_holds invalidating_the_outermost_node_holds invalidating_the_node_at_the_entry_holds
        a_node_covers_what_is_below_it_and_nothing_else;
    a_node_without_the_entry_at_it: NodesForgetTheEntryAtThem by
        invalidating_the_node_at_the_entry_holds a_node_covers_what_is_below_it_and_nothing_else;
    a_node_by_text: NodesCoverLongerNumbers by a_node_covers_what_is_below_it_and_nothing_else;
    a_tag_without_its_leases: TagsForgetLeases by
        invalidating_a_tag_holds invalidating_any_of_several_tags_holds a_tag_covers_what_carries_it_and_nothing_else;
    a_glob_without_its_leases: GlobsSpareLeases by
        invalidating_a_glob_holds a_glob_covers_what_matches_and_nothing_else;
    everything_but_leases: EverythingSparesLeases by invalidating_everything_holds;
    an_entry_with_what_is_below: EntriesCoverWhatIsBelow by an_entry_is_invalidated_alone;
    a_token_that_comes_back: TokensComeBack by a_token_is_not_created_twice;
    one_target_of_many: OnlyTheFirstTargetCounts by many_targets_are_invalidated_at_once;
    a_journal_within_reach: InvalidationsAreJournaled by invalidating_an_entry_holds;
    leases_for_everyone: EveryoneGetsALease by
        a_second_load_waits_for_the_first of_many_loads_at_once_one_gets_the_lease;
    refreshes_for_everyone: EveryoneRefreshes by
        a_second_refresh_waits_for_the_first of_many_refreshes_at_once_one_gets_the_lease;
    a_release_of_anything: ReleasesWhateverStandsThere by
        releasing_a_lease_that_is_gone_leaves_the_next_one_alone
        a_released_refresh_leaves_the_value_and_frees_the_turn;
    eternal_leases: LeasesNeverLapse by
        a_lapsed_lease_stores_nothing_and_frees_the_key a_lapsed_refresh_stores_nothing_and_frees_the_turn;
    eternal_values: ValuesNeverExpire by an_expired_value_is_a_miss;
    idle_renewals: RenewalsDoNothing by
        a_renewed_lease_outlives_its_first_term a_lease_that_is_gone_is_not_renewed
        a_renewed_refresh_outlives_its_first_term a_refresh_that_is_gone_is_not_renewed;
    eternal_garbage: GarbageNeverGivesWay by an_unreadable_value_gives_way;
    anything_as_garbage: AnythingGivesWayAsGarbage by an_unreadable_value_gives_way_only_if_it_is_the_one;
    hidden_loads: LoadsAreNotReported by a_second_load_waits_for_the_first;
    uncompared_tags: TagsAreNotCompared by a_value_is_served_under_its_own_tags_only;
    cut_payloads: LargePayloadsAreCut by payloads_come_back_as_they_were;
    lost_payloads: EmptyPayloadsAreLost by payloads_come_back_as_they_were;
    replaced_objects: ObjectsAreReplaced by objects_come_back_as_the_same_object;
    a_lock_that_stays: DroppedCallsKeepTheLock by dropped_calls_leave_the_store_usable;
    holds_that_do_nothing: HoldsDoNothing by
        a_hold_keeps_fills_out a_lease_from_before_a_hold_is_refused a_refresh_from_before_a_hold_is_refused;
    holds_that_only_invalidate: HoldsOnlyInvalidate by
        a_hold_keeps_fills_out many_targets_are_held_at_once a_hold_outlives_an_invalidation_of_everything;
    holds_that_never_lapse: HoldsNeverLapse by
        a_hold_that_has_lapsed_is_like_one_that_was_released each_holder_lapses_by_itself;
    holds_that_are_shortened: HoldsAreShortened by a_hold_is_prolonged_and_never_shortened;
    releases_for_everyone: ReleasesFreeForAll by
        a_target_is_free_when_all_holders_have_released_it an_invalidation_ends_no_hold;
    releases_of_strangers_that_do_nothing: ReleasesDoNotInvalidate by a_release_invalidates;
    invalidations_that_end_holds: InvalidationsEndHolds by an_invalidation_ends_no_hold;
    one_holder_at_a_time: OneHolderAtATime by
        a_target_is_free_when_all_holders_have_released_it each_holder_lapses_by_itself;
    globs_that_are_held_as_nothing: GlobsAreHeldAsNothing by globs_and_everything_cannot_be_held;
    old_reads_without_waiting: ReadsWithoutWaitingAreOld by invalidating_an_entry_holds;
}
