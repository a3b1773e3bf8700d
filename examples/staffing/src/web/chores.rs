//! What is done by the clock, by one instance at a time.

use std::{error::Error, time::Duration};

use staffing::{Result, seed::TODAY};
use staleproof::kit::{JobReport, Jobs, Schedule};

use super::{
    app::App,
    payments, places,
    refusal::{Answer, Refusal},
    statement::now,
};

/// Figures are kept for so many seconds.
const KEPT: u64 = 7 * 24 * 60 * 60;

/// The jobs, which only run where they are begun.
fn jobs(app: &App) -> std::result::Result<Jobs, Box<dyn Error>> {
    let [reminders, cleaning, figures, bank] = [(); 4].map(|()| app.clone());
    let told = |refusal: Refusal| refusal.says;
    let jobs = app.kit.jobs();
    let jobs = jobs.job("reminders", Schedule::cron("0 9 * * *")?, move |_| remind(reminders.clone()));
    let jobs = jobs.job("clean-up", Schedule::every(Duration::from_mins(10)), move |_| clean(cleaning.clone()));
    let jobs = jobs.job("analytics", Schedule::cron("0 * * * *")?, move |run| {
        let app = figures.clone();
        // By the time it is due, so that a run that is made up for counts once.
        let due = run.due.timestamp();
        async move { app.staffing().analytics.measure(due).await }
    });
    Ok(jobs.job("payments", Schedule::every(Duration::from_secs(10)), move |_| {
        let app = bank.clone();
        async move { payments::check(&app).await.map(drop).map_err(told) }
    }))
}

/// Begins them.
pub(crate) fn begin(app: &App) -> std::result::Result<(), Box<dyn Error>> {
    tokio::spawn(jobs(app)?.run());
    Ok(())
}

/// What became of them.
pub(crate) async fn reports(app: &App) -> Answer<Vec<(String, JobReport)>> {
    let away = |_| Refusal::conflict("this cannot be looked up just now: try again in a moment");
    jobs(app).map_err(|error| Refusal::conflict(error.to_string()))?.reports().await.map_err(away)
}

/// Reminds those who work tomorrow.
async fn remind(app: App) -> Result<()> {
    let staffing = app.staffing();
    if staffing.settings.all().await?.get("reminders").is_some_and(|setting| setting != "on") {
        return Ok(());
    }
    let noted = staffing.analytics.remind(TODAY.plus(1)).await?;
    tracing::info!(noted, "reminders");
    Ok(())
}

/// Removes old figures, and puts on the map what is missing there.
async fn clean(app: App) -> std::result::Result<(), String> {
    let before = i64::try_from(now().saturating_sub(KEPT)).unwrap_or_default();
    app.staffing().analytics.forget(before).await.map_err(|error| error.to_string())?;
    places::fill(&app).await.map_err(|refusal| refusal.says)
}
