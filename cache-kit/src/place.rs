//! Points by id: the nearest, and those within a radius.

use std::{
    collections::HashMap,
    fmt,
    marker::PhantomData,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cache_core::store::StoreError;

use crate::{
    Kit, Scope,
    backend::{At, Backend as _, Change, Found},
    geo::{self, EVERYWHERE},
};

/// Changes that are sent back at a time.
const AT_ONCE: usize = 100;

/// Why points could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlaceError {
    /// Not a point that can be kept: longitudes are from -180 to 180, latitudes from -85.05112878 to 85.05112878.
    #[error("{longitude}, {latitude} is no longitude (-180 to 180) and latitude (-85.05112878 to 85.05112878)")]
    Outside {
        /// As it was given.
        longitude: f64,
        /// As it was given.
        latitude: f64,
    },
    /// Not a distance.
    #[error("{0} is no distance in metres")]
    NoDistance(f64),
    /// The store failed.
    #[error("the points are out of reach")]
    Away(#[source] StoreError),
}

/// A point that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Near<I> {
    /// Whose it is.
    pub id: I,
    /// How far it is, in metres.
    pub metres: f64,
    /// Where it is, to about a metre.
    pub longitude: f64,
    /// Where it is, to about a metre.
    pub latitude: f64,
}

/// Points by id. Cheap to clone.
///
/// Over Redis (GEO) and in memory the answers are the same: points are rounded to the same cells of less than a metre, and distances are those of
/// Redis, on a sphere. While Redis is out of reach, searches go over what this instance has put or has been [given](Places::remember), and
/// changes are sent when it is back, whatever others have changed meanwhile. A Redis that comes back without its data has no points: put those of a
/// database again now and then.
pub struct Places<I> {
    kit: Kit,
    name: String,
    at: At,
    unsent: Arc<Unsent>,
    types: PhantomData<fn(I) -> I>,
}

impl<I> Clone for Places<I> {
    fn clone(&self) -> Self {
        let (kit, name, at) = (self.kit.clone(), self.name.clone(), self.at.clone());
        Self { kit, name, at, unsent: Arc::clone(&self.unsent), types: PhantomData }
    }
}

impl<I> fmt::Debug for Places<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Places").field("name", &self.at.name).finish_non_exhaustive()
    }
}

/// The last change of each point that Redis has not heard of.
///
/// One for all handles of a name: what waits goes before what any of them changes later.
#[derive(Default)]
pub(crate) struct Unsent(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    changes: HashMap<String, Change>,
    /// A task sends them.
    is_sent: bool,
}

impl<I> Places<I> {
    pub(crate) fn new(kit: Kit, name: &str) -> Self {
        let at = crate::at("places", "", name);
        let unsent = kit.unsent(&at);
        Self { kit, name: name.to_owned(), at, unsent, types: PhantomData }
    }
}

impl<I: fmt::Display + FromStr> Places<I> {
    /// Puts a point, or moves it.
    pub async fn put(&self, id: &I, longitude: f64, latitude: f64) -> Result<Scope, PlaceError> {
        check(longitude, latitude)?;
        let (longitude, latitude) = geo::inside(longitude, latitude);
        self.counted_change("put", Change::Put { name: id.to_string(), longitude, latitude }).await
    }

    /// Removes a point.
    pub async fn remove(&self, id: &I) -> Result<Scope, PlaceError> {
        self.counted_change("remove", Change::Remove { name: id.to_string() }).await
    }

    /// Gives this instance points to search in an outage, without putting them: those of the database, as a rule.
    pub async fn remember(&self, points: impl IntoIterator<Item = (I, f64, f64)>) -> Result<(), PlaceError> {
        let mut changes = Vec::new();
        for (id, longitude, latitude) in points {
            check(longitude, latitude)?;
            let (longitude, latitude) = geo::inside(longitude, latitude);
            changes.push(Change::Put { name: id.to_string(), longitude, latitude });
        }
        match self.kit.instead(StoreError::Unavailable) {
            Ok(here) => here.change(&self.at, &changes).await.map_err(PlaceError::Away),
            Err(_) => Ok(()),
        }
    }

