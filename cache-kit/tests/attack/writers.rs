//! Several writers of the same states, with different contact to Redis: whatever breaks, in a random order that a seed repeats.

use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use cache_core::Health;
use cache_kit::{Scope, States};
use test_support::{Options, Proxy, RedisServer};
use tokio::time::{Instant, sleep};

use crate::{Instance, LONG, PATIENCE};

const KEYS: u64 = 12;

/// What breaks in a round.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    None,
    OneIsCut,
    OneIsFrozen,
    TwoAreCut,
    Stopped,
    Killed,
    KilledEmpty,
}

const FAULTS: [Fault; 7] = [
    Fault::None,
    Fault::OneIsCut,
    Fault::OneIsFrozen,
    Fault::TwoAreCut,
    Fault::Stopped,
    Fault::Killed,
    Fault::KilledEmpty,
];

#[derive(Clone, Copy, Debug, PartialEq)]
enum What {
    Put(u64, Scope),
    /// What was taken, and whether Redis was in reach.
    Took(u64, bool),
    /// An error: it may have been removed.
    MayHaveTaken,
}

#[derive(Clone, Copy, Debug)]
struct Event {
    who: usize,
    key: u64,
    what: What,
    began: Instant,
    ended: Instant,
}

struct Writer {
    who: usize,
    instance: Instance,
    states: States<u64, u64>,
}

impl Writer {
    fn is_in_reach(&self) -> bool {
        self.instance.cache.health() == Health::Connected && self.states.waiting() == 0
    }

    async fn work(&self, random: &mut fastrand::Rng, until: Instant, values: &AtomicU64) -> Vec<Event> {
        let mut all = Vec::new();
        while Instant::now() < until {
            let (key, began) = (random.u64(0..KEYS), Instant::now());
            let what = match random.u8(0..10) {
                0..5 => {
                    let value = values.fetch_add(1, Ordering::Relaxed);
                    Some(What::Put(value, self.states.put(&key, &value).await.expect("there is room")))
                }
                5..7 => {
                    let is_in_reach = self.is_in_reach();
                    match self.states.take(&key).await {
                        Ok(Some(value)) => Some(What::Took(value, is_in_reach && self.is_in_reach())),
                        Ok(None) => None,
                        Err(_) => Some(What::MayHaveTaken),
                    }
                }
                _ => {
                    drop(self.states.get(&key).await);
                    None
                }
            };
            all.extend(what.map(|what| Event { who: self.who, key, what, began, ended: Instant::now() }));
            sleep(Duration::from_millis(random.u64(1..40))).await;
        }
        all
    }
}

async fn breaks(fault: Fault, victim: usize, proxies: &[Proxy], server: &mut RedisServer, lasts: Duration) {
    match fault {
        Fault::None => sleep(lasts).await,
        Fault::OneIsCut | Fault::OneIsFrozen | Fault::TwoAreCut => {
            let cut: Vec<_> = proxies.iter().skip(if fault == Fault::TwoAreCut { 0 } else { victim }).collect();
            let cut = &cut[..if fault == Fault::TwoAreCut { 2 } else { 1 }];
            for proxy in cut {
                proxy.freeze();
                if fault != Fault::OneIsFrozen {
                    proxy.cut();
                }
            }
            sleep(lasts).await;
            for proxy in cut {
                proxy.resume();
            }
        }
        Fault::Stopped => {
            server.stop();
            sleep(lasts).await;
            server.cont();
        }
        Fault::Killed | Fault::KilledEmpty => {
            server.kill();
            if let (Fault::KilledEmpty, Some(folder)) = (fault, server.folder()) {
                server.remove_dump();
                drop(std::fs::remove_dir_all(folder.join("appendonlydir")));
            }
            sleep(lasts).await;
            server.restart();
        }
    }
}

