//! What there is to break: a Redis and its replica, the instances, and the link of each to Redis.
//!
//! The world also knows from when to when Redis was reachable from each instance: the server runs and takes writes, the link passes
//! bytes at full speed, and the instance runs.

use std::{
    path::PathBuf,
    sync::mpsc::{Receiver, Sender, channel},
    thread,
    time::{Duration, Instant},
};

use test_support::{Options as ServerOptions, Proxy, RedisServer, cli};

use crate::{
    Options,
    children::Instance,
    clock::{Nanos, now},
    fact::{Fact, Life},
    instance::Setup,
    reaper::Reaper,
    service,
};

/// The link of an instance to Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LinkState {
    Good,
    Cut,
    Frozen,
    Delayed(Duration),
}

/// An instance's place: what is in it changes with every restart.
pub(crate) struct Place {
    pub(crate) instance: Option<Instance>,
    pub(crate) is_stopped: bool,
    pub(crate) link: LinkState,
    proxy: Proxy,
    /// Redis has been reachable since.
    reachable: Option<Nanos>,
}

/// From when to when Redis was reachable from a life.
pub(crate) type Reach = (Life, Nanos, Nanos);

pub(crate) struct World {
    pub(crate) places: Vec<Place>,
    pub(crate) primary: RedisServer,
    replica: RedisServer,
    /// The primary runs and takes writes.
    pub(crate) redis_is_good: bool,
    pub(crate) reach: Vec<Reach>,
    all_cut: bool,
    facts: Sender<(Life, Fact)>,
    setup: Setup,
    reaper: Reaper,
    folder: PathBuf,
}

impl World {
    /// Starts everything. `None` where there is no server to start.
    pub(crate) fn start(options: &Options) -> Option<(Self, Receiver<(Life, Fact)>)> {
        let mut reaper = Reaper::start();
        let folder = tempfile::Builder::new().prefix("staleproof-chaos-").tempdir().expect("there is room").keep();
        reaper.remove(&folder);
        let temporary = || format!("sqlite:{}?mode=rwc", folder.join("chaos.sqlite").display());
        let database = options.database.clone().unwrap_or_else(temporary);
        create_database(&database);
        let primary = server(&mut reaper, None)?;
        let replica = server(&mut reaper, Some(&primary))?;
        let (facts, told) = channel();
        let setup = Setup {
            life: 0,
            place: 0,
            redis: String::new(),
            journal: PathBuf::new(),
            database,
            degraded: options.degraded,
            broken: options.broken,
        };
        let places = (0..options.instances).map(|_| Place::behind(&primary)).collect();
        let mut world = Self {
            places,
            primary,
            replica,
            redis_is_good: true,
            reach: Vec::new(),
            all_cut: false,
            facts,
            setup,
            reaper,
            folder,
        };
        for place in 0..options.instances {
            world.start_instance(place);
        }
        Some((world, told))
    }

    pub(crate) fn start_instance(&mut self, place: usize) {
        self.setup.life += 1;
        self.setup.place = place;
        self.setup.journal = self.folder.join(format!("journal-{place}"));
        let place = &mut self.places[place];
        let setup = Setup { redis: format!("redis://127.0.0.1:{}", place.proxy.port()), ..self.setup.clone() };
        place.instance = Some(Instance::start(&setup, &self.facts, &mut self.reaper));
        place.is_stopped = false;
    }

    pub(crate) fn kill_instance(&mut self, place: usize) {
        self.end_reach(place);
        if let Some(instance) = self.places[place].instance.take() {
            instance.kill(&mut self.reaper);
        }
    }

    /// Forgets an instance that has ended.
    pub(crate) fn bury(&mut self, place: usize) {
        self.end_reach(place);
        if let Some(instance) = self.places[place].instance.take() {
            self.reaper.forget(instance.pid());
        }
    }

    pub(crate) fn stop_instance(&mut self, place: usize) {
        self.end_reach(place);
        let place = &mut self.places[place];
        place.is_stopped = true;
        place.instance.iter().for_each(Instance::stop);
    }

    pub(crate) fn continue_instance(&mut self, place: usize) {
        let place = &mut self.places[place];
        place.is_stopped = false;
        place.instance.iter().for_each(Instance::cont);
    }

    pub(crate) fn set_link(&mut self, place: usize, link: LinkState) {
        self.end_reach(place);
        self.places[place].link = link;
        self.places[place].apply(self.all_cut);
    }

    /// Redis does not run, or takes no writes.
    pub(crate) fn redis_goes(&mut self) {
        self.redis_is_good = false;
        (0..self.places.len()).for_each(|place| self.end_reach(place));
    }

    pub(crate) fn kill_redis(&mut self) {
        self.redis_goes();
        if let Some(pid) = self.primary.pid() {
            self.reaper.forget(pid);
        }
        self.primary.kill();
    }