    /// Points within a radius in metres, the nearest first, `most` of them at most.
    pub async fn within(
        &self,
        longitude: f64,
        latitude: f64,
        metres: f64,
        most: usize,
    ) -> Result<Vec<Near<I>>, PlaceError> {
        check(longitude, latitude)?;
        if !metres.is_finite() || metres < 0.0 {
            return Err(PlaceError::NoDistance(metres));
        }
        if most == 0 {
            return Ok(Vec::new());
        }
        let (longitude, latitude) = geo::inside(longitude, latitude);
        let metres = metres.min(EVERYWHERE);
        let search = async {
            let (found, scope) = match self.kit.main().near(&self.at, longitude, latitude, metres, most).await {
                Ok(found) => (found, Scope::Everywhere),
                Err(error) => {
                    let here = self.kit.instead(error)?;
                    (here.near(&self.at, longitude, latitude, metres, most).await?, Scope::ThisInstance)
                }
            };
            Ok((found, "ok", scope))
        };
        let found = self.kit.meter().counted("places", &self.name, "search", search).await.map_err(PlaceError::Away)?;
        Ok(found.into_iter().filter_map(typed).collect())
    }

    /// The nearest points, the nearest first.
    pub async fn nearest(&self, longitude: f64, latitude: f64, most: usize) -> Result<Vec<Near<I>>, PlaceError> {
        self.within(longitude, latitude, EVERYWHERE, most).await
    }

    async fn counted_change(&self, operation: &'static str, change: Change) -> Result<Scope, PlaceError> {
        let work = async { self.change(change).await.map(|scope| (scope, "ok", scope)) };
        self.kit.meter().counted("places", &self.name, operation, work).await
    }

    async fn change(&self, change: Change) -> Result<Scope, PlaceError> {
        let change = [change];
        if let Ok(here) = self.kit.instead(StoreError::Unavailable) {
            here.change(&self.at, &change).await.map_err(PlaceError::Away)?;
        }
        // In the order in which they were made: what waits goes first.
        if self.unsent.is_empty() {
            match self.kit.main().change(&self.at, &change).await {
                Ok(()) => return Ok(Scope::Everywhere),
                Err(error) if !self.kit.is_redis() => return Err(PlaceError::Away(error)),
                Err(_) => {}
            }
        }
        let [change] = change;
        let (is_first, waiting) = self.unsent.add(change);
        self.kit.meter().waiting("places", &self.name, waiting);
        if is_first {
            tokio::spawn(send_back(self.kit.clone(), self.name.clone(), self.at.clone(), Arc::clone(&self.unsent)));
        }
        Ok(Scope::ThisInstance)
    }
}

impl Unsent {
    fn all(&self) -> std::sync::MutexGuard<'_, Waiting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_empty(&self) -> bool {
        self.all().changes.is_empty()
    }

    /// Whether somebody has to begin to send, and how many wait.
    fn add(&self, change: Change) -> (bool, usize) {
        let (Change::Put { name, .. } | Change::Remove { name }) = &change;
        let mut all = self.all();
        all.changes.insert(name.clone(), change);
        (!std::mem::replace(&mut all.is_sent, true), all.changes.len())
    }

    /// Some that wait. None: whoever sends may stop.
    fn some(&self) -> Vec<Change> {
        let mut all = self.all();
        all.is_sent = !all.changes.is_empty();
        all.changes.values().take(AT_ONCE).cloned().collect()
    }

    /// They were sent, unless they have changed since. How many there still are.
    fn sent(&self, changes: &[Change]) -> usize {
        let mut all = self.all();
        for change in changes {
            let (Change::Put { name, .. } | Change::Remove { name }) = change;
            if all.changes.get(name) == Some(change) {
                all.changes.remove(name);
            }
        }
        all.changes.len()
    }
}

/// Sends what was changed in an outage.
async fn send_back(kit: Kit, name: String, at: At, unsent: Arc<Unsent>) {
    while kit.back().await {
        let some = unsent.some();
        if some.is_empty() {
            return;
        }
        if kit.main().change(&at, &some).await.is_ok() {
            kit.meter().waiting("places", &name, unsent.sent(&some));
        } else {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn check(longitude: f64, latitude: f64) -> Result<(), PlaceError> {
    let is_inside = longitude.abs() <= geo::LONGITUDE && latitude.abs() <= geo::LATITUDE;
    if is_inside { Ok(()) } else { Err(PlaceError::Outside { longitude, latitude }) }
}

/// What is no id of this type was put by others.
fn typed<I: FromStr>(found: Found) -> Option<Near<I>> {
    let Found { name, metres, longitude, latitude } = found;
    Some(Near { id: name.parse().ok()?, metres, longitude, latitude })
}
