//! Jobs: work on a schedule, done by one instance, again by another if that one dies.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use croner::Cron;
use serde::{Deserialize, Serialize};
use tokio::task::JoinSet;

use crate::{Guard, Kit, LockError, Locks, Scope, StateError, States};

/// What was due so much later than now was so by a clock that was ahead.
const AHEAD: TimeDelta = TimeDelta::minutes(2);

/// How often an instance looks whether a job is to be done.
const LOOK: Duration = Duration::from_secs(1);

/// Of states and locks. No service calls its own so.
const NAME: &str = "#job";

/// How long a report is kept.
const KEPT: Duration = Duration::from_secs(400 * 24 * 3600);

/// When a job is due.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// By a cron expression of five fields, or six with seconds first, in UTC. [`Schedule::cron`] reads one.
    Cron(Box<Cron>),
    /// Each time so much of the time since 1970 has passed: for all instances at the same moments.
    Every(Duration),
}

/// Why there is no such job.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// Not a cron expression.
    #[error("`{text}` is no cron expression: {source}")]
    Schedule {
        /// As it was given.
        text: String,
        /// What is wrong with it.
        #[source]
        source: croner::errors::CronError,
    },
    /// Reports are out of reach.
    #[error("the reports of jobs are out of reach")]
    Reports(#[source] StateError),
}

impl Schedule {
    /// `0 9 * * *`: each day at 09:00 UTC.
    ///
    /// # Errors
    ///
    /// [`JobError::Schedule`].
    pub fn cron(text: &str) -> Result<Self, JobError> {
        let cron = text.parse::<Cron>();
        let cron = cron.map_err(|source| JobError::Schedule { text: text.to_owned(), source })?;
        Ok(Self::Cron(Box::new(cron)))
    }

    /// Every so often; a second at least.
    pub fn every(span: Duration) -> Self {
        Self::Every(span.max(Duration::from_secs(1)))
    }

    /// When it is due after that moment.
    pub fn after(&self, moment: DateTime<Utc>) -> Option<DateTime<Utc>> {
        match self {
            // What it finds has the moment's fraction of a second. A due time is what a run is known by, and has none.
            Self::Cron(cron) => cron.find_next_occurrence(&moment.trunc_subsecs(0), false).ok(),
            Self::Every(span) => {
                let span = i64::try_from(span.as_millis()).ok()?.max(1);
                DateTime::from_timestamp_millis((moment.timestamp_millis().div_euclid(span) + 1).checked_mul(span)?)
            }
        }
    }
}

/// What became of a job, as all instances see it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct JobReport {
    /// Which time it was due when it last began.
    pub due: Option<DateTime<Utc>>,
    /// When it last began.
    pub began: Option<DateTime<Utc>>,
    /// When it last ended; `None` while it runs, or if who ran it died.
    pub ended: Option<DateTime<Utc>>,
    /// How it failed when it last ended.
    pub failure: Option<String>,
    /// How many times it has begun.
    pub runs: u64,
    /// How many times it has failed.
    pub failures: u64,
    /// Who ran it last.
    pub by: String,
    /// When it is due next. Filled in by [`Jobs::reports`].
    #[serde(skip)]
    pub next: Option<DateTime<Utc>>,
}

impl JobReport {
    /// How long it ran when it last ended.
    pub fn duration(&self) -> Option<Duration> {
        (self.ended? - self.began?).to_std().ok()
    }
}

/// A run of a job, for its body.
#[derive(Debug)]
pub struct Run {
    /// Which time it was due.
    pub due: DateTime<Utc>,
    guard: Guard,
}

impl Run {
    /// A number above those of all runs before: for what is written to, to refuse one that hung and goes on.
    pub fn fence(&self) -> u64 {
        self.guard.fence()
    }

    /// Whether another instance may run it by now.
    pub fn is_lost(&self) -> bool {
        self.guard.is_lost()
    }
}

type Body = Arc<dyn Fn(Arc<Run>) -> Pin<Box<dyn Future<Output = Result<(), String>> + Send>> + Send + Sync>;

#[derive(Clone)]
struct Job {
    name: String,
    schedule: Schedule,
    body: Body,
}

/// Work on schedules, each done by one instance at a time. [`Kit::jobs`] makes it.
///
/// The clock is that of Redis, where there is one; instances whose own is wrong do no harm. Whoever gets the job's lock when it is due runs it, and says in its [report](JobReport) that it began. If that instance dies, the lock lapses and
/// another one runs it, for the same due time: a job is done at least once, and its body has to bear that. What was due while no instance ran, or
/// while Redis was out of reach, is made up for once, the latest time only; also where Redis comes back without its data, as far as a running
/// instance remembers. A first start makes up for nothing.
#[derive(Clone)]
pub struct Jobs {
    kit: Kit,
    reports: States<String, JobReport>,
    locks: Locks,
    instance: String,
    all: Vec<Job>,
}

