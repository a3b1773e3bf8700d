//! A batch: one call for many entries.
//!
//! Each entry goes the way of a single call, with a read, a flight, a lease and a fill of its own, side by side with the others; so
//! all that holds for single calls holds for each of them, and single calls and batches of the same entries share their
//! loads. What is the batch's own is that it loads all entries that fall to it at once, and whom it waits for:
//!
//! - *What it leads, it loads before it waits for anyone.* Two batches that each lead what the other one needs would wait for
//!   each other otherwise: in one process by their flights, in two by their leases. An entry that another process is loading is put
//!   off, its flight given up, and looked at anew after the load.
//! - A lead that falls to it while it loads is passed on. One that falls to it while it waits is loaded before it waits on.
//!
//! So the loader may run more than once: for what this call leads, then for what others were to load and did not.

mod abreast;
mod following;
mod led;
#[cfg(all(test, not(feature = "__shuttle")))]
mod tests;

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    sync::Arc,
    time::Duration,
};

use serde::{Serialize, de::DeserializeOwned};
use tokio::time::Instant;

pub(super) use self::abreast::Abreast;
use self::{
    following::{Ended, Following},
    led::{Led, Pace, WRITES},
};
use super::{
    Chance, Inner, Loaded,
    call::{Asked, Asking, Call, PAUSES, Waited, longer},
    lead::traced,
    look::{Found, Need},
};
use crate::{
    flight::{Entered, Leader},
    key::Key,
    policy::Policy,
    trace, transaction,
};

/// How many reads are under way at once: as many as keep a store busy that answers several in one command.
const READS: usize = 512;

/// How many entries that another process loads are asked for at a time. Whoever loads one of them probably loads them
/// all: the rest is asked for when one of these is through.
const SAMPLE: usize = 64;

/// What a batch is answered, in the order of its keys.
type Values<T> = Vec<Option<Arc<T>>>;

/// An entry on its way.
struct Item<'a> {
    /// Its place among the different keys of the batch.
    at: usize,
    call: Call<'a>,
}

/// A lead that needs a lease.
struct Lease<'a, T> {
    item: Item<'a>,
    need: Need<T>,
    leader: Leader,
    asking: Asking,
}

/// One batch.
struct Batch<'a, T> {
    inner: &'a Inner,
    /// What each entry is answered, once that is known.
    served: Values<T>,
    /// To be read.
    unread: Vec<Item<'a>>,
    /// To be asked a lease for.
    unasked: Vec<Lease<'a, T>>,
    /// Another process has the lease. Held, that is led in this process, only while this batch has nothing to load.
    put_off: VecDeque<Lease<'a, T>>,
    /// To be loaded.
    led: Led<'a, T>,
    /// Loaded by others of this process.
    following: Following<'a, T>,
    pause: Duration,
}

impl Inner {
    /// A cached call for many entries, from the keys to the values. `load` is given the places of keys, each of another
    /// entry, and answers a value for each.
    pub(super) async fn fetch_batch<T, E, L, F>(
        &self,
        keys: &[Key],
        policy: &Policy,
        mut load: L,
    ) -> Result<Values<T>, E>
    where
        T: Serialize + DeserializeOwned + Send + Sync + 'static,
        L: FnMut(Vec<usize>) -> F,
        F: Future<Output = Result<Vec<Loaded<T>>, E>>,
    {
        let Distinct { places, of } = Distinct::of(keys);
        let mut batch = Batch::begin(self, places.iter().map(|&place| &keys[place]), policy);
        let mut load = |entries: Vec<usize>| load(entries.into_iter().map(|entry| places[entry]).collect());
        if transaction::is_open() {
            batch.bypass(&mut load).await?;
        } else {
            batch.run(&mut load).await?;
        }
        Ok(of.into_iter().map(|entry| batch.served[entry].clone()).collect())
    }
}

/// The different keys among some.
struct Distinct {
    /// Where each of them stands first.
    places: Vec<usize>,
    /// Which of them each key is.
    of: Vec<usize>,
}

