//! Objects near a place.

use std::time::Duration;

use serde::Serialize;
use staffing::model::Object;
use staleproof::{
    Cache, Health,
    kit::{Heard, Subscription},
};

use super::{app::App, events::ShiftNews, refusal::Answer};

/// An object and how far it is.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Nearby {
    /// In metres.
    pub(crate) metres: f64,
    pub(crate) object: Object,
}

/// How often it is asked whether Redis is back.
const OFTEN: Duration = Duration::from_millis(200);

/// Puts the database's objects on the map, in the background, and again whenever Redis is back, which may have lost them.
pub(crate) fn begin(app: &App, cache: Cache) {
    let app = app.clone();
    tokio::spawn(async move {
        let mut news = app.news.subscribe().await;
        loop {
            if let Err(refusal) = fill(&app).await {
                tracing::warn!(refusal.says, "objects could not be put on the map, and are by the next clean-up");
            }
            if !has_gap(&mut news).await {
                return;
            }
            // While it is away, this instance finds what it has put there before.
            while matches!(cache.health(), Health::Degraded { .. }) {
                tokio::time::sleep(OFTEN).await;
            }
        }
    });
}

/// Waits for a gap in the news: the connection is another one. `false`: there are no more.
async fn has_gap(news: &mut Subscription<ShiftNews>) -> bool {
    loop {
        match news.next().await {
            Some(Heard::Message(_)) => {}
            Some(Heard::Gap) => return true,
            None => return false,
        }
    }
}

/// Puts what is in the database on the map: what another Redis, or none, does not know.
pub(crate) async fn fill(app: &App) -> Answer<()> {
    let points = app.staffing().objects.points().await?;
    app.places.remember(points.iter().copied()).await?;
    for (id, longitude, latitude) in points {
        app.places.put(&id, longitude, latitude).await?;
    }
    Ok(())
}

/// Objects within a radius, the nearest first.
pub(crate) async fn near(app: &App, longitude: f64, latitude: f64, metres: f64) -> Answer<Vec<Nearby>> {
    let staffing = app.staffing();
    let mut all = Vec::new();
    for near in app.places.within(longitude, latitude, metres, 20).await? {
        // What was deleted may still be on the map.
        if let Some(object) = staffing.objects.get(near.id).await? {
            all.push(Nearby { metres: near.metres.round(), object });
        }
    }
    Ok(all)
}