impl Jobs {
    pub(crate) fn new(kit: &Kit) -> Self {
        Self {
            kit: kit.clone(),
            reports: kit.states(NAME).ttl(KEPT).restored_after_loss().build(),
            locks: kit.locks(NAME).for_all_or_none(),
            instance: format!("{}", std::process::id()),
            all: Vec::new(),
        }
    }

    /// What this instance is called in reports; by default its process id.
    #[must_use]
    pub fn instance(mut self, name: impl Into<String>) -> Self {
        self.instance = name.into();
        self
    }

    /// How long a job is left to an instance that is not heard of. 10 seconds by default.
    #[must_use]
    pub fn lasts(mut self, lasts: Duration) -> Self {
        self.locks = self.locks.lasts(lasts);
        self
    }

    /// A job by this name.
    ///
    /// # Panics
    ///
    /// If there is one by that name already: the second would never run.
    #[must_use]
    pub fn job<F, R, E>(mut self, name: &str, schedule: Schedule, body: F) -> Self
    where
        F: Fn(Arc<Run>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        assert!(self.all.iter().all(|job| job.name != name), "there are two jobs by the name `{name}`");
        let body = Arc::new(body);
        let body: Body = Arc::new(move |run| {
            let body = Arc::clone(&body);
            Box::pin(async move { body(run).await.map_err(|error| error.to_string()) })
        });
        self.all.push(Job { name: name.to_owned(), schedule, body });
        self
    }

    /// What became of each job, in the order in which they were added.
    ///
    /// # Errors
    ///
    /// [`JobError::Reports`] while Redis is out of reach.
    pub async fn reports(&self) -> Result<Vec<(String, JobReport)>, JobError> {
        let mut all = Vec::with_capacity(self.all.len());
        for job in &self.all {
            let mut report = self.reports.get(&job.name).await.map_err(JobError::Reports)?.unwrap_or_default();
            report.next = job.schedule.after(self.now());
            all.push((job.name.clone(), report));
        }
        Ok(all)
    }

    /// Runs the jobs as they fall due, until the future is dropped: spawn it. Dropping it drops the bodies that run.
    pub async fn run(self) {
        let mut tasks = JoinSet::new();
        let this = Arc::new(self);
        for job in this.all.clone() {
            let this = Arc::clone(&this);
            tasks.spawn(async move { this.keep_doing(job).await });
        }
        while tasks.join_next().await.is_some() {}
    }

    async fn keep_doing(&self, job: Job) {
        loop {
            match self.due(&job).await {
                Ok(Some(due)) => self.attempt(&job, due).await,
                Ok(None) => {}
                Err(error) => tracing::debug!(job = job.name, %error, "the job waits until its report can be read"),
            }
            // At the next due time to the moment, and now and then for one that another has left.
            let now = self.now();
            let next = job.schedule.after(now).and_then(|next| (next - now).to_std().ok()).unwrap_or(LOOK);
            tokio::time::sleep(next.min(LOOK).max(Duration::from_millis(1))).await;
        }
    }

    /// By the clock of Redis, where there is one: it is the same for all instances, whatever theirs say.
    fn now(&self) -> DateTime<Utc> {
        let there = i64::try_from(self.kit.main().contact()).ok().filter(|micros| *micros > 0);
        there.and_then(DateTime::from_timestamp_micros).unwrap_or_else(Utc::now)
    }

    /// The time that the job is due and has not been done; the latest one.
    async fn due(&self, job: &Job) -> Result<Option<DateTime<Utc>>, StateError> {
        let report = self.reports.get(&job.name).await?;
        let now = self.now();
        let report = if let Some(report) = report {
            report
        } else {
            // It is due from its first start on.
            let first = JobReport { due: Some(now), ended: Some(now), ..JobReport::default() };
            let report = self.reports.update(&job.name, |standing| standing.or_else(|| Some(first.clone()))).await?;
            report.unwrap_or_default()
        };
        let last = report.due.unwrap_or(now);
        if report.ended.is_none() && report.began.is_some() {
            // Somebody runs it, or died: the lock tells.
            return Ok(Some(last));
        }
        if last > now + AHEAD {
            // Else it would not be done until then.
            let right = |mut report: JobReport| {
                report.due = if report.due == Some(last) { Some(now) } else { report.due };
                report
            };
            self.reports.update(&job.name, |report| report.map(right)).await?;
            return Ok(None);
        }
        Ok(latest(&job.schedule, last, now))
    }