    pub(crate) fn start_redis(&mut self) {
        self.primary.restart();
        self.reaper.watch(self.primary.pid().expect("it runs"));
        self.redis_is_good = true;
    }

    /// Whether the replica could be promoted.
    pub(crate) fn has_replica(&self) -> bool {
        self.replica.cli(&["INFO", "replication"]).contains("master_link_status:up")
    }

    /// The replica takes the primary's place, which dies or hangs; all links are led to it.
    pub(crate) fn promote(&mut self, kills: bool) {
        self.redis_goes();
        self.all_cut = true;
        self.places.iter().for_each(|place| place.apply(true));
        if kills {
            self.kill_redis();
        } else {
            self.primary.stop();
        }
        self.switch();
        self.all_cut = false;
        for place in &self.places {
            place.proxy.redirect(self.primary.address());
            place.apply(false);
        }
        self.redis_is_good = true;
        if let Some(pid) = self.replica.pid() {
            self.reaper.forget(pid);
        }
        self.replica = server(&mut self.reaper, Some(&self.primary)).expect("there was one before");
    }

    /// The replica takes the primary's place, which becomes its replica. Only the links of `told` are closed; the others still
    /// lead to a server that answers reads.
    pub(crate) fn demote(&mut self, mut told: impl FnMut() -> bool) {
        self.redis_goes();
        // First, so that there are never two that take writes.
        self.redis(&["REPLICAOF", "127.0.0.1", &self.replica.port().to_string()]);
        self.switch();
        for place in &self.places {
            if told() {
                place.proxy.redirect(self.primary.address());
            } else {
                place.proxy.lead(self.primary.address());
            }
        }
        self.redis_is_good = true;
    }

    fn switch(&mut self) {
        assert_eq!(self.replica.cli(&["REPLICAOF", "NO", "ONE"]), "+OK", "a replica can be promoted");
        std::mem::swap(&mut self.primary, &mut self.replica);
    }

    /// Notes from where Redis has become reachable.
    pub(crate) fn look_around(&mut self) {
        for place in &mut self.places {
            let good = self.redis_is_good && place.link == LinkState::Good && !place.is_stopped;
            if good && place.reachable.is_none() && place.instance.is_some() {
                place.reachable = Some(now());
            }
        }
    }

    fn end_reach(&mut self, place: usize) {
        let place = &mut self.places[place];
        if let (Some(from), Some(instance)) = (place.reachable.take(), &place.instance) {
            self.reach.push((instance.life, from, now()));
        }
    }

    /// The lives that have not ended.
    pub(crate) fn alive(&self) -> Vec<Life> {
        self.places.iter().filter_map(|place| place.instance.as_ref()).map(|instance| instance.life).collect()
    }

    /// Ends all instances, so that no more facts come.
    pub(crate) fn end(mut self) -> Vec<Reach> {
        for place in 0..self.places.len() {
            self.kill_instance(place);
        }
        // The reaper removes it too, should this process not get here.
        drop(std::fs::remove_dir_all(&self.folder));
        self.reach
    }

    pub(crate) fn redis(&self, command: &[&str]) -> String {
        cli(&self.primary.url(), command)
    }
}

impl Place {
    fn behind(server: &RedisServer) -> Self {
        let proxy = Proxy::start(server.address());
        Self { instance: None, is_stopped: false, link: LinkState::Good, proxy, reachable: None }
    }

    fn apply(&self, all_cut: bool) {
        self.proxy.resume();
        match self.link {
            _ if all_cut => self.proxy.cut(),
            LinkState::Good => {}
            LinkState::Cut => self.proxy.cut(),
            LinkState::Frozen => self.proxy.freeze(),
            LinkState::Delayed(delay) => self.proxy.delay(delay),
        }
    }
}

/// A server; a replica, if it has a primary.
fn server(reaper: &mut Reaper, primary: Option<&RedisServer>) -> Option<RedisServer> {
    let arguments = ["--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1"].map(Into::into).into();
    let server = RedisServer::own_with(ServerOptions { arguments, ..ServerOptions::default() })?;
    reaper.watch(server.pid().expect("it runs"));
    reaper.remove(server.folder().expect("it is a process"));
    if let Some(primary) = primary {
        // Not by an argument: it is no replica any more when it starts again after its promotion.
        server.cli(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    }
    Some(server)
}

fn create_database(url: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be built");
    runtime.block_on(async {
        let db = service::open(url).await.expect("the database is there");
        service::create(&db).await.expect("the table can be created");
        db.close().await;
    });
}

/// Waits until the instances have begun.
pub(crate) fn wait_for_first(told: &Receiver<(Life, Fact)>) -> Option<(Life, Fact)> {
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(10) {
        if let Ok(first) = told.try_recv() {
            return Some(first);
        }
        thread::sleep(Duration::from_millis(2));
    }
    None
}