impl Distinct {
    fn of(keys: &[Key]) -> Self {
        let mut seen = HashMap::with_capacity(keys.len());
        let mut places = Vec::with_capacity(keys.len());
        let place_of = |(place, key): (usize, &Key)| {
            *seen.entry(key.as_str().to_owned()).or_insert_with(|| {
                places.push(place);
                places.len() - 1
            })
        };
        let of = keys.iter().enumerate().map(place_of).collect();
        Self { places, of }
    }
}

impl<'a, T> Batch<'a, T>
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
{
    fn begin(inner: &'a Inner, keys: impl Iterator<Item = &'a Key>, policy: &'a Policy) -> Self {
        let item = |(at, key)| Item { at, call: Call::begin(inner, key, policy, Chance::default()) };
        let unread: Vec<_> = keys.enumerate().map(item).collect();
        Self {
            inner,
            served: unread.iter().map(|_| None).collect(),
            unread,
            unasked: Vec::new(),
            put_off: VecDeque::new(),
            led: Led::new(),
            following: Following::new(),
            pause: PAUSES.0,
        }
    }

    /// Until every entry is served.
    async fn run<E, F>(&mut self, load: &mut impl FnMut(Vec<usize>) -> F) -> Result<(), E>
    where
        F: Future<Output = Result<Vec<Loaded<T>>, E>>,
    {
        loop {
            self.look().await;
            self.take_what_ended();
            self.ask().await;
            if !self.led.is_empty() {
                self.give_up_other_leads();
                self.load(load).await?;
            } else if self.unread.is_empty() && self.unasked.is_empty() && !self.wait().await {
                return Ok(());
            }
        }
    }

    /// Reads what is unread, and enters a flight for each miss.
    async fn look(&mut self) {
        let unread = std::mem::take(&mut self.unread);
        let reads = unread.into_iter().map(|mut item| async move {
            let found = item.call.look::<T>().await;
            (item, found)
        });
        for (mut item, found) in self.following.beside(abreast::all(reads.collect(), READS)).await {
            match found {
                Found::Hit(hit) if item.call.is_sampled() => self.led.verify(item, hit),
                Found::Hit(hit) => self.serve(item.at, hit.value),
                Found::Need(need) => match item.call.enter(&need) {
                    Entered::Leader(leader) => self.lead(item, need, leader),
                    Entered::Follower(follower) => self.following.add(item, need, follower),
                },
            }
        }
    }

    /// The lead of a flight is this batch's.
    fn lead(&mut self, item: Item<'a>, need: Need<T>, leader: Leader) {
        match item.call.asking(&leader, &need) {
            Some(asking) => self.unasked.push(Lease { item, need, leader, asking }),
            None => self.led.lead(item, leader, need),
        }
    }

    /// Asks once for the leases that are still to be had.
    async fn ask(&mut self) {
        let mut unasked = std::mem::take(&mut self.unasked);
        let pace = Pace::of(unasked.len());
        for lease in &mut unasked {
            lease.asking.lasts = lease.asking.lasts.max(pace.first.min(self.inner.load_timeout));
        }
        let sample = self.put_off.len().min(SAMPLE);
        let sample: Vec<_> = self.put_off.drain(..sample).collect();
        self.ask_for(unasked).await;
        let put_off = self.put_off.len() + sample.len();
        self.ask_for(sample).await;
        if self.put_off.len() < put_off {
            let rest = std::mem::take(&mut self.put_off);
            self.ask_for(rest).await;
        }
    }

    async fn ask_for(&mut self, leases: impl IntoIterator<Item = Lease<'a, T>>) {
        let asks = leases.into_iter().map(|lease| async move {
            let Lease { mut item, need, leader, mut asking } = lease;
            let asked = item.call.ask(leader, &need, &mut asking).await;
            (item, need, asking, asked)
        });
        for (mut item, need, asking, asked) in self.following.beside(abreast::all(asks.collect(), WRITES)).await {
            match asked {
                Asked::Take(value) => self.serve(item.at, value),
                Asked::Lead(leader) => self.led.lead(item, leader, need),
                Asked::Follow(follower) => self.following.add(item, need, follower),
                Asked::Wait(leader) => self.put_off.push_back(Lease { item, need, leader, asking }),
                Asked::Again => {
                    item.call.begin_again();
                    self.unread.push(item);
                }
            }
        }
    }

    fn take_what_ended(&mut self) {
        for Ended { mut item, need, waited } in self.following.ended() {
            match waited {
                Waited::Take(value) => self.serve(item.at, value),
                Waited::Promoted(leader) => self.lead(item, need, leader),
                Waited::Apart(leader) => self.led.lead(item, leader, need),
                Waited::Again => {
                    item.call.begin_again();
                    self.unread.push(item);
                }
            }
        }
    }

    /// Before a load: leads that are not part of it. Who waits for their values need not wait for this load too.
    fn give_up_other_leads(&mut self) {
        self.following.pass_on();
        for Lease { mut item, leader, .. } in self.put_off.drain(..) {
            leader.dissolve();
            item.call.begin_again();
            self.unread.push(item);
        }
    }

    /// Loads what is led, hands it on and stores it.
    async fn load<E, F>(&mut self, load: &mut impl FnMut(Vec<usize>) -> F) -> Result<(), E>
    where
        F: Future<Output = Result<Vec<Loaded<T>>, E>>,
    {
        let mut led = std::mem::replace(&mut self.led, Led::new());
        let renewal = led.renewing(self.inner.load_timeout);
        if renewal.is_some() {
            // What a worker has just spawned no other can take: it has to begin before a load blocks the worker.
            tokio::task::yield_now().await;
        }
        let places = led.places();
        let started = Instant::now();
        let span = trace::load(led.function(), places.len());
        let result = self.following.beside_load(traced(span, load(places.clone()))).await;
        let took = started.elapsed();
        led.loaded(took, result.is_ok());
        let served: Vec<(usize, Option<Arc<T>>)> = match result {
            Ok(loaded) if fits(&places, &loaded) => self.following.beside_load(led.land(loaded, took)).await,
            Ok(_) => places.into_iter().map(|at| (at, None)).collect(),
            Err(error) => {
                drop(renewal);
                self.following.beside_load(led.fail()).await.ok_or(error)?
            }
        };
        for (at, value) in served {
            self.serve(at, value);
        }
        self.pause = PAUSES.0;
        Ok(())
    }

    /// Waits until something has come of what others load. `false`: there is nothing to wait for.
    async fn wait(&mut self) -> bool {
        if self.put_off.is_empty() {
            if self.following.is_empty() {
                return false;
            }
            self.following.one().await;
        } else {
            let pause = self.pause;
            self.pause = longer(pause);
            // Too late is as good: time to ask again.
            let _ = tokio::time::timeout(pause, self.following.one()).await;
        }
        true
    }

    /// Inside a transaction: the source, and nothing stored.
    async fn bypass<E, F>(&mut self, load: &mut impl FnMut(Vec<usize>) -> F) -> Result<(), E>
    where
        F: Future<Output = Result<Vec<Loaded<T>>, E>>,
    {
        let mut unread = std::mem::take(&mut self.unread);
        for item in &mut unread {
            item.call.bypassed();
        }
        if unread.is_empty() {
            return Ok(());
        }
        let places: Vec<usize> = unread.iter().map(|item| item.at).collect();
        let loaded = load(places.clone()).await?;
        if fits(&places, &loaded) {
            for (at, loaded) in places.into_iter().zip(loaded) {
                self.serve(at, loaded.value);
            }
        }
        Ok(())
    }

    fn serve(&mut self, at: usize, value: Option<Arc<T>>) {
        self.served[at] = value;
    }
}

/// Whether there is an answer for each of the places; otherwise nobody knows which is whose.
fn fits<T>(places: &[usize], loaded: &[Loaded<T>]) -> bool {
    let (asked, answered) = (places.len(), loaded.len());
    if asked != answered {
        tracing::error!(
            asked,
            answered,
            "a batch answers for another number of ids than it was asked for: none is served"
        );
    }
    asked == answered
}