    /// Does it, unless another instance does.
    async fn attempt(&self, job: &Job, due: DateTime<Utc>) {
        let guard = match self.locks.try_acquire(job.name.as_str()).await {
            Ok(guard) => guard,
            Err(LockError::Taken) => return,
            Err(error) => {
                tracing::debug!(job = job.name, %error, "the job waits until its lock can be had");
                return;
            }
        };
        // Somebody may have done it before the lock was free.
        if self.due(job).await.ok().flatten() != Some(due) {
            guard.release().await;
            return;
        }
        let began = self.now();
        let noted = self.reports.update(&job.name, |report| {
            let mut report = report.unwrap_or_default();
            (report.due, report.began, report.ended) = (Some(due), Some(began), None);
            report.runs += 1;
            report.by.clone_from(&self.instance);
            Some(report)
        });
        if noted.await.is_err() {
            guard.release().await;
            return;
        }
        let run = Arc::new(Run { due, guard });
        let call = self.kit.meter().call("job", &job.name, "run");
        let failure = self.perform(job, &run).await;
        if run.is_lost() {
            // Another instance runs it, and reports.
            call.end("lost", Scope::Everywhere);
            return;
        }
        call.end(if failure.is_none() { "done" } else { "failed" }, Scope::Everywhere);
        if failure.is_none() {
            self.kit.meter().job_ended(&job.name);
        }
        let ended = self.reports.update(&job.name, |report| {
            let mut report = report.unwrap_or_default();
            if report.began == Some(began) {
                report.ended = Some(self.now());
                report.failures += u64::from(failure.is_some());
                report.failure.clone_from(&failure);
            }
            Some(report)
        });
        if let Err(error) = ended.await {
            tracing::warn!(job = job.name, %error, "a job is done, and its report could not be written");
        }
        if let Ok(run) = Arc::try_unwrap(run) {
            run.guard.release().await;
        }
    }

    /// Runs the body. Returns how it failed.
    async fn perform(&self, job: &Job, run: &Arc<Run>) -> Option<String> {
        // A panic ends the run, and not the schedule.
        let mut tasks = JoinSet::new();
        tasks.spawn((job.body)(Arc::clone(run)));
        let ended = tokio::select! {
            ended = tasks.join_next() => ended,
            () = run.guard.lost() => {
                tracing::warn!(job = job.name, "the job's lock was lost: the run is ended");
                None
            }
        };
        let failure = match ended {
            Some(Ok(Ok(()))) => return None,
            Some(Ok(Err(failure))) => failure,
            Some(Err(error)) => error.to_string(),
            None => "its lock was lost".to_owned(),
        };
        tracing::warn!(job = job.name, failure, "a job failed");
        Some(failure)
    }
}

impl fmt::Debug for Jobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.all.iter().map(|job| &job.name).collect();
        f.debug_struct("Jobs").field("instance", &self.instance).field("jobs", &names).finish_non_exhaustive()
    }
}

/// The latest due time after `last` and not after `now`.
fn latest(schedule: &Schedule, last: DateTime<Utc>, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    // Not from the beginning of a long absence: a job each second would be counted through. A year's last times are enough.
    let mut due = None;
    let mut span = TimeDelta::seconds(1);
    while due.is_none() && span <= TimeDelta::days(2 * 366) {
        let from = last.max(now - span);
        let mut next = schedule.after(from);
        while let Some(moment) = next.filter(|moment| *moment <= now) {
            due = Some(moment);
            next = schedule.after(moment);
        }
        if from == last {
            break;
        }
        span = span * 4;
    }
    due
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().expect("it is a time")
    }

    #[test]
    fn what_was_missed_is_due_once_and_for_the_latest_time() {
        let daily = Schedule::cron("0 9 * * *").unwrap();
        let last = at("2026-03-01T09:00:00Z");
        assert_eq!(latest(&daily, last, at("2026-03-01T23:00:00Z")), None);
        assert_eq!(latest(&daily, last, at("2026-03-02T08:59:59Z")), None);
        assert_eq!(latest(&daily, last, at("2026-03-02T09:00:00Z")), Some(at("2026-03-02T09:00:00Z")));
        assert_eq!(latest(&daily, last, at("2026-03-09T10:00:00Z")), Some(at("2026-03-09T09:00:00Z")));
        let often = Schedule::every(Duration::from_secs(10));
        assert_eq!(latest(&often, last, at("2026-09-01T00:00:09Z")), Some(at("2026-09-01T00:00:00Z")));
    }

    #[test]
    fn a_time_of_the_clock_is_due_to_the_second_whatever_the_moment() {
        let daily = Schedule::cron("0 9 * * *").unwrap();
        let (last, due) = (at("2026-03-01T09:00:00Z"), at("2026-03-02T09:00:00Z"));
        assert_eq!(daily.after(at("2026-03-01T23:00:00.123456Z")), Some(due));
        assert_eq!(daily.after(at("2026-03-02T08:59:59.999999Z")), Some(due));
        assert_eq!(daily.after(due), Some(at("2026-03-03T09:00:00Z")));
        // Asked twice, as before and under the lock, it is the same: else the run is left to somebody who has not begun it.
        for now in ["2026-03-02T09:00:00.000001Z", "2026-03-02T09:00:00.81Z", "2026-03-02T09:00:31.5Z"] {
            assert_eq!(latest(&daily, last, at(now)), Some(due), "{now}");
        }
        let moment = at("2026-03-02T08:59:59.81Z");
        assert_eq!(latest(&daily, last, moment), None);
    }

    #[test]
    fn a_bad_expression_is_told() {
        let error = Schedule::cron("every day").expect_err("it is none");
        assert!(error.to_string().starts_with("`every day` is no cron expression: "), "{error}");
    }
}
