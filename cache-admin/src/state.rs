//! What all requests share.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use cache_core::{Cache, Diagnosis, Health, Outcome, Target};
use tokio::{
    runtime::Handle,
    sync::Semaphore,
    task::JoinHandle,
    time::{MissedTickBehavior, interval},
};

use crate::{
    admin::Writes,
    functions::Entries,
    history::{History, Interval},
    secret::Secret,
};

/// How many streams of events may be open at once. Each makes the cache announce what it does.
const STREAMS: usize = 16;

/// How many previews are counted at once.
const WALKS: usize = 2;

/// For how long the numbers of entries count as new: they take a walk over the store.
const CENSUS_LASTS: Duration = Duration::from_secs(30);

/// How many entries a walk for them looks at.
const COUNTED: usize = 50_000;

/// And for how long.
const COUNTING: Duration = Duration::from_secs(2);

/// How many it asks for at a time.
const STEP: usize = 1_000;

/// For how long a diagnosis counts as new.
const DIAGNOSIS_LASTS: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) title: String,
    pub(crate) hide_values: bool,
    pub(crate) sample_every: Duration,
}

pub(crate) struct Shared {
    pub(crate) cache: Cache,
    pub(crate) writes: Writes,
    pub(crate) secret: Secret,
    pub(crate) settings: Settings,
    pub(crate) streams: Arc<Semaphore>,
    pub(crate) walks: Semaphore,
    history: Mutex<History>,
    sampler: Mutex<Option<JoinHandle<()>>>,
    diagnosis: tokio::sync::Mutex<Option<(Instant, Diagnosis)>>,
    census: tokio::sync::Mutex<Option<Census>>,
}

/// How many entries each function has, and when they were counted.
struct Census {
    at: Instant,
    entries: Arc<BTreeMap<String, Entries>>,
}

impl Shared {
    pub(crate) fn new(cache: Cache, writes: Writes, secret: Secret, settings: Settings) -> Self {
        Self {
            cache,
            writes,
            secret,
            settings,
            streams: Arc::new(Semaphore::new(STREAMS)),
            walks: Semaphore::new(WALKS),
            history: Mutex::default(),
            sampler: Mutex::default(),
            diagnosis: tokio::sync::Mutex::default(),
            census: tokio::sync::Mutex::default(),
        }
    }

    /// Begins to take samples, if there is a runtime and nobody does. The task goes with the last router of this page.
    pub(crate) fn keep_sampling(self: &Arc<Self>) {
        let Ok(runtime) = Handle::try_current() else { return };
        let mut sampler = self.sampler.lock().unwrap_or_else(PoisonError::into_inner);
        // One that has finished went with its runtime.
        if sampler.as_ref().is_none_or(JoinHandle::is_finished) {
            *sampler = Some(runtime.spawn(sample(Arc::downgrade(self), self.settings.sample_every)));
        }
    }

    fn history(&self) -> std::sync::MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn intervals(&self) -> Vec<Interval> {
        self.history().intervals(Instant::now())
    }

    pub(crate) fn is_read_only(&self) -> bool {
        !matches!(self.writes, Writes::By(_))
    }

    /// Invalidates, and says so in the log.
    pub(crate) async fn invalidate(&self, targets: Vec<Target>) -> Outcome {
        let names: Vec<_> = targets.iter().map(ToString::to_string).collect();
        let outcome = self.cache.invalidate(targets).await;
        tracing::info!(targets = ?names, ?outcome, "invalidated by the admin page");
        outcome
    }

    /// What the doctor says, at most ten seconds ago. Those who ask meanwhile wait for the same.
    pub(crate) async fn diagnosis(&self) -> Diagnosis {
        let mut latest = self.diagnosis.lock().await;
        match &*latest {
            Some((at, diagnosis)) if at.elapsed() < DIAGNOSIS_LASTS => diagnosis.clone(),
            _ => {
                let diagnosis = self.cache.doctor().await;
                *latest = Some((Instant::now(), diagnosis.clone()));
                diagnosis
            }
        }
    }
}

impl Shared {
    /// How many entries each function has, as of half a minute ago at most. None if the store does not say.
    pub(crate) async fn entries(&self) -> Option<Arc<BTreeMap<String, Entries>>> {
        let mut latest = self.census.lock().await;
        if let Some(census) = latest.as_ref().filter(|census| census.at.elapsed() < CENSUS_LASTS) {
            return Some(Arc::clone(&census.entries));
        }
        let entries = Arc::new(count_entries(&self.cache).await?);
        *latest = Some(Census { at: Instant::now(), entries: Arc::clone(&entries) });
        Some(entries)
    }
}

async fn count_entries(cache: &Cache) -> Option<BTreeMap<String, Entries>> {
    let (mut counted, mut seen, mut at) = (BTreeMap::<String, Entries>::new(), 0, None);
    // Memory looks at all of its entries for each step.
    let step = if cache.health() == Health::Memory { COUNTED } else { STEP };
    let began = Instant::now();
    while seen < COUNTED && began.elapsed() < COUNTING {
        let page = cache.inspect().walk("*", at.as_ref(), step).await.ok()?;
        seen += page.paths.len();
        for path in &page.paths {
            let function = path.split(':').next().unwrap_or_default();
            counted.entry(function.to_owned()).or_default().counted += 1;
        }
        at = page.next;
        if at.is_none() {
            break;
        }
    }
    for entries in counted.values_mut() {
        entries.or_more = at.is_some();
    }
    Some(counted)
}

async fn sample(shared: std::sync::Weak<Shared>, every: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(shared) = shared.upgrade() else { return };
        let stats = shared.cache.stats();
        shared.history().note(Instant::now(), &stats);
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(sampler) = self.sampler.get_mut().unwrap_or_else(PoisonError::into_inner) {
            sampler.abort();
        }
    }
}