fn check(fault: Fault, events: &[Event], ends: &[Option<u64>], began: Instant) -> Vec<String> {
    let is_kept = fault != Fault::KilledEmpty;
    let mut wrong = Vec::new();
    for key in 0..KEYS {
        let of_key: Vec<&Event> = events.iter().filter(|event| event.key == key).collect();
        let (there, mut told) = (ends[usize::try_from(key).unwrap()], Vec::new());
        let taken: Vec<_> = of_key
            .iter()
            .filter_map(|it| if let What::Took(value, _) = it.what { Some(value) } else { None })
            .collect();
        if is_kept && there.is_some_and(|there| taken.contains(&there)) {
            told.push("what was taken came back");
        }
        let mut once = HashSet::new();
        for event in &of_key {
            if let What::Took(value, true) = event.what
                && is_kept
                && !once.insert(value)
            {
                told.push("it was taken twice in reach of Redis");
            }
        }
        let put = of_key.iter().find(|it| matches!(it.what, What::Put(value, _) if Some(value) == there));
        if is_kept
            && let Some(put) = put
            && of_key.iter().any(|it| matches!(it.what, What::Put(_, Scope::Everywhere)) && put.ended < it.began)
        {
            told.push("an older writing replaced a newer one");
        }
        if let Some(last) = of_key.iter().max_by_key(|it| it.began)
            && let What::Put(value, scope) = last.what
            && (is_kept || scope == Scope::ThisInstance)
            && of_key.iter().all(|it| it.who == last.who || it.ended < began)
            && of_key.iter().all(|it| it.ended <= last.ended)
            && there != Some(value)
        {
            told.push("what nobody else wrote is not there");
        }
        for told in told {
            wrong.push(format!("{told}: key {key}, at the end {there:?}, {of_key:#?}"));
        }
    }
    wrong
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_breaks_no_writing_is_lost_replaced_by_an_older_one_or_comes_back() {
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7);
    let rounds = std::env::var("ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(14);
    let mut random = fastrand::Rng::with_seed(seed);
    let options = Options { appendonly: true, ..Options::default() };
    let mut server = RedisServer::own_with(options).expect("there is a server to start");
    let (proxies, mut urls): (Vec<_>, Vec<_>) = [server.behind_proxy(), server.behind_proxy()].into_iter().unzip();
    urls.push(server.url());
    let mut writers = Vec::new();
    for (who, url) in urls.iter().enumerate() {
        let instance = Instance::with_timeout(url, Duration::from_millis(300)).await;
        let states = instance.kit.states("draft").ttl(LONG).build();
        writers.push(Arc::new(Writer { who, instance, states }));
    }
    let values = Arc::new(AtomicU64::new(1));
    for round in 0..rounds {
        let fault = FAULTS[if round < FAULTS.len() { round } else { random.usize(0..FAULTS.len()) }];
        let until = Instant::now() + Duration::from_millis(2_200);
        let working: Vec<_> = writers
            .iter()
            .map(|writer| {
                let (writer, values, mut random) = (Arc::clone(writer), Arc::clone(&values), random.fork());
                tokio::spawn(async move { writer.work(&mut random, until, &values).await })
            })
            .collect();
        sleep(Duration::from_millis(random.u64(200..600))).await;
        let began = Instant::now();
        let lasts = Duration::from_millis(random.u64(50..1_200));
        breaks(fault, random.usize(0..2), &proxies, &mut server, lasts).await;
        let mut events = Vec::new();
        for work in working {
            events.extend(work.await.unwrap());
        }
        let ended = Instant::now();
        while !writers.iter().all(|writer| writer.is_in_reach()) {
            assert!(ended.elapsed() < PATIENCE, "round {round}, {fault:?}: not all is written back");
            sleep(Duration::from_millis(20)).await;
        }
        let mut ends = Vec::new();
        for key in 0..KEYS {
            let mut all = Vec::new();
            for writer in &writers {
                all.push(writer.states.get(&key).await.unwrap());
            }
            assert!(all.iter().all(|value| *value == all[0]), "round {round}, {fault:?}, key {key}: {all:?}");
            ends.push(all[0]);
        }
        let wrong = check(fault, &events, &ends, began);
        assert!(wrong.is_empty(), "seed {seed}, round {round}, {fault:?}: {}", wrong.join("\n"));
    }
}
